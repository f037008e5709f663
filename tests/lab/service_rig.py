# SPDX-License-Identifier: BSD-3-Clause
"""A node with services, an uplink to a neighbour, and the programs that tests run behind its pods and beyond."""
import json
import subprocess
import sys

from rig import Netns, run
from waiting import wait_for

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
        kind, port = "-lun" if "SOCK_DGRAM" in script else "-ltn", 8081 if "8081" in script else 8080
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


def curl(space, url, *more):
    return space.run("curl", "-sS", *more, url, check=False)


def say(talker, text):
    talker.stdin.write(text + "\n")
    talker.stdin.flush()
