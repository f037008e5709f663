# SPDX-License-Identifier: BSD-3-Clause
"""ARP and neighbour discovery: the gateway of pods, leatd's own addresses on the uplink, and who may claim what."""
import pytest
from conftest import A, B, EXTERNAL4, EXTERNAL6, GW, GW4, GW6, HOST, ROUTER, UP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6ND_RS,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

BROADCAST = "ff:ff:ff:ff:ff:ff"
ZERO = "00:00:00:00:00:00"


def request(node, src, target, mac=None):
    mac = mac or node.mac
    return Ether(src=mac, dst=BROADCAST) / ARP(op=1, hwsrc=mac, psrc=src, hwdst=ZERO, pdst=target)


def reply(mac, ip, to_mac, to_ip):
    return Ether(src=mac, dst=to_mac) / ARP(op=2, hwsrc=mac, psrc=ip, hwdst=to_mac, pdst=to_ip)


def group_of(target):
    tail = IPv6(dst=target)
    last = bytes(tail)[37:40]
    return "ff02::1:ff%02x:%02x%02x" % tuple(last), "33:33:ff:%02x:%02x:%02x" % tuple(last)


def solicit(node, src, target, slla=None, dst=None):
    group, mac = group_of(target)
    packet = Ether(src=node.mac, dst=mac) / IPv6(src=src, dst=dst or group, hlim=255) / ICMPv6ND_NS(tgt=target)
    if slla != "":
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=slla or node.mac)
    return packet


def advert(mac, target, to_mac, to_ip, flags):
    return Ether(src=mac, dst=to_mac) / IPv6(src=target, dst=to_ip, hlim=255) / ICMPv6ND_NA(
        tgt=target, R=flags[0], S=flags[1], O=flags[2]) / ICMPv6NDOptDstLLAddr(lladdr=mac)


# ---- pods: ARP (C3)

@pytest.mark.parametrize("target", [GW4, B.ip4, EXTERNAL4, "10.244.1.77", HOST.ip4, "192.0.2.1"])
def test_pod_asking_for_anything_but_itself_gets_the_gateway_mac(net, target):
    net.send("a", request(A, A.ip4, target))
    net.expect("a", reply(GW, target, A.mac, A.ip4))


@pytest.mark.parametrize("port, gw", [("a", GW), ("b", GW)])
def test_gateway_mac_is_the_same_everywhere(net, port, gw):
    node = {"a": A, "b": B}[port]
    net.send(port, request(node, node.ip4, GW4))
    net.expect(port, reply(gw, GW4, node.mac, node.ip4))


@pytest.mark.parametrize("src", ["0.0.0.0", A.ip4], ids=["probe", "announcement"])
def test_pods_own_address_is_never_answered(net, src):
    net.send("a", request(A, src, A.ip4))
    net.drops("a", consumed=1)


def test_unicast_request_is_answered_too(net):
    frame = request(A, A.ip4, GW4)
    frame.dst = GW
    net.send("a", frame)
    net.expect("a", reply(GW, GW4, A.mac, A.ip4))


def test_padded_request_is_answered(net):
    for pad, first, step in ((18, 0, 0), (4000, 0, 0), (4000, 128, 500)):
        net.send("a", bytes(request(A, A.ip4, GW4)) + bytes(pad), first=first, step=step)
        net.expect("a", reply(GW, GW4, A.mac, A.ip4))


def test_pod_claiming_anothers_address_is_dropped(net):
    net.send_dropped("a", request(A, B.ip4, GW4), "arp_spoofed")
    net.send_dropped("a", request(A, GW4, GW4), "arp_spoofed")
    net.send_dropped("a", reply(A.mac, B.ip4, BROADCAST, B.ip4), "arp_spoofed")
    net.send_dropped("a", reply(A.mac, GW4, B.mac, B.ip4), "arp_spoofed")


def test_pod_with_anothers_mac_is_dropped(net):
    net.send_dropped("a", request(A, A.ip4, GW4, mac=B.mac), "eth_src_spoofed")
    frame = request(A, A.ip4, GW4)
    frame[ARP].hwsrc = B.mac
    net.send_dropped("a", frame, "arp_invalid")


def test_pod_own_reply_and_announcement_are_taken_silently(net):
    net.send("a", reply(A.mac, A.ip4, BROADCAST, A.ip4))
    net.send("a", reply(A.mac, A.ip4, GW, GW4))
    net.drops("a", consumed=2)


@pytest.mark.parametrize("field, value", [("hwtype", 6), ("ptype", 0x86DD), ("hwlen", 8), ("plen", 16), ("op", 3),
                                          ("op", 0), ("op", 9)])
def test_malformed_arp_is_dropped(net, field, value):
    frame = bytearray(bytes(request(A, A.ip4, GW4)))
    at = {"hwtype": (14, 2), "ptype": (16, 2), "hwlen": (18, 1), "plen": (19, 1), "op": (20, 2)}[field]
    frame[at[0]:at[0] + at[1]] = value.to_bytes(at[1], "big")
    net.send_dropped("a", bytes(frame), "arp_invalid")


def test_cut_arp_is_dropped_at_every_length(net):
    frame = bytes(request(A, A.ip4, GW4))
    net.send_dropped("a", [frame[:n] for n in range(14, 42)], "arp_invalid")


def test_arp_with_impossible_addresses_is_dropped(net):
    for target in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
        net.send_dropped("a", request(A, A.ip4, target), "arp_invalid")
    net.send_dropped("a", request(A, "224.0.0.9", GW4), "arp_invalid")


# ---- uplink and host: ARP

def test_leatd_answers_for_its_own_address_on_the_uplink(net):
    net.send("up", request(ROUTER, ROUTER.ip4, UP.ip4))
    net.expect("up", reply(UP.mac, UP.ip4, ROUTER.mac, ROUTER.ip4))


def test_leatd_answers_for_the_nodes_address_on_the_uplink(net):
    net.send("up", request(ROUTER, ROUTER.ip4, HOST.ip4))
    net.expect("up", reply(UP.mac, HOST.ip4, ROUTER.mac, ROUTER.ip4))


def test_leatd_does_not_answer_for_others_on_the_uplink(net):
    for target in (ROUTER.ip4, "192.0.2.99", A.ip4):
        net.send("up", request(ROUTER, "192.0.2.77", target))
    net.drops("up", consumed=3)


def test_probe_for_leatds_own_address_is_defended(net):
    """RFC 5227 s. 2.1.1: the probing host must learn that the address is taken."""
    net.send("up", request(ROUTER, "0.0.0.0", UP.ip4))
    net.expect("up", reply(UP.mac, UP.ip4, ROUTER.mac, "0.0.0.0"))


def test_somebody_claiming_leatds_address_is_counted(net):
    net.send_dropped("up", reply(ROUTER.mac, UP.ip4, BROADCAST, UP.ip4), "arp_spoofed")


def test_replies_on_the_uplink_go_to_the_control_thread(net):
    net.send("up", reply(ROUTER.mac, ROUTER.ip4, UP.mac, UP.ip4))
    assert [(p["kind"], p["port"]) for p in net.punts()] == [("neigh", "up")]


def test_host_port_is_answered_like_a_pod_and_may_speak_for_others(net):
    net.send("host", request(HOST, HOST.ip4, A.ip4))
    net.expect("host", reply(GW, A.ip4, HOST.mac, HOST.ip4))
    net.send("host", request(HOST, "198.51.100.77", A.ip4))
    net.expect("host", reply(GW, A.ip4, HOST.mac, "198.51.100.77"))
    net.send("host", request(HOST, "0.0.0.0", HOST.ip4))
    net.drops("host", consumed=1)


# ---- pods: ND

LL = "fe80::858:aff:fef4:102"


@pytest.mark.parametrize("src", [A.ip6, LL])
@pytest.mark.parametrize("target", [GW6, B.ip6, EXTERNAL6, "fd00:1::77"])
def test_pod_soliciting_anything_but_itself_gets_the_gateway_mac(net, src, target):
    net.send("a", solicit(A, src, target))
    net.expect("a", advert(GW, target, A.mac, src, (1, 1, 0)))


def test_unicast_solicitation_is_answered_too(net):
    frame = solicit(A, A.ip6, GW6, dst=GW6)
    frame.dst = GW
    net.send("a", frame)
    net.expect("a", advert(GW, GW6, A.mac, A.ip6, (1, 1, 0)))


def test_duplicate_address_detection_is_left_in_peace(net):
    for target in (A.ip6, LL):
        net.send("a", solicit(A, "::", target, slla=""))
    net.send("a", solicit(A, A.ip6, A.ip6))
    net.drops("a", consumed=3)


def test_duplicate_address_detection_for_the_gateways_address_is_answered(net):
    """It is leatd's own on each pod's link (RFC 4862 s. 5.4.3); the answer goes to all nodes, unsolicited (RFC 4861 s. 7.2.4)."""
    net.send("a", solicit(A, "::", GW6, slla=""))
    net.expect("a", advert(GW, GW6, "33:33:00:00:00:01", "ff02::1", (1, 0, 0)))


def test_pod_claiming_anothers_ipv6_address_is_dropped(net):
    net.send_dropped("a", solicit(A, B.ip6, GW6), "nd_spoofed")
    all_nodes = ("33:33:00:00:00:01", "ff02::1")
    net.send_dropped("a", advert(A.mac, B.ip6, *all_nodes, (0, 0, 1)), "nd_spoofed")
    net.send_dropped("a", Ether(src=A.mac, dst=all_nodes[0]) / IPv6(src=A.ip6, dst=all_nodes[1], hlim=255) /
                     ICMPv6ND_NA(tgt=B.ip6, S=0, R=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=A.mac), "nd_spoofed")
    net.send_dropped("a", solicit(A, A.ip6, GW6, slla=B.mac), "nd_spoofed")


def test_pod_speaking_as_the_gateway_is_dropped(net):
    """fe80::1 is the gateway's on every pod's link."""
    all_nodes = ("33:33:00:00:00:01", "ff02::1")
    net.send_dropped("a", advert(A.mac, GW6, *all_nodes, (1, 0, 1)), "nd_spoofed")


def test_pod_router_advertisement_and_redirect_are_dropped(net):
    ether = Ether(src=A.mac, dst="33:33:00:00:00:01")
    net.send_dropped("a", ether / IPv6(src=LL, dst="ff02::1", hlim=255) / ICMPv6ND_RA(), "ra_from_pod")
    net.send_dropped("a", ether / IPv6(src=LL, dst="ff02::1", hlim=255) / ICMPv6ND_Redirect(
        tgt="fe80::5", dst="2001:db8::1"), "ra_from_pod")


def test_pod_own_advertisement_and_router_solicitation_are_taken_silently(net):
    net.send("a", advert(A.mac, A.ip6, "33:33:00:00:00:01", "ff02::1", (0, 0, 1)))
    net.send("a", Ether(src=A.mac, dst="33:33:00:00:00:02") / IPv6(src=LL, dst="ff02::2", hlim=255) / ICMPv6ND_RS() /
             ICMPv6NDOptSrcLLAddr(lladdr=A.mac))
    net.drops("a", consumed=2)


def test_nd_from_further_away_than_the_link_is_dropped(net):
    frame = solicit(A, A.ip6, GW6)
    frame[IPv6].hlim = 254
    net.send_dropped("a", frame, "nd_invalid")


def test_nd_with_bad_checksum_options_or_code_is_dropped(net):
    data = bytearray(bytes(solicit(A, A.ip6, GW6)))
    data[56] ^= 1
    net.send_dropped("a", bytes(data), "nd_invalid")
    frame = solicit(A, A.ip6, GW6, slla="") / Raw(bytes([14, 0, 0, 0, 0, 0, 0, 0]))
    net.send_dropped("a", frame, "nd_invalid")
    frame = solicit(A, A.ip6, GW6)
    frame[ICMPv6ND_NS].code = 1
    net.send_dropped("a", frame, "nd_invalid")
    net.send_dropped("a", solicit(A, A.ip6, "ff02::5", dst="ff02::1"), "nd_invalid")


def test_nd_in_chains_is_answered(net):
    net.send("a", solicit(A, A.ip6, GW6) / Raw(bytes([14, 10] + [0] * 78)), first=128, step=5)
    net.expect("a", advert(GW, GW6, A.mac, A.ip6, (1, 1, 0)))


# ---- uplink: ND

def test_leatd_advertises_its_own_address_on_the_uplink(net):
    net.send("up", solicit(ROUTER, ROUTER.ip6, UP.ip6))
    net.expect("up", advert(UP.mac, UP.ip6, ROUTER.mac, ROUTER.ip6, (1, 1, 1)))


def test_leatd_defends_its_own_address_on_the_uplink(net):
    net.send("up", solicit(ROUTER, "::", UP.ip6, slla=""))
    net.expect("up", advert(UP.mac, UP.ip6, "33:33:00:00:00:01", "ff02::1", (1, 0, 1)))


def test_leatd_is_silent_about_others_on_the_uplink(net):
    net.send("up", solicit(ROUTER, ROUTER.ip6, "2001:db8:1::99"))
    net.send("up", solicit(ROUTER, ROUTER.ip6, A.ip6))
    net.drops("up", consumed=2)


def test_advertisements_on_the_uplink_go_to_the_control_thread(net):
    net.send("up", advert(ROUTER.mac, ROUTER.ip6, UP.mac, UP.ip6, (1, 1, 1)))
    assert [(p["kind"], p["port"]) for p in net.punts()] == [("neigh", "up")]
    net.send_dropped("up", advert(ROUTER.mac, UP.ip6, "33:33:00:00:00:01", "ff02::1", (0, 0, 1)), "nd_spoofed")
