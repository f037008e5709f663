# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's VXLAN device as the other node, wired as flannel does it: one route, one neighbour, one FDB entry; over IPv4 and over IPv6,
where the kernel wants a UDP checksum (udp6zerocsumrx is off)."""
import hashlib
import os

import pytest

from waiting import wait_for

VNI = 88
INNER_MTU = {4: 1450, 6: 1430}
OURS, THEIRS = {4: "192.0.2.1", 6: "2001:db8:1::1"}, {4: "192.0.2.2", 6: "2001:db8:1::2"}


def connect(node, outer=4, **more):
    peer = node.peer
    peer.ip("link", "add", "vx0", "mtu", str(INNER_MTU[outer]), "type", "vxlan", "id", str(VNI), "local", THEIRS[outer],
            "dstport", "4789", "nolearning", "dev", "wire")
    peer.ip("addr", "add", "10.244.2.1/32", "dev", "vx0")
    peer.ip("-6", "addr", "add", "fd00:244:2::1/128", "dev", "vx0", "nodad")
    peer.ip("link", "set", "vx0", "up")
    ours = node.call("tunnel.local")["mac"]
    theirs = peer.run("cat", "/sys/class/net/vx0/address").stdout.strip()
    node.call("tunnel.add", name="peer", remote=THEIRS[outer], vni=VNI, remote_mac=theirs, **more)
    node.call("route.add", prefix="10.244.2.0/24", tunnel="peer")
    node.call("route.add", prefix="fd00:244:2::/64", tunnel="peer")
    peer.ip("route", "add", "10.244.1.0/24", "via", "10.244.1.0", "dev", "vx0", "onlink", "src", "10.244.2.1")
    peer.ip("-6", "route", "add", "fd00:244:1::/64", "via", "fd00:244:1::", "dev", "vx0", "onlink")
    peer.ip("neigh", "add", "10.244.1.0", "lladdr", ours, "dev", "vx0", "nud", "permanent")
    peer.ip("neigh", "add", "fd00:244:1::", "lladdr", ours, "dev", "vx0", "nud", "permanent")
    peer.run("bridge", "fdb", "add", ours, "dev", "vx0", "dst", OURS[outer])
    return node


def snmp6(node, name):
    """A counter of the peer's kernel."""
    return int(dict(line.split() for line in node.peer.run("cat", "/proc/net/snmp6").stdout.splitlines())[name])


@pytest.fixture(params=[4, 6], ids=["outer4", "outer6"])
def outer(request):
    return request.param


@pytest.fixture
def tunnel(node, outer):
    return connect(node, outer)


@pytest.fixture
def pod(tunnel):
    return tunnel.pod("pod", "10.244.1.10/32", "fd00:244:1::10/128")


def test_vxlan_pings_pass_both_ways(tunnel, pod):
    assert pod.ping("10.244.2.1")
    assert tunnel.peer.ping("10.244.1.10")
    assert not tunnel.drops()


def test_vxlan_ipv6_inside_passes_both_ways(tunnel, pod):
    assert pod.ping("fd00:244:2::1")
    assert tunnel.peer.ping("fd00:244:1::10", "-I", "fd00:244:2::1")
    assert not tunnel.drops()


def test_vxlan_largest_packets_pass_and_larger_ones_are_told_the_mtu(tunnel, pod, outer):
    mtu = INNER_MTU[outer]
    assert pod.ping("10.244.2.1", "-M", "do", "-s", str(mtu - 28))
    assert tunnel.peer.ping("10.244.1.10", "-M", "do", "-s", str(mtu - 28))
    told = pod.run("ping", "-c", "1", "-W", "2", "-M", "do", "-s", "1422" if outer == 6 else "1472", "10.244.2.1",
                   check=False)
    assert f"mtu = {mtu}" in told.stdout or f"mtu={mtu}" in told.stdout + told.stderr


@pytest.mark.parametrize("url", ["http://10.244.2.1:8080/file", "http://[fd00:244:2::1]:8080/file"])
def test_vxlan_file_over_tcp_arrives_unchanged(tunnel, pod, tmp_path, url):
    data = os.urandom(8 << 20)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(data)
    tunnel.peer.spawn("busybox", "httpd", "-f", "-p", "[::]:8080", "-h", str(tmp_path / "www"))
    pod.run("curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "60", "-o",
            str(tmp_path / "got"), url)
    assert hashlib.sha256((tmp_path / "got").read_bytes()).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("outer", [4], ids=["outer4"])
def test_vxlan_from_an_unknown_end_is_dropped_by_name(tunnel, pod):
    assert tunnel.peer.ping("10.244.1.10")
    for prefix in ("10.244.2.0/24", "fd00:244:2::/64"):
        tunnel.call("route.del", prefix=prefix)
    tunnel.call("tunnel.del", name="peer")
    tunnel.call("tunnel.add", name="peer", remote="192.0.2.99", vni=VNI, remote_mac="02:00:00:00:00:99")
    assert not tunnel.peer.ping("10.244.1.10", count=1)
    assert any(port == "uplink" for port, _ in tunnel.drops()), tunnel.drops()


def test_vxlan_over_ipv6_carries_checksums_unless_told_not_to(node):
    """The kernel drops zero (RFC 6935), until it is told to take it."""
    connect(node, 6)
    pod = node.pod("pod", "10.244.1.10/32")
    assert pod.ping("10.244.2.1") and snmp6(node, "Udp6InCsumErrors") == 0
    theirs = node.call("tunnel.show", name="peer")["remote_mac"]
    change = {"name": "peer", "remote": THEIRS[6], "vni": VNI, "remote_mac": theirs, "replace": True}
    node.call("tunnel.add", **change, udp_csum="off")
    assert not node.call("tunnel.show", name="peer")["udp_csum"]
    assert not pod.ping("10.244.2.1", count=1)
    assert snmp6(node, "Udp6InCsumErrors") > 0
    node.call("tunnel.add", **change, udp_csum="on")
    assert pod.ping("10.244.2.1")
    assert not node.drops()


# Four tunnel packets as one UDP super-frame, as another leatd sends them through a veth pair: checksum unfinished.
SUPERFRAME = """
import socket, struct, sys
from scapy.all import ICMP, IP, UDP, VXLAN, Ether, raw
ours, theirs, near = sys.argv[1:]
pings = [raw(VXLAN(vni=88, flags=8) / Ether(src=theirs, dst=ours) /
             IP(src="10.244.2.1", dst="10.244.1.10") / ICMP(id=7, seq=n) / (b"x" * 1000)) for n in range(4)]
udp = UDP(sport=50000, dport=4789, chksum=0) / b"".join(pings)
frame = raw(Ether(src="02:00:00:00:00:01", dst=near) / IP(src="192.0.2.2", dst="192.0.2.1", flags="DF") / udp)
pseudo = sum(struct.unpack("!6H", frame[26:34] + struct.pack("!HH", 17, len(frame) - 34)))
while pseudo >> 16:
    pseudo = (pseudo & 0xffff) + (pseudo >> 16)
frame = frame[:40] + struct.pack("!H", pseudo) + frame[42:]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
sock.bind(("wire", 0))
sock.send(struct.pack("<BBHHHH", 1, 5, 42, len(pings[0]), 34, 6) + frame)  # NEEDS_CSUM, GSO_UDP_L4
"""


@pytest.fixture
def superframes(node, outer):
    """Both ends of the wire take UDP super-frames; leatd looks when it opens its uplink."""
    for space, device in ((node.host, "up0"), (node.peer, "wire")):
        space.run("ethtool", "-K", device, "tx", "on", "gso", "on", "tx-udp-segmentation", "on")
    node.call("port.del", name="uplink")
    node.call("port.add", name="uplink", kind="ethdev", role="uplink", device="net_af_packet0,iface=up0", mtu=node.mtu,
              addresses=["192.0.2.1/24", "2001:db8:1::1/64"])
    return connect(node, outer)


@pytest.fixture
def server(superframes):
    return superframes.pod("pod", "10.244.1.10/32")


def download(node, pod, tmp_path):
    """The kernel's end fetches a file from the pod; mean length of the frames that the wire carried to it."""
    def received():
        return [int(node.peer.run("cat", f"/sys/class/net/wire/statistics/rx_{what}").stdout)
                for what in ("bytes", "packets")]

    data = os.urandom(8 << 20)
    (tmp_path / "www").mkdir(exist_ok=True)
    (tmp_path / "www" / "file").write_bytes(data)
    httpd = pod.spawn("busybox", "httpd", "-f", "-p", "[::]:8080", "-h", str(tmp_path / "www"))
    before = received()
    node.peer.run("curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "60", "-o",
                  str(tmp_path / "got"), "http://10.244.1.10:8080/file")
    after = received()
    httpd.terminate()
    assert hashlib.sha256((tmp_path / "got").read_bytes()).digest() == hashlib.sha256(data).digest()
    return (after[0] - before[0]) / (after[1] - before[1])


def test_vxlan_superframes_to_a_kernel_peer_carry_a_file_unchanged(superframes, server, tmp_path):
    assert "uso=device" in str(superframes.call("port.show", name="uplink"))
    assert download(superframes, server, tmp_path) > 2000, "no super-frame was sent"
    assert not superframes.drops()


def test_vxlan_superframes_end_when_the_device_stops_taking_them(superframes, server, tmp_path):
    superframes.host.run("ethtool", "-K", "up0", "tx-udp-segmentation", "off")
    assert download(superframes, server, tmp_path) < 1515
    assert "uso=no" in str(superframes.call("port.show", name="uplink"))
    assert not superframes.drops()


@pytest.mark.parametrize("outer", [4], ids=["outer4"])
def test_vxlan_superframe_from_a_peer_is_cut_before_the_tunnel_ends(superframes, server):
    def echoes():
        head, values = [line.split() for line in server.run("cat", "/proc/net/snmp").stdout.splitlines()
                        if line.startswith("Icmp:")]
        return int(values[head.index("InEchos")])

    assert superframes.peer.ping("10.244.1.10")
    before = echoes()
    ours = superframes.call("tunnel.local")["mac"]
    theirs = superframes.peer.run("cat", "/sys/class/net/vx0/address").stdout.strip()
    near = superframes.host.run("cat", "/sys/class/net/up0/address").stdout.strip()
    superframes.peer.run("/usr/bin/python3", "-c", SUPERFRAME, ours, theirs, near)
    wait_for(lambda: echoes() - before == 4, "every packet of the super-frame arrives")
    assert not superframes.drops()
