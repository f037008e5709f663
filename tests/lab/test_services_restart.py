# SPDX-License-Identifier: BSD-3-Clause
"""Connections of a leatd that is killed: the next one adopts them, with their translation, and counts them."""
import os
import subprocess

import pytest

from operator_rig import Leatd, have_hugepages
from service_rig import ECHO, NODE, PEER, VIP, Lab, say
from waiting import wait_for

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces"),
              pytest.mark.skipif(not have_hugepages(512), reason="needs hugepages: connections outlive leatd in files of them")]

POOL_ADDRESS, POOL_PORTS = "198.51.100.7", range(20000, 20100)  # no kernel picks these ports itself
# answer with the address and port that they see
WHO_TCP = """
import socket, threading
def serve(c, peer):
    while c.recv(100):
        c.sendall(("%s %d\\n" % peer).encode())
s = socket.create_server(("0.0.0.0", 8081))
while True:
    threading.Thread(target=serve, args=s.accept(), daemon=True).start()
"""
WHO_UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 8080))
while True:
    _, peer = s.recvfrom(100)
    s.sendto(("%s %d\\n" % peer).encode(), peer)
"""
# one socket; asks until it is answered
TALK_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(0.2)
print("connected", flush=True)
for line in sys.stdin:
    while True:
        try:
            s.send(line.encode())
            print(s.recv(100).decode(), end="", flush=True)
            break
        except (TimeoutError, ConnectionRefusedError):
            pass
"""


@pytest.fixture
def lab(tmp_path):
    with Leatd(tmp_path, is_huge=True) as leatd:
        made = Lab(leatd.start())
        yield made
        leatd.stop()
        made.clean()


def restart(lab):
    lab.leatd.kill()
    lab.leatd.start()


def ask(talker):
    say(talker, "?")
    return talker.stdout.readline()


def udp_talker(lab, space, address, port):
    talker = lab.python(space, TALK_UDP, address, str(port), stdin=subprocess.PIPE)
    assert talker.stdout.readline() == "connected\n"
    return talker


def test_translated_connections_outlive_a_kill_of_leatd(lab):
    client, pod = lab.pod("client", 1), lab.pod("pod", 10)
    for space in (pod.space, lab.peer):
        lab.serve(space, WHO_TCP)
        lab.serve(space, WHO_UDP)
    lab.backends(pod, target=8081)
    lab.backends(pod, name="web-udp", proto="udp")
    lab.ctl("pool", "add", "name=out", f"addresses={POOL_ADDRESS}", f"port_min={POOL_PORTS[0]}", f"port_max={POOL_PORTS[-1]}")
    lab.ctl("snat", "add", "name=out", "pool=out")
    lab.peer.ip("route", "add", POOL_ADDRESS, "via", NODE)
    talkers = [lab.talk(client.space, VIP, 80), udp_talker(lab, client.space, VIP, 80),
               lab.talk(client.space, PEER, 8081), udp_talker(lab, client.space, PEER, 8080)]
    seen = [ask(talker) for talker in talkers]
    assert {answer.split()[0] for answer in seen[:2]} == {client.address}
    for answer in seen[2:]:
        address, port = answer.split()
        assert address == POOL_ADDRESS and int(port) in POOL_PORTS
    for _ in range(2):
        restart(lab)
        assert [ask(talker) for talker in talkers] == seen


def test_adopted_connections_count_for_the_pod_that_opened_them(lab):
    client = lab.leatd.attach("client", "10.66.0.1", max_conns=2)
    pod = lab.pod("pod", 10)
    lab.serve(pod.space, ECHO)
    talkers = [lab.talk(client.space, pod.address, 8081) for _ in range(2)]
    restart(lab)
    assert lab.ctl("endpoint", "show", "client")["conns"] == 2  # although they have been silent since
    dropped = lab.python(client.space, "import socket, sys; socket.create_connection((sys.argv[1], 8081))", pod.address)
    wait_for(lambda: lab.leatd.drops(client.port).get("conn_limit", 0) > 0, "a third connection is refused")
    dropped.kill()
    for talker in talkers:
        say(talker, "on")
        assert talker.stdout.readline() == "on\n"
