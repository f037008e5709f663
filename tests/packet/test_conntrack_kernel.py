# SPDX-License-Identifier: BSD-3-Clause
"""Strict TCP tracking against the kernel's (nf_conntrack, `ct state invalid drop`): the same random segments through both, each must
meet the same fate, but for what DELIBERATE names."""
import collections
import fcntl
import os
import pathlib
import random
import struct
import subprocess
import sys
import uuid

import pytest
from conftest import A, B, GW
from tcp_ends import Ends

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "model"))
import wire  # noqa: E402

SEQUENCES, SEGMENTS = 600, 30
FIRST_PORT = 1024
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
SENTINEL_PORT = 9
RULES = """
table inet watch {
    chain forward {
        type filter hook forward priority 0
        ct state invalid drop
    }
}
"""

# What one of them lets pass and the other does not, on purpose, by kind of segment.
ONLY_KERNEL = {
    # lets pass without looking closer, for the endpoint to answer; leat has van Rooij's lower bounds
    "data of long ago", "ack of long ago",
    # up to a window more than was offered, as some stacks send it; leat: RFC 9293 s. 3.10.7.4
    "data beyond the window",
    # passes, and changes nothing; leat: RFC 5961 s. 3.2, exactly the next number
    "rst in the window",
    # believes more RSTs once a side has closed, or a SYN has passed
    "rst far off, after a fin or syn", "rst of long ago, after a fin or syn",
}
ONLY_LEAT = {
    # RFC 5961 s. 4.2: only the endpoint can tell, and answers with a challenge ACK
    "syn on an open connection from b", "syn+ack on an open connection from a",
    # the answer may have gone another way; the connection stays half-open
    "ack before the answer",
}
# The kernel takes numbers, windows or scale from these although it calls them invalid, or lets them pass for others to judge: its view of
# the connection is no oracle any more.
SPOIL_KERNEL = {
    "syn+ack of another syn", "refusal of another syn", "data beyond the window", "rst in the window",
    "rst far off, after a fin or syn", "rst of long ago, after a fin or syn",
}

class Kernel:
    """A namespace that forwards between two tun devices, a and b, what nf_conntrack does not call invalid."""

    def __init__(self):
        self.space = "leat-ct-" + uuid.uuid4().hex[:8]
        self.run("ip", "netns", "add", self.space)
        self.tuns = {}
        for node in (A, B):
            name = f"leat{node.port}{self.space[-8:]}"
            tun = self.tuns[node.port] = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
            self.run("ip", "link", "set", "dev", name, "netns", self.space, "name", node.port)
        for setting in ("ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1", "ipv4.conf.all.rp_filter=0",
                        "netfilter.nf_conntrack_tcp_be_liberal=0"):
            self.inside("sysctl", "-q", f"net.{setting}")
        for node in (A, B):
            self.inside("ip", "link", "set", "dev", node.port, "up")
            for address in (node.ip4, node.ip6):
                self.inside("ip", "route", "add", address, "dev", node.port)
        self.inside("nft", "-f", "-", input=RULES)

    @staticmethod
    def run(*args, **kw):
        subprocess.run(args, check=True, text=True, **kw)

    def inside(self, *args, **kw):
        self.run("ip", "netns", "exec", self.space, *args, **kw)

    def passes(self, side, packet):
        """A second packet that always passes ends the wait for the first."""
        out = self.tuns["b" if side == "a" else "a"]
        sentinel = wire.ip_bytes(wire.Packet(packet.src, packet.dst, wire.UDP, SENTINEL_PORT, SENTINEL_PORT))
        os.write(self.tuns[side], wire.ip_bytes(packet))
        os.write(self.tuns[side], sentinel)
        n = 0
        while True:
            data = os.read(out, 65536)
            proto = data[9] if data[0] >> 4 == 4 else data[6]
            if proto == wire.UDP:
                return n == 1
            n += proto == wire.TCP

    def close(self):
        for tun in self.tuns.values():
            os.close(tun)
        self.run("ip", "netns", "del", self.space)


class Leat:
    def __init__(self, net):
        self.net = net
        net.cmd("conntrack.set", tcp_strict=True)

    def passes(self, side, packet):
        node = A if side == "a" else B
        self.net.cmd("inject", port=side, frames=[wire.frame(node.mac, GW, packet).hex()])
        self.net.cmd("step")
        return len(self.net.cmd("drain", port="b" if side == "a" else "a")["frames"]) == 1

    def close(self):
        """Drops are what was asked for."""
        self.net.expected_drops = self.net.counted()


@pytest.fixture
def firewalls(net):
    if os.geteuid() != 0:
        pytest.skip("the kernel's connection tracking needs root: namespaces, tun devices, nftables")
    both = Leat(net), Kernel()
    yield both
    for firewall in both:
        firewall.close()


def packet_of(segment, family, port):
    src, dst, ports = (A, B, (port, 80)) if segment.side == "a" else (B, A, (80, port))
    return wire.Packet(src.ip(family), dst.ip(family), wire.TCP, *ports, **segment.fields())


class Comparison:
    """Conversations, each over a port of its own, through both."""

    def __init__(self, leat, kernel):
        self.firewalls = leat, kernel
        self.port = FIRST_PORT
        self.differed, self.n_both = set(), collections.Counter()

    def sequence(self, seed):
        rng, ends = random.Random(seed), None
        for _ in range(SEGMENTS):
            if ends is None:
                ends, history = Ends(rng), []
                self.port += 1
            segment = ends.next_segment()
            packet = packet_of(segment, 4 + seed % 2 * 2, self.port)
            leat, kernel = (firewall.passes(segment.side, packet) for firewall in self.firewalls)
            history.append((segment, leat, kernel))
            self.judge(seed, segment.kind, leat, kernel, history)
            if leat:
                ends.delivered(segment)
            if segment.kind in SPOIL_KERNEL:
                ends = None

    def judge(self, seed, kind, leat, kernel, history):
        if leat == kernel:
            self.n_both[leat] += 1
        elif kind in (ONLY_LEAT if leat else ONLY_KERNEL):
            self.differed.add(kind)
        else:
            lines = "".join(f"\n  leat {int(leat)} kernel {int(kernel)}: {segment}" for segment, leat, kernel in history)
            pytest.fail(f"sequence {seed}: they differ about the last of these{lines}", pytrace=False)


def test_random_segments_meet_the_same_fate_in_the_kernel(firewalls):
    comparison = Comparison(*firewalls)
    for seed in range(SEQUENCES):
        comparison.sequence(seed)
    assert comparison.differed == ONLY_KERNEL | ONLY_LEAT  # else the lists say too much
    assert min(comparison.n_both[True], comparison.n_both[False]) > SEQUENCES
