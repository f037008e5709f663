# SPDX-License-Identifier: BSD-3-Clause
"""What leatd says unasked of its own addresses on an uplink (RFC 5227 s. 2.3, RFC 4861 s. 7.2.6), on a warped clock."""
from conftest import UP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from test_neigh import live, turn  # noqa: F401  pylint: disable=unused-import


def arp(address=UP.ip4):
    return Ether(src=UP.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=UP.mac, psrc=address, hwdst="00:00:00:00:00:00",
                                                            pdst=address)


def advertisement(address=UP.ip6):
    return Ether(src=UP.mac, dst="33:33:00:00:00:01") / IPv6(src=address, dst="ff02::1", hlim=255) / ICMPv6ND_NA(
        tgt=address, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=UP.mac)


def test_announce_two_arp_and_three_advertisements_a_second_apart(live):  # noqa: F811
    live.cmd("control.announce", port="up")
    turn(live)
    live.expect("up", [arp(), advertisement()])
    turn(live, 0.5)
    live.expect("up", [])
    turn(live, 0.6)
    live.expect("up", [advertisement()])
    turn(live, 1.1)
    live.expect("up", [arp(), advertisement()])
    for _ in range(5):
        turn(live, 1.1)
    live.expect("up", [])


def test_announce_of_a_link_that_flaps_is_one_round_a_second(live):  # noqa: F811
    for _ in range(10):
        live.cmd("control.announce", port="up")
        turn(live, 0.09)
    live.expect("up", [arp(), advertisement()])
    turn(live, 0.2)
    live.expect("up", [arp(), advertisement()])


def test_announce_pods_and_the_node_are_told_nothing(live):  # noqa: F811
    for port in ("a", "host"):
        live.cmd("control.announce", port=port)
    turn(live, 1.1)
    for port in ("a", "host", "up"):
        live.expect(port, [])
