# SPDX-License-Identifier: BSD-3-Clause
"""Fragments on their way through (docs/nat.md): the first one's ports speak for all; those that come before it wait; pieces that overlap
end their datagram (RFC 5722), and an exact duplicate is dropped alone. A datagram that is complete is forgotten at once."""
import wire
from values import Drop


class Datagram:
    def __init__(self):
        self.pieces, self.held, self.has_first, self.is_bad = [], [], False, False

    def is_duplicate(self, piece):
        return not self.is_bad and piece in self.pieces

    def fits(self, piece):
        def end(p):
            return p.offset + p.length

        apart = all(end(piece) <= p.offset or end(p) <= piece.offset for p in self.pieces)
        last = next((p for p in [*self.pieces, piece] if p.is_last), None)
        others = [p for p in [*self.pieces, piece] if p is not last]
        return not self.is_bad and apart and not any(
            p.is_last or (last is not None and end(p) > last.offset) for p in others)

    def is_complete(self):
        return any(p.is_last and p.offset + p.length == sum(q.length for q in self.pieces) for p in self.pieces)


class Datagrams:
    """Those of which something is missing."""

    def __init__(self):
        self.known = {}

    def enter(self, frame):
        """The frames that go on now that this one has come, itself first; none: it waits. Raises Drop."""
        p = frame.packet
        if p.proto == wire.TCP and p.family() == 4 and p.piece.offset == 8:
            raise Drop("frag_bad")  # RFC 3128 s. 4: it could overwrite flags, so it is nobody's
        key = frame.port, frame.tunnel, p.src, p.dst, p.ident, p.proto if p.family() == 4 else None
        d = self.known.setdefault(key, Datagram())
        if d.is_duplicate(p.piece):
            raise Drop("frag_bad")
        if not d.fits(p.piece):
            d.is_bad, n_held, d.held = True, len(d.held), []
            raise Drop("frag_bad", times=n_held + 1)
        d.pieces.append(p.piece)
        d.has_first |= p.piece.offset == 0
        going, d.held = ([frame, *d.held], []) if d.has_first else ([], [*d.held, frame])
        if d.is_complete():
            del self.known[key]
        return going


def cut(packet, ident, pieces):
    """The packet in pieces, (offset, length, is last) in the order in which they are sent; filled up to their end."""
    end = max(offset + length for offset, length, _ in pieces)
    missing = end - len(wire.l4_bytes(packet.replace(data=b"")))
    whole = packet.replace(data=(packet.data + bytes(range(256)))[:missing], ident=ident)
    return [whole.replace(piece=wire.Piece(*piece)) for piece in pieces]
