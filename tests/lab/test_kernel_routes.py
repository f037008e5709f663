# SPDX-License-Identifier: BSD-3-Clause
"""Routes that a routing daemon installs in the kernel through the host port, as leatd mirrors them."""
import json
import os
import socket
import subprocess

import pytest

from rig import BUILD, Netns, run
from waiting import wait_for

LEATD = os.path.join(BUILD, "control", "leatd")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces and taps"),
    pytest.mark.skipif(not os.path.exists(LEATD), reason="leatd is not built"),
]


class Leatd:
    def __init__(self, node):
        self.name = node.name
        self.process = node.spawn(LEATD, "-i", self.name, "--flows", "1000", "--mbufs", "8192")
        path = f"/run/leat/{self.name}/control.sock"

        def connect():
            self.socket = socket.socket(socket.AF_UNIX)
            return self.socket.connect_ex(path) == 0

        wait_for(connect, "leatd listens")
        self.file = self.socket.makefile("rw")
        self.last_id = 0

    def call(self, method, **params):
        self.last_id += 1
        self.file.write(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}) + "\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        assert "result" in answer, answer
        return answer["result"]

    def kernel_routes(self):
        routes = self.call("route.list")["items"]
        return {r["prefix"]: r.get("via", r["type"]) for r in routes if r["origin"] == "kernel"}

    def stop(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, self.process.stdout.read()
        subprocess.run([LEATD, "-i", self.name, "--purge"], check=True, capture_output=True)


@pytest.fixture
def node():
    ns = Netns()
    ns.ip("link", "set", "lo", "up")
    ns.ip("link", "add", "up0", "type", "veth", "peer", "name", "far")
    yield ns
    ns.delete()


def test_kernel_routes_are_mirrored_and_what_is_configured_wins(node):
    leatd = Leatd(node)
    try:
        leatd.call("port.add", name="host", kind="tap", role="host", addresses=["192.0.2.1/24"])
        node.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.7", "dev", "leat0", "proto", "bgp")
        node.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.7", "dev", "leat0", "proto", "bgp")
        # no network of leat's has the gateway yet
        assert leatd.kernel_routes() == {}
        leatd.call("port.add", name="up", kind="ethdev", role="uplink", device="net_af_packet0,iface=up0",
                   addresses=["192.0.2.2/24"])
        both = {"198.51.100.0/24": "192.0.2.7", "203.0.113.0/24": "192.0.2.7"}
        wait_for(lambda: leatd.kernel_routes() == both, "both routes are mirrored")
        leatd.call("route.add", prefix="198.51.100.0/24", via="192.0.2.9")
        assert list(leatd.kernel_routes()) == ["203.0.113.0/24"]
        leatd.call("route.del", prefix="198.51.100.0/24")
        wait_for(lambda: leatd.kernel_routes() == both, "the mirrored route is back")
        node.ip("route", "del", "203.0.113.0/24")
        wait_for(lambda: list(leatd.kernel_routes()) == ["198.51.100.0/24"], "the removal is mirrored")
        node.ip("route", "add", "203.0.113.128/25", "via", "192.0.2.8", "dev", "leat0", "proto", "boot")
        node.ip("route", "add", "203.0.113.0/25", "via", "192.0.2.8", "dev", "leat0", "proto", "zebra")
        wait_for(lambda: "203.0.113.0/25" in leatd.kernel_routes(), "the daemon's route is mirrored")
        assert "203.0.113.128/25" not in leatd.kernel_routes(), "a route of the boot scripts was taken for a daemon's"
        # one mirrored at a time is a message each; a thousand come in one go
        batch = "".join(f"route add 10.{i // 256}.{i % 256}.0/24 via 192.0.2.8 dev leat0 proto bgp\n"
                        for i in range(1000))
        subprocess.run(["ip", "-n", node.name, "-batch", "-"], input=batch, text=True, check=True)
        wait_for(lambda: leatd.call("route.lookup", address="10.3.231.1")["origin"] == "kernel", "all are mirrored")
        leatd.call("port.del", name="host")
        assert leatd.kernel_routes() == {}
    finally:
        leatd.stop()
    assert "leat0" not in node.ip("link")
