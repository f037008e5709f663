# SPDX-License-Identifier: BSD-3-Clause
"""Devices under ports that are missing at start, go, come back and are made again; the drop rule of uplinks."""
import json
import os
import subprocess
import uuid

import pytest

from operator_rig import Leatd
from rig import Netns, run
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and devices")

# both drivers of kernel devices: packet sockets of leat's own, and DPDK's
DEVICES = {"packet": "net_af_packet0,iface={}", "packet-2-queues": "net_af_packet0,iface={}",
           "dpdk": "net_af_packet0,iface={},framesz=2048"}


class Wire:
    """An uplink device here, its other end a router in a namespace."""

    def __init__(self):
        self.name = "lu" + uuid.uuid4().hex[:8]
        self.far = Netns()

    def make(self, mac=None):
        words = ["address", mac] if mac else []
        run("ip", "link", "add", self.name, *words, "type", "veth", "peer", "name", "far", "netns", self.far.name)
        self.far.ip("addr", "add", "192.0.2.1/24", "dev", "far")
        self.far.ip("-6", "addr", "add", "2001:db8:2::1/64", "dev", "far", "nodad")
        self.far.ip("link", "set", "far", "up")
        self.far.run("ethtool", "-K", "far", "tx", "off", "tso", "off", "gso", "off", check=False)

    def remove(self):
        run("ip", "link", "del", self.name, check=False)

    def pings(self, address="192.0.2.2"):
        return self.far.run("ping", "-q", "-c", "1", "-W", "1", address, check=False).returncode == 0

    def has_rule(self):
        done = run("nft", "list", "table", "netdev", f"leat-{self.name}", check=False)
        return done.returncode == 0 and "policy drop" in done.stdout

    def delete(self):
        self.remove()
        self.far.delete()
        run("nft", "delete", "table", "netdev", f"leat-{self.name}", check=False)


@pytest.fixture
def wire():
    one = Wire()
    yield one
    one.delete()


@pytest.fixture
def leatd(tmp_path):
    with Leatd(tmp_path, "--mbufs", "32768") as one:
        yield one


def uplink(leatd, wire, kind="packet", *words):
    leatd.ctl("port", "add", "name=up0", "kind=ethdev", "role=uplink", "addresses=192.0.2.2/24,2001:db8:2::2/64",
              f"device={DEVICES[kind].format(wire.name)}", *(["queues=2"] if "2" in kind else []), *words)


def is_up(leatd):
    return leatd.ctl("port", "show", "up0")["up"]


def degraded(leatd):
    return leatd.ctl("status")["degraded"]


def metric(leatd, name):
    return next(int(line.rpartition(" ")[2]) for line in leatd.http_get("/metrics")[1].splitlines()
                if line.startswith(name + " "))


@pytest.mark.parametrize("kind", DEVICES)
def test_uplink_missing_at_start_is_taken_up_when_it_appears(leatd, wire, kind):
    wire.make()
    leatd.start()
    uplink(leatd, wire, kind)
    leatd.ctl("route", "add", "0.0.0.0/0", "via=192.0.2.1")
    leatd.ctl("tunnel", "add", "name=t", "local=192.0.2.2", "remote=192.0.2.1", "remote_mac=02:00:00:00:00:99", "vni=7")
    leatd.ctl("route", "add", "10.99.0.0/16", "tunnel=t")
    before = leatd.ctl("config", "dump")
    wait_for(wire.pings, "the uplink answers")
    assert degraded(leatd) == [] and metric(leatd, "leat_degraded") == 0
    assert leatd.http_get("/healthz")[1] == "ok\n"
    leatd.stop()
    wire.remove()
    leatd.start()
    assert leatd.ctl("config", "dump") == before
    assert leatd.ctl("status")["restored"]["failed"] == 0
    assert degraded(leatd) == [f"port up0 is without its device: interface '{wire.name}' is not there: No such device"]
    assert metric(leatd, "leat_degraded") == 1 and metric(leatd, 'leat_port_device_missing{port="up0"}') == 1
    answer, body = leatd.http_get("/healthz")
    assert (answer.status, body) == (200, "degraded\n")
    assert not is_up(leatd) and leatd.ctl("port", "show", "up0")["details"] == "device=missing"
    assert "up0" in leatd.log() and "degraded until it is there" in leatd.log()
    wire.make()
    wait_for(lambda: degraded(leatd) == [], "the device is taken up")
    wait_for(wire.pings, "the uplink answers")
    assert wire.pings("2001:db8:2::2")
    assert wire.has_rule()
    wait_for(lambda: is_up(leatd), "the port is up")
    assert leatd.http_get("/healthz")[1] == "ok\n"
    assert leatd.ctl("config", "dump") == before
    wait_for(lambda: leatd.ctl("tunnel", "list")[0]["resolved"], "the tunnel stands")


@pytest.mark.parametrize("kind", DEVICES)
def test_uplink_made_again_under_a_running_leatd_is_followed(leatd, wire, kind):
    wire.make("02:00:00:00:00:01")
    leatd.start()
    uplink(leatd, wire, kind)
    before = leatd.ctl("config", "dump")
    events = leatd.spawn_ctl("event", "watch", "port")
    try:
        wait_for(wire.pings, "the uplink answers")
        changes = metric(leatd, 'leat_port_link_changes_total{port="up0"}')
        wire.far.ip("link", "set", "far", "down")
        wait_for(lambda: not is_up(leatd), "the carrier is gone")
        wait_for(lambda: "link down name=up0" in leatd.log(), "it is logged")
        assert degraded(leatd) == []
        wire.far.ip("link", "set", "far", "up")
        wait_for(lambda: is_up(leatd) and "link up name=up0" in leatd.log(), "the carrier is back")
        wait_for(wire.pings, "the uplink answers again")
        for round_ in range(3):
            wire.remove()
            wait_for(lambda: degraded(leatd) != [], "the loss is seen")
            assert not is_up(leatd)
            wire.make(f"02:00:00:00:01:{round_:02x}")
            wait_for(lambda: degraded(leatd) == [], "the new device is taken up")
            wait_for(wire.pings, "it answers")
            assert wire.has_rule()
            assert leatd.ctl("port", "show", "up0")["mac"] == f"02:00:00:00:01:{round_:02x}"
        # removed and made again before anybody could look
        wire.remove()
        wire.make("02:00:00:00:02:00")
        wait_for(lambda: leatd.ctl("port", "show", "up0")["mac"] == "02:00:00:00:02:00", "the newest is taken up")
        wait_for(wire.pings, "it answers")
        # under another name it is not ours, under the old one it is
        run("ip", "link", "set", wire.name, "down")
        run("ip", "link", "set", wire.name, "name", wire.name + "x")
        wait_for(lambda: degraded(leatd) != [], "a device of another name is let go")
        run("ip", "link", "set", wire.name + "x", "name", wire.name)
        wait_for(lambda: degraded(leatd) == [], "it is taken up by its name")
        wait_for(wire.pings, "it answers")
        assert metric(leatd, 'leat_port_link_changes_total{port="up0"}') >= changes + 2 + 4 * 2 + 2
        assert leatd.ctl("config", "dump") == before
    finally:
        events.terminate()
        out = events.communicate(timeout=20)[0]
    for action in ("link-down", "link-up", "device-missing", "device-present"):
        assert f'"{action}"' in out, out
    text = leatd.log()
    assert "without its device" in text and "device taken up name=up0" in text


def test_uplink_configured_mac_stays_with_a_new_device(leatd, wire):
    wire.make("02:00:00:00:00:01")
    leatd.start()
    uplink(leatd, wire, "packet", "mac=02:00:00:00:00:77")
    wait_for(wire.pings, "the uplink answers")
    wire.remove()
    wait_for(lambda: degraded(leatd) != [], "the loss is seen")
    wire.make("02:00:00:00:00:02")
    wait_for(wire.pings, "it answers")
    assert "02:00:00:00:00:77" in wire.far.ip("neigh", "show", "192.0.2.2")


def test_host_port_deleted_is_made_again_with_its_routes(leatd):
    name = f"lh{uuid.uuid4().hex[:8]}"
    leatd.start()
    pod = leatd.attach("pod-a", "10.68.0.1")
    leatd.ctl("port", "add", "name=host", "kind=tap", "role=host", f"ifname={name}", "addresses=10.68.0.254/32")

    def reaches():
        return run("ping", "-q", "-c", "1", "-W", "1", "10.68.0.1", check=False).returncode == 0

    wait_for(reaches, "the node reaches the pod")
    run("ip", "link", "del", name)
    wait_for(lambda: run("ip", "link", "show", name, check=False).returncode == 0, "the host port is there again")
    wait_for(reaches, "the node reaches the pod again")
    assert "10.68.0.254" in run("ip", "addr", "show", name).stdout
    assert "without its device" in leatd.log() and "device taken up name=host" in leatd.log()
    assert degraded(leatd) == []
    assert pod.has_device()


def test_pod_device_deleted_is_told(leatd):
    leatd.start()
    pod = leatd.attach("pod-a", "10.68.0.1")
    pod.space.ip("link", "del", "eth0")
    wait_for(lambda: "link down name=pod-a" in leatd.log(), "it is logged")
    assert metric(leatd, 'leat_port_link_changes_total{port="pod-a"}') == 1


def test_wrong_device_is_refused_when_it_is_asked_for(leatd, wire):
    leatd.start()
    code, text = leatd.refused("port", "add", "name=up0", "kind=ethdev", "role=uplink", f"device=net_af_packet0,iface={wire.name}")
    assert "is not there" in text and code != 0
    assert leatd.ctl("config", "dump") == [] and degraded(leatd) == []


@pytest.mark.parametrize("what", [("flush", "ruleset"), ("delete", "table"), ("flush", "ruleset", "netdev")])
@pytest.mark.parametrize("kind", ["packet", "dpdk"])
def test_drop_rule_comes_back(leatd, wire, what, kind):
    wire.make()
    leatd.start()
    uplink(leatd, wire, kind)
    assert wire.has_rule()
    words = (*what, "netdev", f"leat-{wire.name}") if what == ("delete", "table") else what
    subprocess.run(["nft", *words], check=True)
    wait_for(wire.has_rule, "the rule is back")
    wait_for(lambda: "drop rule was gone from nftables, put back name=up0" in leatd.log(), "it is logged")
    leatd.ctl("port", "del", "up0")
    wait_for(lambda: not wire.has_rule(), "it goes with the port")


@pytest.mark.parametrize("kind", ["packet", "dpdk"])
def test_neighbours_behind_a_bridge_learn_a_new_mac_at_once(leatd, wire, kind):
    """A switch stays up while the device behind one of its ports is another: nobody there asks again by itself."""
    far = wire.far
    far.ip("link", "add", "br0", "address", "02:00:00:00:00:b0", "type", "bridge")
    far.ip("link", "add", "other", "type", "veth", "peer", "name", "host")  # keeps the carrier
    for name in ("host", "other", "br0"):
        far.ip("link", "set", name, *(["master", "br0"] if name == "other" else []), "up")
    far.ip("addr", "add", "192.0.2.1/24", "dev", "br0")
    far.ip("-6", "addr", "add", "2001:db8:2::1/64", "dev", "br0", "nodad")

    def plug(mac):
        run("ip", "link", "add", wire.name, "address", mac, "type", "veth", "peer", "name", "far", "netns", far.name)
        far.ip("link", "set", "far", "master", "br0")
        far.ip("link", "set", "far", "up")
        far.run("ethtool", "-K", "br0", "tx", "off", check=False)
        far.run("ethtool", "-K", "far", "tx", "off", "tso", "off", "gso", "off", check=False)

    def known():
        return {n["dst"]: n.get("lladdr") for n in json.loads(far.ip("-j", "neigh", "show", "dev", "br0"))}

    plug("02:00:00:00:00:01")
    leatd.start()
    uplink(leatd, wire, kind)
    wait_for(wire.pings, "the uplink answers")
    wait_for(lambda: wire.pings("2001:db8:2::2"), "the uplink answers")
    wire.remove()
    wait_for(lambda: degraded(leatd) != [], "the loss is seen")
    assert known()["192.0.2.2"] == known()["2001:db8:2::2"] == "02:00:00:00:00:01"
    plug("02:00:00:00:00:02")
    for address in ("192.0.2.2", "2001:db8:2::2"):
        wait_for(lambda a=address: known()[a] == "02:00:00:00:00:02", f"the new MAC of {address} without a question")


def test_configuration_file_with_a_device_that_comes_later(leatd, wire, tmp_path):
    path = tmp_path / "node.json"
    path.write_text(json.dumps([
        {"method": "port.add", "params": {"name": "up0", "kind": "ethdev", "role": "uplink", "addresses": ["192.0.2.2/24"],
                                          "device": DEVICES["packet"].format(wire.name)}},
        {"method": "route.add", "params": {"prefix": "0.0.0.0/0", "via": "192.0.2.1"}}]))
    leatd.start("--config", str(path))
    assert len(degraded(leatd)) == 1 and len(leatd.ctl("config", "dump")) == 2
    wire.make()
    wait_for(lambda: degraded(leatd) == [], "the device is taken up")
    wait_for(wire.pings, "the uplink answers")


def test_device_exchanged_under_traffic_of_two_workers_loses_no_buffer(leatd, wire):
    cores = sorted(os.sched_getaffinity(0))[-2:]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    wire.make()
    leatd.start("--cores", ",".join(map(str, cores)))
    pods = [leatd.attach(f"pod-{i}", f"10.68.0.{i + 1}") for i in range(2)]
    uplink(leatd, wire)
    wait_for(wire.pings, "the uplink answers")
    floods = [p.space.spawn("ping", "-q", "-i", "0.002", "-W", "1", "192.0.2.1") for p in pods]
    try:
        for round_ in range(8):
            wire.remove()
            wire.make(f"02:00:00:00:03:{round_:02x}")
            wire.far.ip("route", "add", "10.68.0.0/24", "via", "192.0.2.2")
            wait_for(lambda r=round_: leatd.ctl("port", "show", "up0")["mac"] == f"02:00:00:00:03:{r:02x}",
                     "the new device is taken up")
            wait_for(lambda: pods[0].space.run("ping", "-q", "-c", "1", "-W", "1", "192.0.2.1", check=False).returncode == 0,
                     "a pod reaches the router")
    finally:
        for flood in floods:
            flood.terminate()
            flood.communicate()
    leatd.ctl("port", "del", "up0")
    for pod in pods:
        leatd.ctl("endpoint", "detach", pod.name)
    wait_for(lambda: leatd.ctl("status")["mbufs"]["in_use"] == 0, "all buffers are back")
