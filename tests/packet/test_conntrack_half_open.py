# SPDX-License-Identifier: BSD-3-Clause
"""Until it is established a TCP or SCTP connection is bound to nothing: each try goes where a first one would go now."""
import pytest
from conftest import A, B, EXTERNAL, both, ip, tcp, to_gw
from nat import C, OUTSIDE, VIP, frontend, got, pod_add, sent, service
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkCookieEcho, SCTPChunkInit, SCTPChunkInitAck

handshakes = pytest.mark.parametrize("proto", ["tcp", "sctp"])
CHUNKS = {"S": SCTPChunkInit, "SA": SCTPChunkInitAck, "A": SCTPChunkCookieEcho}
POOL = {4: "203.0.113.100", 6: "2001:db8:5::100"}


def l4(proto, sport, dport, flags="S"):
    return tcp(sport, dport, flags) if proto == "tcp" else SCTP(sport=sport, dport=dport, tag=7) / CHUNKS[flags]()


def asks(net, family, proto, target, flags="S", dst=None, source=A):
    """A packet of source's to the service, as it reaches target; its source port there."""
    net.send(source.port, sent(source) / ip(source.ip(family), dst or VIP[family], ttl=64) / l4(proto, 1000, 80, flags))
    frame, = net.drain(target.port)
    assert Ether(frame).dst == got(target).dst
    return Ether(frame).payload.payload.sport


def answers(net, family, proto, backend, flags="SA", client=A, port=1000):
    net.send(backend.port, sent(backend) / ip(backend.ip(family), client.ip(family), ttl=64) / l4(proto, 80, port, flags))
    return net.drain(client.port)


@both
@handshakes
def test_retry_reaches_a_service_that_was_made_meanwhile(net, family, proto):
    asks(net, family, proto, OUTSIDE)  # nobody's yet: by the default route
    service(net, family, [B], proto=proto)
    for _ in range(3):
        asks(net, family, proto, B)
    frame, = answers(net, family, proto, B)
    assert Ether(frame).payload.src == VIP[family]


@both
@handshakes
def test_retry_reaches_a_frontend_that_was_made_meanwhile(net, family, proto):
    service(net, family, [B], proto=proto, port=81)
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / l4(proto, 1000, 80), "service_no_port")
    net.drain("a", check=False)
    asks(net, family, proto, OUTSIDE, dst=EXTERNAL[family])
    net.cmd("service.add", name="s", frontends=[frontend(family, "cluster", proto, 81), frontend(
        family, "external", proto, 80, EXTERNAL[family])], backends=[{"ip": B.ip(family), "port": 0, "local": True}])
    asks(net, family, proto, B, dst=EXTERNAL[family])


@both
@handshakes
@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_retry_leaves_a_backend_that_was_removed(net, family, proto, is_answered, reset):
    pod_add(net)
    service(net, family, [B], proto=proto, reset=reset)
    asks(net, family, proto, B)
    if is_answered:
        assert len(answers(net, family, proto, B)) == 1
    service(net, family, [C], proto=proto, reset=reset)
    for _ in range(2):
        asks(net, family, proto, C)
    assert len(answers(net, family, proto, C)) == 1


@both
@handshakes
@pytest.mark.parametrize("is_answered", [False, True])
def test_what_the_next_owner_of_a_backends_address_says_is_not_believed(net, family, proto, is_answered):
    service(net, family, [B], proto=proto)
    asks(net, family, proto, B)
    if is_answered:
        assert len(answers(net, family, proto, B)) == 1
    service(net, family, [], proto=proto)
    net.send_dropped("b", sent(B) / ip(B.ip(family), A.ip(family), ttl=64) / l4(proto, 80, 1000, "SA"), "service_backend_gone")
    net.send_dropped("b", sent(B) / ip(B.ip(family), A.ip(family), ttl=64) / l4(proto, 80, 1000, "SA"),
                     "service_backend_gone" if is_answered and proto == "tcp" else "no_connection")
    net.send_dropped("a", to_gw(A) / ip(A.ip(family), VIP[family], ttl=64) / l4(proto, 1000, 80), "service_no_backend")
    net.drain("a", check=False)


@both
@handshakes
@pytest.mark.parametrize("flags", ["S", "A"])
@pytest.mark.parametrize("is_answered", [False, True])
def test_nothing_reaches_a_backend_whose_service_was_deleted(net, family, proto, is_answered, flags):
    service(net, family, [B], proto=proto)
    asks(net, family, proto, B)
    if is_answered:
        assert len(answers(net, family, proto, B)) == 1
    net.cmd("service.del", name="s")
    if is_answered and proto == "tcp" and flags == "A":
        asks(net, family, proto, B, flags)  # the handshake's end goes where its answer came from: anybody else would reset it
    else:
        asks(net, family, proto, OUTSIDE, flags)  # the address is nobody's again


@both
@handshakes
def test_retry_keeps_its_backend_and_port_when_nothing_concerns_it(net, family, proto):
    nodes = [B, C]
    pod_add(net)
    service(net, family, nodes, kind="external", proto=proto)
    net.send("up", sent(OUTSIDE) / ip(OUTSIDE.ip(family), VIP[family], ttl=64) / l4(proto, 1000, 80))
    frames = {node.port: net.drain(node.port) for node in nodes}
    first, = (node for node in nodes if frames[node.port])
    port = Ether(frames[first.port][0]).payload.payload.sport
    more = [{"ip": f"10.244.1.{n}" if family == 4 else f"fd00:1::{n}", "local": True} for n in range(50, 60)]
    for backends in (nodes, [*nodes, *more], [first]):
        service(net, family, backends, kind="external", proto=proto)
        assert asks(net, family, proto, first, source=OUTSIDE) == port
    assert len([c for c in net.conns() if c["state"] != "dead"]) == 1


@both
@handshakes
def test_established_connection_drains(net, family, proto):
    pod_add(net)
    service(net, family, [B], proto=proto)
    asks(net, family, proto, B)
    answers(net, family, proto, B)
    asks(net, family, proto, B, "A")
    service(net, family, [C], proto=proto)
    asks(net, family, proto, B if proto == "tcp" else C, "A")


@both
@handshakes
def test_retry_is_translated_by_what_was_configured_meanwhile(net, family, proto):
    def leaves_as(address, flags="S"):
        net.send("a", to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / l4(proto, 1000, 80, flags))
        frame, = net.drain("up")
        assert Ether(frame).payload.src == address
        return Ether(frame).payload.payload.sport

    leaves_as(A.ip(family))
    net.cmd("pool.add", name="p", addresses=[POOL[family]], port_min=40000, port_max=40099)
    net.cmd("snat.add", name="all", pool="p", priority=100)
    ports = {leaves_as(POOL[family]) for _ in range(3)}
    assert len(ports) == 1
    net.send("up", sent(OUTSIDE) / ip(EXTERNAL[family], POOL[family], ttl=64) / l4(proto, 80, ports.pop(), "SA"))
    assert len(net.drain("a")) == 1
    leaves_as(POOL[family], "A")
    net.cmd("snat.del", name="all")
    leaves_as(POOL[family], "A")
    leaves_as(POOL[family], "S")  # on an open connection: for the far end to challenge


@both
def test_retry_follows_a_pair_that_was_made_or_moved(net, family):
    external = POOL[family]
    pod_add(net)
    net.send("a", sent(A) / ip(A.ip(family), external, ttl=64) / tcp(1000, 80))
    assert len(net.drain("up")) == 1  # nobody's here: to the router
    for node in (B, C):
        net.cmd("pair.add", internal=node.ip(family), external=external)
        net.send("a", sent(A) / ip(A.ip(family), external, ttl=64) / tcp(1000, 80))
        frame, = net.drain(node.port)
        assert Ether(frame)[TCP].dport == 80
        net.cmd("pair.del", internal=node.ip(family))
