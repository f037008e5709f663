# SPDX-License-Identifier: BSD-3-Clause
"""Policies: what passes, what is told, and what a change does to connections that stand."""
import pytest
from conftest import EXTERNAL, REMOTE2, both, echo, error, from_gw, from_tunnel, ip, tcp, to_gw, udp
from nat import A, B, C, HOST, OUTSIDE, VIP, goes, pair, pod_add, sent, service
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply
from scapy.layers.l2 import Ether
from scapy.packet import Raw


def policy(net, name, *endpoints, **more):
    net.cmd("policy.add", name=name, **more)
    for endpoint in endpoints:
        net.cmd("policy.bind", policy=name, endpoint=endpoint)


def rule(net, policy_name, action, direction="ingress", name="r", **more):
    net.cmd("rule.add", policy=policy_name, direction=direction, action=action, name=name, **more)


def passes(net, family, l4, source=A, target=B, times=2):
    before, after = (ip(source.ip(family), target.ip(family), ttl=64 - n) / l4 for n in (0, HOST not in (source, target)))
    goes(net, source, before, target, after, times)


def denied(net, family, l4, source=A, target=B, reason="policy_denied"):
    packet = ip(source.ip(family), target.ip(family), ttl=64) / l4
    net.send_dropped(source.port, sent(source) / packet, reason)
    return packet


@both
@pytest.mark.parametrize("direction, endpoint", [("ingress", "b"), ("egress", "a")])
def test_what_no_rule_allows_is_denied(net, family, direction, endpoint):
    policy(net, "p", endpoint, **{direction: "deny"})
    rule(net, "p", "allow", direction, proto="udp", dports=["80", "100-110"])
    for dport in (80, 100, 110):
        passes(net, family, udp(7, dport))
        passes(net, family, udp(dport, 7), B, A)
    for l4 in (udp(7, 81), udp(7, 111), tcp(7, 80), echo(family)):
        denied(net, family, l4)
    passes(net, family, udp(9, 81), B, A)  # the other direction is not isolated
    passes(net, family, udp(81, 9))


@both
def test_reject_is_told(net, family):
    policy(net, "p", "b")
    rule(net, "p", "reject")
    for l4 in (udp(7, 80), echo(family)):
        net.expect("a", error(A, family, "prohibit", denied(net, family, l4, reason="policy_rejected")))
    denied(net, family, tcp(7, 80, "S", seq=5), reason="policy_rejected")
    fields = {"flags": "DF", "id": 0} if family == 4 else {}
    net.expect("a", from_gw(A) / ip(B.ip(family), A.ip(family), ttl=64, **fields) / tcp(80, 7, "RA", seq=0, ack=6, window=0))


@both
def test_default_reject_is_told(net, family):
    policy(net, "p", "b", ingress="reject")
    net.expect("a", error(A, family, "prohibit", denied(net, family, udp(7, 80), reason="policy_rejected")))


@both
def test_first_rule_by_priority_decides(net, family):
    policy(net, "p", "b", ingress="allow")
    rule(net, "p", "deny", name="late", priority=20, proto="udp")
    rule(net, "p", "allow", name="early", priority=10, proto="udp", dports=["80"])
    rule(net, "p", "log", name="log", priority=5, proto="udp")
    passes(net, family, udp(7, 80))
    denied(net, family, udp(7, 81))
    passes(net, family, tcp(7, 81))
    assert len(net.punts()) == 2  # a log line for each first packet that the log rule matched


@both
def test_pass_leaves_the_tier(net, family):
    policy(net, "admin", "b", tier=10, ingress="deny")
    rule(net, "admin", "pass", name="pass", priority=1, proto="udp")
    rule(net, "admin", "allow", name="allow", priority=2, proto="tcp", dports=["22"])
    policy(net, "own", "b", tier=20, ingress="deny")
    rule(net, "own", "allow", name="allow", proto="udp", dports=["80"])
    passes(net, family, udp(7, 80))
    denied(net, family, udp(7, 81))  # left to the second tier, which denies
    passes(net, family, tcp(7, 22))
    denied(net, family, tcp(7, 80))  # the first tier's default


@both
def test_orders_within_a_tier(net, family):
    policy(net, "z", "b", order=1)
    rule(net, "z", "deny", proto="udp")
    policy(net, "a", "b", order=2)
    rule(net, "a", "allow")
    denied(net, family, udp(7, 80))
    passes(net, family, tcp(7, 80))


@both
@pytest.mark.parametrize("direction, endpoint", [("ingress", "b"), ("egress", "a")])
def test_endpoint_default(net, family, direction, endpoint):
    net.cmd("policy.default", endpoint=endpoint, **{direction: "deny"})
    denied(net, family, udp(7, 80))
    net.cmd("policy.default", endpoint=endpoint, **{direction: "allow"})
    passes(net, family, udp(7, 80))


@both
def test_icmp_types(net, family):
    request = 8 if family == 4 else 128
    policy(net, "p", "b", ingress="deny")
    rule(net, "p", "allow", proto="icmp" if family == 4 else "icmpv6", icmp=[str(request)])
    passes(net, family, echo(family))
    rule(net, "p", "deny", name="none", priority=1, proto="icmp" if family == 4 else "icmpv6", icmp=[f"{request}/0"])
    denied(net, family, echo(family))


@both
def test_an_echo_that_both_ends_begin_is_judged_as_a_request(net, family):
    """Both use the identifier 1, so that there is one connection, and a's answers go the way of its requests."""
    policy(net, "p", "a", egress="deny")
    rule(net, "p", "allow", "egress", proto="icmp" if family == 4 else "icmpv6", icmp=["8" if family == 4 else "128"])
    passes(net, family, echo(family))
    passes(net, family, echo(family), B, A)
    rule(net, "p", "allow", "egress", name="other", proto="udp")  # so that it is judged again
    passes(net, family, ICMP(type=0, id=1) / Raw(b"leat") if family == 4 else ICMPv6EchoReply(id=1, data=b"leat"))


# ---- the node

@both
def test_node_and_its_pods_always_speak(net, family):
    policy(net, "p", "b", "host", ingress="deny", egress="deny")
    passes(net, family, udp(), HOST, B)
    passes(net, family, udp(3, 4), B, HOST)
    denied(net, family, udp(7, 80))
    denied(net, family, udp(7, 80), OUTSIDE, HOST)
    net.send_dropped("host", to_gw(HOST) / ip(HOST.ip(family), EXTERNAL[family], ttl=64) / udp(), "policy_denied")


@both
def test_failsafe_ports_of_the_node(net, family):
    policy(net, "p", "b", "host", ingress="deny", egress="deny")
    net.cmd("policy.mode", failsafe_in=["tcp:22"], failsafe_out=["udp:53"])
    passes(net, family, tcp(7, 22), OUTSIDE, HOST)
    denied(net, family, tcp(7, 23), OUTSIDE, HOST)
    denied(net, family, udp(7, 22), OUTSIDE, HOST)
    denied(net, family, tcp(7, 22))  # a pod's ports are its own business
    passes(net, family, udp(7, 53), HOST, OUTSIDE)


# ---- services and groups

@both
def test_policy_sees_the_backend_and_the_client(net, family):
    service(net, family, [B], kind="external", front={"target_port": 8080})
    policy(net, "p", "b", ingress="deny")
    rule(net, "p", "allow", sources=[{"prefix": EXTERNAL[family] + ("/32" if family == 4 else "/128")}], proto="tcp",
         dports=["8080"])
    before, after = pair(EXTERNAL[family], VIP[family], HOST.ip(family), B.ip(family), tcp(50000, 80), tcp(50000, 8080))
    goes(net, OUTSIDE, before, B, after)  # masqueraded, but judged by its own address
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family]) / tcp(50000, 80), "policy_denied")


@both
def test_hairpin_is_allowed(net, family):
    service(net, family, [A], front={"target_port": 8080})
    policy(net, "p", "a", ingress="deny", egress="deny")
    before, after = pair(A.ip(family), VIP[family], HOST.ip(family), A.ip(family), tcp(50000, 80), tcp(50000, 8080))
    goes(net, A, before, A, after)
    before, after = pair(A.ip(family), HOST.ip(family), VIP[family], A.ip(family), tcp(8080, 50000, "SA"), tcp(80, 50000, "SA"))
    goes(net, A, before, A, after)


def rejudged(net):
    return net.cmd("stats")["rejudged"]


@both
def test_hairpin_behind_the_node_stays_allowed_when_judged_again(net, family):
    """A backend that the node's stack forwards for, no endpoint of ours, reaches itself through its service."""
    behind = {4: "10.50.0.9", 6: "fd00:50::9"}[family]
    net.cmd("route.add", prefix=behind + ("/32" if family == 4 else "/128"), port="host", via=HOST.ip(family))
    net.cmd("neigh.add", port="host", address=HOST.ip(family), mac=HOST.mac)
    service(net, family, [{"ip": behind, "local": True}], front={"target_port": 8080})
    policy(net, "p", "host", egress="deny")
    packet = to_gw(HOST) / ip(behind, VIP[family], ttl=64) / tcp(50000, 80)
    net.send("host", packet)
    policy(net, "q", "host", egress="deny")
    before = rejudged(net)
    net.send("host", packet)
    assert rejudged(net) > before
    assert [Ether(frame)[TCP].dport for frame in net.drain("host")] == [8080] * 2


@both
def test_change_of_a_member_reaches_its_own_flows_only(net, family):
    pod_add(net)
    full = "/32" if family == 4 else "/128"
    net.cmd("group.add", name="clients")
    for node in (A, C):
        net.cmd("member.add", group="clients", prefix=node.ip(family) + full)
    policy(net, "p", "b", ingress="deny")
    rule(net, "p", "allow", sources=[{"group": "clients"}])
    for node in (A, C):
        for sport in range(10):
            passes(net, family, udp(1000 + sport, 80), node)
    before = rejudged(net)
    net.cmd("member.del", group="clients", prefix=C.ip(family) + full)
    for sport in range(10):
        passes(net, family, udp(1000 + sport, 80))
    assert rejudged(net) == before
    for sport in range(10):
        denied(net, family, udp(1000 + sport, 80), C)
    denied(net, family, udp(80, 1000), B, C)  # its replies too
    net.cmd("member.add", group="clients", prefix=C.ip(family) + full)
    for sport in range(10):
        passes(net, family, udp(1000 + sport, 80), C)
        passes(net, family, udp(1000 + sport, 80))


@both
def test_member_with_an_exception(net, family):
    wide, one = ("10.244.0.0/16", A.ip4 + "/32") if family == 4 else ("fd00:1::/64", A.ip6 + "/128")
    net.cmd("group.add", name="g")
    net.cmd("member.add", group="g", prefix=wide)
    policy(net, "p", "b", ingress="deny")
    rule(net, "p", "allow", sources=[{"group": "g"}])
    passes(net, family, udp())
    net.cmd("member.add", group="g", prefix=one, **{"except": True})
    denied(net, family, udp())


# ---- connections that stand

def open_tcp(net, family):
    for source, target, flags in ((A, B, "S"), (B, A, "SA"), (A, B, "A")):
        ports = (1000, 80) if source is A else (80, 1000)
        passes(net, family, tcp(*ports, flags), source, target, 1)


@both
@pytest.mark.parametrize("endpoint", ["a", "b"])
def test_default_deny_cuts_established_connections_in_both_directions(net, family, endpoint):
    open_tcp(net, family)
    passes(net, family, udp(5, 6))
    passes(net, family, udp(6, 5), B, A)
    policy(net, "p", endpoint, **{"egress" if endpoint == "a" else "ingress": "deny"})
    for source, target, l4 in ((A, B, tcp(1000, 80, "A")), (B, A, tcp(80, 1000, "A")), (B, A, udp(6, 5)), (A, B, udp(5, 6))):
        denied(net, family, l4, source, target)
        denied(net, family, l4, source, target)
    net.cmd("policy.unbind", policy="p", endpoint=endpoint)
    passes(net, family, tcp(80, 1000, "A"), B, A)
    passes(net, family, tcp(1000, 80, "A"))


@both
def test_per_connection_mode_leaves_established_connections_alone(net, family):
    net.cmd("policy.mode", per_connection=True)
    open_tcp(net, family)
    passes(net, family, udp(5, 6))
    passes(net, family, udp(6, 5), B, A)
    passes(net, family, udp(8, 9))  # without a reply: not established
    policy(net, "p", "b", ingress="deny")
    passes(net, family, tcp(1000, 80, "A"))
    passes(net, family, tcp(80, 1000, "A"), B, A)
    passes(net, family, udp(5, 6))
    denied(net, family, udp(8, 9))
    denied(net, family, tcp(1001, 80, "S"))
    net.cmd("policy.mode", per_connection=False)
    denied(net, family, tcp(1000, 80, "A"))


@both
def test_per_connection_mode_judges_a_connection_opened_again(net, family):
    net.cmd("policy.mode", per_connection=True)
    open_tcp(net, family)
    passes(net, family, tcp(1000, 80, "FA"), times=1)
    passes(net, family, tcp(80, 1000, "FA"), B, A, times=1)
    policy(net, "p", "b", ingress="deny")
    passes(net, family, tcp(1000, 80, "A"))
    denied(net, family, tcp(1000, 80, "S"))


# ---- tunnels, fragments

@both
def test_ingress_from_a_tunnel(net, family):
    policy(net, "p", "a", ingress="deny")
    rule(net, "p", "allow", proto="udp", dports=["80"], sources=[{"prefix": "10.244.2.0/24" if family == 4 else "fd00:2::/64"}])
    for _ in range(2):
        net.send("up", from_tunnel(ip(REMOTE2[family], A.ip(family), ttl=64) / udp(7, 80)))
        net.expect("a", from_gw(A) / ip(REMOTE2[family], A.ip(family), ttl=63) / udp(7, 80))
    net.send_dropped("up", from_tunnel(ip(REMOTE2[family], A.ip(family), ttl=64) / udp(7, 81)), "policy_denied")


@pytest.mark.parametrize("dport, is_allowed", [(80, True), (81, False)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_fragments_are_judged_by_the_ports_of_the_first(net, dport, is_allowed, order):
    policy(net, "p", "b", ingress="deny")
    rule(net, "p", "allow", proto="udp", dports=["80"])
    whole = bytes(IP(src=A.ip4, dst=B.ip4) / UDP(sport=7, dport=dport) / Raw(bytes(range(200))))[20:]
    parts = [IP(src=A.ip4, dst=B.ip4, id=5, proto=17, ttl=64, flags="MF") / Raw(whole[:104]),
             IP(src=A.ip4, dst=B.ip4, id=5, proto=17, ttl=64, frag=13) / Raw(whole[104:])]
    for n in order:
        net.send("a", to_gw(A) / parts[n])
    assert len(net.drain("b", check=False)) == (2 if is_allowed else 0)
    if not is_allowed:
        net.drops("a", policy_denied=2)


@both
def test_outside_to_a_pod_is_judged(net, family):
    policy(net, "p", "b", ingress="deny")
    denied(net, family, udp(7, 80), OUTSIDE)
    rule(net, "p", "allow", proto="udp", sports=["7"])
    passes(net, family, udp(7, 80), OUTSIDE)
    denied(net, family, udp(8, 80), OUTSIDE)
