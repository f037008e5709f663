# SPDX-License-Identifier: BSD-3-Clause
"""syn-flood: one pod opens a million TCP connections a second to pod b and answers none; what do the established flows of a and b lose?"""
from . import gate, procs
from .generator import Generator
from .peer_leat import C_IP, LeatPvp

FLOWS, EST_PPS = 1000, 500_000
FLOOD_PPS = (0, 1_000_000)


def trial(peer, gen, flood_pps, fixed, opts, emit):
    window = gate.Window([p.pid for p in (*peer.processes(), gen.proc)])
    before = peer.leatd.drops()
    a = gen.ask("run", seconds=opts.seconds, pps=EST_PPS, flood_pps=flood_pps)
    reasons = window.stop(a["seconds"])
    drops = {k: v - before.get(k, 0) for k, v in peer.leatd.drops().items() if v > before.get(k, 0)}
    emit({**fixed, "measure": "lost", "value": round(100 * a["not_arrived"] / max(1, a["sent"]), 5), "unit": "%",
          "established_pps": round(a["sent"] / a["seconds"]), "lost": a["not_arrived"], "flows": FLOWS,
          "flood_pps": round(a.get("flood_sent", 0) / a["seconds"]), "flood_offered_pps": round(a.get("flood_offered", 0) / a["seconds"]),
          "load": flood_pps, "drops": drops, "noisy": reasons})


def run(scenario, peers, opts, emit):
    del peers
    for rnd in range(1, opts.rounds + 1):
        work, peer, gen = procs.Workdir(), None, None
        fixed = {"scenario": scenario, "peer": "leat", "round": rnd}
        try:
            peer = LeatPvp(work)
            pod = peer.add_pod("c", C_IP)
            gen = Generator(work, [*peer.sockets, pod["socket"]])
            for p in (*peer.processes(), gen.proc):
                p.prefer()
            peer.setup(gen, scenario)
            gen.ask("set", c_ip=C_IP, c_mac=pod["mac"])
            procs.wait_for("ARP from leat, side c", lambda: peer.arp(gen, "c"), 15)
            gen.wait_forwarding()
            gen.ask("flows", n=FLOWS, frame=64)
            gen.warm(FLOWS)
            for flood_pps in FLOOD_PPS:
                trial(peer, gen, flood_pps, fixed, opts, emit)
        except procs.PerfError as e:
            emit({**fixed, "error": str(e)})
        finally:
            if gen:
                gen.stop()
            if peer:
                peer.stop()
            work.remove()
