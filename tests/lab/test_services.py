# SPDX-License-Identifier: BSD-3-Clause
"""Services, policies and NAT of a real leatd, as the kernels of pods and of a neighbour behind the uplink see them."""
import os

import pytest

from operator_rig import Leatd
from service_rig import BEYOND, ECHO, HTTP, NODE, PEER, UDP, UDP_ASK, VIP, Lab, curl, say
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")


@pytest.fixture
def lab(tmp_path):
    with Leatd(tmp_path) as leatd:
        made = Lab(leatd.start())
        yield made
        leatd.stop()
        made.clean()


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
    failed = [a for a in answers if a.startswith("curl")]
    assert not failed, (failed, lab.leatd.ctl("drop", "show"))
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
