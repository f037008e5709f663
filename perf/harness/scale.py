# SPDX-License-Identifier: BSD-3-Clause
"""
scale-services, scale-rules: what a service or a rule costs when there are many: loading all, packets of established flows, the first
packet of a connection (to the first, middle and last service), new connections, and adding and changing one while traffic runs.
"""
import os
import statistics

from . import gate, netfilter, procs
from .netfilter import CHANGED_PORT, TARGET_PORT, VIP_PORT, vip
from .peer_kernel import Kernel
from .peer_leat import B_IP
from .peer_scale import LeatRules, LeatServices

FLOWS = 1000        # established
FIRST_CONNS = 2000  # to each of the three services
FIRST_PPS, WATCH_PPS, EST_PPS, BUSY_PPS = 1000, 20000, 2000, 50000
NEW_CONNS, NEW_PPS = 500_000, 1e7  # as many as come, of so many
RULE_PORTS = 40000  # not opened by any other rule
CHANGES_SECONDS = 40  # for one kind of change at one count; what was not reached is not made up


class Rows:
    """Makes rows of one peer at one count."""

    def __init__(self, peer, fixed, emit):
        self.peer, self.fixed, self.emit = peer, fixed, emit

    def window(self):
        return gate.Window([p.pid for p in self.peer.processes()], own_names=("ksoftirqd", "kworker"))

    def add(self, measure, value, unit, noisy, **more):
        self.emit({**self.fixed, "measure": measure, "value": round(value, 4), "unit": unit, **more, "noisy": noisy})


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def established(peer, addresses, rows, opts):
    window = rows.window()
    answers = [peer.established(addresses, VIP_PORT, FLOWS, opts.seconds) for _ in range(3)]
    reasons = window.stop(3 * opts.seconds)
    rates = [a["mpps"] for a in answers]
    lost = sum(a["sent"] - a["arrived"] for a in answers)
    rows.add("established", statistics.median(rates), "Mpps", reasons, lowest=min(rates), highest=max(rates),
             flows=FLOWS, loss_share=round(max(0, lost) / max(1, sum(a["sent"] for a in answers)), 6),
             generator_limited=any(a.get("generator_limited") for a in answers),
             **({"cycles_per_packet": round(statistics.median(a["cycles_per_packet"] for a in answers), 1)}
                if "cycles_per_packet" in answers[0] else {}))


def bearable_pps(peer, address, most):
    """At most a tenth of what the peer can do, by the first packets of a few connections while it is awake."""
    t = peer.probe.ask("first", vips=address, port=VIP_PORT, n=20, pps=20, est_vip=address, est_pps=BUSY_PPS)["targets"][0]
    if not t["arrived"]:
        raise procs.PerfError(f"no new connection to {address} arrives")
    return max(10, min(most, int(0.1e9 / t["p50_ns"])))


def first_packets(peer, positions, rows, beside=0):
    """beside: packets a second of established flows, so that nobody has gone to sleep between two connections."""
    pps = bearable_pps(peer, list(positions.values())[-1], FIRST_PPS)
    n = FIRST_CONNS if pps == FIRST_PPS else 300
    window = rows.window()
    answer = peer.probe.ask("first", vips=",".join(positions.values()), port=VIP_PORT, n=n, pps=pps, deadline_s=300,
                            **({"est_vip": list(positions.values())[0], "est_pps": beside} if beside else {}))
    reasons = window.stop(n * len(positions) / pps)
    for position, t in zip(positions, answer["targets"]):
        rows.add("busy-first-packet" if beside else "first-packet", t["p50_ns"] / 1e3, "us", reasons, position=position, p99=round(t["p99_ns"] / 1e3, 2),
                 highest=round(t["max_ns"] / 1e3, 2), connections=t["sent"], lost=t["sent"] - t["arrived"], pps=pps)


def watched(peer, address, until, pps, est_vip, change, seconds):
    """One change while a probe opens connections: (s to acknowledgement, s to effect, packets lost of established flows)."""
    peer.probe.start("watch", vips=address, port=VIP_PORT, until=until, pps=pps, seconds=seconds + 5, est_vip=est_vip,
                     est_pps=EST_PPS)
    ack = change()
    seen = peer.probe.answer(seconds + 10)
    if not seen["at_ns"]:
        raise procs.PerfError(f"no connection to {address} came out at port {until} within {seconds} s of the change")
    return ack, (seen["at_ns"] - peer.rules.started_ns) / 1e9, seen["est_sent"] - seen["est_arrived"]


def changes(peer, n, rows, opts):
    """Adding services behind the last one, and changing the middle one."""
    pps = bearable_pps(peer, vip(n - 1), WATCH_PPS)
    turn = [0]

    def add():
        return watched(peer, vip(peer.rules.n), TARGET_PORT, pps, vip(0), lambda: peer.rules.add(CHANGES_SECONDS),
                       CHANGES_SECONDS)

    def change():
        turn[0] += 1
        port = CHANGED_PORT if turn[0] % 2 else TARGET_PORT
        return watched(peer, vip(n // 2), port, pps, vip(0), lambda: peer.rules.change(n // 2, port, CHANGES_SECONDS),
                       CHANGES_SECONDS)

    for name, one in (("add", add), ("change", change)):
        seen, begun, window = [], os.times().elapsed, rows.window()
        while len(seen) < opts.changes and os.times().elapsed - begun < CHANGES_SECONDS:
            seen.append(one())
        reasons = window.stop(os.times().elapsed - begun)
        for what, values in (("ack", [s[0] for s in seen]), ("effect", [s[1] for s in seen])):
            rows.add(f"{name}-{what}", quantile(values, 0.5) * 1e3, "ms", reasons, p99=round(quantile(values, 0.99) * 1e3, 3),
                     changes=len(seen), pps=pps, lost=sum(s[2] for s in seen), established_pps=EST_PPS)


def services(name, n, rnd, opts, emit):
    """All rows of one peer at one count."""
    work, peer, wanted = procs.Workdir(), None, n
    fixed = {"scenario": "scale-services", "peer": name, "services": n, "backends": netfilter.N_BACKENDS, "round": rnd}
    try:
        window = gate.Window([])
        peer = LeatServices(work, n, opts.load_seconds) if name == "leat" else Kernel(work, name, n, opts.load_seconds)
        reasons = window.stop(peer.took)
        rows = Rows(peer, fixed, emit)
        if n:
            n = peer.rules.n  # or fewer, when the time was over
            fixed["services"] = n
            rows.add("load", peer.took, "s", reasons, wanted=wanted)
        positions = {"first": vip(0), "middle": vip(n // 2), "last": vip(n - 1)} if n else {
            "routed": netfilter.backend(0, 0)}
        established(peer, list(dict.fromkeys(positions.values())), rows, opts)
        first_packets(peer, positions, rows)
        first_packets(peer, positions, rows, BUSY_PPS)
        if n:
            changes(peer, n, rows, opts)
    except procs.PerfError as e:
        emit({**fixed, "error": str(e)})
    finally:
        if peer:
            peer.stop()
        work.remove()


def new_connections(peer, rows):
    """UDP, one packet each, as fast as the ring takes them: what is lost was dropped, what is slow stands in the ring."""
    rates, noisy, lost = [], [], 0
    for _ in range(3):
        peer.leatd.call("flow.flush")
        peer.probe.ask("flows", n=NEW_CONNS, frame=64)
        window = rows.window()
        before = peer.connections_made()
        seen = peer.probe.ask("warm", pps=NEW_PPS)
        made = peer.connections_made() - before
        noisy += window.stop(seen["seconds"])
        if seen["a_to_b"] < 0.9 * NEW_CONNS:
            raise procs.PerfError(f"only {seen['a_to_b']} of {NEW_CONNS} first packets came: {peer.leatd.drops()}")
        if made < 0.99 * seen["a_to_b"]:
            raise procs.PerfError(f"only {made} of {seen['a_to_b']} connections were new")
        lost += NEW_CONNS - seen["a_to_b"]
        rates.append(seen["a_to_b"] / seen["seconds"] / 1e6)
    rows.add("new-connections", statistics.median(rates), "M/s", noisy, lowest=round(min(rates), 4), highest=round(max(rates), 4),
             loss_share=round(lost / 3 / NEW_CONNS, 6))


def added_rules(peer, rows, opts):
    """One rule more: the port that it opens was closed before."""
    seen, begun, window = [], os.times().elapsed, rows.window()
    for port in range(RULE_PORTS, RULE_PORTS + opts.changes):
        peer.probe.start("watch", vips=B_IP, port=port, until=port, pps=WATCH_PPS, seconds=CHANGES_SECONDS)
        ack = peer.rules.allow(port)
        at = peer.probe.answer(CHANGES_SECONDS + 10)["at_ns"]
        if not at:
            raise procs.PerfError(f"port {port} stayed closed")
        seen.append((ack, (at - peer.rules.started_ns) / 1e9))
        if os.times().elapsed - begun > CHANGES_SECONDS:
            break
    reasons = window.stop(os.times().elapsed - begun)
    for what, values in (("ack", [s[0] for s in seen]), ("effect", [s[1] for s in seen])):
        rows.add(f"add-{what}", quantile(values, 0.5) * 1e3, "ms", reasons, p99=round(quantile(values, 0.99) * 1e3, 3),
                 changes=len(seen), pps=WATCH_PPS)


def rules(shape, n, rnd, opts, emit):
    work, peer = procs.Workdir(), None
    fixed = {"scenario": "scale-rules", "peer": "leat", "rules": n, "shape": shape, "round": rnd}
    try:
        window = gate.Window([])
        peer = LeatRules(work, n, shape, opts.load_seconds)
        rows = Rows(peer, fixed, emit)
        rows.add("load", peer.took, "s", window.stop(peer.took))
        window = rows.window()
        answers = [peer.run(opts.seconds, n=FLOWS) for _ in range(3)]
        rates = [a["mpps"] for a in answers]
        rows.add("established", statistics.median(rates), "Mpps", window.stop(3 * opts.seconds), lowest=min(rates),
                 highest=max(rates), cycles_per_packet=round(statistics.median(a["cycles_per_packet"] for a in answers), 1),
                 generator_limited=any(a["generator_limited"] for a in answers))
        first_packets(peer, {"only": B_IP}, rows)
        first_packets(peer, {"only": B_IP}, rows, BUSY_PPS)
        new_connections(peer, rows)
        added_rules(peer, rows, opts)
    except procs.PerfError as e:
        emit({**fixed, "error": str(e)})
    finally:
        if peer:
            peer.stop()
        work.remove()


def run(scenario, peers, opts, emit):
    procs.prefer(os.getpid())
    for rnd in range(1, opts.rounds + 1):
        if scenario == "scale-rules":
            for shape in ("acl", "policies"):
                for n in opts.rules:
                    rules(shape, n, rnd, opts, emit)
            continue
        for name in peers:
            for n in [0] if name == "no-rules" else opts.services:
                services(name, n, rnd, opts, emit)
