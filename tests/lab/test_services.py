# SPDX-License-Identifier: BSD-3-Clause
"""Services, policies and NAT of a real leatd, as the kernels of pods and of a neighbour behind the uplink see them."""
import json
import os
import subprocess
import sys

import pytest

from operator_rig import Leatd
from rig import Netns, run
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")

VIP, NODE, PEER, BEYOND = "10.96.0.1", "192.0.2.1", "192.0.2.99", "198.51.100.2"
# answers with its name and whom it sees; HTTP/1.0: a connection each
HTTP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{sys.argv[1]} {self.client_address[0]}\\n".encode())
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("0.0.0.0", 8080), Handler).serve_forever()
"""
UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 8080))
while True:
    data, sender = s.recvfrom(65536)
    s.sendto(f"{sys.argv[1]} {len(data)}".encode(), sender)
"""
# never pauses: says who answers whenever that is somebody else
UDP_ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 80))
s.settimeout(0.01)
last = None
while True:
    try:
        s.send(b"x" * int(sys.argv[2]))
        answer = s.recv(100).decode()
    except (TimeoutError, ConnectionRefusedError):
        continue
    if answer != last:
        print(answer, flush=True)
    last = answer
"""
ECHO = """
import socket, threading
def serve(c):
    try:
        while data := c.recv(100):
            c.sendall(data)
    except ConnectionError:
        pass
s = socket.create_server(("0.0.0.0", 8081))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
print("connected", flush=True)
for line in sys.stdin:
    try:
        s.sendall(line.encode())
        print(s.recv(100).decode(), end="", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""


class Lab:
    """A node with an uplink to a neighbour, and the processes that tests start in namespaces."""

    def __init__(self, leatd):
        self.leatd, self.children = leatd, []
        self.peer = Netns()
        self.near = "leatn" + self.peer.name[-6:]
        run("ip", "link", "add", self.near, "type", "veth", "peer", "name", "far", "netns", self.peer.name)
        self.peer.run("ethtool", "-K", "far", "tx", "off", "tso", "off", "gso", "off")
        for words in (("addr", "add", f"{PEER}/24", "dev", "far"), ("link", "set", "far", "up"), ("link", "set", "lo", "up")):
            self.peer.ip(*words)
        self.ctl("port", "add", "name=up", "kind=ethdev", "role=uplink", f"device=net_af_packet0,iface={self.near}",
                 f"addresses={NODE}/24")
        self.ctl("route", "add", "prefix=0.0.0.0/0", f"via={PEER}")

    def ctl(self, *words):
        return self.leatd.ctl(*words)

    def pod(self, name, number):
        return self.leatd.attach(name, f"10.66.0.{number}")

    def python(self, space, script, *args, **kw):
        child = subprocess.Popen(["ip", "netns", "exec", space.name, sys.executable, "-c", script, *args],
                                 stdout=subprocess.PIPE, text=True, **kw)
        self.children.append(child)
        return child

    def serve(self, space, script, name=""):
        kind, port = ("-lun" if script == UDP else "-ltn"), (8081 if script == ECHO else 8080)
        self.python(space, script, name)
        wait_for(lambda: f":{port} " in space.run("ss", kind).stdout, f"{name} listens")

    def talk(self, space, address, port):
        talker = self.python(space, TALK, address, str(port), stdin=subprocess.PIPE)
        assert talker.stdout.readline() == "connected\n"
        return talker

    def backends(self, *pods, name="web", vip=VIP, target=8080, kind="cluster", proto="tcp", port=80, **keys):
        frontend = {"kind": kind, "port": port, "proto": proto, **({"ip": vip} if vip else {})}
        self.ctl("service", "add", f"name={name}", f"frontends={json.dumps([frontend])}",
                 f"backends={json.dumps([{'ip': pod.address, 'port': target} for pod in pods])}", "replace",
                 *(f"{key}={value}" for key, value in keys.items()))

    def rule(self, endpoint, action):
        """All traffic into an endpoint."""
        self.ctl("policy", "add", "name=p")
        self.ctl("rule", "add", "policy=p", "name=r", "direction=ingress", f"action={action}")
        self.ctl("policy", "bind", "policy=p", f"endpoint={endpoint}")

    def clean(self):
        for child in self.children:
            child.kill()
            child.wait(20)
            child.stdout.close()
        run("ip", "link", "del", self.near, check=False)
        run("nft", "delete", "table", "netdev", f"leat-{self.near}", check=False)
        self.peer.delete()


@pytest.fixture
def lab(tmp_path):
    with Leatd(tmp_path) as leatd:
        made = Lab(leatd.start())
        yield made
        leatd.stop()
        made.clean()


def curl(space, url, *more):
    return space.run("curl", "-sS", *more, url, check=False)


def say(talker, text):
    talker.stdin.write(text + "\n")
    talker.stdin.flush()


def test_requests_survive_backends_that_come_and_go(lab):
    client, pods = lab.pod("client", 1), [lab.pod(f"b{i}", 10 + i) for i in range(3)]
    for pod in pods:
        lab.serve(pod.space, HTTP, pod.name)
    lab.backends(*pods)
    asking = client.space.spawn("curl", "-sS", "--max-time", "20", f"http://{VIP}/[1-400]")
    changes = 0
    while asking.poll() is None:
        lab.backends(*(pods[:changes % 3] + pods[changes % 3 + 1:]))
        changes += 1
    answers = asking.communicate()[0].splitlines()
    assert asking.returncode == 0 and len(answers) == 400, answers[-3:]
    assert {a.split()[0] for a in answers} == {"b0", "b1", "b2"} and changes >= 3
    assert {a.split()[1] for a in answers} == {client.address}


@pytest.mark.parametrize("reset, answer", [("false", "two\n"), ("true", "reset\n")])
def test_connection_to_a_removed_backend_drains_or_is_reset(lab, reset, answer):
    client, old, new = lab.pod("client", 1), lab.pod("old", 10), lab.pod("new", 11)
    lab.serve(old.space, ECHO)
    lab.serve(new.space, ECHO)
    lab.backends(old, target=8081, reset=reset)
    talker = lab.talk(client.space, VIP, 80)
    say(talker, "one")
    assert talker.stdout.readline() == "one\n"
    lab.backends(new, target=8081, reset=reset)
    say(talker, "two")
    assert talker.stdout.readline() == answer


def test_pod_reaches_itself_through_its_service(lab):
    pod = lab.pod("pod", 1)
    lab.serve(pod.space, HTTP, "pod")
    lab.backends(pod)
    done = curl(pod.space, f"http://{VIP}/", "--max-time", "20")
    assert done.stdout == f"pod {NODE}\n", done


def test_service_without_backend_or_port_refuses_at_once(lab):
    client = lab.pod("client", 1)
    lab.backends()
    for port in (80, 81):
        done = curl(client.space, f"http://{VIP}:{port}/", "--max-time", "20")
        assert done.returncode == 7, done


def test_node_port_hides_the_neighbour_behind_the_node(lab):
    pod = lab.pod("pod", 1)
    lab.serve(pod.space, HTTP, "pod")
    lab.backends(pod, kind="node-port", vip=None, port=30080)
    done = curl(lab.peer, f"http://{NODE}:30080/", "--max-time", "20")
    assert done.stdout == f"pod {NODE}\n", done


def test_external_policy_local_keeps_the_neighbours_address(lab):
    pod = lab.pod("pod", 1)
    lab.serve(pod.space, HTTP, "pod")
    lab.backends(pod, kind="node-port", vip=None, port=30080, external_policy="local")
    done = curl(lab.peer, f"http://{NODE}:30080/", "--max-time", "20")
    assert done.stdout == f"pod {PEER}\n", done


def test_udp_that_never_pauses_moves_to_the_new_backend(lab):
    client, old, new = lab.pod("client", 1), lab.pod("old", 10), lab.pod("new", 11)
    for pod in (old, new):
        lab.serve(pod.space, UDP, pod.name)
    lab.backends(old, proto="udp")
    asking = lab.python(client.space, UDP_ASK, VIP, "10")
    assert asking.stdout.readline() == "old 10\n"
    lab.backends(new, proto="udp")
    assert asking.stdout.readline() == "new 10\n"
    lab.backends(old, proto="udp")
    assert asking.stdout.readline() == "old 10\n"


def test_fragmented_udp_passes_a_service(lab):
    client, pod = lab.pod("client", 1), lab.pod("pod", 10)
    lab.serve(pod.space, UDP, "pod")
    lab.backends(pod, proto="udp")
    assert lab.python(client.space, UDP_ASK, VIP, "4000").stdout.readline() == "pod 4000\n"


@pytest.mark.parametrize("action, options, code", [("allow", ("--max-time", "20"), 0), ("reject", ("--max-time", "20"), 7),
                                                   ("deny", ("--connect-timeout", "1"), 28)])
def test_policy_as_a_socket_sees_it(lab, action, options, code):
    client, pod = lab.pod("client", 1), lab.pod("pod", 10)
    lab.serve(pod.space, HTTP, "pod")
    lab.backends(pod)
    lab.rule("pod", action)
    for address in (VIP, f"{pod.address}:8080"):
        done = curl(client.space, f"http://{address}/", *options)
        assert done.returncode == code, done


def test_policy_change_cuts_a_connection_that_stands_and_gives_it_back(lab):
    client, pod = lab.pod("client", 1), lab.pod("pod", 10)
    lab.serve(pod.space, ECHO)
    talker = lab.talk(client.space, pod.address, 8081)
    say(talker, "one")
    assert talker.stdout.readline() == "one\n"
    lab.rule("pod", "deny")
    before = lab.leatd.drops(client.port).get("policy_denied", 0)
    say(talker, "two")
    wait_for(lambda: lab.leatd.drops(client.port).get("policy_denied", 0) > before, "the packet is denied")
    lab.ctl("policy", "unbind", "policy=p", "endpoint=pod")
    assert talker.stdout.readline() == "two\n"


def test_masquerade_as_the_neighbour_sees_it(lab):
    pod = lab.pod("pod", 1)
    lab.serve(lab.peer, HTTP, "peer")
    lab.ctl("snat", "add", "name=out")
    assert curl(pod.space, f"http://{PEER}:8080/", "--max-time", "20").stdout == f"peer {NODE}\n"
    lab.ctl("snat", "del", "name=out")
    lab.peer.ip("route", "add", "10.66.0.0/24", "via", NODE)
    assert curl(pod.space, f"http://{PEER}:8080/", "--max-time", "20").stdout == f"peer {pod.address}\n"


def test_fragmented_ping_passes_masquerade(lab):
    pod = lab.pod("pod", 1)
    lab.ctl("snat", "add", "name=out")
    done = pod.space.run("ping", "-c", "3", "-i", "0.05", "-W", "20", "-s", "4000", PEER, check=False)
    assert " 3 received" in done.stdout, done


def test_path_mtu_error_comes_back_through_masquerade(lab):
    pod = lab.pod("pod", 1)
    lab.ctl("snat", "add", "name=out")
    lab.peer.ip("link", "add", "narrow", "mtu", "1280", "type", "veth", "peer", "name", "end")
    lab.peer.ip("addr", "add", "198.51.100.1/24", "dev", "narrow")
    for device in ("narrow", "end"):
        lab.peer.ip("link", "set", device, "up")
    lab.peer.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    pod.space.run("ping", "-c", "1", "-W", "20", "-M", "do", "-s", "1400", BEYOND, check=False)
    assert "mtu 1280" in pod.space.run("ip", "route", "get", BEYOND).stdout


def test_rules_and_backends_count_what_they_carried(lab):
    client, pod = lab.pod("client", 1), lab.pod("pod", 10)
    lab.serve(pod.space, HTTP, "pod")
    lab.backends(pod)
    lab.rule("pod", "allow")
    assert curl(client.space, f"http://{VIP}/[1-5]", "--max-time", "20").returncode == 0
    backend, = wait_for(lambda: [b for b in lab.ctl("service", "show", "web")["backends"] if b["packets"] >= 30], "packets")
    assert backend["connections"] == 5 and backend["bytes"] > backend["packets"] * 40
    rule, = wait_for(lambda: [r for r in lab.ctl("rule", "list", "p") if r["packets"] >= 15], "packets of the rule")
    assert rule["connections"] == 5
