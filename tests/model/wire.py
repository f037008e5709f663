# SPDX-License-Identifier: BSD-3-Clause
"""Packets of the model: as values, to bytes, and the addresses and ports of what was seen. Checksums are always computed afresh;
test_model.py compares these bytes with scapy's for every shape."""
import dataclasses
import functools
import socket
import struct
from typing import NamedTuple

TCP, UDP, ICMP, ICMP6, GRE, SCTP = 6, 17, 1, 58, 47, 132
PROTO_NUMBERS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmpv6": ICMP6}
PROTO_NAMES = {**{number: name for name, number in PROTO_NUMBERS.items()}, GRE: "gre"}
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ECHO_REQUEST, ECHO_REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
CHUNKS = {"INIT": b"\1", "INIT ACK": b"\2", "ABORT": b"\6", "SHUTDOWN": b"\7", "SHUTDOWN ACK": b"\x08", "COOKIE ECHO": b"\n"}
CHUNK_FLAGS = {b"\1": SYN, b"\2": SYN | ACK, b"\6": RST, b"\7": FIN | ACK, b"\x08": FIN | ACK, b"\x0e": RST}
VXLAN_PORT = 4789
IP6_FRAGMENT = 44


@functools.lru_cache(maxsize=None)
def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@functools.lru_cache(maxsize=None)
def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def family(address):
    return 6 if ":" in address else 4


class Piece(NamedTuple):
    """What a fragment carries of its packet's payload."""
    offset: int
    length: int
    is_last: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet. Ports of an echo are its identifier, both; `icmp` is (type, code) then. A packet of another protocol has none.
    A fragment is the whole packet, of which only a piece is on the wire."""
    src: str
    dst: str
    proto: int
    sport: int = 0
    dport: int = 0
    flags: int = 0
    seq: int = 0
    ack: int = 0
    icmp: tuple = None
    ttl: int = 64
    data: bytes = b""
    tos: int = 0
    ident: int = 1
    has_df: bool = False
    window: int = 8192
    options: bytes = b""  # of TCP, whole words
    piece: Piece = None

    def family(self):
        return family(self.src)

    def has_ports(self):
        return self.proto in (TCP, UDP, SCTP)

    def is_echo(self):
        return self.icmp is not None and self.icmp[0] in (8, 0, 128, 129)

    def kind(self):
        """What of a connection's packets it may be: a question and its answer are two."""
        if self.is_echo():
            return "echo" if self.icmp[0] == ECHO_REQUEST[self.family()] else "echo-answer"
        return "l4" if self.has_ports() else "l3"

    def has_handshake(self):
        return self.proto in (TCP, SCTP)

    def meaning(self):
        """TCP's flags; an SCTP packet's first chunk in them (RFC 9260 s. 3.2)."""
        return self.flags if self.proto == TCP else CHUNK_FLAGS.get(self.data[:1], ACK)

    def is_opening(self):
        return self.has_handshake() and self.meaning() & (SYN | ACK) == SYN

    def replace(self, **fields):
        return dataclasses.replace(self, **fields)


def checksum(data):
    """RFC 1071, of bytes in network order."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


@functools.lru_cache(maxsize=None)
def crc32c_of_byte(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


def crc32c(data):
    """RFC 9260 appendix A."""
    value = 0xffffffff
    for byte in data:
        value = value >> 8 ^ crc32c_of_byte((value ^ byte) & 0xff)
    return value ^ 0xffffffff


def pseudo_header(p, length):
    if p.family() == 4:
        return packed(p.src) + packed(p.dst) + struct.pack("!BBH", 0, p.proto, length)
    return packed(p.src) + packed(p.dst) + struct.pack("!IxxxB", length, p.proto)


def with_checksum(p, segment, offset, has_pseudo=True):
    value = checksum((pseudo_header(p, len(segment)) if has_pseudo else b"") + segment)
    if value == 0 and p.proto == UDP:
        value = 0xffff
    return segment[:offset] + struct.pack("!H", value) + segment[offset + 2:]


def l4_bytes(p):
    if p.proto == TCP:
        header = struct.pack("!HHIIBBHHH", p.sport, p.dport, p.seq, p.ack, 0x50 + 4 * len(p.options), p.flags, p.window, 0, 0)
        return with_checksum(p, header + p.options + p.data, 16)
    if p.proto == UDP:
        return with_checksum(p, struct.pack("!HHHH", p.sport, p.dport, 8 + len(p.data), 0) + p.data, 6)
    if p.proto == SCTP:  # data: chunks
        header = struct.pack("!HHI", p.sport, p.dport, 0x1234)
        return header + struct.pack("<I", crc32c(header + bytes(4) + p.data)) + p.data
    if p.icmp is not None and p.is_echo():
        return with_checksum(p, struct.pack("!BBHHH", *p.icmp, 0, p.sport, 1) + p.data, 2, p.family() == 6)
    if p.icmp is not None:  # data: what follows the checksum
        return with_checksum(p, struct.pack("!BBH", *p.icmp, 0) + p.data, 2, p.family() == 6)
    return p.data


def ip_bytes(p):
    payload, proto, place = l4_bytes(p), p.proto, 0
    if p.piece is not None:
        payload = payload[p.piece.offset:p.piece.offset + p.piece.length]
        place = p.piece.offset >> 3
    has_more = p.piece is not None and not p.piece.is_last
    if p.family() == 6:
        if p.piece is not None:
            proto, payload = IP6_FRAGMENT, struct.pack("!BxHI", p.proto, place << 3 | has_more, p.ident) + payload
        return struct.pack("!IHBB", 6 << 28 | p.tos << 20, len(payload), proto, p.ttl) + packed(p.src) + packed(
            p.dst) + payload
    header = struct.pack("!BBHHHBBH", 0x45, p.tos, 20 + len(payload), p.ident, p.has_df << 14 | has_more << 13 | place, p.ttl,
                         proto, 0) + packed(p.src) + packed(p.dst)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ethernet(src_mac, dst_mac, ip, fam):
    return mac_bytes(dst_mac) + mac_bytes(src_mac) + (b"\x08\x00" if fam == 4 else b"\x86\xdd") + ip


def frame(src_mac, dst_mac, p):
    return ethernet(src_mac, dst_mac, ip_bytes(p), p.family())


def vxlan(tunnel, outer_port, inner):
    """An inner Ethernet frame in its tunnel's headers (RFC 7348 s. 5); the UDP checksum is zero over IPv4, made over IPv6 (RFC 8200 s. 8.1)."""
    payload = struct.pack("!II", 0x08000000, tunnel.vni << 8) + inner
    udp = struct.pack("!HHHH", outer_port, VXLAN_PORT, 8 + len(payload), 0) + payload
    fam = family(tunnel.remote)
    if fam == 6:
        udp = with_checksum(Packet(tunnel.local, tunnel.remote, UDP), udp, 6)
        ip = struct.pack("!IHBB", 6 << 28, len(udp), UDP, 64) + packed(tunnel.local) + packed(tunnel.remote) + udp
    else:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, UDP, 0) + packed(
            tunnel.local) + packed(tunnel.remote)
        ip = header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp
    return fam, ip


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What an observed frame says about choices that a specification leaves open. Later fragments have no ports."""
    src: str
    dst: str
    sport: int = None
    dport: int = None
    outer_port: int = 0


def seen(data):
    """Seen of a frame; of the inner packet when it is in a tunnel."""
    fam = 4 if data[12:14] == b"\x08\x00" else 6
    l4 = 34 if fam == 4 else 54
    if fam == 4:
        is_later = data[20] & 0x1f or data[21]
        proto, src, dst = data[23], socket.inet_ntop(socket.AF_INET, data[26:30]), socket.inet_ntop(
            socket.AF_INET, data[30:34])
    else:
        proto, src, dst = data[20], socket.inet_ntop(socket.AF_INET6, data[22:38]), socket.inet_ntop(
            socket.AF_INET6, data[38:54])
        is_later = proto == IP6_FRAGMENT and struct.unpack_from("!H", data, 56)[0] >> 3
        if proto == IP6_FRAGMENT:
            proto, l4 = data[54], 62
    if is_later:
        return Seen(src, dst)
    if proto not in (TCP, UDP, SCTP):
        ident = struct.unpack_from("!H", data, l4 + 4)[0] if proto in (ICMP, ICMP6) and len(data) >= l4 + 6 else 0
        return Seen(src, dst, ident, ident)
    sport, dport = struct.unpack_from("!HH", data, l4)
    if proto == UDP and dport == VXLAN_PORT and len(data) > l4 + 30:
        return dataclasses.replace(seen(data[l4 + 16:]), outer_port=sport)
    return Seen(src, dst, sport, dport)
