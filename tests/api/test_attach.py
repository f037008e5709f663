# SPDX-License-Identifier: BSD-3-Clause
"""Pods as a whole: attach, check, detach, kill and restart, many at once."""
import json
import os
import subprocess
import threading
import time

import pytest
from node import Client
from waiting import DEADLINE_S, wait_for


def attach(client, ns, number, **params):
    fd = os.open(ns.path, os.O_RDONLY)
    try:
        return client.call("endpoint.attach", fds=[fd], id=f"pod{number}", kind="tap", exist_ok=True,
                           addresses=[f"10.244.1.{number}/32", f"fd00::{number}/128"], **params)
    finally:
        os.close(fd)


def pings(ns, address):
    return ns.run("ping", "-c", "1", "-W", "1", address, check=False).returncode == 0


def test_attached_pods_reach_each_other_and_detach_leaves_nothing(running, client, netns):
    one, two = netns(), netns()
    attach(client, one, 1)
    wait_for(lambda: client.call("port.show", name="pod1")["rx_packets"] > 0, "the worker has what it makes once")
    client.call("endpoint.detach", id="pod1")
    before = running.n_fds()
    result = attach(client, one, 1)
    assert result == {"id": "pod1", "port": "pod1", "mac": "0a:58:0a:f4:01:01", "ifname": "eth0", "mtu": 1500,
                      "gateway_mac": result["gateway_mac"]}
    attach(client, two, 2)
    links = json.loads(one.run("ip", "-j", "addr", "show", "eth0").stdout)[0]
    assert links["address"] == result["mac"]
    assert {"10.244.1.1", "fd00::1"} <= {a["local"] for a in links["addr_info"]}
    assert "default via 169.254.1.1" in one.run("ip", "route").stdout
    wait_for(lambda: pings(one, "10.244.1.2"), "IPv4 ping")
    wait_for(lambda: pings(one, "fd00::2"), "IPv6 ping")
    for number in (1, 2):
        client.call("endpoint.check", id=f"pod{number}")
        client.call("endpoint.detach", id=f"pod{number}")
        client.call("endpoint.detach", id=f"pod{number}", missing_ok=True)
    assert not one.has_link("eth0") and not two.has_link("eth0")
    assert client.call("config.dump")["calls"] == [] and client.list("port.list") == []
    assert running.n_fds() <= before


def test_repeated_attach_is_the_same_or_an_error(client, netns):
    ns = netns()
    assert attach(client, ns, 1) == attach(client, ns, 1)
    with pytest.raises(Exception) as info:
        attach(client, ns, 1, mtu=1400)
    assert info.value.code == 2 and info.value.field == "mtu"


def test_failed_attach_leaves_nothing(client, netns):
    one, two = netns(), netns()
    attach(client, one, 1)
    fd = os.open(two.path, os.O_RDONLY)
    with pytest.raises(Exception) as info:
        client.call("endpoint.attach", fds=[fd], id="other", kind="tap", addresses=["10.244.1.1/32"])
    assert info.value.code == 5 and info.value.field == "addresses"
    assert not two.has_link("eth0")
    two.run("ip", "link", "add", "eth0", "type", "bridge")
    with pytest.raises(Exception) as info:
        client.call("endpoint.attach", fds=[fd], id="other", kind="tap", addresses=["10.244.1.9/32"])
    assert info.value.code == 2 and "eth0" in info.value.reason
    assert [p["name"] for p in client.list("port.list")] == ["pod1"]
    assert [e["id"] for e in client.list("endpoint.list")] == ["pod1"]
    file_fd = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(Exception) as info:
        client.call("endpoint.attach", fds=[file_fd], id="other", kind="tap", addresses=["10.244.1.9/32"])
    assert info.value.code == 1 and info.value.field == "netns"
    client.fails(-32602, "endpoint.attach", id="other", kind="tap", addresses=["10.244.1.9/32"])
    os.close(fd)
    os.close(file_fd)


@pytest.mark.parametrize("field,word,params", [
    ("addresses", "169.254.1.1", {"addresses": ["10.244.1.9/32", "169.254.1.1/32"]}),
    ("addresses", "fe80::1", {"addresses": ["fe80::1/64"]}),
    ("addresses", "10.7.0.1", {"addresses": ["10.7.0.1/24"], "gateways": ["10.7.0.1"]}),
    ("mac", "gateway", {"mac": "02:1e:a7:00:00:01"}),
    ("mac", "endpoint pod1", {"mac": "0a:58:0a:f4:01:01"}),
    ("netns", "own", {"netns": f"/proc/{os.getpid()}/ns/net"}),
])
def test_attach_that_would_take_anothers_place_is_refused(client, netns, field, word, params):
    one, two = netns(), netns()
    attach(client, one, 1)
    wanted = {"id": "other", "kind": "tap", "addresses": ["10.244.1.9/32"], "netns": two.path, **params}
    with pytest.raises(Exception) as info:
        client.call("endpoint.attach", **wanted)
    assert info.value.field == field and word in info.value.reason, str(info.value)
    assert not two.has_link("eth0") and [p["name"] for p in client.list("port.list")] == ["pod1"]


def test_same_mac_lives_in_two_zones(client, netns):
    one, two = netns(), netns()
    attach(client, one, 1)
    client.call("zone.add", id=7)
    attach(client, two, 2, zone=7, mac="0a:58:0a:f4:01:01")


@pytest.mark.parametrize("damage,word", [
    (["ip", "addr", "del", "10.244.1.1/32", "dev", "eth0"], "10.244.1.1"),
    (["ip", "route", "del", "default"], "default"),
    (["ip", "link", "set", "eth0", "mtu", "1501"], "MTU"),
    (["ip", "link", "set", "eth0", "down"], "down"),
])
def test_check_names_what_is_missing(client, netns, damage, word):
    ns = netns()
    attach(client, ns, 1)
    client.call("endpoint.check", id="pod1")
    ns.run(*damage)
    with pytest.raises(Exception) as info:
        client.call("endpoint.check", id="pod1")
    assert word in info.value.reason, info.value.reason


def test_other_shapes_gateways_routes_and_names(client, netns):
    ns = netns()
    client.call("endpoint.attach", id="e", kind="tap", netns=ns.path, ifname="net1", addresses=["10.7.0.5/24"],
                gateways=["10.7.0.1"], routes=[{"dst": "172.16.0.0/12", "gw": "10.7.0.9"}], mtu=1400,
                mac="02:00:00:00:00:05")
    routes = ns.run("ip", "route").stdout
    assert "default via 10.7.0.1 dev net1" in routes and "172.16.0.0/12 via 10.7.0.9" in routes
    assert "mtu 1400" in ns.run("ip", "link", "show", "net1").stdout
    client.call("endpoint.check", id="e")


@pytest.mark.parametrize("pass_fd", [True, False])
def test_pods_survive_kill_and_forward_again_within_a_second(leatd, netns, pass_fd):
    one, two = netns(), netns()
    client = leatd.start().client()
    for number, ns in ((1, one), (2, two)):
        if pass_fd:
            attach(client, ns, number)
        else:
            client.call("endpoint.attach", id=f"pod{number}", kind="tap", netns=ns.path,
                        addresses=[f"10.244.1.{number}/32"])
    wait_for(lambda: pings(one, "10.244.1.2"), "ping")
    leatd.kill()
    assert one.has_link("eth0")
    begin = time.monotonic()
    leatd.spawn()
    wait_for(lambda: one.run("ping", "-c", "1", "-W", "0.05", "10.244.1.2", check=False).returncode == 0, "ping again")
    assert time.monotonic() - begin < 3  # the start included
    wait_for(leatd.is_ready, "ready")
    client = leatd.client()
    client.call("endpoint.check", id="pod1")
    assert client.call("sys.status")["restored"]["endpoints"] == 2
    client.call("endpoint.detach", id="pod1")
    assert not one.has_link("eth0")


def test_namespace_that_went_away_while_leatd_was_down_is_reported_and_detached(leatd, netns):
    ns = netns()
    client = leatd.start().client()
    attach(client, ns, 1)
    leatd.kill()
    ns.delete()
    client = leatd.start().client()
    assert client.call("sys.status")["restored"]["failed"] == 1
    assert "\nleat_restore_failures 1\n" in client.call("metrics.text")["text"]
    assert client.call("sys.status")["degraded"] == ["1 saved object could not be brought back: the log names it"]
    client.call("endpoint.detach", id="pod1")
    assert client.call("config.dump")["calls"] == []


def test_purge_removes_the_devices_of_pods(leatd, netns):
    ns = netns()
    attach(leatd.start().client(), ns, 1)
    leatd.kill()
    assert ns.has_link("eth0")
    leatd.clean()
    assert not ns.has_link("eth0")


def test_vhost_user_pod_gets_a_socket_in_its_folder(running, client):
    result = client.call("endpoint.attach", id="vm1", kind="vhost-user", addresses=["10.244.1.7"],
                         vhost={"role": "server", "mode": "0666"})
    path = f"{running.run_dir}/vhost/vm1/vhost.sock"
    assert result["socket"] == path
    assert os.stat(path).st_mode & 0o777 == 0o666
    client.call("endpoint.check", id="vm1")
    client.call("endpoint.detach", id="vm1")
    wait_for(lambda: not os.path.exists(os.path.dirname(path)), "the folder gone")


def test_64_attaches_at_once_do_not_stall_others(running, client, netns):
    spaces = [netns() for _ in range(64)]
    errors, times = [], []
    stop = threading.Event()

    def work(number, ns):
        mine = Client(running.path)
        try:
            attach(mine, ns, number)
        except Exception as error:  # shown below
            errors.append(error)
        finally:
            mine.close()

    def watch():
        quiet = Client(running.path)
        while not stop.is_set():
            begin = time.monotonic()
            quiet.call("sys.hello")
            times.append(time.monotonic() - begin)
            time.sleep(0.002)  # a steady rate of questions
        quiet.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=work, args=(i + 1, ns)) for i, ns in enumerate(spaces)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    stop.set()
    watcher.join()
    assert not errors, errors[:3]
    assert len(client.list("endpoint.list")) == 64
    wait_for(lambda: pings(spaces[0], "10.244.1.64"), "ping")
    times.sort()
    p99 = times[int(len(times) * 0.99) - 1]
    print(f"64 attaches in {took:.2f} s, p99 of another client {p99 * 1000:.1f} ms, max {times[-1] * 1000:.1f} ms")
    assert p99 < 0.05, [round(t * 1000) for t in times[-10:]]
    for number in range(1, 65):
        client.call("endpoint.detach", id=f"pod{number}")


def test_host_port_routes_pods_and_goes_with_its_routes(client, netns):
    ns = netns()
    name = f"lt{os.getpid() % 100000}"
    attach(client, ns, 1)
    client.call("port.add", name="host", kind="tap", role="host", ifname=name, addresses=["10.98.0.1/32"])

    def kernel_routes():
        return subprocess.run(["ip", "route", "show", "dev", name], capture_output=True, text=True,
                              timeout=DEADLINE_S).stdout

    assert "10.244.1.1" in kernel_routes()
    wait_for(lambda: subprocess.run(["ping", "-c1", "-W1", "10.244.1.1"], capture_output=True,
                                    timeout=DEADLINE_S).returncode == 0, "ping from the node")
    client.call("endpoint.detach", id="pod1")
    assert "10.244.1.1" not in kernel_routes()
    client.call("port.del", name="host")
    wait_for(lambda: not os.path.exists(f"/sys/class/net/{name}"), "the device gone")
