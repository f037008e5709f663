# SPDX-License-Identifier: BSD-3-Clause
"""Two TCP ends that talk, lose segments, and are lied about: random segments for those that watch the conversation. Sequence numbers
here do not wrap; Segment.tcp() puts them on the wire."""
import dataclasses
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
WRAP = 1 << 32
NEAR, FAR = 70000, 1 << 30  # acknowledgements may be 66000 bytes old


@dataclasses.dataclass
class Segment:
    """What a side sends, and what it is; `is_odd`: forged, delayed or senseless, its receiver learns nothing from it."""
    kind: str
    side: str
    flags: int
    seq: int
    ack: int = 0
    length: int = 0
    window: int = 1000
    options: bytes = b""
    is_odd: bool = False

    def end(self):
        return self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)

    def fields(self):
        """For wire.Packet."""
        return dict(flags=self.flags, seq=self.seq % WRAP, ack=self.ack % WRAP if self.flags & ACK else 0,
                    window=self.window, options=self.options, data=bytes(self.length))


class End:
    def __init__(self, rng, isn, offered, scale, has_sack):
        self.isn = isn
        self.offered = offered  # window scale of its SYN, None without
        self.scale = scale  # the one in force
        self.has_sack = has_sack
        self.next = self.isn
        self.una = self.isn  # what the other end has acknowledged, as far as this one knows
        self.received = None  # the next number it expects
        self.beyond = []  # received behind a gap
        self.raw = rng.choice([100, 1000, 3000])
        self.window = self.edge = None  # what the other end last offered, and as far as this one may send
        self.fin = None

    def options(self):
        scale = struct.pack("!BBBB", 1, 3, 3, self.offered) if self.offered is not None else b""
        return scale + (b"\x01\x01\x04\x02" if self.has_sack else b"")


class Ends:
    """A connection from a to b. next_segment() is what is sent now; tell it by delivered() what came through."""

    def __init__(self, rng):
        self.rng = rng
        self.is_reopened = False
        self.start({side: WRAP + rng.choice([rng.randrange(WRAP), WRAP - rng.randrange(3000)]) for side in "ab"})

    def start(self, isns):
        offers = self.rng.choice(["ab", "ab", "a", "b", ""])
        self.has_sack = self.rng.random() < 0.5
        self.ends = {}
        for side in "ab":
            offered = self.rng.randrange(15) if side in offers else None
            self.ends[side] = End(self.rng, isns[side], offered, offered if offers == "ab" else 0, self.has_sack)
        self.is_open = self.is_over = self.is_doubtful = False
        self.crossed = []  # sides that owe the answer to a SYN that crossed theirs

    def other(self, side):
        return self.ends["b" if side == "a" else "a"]

    # ---- what comes through

    def delivered(self, s):
        """Segment s has reached the middle's other side; some of them get lost behind it."""
        if s.is_odd or (self.is_open and s.length and self.rng.random() < 0.2):
            return
        to, of = self.other(s.side), self.ends[s.side]
        if s.flags & RST:
            self.is_over = True
            return
        if s.flags & SYN:
            to.received = s.end()
        elif to.received is not None and s.seq <= to.received < s.end():
            to.received = s.end()
            for start, end in sorted(to.beyond):
                if start <= to.received:
                    to.received = max(to.received, end)
            to.beyond = [gap for gap in to.beyond if gap[0] > to.received]
        elif to.received is not None and s.length and s.seq > to.received:
            to.beyond.append((s.seq, s.end()))
        if s.flags & ACK:
            to.una = max(to.una, s.ack)
            to.window = s.window << (0 if s.flags & SYN else of.scale)
            to.edge = max(to.edge or 0, s.ack + to.window)
            self.is_open |= s.side == "a" and not s.flags & SYN

    # ---- what is sent

    def next_segment(self):
        if self.is_over:  # the same ports again
            self.is_reopened = True
            self.start({side: end.next + self.rng.randrange(100000, FAR) for side, end in self.ends.items()})
        if not self.is_open:
            return self.handshake()
        side = self.rng.choice("ab")
        kinds = [self.data] * 8 + [self.pure_ack] * 6 + [self.again] * 2 + [self.probe] * 2 + [self.keep_alive, self.fin] + [
            self.beyond_edge, self.far_seq, self.old_data, self.ack_ahead, self.ack_far, self.old_ack, self.rst_near,
            self.rst_far, self.rst_old, self.syn_again, self.syn_ack_again] + ([self.rst] if self.rng.random() < 0.3 else [])
        segment = None
        while segment is None:
            segment = self.rng.choice(kinds)(side)
        return segment

    def handshake(self):
        a, b = self.ends["a"], self.ends["b"]
        roll = 1 if self.is_reopened else self.rng.random()
        if b.received is None:
            a.next = a.isn + 1
            return Segment("syn", "a", SYN, a.isn, window=a.raw, options=a.options())
        if a.received is None:
            if roll < 0.1:
                return Segment("syn retransmitted", "a", SYN, a.isn, window=a.raw, options=a.options())
            if roll < 0.15:
                return Segment("refusal", "b", RST | ACK, 0, b.received)
            if roll < 0.2:
                return Segment("refusal of another syn", "b", RST | ACK, 0, b.received + 1000, is_odd=True)
            if roll < 0.25:
                return Segment("syn+ack of another syn", "b", SYN | ACK, b.isn, b.received + FAR, is_odd=True)
            if roll < 0.3:
                return Segment("challenge of a syn", "b", ACK, b.isn + FAR, b.received + 5000, is_odd=True)
            if roll < 0.35:
                return Segment("ack before the answer", "a", ACK, a.next, b.isn + 1, is_odd=True)
            b.next = b.isn + 1
            if roll < 0.45:
                self.crossed = ["a", "b"]
                return Segment("crossing syn", "b", SYN, b.isn, window=b.raw, options=b.options())
            return Segment("syn+ack", "b", SYN | ACK, b.isn, b.received, window=b.raw, options=b.options())
        if self.crossed:
            side = self.crossed.pop()
            end = self.ends[side]
            return Segment("answer to a crossing syn", side, SYN | ACK, end.isn, end.received, window=end.raw,
                           options=end.options())
        if roll < 0.1:
            return Segment("syn+ack retransmitted", "b", SYN | ACK, b.isn, b.received, window=b.raw, options=b.options())
        if roll < 0.2:
            return Segment("syn retransmitted", "a", SYN, a.isn, window=a.raw, options=a.options())
        if roll < 0.25:
            return Segment("ack of another syn+ack", "a", ACK, a.next, a.received + FAR, is_odd=True)
        if roll < 0.3:
            return Segment("data before the ack", "b", ACK, b.next, b.received, 100, b.raw, is_odd=True)
        return Segment("ack", "a", ACK, a.next, a.received, window=a.raw)

    def sender(self, side):
        return self.ends[side], self.other(side)

    def room(self, end):
        return end.edge - end.next

    def data(self, side):
        end, _ = self.sender(side)
        if end.edge is None or self.room(end) <= 0 or end.fin is not None:
            return None
        length = min(self.rng.choice([1, 100, 536, 1000]), self.room(end))
        segment = Segment("data", side, ACK | PSH, end.next, end.received, length, end.raw)
        end.next += length
        return segment

    def sack(self, end):
        if not self.has_sack or not end.beyond:
            return b""
        start, stop = end.beyond[-1]
        return struct.pack("!BBBBII", 1, 1, 5, 10, start % WRAP, stop % WRAP)

    def pure_ack(self, side):
        end, _ = self.sender(side)
        end.raw = self.rng.choice([0, 1, 20, end.raw, end.raw, 500, 3000])
        return Segment("ack", side, ACK, end.next, end.received, window=end.raw, options=self.sack(end))

    def again(self, side):
        end, _ = self.sender(side)
        if end.una >= end.next:
            return None
        stop = end.fin if end.fin is not None else end.next
        length = min(stop - end.una, 500)
        if length <= 0:
            return None
        return Segment("data again", side, ACK, end.una, end.received, length, end.raw)

    def probe(self, side):
        end, _ = self.sender(side)
        if end.window != 0 or end.una < end.next or end.fin is not None:
            return None
        end.next += 1
        return Segment("probe of a closed window", side, ACK, end.next - 1, end.received, 1, end.raw)

    def keep_alive(self, side):
        end, _ = self.sender(side)
        return Segment("keep-alive", side, ACK, end.next - 1, end.received, 0, end.raw, is_odd=True)

    def fin(self, side):
        end, _ = self.sender(side)
        if end.fin is not None or end.edge is None or self.room(end) <= 0 or self.rng.random() < 0.6:
            return None
        end.fin = end.next
        end.next += 1
        self.is_doubtful = True
        return Segment("fin", side, FIN | ACK, end.fin, end.received, 0, end.raw)

    def rst(self, side):
        end, other = self.sender(side)
        if other.received != end.next:
            return None
        return Segment("rst", side, RST | ACK, end.next, end.received, 0, 0)

    # ---- what no end would send now

    def beyond_edge(self, side):
        end, _ = self.sender(side)
        if end.edge is None:
            return None
        return Segment("data beyond the window", side, ACK, end.edge + self.rng.choice([2, 10, 500]), end.received, 100,
                       end.raw, is_odd=True)

    def far_seq(self, side):
        end, _ = self.sender(side)
        return Segment("data far off", side, ACK, end.next + FAR + self.rng.randrange(FAR), end.received, 100, end.raw,
                       is_odd=True)

    def old_data(self, side):
        end, other = self.sender(side)
        return Segment("data of long ago", side, ACK, end.next - (65535 << other.scale) - NEAR, end.received, 100, end.raw,
                       is_odd=True)

    def ack_ahead(self, side):
        end, other = self.sender(side)
        return Segment("ack of what was not sent", side, ACK, end.next, other.next + self.rng.choice([1, 10, NEAR]), 0,
                       end.raw, is_odd=True)

    def ack_far(self, side):
        end, other = self.sender(side)
        return Segment("ack far off", side, ACK, end.next, other.next + FAR, 0, end.raw, is_odd=True)

    def old_ack(self, side):
        end, other = self.sender(side)
        return Segment("ack of long ago", side, ACK, end.next, other.next - (65535 << end.scale) - NEAR, 0, end.raw,
                       is_odd=True)

    def rst_near(self, side):
        end, other = self.sender(side)
        if other.received is None or end.edge is None or end.edge - end.next < 3:
            return None
        return Segment("rst in the window", side, RST, end.next + self.rng.randrange(1, end.edge - end.next), is_odd=True)

    def reset_kind(self, kind):
        return kind + ", after a fin or syn" if self.is_doubtful else kind

    def rst_far(self, side):
        end, _ = self.sender(side)
        return Segment(self.reset_kind("rst far off"), side, RST, end.next + FAR, is_odd=True)

    def rst_old(self, side):
        end, _ = self.sender(side)
        return Segment(self.reset_kind("rst of long ago"), side, RST, end.isn - NEAR, is_odd=True)

    def syn_again(self, side):
        end, _ = self.sender(side)
        self.is_doubtful = True
        return Segment(f"syn on an open connection from {side}", side, SYN, end.isn + FAR, window=1000, is_odd=True)

    def syn_ack_again(self, side):
        end, _ = self.sender(side)
        return Segment(f"syn+ack on an open connection from {side}", side, SYN | ACK, end.isn, end.received, 0, 1000,
                       is_odd=True)
