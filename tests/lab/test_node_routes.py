# SPDX-License-Identifier: BSD-3-Clause
"""The node's own routes towards leatd: to what its programs cannot reach otherwise, and nothing that is not wanted any more."""
import json
import os
import sys
import uuid

import pytest

from operator_rig import Leatd
from rig import Netns, run
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and taps")

SERVE = """
import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=80, bind=sys.argv[1])
"""


class Node:
    """leatd, its host port, an uplink on a veth pair."""

    def __init__(self, folder):
        tag = uuid.uuid4().hex[:8]
        self.host, self.up = "lh" + tag, "lu" + tag
        self.far = Netns()
        run("ip", "link", "add", self.up, "type", "veth", "peer", "name", "far", "netns", self.far.name)
        self.leatd = Leatd(folder, "--mbufs", "32768").start()
        self.add_host()
        self.leatd.ctl("port", "add", "name=up0", "kind=ethdev", "role=uplink", "addresses=192.0.2.2/24,2001:db8:2::2/64",
                       f"device=net_af_packet0,iface={self.up}")

    def add_host(self):
        self.leatd.ctl("port", "add", "name=host", "kind=tap", "role=host", f"ifname={self.host}",
                       "addresses=10.68.0.254/32,2001:db8:68::254/128")

    def routes(self):
        """What the kernel has from leatd."""
        return {route["dst"] for family in ("-4", "-6")
                for route in json.loads(run("ip", family, "-j", "route", "show", "proto", "76").stdout)}

    def wait(self, *wanted):
        try:
            wait_for(lambda: self.routes() == set(wanted), f"routes {wanted}")
        except AssertionError as err:
            raise AssertionError(f"{err}, but {self.routes()}: {self.leatd.log()[-2000:]}") from err

    def reaches(self, address, port=80):
        host = f"[{address}]" if ":" in address else address
        done = run("curl", "-s", "-o", "/dev/null", "-m", "5", f"http://{host}:{port}/", check=False)
        return done.returncode == 0

    def close(self):
        self.leatd.__exit__()
        self.far.delete()


@pytest.fixture
def node(tmp_path):
    one = Node(tmp_path)
    try:
        yield one
    finally:
        one.close()


OWN = ("192.0.2.2", "2001:db8:2::2")


def service(node, name, frontends, backends=(), *words):
    node.leatd.ctl("service", "add", f"name={name}", f"frontends={json.dumps(frontends)}",
                   *([f"backends={json.dumps(backends)}"] if backends else []), *words)


def cluster(ip, port=80, kind="cluster"):
    return {"kind": kind, "ip": ip, "proto": "tcp", "port": port}


def test_programs_of_the_node_reach_services_and_published_ports(node):
    leatd = node.leatd
    pod, pod6 = leatd.attach("pod-a", "10.68.0.1"), leatd.attach("pod-b", "2001:db8:68::1")
    servers = [p.space.spawn(sys.executable, "-c", SERVE, p.address) for p in (pod, pod6)]
    try:
        back4, back6 = [{"ip": pod.address, "port": 80}], [{"ip": pod6.address, "port": 80}]
        service(node, "c4", [cluster("10.96.0.10"), cluster("203.0.113.5", kind="external")], back4)
        service(node, "c6", [cluster("2001:db8:96::10")], back6)
        service(node, "n4", [{"kind": "node-port", "proto": "tcp", "port": 30080}], back4)
        service(node, "n6", [{"kind": "node-port", "proto": "tcp", "port": 30086}], back6)
        for address, port in (("10.96.0.10", 80), ("203.0.113.5", 80), ("2001:db8:96::10", 80), ("192.0.2.2", 30080),
                              ("2001:db8:2::2", 30086)):
            wait_for(lambda a=address, p=port: node.reaches(a, p), f"{address} port {port} from the node", 60)
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_routes_follow_what_is_configured(node):
    leatd = node.leatd
    node.wait(*OWN)
    service(node, "a", [cluster("10.96.0.10"), cluster("203.0.113.5", kind="external")])
    service(node, "b", [cluster("203.0.113.5", 81, "external"), cluster("2001:db8:96::10")])
    service(node, "p", [{"kind": "node-port", "proto": "tcp", "port": 30080}])
    node.wait(*OWN, "10.96.0.10", "203.0.113.5", "2001:db8:96::10")
    service(node, "a", [cluster("10.96.0.11")], (), "replace=true")
    node.wait(*OWN, "10.96.0.11", "203.0.113.5", "2001:db8:96::10")
    code, _ = leatd.refused("service", "add", "name=c", f"frontends={json.dumps([cluster('10.96.0.12'), cluster('10.96.0.11')])}")
    assert code != 0
    node.wait(*OWN, "10.96.0.11", "203.0.113.5", "2001:db8:96::10")
    leatd.ctl("service", "del", "b")
    node.wait(*OWN, "10.96.0.11")
    leatd.ctl("service", "del", "a")
    leatd.ctl("service", "del", "p")
    leatd.ctl("pool", "add", "name=x", "addresses=198.51.100.1,198.51.100.2,2001:db8:51::1")
    leatd.ctl("pair", "add", "internal=10.68.0.1", "external=198.51.100.9")
    node.wait(*OWN, "198.51.100.1", "198.51.100.2", "2001:db8:51::1", "198.51.100.9")
    leatd.ctl("pool", "add", "name=x", "addresses=198.51.100.2,198.51.100.3", "replace=true")
    node.wait(*OWN, "198.51.100.2", "198.51.100.3", "198.51.100.9")
    leatd.ctl("pair", "del", "10.68.0.1")
    leatd.ctl("pool", "del", "x")
    node.wait(*OWN)
    # another zone's services are not the node's
    service(node, "z", [cluster("10.96.0.99")], (), "zone=5")
    leatd.attach("pod-a", "10.68.0.1")
    leatd.ctl("tunnel", "add", "name=t", "local=192.0.2.2", "remote=192.0.2.1", "remote_mac=02:00:00:00:00:99", "vni=7")
    leatd.ctl("route", "add", "10.99.0.0/16", "tunnel=t")
    node.wait(*OWN, "10.68.0.1", "10.99.0.0/16")
    leatd.ctl("route", "add", "10.99.0.0/16", "tunnel=t", "mtu=1300", "replace=true")
    wait_for(lambda: "mtu 1300" in run("ip", "route", "show", "10.99.0.0/16").stdout, "the replaced route's MTU")
    leatd.ctl("route", "add", "10.99.0.0/16", "type=blackhole", "replace=true")
    node.wait(*OWN, "10.68.0.1")
    leatd.ctl("route", "add", "10.99.0.0/16", "tunnel=t", "replace=true")
    node.wait(*OWN, "10.68.0.1", "10.99.0.0/16")
    leatd.ctl("port", "del", "host")
    node.wait()
    node.add_host()
    node.wait(*OWN, "10.68.0.1", "10.99.0.0/16")
    # the device's own fall: the kernel forgets its IPv4 routes
    run("ip", "link", "set", node.host, "down")
    wait_for(lambda: "10.68.0.1" not in node.routes(), "the kernel has forgotten")
    run("ip", "link", "set", node.host, "up")
    node.wait(*OWN, "10.68.0.1", "10.99.0.0/16")
    leatd.ctl("route", "del", "10.99.0.0/16")
    leatd.ctl("tunnel", "del", "t")
    leatd.ctl("port", "del", "up0")
    node.wait("10.68.0.1")


def test_another_ones_route_is_left(node):
    run("ip", "link", "set", node.host, "up")
    run("ip", "route", "add", "10.96.0.10/32", "dev", node.host, "proto", "static")
    service(node, "a", [cluster("10.96.0.10"), cluster("10.96.0.11")])
    node.wait(*OWN, "10.96.0.11")
    assert "proto static" in run("ip", "route", "show", "10.96.0.10").stdout
    assert "10.96.0.10/32" in node.leatd.log()
    node.leatd.ctl("service", "del", "a")
    node.wait(*OWN)
    assert "proto static" in run("ip", "route", "show", "10.96.0.10").stdout


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_after_a_restart_only_what_is_configured_is_left(node, end):
    leatd = node.leatd
    calls = [{"method": "service.add", "params": {"name": f"s{i}", "frontends": [cluster(f"10.97.{i >> 8}.{i & 255}")],
                                                   "backends": []}} for i in range(2000)]
    path = os.path.join(leatd.folder, "services.json")
    with open(path, "w", encoding="ascii") as file:
        json.dump(calls, file)
    leatd.ctl("config", "apply", path)
    wanted = {f"10.97.{i >> 8}.{i & 255}" for i in range(2000)}
    node.wait(*OWN, *wanted)
    getattr(leatd, end)()
    assert node.routes() == {*OWN, *wanted}, "they stay with the device"
    # nobody's any more, and one that has gone meanwhile
    run("ip", "route", "add", "10.98.0.1/32", "dev", node.host, "proto", "76")
    run("ip", "route", "del", "10.97.0.7/32", "dev", node.host, "proto", "76")
    leatd.start()
    node.wait(*OWN, *wanted)
    assert leatd.purge().returncode != 0
    leatd.stop()
    assert leatd.purge().returncode == 0
    assert node.routes() == set()
