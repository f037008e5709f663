# SPDX-License-Identifier: BSD-3-Clause
"""A node with a real leatd, a wire, and other people's software at its far end."""
import json
import os
import shutil
import signal
import socket
import subprocess
import uuid

import pytest

from waiting import DEADLINE_S, wait_for

ROOT = os.environ.get("LEAT_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("LEAT_BUILD", os.path.join(ROOT, "build"))
LEATD = os.path.join(BUILD, "control", "leatd")


def run(*args, check=True, timeout=120, **kw):
    done = subprocess.run(args, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **kw)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done


class Netns:
    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"
        self.children = []
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args, **kw):
        return run("ip", "-n", self.name, *args, **kw).stdout

    def run(self, *args, **kw):
        return run("ip", "netns", "exec", self.name, *args, **kw)

    def spawn(self, *args, log=subprocess.DEVNULL):
        child = subprocess.Popen(["ip", "netns", "exec", self.name, *args], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT)
        self.children.append(child)
        return child

    def ping(self, target, *args, count=3):
        done = self.run("ping", "-q", "-c", str(count), "-i", "0.05", "-W", "2", *args, target, check=False)
        return f" {count} received" in done.stdout

    def delete(self):
        for child in self.children:
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)
        run("ip", "netns", "del", self.name)


class Node:
    """leatd in a namespace; the far end of its uplink, device `wire`, is in another."""

    def __init__(self, folder, mtu=1500):
        self.prefix = "lio" + uuid.uuid4().hex[:6]
        self.folder = folder
        self.mtu = mtu
        self.spaces = []
        self.daemon = None
        self.host = self.netns("node")
        self.peer = self.netns("peer")
        self.host.ip("link", "add", "up0", "mtu", str(mtu), "type", "veth", "peer", "name", "wire", "mtu", str(mtu),
                     "netns", self.peer.name)
        for space, device in ((self.host, "up0"), (self.peer, "wire")):
            space.run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            space.ip("link", "set", device, "up")
        self.peer.ip("addr", "add", "192.0.2.2/24", "dev", "wire")
        self.peer.ip("-6", "addr", "add", "2001:db8:1::2/64", "dev", "wire", "nodad")
        self.start()
        self.call("port.add", name="uplink", kind="ethdev", role="uplink", device="net_af_packet0,iface=up0", mtu=mtu,
                  addresses=["192.0.2.1/24", "2001:db8:1::1/64"])

    def netns(self, name):
        space = Netns(f"{self.prefix}-{name}")
        self.spaces.append(space)
        return space

    def start(self):
        log = open(os.path.join(self.folder, "leatd.log"), "a", encoding="utf-8")
        core = str(max(os.sched_getaffinity(0)))
        self.daemon = self.host.spawn(LEATD, "--instance", self.prefix, "--cores", core, "--flows", "10000", "--mbufs",
                                      "8192", log=log)
        wait_for(self.answers, "leatd answers")

    def answers(self):
        assert self.daemon.poll() is None, open(os.path.join(self.folder, "leatd.log"), encoding="utf-8").read()
        try:
            return self.call("sys.hello")
        except OSError:
            return None

    def call(self, method, **params):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(f"/run/leat/{self.prefix}/control.sock")
            sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            answer = json.loads(sock.makefile("rb").readline())
        assert "error" not in answer, (method, params, answer)
        return answer["result"]

    def pod(self, name, *addresses):
        space = self.netns(name)
        self.call("endpoint.attach", id=name, kind="tap", netns=space.path, addresses=list(addresses))
        return space

    def drops(self):
        """Every counted drop but what hosts say unasked."""
        quiet = ("consumed", "ip_multicast", "eth_broadcast")
        return {
            (item["port"], item["reason"]): item["packets"]
            for item in self.call("drop.show")["items"]
            if item["reason"] not in quiet and item["packets"]
        }

    def delete(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(20)
        try:
            run(LEATD, "--instance", self.prefix, "--purge")
        finally:
            for space in reversed(self.spaces):
                space.delete()


@pytest.fixture
def node(tmp_path):
    made = Node(str(tmp_path))
    yield made
    made.delete()


def need(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/lib/openvswitch-switch-dpdk")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path
