# SPDX-License-Identifier: BSD-3-Clause
"""The packet suite: bytes in, bytes out through the real pipeline (packet_harness), built and compared with scapy.

Every test has a node of its own, of this shape (fixture `net`):

    pod a   10.244.1.2, fd00:1::2   --+          +-- up    uplink, 192.0.2.1/24, 2001:db8:1::1/64, MTU 1600
    pod b   10.244.1.3, fd00:1::3   --+-- leat --+-- host  the node itself, 198.51.100.1, 2001:db8:9::1
    default route via 192.0.2.254 / 2001:db8:1::fe; tunnel n2 (VNI 99, 192.0.2.2) to 10.244.2.0/24, fd00:2::/64;
    tunnel n3 (VNI 98, 2001:db8:1::3) to 10.244.3.0/24, fd00:3::/64

At the end of each test: no frame was left unread, no drop but the announced ones was counted, no mbuf is missing.
"""
import json
import os
import pathlib
import subprocess

import pytest
from scapy.config import conf
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6)
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

conf.verb = 0

GW = "02:1e:a7:00:00:01"
LOCAL_VTEP = "02:1e:a7:aa:aa:aa"
GW4, GW6 = "169.254.1.1", "fe80::1"


class Node:
    """What is at a port: name, MAC, addresses."""

    def __init__(self, port, mac, ip4, ip6):
        self.port, self.mac, self.ip4, self.ip6 = port, mac, ip4, ip6

    def ip(self, family):
        return self.ip4 if family == 4 else self.ip6


A = Node("a", "0a:58:0a:f4:01:02", "10.244.1.2", "fd00:1::2")
B = Node("b", "0a:58:0a:f4:01:03", "10.244.1.3", "fd00:1::3")
HOST = Node("host", "02:00:00:00:00:20", "198.51.100.1", "2001:db8:9::1")
UP = Node("up", "02:00:00:00:00:10", "192.0.2.1", "2001:db8:1::1")  # leatd's own side of the uplink
ROUTER = Node("up", "02:00:00:00:00:fe", "192.0.2.254", "2001:db8:1::fe")
N2 = Node("up", "02:00:00:00:00:02", "192.0.2.2", "2001:db8:1::2")  # far tunnel end, IPv4 underlay
N3 = Node("up", "02:00:00:00:00:03", "192.0.2.3", "2001:db8:1::3")  # far tunnel end, IPv6 underlay
N2_VTEP, N3_VTEP = "02:1e:a7:00:00:02", "02:1e:a7:00:00:03"
EXTERNAL4, EXTERNAL6 = "203.0.113.9", "2001:db8:ffff::9"
EXTERNAL = {4: EXTERNAL4, 6: EXTERNAL6}
REMOTE2 = {4: "10.244.2.5", 6: "fd00:2::5"}  # pods behind n2 and n3
REMOTE3 = {4: "10.244.3.5", 6: "fd00:3::5"}
VNI2, VNI3 = 99, 98


class HarnessError(Exception):
    pass


class Harness:
    """A packet_harness process: one for all tests, as long as none fails."""

    def __init__(self):
        build = os.environ.get("LEAT_BUILD") or pathlib.Path(__file__).resolve().parents[2] / "build"
        self.process = subprocess.Popen([f"{build}/tests/packet/packet_harness", f"pkt{os.getpid()}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def cmd(self, cmd, **params):
        self.process.stdin.write(json.dumps(dict(params, cmd=cmd)) + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                self.process.wait()
                raise HarnessError(f"{cmd}: the harness died: {self.process.stderr.read()[-4000:]}")
            if line.startswith("{"):
                break
        reply = json.loads(line)
        if not reply.pop("ok"):
            raise HarnessError(f"{cmd}: {reply['error']}")
        return reply

    def stop(self):
        """It ends well: exit status 0, nothing that a sanitizer has to say."""
        self.process.stdin.close()
        error = self.process.stderr.read()
        code = self.process.wait(timeout=120)
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0, f"the harness ended with status {code}: {error[-4000:]}"


def raw(packet):
    return packet if isinstance(packet, bytes) else bytes(packet)


def show(data):
    """A frame for a failure message."""
    return Ether(data).show(dump=True) + data.hex()


def assert_same(got, want):
    """Two frames, whole."""
    got, want = raw(got), raw(want)
    if got != want:
        first = next((i for i in range(min(len(got), len(want))) if got[i] != want[i]), min(len(got), len(want)))
        pytest.fail(f"frames differ from byte {first} on\n--- got {len(got)} bytes\n{show(got)}"
                    f"\n--- want {len(want)} bytes\n{show(want)}", pytrace=False)


def assert_checksums(data):
    """Every checksum of a frame, of a tunnel's inner packet too, is what scapy would compute."""
    packet = Ether(data)
    again = packet.copy()
    layer = again
    while layer is not None and layer.name != "NoPayload":
        parent_is_error = layer.underlayer is not None and type(layer).__name__ in ("IPerror", "IPerror6")
        if parent_is_error:
            break  # a quote is cut: its checksums cannot be checked
        for field in ("chksum", "cksum"):
            value = layer.fields.get(field)
            if value is None or (value == 0 and layer.name == "UDP"):
                continue
            if isinstance(layer.underlayer, IP) and (layer.underlayer.frag or layer.underlayer.flags.MF):
                continue  # part of a datagram
            del layer.fields[field]
        layer = layer.payload if layer.payload else None
    rebuilt = raw(again)
    assert rebuilt[:len(data)] == data, f"a checksum is wrong\n{show(data)}\n--- want\n{show(rebuilt)}"


class Net:
    """The node of the module's documentation."""

    def __init__(self, harness):
        self.harness = harness
        self.expected_drops = {}
        self.cmd = harness.cmd

    def build(self):
        for pod in (A, B):
            self.cmd("port.add", name=pod.port, role="pod", mac=pod.mac)
            self.cmd("endpoint.add", id=pod.port, port=pod.port, addresses=[pod.ip4, pod.ip6])
        self.cmd("port.add", name="up", role="uplink", mac=UP.mac, mtu=1600,
                 addresses=[UP.ip4 + "/24", UP.ip6 + "/64"])
        self.cmd("port.add", name="host", role="host", mac=HOST.mac, addresses=[HOST.ip4, HOST.ip6])
        for node in (ROUTER, N2, N3):
            for address in (node.ip4, node.ip6):
                self.cmd("neigh.add", port="up", address=address, mac=node.mac)
        self.cmd("route.add", prefix="0.0.0.0/0", port="up", via=ROUTER.ip4)
        self.cmd("route.add", prefix="::/0", port="up", via=ROUTER.ip6)
        self.cmd("tunnel.add", name="n2", local=UP.ip4, remote=N2.ip4, vni=VNI2, remote_mac=N2_VTEP, port="up",
                 local_mac=LOCAL_VTEP)
        self.cmd("tunnel.add", name="n3", local=UP.ip6, remote=N3.ip6, vni=VNI3, remote_mac=N3_VTEP, port="up",
                 local_mac=LOCAL_VTEP)
        for n in (2, 3):
            self.cmd("route.add", prefix=f"10.244.{n}.0/24", tunnel=f"n{n}")
            self.cmd("route.add", prefix=f"fd00:{n}::/64", tunnel=f"n{n}")

    def inject(self, port, packets, first=0, step=0, meta=None):
        packets = packets if isinstance(packets, list) else [packets]
        params = {"meta": meta} if meta else {}
        taken = self.cmd("inject", port=port, frames=[raw(p).hex() for p in packets], first=first, step=step,
                         **params)["taken"]
        assert taken == len(packets)

    def step(self, rounds=1):
        return self.cmd("step", rounds=rounds)["packets"]

    def drain(self, port, check=True):
        """Frames that left by the port, as bytes; finished ones are checked."""
        frames = []
        while True:
            part = self.cmd("drain", port=port)["frames"]
            for item in part:
                data = bytes.fromhex(item["data"])
                if check and "l4" not in item:
                    assert_checksums(data)
                frames.append(data)
            if not part:
                return frames

    def send(self, port, packets, **how):
        self.inject(port, packets, **how)
        self.step()

    def expect(self, port, wants):
        """Exactly these frames have left by the port, in this order."""
        wants = wants if isinstance(wants, list) else [wants]
        frames = self.drain(port)
        assert len(frames) == len(wants), f"{len(frames)} frames by {port}, not {len(wants)}:" + "".join(
            "\n" + show(f) for f in frames)
        for got, want in zip(frames, wants):
            assert_same(got, want)

    def drops(self, port, **reasons):
        """Announces drops: counted at the end."""
        for reason, n in reasons.items():
            key = (port, reason)
            self.expected_drops[key] = self.expected_drops.get(key, 0) + n

    def send_dropped(self, port, packets, reason, **how):
        """All of them are dropped for this reason, now."""
        packets = packets if isinstance(packets, list) else [packets]
        before = self.counted().get((port, reason), 0)
        self.send(port, packets, **how)
        counted = self.counted()
        assert counted.get((port, reason), 0) - before == len(packets), f"want {reason}, counted: {counted}"
        self.drops(port, **{reason: len(packets)})

    def counted(self):
        ports = self.cmd("stats")["ports"]
        return {(port, reason): n for port, s in ports.items() for reason, n in s["drops"].items()}

    def stats(self, port):
        return self.cmd("stats")["ports"][port]

    def punts(self, **params):
        return self.cmd("punts", **params)["punts"]

    def warp(self, seconds):
        self.cmd("warp", seconds=seconds)

    def conns(self):
        return self.cmd("conns")["conns"]

    def finish(self):
        left = {port: len(self.drain(port, check=False)) for port in self.cmd("stats")["ports"]}
        assert not any(left.values()), f"frames that no test expected: {left}"
        assert self.punts() == [], "punts that no test expected"
        assert self.counted() == self.expected_drops
        self.warp(31)  # fragments do not wait longer for their first
        self.cmd("step")
        assert self.cmd("stats")["mbufs_in_use"] == 0, "mbufs leaked"


@pytest.fixture(scope="session")
def harnesses():
    """The harness in use, in a list; emptied when a test has left it in doubt."""
    current = []
    yield current
    for h in current:
        h.stop()


@pytest.fixture
def harness(request, harnesses):
    if not harnesses:
        harnesses.append(Harness())
    h = harnesses[0]
    h.cmd("reset", **getattr(request, "param", {}))
    yield h
    report = getattr(request.node, "report_call", None)
    if report is None or not report.passed:
        harnesses.clear()
        if h.process.poll() is None:
            h.process.kill()
        h.process.communicate()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture
def net(harness, request):
    n = Net(harness)
    n.build()
    yield n
    if getattr(request.node, "report_call", None) is not None and request.node.report_call.passed:
        n.finish()


# ---- packets

def to_gw(node):
    """Ethernet header of what a pod (or the host) sends."""
    return Ether(src=node.mac, dst=GW)


def from_gw(node):
    """Ethernet header of what a pod (or the host) gets."""
    return Ether(src=GW, dst=node.mac)


def ip(src, dst, **fields):
    """IP header of the family of the addresses; ttl is the hop limit too."""
    if ":" not in dst:
        return IP(src=src, dst=dst, **fields)
    if "ttl" in fields:
        fields["hlim"] = fields.pop("ttl")
    return IPv6(src=src, dst=dst, **fields)


def echo(family, ident=1, seq=1, data=b"leat"):
    if family == 4:
        return ICMP(type=8, id=ident, seq=seq) / Raw(data)
    return ICMPv6EchoRequest(id=ident, seq=seq, data=data)


def udp(sport=1000, dport=2000, data=b"data"):
    return UDP(sport=sport, dport=dport) / Raw(data)


def tcp(sport=1000, dport=80, flags="S", data=b"", **fields):
    segment = TCP(sport=sport, dport=dport, flags=flags, **fields)
    return segment / Raw(data) if data else segment


def error(node, family, kind, about, mtu=0):
    """The frame that tells node about its IP packet `about` (as it was sent), from the node's own address."""
    src = HOST.ip(family)
    if family == 4:
        types = {"ttl": (11, 0), "no_route": (3, 0), "host": (3, 1), "prohibit": (3, 13), "too_big": (3, 4),
                 "port": (3, 3)}
        icmp_type, code = types[kind]
        icmp = ICMP(type=icmp_type, code=code, nexthopmtu=mtu) if kind == "too_big" else ICMP(type=icmp_type, code=code)
        packet = IP(src=src, dst=about.src, tos=0xC0, flags="DF", id=0, ttl=64) / icmp / Raw(bytes(about)[:548])
    else:
        messages = {"ttl": ICMPv6TimeExceeded(code=0), "no_route": ICMPv6DestUnreach(code=0),
                    "host": ICMPv6DestUnreach(code=3), "prohibit": ICMPv6DestUnreach(code=1),
                    "too_big": ICMPv6PacketTooBig(mtu=mtu), "port": ICMPv6DestUnreach(code=4)}
        packet = IPv6(src=src, dst=about.src, hlim=64) / messages[kind] / Raw(bytes(about)[:1232])
    return from_gw(node) / packet


def tunnelled(inner, sport, far=N2, vni=VNI2, vtep=N2_VTEP):
    """What leaves the uplink for an inner IP packet: outer IPv4 to n2, or IPv6 to n3."""
    outer = IP(src=UP.ip4, dst=far.ip4, flags="DF", id=0, ttl=64) if far is N2 else IPv6(
        src=UP.ip6, dst=far.ip6, hlim=64)
    return Ether(src=UP.mac, dst=far.mac) / outer / UDP(sport=sport, dport=4789, chksum=0 if far is N2 else None) / VXLAN(
        flags=8, vni=vni) / Ether(src=LOCAL_VTEP, dst=vtep) / inner


def from_tunnel(inner, far=N2, vni=VNI2, sport=50000, chksum=0):
    """What arrives on the uplink from n2 (outer IPv4) or n3 (outer IPv6)."""
    outer = IP(src=far.ip4, dst=UP.ip4, ttl=60, id=7) if far is N2 else IPv6(src=far.ip6, dst=UP.ip6, hlim=60)
    vtep = N2_VTEP if far is N2 else N3_VTEP
    return Ether(src=far.mac, dst=UP.mac) / outer / UDP(sport=sport, dport=4789, chksum=chksum) / VXLAN(
        flags=8, vni=vni) / Ether(src=vtep, dst=LOCAL_VTEP) / inner


both = pytest.mark.parametrize("family", [4, 6])
