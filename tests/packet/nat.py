# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of services, address translation and policies have in common."""
from conftest import A, B, EXTERNAL, GW, HOST, Node, ROUTER, UP, from_gw, ip, to_gw
from scapy.layers.l2 import Ether

VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
VIP2 = {4: "10.96.0.11", 6: "fd00:96::11"}
C = Node("c", "0a:58:0a:f4:01:04", "10.244.1.4", "fd00:1::4")
OUTSIDE = Node("up", ROUTER.mac, EXTERNAL[4], EXTERNAL[6])  # a client on the internet


def sent(node):
    """Ethernet header of what comes from the node."""
    return Ether(src=node.mac, dst=UP.mac) if node.port == "up" else to_gw(node)


def got(node):
    """Ethernet header of what goes to the node."""
    return Ether(src=UP.mac, dst=node.mac) if node.port == "up" else from_gw(node)


def pod_add(net, node=C, **more):
    net.cmd("port.add", name=node.port, role="pod", mac=node.mac)
    net.cmd("endpoint.add", id=node.port, port=node.port, addresses=[node.ip4, node.ip6], **more)


def frontend(family, kind="cluster", proto="tcp", port=80, addr=None, **more):
    entry = {"kind": kind, "proto": proto, "port": port, **more}
    if kind != "node-port":
        entry["ip"] = addr or VIP[family]
    return entry


def service(net, family, backends, kind="cluster", proto="tcp", port=80, addr=None, name="s", front=None, **more):
    """A service with one frontend; a backend is a node or a dictionary."""
    entries = [b if isinstance(b, dict) else {"ip": b.ip(family), "local": True} for b in backends]
    net.cmd("service.add", name=name, frontends=[frontend(family, kind, proto, port, addr, **(front or {}))], backends=entries,
            **more)


def goes(net, source, before, target, after, times=2, **how):
    """The IP packet from source leaves to target as the other one: judged by the layers first, by its flow then."""
    for _ in range(times):
        net.send(source.port, sent(source) / before, **how)
        net.expect(target.port, got(target) / after)


def pair(src, dst, src2, dst2, l4, l4_after=None, **fields):
    """A packet, and what it becomes on its way: other addresses, one hop less."""
    return ip(src, dst, ttl=64, **fields) / l4, ip(src2, dst2, ttl=63, **fields) / (l4_after or l4)


__all__ = ["A", "B", "C", "GW", "HOST", "OUTSIDE", "VIP", "VIP2", "frontend", "goes", "got", "pair", "pod_add", "sent", "service"]
