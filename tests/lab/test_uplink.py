# SPDX-License-Identifier: BSD-3-Clause
"""Uplinks through packet sockets on a veth pair whose other end is a kernel."""
import json
import os

import pytest

from rig import RIG, Netns, Rig, run
from waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces and packet sockets"),
    pytest.mark.skipif(not os.path.exists(RIG), reason="tap_rig is not built"),
]


@pytest.fixture
def pod():
    ns = Netns()
    yield ns
    ns.delete()


@pytest.fixture
def peer():
    """A kernel behind a veth pair; the near end is in this namespace, without an address."""
    ns = Netns()
    ns.near = "leatu" + ns.name[-6:]
    run("ip", "link", "add", ns.near, "type", "veth", "peer", "name", "far", "netns", ns.name)
    ns.run("ethtool", "-K", "far", "tx", "off", "tso", "off", "gso", "off")
    ns.ip("addr", "add", "10.9.0.99/24", "dev", "far")
    ns.ip("link", "set", "far", "mtu", "9000", "up")
    yield ns
    run("ip", "link", "del", ns.near, check=False)
    run("nft", "delete", "table", "netdev", f"leat-{ns.near}", check=False)  # of a rig that was killed
    ns.delete()


def drop_rules():
    return run("nft", "list", "tables", "netdev").stdout


@pytest.mark.parametrize("mtu", [1500, 9000])
@pytest.mark.parametrize("options, driver", [("", "packet_socket"), (",qdisc_bypass=1", "net_af_packet")])
def test_uplink_full_mtu_packets_pass_both_ways(pod, peer, mtu, options, driver):
    with Rig() as rig:
        rig.add("a", pod, "10.9.0.1/32", mtu=mtu)
        rig.uplink("up", f"net_af_packet{mtu},iface={peer.near}{options}", "10.9.0.99/32", mtu)
        assert f"driver={driver}" in rig.command("describe", "up")
        peer.ip("link", "set", "far", "mtu", str(mtu))
        wait_for(lambda: rig.stats("up")["is_up"], "the link is up")
        done = peer.run("ping", "-c", "3", "-i", "0.05", "-W", "2", "-M", "do", "-s", str(mtu - 28), "10.9.0.1",
                        check=False)
        assert done.returncode == 0, done.stdout
        assert rig.stats("up")["max_len"] == mtu + 14
        assert "rx_wake=event" in rig.command("describe", "up")
        if driver == "net_af_packet":
            assert "device_tx_errors=0" in rig.command("describe", "up")
        in_use = rig.mbufs()[0]
        rig.command("del", "up")
        assert rig.mbufs()[0] <= in_use
        rig.command("del", "a")
        assert rig.mbufs() == (0, 0)


def iperf(server, client, addr):
    listening = server.spawn("iperf3", "-s", "-1")
    wait_for(lambda: ":5201" in server.run("ss", "-ltn").stdout, "iperf3 listens")
    done = client.run("iperf3", "-c", addr, "-n", "50M", "-J", "--connect-timeout", "5000", timeout=30)
    listening.wait(20)
    return json.loads(done.stdout)["end"]["sum_received"]["bytes"]


def test_uplink_tcp_with_a_kernel_peer_that_leaves_segments_unfinished(pod, peer):
    peer.run("ethtool", "-K", "far", "tx", "on", "tso", "on", "gso", "on")
    with Rig() as rig:
        rig.add("a", pod, "10.9.0.1/32")
        rig.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        peer.ip("link", "set", "far", "mtu", "1500")
        assert iperf(pod, peer, "10.9.0.1") >= 50 * 1024 * 1024 * 0.9
        assert rig.stats("up")["max_len"] > 20000, "no super-frame came in whole"
        assert iperf(peer, pod, "10.9.0.99") >= 50 * 1024 * 1024 * 0.9


def test_uplink_vlan_tagged_frames_are_not_taken_for_untagged(pod, peer):
    tagged = ("import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('far', 0));"
              "s.send(b'\\xff' * 6 + b'\\2' + b'\\0' * 5 + bytes.fromhex('810000650800') + b'E' + b'\\0' * 59)")
    with Rig() as rig:
        rig.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        wait_for(lambda: rig.stats("up")["is_up"], "the link is up")
        before = rig.stats("up")
        peer.run("/usr/bin/python3", "-c", tagged)
        # what the rig itself drops counts as received; this one never gets so far
        wait_for(lambda: rig.stats("up")["drops"] - before["drops"] >
                 rig.stats("up")["rx_pkts"] - before["rx_pkts"], "the tagged frame is dropped by the port")


def test_uplink_kernel_does_not_answer_and_rule_goes_with_the_port(pod, peer):
    # the near kernel would answer ARP for any of its addresses: it must not even see the request
    with Rig() as rig:
        rig.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        assert f"leat-{peer.near}" in drop_rules()
        peer.ip("route", "add", "127.0.0.0/8", "dev", "far", check=False)
        run("ip", "addr", "add", "10.9.0.77/32", "dev", "lo")
        try:
            peer.ip("neigh", "add", "10.9.0.77", "lladdr",
                    open(f"/sys/class/net/{peer.near}/address").read().strip(), "dev", "far")
            done = peer.run("ping", "-c", "2", "-i", "0.05", "-W", "0.3", "10.9.0.77", check=False)
            assert done.returncode != 0, "the kernel answered"
        finally:
            run("ip", "addr", "del", "10.9.0.77/32", "dev", "lo")
        assert rig.stats("up")["rx_pkts"] >= 2
        rig.command("del", "up")
        assert f"leat-{peer.near}" not in drop_rules()


def test_uplink_with_an_address_is_refused(peer):
    run("ip", "addr", "add", "10.9.0.98/24", "dev", peer.near)
    with Rig() as rig:
        with pytest.raises(RuntimeError, match=r"carries the address 10\.9\.0\.98/24.*ip address del"):
            rig.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        assert f"leat-{peer.near}" not in drop_rules()


@pytest.mark.parametrize("device, sentence", [
    ("net_af_packet0,iface=leat-none", "interface 'leat-none' is not there"),
    ("net_af_packet0", "names no interface"),
    ("net_nonsense0", "cannot be opened"),
    ("0000:7f:1f.7", "cannot be opened"),
])
def test_uplink_bad_device_is_a_clear_error(device, sentence):
    with Rig() as rig:
        with pytest.raises(RuntimeError, match=sentence):
            rig.uplink("up", device, "10.9.0.99/32")
        assert rig.mbufs() == (0, 0)


def test_uplink_rule_survives_kill_and_is_taken_over(pod, peer):
    with Rig() as first:
        first.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        first.kill()
        assert f"leat-{peer.near}" in drop_rules()
    with Rig() as second:
        second.add("a", pod, "10.9.0.1/32")
        second.uplink("up", f"net_af_packet0,iface={peer.near}", "10.9.0.99/32")
        done = peer.run("ping", "-c", "2", "-i", "0.05", "-W", "2", "10.9.0.1", check=False)
        assert done.returncode == 0, done.stdout
    assert f"leat-{peer.near}" not in drop_rules()
