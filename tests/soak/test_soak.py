# SPDX-License-Identifier: BSD-3-Clause
"""Two nodes for SOAK_MINUTES (10): pods, routes and tunnels come and go while others talk; one node is killed now and then.

The pods a1, a2 (node a) and b1 (node b) are never touched; they talk within node a (IPv4, IPv6) and through a VXLAN
tunnel between the nodes. Node a lives for the whole run, node b is killed with -9 each minute and started again.
"""
import itertools
import os
import re
import subprocess
import time

import pytest

from node import Client, Leatd, Netns
from traffic import Echo, Flow
from waiting import wait_for

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
KILL_EVERY_S = 60
DEADLINE_S = 120  # the machine may be busy with other things
WARM_ROUNDS = 5
RSS_GROWTH_MAX_BYTES = 8 << 20
N_ROUTES = 200

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed for namespaces and packet sockets")


class Life:
    """One process of a node: what it holds after warming up, and that it does not hold more later."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.rounds = 0
        self.rss_bytes = self.n_fds = None
        self.rss_growth_bytes = 0

    def rss(self):
        with open(f"/proc/{self.daemon.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) << 10

    def round_done(self):
        self.rounds += 1
        if self.rounds < WARM_ROUNDS:
            return
        if self.rss_bytes is None:
            self.rss_bytes, self.n_fds = self.rss(), self.daemon.n_fds()
        self.rss_growth_bytes = max(self.rss_growth_bytes, self.rss() - self.rss_bytes)
        assert self.rss_growth_bytes <= RSS_GROWTH_MAX_BYTES, f"{self.daemon.instance} grew by {self.rss_growth_bytes} bytes"
        wait_for(lambda: self.daemon.n_fds() <= self.n_fds, f"{self.daemon.instance} has {self.n_fds} descriptors again")


class Node:
    """One side: leatd, its uplink, its end of the tunnel."""

    def __init__(self, name, number, folder, cores):
        self.name, self.number = name, number
        self.device = f"soak{name}{os.getpid() % 10000}"
        self.daemon = Leatd(folder / f"{name}.log", core=cores[number % len(cores)])
        self.lives = []
        self.client = None

    def start(self):
        self.daemon.start(deadline_s=DEADLINE_S)
        self.client = Client(self.daemon.path, DEADLINE_S)
        self.lives.append(Life(self.daemon))

    def configure(self, other):
        call = self.client.call
        call("port.add", name="up", kind="ethdev", role="uplink", device=f"net_af_packet0,iface={self.device}",
             addresses=[f"192.0.2.{self.number}/24"])
        call("tunnel.add", name="peer", remote=f"192.0.2.{other.number}", vni=7,
             remote_mac=other.client.call("tunnel.local")["mac"])
        call("route.add", prefix=f"10.244.{other.number}.0/24", tunnel="peer")

    def attach(self, ns, number):
        self.client.call("endpoint.attach", id=f"pod{number}", kind="tap", netns=ns.path,
                         addresses=[f"10.244.{self.number}.{number}/32", f"fd00:{self.number}::{number}/128"])

    def churn(self, spaces, turn):
        """Pods, a tunnel and routes come, work and go."""
        for number, ns in enumerate(spaces, 100):
            self.attach(ns, number)
        echo = Echo(spaces[0], spaces[1], f"10.244.{self.number}.101")
        wait_for(lambda: echo.once(1), f"new pods of node {self.name} talk", DEADLINE_S)
        echo.close()
        routes = [{"prefix": f"10.{128 + turn % 64}.{i}.0/24"} for i in range(N_ROUTES)]
        self.client.call("tunnel.add", name="far", remote="192.0.2.77", vni=1000 + turn % 1000,
                         remote_mac="02:00:00:00:00:77")
        self.client.txn([{"method": "route.add", "params": {**r, "tunnel": "far"}} for r in routes])
        self.client.txn([{"method": "route.del", "params": r} for r in routes])
        self.client.call("tunnel.del", name="far")
        for number in range(100, 100 + len(spaces)):
            self.client.call("endpoint.detach", id=f"pod{number}")
        self.lives[-1].round_done()

    def mbufs(self):
        return self.client.call("sys.status")["mbufs"]["in_use"]

    def drops(self):
        return re.findall(r"^leat_port_drops_total.*$", self.client.call("metrics.text")["text"], re.M)

    def totals(self):
        """Packets in, out, dropped; asked for and answered by the node itself."""
        text = self.client.call("metrics.text")["text"]

        def total(name):
            return sum(int(n) for n in re.findall(rf"^{name}_total(?:{{.*}})? (\d+)$", text, re.M))

        return {name: total(f"leat_{name}") for name in (
            "port_receive_packets", "port_transmit_packets", "port_drops", "neighbour_requests")}

    def clean(self):
        if self.client is not None:
            self.client.close()
        self.daemon.clean()


def kernel_counts(ns):
    """What the pod's kernel sent and received by its device."""
    text = ns.run("cat", "/proc/net/dev").stdout
    fields = re.search(r"eth0:(.*)", text).group(1).split()
    return int(fields[9]), int(fields[1])


@pytest.fixture
def nodes(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    made = [Node("a", 1, tmp_path, cores), Node("b", 2, tmp_path, cores)]
    subprocess.run(["ip", "link", "add", made[0].device, "type", "veth", "peer", "name", made[1].device], check=True)
    yield made
    for node in made:
        node.clean()
    subprocess.run(["ip", "link", "del", made[0].device], check=True)


@pytest.fixture
def spaces():
    made = {name: Netns() for name in ("a1", "a2", "b1", "ca1", "ca2", "ca3", "cb1", "cb2")}
    yield made
    for ns in made.values():
        ns.delete()


def kill(node, flows):
    """kill -9, and again once all flows talk."""
    for flow in flows:
        flow.kills += 1
    node.daemon.kill()
    node.client.close()
    node.start()
    for flow in flows:
        answered = flow.n_answered
        wait_for(lambda f=flow, n=answered: f.n_answered > n + 1, f"{flow.name} talks again", DEADLINE_S)
        flow.kills += 1


def check_at_rest(a, b, spaces, flows, mbufs):
    """Everything that came in went out or has a name; nothing is kept."""
    before = {node: node.totals() for node in (a, b)}
    counts = [flow.n_answered for flow in flows]
    for flow in flows:
        flow.resume()
    wait_for(lambda: all(f.n_answered > n + 1000 for f, n in zip(flows, counts)), "another thousand echoes", DEADLINE_S)
    for flow in flows:
        flow.pause()
    for node in (a, b):
        grown = {name: value - before[node][name] for name, value in node.totals().items()}
        # the node's own ARP: a request goes out that never came in, its answer comes in and stays
        assert abs(grown["port_receive_packets"] - grown["port_transmit_packets"] - grown["port_drops"]) <= 2 * grown[
            "neighbour_requests"] + 2, grown
        wait_for(lambda n=node: n.mbufs() <= mbufs[n], f"buffers of node {node.name} are back")
    for number, name in ((1, "a1"), (2, "a2")):
        port = a.client.call("port.show", name=f"pod{number}")
        assert (port["rx_packets"], port["tx_packets"]) == kernel_counts(spaces[name]), name


def test_soak_loses_nothing_and_keeps_nothing(nodes, spaces, record_property):
    a, b = nodes
    for node in nodes:
        node.start()
    a.configure(b)
    b.configure(a)
    a.attach(spaces["a1"], 1)
    a.attach(spaces["a2"], 2)
    b.attach(spaces["b1"], 1)
    flows = [Flow("a1-a2", spaces["a1"], spaces["a2"], "10.244.1.2"),
             Flow("a1-a2-v6", spaces["a2"], spaces["a1"], "fd00:1::1"),
             Flow("a1-b1", spaces["a1"], spaces["b1"], "10.244.2.1")]
    for flow in flows:
        wait_for(lambda f=flow: f.echo.once(1), f"{flow.name} talks")
    mbufs = {node: node.mbufs() for node in nodes}
    for flow in flows:
        flow.start()
    end, next_kill = time.monotonic() + 60 * MINUTES, time.monotonic() + KILL_EVERY_S
    for turn in itertools.count():
        a.churn([spaces[name] for name in ("ca1", "ca2", "ca3")], turn)
        b.churn([spaces[name] for name in ("cb1", "cb2")], turn)
        assert [f.n_lost for f in flows] == [0, 0, 0], f"lost in turn {turn}: {a.drops()} {b.drops()}"
        if time.monotonic() > end:
            break
        if time.monotonic() > next_kill:
            kill(b, flows)
            next_kill = time.monotonic() + KILL_EVERY_S
    for flow in flows:
        flow.pause()
    check_at_rest(a, b, spaces, flows, mbufs)
    for flow in flows:
        flow.stop()
    assert flows[0].n_lost_in_kills == flows[1].n_lost_in_kills == 0  # node a was never killed
    assert [f.n_lost for f in flows] == [0, 0, 0]
    for name, value in {
            "turns": turn + 1, "kills": len(b.lives) - 1, "echoes": [f.n_answered for f in flows],
            "lost_in_kills": [f.n_lost_in_kills for f in flows], "rss_bytes": a.lives[0].rss_bytes,
            "rss_growth_bytes": [life.rss_growth_bytes for node in nodes for life in node.lives],
            "descriptors": a.lives[0].n_fds, "mbufs": list(mbufs.values())}.items():
        record_property(name, str(value))
        print(f"{name}: {value}")
