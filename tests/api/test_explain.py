# SPDX-License-Identifier: BSD-3-Clause
"""What would happen to a packet: which layer, which object, which bytes."""
import json
import os

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit


@pytest.fixture
def node(client):
    """Two pods, an uplink with a neighbour and a default route, the node's own address."""
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    client.call("neigh.add", port="up", address="192.0.2.254", mac="02:00:00:00:00:fe")
    client.call("route.add", prefix="0.0.0.0/0", via="192.0.2.254")
    for pod, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        client.call("port.add", name=pod, kind="ring")
        client.call("endpoint.add", id=pod, port=pod, addresses=[address])
    return client


def ask(client, port="a", src="10.0.0.1", **how):
    return client.call("packet.explain", port=port, src=src, **how)


def layer(answer, name):
    return [step for step in answer["layers"] if step["layer"] == name]


def leaves(answer):
    return Ether(bytes.fromhex(answer["frame"]))


def test_pod_to_pod_is_forwarded_as_it_would_leave(node):
    answer = ask(node, dst="10.0.0.2", dport=80)
    assert (answer["verdict"], answer["port"], answer["connection"]) == ("forward", "b", "new")
    frame = leaves(answer)
    want = IP(bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=63, flags="DF", id=0) / TCP(sport=40000, dport=80, seq=0, window=0xffff)))
    assert bytes(frame[IP]) == bytes(want)
    assert layer(answer, "local")[0]["says"] == "to endpoint b"


def test_service_names_itself_and_its_backend(node):
    node.call("service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80}],
              backends=[{"ip": "10.0.0.2", "port": 8080}])
    answer = ask(node, dst="10.96.0.1", dport=80)
    assert layer(answer, "service")[0]["service"] == "web"
    assert answer["leaves"] == {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": 40000, "dport": 8080}
    frame = leaves(answer)
    again = frame.copy()
    del again[IP].chksum, again[TCP].chksum
    assert bytes(again.__class__(bytes(again))) == bytes(frame), "checksums"
    assert ask(node, dst="10.96.0.1", dport=81)["reason"] == "service_no_port"
    node.call("service.add", name="web", replace=True, frontends=[{"ip": "10.96.0.1", "port": 80}])
    answer = ask(node, dst="10.96.0.1", dport=80)
    assert (answer["verdict"], answer["reason"], answer["sender_is_told"]) == ("drop", "service_no_backend", True)


def test_policy_names_the_rule(node):
    node.call("group.add", name="friends")
    node.call("member.add", group="friends", prefix="10.0.0.1")
    node.call("policy.add", name="shield", ingress="deny")
    node.call("rule.add", policy="shield", name="web", direction="ingress", action="allow", proto="tcp",
              sources=[{"group": "friends"}], dports=["80", "8000-8080"])
    node.call("policy.bind", policy="shield", endpoint="b")
    answer = ask(node, dst="10.0.0.2", dport=8042)
    assert answer["verdict"] == "forward" and layer(answer, "policy")[0]["rule"] == "shield/web"
    answer = ask(node, dst="10.0.0.2", dport=22)
    assert (answer["reason"], answer["decided_by"]) == ("policy_denied", "policy")
    assert layer(answer, "policy")[0]["says"] == "default of shield"
    node.call("member.del", group="friends", prefix="10.0.0.1")
    assert ask(node, dst="10.0.0.2", dport=80)["reason"] == "policy_denied"


def test_snat_names_the_pool(node):
    node.call("pool.add", name="egress", addresses=["192.0.2.100"], port_min=5000, port_max=5999)
    node.call("snat.add", name="all", pool="egress")
    answer = ask(node, dst="203.0.113.9", dport=53, proto="udp", payload_bytes=4)
    assert answer["verdict"] == "forward" and answer["port"] == "up"
    assert answer["leaves"]["src"] == "192.0.2.100" and 5000 <= answer["leaves"]["sport"] <= 5999
    assert "egress" in layer(answer, "snat")[0]["says"]
    frame = leaves(answer)
    assert frame.dst == "02:00:00:00:00:fe" and frame[UDP].sport == answer["leaves"]["sport"]
    assert answer == ask(node, dst="203.0.113.9", dport=53, proto="udp", payload_bytes=4), "asking changes nothing"


def test_explain_says_what_is_wrong_with_the_question(node):
    assert node.fails(1, "packet.explain", port="nobody", src="10.0.0.1", dst="10.0.0.2").field == "port"
    assert node.fails(-32602, "packet.explain", port="a", src="10.0.0.1").field == "dst"
    assert node.fails(-32602, "packet.explain", port="a", src="10.0.0.1", dst="fd00::1").field == "dst"
    assert node.fails(-32602, "packet.explain", port="a", frame="xyz").field == "frame"
    assert ask(node, src="10.0.0.9", dst="10.0.0.2", dport=80)["reason"] == "ip_src_spoofed"
    for proto in ("tcp", "udp", "sctp"):
        assert node.fails(-32602, "packet.explain", port="a", src="10.0.0.1", dst="10.0.0.2", proto=proto).field == "dport"
    assert ask(node, dst="10.0.0.2", proto="icmp")["verdict"] == "forward"
    assert ask(node, dst="10.0.0.2", proto="47")["verdict"] == "forward"


def test_refused_source_is_said_to_be_one(node):
    node.call("service.add", name="web", source_ranges=["198.51.100.0/24"], backends=[{"ip": "10.0.0.2", "port": 8080}],
              frontends=[{"kind": "external", "ip": "192.0.2.80", "port": 80}])
    answer = ask(node, port="up", src="203.0.113.9", dst="192.0.2.80", dport=80)
    assert answer["reason"] == "service_source_refused"
    assert layer(answer, "service")[0]["says"] == "service web, source outside its source ranges"


def test_failsafe_port_is_said_to_be_one(client):
    client.call("port.add", name="up", kind="ring", role="uplink")
    client.call("port.add", name="pod", kind="ring")
    client.call("endpoint.add", id="pod", port="pod", addresses=["10.244.1.1"])
    client.call("port.add", name="host", kind="tap", role="host", ifname=f"lt{os.getpid() % 100000}",
                addresses=["10.98.0.1/32"])
    client.call("policy.add", name="shut", ingress="deny")
    client.call("policy.bind", policy="shut", endpoint="host")
    client.call("policy.mode", failsafe_in=["tcp:22"])

    def says(port, src, dst, dport):
        return layer(ask(client, port=port, src=src, dst=dst, dport=dport), "policy")[0]["says"]

    assert says("up", "203.0.113.9", "10.98.0.1", 22) == "not asked: a failsafe port"
    assert says("up", "203.0.113.9", "10.98.0.1", 23) == "default of shut"
    assert says("up", "203.0.113.9", "10.244.1.1", 80) == "no policy"
    assert says("pod", "10.244.1.1", "10.98.0.1", 23) == "not asked: the node and its own pod"


def test_rule_that_a_failed_transaction_removed_comes_back_in_its_place(node):
    """Of equal priorities the older rule is first; it stays the older one."""
    node.call("policy.add", name="p", ingress="deny")
    node.call("policy.bind", policy="p", endpoint="b")
    for name, action in (("old", "allow"), ("young", "reject")):
        node.call("rule.add", policy="p", name=name, direction="ingress", action=action, priority=5)
    before = node.call("config.dump")
    calls = [{"method": "rule.del", "params": {"policy": "p", "name": name}} for name in ("old", "none")]
    with pytest.raises(Exception, match="none"):
        node.txn(calls)
    assert node.call("config.dump") == before
    assert layer(ask(node, dst="10.0.0.2", dport=80), "policy")[0]["rule"] == "p/old"


@pytest.mark.parametrize("src,dst", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_sctp_is_asked_about_as_it_would_be_sent(node, src, dst):
    """An INIT chunk with the right checksum; with a payload the header and that."""
    for pod, address in (("v6a", "fd00::1"), ("v6b", "fd00::2")):
        node.call("port.add", name=pod, kind="ring")
        node.call("endpoint.add", id=pod, port=pod, addresses=[address])
    port, to = ("a", "b") if "." in src else ("v6a", "v6b")
    node.call("service.add", name="s", frontends=[{"ip": "10.96.0.9" if "." in src else "fd96::9", "port": 80, "proto": "sctp"}],
              backends=[{"ip": dst, "port": 8080}])
    for target, dport in ((dst, 80), ("10.96.0.9" if "." in src else "fd96::9", 80)):
        for payload in (0, 16):
            answer = ask(node, port=port, src=src, dst=target, proto="sctp", dport=dport, payload_bytes=payload)
            assert (answer["verdict"], answer["port"]) == ("forward", to), answer
            sctp = leaves(answer)[SCTP]
            assert (sctp.sport, sctp.dport) == (40000, dport if target == dst else 8080)
            again = sctp.copy()
            del again.chksum
            assert SCTP(bytes(again)).chksum == sctp.chksum
            assert payload or SCTPChunkInit in sctp


def test_flags_are_read_letter_by_letter(node):
    for flags in ("X", "SX", "s", "S "):
        assert node.fails(-32602, "packet.explain", port="a", src="10.0.0.1", dst="10.0.0.2", dport=80, tcp_flags=flags
                          ).field == "tcp_flags"
    for flags in ("S", "SEC"):
        assert leaves(ask(node, dst="10.0.0.2", dport=80, tcp_flags=flags))[TCP].flags == flags


def test_neighbour_that_is_waited_for_is_named(node):
    node.call("port.add", name="up2", kind="ring", role="uplink", addresses=["198.51.100.1/24", "2001:db8:2::1/64"])
    for src, dst in (("10.0.0.1", "198.51.100.7"), ("fd00::1", "2001:db8:2::7")):
        if ":" in src:
            node.call("port.add", name="v6", kind="ring")
            node.call("endpoint.add", id="v6", port="v6", addresses=[src])
        answer = ask(node, port="v6" if ":" in src else "a", src=src, dst=dst, dport=80)
        assert answer["verdict"] == "hold"
        assert answer["neighbour"] == {"address": dst, "port": "up2", "state": "unknown"}
    node.call("tunnel.add", name="t", type="vxlan", remote="198.51.100.9", local="198.51.100.1", vni=5,
              remote_mac="02:00:00:00:00:02")
    node.call("route.add", prefix="10.8.0.0/16", tunnel="t")
    answer = ask(node, dst="10.8.0.5", dport=80)
    assert (answer["verdict"], answer["tunnel"], answer["tunnel_end"]) == ("hold", "t", "198.51.100.9")
    assert answer["neighbour"]["address"] == "198.51.100.9" and answer["neighbour"]["port"] == "up2"


def test_address_that_is_spoofed_is_named(node):
    node.call("tunnel.add", name="t", type="vxlan", remote="192.0.2.254", vni=5, remote_mac="02:00:00:00:00:02")
    node.call("route.add", prefix="10.8.0.0/16", tunnel="t")

    def says(**how):
        answer = ask(node, **{"dst": "10.0.0.2", "dport": 80, **how})
        assert answer["reason"] == "ip_src_spoofed", answer
        return layer(answer, "admit")[0]["says"]

    assert says(src="10.0.0.9") == "source 10.0.0.9 is none of port a, which has 10.0.0.1"
    assert says(src="10.0.0.2") == "source 10.0.0.2 is the address of endpoint b, which is not there"
    assert says(port="up", src="10.0.0.1") == "source 10.0.0.1 is the address of endpoint a, which is not there"
    assert says(port="up", src="10.8.0.7") == "source 10.8.0.7 is behind a tunnel and comes from the wire"
    assert says(port="up", tunnel="t", src="10.9.0.7") == "source 10.9.0.7 has no route into tunnel t"
    answer = ask(node, dst="10.0.0.2", dport=80, src_mac="02:00:00:00:00:77")
    assert answer["reason"] == "eth_src_spoofed" and "02:00:00:00:00:77 is not 0a:58:0a:00:00:01" in json.dumps(answer)
    frame = bytes(Ether(src="0a:58:0a:00:00:01", dst="02:00:00:00:00:99") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP())
    answer = node.call("packet.explain", port="a", frame=frame.hex())
    assert "destination MAC 02:00:00:00:00:99 is not leatd's" in answer["says"]


def test_limits_are_known(node):
    node.call("port.add", name="c", kind="ring")
    node.call("endpoint.add", id="c", port="c", addresses=["10.0.0.3"], max_new_conns_per_s=1)
    for _ in range(50):
        assert ask(node, port="c", src="10.0.0.3", dst="10.0.0.2", dport=80)["verdict"] == "forward", "asking takes nothing"
