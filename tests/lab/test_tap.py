# SPDX-License-Identifier: BSD-3-Clause
"""Tap ports against the real kernel: configuration, offloads, persistence, deletion, many at once."""
import json
import os

import pytest

from rig import RIG, Netns, Rig, run
from waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces and taps"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not os.path.exists(RIG), reason="tap_rig is not built"),
]


@pytest.fixture
def pods():
    made = [Netns(), Netns()]
    yield made
    for ns in made:
        ns.delete()


def ping(ns, addr, *more):
    return ns.run("ping", "-c", "3", "-i", "0.05", "-W", "2", *more, addr, check=False)


def links(ns):
    return json.loads(ns.ip("-j", "-d", "link"))


def link(ns, name):
    return next(item for item in links(ns) if item["ifname"] == name)


def test_tap_pod_has_the_documented_shape(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32", mtu=1450)
        eth0 = link(pods[0], "eth0")
        assert eth0["mtu"] == 1450
        assert eth0["address"] == "0a:58:0a:09:00:01"
        assert "UP" in eth0["flags"]
        assert "UP" in link(pods[0], "lo")["flags"]
        routes = pods[0].ip("route").splitlines()
        assert [r.strip() for r in routes] == ["default via 169.254.1.1 dev eth0", "169.254.1.1 dev eth0 scope link"]
        assert "10.9.0.1/32" in pods[0].ip("-4", "addr", "show", "dev", "eth0")


def test_tap_ipv6_pod_has_address_without_detection_and_default_route(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "2001:db8:9::1/128")
        shown = pods[0].ip("-6", "addr", "show", "dev", "eth0", "scope", "global")
        assert "2001:db8:9::1/128" in shown and "tentative" not in shown
        assert "default via fe80::1 dev eth0" in pods[0].ip("-6", "route")


def test_tap_two_pods_ping_and_leave_no_mbuf(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        rig.add("b", pods[1], "10.9.0.2/32")
        in_use, _ = rig.mbufs()
        done = ping(pods[0], "10.9.0.2")
        assert done.returncode == 0, done.stdout
        wait_for(lambda: rig.mbufs()[0] == in_use, "all mbufs are back")
        rig.command("del", "a")
        rig.command("del", "b")
        assert rig.mbufs() == (0, 0)
        assert [item["ifname"] for item in links(pods[0])] == ["lo"]


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_tap_full_mtu_ping_passes_unfragmented(pods, mtu):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32", mtu=mtu)
        rig.add("b", pods[1], "10.9.0.2/32", mtu=mtu)
        done = ping(pods[0], "10.9.0.2", "-s", str(mtu - 28), "-M", "do")
        assert done.returncode == 0, done.stdout
        assert rig.stats("a")["max_len"] == mtu + 14


def test_tap_tcp_travels_as_64k_segments(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        rig.add("b", pods[1], "10.9.0.2/32")
        server = pods[1].spawn("iperf3", "-s", "-1", "--forceflush")
        wait_for(lambda: ":5201" in pods[1].run("ss", "-ltn").stdout, "iperf3 listens")
        done = pods[0].run("iperf3", "-c", "10.9.0.2", "-n", "200M", "-J")
        server.wait(20)
        assert json.loads(done.stdout)["end"]["sum_received"]["bytes"] >= 200 * 1024 * 1024 * 0.9
        assert rig.stats("a")["max_len"] > 60000
        assert rig.stats("a")["rx_pkts"] < 200 * 1024 * 1024 / 1448 / 4


def test_tap_survives_kill_and_is_attached_again(pods):
    with Rig() as first:
        first.add("a", pods[0], "10.9.0.1/32")
        before = link(pods[0], "eth0")
        first.kill()
        first.process.poll()
    after = link(pods[0], "eth0")
    assert before["ifindex"] == after["ifindex"]
    assert "10.9.0.1/32" in pods[0].ip("addr")
    with Rig() as second:
        second.add("a", pods[0], "10.9.0.1/32")
        second.add("b", pods[1], "10.9.0.2/32")
        assert "adopted=yes" in second.command("describe", "a")
        assert link(pods[0], "eth0")["ifindex"] == before["ifindex"]
        done = ping(pods[0], "10.9.0.2")
        assert done.returncode == 0, done.stdout
    assert [item["ifname"] for item in links(pods[0])] == ["lo"]


def test_tap_kept_on_close_is_attached_again(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        rig.command("keep", "a")
        assert "eth0" in [item["ifname"] for item in links(pods[0])]
        rig.add("a", pods[0], "10.9.0.1/32")
        rig.add("b", pods[1], "10.9.0.2/32")
        assert ping(pods[0], "10.9.0.2").returncode == 0


def test_tap_purge_removes_what_a_killed_process_left_and_nothing_else(pods):
    pods[1].ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    with Rig() as first, Rig() as second:
        first.add("a", pods[0], "10.9.0.1/32")
        first.add("m", pods[0], "10.9.0.3/32", ifname="net1", queues=2)
        with pytest.raises(RuntimeError, match="in use by another process"):
            second.command("purge", pods[0].path, "eth0")
        first.kill()
        second.command("purge", pods[0].path, "eth0")
        second.command("purge", pods[0].path, "net1")
        assert [item["ifname"] for item in links(pods[0])] == ["lo"]
        with pytest.raises(RuntimeError, match="is not leat's"):
            second.command("purge", pods[1].path, "eth0")
        first.process.poll()
        first.quit = lambda: None


def test_tap_foreign_interface_is_refused_and_untouched(pods):
    pods[0].ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    with Rig() as rig:
        with pytest.raises(RuntimeError, match="interface 'eth0' already"):
            rig.add("a", pods[0], "10.9.0.1/32")
        assert link(pods[0], "eth0")["linkinfo"]["info_kind"] == "veth"
        assert rig.mbufs() == (0, 0)
    assert "leattap" not in run("ip", "link").stdout


def test_tap_of_another_port_is_refused(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        with pytest.raises(RuntimeError, match="interface 'eth0' already"):
            rig.add("b", pods[0], "10.9.0.2/32")
        with pytest.raises(RuntimeError, match="exists already"):
            rig.add("a", pods[0], "10.9.0.1/32")


def test_tap_bad_name_is_refused(pods):
    with Rig() as rig:
        for name in ("a/b", "x" * 16, "a%d"):
            with pytest.raises(RuntimeError, match="not valid"):
                rig.add("a", pods[0], "10.9.0.1/32", ifname=name)
        with pytest.raises(RuntimeError):
            rig.add("a", None, "10.9.0.1/32", ifname="lo")


def test_tap_namespace_deleted_port_goes_down_without_spinning(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        assert rig.stats("a")["is_up"] == 1
        pods[0].delete()
        wait_for(lambda: rig.stats("a")["is_up"] == 0, "the port is down")
        # a worker that spins would not sleep a millisecond at a time
        start = int(rig.command("wakes"))
        wait_for(lambda: int(rig.command("wakes")) > start + 20, "the worker sleeps")
        rig.command("del", "a")
        assert rig.mbufs() == (0, 0)


def test_tap_several_queues_carry_traffic(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32", queues=2)
        rig.add("b", pods[1], "10.9.0.2/32", queues=2)
        assert ping(pods[0], "10.9.0.2").returncode == 0
        assert "queues=2" in rig.command("describe", "a")


def test_tap_host_port_reaches_pod(pods):
    name = "leatt" + pods[0].name[-6:]
    with Rig() as rig:
        rig.add("host", None, "10.9.0.254/32", ifname=name)
        rig.add("a", pods[0], "10.9.0.1/32")
        run("ip", "route", "add", "10.9.0.1/32", "dev", name, "src", "10.9.0.254")
        done = run("ping", "-c", "2", "-i", "0.05", "-W", "2", "10.9.0.1", check=False)
        assert done.returncode == 0, done.stdout
    assert name not in run("ip", "link").stdout


def test_tap_64_ports_come_and_go_while_others_forward(pods):
    with Rig() as rig:
        rig.add("a", pods[0], "10.9.0.1/32")
        rig.add("b", pods[1], "10.9.0.2/32")
        before = rig.mbufs()
        flow = pods[0].spawn("ping", "-q", "-i", "0.01", "-c", "150", "-W", "2", "10.9.0.2")
        for i in range(64):
            rig.add(f"p{i}", pods[1], f"10.9.1.{i + 1}/32", ifname=f"e{i}")
        assert len(links(pods[1])) == 66
        assert "default via 169.254.1.1 dev eth0" in pods[1].ip("route")
        for i in range(64):
            rig.command("del", f"p{i}")
        out, _ = flow.communicate(timeout=30)
        assert " 0% packet loss" in out, out
        assert len(links(pods[1])) == 2
        wait_for(lambda: rig.mbufs() == before, "all mbufs are back")


def test_route_monitor_follows_routes_of_a_daemon_through_the_host_port(pods):
    name = "leatt" + pods[0].name[-6:]

    def routes():
        return dict(item.split(",") for item in rig.command("routes").split())

    with Rig() as rig:
        rig.command("monitor", name)
        assert routes() == {}
        rig.add("host", None, "10.9.0.254/24", ifname=name)
        run("ip", "route", "add", "198.51.100.0/24", "via", "10.9.0.7", "dev", name, "proto", "bgp")
        run("ip", "route", "add", "203.0.113.0/24", "via", "10.9.0.7", "dev", name, "proto", "boot")
        run("ip", "-6", "route", "add", "2001:db8:77::/48", "dev", name, "proto", "zebra")
        wait_for(lambda: routes() == {"198.51.100.0/24": "10.9.0.7", "2001:db8:77::/48": "-"}, "both are mirrored")
        run("ip", "route", "replace", "198.51.100.0/24", "via", "10.9.0.8", "dev", name, "proto", "bgp")
        wait_for(lambda: routes()["198.51.100.0/24"] == "10.9.0.8", "the change is mirrored")
        run("ip", "route", "add", "198.51.100.0/24", "via", "10.9.0.9", "dev", name, "proto", "bgp", "metric", "50")
        assert routes()["198.51.100.0/24"] == "10.9.0.8"
        run("ip", "route", "del", "198.51.100.0/24", "metric", "0", "via", "10.9.0.8")
        wait_for(lambda: routes()["198.51.100.0/24"] == "10.9.0.9", "the next best takes over")
        run("ip", "-6", "route", "del", "2001:db8:77::/48", "dev", name)
        wait_for(lambda: list(routes()) == ["198.51.100.0/24"], "the removal is mirrored")
        run("ip", "link", "set", name, "down")
        wait_for(lambda: routes() == {}, "routes go with the link")
