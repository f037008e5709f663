# SPDX-License-Identifier: BSD-3-Clause
"""What a leat node does with a packet: slow, obvious, and written from the specifications (Kubernetes Service and NetworkPolicy
semantics, RFC 4787, 5382, 5508 for NAT, docs/services.md for the choice of backends), not from the C code.

    node = Node(); node.command("port.add", {...})      # the packet harness's commands, with the same parameters
    for outcome in node.meet(frame, seen): ...          # `seen`: what frames that left show of choices that are free

Every packet is judged from scratch: there is no flow cache to be wrong. A connection holds what may not change while it lives.
"""
import ipaddress
import itertools

import wire
from fragments import Datagrams
from rules import AddressSet, Policy, Rule, RuleList, covers, network
from services import Service
from values import GATEWAY_MAC, Drop, Endpoint, Outcome, Path, Pool, Port, Tunnel
from walk import Walk


def network_of(address):
    return ipaddress.ip_interface(address).network


class Node:
    def __init__(self):
        self.ports, self.endpoints, self.neighbours, self.tunnels, self.routes = {}, {}, {}, {}, {}
        self.services, self.groups, self.policies, self.endpoint_defaults = {}, {}, {}, {}
        self.pools, self.snat_lists, self.pairs = {}, {}, {}
        self.departed = {}  # (zone, address) → prefix length of the route that covered it, when
        self.failsafe = {"ingress": set(), "egress": set()}
        self.is_per_connection = False
        self.pool_clients = {}  # (addresses, client) → address that it has
        self.flows = {}  # key → (connection, is reply)
        self.datagrams = Datagrams()
        self.now_s = 0.0
        self.ages = itertools.count()

    # ---- configuration: the harness's commands

    def command(self, name, params):
        getattr(self, "do_" + name.replace(".", "_"))(params)

    def do_port_add(self, p):
        self.ports[p["name"]] = Port(p["name"], p["role"], p["mac"], p.get("zone", 0))
        addresses = tuple(a.split("/")[0] for a in p.get("addresses", []))
        if addresses:
            kind = "host" if p["role"] == "host" else "self"
            self.endpoints[p["name"]] = Endpoint(p["name"], kind, p["name"], p["mac"], addresses, p.get("zone", 0))
        for a in p.get("addresses", []):
            if p["role"] == "uplink":
                self.routes[p.get("zone", 0), str(network_of(a))] = ("connected", p["name"])

    def do_endpoint_add(self, p):
        port = self.ports[p["port"]]
        self.endpoints[p["id"]] = Endpoint(p["id"], "pod", p["port"], p.get("mac", port.mac), tuple(p["addresses"]),
                                           p.get("zone", port.zone))

    def do_endpoint_del(self, p):
        gone = self.endpoints.pop(p["id"])
        for address in gone.addresses:
            self.departed[gone.zone, address] = self.prefix_of(gone.zone, address), self.now_s
        self.endpoint_defaults = {k: v for k, v in self.endpoint_defaults.items() if k[0] != p["id"]}
        for policy in self.policies.values():
            policy.bound.discard(p["id"])

    def do_neigh_add(self, p):
        self.neighbours[p["port"], p["address"]] = p["mac"]

    def do_tunnel_add(self, p):
        self.tunnels[p["name"]] = Tunnel(p["name"], p["local"], p["remote"], p["vni"], p["local_mac"], p["remote_mac"],
                                         p["port"], p.get("zone", 0), p.get("transit", False))

    def do_route_add(self, p):
        if p.get("type") in ("blackhole", "prohibit", "unreachable"):
            route = (p["type"],)
        elif "tunnel" in p:
            route = ("tunnel", p["tunnel"])
        else:
            route = ("via", p["port"], p["via"])
        self.routes[p.get("zone", 0), p["prefix"]] = route

    def do_route_del(self, p):
        del self.routes[p.get("zone", 0), p["prefix"]]

    def do_service_add(self, p):
        self.services[p["name"]] = Service(p, self.services.get(p["name"]))

    def do_service_del(self, p):
        del self.services[p["name"]]

    def do_group_add(self, p):
        self.groups[p["name"]] = AddressSet()

    def do_member_add(self, p):
        self.groups[p["group"]].members[p["prefix"]] = p.get("except", False)

    def do_member_del(self, p):
        del self.groups[p["group"]].members[p["prefix"]]

    def do_policy_add(self, p):
        self.policies[p["name"]] = Policy(p)

    def do_policy_del(self, p):
        del self.policies[p["name"]]

    def do_rule_add(self, p):
        self.policies[p["policy"]].lists[p["direction"]].rules[p["name"]] = Rule(p, self.groups, next(self.ages))

    def do_rule_del(self, p):
        for rules in self.policies[p["policy"]].lists.values():
            rules.rules.pop(p["name"], None)

    def do_policy_bind(self, p):
        self.policies[p["policy"]].bound.add(p["endpoint"])

    def do_policy_unbind(self, p):
        self.policies[p["policy"]].bound.discard(p["endpoint"])

    def do_policy_default(self, p):
        for direction in ("egress", "ingress"):
            self.endpoint_defaults[p["endpoint"], direction] = p.get(direction, "allow")

    def do_policy_mode(self, p):
        self.is_per_connection = p.get("per_connection", False)
        for direction, name in (("ingress", "failsafe_in"), ("egress", "failsafe_out")):
            self.failsafe[direction] = {(wire.PROTO_NUMBERS[proto], int(port)) for proto, port in (
                text.split(":") for text in p.get(name, []))}

    def do_pool_add(self, p):
        self.pools[p["name"]] = Pool(tuple(p["addresses"]), (p["port_min"], p["port_max"]))

    def do_snat_add(self, p):
        rules = self.snat_lists.setdefault(p.get("zone", 0), RuleList()).rules
        rules[p["name"]] = Rule({**p, "action": p.get("action", "snat")}, self.groups, next(self.ages))

    def do_snat_del(self, p):
        del self.snat_lists[p.get("zone", 0)].rules[p["name"]]

    def do_pair_add(self, p):
        self.pairs[p.get("zone", 0), p["internal"]] = p["external"]

    def do_pair_del(self, p):
        del self.pairs[p.get("zone", 0), p["internal"]]

    def do_warp(self, p):
        self.now_s += p["seconds"]

    # ---- look-ups

    def endpoint_of(self, zone, address):
        return next((e for e in self.endpoints.values() if e.zone == zone and address in e.addresses), None)

    def node_address(self, fam):
        """Of the node itself, else of leatd's uplink."""
        for kind in ("host", "self"):
            for e in self.endpoints.values():
                if e.kind == kind and e.zone == 0:
                    for address in e.addresses:
                        if wire.family(address) == fam:
                            return address
        return None

    def covering(self, zone, address):
        return [(network(prefix).prefixlen, route) for (z, prefix), route in self.routes.items()
                if z == zone and covers(prefix, address)]

    def route_of(self, zone, address):
        covering = self.covering(zone, address)
        return max(covering, key=lambda c: c[0])[1] if covering else ("none",)

    def prefix_of(self, zone, address):
        return max([length for length, _ in self.covering(zone, address)], default=0)

    def is_nobodys(self, zone, address, route, walk):
        """Whether only this node could answer for the address: out of an uplink it would come back."""
        length = self.prefix_of(zone, address)
        if any(z == zone and (e == address or i == address and length <= 3) for (z, i), e in self.pairs.items()):
            return True
        if zone in self.snat_lists and any(address in pool.addresses for pool in self.pools.values()):
            return True
        before, when = self.departed.get((zone, address), (-1, 0))
        is_fresh = walk is None or walk.source is None or self.now_s - when < 60
        return route[0] == "via" and length <= before and is_fresh

    def path_to(self, zone, address, walk=None, src=None):
        """The way to an address that is not leatd's own, for the packet of a walk with that source (None: leatd's own). Raises Drop."""
        endpoint = self.endpoint_of(zone, address)
        if endpoint is not None:
            return Path(endpoint.port, GATEWAY_MAC, endpoint.mac)
        route = self.route_of(zone, address)
        if route[0] == "none":
            raise Drop("no_route", "no_route")
        if route[0] == "blackhole":
            raise Drop("blackhole")
        if route[0] == "prohibit":
            raise Drop("prohibit", "prohibit")
        if route[0] == "unreachable":
            raise Drop("address_unused", "host")
        came = walk and self.tunnels.get(walk.frame.tunnel)
        if route[0] != "tunnel":
            hop = route[2] if route[0] == "via" else address
            if self.is_nobodys(zone, address, route, walk):
                raise Drop("address_unused", "host")
            if came and not came.is_transit and not walk.is_reply and walk.frame.quote is None:
                raise Drop("tunnel_transit", "host")
            mac = self.neighbours[route[1], hop]
            if walk and not came and (walk.port.name, walk.frame.src_mac, walk.packet.src, walk.packet.dst) == (
                    route[1], mac, src, address):
                raise Drop("route_loop", "host")
            return Path(route[1], self.ports[route[1]].mac, mac)
        tunnel = self.tunnels[route[1]]
        if came:
            raise Drop("tunnel_transit", "host")
        return Path(tunnel.port, self.ports[tunnel.port].mac, self.neighbours[tunnel.port, tunnel.remote], tunnel)

    # ---- a packet

    def meet(self, frame, seen=()):
        """What happens to the frame, and to fragments that waited for it; `seen` (of the frames that left) decides what the
        specifications leave open."""
        try:
            macs = [e.mac for e in self.endpoints.values() if e.port == frame.port]
            if self.ports[frame.port].role == "pod" and macs and frame.src_mac not in macs:
                raise Drop("eth_src_spoofed")  # no fragment of anything
            going = [frame] if frame.packet.piece is None else self.datagrams.enter(frame)
        except Drop as drop:
            return [Outcome(drops={(frame.port, drop.reason): drop.times}, labels=(drop.reason,))]
        outcomes = []
        for f in going:
            outcome = Walk(self, f, seen).outcome()
            outcome.labels += () if f is frame else ("waited",)
            for effect in outcome.effects:
                effect()
            outcomes.append(outcome)
        return outcomes

    def unlink(self, connection):
        for key in connection.keys():
            self.flows.pop(key, None)
