# SPDX-License-Identifier: BSD-3-Clause
"""What explain says of a packet is what happens to it: the same verdict, drop reason, way out and bytes."""
import pytest
from conftest import (A, B, EXTERNAL, GW, HOST, REMOTE2, ROUTER, UP, both, from_tunnel, ip, raw, tcp, to_gw, udp)
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.l2 import Ether

C_MAC = "0a:58:0a:f4:01:04"
C = {4: "10.244.1.4", 6: "fd00:1::4"}


def meet_all(net, port, frames, is_crowded=False):
    """Asks, sends, compares, one after the other; what was said of each. is_crowded: a table so full that both places of a key may be taken
    before its last record is, which is only known when it is tried."""
    results = net.cmd("exchange", frames=[[port, raw(frame).hex()] for frame in frames], explain=1)["results"]
    for result in results:
        said = result["explain"]
        for at, reason, n in result["drops"]:
            net.drops(at, **{reason: n})
        if said["verdict"] == "drop":
            assert [port, said["reason"], 1] in result["drops"], f"{said}, but {result}"
        elif said["verdict"] == "forward":
            if is_crowded and result["drops"] == [[port, "flow_table_full", 1]]:
                continue
            assert result["drops"] == [], f"{said}, but {result}"
            if "frame" in said:
                assert result["out"] == [[said["port"], said["frame"]]], f"{said}, but {result}"
        elif said["verdict"] == "self":
            assert result["drops"] == [] and [at for at, _ in result["out"]] == [port], f"{said}, but {result}"
    return [result["explain"] for result in results]


def meet(net, port, frame):
    return meet_all(net, port, [frame])[0]


def pod(net, **limits):
    net.cmd("port.add", name="c", role="pod", mac=C_MAC)
    net.cmd("endpoint.add", id="c", port="c", addresses=[C[4], C[6]], **limits)


def from_c(family, l4, ttl=64):
    return Ether(src=C_MAC, dst=GW) / ip(C[family], B.ip(family), ttl=ttl) / l4


def from_a(family, l4, dst=B, ttl=64):
    return to_gw(A) / ip(A.ip(family), dst.ip(family), ttl=ttl) / l4


@both
@pytest.mark.parametrize("flags", ["SF", "SR", "FR", "", "F", "SFRPA"])
@pytest.mark.parametrize("is_known", [False, True])
def test_flags_that_no_connection_has(net, family, flags, is_known):
    """On a connection that stands as well as without one."""
    if is_known:
        for frame in (from_a(family, tcp()), to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / tcp(80, 1000, "SA"),
                      from_a(family, tcp(flags="A"))):
            assert meet(net, frame.src == A.mac and "a" or "b", frame)["verdict"] == "forward"
    said = meet(net, "a", from_a(family, tcp(flags=flags)))
    assert (said["verdict"], said["reason"]) == ("drop", "tcp_invalid")
    if is_known:
        said = meet(net, "b", to_gw(B) / ip(B.ip(family), A.ip(family), ttl=64) / tcp(80, 1000, flags))
        assert (said["verdict"], said["reason"]) == ("drop", "tcp_invalid")


@both
@pytest.mark.parametrize("l4", ["udp", "tcp"])
def test_connections_of_an_endpoint_are_counted(net, family, l4):
    pod(net, max_conns=2)
    first = udp if l4 == "udp" else tcp
    for n in range(4):
        said = meet(net, "c", from_c(family, first(1000 + n, 80)))
        assert (said["verdict"], said["reason"]) == (("forward", "none") if n < 2 else ("drop", "conn_limit"))
    assert meet(net, "c", from_c(family, first(1000, 80)))["verdict"] == "forward", "the ones that stand go on"
    assert meet(net, "a", from_a(family, first(1000, 80)))["verdict"] == "forward", "and others"


@both
def test_connections_of_a_zone_are_counted(net, family):
    net.cmd("zone.add", id=0, max_conns=1)
    assert meet(net, "a", from_a(family, udp(1000)))["verdict"] == "forward"
    assert meet(net, "a", from_a(family, udp(1001)))["reason"] == "conn_limit"
    net.cmd("zone.add", id=0, max_conns=0)
    assert meet(net, "a", from_a(family, udp(1001)))["verdict"] == "forward"


@both
def test_new_connections_a_second_are_counted_and_asking_takes_none(net, family):
    pod(net, max_new_conns_per_s=1)
    n = 0
    while meet(net, "c", from_c(family, udp(1000 + n)))["verdict"] == "forward":
        n += 1
        assert n < 100
    assert n > 0
    assert meet(net, "c", from_c(family, udp(1000 + n)))["reason"] == "conn_limit"


@both
@pytest.mark.parametrize("way", ["from", "to"])
def test_rates_are_known_and_asking_takes_nothing(net, family, way):
    pod(net, **{way: {"rate_pps": 1, "burst_pkts": 3}})
    frame = from_c(family, udp()) if way == "from" else to_gw(B) / ip(B.ip(family), C[family], ttl=64) / udp()
    port = "c" if way == "from" else "b"
    said = [meet(net, port, frame) for _ in range(6)]
    assert [s["verdict"] for s in said] == ["forward"] * 3 + ["drop"] * 3
    assert said[-1]["reason"] == "rate_limit"


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
@both
def test_reserve_of_a_table_that_fills_is_known(net, family):
    pod(net)
    net.cmd("conntrack.set", early_drop=False)
    said = meet_all(net, "c", [from_c(family, udp(1000 + n)) for n in range(1200)])
    assert said[0]["reason"] == "none" and said[-1]["reason"] == "new_flow_limit"
    assert meet(net, "a", from_a(family, udp()))["verdict"] == "forward"


@pytest.mark.parametrize("harness", [{"conns": 1024}], indirect=True)
@both
def test_full_table_is_known(net, family):
    """What comes from outside is at no endpoint's expense: it fills the table."""
    net.cmd("conntrack.set", early_drop=False)
    said = meet_all(net, "up", [Ether(src=ROUTER.mac, dst=UP.mac) / ip(EXTERNAL[family], A.ip(family), ttl=64) / udp(1000 + n)
                                for n in range(1200)], is_crowded=True)
    assert said[0]["reason"] == "none" and said[-1]["reason"] == "flow_table_full"


@both
def test_packets_of_tunnels_and_of_protocols_without_ports(net, family):
    inner = ip(REMOTE2[family], A.ip(family), ttl=64) / udp()
    outer = from_tunnel(inner)
    result, = net.cmd("exchange", frames=[["up", raw(outer).hex(), "n2", raw(outer)[50:].hex()]], explain=1)["results"]
    said = result["explain"]
    assert said["verdict"] == "forward" and result["out"] == [[said["port"], said["frame"]]]
    other = {"proto": 47} if family == 4 else {"nh": 47}
    assert meet(net, "a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64, **other) / bytes(20))["port"] == "b"
    for payload in (bytes(11), bytes(12), bytes(40)):
        other = {"proto": 132} if family == 4 else {"nh": 132}
        said = meet(net, "a", to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64, **other) / payload)
        assert said["verdict"] == ("forward" if len(payload) >= 12 else "drop")


@both
def test_what_leatd_answers_itself_and_what_it_refuses(net, family):
    request = ICMP(type=8, id=7) if family == 4 else ICMPv6EchoRequest(id=7)
    gateway = "169.254.1.1" if family == 4 else "fe80::1"
    to_us = to_gw(A) / ip(A.ip(family), gateway, ttl=64)
    assert meet(net, "a", to_us / request)["verdict"] == "self"
    for l4 in (udp(), tcp()):
        said = meet(net, "a", to_us / l4)
        assert (said["verdict"], said["reason"]) == ("drop", "local_proto")
        net.drain("a")


@both
def test_everyday_packets(net, family):
    assert meet(net, "a", from_a(family, tcp()))["port"] == "b"
    assert meet(net, "a", from_a(family, tcp(), ttl=1))["reason"] == "ttl_exceeded"
    net.drain("a")
    assert meet(net, "a", to_gw(A) / ip(A.ip(family), EXTERNAL[family], ttl=64) / tcp())["port"] == "up"
    assert meet(net, "a", to_gw(A) / ip(A.ip(family), REMOTE2[family], ttl=64) / udp())["port"] == "up"
    assert meet(net, "a", to_gw(A) / ip(B.ip(family), A.ip(family), ttl=64) / tcp())["reason"] == "ip_src_spoofed"
    assert meet(net, "host", to_gw(HOST) / ip(HOST.ip(family), A.ip(family), ttl=64) / tcp())["port"] == "a"
    big = to_gw(A) / ip(A.ip(family), B.ip(family), ttl=64, **({"flags": "DF"} if family == 4 else {})) / udp(data=bytes(1900))
    assert meet(net, "a", big)["reason"] == "mtu_exceeded"
    net.drain("a")
