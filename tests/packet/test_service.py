# SPDX-License-Identifier: BSD-3-Clause
"""Services: which backend, whose addresses, both ways; and what becomes of connections whose backend goes."""
import pytest
from conftest import GW4, GW6, REMOTE2, UP, both, echo, error, from_gw, from_tunnel, ip, tcp, to_gw, tunnelled, udp
from nat import (A, B, C, HOST, OUTSIDE, VIP, VIP2, frontend, goes, got, pair, pod_add, sent, service)
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

protos = pytest.mark.parametrize("proto", ["tcp", "udp"])


def l4(proto, sport, dport, flags="S", **fields):
    return tcp(sport, dport, flags, **fields) if proto == "tcp" else udp(sport, dport)


def answer(proto, sport, dport):
    return l4(proto, sport, dport, "SA")


def dnat_both_ways(net, family, proto, client, to, seen=None, back_to=None, sport=50000, dport=80, target=8080, backend=B,
                   client_node=A):
    """client → to:dport reaches backend:target from seen; the answer comes back from to."""
    seen = seen or client
    goes(net, client_node, *with_node(backend, pair(client, to, seen, backend.ip(family), l4(proto, sport, dport),
                                                    l4(proto, sport, target))))
    goes(net, backend, *with_node(client_node, pair(backend.ip(family), seen, to, client, answer(proto, target, sport),
                                                    answer(proto, dport, sport))))


def with_node(node, packets):
    return packets[0], node, packets[1]


@both
@protos
@pytest.mark.parametrize("front, back", [({"target_port": 8080}, {}), ({}, {"port": 8080})])
def test_cluster_address_is_translated_both_ways(net, family, proto, front, back):
    service(net, family, [{"ip": B.ip(family), **back}], proto=proto, front=front)
    dnat_both_ways(net, family, proto, A.ip(family), VIP[family])


@both
@protos
@pytest.mark.parametrize("port", [8000, 8003, 8009])
def test_port_range_keeps_the_port(net, family, proto, port):
    service(net, family, [B], proto=proto, port=8000, front={"port_end": 8009})
    dnat_both_ways(net, family, proto, A.ip(family), VIP[family], dport=port, target=port)


@both
@protos
@pytest.mark.parametrize("node", [HOST, UP])
def test_node_port_from_outside_masquerades(net, family, proto, node):
    service(net, family, [B], kind="node-port", proto=proto, port=30080, front={"target_port": 8080})
    dnat_both_ways(net, family, proto, OUTSIDE.ip(family), node.ip(family), seen=HOST.ip(family), dport=30080,
                   client_node=OUTSIDE)


@both
@protos
def test_host_port_keeps_the_client(net, family, proto):
    service(net, family, [B], kind="host-port", proto=proto, port=8088, addr=HOST.ip(family), front={"target_port": 8080})
    dnat_both_ways(net, family, proto, OUTSIDE.ip(family), HOST.ip(family), dport=8088, client_node=OUTSIDE)


@both
@protos
def test_external_address_masquerades_with_a_port_of_the_pool(net, family, proto):
    service(net, family, [B], kind="external", proto=proto, front={"target_port": 8080})
    net.send("up", sent(OUTSIDE) / ip(OUTSIDE.ip(family), VIP[family], ttl=64) / l4(proto, 1000, 80))
    frame = net.drain("b")[0]
    port = Ether(frame)[TCP if proto == "tcp" else UDP].sport
    assert 49152 <= port <= 65535
    assert frame == bytes(from_gw(B) / ip(HOST.ip(family), B.ip(family), ttl=63) / l4(proto, port, 8080))
    goes(net, B, *with_node(OUTSIDE, pair(B.ip(family), HOST.ip(family), VIP[family], OUTSIDE.ip(family),
                                          answer(proto, 8080, port), answer(proto, 80, 1000))))


@both
def test_external_local_keeps_the_client(net, family):
    service(net, family, [B, {"ip": REMOTE2[family]}], kind="external", external_policy="local", front={"target_port": 8080})
    for sport in range(50000, 50010):
        dnat_both_ways(net, family, "tcp", OUTSIDE.ip(family), VIP[family], sport=sport, client_node=OUTSIDE)


@both
def test_external_local_without_a_local_backend_is_silent(net, family):
    service(net, family, [{"ip": REMOTE2[family]}], kind="external", external_policy="local")
    net.send_dropped("up", sent(OUTSIDE) / ip(OUTSIDE.ip(family), VIP[family]) / tcp(), "service_no_backend")
    net.send("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / tcp())  # pods of this node may use all
    frame = net.drain("up")[0]
    assert frame == bytes(tunnelled(ip(A.ip(family), REMOTE2[family], ttl=63) / tcp(), Ether(frame)[UDP].sport))


@both
def test_internal_local_uses_local_backends_only(net, family):
    service(net, family, [B, {"ip": REMOTE2[family]}], internal_policy="local")
    for sport in range(50000, 50010):
        dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family], sport=sport, target=80)
    service(net, family, [{"ip": REMOTE2[family]}], internal_policy="local")
    packet = ip(A.ip(family), VIP[family], ttl=64) / tcp(7, 80, "S", seq=5)
    net.send_dropped("a", to_gw(A) / packet, "service_no_backend")
    net.expect("a", reset(A, family, VIP[family], tcp(80, 7, "RA", seq=0, ack=6, window=0)))


@both
def test_source_ranges_hold_for_external_addresses(net, family):
    service(net, family, [B], kind="external", external_policy="local",
            source_ranges=["198.18.0.0/15" if family == 4 else "2001:2::/48"])
    net.send_dropped("up", sent(OUTSIDE) / ip(OUTSIDE.ip(family), VIP[family]) / tcp(), "service_source_refused")
    inside = "198.18.0.5" if family == 4 else "2001:2::5"
    dnat_both_ways(net, family, "tcp", inside, VIP[family], target=80, client_node=OUTSIDE)


# ---- nobody serves

def reset(node, family, src, segment):
    packet = ip(src, node.ip(family), ttl=64, **({"flags": "DF", "id": 0} if family == 4 else {})) / segment
    return got(node) / packet


@both
@pytest.mark.parametrize("segment, wants", [
    (dict(flags="S", seq=0xFFFFFFFF), dict(flags="RA", seq=0, ack=0)),
    (dict(flags="S", seq=1000, data=b"tfo!"), dict(flags="RA", seq=0, ack=1005)),
    (dict(flags="A", seq=77, ack=4000), dict(flags="R", seq=4000, ack=0)),
    (dict(flags="PA", seq=77, ack=4000, data=b"x"), dict(flags="R", seq=4000, ack=0)),
])
@pytest.mark.parametrize("client", [A, OUTSIDE])
@pytest.mark.parametrize("why", ["service_no_backend", "service_no_port"])
def test_nobody_serves_tcp_is_reset(net, family, segment, wants, client, why):
    service(net, family, [] if why == "service_no_backend" else [B], kind="external")
    port = 80 if why == "service_no_backend" else 81
    packet = ip(client.ip(family), VIP[family], ttl=64) / tcp(7, port, **segment)
    net.send_dropped(client.port, sent(client) / packet, why)
    net.expect(client.port, reset(client, family, VIP[family], tcp(port, 7, window=0, **wants)))
    rst = ip(client.ip(family), VIP[family], ttl=64) / tcp(7, port, "R")
    net.send_dropped(client.port, sent(client) / rst, why)  # never answered


@both
@pytest.mark.parametrize("why", ["service_no_backend", "service_no_port"])
def test_nobody_serves_udp_is_told_port_unreachable(net, family, why):
    service(net, family, [] if why == "service_no_backend" else [B], proto="udp")
    packet = ip(A.ip(family), VIP[family], ttl=64) / udp(7, 80 if why == "service_no_backend" else 81)
    net.send_dropped("a", to_gw(A) / packet, why)
    net.expect("a", error(A, family, "port", packet))


@both
@protos
def test_nobody_serves_in_silence_when_asked_to(net, family, proto):
    service(net, family, [], proto=proto, reject=False)
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family]) / l4(proto, 7, 80), "service_no_backend")


@both
def test_echo_to_a_service_is_told_port_unreachable(net, family):
    service(net, family, [B])
    packet = ip(A.ip(family), VIP[family], ttl=64) / echo(family)
    net.send_dropped("a", to_gw(A) / packet, "service_no_port")
    net.expect("a", error(A, family, "port", packet))


@both
@pytest.mark.parametrize("backend, usable", [
    (dict(weight=0), False), (dict(ready=False), False), (dict(terminating=True), True),
    (dict(terminating=True, serving=False), False), (dict(terminating=True, weight=0), False)])
def test_backend_is_used_only_if_it_may(net, family, backend, usable):
    service(net, family, [{"ip": B.ip(family), "local": True, **backend}], front={"target_port": 8080})
    if usable:
        dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family])
        return
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / tcp(7, 80), "service_no_backend")
    net.expect("a", reset(A, family, VIP[family], tcp(80, 7, "RA", seq=0, ack=1, window=0)))


@both
def test_backend_with_weight_is_preferred_to_terminating_ones(net, family):
    pod_add(net)
    service(net, family, [{"ip": C.ip(family), "terminating": True}, {"ip": B.ip(family)}], front={"target_port": 8080})
    for sport in range(50000, 50010):
        dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family], sport=sport)


# ---- hairpin, clashes, affinity

@both
@protos
def test_hairpin_to_oneself_comes_from_the_node(net, family, proto):
    service(net, family, [A], proto=proto, front={"target_port": 8080})
    dnat_both_ways(net, family, proto, A.ip(family), VIP[family], seen=HOST.ip(family), backend=A)


@both
@protos
def test_hairpin_on_a_node_without_an_address_comes_from_the_gateway(net, family, proto):
    for port in ("host", "up"):
        net.cmd("port.del", name=port)
    service(net, family, [A], proto=proto, front={"target_port": 8080})
    dnat_both_ways(net, family, proto, A.ip(family), VIP[family], seen={4: GW4, 6: GW6}[family], backend=A)


@both
@protos
def test_two_addresses_one_backend_one_client_port_do_not_clash(net, family, proto):
    net.cmd("service.add", name="s", backends=[{"ip": B.ip(family)}], frontends=[
        frontend(family, proto=proto, target_port=8080), frontend(family, proto=proto, addr=VIP2[family], target_port=8080)])
    dnat_both_ways(net, family, proto, A.ip(family), VIP[family])
    net.send("a", to_gw(A) / ip(A.ip(family), VIP2[family], ttl=64) / l4(proto, 50000, 80))
    frame = net.drain("b")[0]
    port = Ether(frame)[TCP if proto == "tcp" else UDP].sport
    assert port != 50000 and port >= 1024
    for _ in range(2):
        goes(net, A, *with_node(B, pair(A.ip(family), VIP2[family], A.ip(family), B.ip(family), l4(proto, 50000, 80),
                                        l4(proto, port, 8080))))
        goes(net, B, *with_node(A, pair(B.ip(family), A.ip(family), VIP2[family], A.ip(family), answer(proto, 8080, port),
                                        answer(proto, 80, 50000))))
        dnat_both_ways(net, family, proto, A.ip(family), VIP[family])
    # Straight to the backend from the same port: its replies must not be taken for the service's.
    net.send("a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64) / l4(proto, 50000, 8080))
    straight = Ether(net.drain("b")[0])[TCP if proto == "tcp" else UDP].sport
    assert straight not in (50000, port)
    goes(net, B, *with_node(A, pair(B.ip(family), A.ip(family), B.ip(family), A.ip(family), answer(proto, 8080, straight),
                                    answer(proto, 8080, 50000))))


def served_by(net, family, sport, addr=None):
    net.send("a", to_gw(A) / ip(A.ip(family), addr or VIP[family], ttl=64) / udp(sport, 80))
    frames = {node: net.drain(node) for node in ("b", "c")}
    assert sum(len(f) for f in frames.values()) == 1
    return "b" if frames["b"] else "c"


@both
def test_affinity_keeps_the_backend_for_its_time(net, family):
    pod_add(net)
    service(net, family, [B, C], proto="udp")
    assert {served_by(net, family, sport) for sport in range(2000, 2040)} == {"b", "c"}
    service(net, family, [B, C], proto="udp", affinity_s=60)
    first = served_by(net, family, 3000)
    assert {served_by(net, family, sport) for sport in range(3001, 3040)} == {first}
    service(net, family, [C if first == "b" else B], proto="udp", affinity_s=60)
    assert served_by(net, family, 4000) != first  # the one that it kept is gone
    service(net, family, [B, C], proto="udp", affinity_s=60)
    assert {served_by(net, family, sport) for sport in range(4001, 4040)} == {"c" if first == "b" else "b"}
    net.warp(62)
    assert {served_by(net, family, sport) for sport in range(5000, 5020)} == {first}  # forgotten; by its address again


# ---- a backend goes

@both
def test_udp_goes_to_another_backend_at_once(net, family):
    pod_add(net)
    service(net, family, [B], proto="udp", front={"target_port": 8080})
    dnat_both_ways(net, family, "udp", A.ip(family), VIP[family])
    service(net, family, [C], proto="udp", front={"target_port": 8080})
    dnat_both_ways(net, family, "udp", A.ip(family), VIP[family], backend=C)
    assert len(net.conns()) == 1


@both
def test_udp_without_any_backend_left_is_refused(net, family):
    service(net, family, [B], proto="udp", front={"target_port": 8080})
    dnat_both_ways(net, family, "udp", A.ip(family), VIP[family])
    service(net, family, [], proto="udp", front={"target_port": 8080})
    packet = ip(A.ip(family), VIP[family], ttl=64) / udp(50000, 80)
    net.send_dropped("a", to_gw(A) / packet, "service_no_backend")
    net.expect("a", error(A, family, "port", packet))
    assert net.conns() == []


def established(net, family, seq=1000, ack=9000):
    dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family])
    goes(net, A, *with_node(B, pair(A.ip(family), VIP[family], A.ip(family), B.ip(family),
                                    tcp(50000, 80, "A", seq=seq, ack=ack), tcp(50000, 8080, "A", seq=seq, ack=ack))))


@both
@pytest.mark.parametrize("how", ["backend", "service"])
def test_tcp_drains_when_its_backend_goes(net, family, how):
    service(net, family, [B], front={"target_port": 8080})
    established(net, family)
    if how == "service":
        net.cmd("service.del", name="s")
    else:
        service(net, family, [HOST], front={"target_port": 8080})
    established(net, family)


@both
@pytest.mark.parametrize("port", [{}, {"port": 9090}, {"port": 8080}])
def test_tcp_finds_its_backend_again_in_a_service_that_was_made_anew(net, family, port):
    """As after a restart: neither slot is the one that it was bound to, and the frontend's target port need not be the backend's."""
    backends = [{"ip": B.ip(family), "local": True, **port}]
    service(net, family, backends, front={"target_port": 8080}, reset=True)
    established(net, family)
    net.cmd("service.del", name="s")
    service(net, family, backends, front={"target_port": 8080}, reset=True)
    established(net, family)


@both
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("how", ["backend", "service"])
def test_tcp_is_reset_on_both_sides_when_the_service_wants_it(net, family, side, how):
    service(net, family, [B], front={"target_port": 8080}, reset=True)
    established(net, family)
    if how == "service":
        net.cmd("service.del", name="s")
    else:
        service(net, family, [HOST], front={"target_port": 8080}, reset=True)
    if side == "client":
        segment = tcp(50000, 80, "PA", b"hello", seq=1000, ack=9000)
        net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / segment, "service_backend_gone")
        at_client, at_server = dict(flags="R", seq=9000, ack=0), dict(flags="RA", seq=1000, ack=9000)
    else:
        segment = tcp(8080, 50000, "PA", b"hello", seq=9000, ack=1000)
        net.send_dropped("b", sent(B) / ip(B.ip(family), A.ip(family), ttl=64) / segment, "service_backend_gone")
        at_client, at_server = dict(flags="RA", seq=9000, ack=1000), dict(flags="R", seq=1000, ack=0)
    net.expect("a", reset(A, family, VIP[family], tcp(80, 50000, window=0, **at_client)))
    net.expect("b", reset(B, family, A.ip(family), tcp(50000, 8080, window=0, **at_server)))
    assert [c["state"] for c in net.conns()] == ["dead"]


@both
def test_udp_of_a_deleted_service_is_judged_anew(net, family):
    service(net, family, [B], proto="udp", front={"target_port": 8080})
    dnat_both_ways(net, family, "udp", A.ip(family), VIP[family])
    net.cmd("service.del", name="s")
    reply = ip(B.ip(family), A.ip(family), ttl=64) / udp(8080, 50000)
    net.send_dropped("b", sent(B) / reply, "service_backend_gone")
    assert net.conns() == []


@both
@pytest.mark.parametrize("is_judged", [True, False])
def test_syn_to_a_finished_connection_gets_a_backend_that_lives(net, family, is_judged):
    pod_add(net)
    service(net, family, [B], front={"target_port": 8080})
    established(net, family)
    for node, packets in ((A, pair(A.ip(family), VIP[family], A.ip(family), B.ip(family), tcp(50000, 80, "FA"),
                                   tcp(50000, 8080, "FA"))),
                          (B, pair(B.ip(family), A.ip(family), VIP[family], A.ip(family), tcp(8080, 50000, "FA"),
                                   tcp(80, 50000, "FA")))):
        goes(net, node, *with_node(B if node is A else A, packets))
    assert net.conns()[0]["state"] == "time_wait"
    service(net, family, [C], front={"target_port": 8080})
    if is_judged:  # a last acknowledgement, after the change, still goes to the old one
        goes(net, A, *with_node(B, pair(A.ip(family), VIP[family], A.ip(family), B.ip(family), tcp(50000, 80, "A"),
                                        tcp(50000, 8080, "A"))))
    dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family], backend=C)


# ---- far backends, zones

@both
def test_backend_behind_a_tunnel(net, family):
    service(net, family, [{"ip": REMOTE2[family]}], front={"target_port": 8080})
    packet = ip(A.ip(family), VIP[family], ttl=64) / tcp(50000, 80, "S")
    for _ in range(2):
        net.send("a", to_gw(A) / packet)
        frame = net.drain("up")[0]
        assert frame == bytes(tunnelled(ip(A.ip(family), REMOTE2[family], ttl=63) / tcp(50000, 8080, "S"),
                                        Ether(frame)[UDP].sport))
        net.send("up", from_tunnel(ip(REMOTE2[family], A.ip(family), ttl=64) / tcp(8080, 50000, "SA")))
        net.expect("a", from_gw(A) / ip(VIP[family], A.ip(family), ttl=63) / tcp(80, 50000, "SA"))


@both
def test_outside_client_of_a_backend_behind_a_tunnel(net, family):
    service(net, family, [{"ip": REMOTE2[family]}], kind="node-port", port=30080, front={"target_port": 8080})
    for _ in range(2):
        net.send("up", sent(OUTSIDE) / ip(OUTSIDE.ip(family), HOST.ip(family), ttl=64) / tcp(50000, 30080, "S"))
        frame = net.drain("up")[0]
        assert frame == bytes(tunnelled(ip(HOST.ip(family), REMOTE2[family], ttl=63) / tcp(50000, 8080, "S"),
                                        Ether(frame)[UDP].sport))
        net.send("up", from_tunnel(ip(REMOTE2[family], HOST.ip(family), ttl=64) / tcp(8080, 50000, "SA")))
        net.expect("up", got(OUTSIDE) / ip(HOST.ip(family), OUTSIDE.ip(family), ttl=63) / tcp(30080, 50000, "SA"))


@both
def test_zones_have_services_of_their_own(net, family):
    macs = {"a7": "0a:58:07:00:00:02", "b7": "0a:58:07:00:00:03"}
    for name, node in (("a7", A), ("b7", B)):
        net.cmd("port.add", name=name, role="pod", mac=macs[name], zone=7)
        net.cmd("endpoint.add", id=name, port=name, addresses=[node.ip4, node.ip6], zone=7)
    service(net, family, [B], front={"target_port": 8080})
    service(net, family, [B], name="s7", zone=7, front={"target_port": 9090})
    dnat_both_ways(net, family, "tcp", A.ip(family), VIP[family])
    packet = ip(A.ip(family), VIP[family], ttl=64) / tcp(50000, 80)
    for _ in range(2):
        net.send("a7", Ether(src=macs["a7"], dst=to_gw(A).dst) / packet)
        net.expect("b7", Ether(src=to_gw(A).dst, dst=macs["b7"]) / ip(A.ip(family), B.ip(family), ttl=63) / tcp(50000, 9090))
