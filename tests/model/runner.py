# SPDX-License-Identifier: BSD-3-Clause
"""Runs a scenario (world.py) through the packet harness and the model, and compares what every single packet met: frames, byte
for byte, their ports, and the drop reasons that were counted."""
import collections

import kinds
import wire
import world
from conftest import Harness, HarnessError
from fragments import cut
from leat_model import Node
from values import Frame

PROTOS = {"tcp": wire.TCP, "udp": wire.UDP, "gre": wire.GRE, "sctp": wire.SCTP}
BATCH = 256
MEANINGS = {"open": (wire.SYN, "INIT"), "reset": (wire.RST, "ABORT"), "end": (wire.FIN | wire.ACK, "SHUTDOWN")}


class Mismatch(Exception):
    """A packet that met something else than the model says. kind: what is the same while a scenario is cut down."""

    def __init__(self, text, kind, step):
        super().__init__(text)
        self.kind, self.step = kind, step

    def summary(self):
        """Drop reasons and ports that were seen, and what the model calls it."""
        if isinstance(self.kind, str):
            return self.kind
        reasons, ports, labels = self.kind
        return f"{', '.join([*reasons, *(f'by {p}' for p in ports)]) or 'nothing'}; {', '.join(labels)}"


def packet_of(spec):
    fam = wire.family(spec["src"])
    fields = {"src": spec["src"], "dst": spec["dst"], "ttl": spec.get("ttl", 64), "data": spec["data"].encode()}
    if spec["proto"] == "echo":
        ident = spec["sport"]
        return wire.Packet(proto=wire.ICMP if fam == 4 else wire.ICMP6, icmp=(wire.ECHO_REQUEST[fam], 0), sport=ident,
                           dport=ident, **fields)
    if spec["proto"] == "gre":  # flags and protocol type first; key and payload are nobody's business
        return wire.Packet(proto=wire.GRE, **{**fields, "data": b"\0\0\x08\0" + fields["data"]})
    tcp = {"flags": spec["flags"], "seq": 1000, "ack": 2000 if spec["flags"] & wire.ACK else 0} if spec["proto"] == "tcp" else {}
    return wire.Packet(proto=PROTOS[spec["proto"]], sport=spec["sport"], dport=spec["dport"], **tcp, **fields)


def frame_of(spec):
    port, src_mac, dst_mac, tunnel = world.ENDS[spec["from"]]
    return Frame(port, packet_of(spec), spec.get("mac", src_mac), dst_mac, tunnel)


def reply_to(p):
    if p.proto == wire.SCTP:
        chunk = "INIT ACK" if p.is_opening() else "COOKIE ECHO"
        return p.replace(src=p.dst, dst=p.src, sport=p.dport, dport=p.sport, ttl=64, data=sctp_data(chunk))
    if p.is_echo():
        return p.replace(src=p.dst, dst=p.src, icmp=(wire.ECHO_REPLY[p.family()], 0), ttl=64)
    flags = {}
    if p.proto == wire.TCP:
        is_opening = p.flags & wire.SYN and not p.flags & wire.ACK
        flags = {"flags": wire.SYN | wire.ACK if is_opening else wire.ACK, "seq": 5000, "ack": p.seq + 1}
    return p.replace(src=p.dst, dst=p.src, sport=p.dport, dport=p.sport, ttl=64, **flags)


def sctp_data(chunk):
    return wire.CHUNKS[chunk] + b"\0\0\4"


def said_back(p, what):
    """What the far end of the packet says of its own accord: what (of MEANINGS) in its protocol. None: it cannot."""
    back = p.replace(src=p.dst, dst=p.src, sport=p.dport, dport=p.sport, ttl=64)
    if p.proto == wire.TCP:
        return back.replace(flags=MEANINGS[what][0], seq=7000, ack=p.seq + 1 if MEANINGS[what][0] & wire.ACK else 0)
    if p.proto == wire.SCTP:
        return back.replace(data=sctp_data(MEANINGS[what][1]))
    if p.is_echo() and what == "open":
        return back.replace(icmp=(wire.ECHO_REQUEST[p.family()], 0))
    return None


def error_about(p, source):
    """Port unreachable, from whoever got it."""
    fam = p.family()
    return wire.Packet(source, p.src, wire.ICMP if fam == 4 else wire.ICMP6, icmp=(3, 3) if fam == 4 else (1, 4),
                       data=bytes(4) + wire.ip_bytes(p))


class Runner:
    def __init__(self, harness):
        self.harness = harness
        self.tally = kinds.Tally()

    def run(self, steps):
        self.harness.cmd("reset")
        self.node = Node()
        self.sends, self.last, self.pending = {}, {}, []
        self.moment = None  # set: of all packets from here on
        for n, step in enumerate(steps):
            getattr(self, "step_" + step[0])(n, *step[1:])
            if len(self.pending) >= BATCH:
                self.flush()
        self.flush()
        self.harness.cmd("warp", seconds=31)  # fragments do not wait longer for their first
        self.harness.cmd("step")
        leaked = self.harness.cmd("stats")["mbufs_in_use"]
        if leaked:
            raise Mismatch(f"{leaked} packet buffers leaked", "leak", len(steps))

    # ---- steps

    def step_cmd(self, n, name, params):
        self.flush()
        self.harness.cmd(name, **params)
        self.node.command(name, params)

    def step_changed(self, n):
        """What follows comes after a change of the configuration."""
        self.moment = "changed"

    def step_send(self, n, send, spec):
        self.sends[send] = spec
        self.queue(n, "first", send, frame_of(spec))

    def step_again(self, n, send, changes):
        if send not in self.sends:
            return
        spec = {**self.sends[send], **{k: v for k, v in changes.items() if k != "ack"}}
        if changes.get("ack") and self.resolved(send) is not None:
            spec |= {"flags": wire.ACK} if spec["proto"] == "tcp" else {"data": "\n\0\0\4"} if spec["proto"] == "sctp" else {}
        self.queue(n, "again", send, frame_of(spec))

    def step_reply(self, n, send, pieces=None):
        delivered = self.resolved(send)
        if delivered is not None:
            path, packet = delivered
            self.queue_pieces(n, "reply", None, self.from_receiver(path, reply_to(packet)), pieces)

    def step_own(self, n, send, what):
        """The sender resets or ends, if its protocol knows such things."""
        spec = dict(self.sends.get(send, {}))
        if spec.get("proto") == "tcp":
            spec["flags"] = MEANINGS[what][0]
        elif spec.get("proto") == "sctp":
            spec["data"] = sctp_data(MEANINGS[what][1]).decode()
        else:
            return
        self.queue(n, "again", send, frame_of(spec))

    def step_back(self, n, send, what):
        """The same, or a connection of its own, from whoever was reached."""
        delivered = self.resolved(send)
        packet = delivered and said_back(delivered[1], what)
        if packet is not None:
            self.queue(n, "reply", None, self.from_receiver(delivered[0], packet))

    def step_pieces(self, n, send, spec, pieces):
        is_first = send not in self.sends
        self.sends.setdefault(send, spec)
        self.queue_pieces(n, "first" if is_first else "again", send, frame_of(spec), pieces)

    def step_error(self, n, send, is_router):
        delivered = self.resolved(send)
        if delivered is None or (delivered[1].icmp is not None and not delivered[1].is_echo()):
            return
        path, packet = delivered
        is_router = is_router and path.port == "up" and path.tunnel is None
        source = world.ROUTER[packet.family()] if is_router else packet.dst
        self.queue(n, "reply", None, self.from_receiver(path, error_about(packet, source))._replace(quote=packet))

    def from_receiver(self, path, packet):
        """A frame from whoever sits at the far end of a path."""
        if path.tunnel is not None:
            return Frame(path.port, packet, path.tunnel.remote_mac, path.tunnel.local_mac, path.tunnel.name)
        return Frame(path.port, packet, path.dst_mac, path.src_mac)

    def resolved(self, send):
        """What was delivered last of a send's packets."""
        if any(pending == send for _, _, pending, _ in self.pending):
            self.flush()
        return self.last.get(send)

    # ---- packets

    def queue_pieces(self, n, moment, send, frame, pieces):
        """The frame, or fragments of its packet; n is their datagram's identifier."""
        packets = cut(frame.packet, n, pieces) if pieces and frame.packet.proto != wire.SCTP else [frame.packet]
        for packet in packets:
            self.queue(n, moment, send, frame._replace(packet=packet))

    def queue(self, n, moment, send, frame):
        self.pending.append((n, self.moment or moment, send, frame))

    def frame_bytes(self, frame):
        """As the harness wants it: port, bytes; if it comes through a tunnel, also which and the inner bytes."""
        data = wire.frame(frame.src_mac, frame.dst_mac, frame.packet)
        if frame.tunnel is None:
            return [frame.port, data.hex()]
        tunnel = self.node.tunnels[frame.tunnel]
        back = tunnel._replace(local=tunnel.remote, remote=tunnel.local)
        fam, outer = wire.vxlan(back, 50000, data)
        outer = wire.ethernet(self.node.neighbours[tunnel.port, tunnel.remote], self.node.ports[tunnel.port].mac, outer, fam)
        return [frame.port, outer.hex(), frame.tunnel, data.hex()]

    def flush(self):
        if not self.pending:
            return
        pending, self.pending = self.pending, []
        frames = [self.frame_bytes(frame) for _, _, _, frame in pending]
        results = self.harness.cmd("exchange", frames=frames, explain=1)["results"]
        for (n, moment, send, frame), result in zip(pending, results, strict=True):
            self.compare_explanation(n, frame, result)
            self.compare(n, moment, send, frame, [(port, bytes.fromhex(data)) for port, data in result["out"]],
                         {tuple(d[:2]): d[2] for d in result["drops"]})
            self.node.now_s += 0.001

    def compare_explanation(self, n, frame, result):
        """What was said of the packet before it came is what happened to it. (Of a tunnel, the inner packet.)"""
        said = result["explain"]
        if said["verdict"] not in ("forward", "drop"):
            return
        if said["verdict"] == "drop":
            agrees = [frame.port, said["reason"], 1] in result["drops"]
        else:
            agrees = "frame" not in said or result["out"] == [[said["port"], said["frame"]]]
        if not agrees:
            raise Mismatch(f"step {n}: {frame}\nexplain says {said}\nbut it was {result}", "explain", n)
        self.tally.labels["explained"] += 1

    def compare(self, n, moment, send, frame, out, drops):
        observed = sorted(out), drops
        seen = [wire.seen(data) for _, data in out]
        outcomes = self.node.meet(frame, seen)
        frames, counts = [f for o in outcomes for f in o.frames], collections.Counter()
        for outcome in outcomes:
            counts.update(outcome.drops)
        if (sorted(frames), counts) != observed:
            labels = [label for o in outcomes for label in o.labels]
            raise Mismatch(explain(n, frame, observed, (frames, dict(counts), labels)), ([r for _, r in drops], [p for p, _ in out],
                                                                                         labels), n)
        for outcome in outcomes:
            self.tally.add(outcome, self.node.ports, moment)
            if send is not None and outcome.delivered is not None:
                path, packet = outcome.delivered
                self.last[send] = path, packet.replace(piece=None)


class Lab:
    """Runs scenarios; a harness that died is replaced."""

    def __init__(self):
        self.harness = Harness()
        self.tally = kinds.Tally()

    def stop(self):
        self.harness.stop()

    def failure(self, steps, is_cut=False):
        """The mismatch that the steps end in, or None. is_cut: some were left out, and that a step needs one of them is no failure."""
        runner = Runner(self.harness)
        try:
            runner.run(steps)
        except Mismatch as mismatch:
            return mismatch
        except (HarnessError, BrokenPipeError) as error:
            if self.harness.process.poll() is not None:
                self.harness = Harness()
                return Mismatch(f"the harness died: {error}", "died", len(steps))
        except (KeyError, StopIteration):
            if not is_cut:
                raise
        finally:
            self.tally.update(runner.tally)
        return None

    def minimise(self, steps):
        """The smallest part of the steps that still fails in the same way when any one more is left out (delta debugging)."""
        mismatch = self.failure(steps)
        kind, steps = mismatch.kind, steps[:mismatch.step + 1]
        size = len(steps) // 2
        while size > 0:
            at = len(steps)
            while at > 0:
                rest = steps[:max(0, at - size)] + steps[at:]
                mismatch = self.failure(rest, is_cut=True)
                if mismatch is not None and mismatch.kind == kind:
                    steps = rest
                at -= size
            size //= 2
        return steps


def explain(n, frame, observed, wanted):
    from scapy.layers.l2 import Ether
    lines = [f"step {n}: {frame}", f"got drops {observed[1]}"]
    lines += [f"got by {port}: {Ether(data).summary()} {data.hex()}" for port, data in observed[0]]
    frames, drops, labels = wanted
    lines.append(f"want drops {drops} {labels}")
    lines += [f"want by {port}: {Ether(data).summary()} {data.hex()}" for port, data in frames]
    return "\n".join(lines)
