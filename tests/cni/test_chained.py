# SPDX-License-Identifier: BSD-3-Clause
"""Debian's own chained plugins behind leat-cni, called as libcni calls them: in order with the last result, CHECK with the last of all."""
import ctypes
import json
import os
import shutil
import subprocess

import pytest
from conftest import Cni, IPAM_DIRS
from test_live import address_of, can_ping, curl, ip, ip_do, node, web_server  # noqa: F401  pylint: disable=unused-import
from waiting import wait_for

DIRS = ":".join(IPAM_DIRS)
pytestmark = pytest.mark.skipif(any(shutil.which(p, path=DIRS) is None for p in ("host-local", "tuning", "sbr", "bandwidth")),
                                reason="needs containernetworking-plugins")


class Chain:
    """leat-cni and one plugin of the distribution."""

    def __init__(self, live, plugin, netns, container, ifname="eth0", leat=(), **keys):
        self.live, self.who = live, {"netns": netns, "container": container, "ifname": ifname}
        self.conf = live.conf("1.0.0", **dict(leat))
        self.result = None
        self.more = {"cniVersion": "1.0.0", "name": self.conf["name"], "type": plugin, **keys}

    def call(self, verb, prev):
        who = self.who
        env = {"PATH": os.environ["PATH"], "CNI_COMMAND": verb, "CNI_PATH": DIRS, "CNI_CONTAINERID": who["container"],
               "CNI_IFNAME": who["ifname"], "CNI_NETNS": who["netns"]}
        return subprocess.run([shutil.which(self.more["type"], path=DIRS)], env=env, capture_output=True, text=True,
                              input=json.dumps({**self.more, "prevResult": prev}), check=False)

    def add(self):
        first = self.live("ADD", self.conf, **self.who).ok()
        done = self.call("ADD", first)
        assert done.returncode == 0, done.stdout + done.stderr
        self.result = json.loads(done.stdout)
        return self.result

    def check(self):
        """leat-cni's answer; the other plugin agrees."""
        answer = self.live("CHECK", dict(self.conf, prevResult=self.result), **self.who)
        if answer.status == 0:
            done = self.call("CHECK", self.result)
            assert done.returncode == 0, done.stdout + done.stderr
        return answer

    def delete(self):
        if self.result is not None:
            self.call("DEL", self.result)
        self.live("DEL", self.conf, **self.who).ok()


@pytest.fixture
def chain(live, netns):
    """Makes chains in one pod; what they added is deleted at the end."""
    made = []

    def make(plugin, *args, **keys):
        made.append(Chain(live, plugin, netns, "c", *args, **keys))
        return made[-1]
    yield make
    for one in made:
        one.delete()


@pytest.fixture
def peer(live, make_netns):
    """Another pod: (its namespace, its address)."""
    netns, conf = make_netns(), live.conf("1.0.0")
    yield netns, address_of(live("ADD", conf, netns=netns, container="other").ok())
    live("DEL", conf, netns=netns, container="other").ok()


def test_tuning_may_lower_the_mtu(chain, netns, peer):
    one = chain("tuning", mtu=1300)
    one.add()
    (link,) = ip(netns, "link", "show", "dev", "eth0")
    assert link["mtu"] == 1300 and can_ping(netns, peer[1])
    one.check().ok()


def test_tuning_may_not_raise_the_mtu(chain):
    one = chain("tuning", leat={"mtu": 1400}, mtu=1450)
    one.add()
    assert "MTU 1450, more than the 1400 that leat carries" in one.check().msg


def test_mtu_above_prev_result_s_is_told(live, netns):
    conf = live.conf("1.1.0")
    result = live("ADD", conf, netns=netns).ok()
    result["interfaces"][0]["mtu"] = 1280
    answer = live("CHECK", dict(conf, prevResult=result), netns=netns)
    assert answer.code == 121 and "MTU 1500, prevResult has 1280" in answer.msg
    ip_do(netns, "link", "set", "eth0", "mtu", "1280")
    live("CHECK", dict(conf, prevResult=result), netns=netns).ok()
    live("DEL", conf, netns=netns).ok()


def test_tuning_of_the_mac_is_told_to_be_pinned(chain):
    one = chain("tuning", mac="0a:00:00:00:00:99")
    one.add()
    answer = one.check()
    assert answer.code != 0 and "0a:00:00:00:00:99" in answer.msg and "which leat pins" in answer.msg


def test_mac_for_both_works(chain, netns, peer):
    """As Multus does: the capability mac goes to every plugin that declares it."""
    mac = {"runtimeConfig": {"mac": "0a:00:00:00:00:99"}}
    one = chain("tuning", leat=mac, capabilities={"mac": True}, **mac)
    one.add()
    assert can_ping(netns, peer[1])
    one.check().ok()


@pytest.mark.parametrize("routes", [[], [{"dst": "10.55.0.0/16"}]], ids=["default", "named routes"])
def test_sbr_answers_through_the_second_interface(live, chain, netns, peer, routes):
    conf = live.conf("1.0.0")
    live("ADD", conf, netns=netns, container="c").ok()
    ipam = live.host_local(subnet="10.78.0.0/24", routes=routes)
    one = chain("sbr", "net1", leat={"ipam": ipam, "name": "net2"})
    second = address_of(one.add())
    assert can_ping(peer[0], second), "the answers leave through net1"
    assert subprocess.run(["ip", "netns", "exec", os.path.basename(netns), "ping", "-q", "-c", "1", "-W", "5", "-I", second, peer[1]],
                          stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert can_ping(netns, peer[1]), "and all else through eth0"
    one.check().ok()
    live("DEL", conf, netns=netns, container="c").ok()


def test_sbr_answers_through_the_second_interface_ipv6(live, chain, netns, make_netns):
    def conf(name, subnet):
        return {"name": name, "ipam": live.host_local(subnet=subnet, routes=[{"dst": "::/0"}])}
    first, other = live.conf("1.0.0", **conf("six1", "fd00:77::/64")), make_netns()
    peer = address_of(live("ADD", first, netns=other, container="other").ok())
    live("ADD", first, netns=netns, container="c").ok()
    one = chain("sbr", "net1", leat=conf("six2", "fd00:78::/64"))
    second = address_of(one.add())
    assert can_ping(other, second) and can_ping(netns, peer)
    one.check().ok()
    for container, space in (("other", other), ("c", netns)):
        live("DEL", first, netns=space, container=container).ok()


def test_check_tells_a_route_that_is_gone(live, netns):
    conf = live.conf("1.0.0")
    result = live("ADD", conf, netns=netns).ok()
    ip_do(netns, "route", "del", "default")
    ip_do(netns, "route", "add", "default", "dev", "lo")
    assert live("CHECK", dict(conf, prevResult=result), netns=netns).code != 0
    live("DEL", conf, netns=netns).ok()


def test_bandwidth_has_no_veth_to_work_on(live, chain, netns):
    """docs/cni.md says so: leat's own capability does it."""
    one = chain("bandwidth", ingressRate=10**6, ingressBurst=10**6, egressRate=10**6, egressBurst=10**6)
    done = one.call("ADD", live("ADD", one.conf, **one.who).ok())
    assert done.returncode != 0 and "veth" in done.stdout


def chains(space):
    return subprocess.run(["nsenter", f"--net={space}", "iptables-save", "-t", "nat"], capture_output=True, text=True, check=True).stdout


class InNode(Cni):
    """The plugin as a runtime of that node calls it."""

    space = None

    def start(self, *args, **kwargs):
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(self.space, os.O_RDONLY)
        try:
            setns(other)
            return super().start(*args, **kwargs)
        finally:
            setns(own)
            os.close(own)
            os.close(other)


def setns(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(fd, 0x40000000) == 0, os.strerror(ctypes.get_errno())


@pytest.mark.skipif(shutil.which("portmap", path=DIRS) is None or shutil.which("iptables") is None, reason="needs portmap and iptables")
@pytest.mark.parametrize("way", ("DEL", "GC"))
def test_host_ip_127_0_0_1_is_served_in_the_node_alone(node, instance, tmp_path, make_netns, way):  # noqa: F811
    """As the plugin portmap has it: the node's own programs reach the pod by 127.0.0.1, others do not; nothing stays."""
    cni, netns = InNode(instance, tmp_path), make_netns()
    cni.space = node.space
    ip_do(node.space, "link", "set", "lo", "up")
    ports = [{"hostPort": 8088, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
             {"hostPort": 8089, "containerPort": 80, "protocol": "tcp"}]
    conf = cni.conf("1.1.0", runtimeConfig={"portMappings": ports})
    result = cni("ADD", conf, netns=netns).ok()
    (tmp_path / "page").write_text("hello")
    with web_server(netns, tmp_path, 80):
        wait_for(lambda: curl(netns, "http://127.0.0.1/page") == "hello", "the pod's server")
        assert curl(node.space, "http://127.0.0.1:8088/page") == "hello"
        assert curl(node.space, "http://192.0.2.1:8089/page") == "hello"
        assert curl(node.space, "http://192.0.2.1:8088/page").startswith("curl: ")
    cni("CHECK", dict(conf, prevResult=result), netns=netns).ok()
    assert [s["name"] for s in node.call("service.list")["items"]] == ["hostport:c1:eth0:tcp:8089"]
    assert "8088" in chains(node.space)
    if way == "DEL":
        cni("DEL", cni.conf("1.1.0"), netns=netns).ok()
    else:
        cni("GC", dict(cni.conf("1.1.0"), **{"cni.dev/valid-attachments": []})).ok()
    assert "8088" not in chains(node.space) and node.endpoints() == []
    assert cni.entries("attached") == []
