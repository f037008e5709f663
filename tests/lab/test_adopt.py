# SPDX-License-Identifier: BSD-3-Clause
"""A tap whose re-attachment fails at a later step stays what it was, and is taken up by a later try."""
import json
import os
import resource
import shutil

import pytest

from operator_rig import Leatd
from rig import RIG, Netns, Rig, run
from waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces and taps"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not os.path.exists(RIG), reason="tap_rig is not built"),
]


@pytest.fixture
def pod():
    ns = Netns()
    yield ns
    ns.delete()


@pytest.fixture
def leatd(tmp_path):
    with Leatd(tmp_path) as one:
        yield one


def ifindex(ns, name="eth0"):
    return next((item["ifindex"] for item in json.loads(ns.ip("-j", "link")) if item["ifname"] == name), None)


@pytest.mark.parametrize("queues", [1, 4])
def test_adopt_out_of_descriptors_at_any_step_leaves_the_tap(pod, queues):
    with Rig() as first:
        first.add("a", pod, "10.9.0.1/32", queues=queues)
        first.kill()
        first.quit = lambda: None
    before = ifindex(pod)
    with Rig() as second:
        pid, n_failed = second.process.pid, 0
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        for limit in range(3, highest + 20):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
            try:
                second.add("a", pod, "10.9.0.1/32", queues=queues)
                break
            except RuntimeError:
                n_failed += 1
                assert ifindex(pod) == before, f"the tap is gone after a try with {limit} descriptors"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert n_failed > queues
        assert "adopted=yes" in second.command("describe", "a") and ifindex(pod) == before
        second.command("del", "a")
        assert ifindex(pod) is None, "a port that was set up is removed with its tap"
        assert second.mbufs() == (0, 0)


@pytest.mark.parametrize("parameters", ["", ",framesz=2048"], ids=["packet", "dpdk"])
def test_adopt_of_an_uplink_out_of_descriptors_keeps_the_drop_rule(pod, parameters):
    """Else the node's kernel would take what the uplink brings, past leatd, until a later try succeeds."""
    name = f"leatu{os.getpid() % 100000}"

    def has_rule():
        return "policy drop" in run("nft", "list", "table", "netdev", f"leat-{name}", check=False).stdout

    run("ip", "link", "add", name, "type", "veth", "peer", "name", "far", "netns", pod.name)
    try:
        with Rig() as first:
            first.uplink("u", f"net_af_packet0,iface={name}{parameters}", "192.0.2.1/24")
            assert has_rule()
            first.kill()
            first.quit = lambda: None
        with Rig() as second:
            pid, n_failed = second.process.pid, 0
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
            for limit in range(3, highest + 40):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
                try:
                    second.uplink("u", f"net_af_packet0,iface={name}{parameters}", "192.0.2.1/24")
                    break
                except RuntimeError:
                    n_failed += 1
                    assert has_rule(), f"the rule is gone after a try with {limit} descriptors"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            assert n_failed > 2 and has_rule()
            second.command("del", "u")
            assert not has_rule()
    finally:
        run("ip", "link", "del", name)


def attach(leatd, ns, *words):
    return leatd.ctl("endpoint", "attach", "id=pod-a", "kind=tap", f"netns={ns.path}", "addresses=10.68.0.1/32", *words)


def test_adopt_with_a_route_that_the_pod_refuses_leaves_the_tap(leatd, pod):
    leatd.start()
    attach(leatd, pod, 'routes=[{"dst":"2001:db8:1::/64"}]')
    before = ifindex(pod)
    leatd.kill()
    pod.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1")
    leatd.start()
    assert leatd.ctl("status")["restored"]["failed"] == 1 and "2001:db8:1::/64" in leatd.log()
    assert ifindex(pod) == before
    pod.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=0")
    wait_for(lambda: [e["id"] for e in leatd.ctl("endpoints")] == ["pod-a"], "it is tried again and taken up")
    assert "restored after all object=\"endpoint pod-a\"" in leatd.log()
    assert ifindex(pod) == before
    assert "adopted=yes" in leatd.ctl("port", "show", "pod-a")["details"]
    leatd.ctl("endpoint", "detach", "pod-a")
    assert ifindex(pod) is None and leatd.ctl("config", "dump") == []


def test_pods_that_have_gone_are_tried_in_vain_and_can_be_detached(leatd):
    leatd.start()
    spaces = [Netns() for _ in range(3)]
    for i, ns in enumerate(spaces):
        leatd.ctl("endpoint", "attach", f"id=pod-{i}", "kind=tap", f"netns={ns.path}", f"addresses=10.68.0.{i + 1}/32")
    leatd.stop()
    for ns in spaces[:2]:
        ns.delete()
    leatd.start()
    assert leatd.ctl("status")["restored"]["failed"] == 2
    assert [e["id"] for e in leatd.ctl("endpoints")] == ["pod-2"] and len(leatd.ctl("config", "dump")) == 3
    for i in range(3):
        leatd.ctl("endpoint", "detach", f"pod-{i}")
    assert leatd.ctl("config", "dump") == []
    spaces[2].delete()


def test_adopt_of_a_host_port_whose_address_is_taken_leaves_the_tap(tmp_path):
    name = f"leath{os.getpid() % 100000}"
    host = ("name=host", "kind=tap", "role=host", f"ifname={name}", "addresses=10.68.0.9/32")
    with Leatd(tmp_path) as leatd:
        try:
            leatd.start()
            leatd.ctl("port", "add", *host)
            before = json.loads(run("ip", "-j", "link", "show", name).stdout)[0]["ifindex"]
            leatd.kill()
            os.rename(leatd.state_dir, leatd.state_dir + "-lost")
            leatd.start()
            leatd.ctl("port", "add", "name=ring", "kind=ring")
            leatd.ctl("endpoint", "add", "id=thief", "port=ring", "addresses=10.68.0.9")
            code, text = leatd.refused("port", "add", *host)
            assert "10.68.0.9 is taken by endpoint thief" in text, (code, text)
            assert json.loads(run("ip", "-j", "link", "show", name).stdout)[0]["ifindex"] == before
            leatd.ctl("endpoint", "del", "thief")
            leatd.ctl("port", "add", *host)
            assert json.loads(run("ip", "-j", "link", "show", name).stdout)[0]["ifindex"] == before
        finally:
            shutil.rmtree(leatd.state_dir + "-lost", ignore_errors=True)
