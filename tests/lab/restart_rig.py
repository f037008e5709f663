# SPDX-License-Identifier: BSD-3-Clause
"""A node with a large configuration that is ended and started again under traffic, and eyes on what gets out meanwhile."""
import datetime
import json
import time

from service_rig import PEER, Lab
from waiting import wait_for

VIPS = {4: "10.96.0.1", 6: "fd00:96::1"}
OUTSIDE = {4: "198.51.100.2", 6: "2001:db8:51::2"}
PEERS = {4: PEER, 6: "2001:db8::99"}
N_RULES, N_SERVICES = 5000, 3000

# Every datagram from a port of its own: a connection each. Also one that is cut into fragments, now and then.
FLOOD = """
import random, socket, sys, time
def one(dst, port, size):
    s = socket.socket(socket.AF_INET6 if ":" in dst else socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    try:
        s.sendto(b"x" * size, (dst, port))
    except OSError:
        pass
    s.close()
targets = [t.rsplit(",", 1) for t in sys.argv[1:]]
n = 0
while True:
    for dst, port in targets:
        one(dst, int(port), 2000 if n % 50 == 0 else 20)
        n += 1
    time.sleep(0.0005)
"""
# One connection, all the time; says how many answers it has and when the last ones came after a pause.
TALK = """
import socket, sys, time
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(0.005)
last = time.time()
first = True
while True:
    try:
        s.send(b"?")
        who = s.recv(100).decode()
    except (TimeoutError, ConnectionRefusedError, OSError):
        continue
    now = time.time()
    if first or now - last > 0.05:
        print(f"{last:.4f} {now:.4f} {who}", flush=True)
    first, last = False, now
    time.sleep(0.001)
"""
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 8080))
while True:
    data, peer = s.recvfrom(65536)
    try:
        s.sendto(sys.argv[1].encode(), peer)
    except OSError:
        pass
"""
# Sees every IP packet of a device; prints those whose source or destination may not be there, and at the end how many it saw.
WATCH = """
import ipaddress, json, signal, socket, sys
bad_src, bad_dst = ([ipaddress.ip_network(n) for n in json.loads(a)] for a in sys.argv[2:4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], 0))
s.settimeout(0.2)
seen = bad = 0
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
print("watching", flush=True)
while True:
    try:
        frame, about = s.recvfrom(65536)
    except TimeoutError:
        if ending:
            break
        continue
    if about[2] == 4 or len(frame) < 34:  # outgoing
        continue
    kind = frame[12:14]
    if kind == b"\\x08\\x00":
        src, dst = ipaddress.ip_address(frame[26:30]), ipaddress.ip_address(frame[30:34])
    elif kind == b"\\x86\\xdd" and len(frame) >= 54 and frame[20] != 58:
        src, dst = ipaddress.ip_address(frame[22:38]), ipaddress.ip_address(frame[38:54])
    else:
        continue
    seen += 1
    if any(src in n for n in bad_src) or any(dst in n for n in bad_dst):
        bad += 1
        if bad <= 5:
            print(f"bad {src} {dst} {frame.hex()[:120]}", flush=True)
print(f"seen {seen} bad {bad}", flush=True)
"""


POD_NETS = ["10.66.0.0/16", "fd00:66::/32"]
VIP_NETS = ["10.96.0.0/15", "fd00:96::/32"]


def calls(*more, n_rules=N_RULES, n_services=N_SERVICES):
    """The rules and services of a large node."""
    for i in range(n_services):
        yield "service.add", {"name": f"s{i}", "backends": [{"ip": "10.66.9.9", "port": 80}], "frontends": [
            {"kind": "cluster", "ip": f"10.{97 + (i >> 16)}.{i >> 8 & 255}.{i & 255}", "port": 80, "proto": "udp"}]}
    for p in range(n_rules // 50):
        yield "policy.add", {"name": f"p{p}", "order": p + 10}
        for r in range(50):
            yield "rule.add", {"policy": f"p{p}", "name": f"r{r}", "direction": "ingress", "action": "allow",
                               "proto": "tcp", "dports": [str(1000 + p * 50 + r)]}
    yield from more


def write_config(path, *more, **sizes):
    path.write_text(json.dumps([{"method": method, "params": params} for method, params in calls(*more, **sizes)]))


class RestartLab(Lab):
    """A client, a backend and a pod that may send nothing, of both families; a translated source for everybody."""

    def __init__(self, leatd, folder):
        super().__init__(leatd)
        self.ctl("route", "del", "prefix=0.0.0.0/0")
        self.ctl("port", "del", "up")
        self.ctl("port", "add", "name=up", "kind=ethdev", "role=uplink", f"device=net_af_packet0,iface={self.near}",
                 "addresses=192.0.2.1/24,2001:db8::1/64")
        self.peer.ip("addr", "add", f"{PEERS[6]}/64", "dev", "far", "nodad")
        for prefix, family in (("0.0.0.0/0", 4), ("::/0", 6)):
            self.ctl("route", "add", f"prefix={prefix}", f"via={PEERS[family]}")
        self.client, self.backend, self.denied = (self.dual(name, i + 1) for i, name in enumerate(("client", "backend",
                                                                                                   "denied")))
        services = [("service.add", {
            "name": f"vip{family}", "backends": [{"ip": self.backend.addresses[family], "port": 8080}],
            "frontends": [{"kind": "cluster", "ip": VIPS[family], "port": 80, "proto": "udp"}]}) for family in (4, 6)]
        config = folder / "config.json"
        write_config(config, ("policy.add", {"name": "none", "egress": "deny", "ingress": "allow"}),
                     ("policy.bind", {"policy": "none", "endpoint": "denied"}), ("snat.add", {"name": "all"}), *services)
        self.ctl("config", "apply", str(config))
        self.python(self.backend.space, ECHO, "backend")
        wait_for(lambda: ":8080 " in self.backend.space.run("ss", "-lun").stdout, "the backend listens")

    def dual(self, name, number):
        addresses = {4: f"10.66.0.{number}", 6: f"fd00:66::{number}"}
        pod = self.leatd.attach(name, f"{addresses[4]}/32,{addresses[6]}")
        pod.addresses, pod.address = addresses, addresses[4]
        return pod

    def watch(self, space, device, sources, destinations):
        watcher = self.python(space, WATCH, device, json.dumps(sources), json.dumps(destinations))
        assert watcher.stdout.readline() == "watching\n"
        return watcher

    def flood(self):
        """Connections without end that the restored configuration refuses or translates."""
        for space, targets in ((self.denied.space, (*self.backend.addresses.values(), *OUTSIDE.values())),
                               (self.client.space, (*VIPS.values(), "10.97.1.1", *OUTSIDE.values()))):
            yield self.python(space, FLOOD, *(f"{target},{9 if target in OUTSIDE.values() or target.startswith(POD_NETS[0][:5]) else 80}" for target in targets))

    def eyes(self):
        """Outside: no pod's own address, no virtual one. At the backend: nothing of the pod that may send nothing."""
        denied = [f"{a}/{32 if f == 4 else 128}" for f, a in self.denied.addresses.items()]
        return [self.watch(self.peer, "far", POD_NETS, VIP_NETS),
                self.watch(self.backend.space, "eth0", denied, VIP_NETS)]


def close_eyes(watchers):
    """What each has seen: (packets, bad lines)."""
    for watcher in watchers:
        watcher.terminate()
    found = []
    for watcher in watchers:
        lines = watcher.stdout.read().splitlines()
        seen = int(lines[-1].split()[1])
        found.append((seen, [line for line in lines[:-1] if line.startswith("bad")]))
    return found


# what a flood of first packets may meet: no room to wait at the gate, for the neighbour, which never answers, or in the table
WAITED = {"restoring", "port_down", "frag_queue", "neigh_pending_full", "neigh_failed", "consumed", "new_flow_limit"}
REFUSED = {"policy_denied", "service_no_backend", "ip_multicast"}


def ready_at(leatd):
    """When it was ready last, seconds."""
    line = [line for line in leatd.log().splitlines() if "ready instance" in line][-1]
    return datetime.datetime.fromisoformat(json.loads(line)["time"].replace("Z", "+00:00")).timestamp()


def restart_under_traffic(lab, n_restarts):
    """Ends it so often by KILL and so often by TERM; nothing may get out, what was current must go on before all is back."""
    talkers = {address: lab.python(lab.client.space, TALK, address, "80") for address in VIPS.values()}
    for talker in talkers.values():
        assert talker.stdout.readline().endswith(" backend\n")
    floods = list(lab.flood())
    watchers = lab.eyes()
    early, drops = 0, set()
    n_objects = len(lab.ctl("config", "dump"))
    for n in range(2 * n_restarts):
        ended_s = time.time()
        if n % 2 == 0:
            lab.leatd.kill()
        else:
            lab.leatd.stop()
        lab.leatd.start()
        ready_s = ready_at(lab.leatd)
        for talker in talkers.values():
            until_s = 0
            while until_s < ended_s:  # a loaded machine has pauses of its own
                since_s, until_s, who = talker.stdout.readline().split()
                since_s, until_s = float(since_s), float(until_s)
                assert who == "backend"
            print(f"restart {n}: silent {until_s - since_s:.3f} s, {ready_s - until_s:+.3f} s before ready")
            early += until_s < ready_s
        restored = lab.ctl("status")["restored"]
        assert restored["failed"] == restored["unreadable"] == 0
        assert sum(restored.values()) - restored["flows"] == n_objects, restored
        drops |= {reason for port in ("client", "denied") for reason in lab.leatd.drops(port)}
    for child in (*floods, *talkers.values()):  # so that the eyes see an end
        child.kill()
    for seen, bad in close_eyes(watchers):
        assert bad == []
        assert seen > 0
    assert drops <= WAITED | REFUSED, drops
    # adopted connections do not wait for the services and policies; some meet a neighbour that is asked again a second later
    assert early > n_restarts, "saved programs run before the configuration is back"
