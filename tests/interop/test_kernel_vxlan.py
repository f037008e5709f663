# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's VXLAN device as the other node, wired as flannel does it: one route, one neighbour, one FDB entry."""
import hashlib
import os

import pytest

VNI = 88
INNER_MTU = 1450


@pytest.fixture
def tunnel(node):
    peer = node.peer
    peer.ip("link", "add", "vx0", "mtu", str(INNER_MTU), "type", "vxlan", "id", str(VNI), "local", "192.0.2.2",
            "dstport", "4789", "nolearning", "dev", "wire")
    peer.ip("addr", "add", "10.244.2.1/32", "dev", "vx0")
    peer.ip("-6", "addr", "add", "fd00:244:2::1/128", "dev", "vx0", "nodad")
    peer.ip("link", "set", "vx0", "up")
    ours = node.call("tunnel.local")["mac"]
    theirs = peer.run("cat", "/sys/class/net/vx0/address").stdout.strip()
    node.call("tunnel.add", name="peer", remote="192.0.2.2", vni=VNI, remote_mac=theirs)
    node.call("route.add", prefix="10.244.2.0/24", tunnel="peer")
    node.call("route.add", prefix="fd00:244:2::/64", tunnel="peer")
    peer.ip("route", "add", "10.244.1.0/24", "via", "10.244.1.0", "dev", "vx0", "onlink", "src", "10.244.2.1")
    peer.ip("-6", "route", "add", "fd00:244:1::/64", "via", "fd00:244:1::", "dev", "vx0", "onlink")
    peer.ip("neigh", "add", "10.244.1.0", "lladdr", ours, "dev", "vx0", "nud", "permanent")
    peer.ip("neigh", "add", "fd00:244:1::", "lladdr", ours, "dev", "vx0", "nud", "permanent")
    peer.run("bridge", "fdb", "add", ours, "dev", "vx0", "dst", "192.0.2.1")
    return node


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


def test_vxlan_largest_packets_pass_and_larger_ones_are_told_the_mtu(tunnel, pod):
    assert pod.ping("10.244.2.1", "-M", "do", "-s", str(INNER_MTU - 28))
    assert tunnel.peer.ping("10.244.1.10", "-M", "do", "-s", str(INNER_MTU - 28))
    told = pod.run("ping", "-c", "1", "-W", "2", "-M", "do", "-s", "1472", "10.244.2.1", check=False)
    assert f"mtu = {INNER_MTU}" in told.stdout or f"mtu={INNER_MTU}" in told.stdout + told.stderr


@pytest.mark.parametrize("url", ["http://10.244.2.1:8080/file", "http://[fd00:244:2::1]:8080/file"])
def test_vxlan_file_over_tcp_arrives_unchanged(tunnel, pod, tmp_path, url):
    data = os.urandom(8 << 20)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(data)
    tunnel.peer.spawn("busybox", "httpd", "-f", "-p", "[::]:8080", "-h", str(tmp_path / "www"))
    pod.run("curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "60", "-o",
            str(tmp_path / "got"), url)
    assert hashlib.sha256((tmp_path / "got").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_vxlan_from_an_unknown_end_is_dropped_by_name(tunnel, pod):
    assert tunnel.peer.ping("10.244.1.10")
    for prefix in ("10.244.2.0/24", "fd00:244:2::/64"):
        tunnel.call("route.del", prefix=prefix)
    tunnel.call("tunnel.del", name="peer")
    tunnel.call("tunnel.add", name="peer", remote="192.0.2.99", vni=VNI, remote_mac="02:00:00:00:00:99")
    assert not tunnel.peer.ping("10.244.1.10", count=1)
    assert any(port == "uplink" for port, _ in tunnel.drops()), tunnel.drops()
