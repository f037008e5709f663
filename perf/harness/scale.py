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
from .peer_scale import FLOWS_MAX, LeatRules, LeatServices

FLOWS = 1000        # established
TURNS = 7           # of all counts, within a round
FIRST_CONNS = 2000  # to each of the three services
# WATCH_PPS: the worker sleeps between two probes, so that the control thread has a core, which on two cores it shares with the generator else
FIRST_PPS, WATCH_PPS, EST_PPS, BUSY_PPS = 1000, 4000, 2000, 50000
NEW_CONNS, NEW_PPS = 250_000, 1e7  # as many as come, of so many
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


def kernel_established(peer, addresses, rows, opts):
    window = rows.window()
    answers = [peer.established(addresses, VIP_PORT, FLOWS, opts.seconds) for _ in range(3)]
    reasons = window.stop(3 * opts.seconds)
    rates = [a["mpps"] for a in answers]
    rows.add("established", statistics.median(rates), "Mpps", reasons, lowest=min(rates), highest=max(rates),
             flows=FLOWS, loss_share=loss_share(answers))


def loss_share(answers):
    lost = sum(a["sent"] - a["arrived"] for a in answers)
    return round(max(0, lost) / max(1, sum(a["sent"] for a in answers)), 6)


def median_of(answers, field):
    return round(statistics.median(a[field] for a in answers), 1)


def ratio(answers, first, field):
    return round(statistics.median(a[field] / f[field] for a, f in zip(answers, first)), 3)


def bearable_pps(peer, address, most):
    """At most a tenth of what the peer can do, by the first packets of a few connections while it is awake."""
    t = peer.probe.ask("first", vips=address, port=VIP_PORT, n=20, pps=20, est_vip=address, est_pps=BUSY_PPS)["targets"][0]
    if not t["arrived"]:
        raise procs.PerfError(f"no new connection to {address} arrives")
    return max(10, min(most, int(0.1e9 / t["p50_ns"])))


def first_answer(peer, positions, n, pps, beside):
    """The probe's answer for n first packets to each position. beside: packets a second of established flows, so that nobody has gone to
    sleep between two connections."""
    addresses = list(positions.values())
    return peer.probe.ask("first", vips=",".join(addresses), port=VIP_PORT, n=n, pps=pps, deadline_s=300,
                          **({"est_vip": addresses[0], "est_pps": beside} if beside else {}))


def first_name(beside):
    return "busy-first-packet" if beside else "first-packet"


def first_packets(peer, positions, rows, beside=0):
    pps = bearable_pps(peer, list(positions.values())[-1], FIRST_PPS)
    n = FIRST_CONNS if pps == FIRST_PPS else 300
    window = rows.window()
    answer = first_answer(peer, positions, n, pps, beside)
    reasons = window.stop(n * len(positions) / pps)
    for position, t in zip(positions, answer["targets"]):
        rows.add(first_name(beside), t["p50_ns"] / 1e3, "us", reasons, position=position, p99=round(t["p99_ns"] / 1e3, 2),
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


class Changes:
    """Adds services behind the last one and changes the middle one, one at a time: add() and change() as watched()."""

    def __init__(self, peer, n):
        self.peer, self.n, self.turn = peer, n, 0
        self.pps = bearable_pps(peer, vip(n - 1), WATCH_PPS)
        self.seen = {"add": [], "change": []}

    def add(self):
        rules = self.peer.rules
        self.seen["add"].append(watched(self.peer, vip(rules.n), TARGET_PORT, self.pps, vip(0), lambda: rules.add(CHANGES_SECONDS),
                                        CHANGES_SECONDS))

    def change(self):
        self.turn += 1
        port = CHANGED_PORT if self.turn % 2 else TARGET_PORT
        self.seen["change"].append(
            watched(self.peer, vip(self.n // 2), port, self.pps, vip(0),
                    lambda: self.peer.rules.change(self.n // 2, port, CHANGES_SECONDS), CHANGES_SECONDS))

    def emit(self, name, rows, reasons, least=None):
        """least: the changes at the least count, made in turn with these."""
        for i, what in enumerate(("ack", "effect")):
            ms = [s[i] * 1e3 for s in self.seen[name]]
            more = {}
            if least:
                of_least = [s[i] * 1e3 for s in least.seen[name]]
                more = {"p50_ratio": round(quantile(ms, 0.5) / quantile(of_least, 0.5), 3),
                        "p99_ratio": round(quantile(ms, 0.99) / quantile(of_least, 0.99), 3)}
            rows.add(f"{name}-{what}", quantile(ms, 0.5), "ms", reasons, p99=round(quantile(ms, 0.99), 3), changes=len(ms),
                     pps=self.pps, lost=sum(s[2] for s in self.seen[name]), established_pps=EST_PPS, **more)


def changes(peer, n, rows, opts):
    made = Changes(peer, n)
    for name, one in (("add", made.add), ("change", made.change)):
        begun, window = os.times().elapsed, rows.window()
        while len(made.seen[name]) < opts.changes and os.times().elapsed - begun < CHANGES_SECONDS:
            one()
        made.emit(name, rows, window.stop(os.times().elapsed - begun))


def kernel_services(name, n, rnd, opts, emit):
    """All rows of one of the kernel's peers at one count."""
    work, peer, wanted = procs.Workdir(), None, n
    fixed = {"scenario": "scale-services", "peer": name, "services": n, "backends": netfilter.N_BACKENDS, "round": rnd}
    try:
        window = gate.Window([])
        peer = Kernel(work, name, n, opts.load_seconds)
        reasons = window.stop(peer.took)
        rows = Rows(peer, fixed, emit)
        if n:
            n = peer.rules.n  # or fewer, when the time was over
            fixed["services"] = n
            rows.add("load", peer.took, "s", reasons, wanted=wanted)
        positions = service_positions(n) if n else {"routed": netfilter.backend(0, 0)}
        kernel_established(peer, list(dict.fromkeys(positions.values())), rows, opts)
        service_rows(peer, n, positions, rows, opts)
    except procs.PerfError as e:
        emit({**fixed, "error": str(e)})
    finally:
        if peer:
            peer.stop()
        work.remove()


def service_positions(n):
    return {"first": vip(0), "middle": vip(n // 2), "last": vip(n - 1)}


def service_rows(peer, n, positions, rows, opts):
    first_packets(peer, positions, rows)
    first_packets(peer, positions, rows, BUSY_PPS)
    if n:
        changes(peer, n, rows, opts)


class AllCounts:
    """leat with each count, all at once; `rows`: what is measured, by count."""

    def __init__(self, start, fixed, unit, counts, emit):
        self.works, self.rows = [], {}
        try:
            for n in counts:
                self.works.append(procs.Workdir())
                window = self.window()
                peer = start(self.works[-1], n)
                self.rows[n] = Rows(peer, {**fixed, unit: n}, emit)
                self.rows[n].add("load", peer.took, "s", window.stop(peer.took), wanted=n)
        except procs.PerfError:
            self.stop()
            raise

    def window(self):
        return gate.Window([p.pid for r in self.rows.values() for p in r.peer.processes()], own_names=("ksoftirqd", "kworker"))

    def in_turn(self, measure, turns, one, field, unit, **more):
        """one(peer) of all counts in turn, `turns` times over: on a machine whose clock differs from minute to minute only what is
        measured in the same seconds can be compared. rate_ratio and cycles_ratio: to the least count in the same turn."""
        seen, window, begun = {n: [] for n in self.rows}, self.window(), os.times().elapsed
        for _ in range(turns):
            for n, rows in self.rows.items():
                seen[n].append(one(rows.peer))
        reasons, first = window.stop(os.times().elapsed - begun), seen[min(seen)]
        for n, rows in self.rows.items():
            rates = [a[field] for a in seen[n]]
            rows.add(measure, statistics.median(rates), unit, reasons, lowest=round(min(rates), 4), highest=round(max(rates), 4),
                     loss_share=loss_share(seen[n]), cycles_per_packet=median_of(seen[n], "cycles_per_packet"),
                     rate_ratio=ratio(seen[n], first, field), cycles_ratio=ratio(seen[n], first, "cycles_per_packet"),
                     generator_limited=sum(a.get("generator_limited", False) for a in seen[n]) > turns / 2, **more)

    def first_in_turn(self, positions_of, beside=0):
        """First packets at all counts in turn. p50_ratio, p99_ratio: to the same position of the least count in the same turn, medians."""
        seen, window, begun = {n: [] for n in self.rows}, self.window(), os.times().elapsed
        for _ in range(TURNS):
            for n, rows in self.rows.items():
                seen[n].append(first_answer(rows.peer, positions_of(n), FIRST_CONNS // TURNS, FIRST_PPS, beside)["targets"])
        reasons, first = window.stop(os.times().elapsed - begun), seen[min(seen)]
        for n, rows in self.rows.items():
            for i, position in enumerate(positions_of(n)):
                turns, least = [a[i] for a in seen[n]], [a[i] for a in first]
                rows.add(first_name(beside), median_of(turns, "p50_ns") / 1e3, "us", reasons, position=position,
                         p99=round(median_of(turns, "p99_ns") / 1e3, 2), highest=round(max(t["max_ns"] for t in turns) / 1e3, 2),
                         connections=sum(t["sent"] for t in turns), lost=sum(t["sent"] - t["arrived"] for t in turns),
                         pps=FIRST_PPS, p50_ratio=ratio(turns, least, "p50_ns"), p99_ratio=ratio(turns, least, "p99_ns"))

    def changes_in_turn(self, opts):
        made = {n: Changes(rows.peer, n) for n, rows in self.rows.items()}
        pps = min(m.pps for m in made.values())
        for m in made.values():
            m.pps = pps
        for name in ("add", "change"):
            window, begun = self.window(), os.times().elapsed
            for _ in range(opts.changes):
                for n in self.rows:
                    getattr(made[n], name)()
            reasons = window.stop(os.times().elapsed - begun)
            for n, rows in self.rows.items():
                made[n].emit(name, rows, reasons, made[min(made)])

    def stop(self):
        for rows in self.rows.values():
            rows.peer.stop()
        for work in self.works:
            work.remove()


def leat_round(start, fixed, unit, counts, measure, emit):
    """One round of leat at all counts of `unit`."""
    counted = None
    try:
        counted = AllCounts(start, fixed, unit, counts, emit)
        measure(counted)
    except procs.PerfError as e:
        emit({**fixed, "error": str(e)})
    finally:
        if counted:
            counted.stop()


def new_connections(peer):
    """UDP, one packet each, as fast as the ring takes them: what is lost was dropped, what is slow stands in the ring."""
    peer.leatd.call("flow.flush")
    procs.wait_for("room of the flushed connections", lambda: peer.connections_held() < FLOWS_MAX - NEW_CONNS - FLOWS_MAX // 16)
    peer.probe.ask("flows", n=NEW_CONNS, frame=64)
    before = peer.connections_made()
    peer.reset_cycles()
    seen = peer.probe.ask("warm", pps=NEW_PPS)
    cycles, pkts = peer.cycles()
    made = peer.connections_made() - before
    if seen["a_to_b"] < 0.9 * NEW_CONNS:
        raise procs.PerfError(f"only {seen['a_to_b']} of {NEW_CONNS} first packets came: {peer.leatd.drops()}")
    if made < 0.99 * seen["a_to_b"]:
        raise procs.PerfError(f"only {made} of {seen['a_to_b']} connections were new")
    return {"mcps": seen["a_to_b"] / seen["seconds"] / 1e6, "sent": NEW_CONNS, "arrived": seen["a_to_b"],
            "cycles_per_packet": cycles / max(1, pkts)}


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


def leat_services(rnd, opts, emit):
    def measure(counted):
        counted.in_turn("established", TURNS, lambda peer: peer.established(FLOWS, opts.seconds), "mpps", "Mpps", flows=FLOWS)
        counted.in_turn("established-one", TURNS, lambda peer: peer.established(FLOWS, opts.seconds, most=1), "mpps", "Mpps", flows=FLOWS)
        counted.first_in_turn(service_positions)
        counted.first_in_turn(service_positions, BUSY_PPS)
        counted.changes_in_turn(opts)

    leat_round(lambda work, n: LeatServices(work, n, opts.load_seconds),
               {"scenario": "scale-services", "peer": "leat", "backends": netfilter.N_BACKENDS, "round": rnd},
               "services", opts.services, measure, emit)


def leat_rules(shape, rnd, opts, emit):
    def measure(counted):
        counted.in_turn("established", TURNS, lambda peer: peer.established(FLOWS, opts.seconds), "mpps", "Mpps", flows=FLOWS)
        counted.in_turn("new-connections", TURNS, new_connections, "mcps", "M/s")
        counted.first_in_turn(lambda n: {"only": B_IP})
        counted.first_in_turn(lambda n: {"only": B_IP}, BUSY_PPS)
        for rows in counted.rows.values():
            added_rules(rows.peer, rows, opts)

    leat_round(lambda work, n: LeatRules(work, n, shape, opts.load_seconds),
               {"scenario": "scale-rules", "peer": "leat", "shape": shape, "round": rnd}, "rules", opts.rules, measure, emit)


def run(scenario, peers, opts, emit):
    procs.prefer(os.getpid())
    for rnd in range(1, opts.rounds + 1):
        if scenario == "scale-rules":
            for shape in ("acl", "policies"):
                leat_rules(shape, rnd, opts, emit)
            continue
        for name in peers:
            if name == "leat":
                leat_services(rnd, opts, emit)
                continue
            for n in [0] if name == "no-rules" else opts.services:
                kernel_services(name, n, rnd, opts, emit)
