#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the seed corpus of fuzz_vnet_hdr: one well-formed input a kind of header, frame and message.

Usage: seeds_vnet_hdr.py FOLDER        Layout of an input: see fuzz_vnet_hdr.c.
"""
import pathlib
import struct
import sys

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

HEADER, FLAGS, MESSAGE = range(3)
MAC = dict(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def header(frame, start, offset, gso=0, size=0, first=0):
    return bytes([HEADER, first]) + struct.pack("<BBHHHH", 1, gso, 0, size, start, offset) + bytes(frame)


def flags(frame, l2, l3, l4, bits, segsz=0):
    return bytes([FLAGS, 0, bits, l2, l3, l4]) + struct.pack("<H", segsz) + bytes(4) + bytes(frame)


def message(request, payload=b"", n_fds=0, queues=1):
    return bytes([MESSAGE, queues - 1, n_fds]) + struct.pack("<III", request, 1, len(payload)) + payload


def seeds():
    eth = Ether(**MAC)
    v4 = IP(src="10.0.0.1", dst="10.0.0.2")
    v6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
    tcp, udp, data = TCP(sport=1, dport=2), UDP(sport=1, dport=2), Raw(bytes(900))
    yield "csum-tcp4", header(eth / v4 / tcp / data, 34, 16)
    yield "csum-tcp4-two-segments", header(eth / v4 / tcp / data, 34, 16, first=60)
    yield "csum-udp4-vlan", header(eth / Dot1Q(vlan=1) / v4 / udp / data, 38, 6)
    yield "csum-udp6-options", header(eth / v6 / IPv6ExtHdrDestOpt() / udp / data, 62, 6)
    yield "gso-tcp4", header(eth / v4 / tcp / data, 34, 16, 1, 100)
    yield "gso-tcp4-ecn", header(eth / v4 / tcp / data, 34, 16, 0x81, 100)
    yield "gso-tcp6", header(eth / v6 / tcp / data, 54, 16, 4, 100)
    yield "gso-uso4", header(eth / v4 / udp / data, 34, 6, 5, 100)
    yield "flags-csum", flags(eth / v4 / tcp / data, 14, 20, 20, 0b010001)
    yield "flags-tso", flags(eth / v4 / tcp / data, 14, 20, 20, 0b010101, 100)
    yield "flags-tso6", flags(eth / v6 / tcp / data, 14, 40, 20, 0b100101, 100)
    region = struct.pack("<QQQQ", 0, 1 << 20, 0x7F0000000000, 0)
    second = struct.pack("<QQQQ", 1 << 32, 1 << 20, 0x7F1000000000, 4096)
    yield "mem-table-1", message(5, struct.pack("<II", 1, 0) + region, 1)
    yield "mem-table-2", message(5, struct.pack("<II", 2, 0) + region + second, 2)
    yield "get-features", message(1)
    yield "set-features", message(2, struct.pack("<Q", 0x140008000))
    yield "vring-num", message(8, struct.pack("<II", 1, 256))
    yield "vring-addr", message(9, struct.pack("<IIQQQQ", 1, 0, 0x1000, 0x2000, 0x3000, 0))
    yield "vring-kick", message(12, struct.pack("<Q", 1), 1)
    yield "vring-call-none", message(13, struct.pack("<Q", 0x101))
    yield "vring-enable", message(18, struct.pack("<II", 3, 1), queues=2)
    yield "mtu", message(20, struct.pack("<Q", 1500))
    yield "status", message(39, struct.pack("<Q", 0xF))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
