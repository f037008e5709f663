# SPDX-License-Identifier: BSD-3-Clause
"""What a port may not send: each with its named drop (PAINS 21)."""
import pytest
from conftest import (A, B, EXTERNAL, GW, HOST, N2, N2_VTEP, REMOTE2, REMOTE3, ROUTER, UP, VNI2, both, echo, from_gw, ip, tcp, to_gw,
                      udp)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw



@both
@pytest.mark.parametrize("l4", [udp(), tcp(), "echo"], ids=["udp", "tcp", "echo"])
def test_pod_with_anothers_address_is_dropped(net, family, l4):
    l4 = echo(family) if l4 == "echo" else l4
    for src in (B.ip(family), HOST.ip(family), UP.ip(family), EXTERNAL[family]):
        net.send_dropped("a", to_gw(A) / ip(src, B.ip(family)) / l4, "ip_src_spoofed")


@both
def test_spoofed_packet_on_anothers_live_flow_is_dropped(net, family):
    """The ingress port is compared on a hit: a compiled flow is no back door."""
    frame = to_gw(B) / ip(B.ip(family), EXTERNAL[family], ttl=64) / udp()
    net.send("b", [frame] * 2)
    assert len(net.drain("up")) == 2
    forged = frame.copy()
    forged.src = A.mac
    net.send_dropped("a", [forged] * 3, "ip_src_spoofed")
    net.send("b", frame)
    assert len(net.drain("up")) == 1


@both
def test_pod_with_anothers_mac_is_dropped(net, family):
    net.send_dropped("a", Ether(src=B.mac, dst=GW) / ip(A.ip(family), B.ip(family)) / udp(), "eth_src_spoofed")
    frame = to_gw(A) / ip(A.ip(family), B.ip(family)) / udp()
    net.send("a", frame)
    net.drain("b")
    frame.src = "02:00:00:00:00:55"
    net.send_dropped("a", frame, "eth_src_spoofed")


@both
def test_outside_with_a_pods_address_is_dropped(net, family):
    ether = Ether(src=ROUTER.mac, dst=UP.mac)
    net.send_dropped("up", ether / ip(A.ip(family), B.ip(family)) / udp(), "ip_src_spoofed")
    net.send_dropped("up", ether / ip(UP.ip(family), B.ip(family)) / udp(), "ip_src_spoofed")
    net.send_dropped("up", ether / ip(HOST.ip(family), B.ip(family)) / udp(), "ip_src_spoofed")


@pytest.mark.parametrize("family, far", [(4, REMOTE2[4]), (6, REMOTE3[6])])
def test_outside_with_an_address_behind_a_tunnel_is_dropped(net, family, far):
    """Also when the pod has a connection there, and as soon as the route is."""
    ether = Ether(src=ROUTER.mac, dst=UP.mac)
    net.send_dropped("up", ether / ip(far, B.ip(family)) / udp(), "ip_src_spoofed")
    other = {4: "10.244.9.5", 6: "fd00:9::5"}[family]
    packet = ether / ip(other, B.ip(family), ttl=64) / udp()
    net.send("up", packet)
    net.expect("b", from_gw(B) / ip(other, B.ip(family), ttl=63) / udp())
    net.cmd("route.add", prefix={4: "10.244.9.0/24", 6: "fd00:9::/64"}[family], tunnel="n2")
    net.send_dropped("up", packet, "ip_src_spoofed")


@both
def test_outside_on_a_pods_live_flow_is_dropped(net, family):
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp())
    net.drain("b")
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / ip(A.ip(family), B.ip(family), ttl=64) / udp(),
                     "ip_src_spoofed")


def test_impossible_source_addresses_are_dropped(net):
    for src in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"):
        net.send_dropped("a", to_gw(A) / IP(src=src, dst=B.ip4) / udp(), "ip_martian")
        net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / IP(src=src, dst=B.ip4) / udp(), "ip_martian")
    for src in ("::", "::1", "ff02::1", "ff05::2", "::ffff:10.244.1.2"):
        net.send_dropped("a", to_gw(A) / IPv6(src=src, dst=B.ip6) / udp(), "ip_martian")
        net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / IPv6(src=src, dst=B.ip6) / udp(), "ip_martian")


def test_impossible_destination_addresses_are_dropped(net):
    for dst in ("0.0.0.0", "127.0.0.1", "240.0.0.1", "0.0.0.9"):
        net.send_dropped("a", to_gw(A) / IP(src=A.ip4, dst=dst) / udp(), "ip_martian")
    for dst in ("::", "::1", "fe80::77", "::ffff:10.244.1.3"):
        net.send_dropped("a", to_gw(A) / IPv6(src=A.ip6, dst=dst) / udp(), "ip_martian")


def test_multicast_and_broadcast_are_dropped_by_name(net):
    net.send_dropped("a", to_gw(A) / IP(src=A.ip4, dst="224.0.0.251") / udp(), "ip_multicast")
    net.send_dropped("a", to_gw(A) / IPv6(src=A.ip6, dst="ff02::fb") / udp(), "ip_multicast")
    net.send_dropped("a", Ether(src=A.mac, dst="01:00:5e:00:00:fb") / IP(src=A.ip4, dst="224.0.0.251") / udp(),
                     "ip_multicast")
    net.send_dropped("a", Ether(src=A.mac, dst="33:33:00:00:00:fb") / IPv6(src=A.ip6, dst="ff02::fb") / udp(),
                     "ip_multicast")
    net.send_dropped("a", Ether(src=A.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=A.ip4, dst="255.255.255.255") / udp(),
                     "eth_broadcast")
    net.send_dropped("a", to_gw(A) / IP(src=A.ip4, dst="255.255.255.255") / udp(), "eth_broadcast")
    # a pod's address behind a group MAC would bypass what switches check
    net.send_dropped("a", Ether(src=A.mac, dst="ff:ff:ff:ff:ff:ff") / IP(src=A.ip4, dst=B.ip4) / udp(), "eth_broadcast")


@both
def test_dhcp_server_in_a_pod_is_dropped(net, family):
    ports = (67, 68) if family == 4 else (547, 546)
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), B.ip(family)) / udp(*ports), "dhcp_from_pod")


@both
def test_tunnel_packets_from_a_pod_to_tunnel_ends_are_dropped(net, family):
    inner = Ether(src=N2_VTEP, dst="02:1e:a7:aa:aa:aa") / IP(src="10.244.2.5", dst=B.ip4) / udp()
    for dst in (UP.ip(family), HOST.ip(family), N2.ip4 if family == 4 else "2001:db8:1::3"):
        frame = to_gw(A) / ip(A.ip(family), dst) / UDP(sport=50000, dport=4789) / VXLAN(flags=8, vni=VNI2) / inner
        net.send_dropped("a", frame, "tunnel_from_pod")


@both
@pytest.mark.parametrize("end", ["another node", "this node", "the node's uplink"])
@pytest.mark.parametrize("has_snat", [False, True])
def test_tunnel_packets_from_a_pod_through_a_service_are_dropped(net, family, end, has_snat):
    """The backend is a tunnel's end, and the packet would leave as the node's own."""
    backend = {"another node": N2.ip4 if family == 4 else "2001:db8:1::3", "this node": HOST.ip(family), "the node's uplink": UP.ip(family)}[end]
    if has_snat:
        net.cmd("snat.add", name="all")
    vip = "10.96.0.10" if family == 4 else "fd00:96::10"
    for name, port in (("s", 80), ("same", 4789)):
        net.cmd("service.add", name=name, frontends=[{"kind": "cluster", "proto": "udp", "ip": vip, "port": port, "target_port": 4789}],
                backends=[{"ip": backend}])
        frame = to_gw(A) / ip(A.ip(family), vip) / UDP(sport=50000, dport=port) / VXLAN(flags=8, vni=VNI2) / (
            Ether(src=N2_VTEP, dst="02:1e:a7:aa:aa:aa") / IP(src="10.244.2.5", dst=B.ip4) / udp())
        net.send_dropped("a", frame, "tunnel_from_pod")


@both
def test_tunnel_packets_from_outside_through_a_service_are_dropped(net, family):
    """With the node's address they would be taken for its own at the far end of the tunnel."""
    backend = N2.ip4 if family == 4 else "2001:db8:1::3"
    vip, client = ("203.0.113.10", "203.0.113.9") if family == 4 else ("2001:db8:5::10", "2001:db8:5::9")
    inner = Ether(src=N2_VTEP, dst="02:1e:a7:aa:aa:aa") / IP(src="10.244.2.5", dst=B.ip4) / udp()
    net.cmd("service.add", name="s", frontends=[{"kind": "external", "proto": "udp", "ip": vip, "port": 80, "target_port": 4789}],
            backends=[{"ip": backend}])
    frame = Ether(src=ROUTER.mac, dst=UP.mac) / ip(client, vip) / UDP(sport=50000, dport=80) / VXLAN(flags=8, vni=VNI2) / inner
    net.send_dropped("up", frame, "tunnel_from_pod")


@both
def test_vxlan_between_pods_is_their_own_business(net, family):
    inner = Ether() / IP(src="1.2.3.4", dst="5.6.7.8") / udp()
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family)) / UDP(sport=5, dport=4789) / VXLAN(flags=8, vni=1) / inner)
    assert len(net.drain("b")) == 1


def test_vlan_tags_are_dropped(net):
    inner = IP(src=A.ip4, dst=B.ip4) / udp()
    net.send_dropped("a", Ether(src=A.mac, dst=GW) / Dot1Q(vlan=5) / inner, "eth_vlan")
    net.send_dropped("a", Ether(src=A.mac, dst=GW, type=0x88A8) / Dot1Q(vlan=5) / inner, "eth_vlan")
    net.send_dropped("up", Ether(src=ROUTER.mac, dst=UP.mac) / Dot1Q(vlan=5) / inner, "eth_vlan")


def test_unknown_ethertypes_are_dropped(net):
    for ether_type in (0x0000, 0x05FF, 0x0842, 0x8847, 0x88CC, 0xFFFF):
        net.send_dropped("a", Ether(src=A.mac, dst=GW, type=ether_type) / Raw(bytes(50)), "eth_type_unknown")


@both
def test_port_without_endpoint_sends_nothing(net, family):
    net.cmd("port.add", name="c", role="pod", mac="0a:58:0a:f4:01:04")
    frame = Ether(src="0a:58:0a:f4:01:04", dst=GW) / ip("10.244.1.4" if family == 4 else "fd00:1::4", B.ip(family)) / udp()
    net.send_dropped("c", frame, "port_no_endpoint")


@both
def test_deleted_endpoint_is_silenced_at_once(net, family):
    """PAINS 11, 14: not even the flows it had go on."""
    frame = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    net.send("a", [frame] * 2)
    assert len(net.drain("b")) == 2
    net.cmd("endpoint.del", id="a")
    net.send_dropped("a", frame, "port_no_endpoint")


@both
def test_address_that_moves_to_another_pod_moves_its_flows(net, family):
    to_b = Ether(src=A.mac, dst=GW) / ip(A.ip(family), B.ip(family), ttl=64) / udp()
    net.send("a", to_b)
    assert len(net.drain("b")) == 1
    net.cmd("endpoint.del", id="b")
    net.cmd("port.add", name="c", role="pod", mac="0a:58:0a:f4:01:04")
    net.cmd("endpoint.add", id="c", port="c", addresses=[B.ip4, B.ip6])
    net.send("a", to_b)
    frames = net.drain("c")
    assert len(frames) == 1 and Ether(frames[0]).dst == "0a:58:0a:f4:01:04"
    net.send_dropped("b", to_gw(B) / ip(B.ip(family), A.ip(family)) / udp(2000, 1000), "port_no_endpoint")


# ---- several endpoints behind one port (a VM with pods), each with its own MAC

X = {"mac": "0a:58:00:00:01:01", 4: "10.244.1.101", 6: "fd00:1::101"}
Y = {"mac": "0a:58:00:00:01:02", 4: "10.244.1.102", 6: "fd00:1::102"}


@pytest.fixture
def shared(net):
    net.cmd("port.add", name="vm", role="pod", mac=X["mac"])
    for name, who in (("x", X), ("y", Y)):
        net.cmd("endpoint.add", id=name, port="vm", addresses=[who[4], who[6]], mac=who["mac"])
    return net


def vm_frame(family, who, mac, sport=1000):
    return Ether(src=mac["mac"], dst=GW) / ip(who[family], B.ip(family), ttl=64) / udp(sport=sport)


@both
def test_endpoints_of_a_shared_port_send_and_receive_with_their_own_macs(shared, family):
    for who in (X, Y):
        shared.send("vm", [vm_frame(family, who, who)] * 2)
        assert len(shared.drain("b")) == 2
        shared.send("b", to_gw(B) / ip(B.ip(family), who[family], ttl=64) / udp(2000, 1000))
        assert [Ether(f).dst for f in shared.drain("vm")] == [who["mac"]]


@both
def test_endpoint_of_a_shared_port_with_the_others_address_is_dropped(shared, family):
    shared.send_dropped("vm", vm_frame(family, X, Y), "eth_src_spoofed")
    shared.send("vm", [vm_frame(family, X, X)] * 2)
    assert len(shared.drain("b")) == 2
    shared.send_dropped("vm", [vm_frame(family, X, Y)] * 2, "eth_src_spoofed")
    shared.send_dropped("vm", vm_frame(family, {4: A.ip4, 6: A.ip6}, X), "ip_src_spoofed")
    shared.send("vm", vm_frame(family, X, X))
    assert len(shared.drain("b")) == 1
