# SPDX-License-Identifier: BSD-3-Clause
"""Writes 64-byte UDP frames (without FCS: 60), one a flow, for testpmd to repeat.

usage: flows_pcap.py FILE FLOWS SRC-MAC DST-MAC SRC-IP DST-IP
"""

import socket
import struct
import sys

FRAME_BYTES = 60


def csum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(flow, macs, ips):
    payload = bytes(FRAME_BYTES - 42)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0) + ips
    head = head[:10] + struct.pack("!H", csum(head)) + head[12:]
    udp = struct.pack("!HHHH", 1024 + flow % 60000, 2000 + flow // 60000, 8 + len(payload), 0)
    return macs + b"\x08\x00" + head + udp + payload


def main():
    path, n_flows = sys.argv[1], int(sys.argv[2])
    macs = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (sys.argv[4], sys.argv[3]))
    ips = socket.inet_aton(sys.argv[5]) + socket.inet_aton(sys.argv[6])
    with open(path, "wb") as out:
        out.write(struct.pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for flow in range(n_flows):
            data = frame(flow, macs, ips)
            out.write(struct.pack("!IIII", 0, 0, len(data), len(data)) + data)


if __name__ == "__main__":
    main()
