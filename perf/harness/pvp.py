# SPDX-License-Identifier: BSD-3-Clause
"""
pvp-l3, pvp-vxlan and pvp-service: the switch on one core, leat-gen on the other, over vhost-user. pvp-service: pod a reaches pod b by a
service's address, a policy lets it in.
"""
import os
import time

from . import gate, procs
from .generator import Generator
from .peer_leat import VIP, VIP_PORT, LeatPvp
from .peer_ovs import OvsPvp
from .peer_testpmd import Testpmd

PEERS = {"leat": LeatPvp, "testpmd": Testpmd, "ovs": OvsPvp}
TRIES = 3               # of a trial that the gate refuses
GENERATOR_LIMIT = 0.10  # refused less than this: the generator was the limit
SERVICE = {"vips": 1, "vip": VIP, "vport": VIP_PORT}


def start_peer(name, work, scenario):
    if name == "testpmd":
        return Testpmd(work)
    return PEERS[name](work, scenario)


def sessions(peer, gen):
    return [p.pid for p in (*peer.processes(), gen.proc)]


def measure(peer, gen, seconds):
    """One window: (generator's answer, cycles per packet or None, why it was not quiet)."""
    before = gen.ask("canary")["median_us"]
    peer.reset_cycles()
    window = gate.Window(sessions(peer, gen))
    answer = gen.ask("run", seconds=seconds)
    reasons = window.stop(answer["seconds"])
    cycles, pkts = peer.cycles()
    after = gen.ask("canary")["median_us"]
    if gate.canary_differs(before, after):
        reasons.append(f"canary {before:.0f} us before, {after:.0f} us after")
    return answer, (cycles / pkts if pkts else None), reasons


def row_of(scenario, peer, frame, flows, rnd, opts):
    return {"scenario": scenario, "peer": peer.name, "frame_bytes": frame, "flows": flows, "round": rnd,
            "proto": opts.proto, **({"zipf": opts.zipf} if opts.zipf else {})}


def trial(scenario, peer, gen, frame, flows, rnd, opts):
    """One row of one round, repeated while the gate refuses it; the object that becomes a JSON line."""
    args = {"n": flows, "frame": frame, "proto": opts.proto}
    if scenario == "pvp-service":
        args |= SERVICE
    if opts.zipf:
        args["zipf"] = opts.zipf
    gen.ask("flows", **args)
    seen = gen.warm(flows, pps=opts.warm_pps)
    best = None
    for attempt in range(1, TRIES + 1):
        answer, cycles, reasons = measure(peer, gen, opts.seconds)
        best = {**row_of(scenario, peer, frame, flows, rnd, opts),
                "mpps": round(answer["mpps"], 4), "gbps": round(answer["gbps"], 3),
                "refused_share": round(answer["refused_share"], 4),
                "cycles_per_packet": round(cycles, 1) if cycles else None,
                "generator_limited": answer["refused_share"] < GENERATOR_LIMIT,
                "generator_mpps": round(answer["capable_mpps"], 3),
                "loss_share": round(answer["not_arrived"] / max(1, answer["sent"]), 6),
                **{k: answer["a"][k] + answer["b"][k]
                   for k in ("reordered", "duplicate", "misdelivered", "corrupt", "alien")},
                "warmed": min(seen["a_to_b"], seen["b_to_a"]), "ring": procs.RING, "features": procs.FEATURES,
                "attempt": attempt, "noisy": reasons}
        if not reasons:
            break
    return best


def latency(scenario, peer, gen, frame, flows, rnd, opts, mpps):
    """Latency from the scheduled send time at 10, 50 and 90 % of the row's rate."""
    for load in (0.1, 0.5, 0.9):
        window = gate.Window(sessions(peer, gen))
        a = gen.ask("latency", seconds=opts.seconds, pps=int(mpps * 1e6 * load))
        yield {**row_of(scenario, peer, frame, flows, rnd, opts), "mpps": round(a["arrived"] / a["seconds"] / 1e6, 4),
               "load": load, **{k: a[k] for k in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")},
               "noisy": window.stop(a["seconds"])}


def run_peer(name, scenario, rnd, opts, emit):
    """All rows of one peer in one round; the peer and the generator live for that long."""
    work = procs.Workdir()
    peer = gen = None
    try:
        peer = start_peer(name, work, scenario)
        gen = Generator(work, peer.sockets)
        for p in (*peer.processes(), gen.proc):
            p.prefer()
        peer.setup(gen, scenario)
        gen.wait_forwarding()
        for frame in opts.frames:
            for flows in opts.flows:
                row = trial(scenario, peer, gen, frame, flows, rnd, opts)
                emit(row)
                if opts.latency and opts.proto == "udp":
                    for line in latency(scenario, peer, gen, frame, flows, rnd, opts, row["mpps"]):
                        emit(line)
    except procs.PerfError as e:
        emit({"scenario": scenario, "peer": name, "round": rnd, "error": str(e)})
    finally:
        if gen:
            gen.stop()
        if peer:
            peer.stop()
        if os.environ.get("LEAT_PERF_KEEP"):
            print(f"kept: {work.path}", flush=True)
        else:
            work.remove()


def run(scenario, peers, opts, emit):
    for rnd in range(1, opts.rounds + 1):
        for name in peers:
            run_peer(name, scenario, rnd, opts, emit)
            time.sleep(opts.pause)
