# SPDX-License-Identifier: BSD-3-Clause
"""One packet's way through a node."""
import backends
import wire
from rules import RuleList, covers, judge
from values import ANSWER_KINDS, Connection, Drop, Key, Outcome, RuleTuple, Tuple

GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}
NODE_PORTS = (49152, 65535)  # RFC 6335 s. 6: dynamic ports
REMAP_PORTS = (1024, 65535)
PORT_TRIES = 1024
ICMP_ERRORS = {"ttl": ((11, 0), (3, 0)), "no_route": ((3, 0), (1, 0)), "prohibit": ((3, 13), (1, 1)), "port": ((3, 3), (1, 4)),
               "host": ((3, 1), (1, 3))}


class Walk:
    """One packet's way through the node."""

    def __init__(self, node, frame, seen):
        self.node, self.frame = node, frame
        self.all_seen, self.seen = seen, next((s for s in seen if s.sport is not None), None)
        self.packet, self.port = frame.packet, node.ports[frame.port]
        self.zone = node.tunnels[frame.tunnel].zone if frame.tunnel else self.port.zone
        self.result = Outcome()
        self.is_from_outside = self.port.role == "uplink"
        self.keeps_ttl = self.port.role == "host"
        self.connection, self.is_reply, self.unlinked = None, False, None
        self.ended = None  # a connection that is over, and gives way when this packet makes a new one
        self.source, self.destination = None, None  # endpoints of this node
        self.service, self.backend, self.intent = None, None, None

    def outcome(self):
        if self.packet.piece is not None:
            self.label("fragment", "later-fragment" if self.packet.piece.offset else "first-fragment")
        self.label(wire.PROTO_NAMES[self.packet.proto], *(["zone"] if self.zone else []))
        try:
            self.run()
        except Drop as drop:
            self.drop(drop)
        return self.result

    def label(self, *names):
        self.result.labels += names

    def is_later_piece(self):
        return self.packet.piece is not None and self.packet.piece.offset > 0

    def kind(self):
        return self.packet.kind()

    def run(self):
        p = self.packet
        if self.frame.quote is not None:
            self.related()
            return
        self.connection, self.is_reply = self.node.flows.get(
            Key(self.zone, p.proto, self.kind(), Tuple(p.src, p.sport, p.dst, p.dport)), (None, False))
        self.admit()
        self.refuse_land()
        if self.connection is not None and self.connection.is_over() and p.is_opening():
            self.label("anew", *(["anew-reverse"] if self.is_reply else []))
            self.ended, self.connection, self.is_reply = self.connection, None, False
        connection = self.connection
        if connection is not None and (not self.is_reply or connection.is_half_open()) and not self.binding_holds():
            if self.is_reply:
                if self.is_unbound():
                    self.result.effects.append(lambda: self.node.unlink(connection))
                raise Drop("service_backend_gone")
            if p.proto != wire.TCP or self.is_unbound():
                self.rebind()
            elif self.does_reset(connection):
                self.reset_both(connection)
                return
        if self.connection is None:
            self.first()
        else:
            self.again()

    def rebind(self):
        """The connection ends, and its packet is the first of a new one."""
        connection = self.connection
        self.label("rebind")
        self.unlinked = connection
        self.result.effects.append(lambda: self.node.unlink(connection))
        self.connection = None

    def is_retry(self):
        """Asks once more for a connection: nothing binds it yet."""
        c = self.connection
        return c is not None and c.is_half_open() and not self.is_reply and self.packet.is_opening()

    def is_unbound(self):
        """TCP: not answered yet, or asked for once more."""
        c = self.connection
        return c.state == "syn_sent" or self.is_retry() or (c.proto != wire.TCP and c.is_half_open())

    # -- admit

    def admit(self):
        owner = self.node.endpoint_of(self.zone, self.packet.src)
        if self.port.role == "pod":
            if not any(e.port == self.port.name for e in self.node.endpoints.values()):
                raise Drop("port_no_endpoint")
            if owner is None or owner.port != self.port.name:
                raise Drop("ip_src_spoofed")
            if owner.mac != self.frame.src_mac:
                raise Drop("eth_src_spoofed")
            self.source = owner
        elif self.port.role == "uplink":
            if owner is not None:
                raise Drop("ip_src_spoofed")
            if self.frame.quote is None:
                route = self.node.route_of(self.zone, self.packet.src)
                tunnel = self.node.tunnels[self.frame.tunnel] if self.frame.tunnel else None
                if (self.node.tunnels[route[1]].remote if route[0] == "tunnel" else None) != (tunnel and tunnel.remote):
                    raise Drop("ip_src_spoofed")
        else:
            self.source = next(e for e in self.node.endpoints.values() if e.kind == "host" and e.port == self.port.name)

    def refuse_land(self):
        if self.packet.src == self.packet.dst:
            raise Drop("ip_land")

    def set_destination(self, address):
        """leat is the wire of the node's own stack, not a hop."""
        self.destination = self.node.endpoint_of(self.zone, address)
        self.keeps_ttl |= self.destination is not None and self.destination.kind == "host"

    # -- connections

    def first(self):
        """The first packet of a connection: everything is chosen."""
        p = self.packet
        client = Tuple(p.src, p.sport, p.dst, p.dport)
        dnat = self.destination_nat(client)
        self.must_begin()
        self.set_destination(dnat.dst)
        if self.destination is not None and self.destination.kind == "self":
            self.for_leatd()
            return
        path = self.node.path_to(self.zone, dnat.dst, self, dnat.src)
        rule_tuple = self.rule_tuple(dnat)
        self.police(rule_tuple, self.source, self.destination, self.intent == "hairpin")
        final = self.source_nat(dnat, path, rule_tuple)
        if final == client:
            self.label("plain")
        connection = Connection(self.zone, p.proto, self.kind(), client, dnat, final, rule_tuple, self.service, self.backend,
                                self.intent == "hairpin", self.service is not None and self.node.services[self.service].does_reset,
                                self.first_state(), self.result.labels)

        def make():
            if self.ended is not None:
                self.node.unlink(self.ended)
            for is_reply, key in enumerate(connection.keys()):
                self.node.flows[key] = (connection, bool(is_reply))

        self.forward(final, path)
        self.result.effects.append(make)

    def must_begin(self):
        """What answers or ends something makes no connection."""
        p = self.packet
        if p.kind() == "echo-answer":
            raise Drop("icmp_unmatched")
        if p.has_handshake() and not p.is_opening() and p.meaning() & (wire.SYN | wire.FIN | wire.RST):
            raise Drop("no_connection")
        if self.is_from_server() and not (p.proto == wire.TCP and p.is_opening()):
            raise Drop("no_connection")

    def is_from_server(self):
        """TCP or SCTP from where a backend serves."""
        p = self.packet
        return p.has_handshake() and any(
            (b.ip, f.target_port or b.port or (f.port if f.port == f.port_end else None)) == (p.src, p.sport)
            for s in self.node.services.values() if s.zone == self.zone for f in s.frontends if f.proto == p.proto
            for b in s.backends.values())

    def again(self):
        """A later packet: key and translation stay, whether it may pass and how it leaves is judged again."""
        c = self.connection
        to = c.client.reverse() if self.is_reply else c.final
        self.label("reply" if self.is_reply else "later", *c.labels)
        self.set_destination(to.dst)
        path = self.node.path_to(self.zone, to.dst, self, to.src)
        is_crossing = self.is_reply and self.packet.is_opening()
        if is_crossing or not self.node.is_per_connection or c.state in ("new", "syn_sent", "syn_recv"):
            source, destination = (self.destination, self.source) if self.is_reply else (self.source, self.destination)
            self.police(c.rule_tuple, source, destination, c.is_hairpin)
        if is_crossing:
            self.label("crossing")
            self.police(self.rule_tuple(to._replace(src=self.packet.src, sport=self.packet.sport)), self.source, self.destination, c.is_hairpin)
        if self.is_retry() and not self.source_holds(path):
            self.rebind()
            self.first()
            return
        self.forward(to, path)
        self.result.effects.append(lambda: self.track(c))

    def first_state(self):
        if not self.packet.has_handshake():
            return "new"
        return "syn_sent" if self.packet.is_opening() else "established"

    def track(self, c):
        """Liberal, but what the opener sends does not answer its own SYN, and who resets does not take it back."""
        flags = self.packet.meaning()
        if not self.packet.has_handshake():
            c.state = "replied" if self.is_reply else c.state
        elif flags & wire.RST:
            c.resets.add(self.is_reply)
            c.state = "closed"
        elif c.state == "syn_sent":
            c.state = "syn_recv" if self.is_reply and flags & wire.SYN else c.state
        elif not flags & wire.SYN and not (c.state == "closed" and self.is_reply in c.resets):
            c.resets.clear()
            if flags & wire.FIN:
                c.fins.add(self.is_reply)
            if flags & wire.FIN or c.state in ("syn_recv", "closed"):
                c.state = ("established", "fin_wait", "time_wait")[len(c.fins)]

    def binding_holds(self):
        c = self.connection
        if c.service is None:
            # Open before its destination became a service's: kube-proxy ends such UDP flows too, TCP goes on.
            is_late = c.client.dst == c.final.dst and self.frontend_of(c.client) is not None
            return self.is_reply or not is_late or (self.packet.proto == wire.TCP and not self.is_retry())
        found = self.frontend_of(c.client)
        if self.is_retry() and (found is None or found[0].name != c.service):
            return found is not None and found[0].holds(c.backend, c.client, c.dnat, found[1])
        return any(service.holds(c.backend, c.client, c.dnat, found[1] if found and found[0] is service else None) for service in (
            self.node.services.get(c.service), found and found[0]) if service is not None)

    def does_reset(self, c):
        """The service that has the frontend now says it; without one, what the connection's own said in the beginning."""
        found = self.frontend_of(c.client)
        return found[0].does_reset if found else c.does_reset

    # -- services

    def destination_nat(self, client):
        internal = next((i for (zone, i), e in self.node.pairs.items() if zone == self.zone and e == client.dst), None)
        if internal is not None:
            self.label("pair-in")
            if (self.zone, client.src) in self.node.pairs:
                self.label("pair-to-pair")
                self.intent = "pair"
            return client._replace(dst=internal)
        found = self.frontend_of(client)
        if found is not None:
            return self.serve(*found, client)
        owner = self.node.endpoint_of(self.zone, client.dst)
        is_vip = any(f.ip == client.dst and f.kind in ("cluster", "external") for s in self.node.services.values()
                     if s.zone == self.zone for f in s.frontends)
        if is_vip and owner is None:
            raise Drop("service_no_port", "port", True)
        return client

    def frontend_of(self, client):
        """(service, frontend), or None."""
        owner = self.node.endpoint_of(self.zone, client.dst)
        is_node = owner is not None and owner.kind != "pod"
        return next(((s, f) for s in self.node.services.values() if s.zone == self.zone
                     for f in s.frontends if f.matches(self.packet, is_node)), None)

    def serve(self, service, frontend, client):
        ranges = service.source_ranges
        if frontend.kind == "external" and ranges and not any(covers(r, client.src) for r in ranges):
            raise Drop("service_source_refused")
        is_local_only = service.is_local_only(frontend, self.is_from_outside)
        backend = self.pick(service, is_local_only, client)
        if backend is None:
            is_silent = not service.does_reject or (is_local_only and frontend.kind != "cluster")
            raise Drop("service_no_backend", None if is_silent else "port", not is_silent)
        self.service, self.backend = service.name, backend.key()
        self.label(frontend.kind)
        self.intent = self.intent_of((service, frontend), client.src, backend.ip)
        return client._replace(dst=backend.ip, dport=frontend.target_port or backend.port or client.dport)

    def intent_of(self, found, source, target):
        """Whether the node has to stand in for the client of (service, frontend)."""
        if source == target:
            return "hairpin"
        if found is not None and found[1].kind in ("external", "node-port") and self.is_from_outside:
            return None if found[0].is_external_local else "masquerade"
        return None

    def pick(self, service, is_local_only, client):
        usable = service.usable(wire.family(client.src), is_local_only)
        if not usable:
            return None
        known, when = service.affinity.get(client.src, (None, 0))
        backend = next((b for b in usable if b.key() == known), None)
        if not service.affinity_s or backend is None or self.node.now_s - when > service.affinity_s:
            backend = backends.choose(service, usable, is_local_only, self.packet.proto, client)
        if service.affinity_s:
            key, now = backend.key(), self.node.now_s
            self.result.effects.append(lambda: service.affinity.update({client.src: (key, now)}))
        return backend

    # -- policy

    def rule_tuple(self, t):
        p = self.packet
        if p.is_echo():
            return RuleTuple(p.proto, t.src, t.dst, None, wire.ECHO_REQUEST[p.family()] << 8)
        if p.icmp is not None:
            return RuleTuple(p.proto, t.src, t.dst, None, p.icmp[0] << 8 | p.icmp[1])
        return RuleTuple(p.proto, t.src, t.dst, *((t.sport, t.dport) if p.has_ports() else (None, None)))

    def police(self, t, source, destination, is_hairpin):
        kinds = [e.kind if e else None for e in (source, destination)]
        if is_hairpin or sorted(map(str, kinds)) == ["host", "pod"] or (source is not None and source == destination):
            return
        for endpoint, direction in ((source, "egress"), (destination, "ingress")):
            if endpoint is None:
                continue
            if endpoint.kind == "host" and (t.proto, t.dport) in self.node.failsafe[direction]:
                continue
            bound = [p for p in self.node.policies.values() if endpoint.id in p.bound]
            default = self.node.endpoint_defaults.get((endpoint.id, direction), "allow")
            verdict = judge(bound, default, direction, t)
            if verdict == "deny":
                raise Drop("policy_denied")
            if verdict == "reject":
                raise Drop("policy_rejected", "prohibit", True)

    def source_holds(self, path):
        """Whether a connection that is not established would leave with the same address again."""
        c = self.connection
        self.intent = self.intent_of(self.frontend_of(c.client), c.client.src, c.final.dst)
        is_to_pair = any(zone == self.zone and e == c.client.dst for (zone, _), e in self.node.pairs.items())
        if is_to_pair and (self.zone, c.client.src) in self.node.pairs:
            self.intent = "pair"
        addresses = self.sources_of(c.dnat, path, c.rule_tuple)[0]
        self.intent = None
        if addresses is None:
            return c.final.src == c.client.src
        if len(addresses) > 1 and self.seen is not None:
            return self.seen.src == c.final.src
        return c.final.src in addresses

    # -- source NAT

    def source_nat(self, dnat, path, rule_tuple):
        addresses, ports, label = self.sources_of(dnat, path, rule_tuple)
        if addresses is None:
            return self.with_port(dnat, [dnat.sport], REMAP_PORTS)
        self.label(*([label] if label != "pair" else []))
        if label in ("pair", "pair-out"):
            return self.with_port(dnat._replace(src=addresses[0]), [dnat.sport], REMAP_PORTS)
        return self.with_source(dnat, addresses, ports)

    def sources_of(self, dnat, path, rule_tuple):
        """(addresses that the source may become, port range, label); addresses None: it stays."""
        fam = self.packet.family()
        if self.intent == "pair":
            return [self.node.pairs[self.zone, dnat.src]], REMAP_PORTS, "pair"
        own = [a for a in [self.node.node_address(fam)] if a]
        if self.intent is not None:
            gateway = [GATEWAY[fam]] if self.intent == "hairpin" else []
            return own or gateway, NODE_PORTS, self.intent
        leaves = path.tunnel is None and self.node.ports[path.port].role == "uplink"
        if leaves and self.source is not None and self.source.kind == "pod":
            external = self.node.pairs.get((self.zone, dnat.src))
            if external is not None:
                return [external], REMAP_PORTS, "pair-out"
            rule = next(self.node.snat_lists.get(self.zone, RuleList()).matching(rule_tuple), None)
            if rule is not None and rule.action == "snat":
                if rule.pool is None:
                    return own, NODE_PORTS, "snat"
                pool = self.node.pools[rule.pool]
                return [a for a in pool.addresses if wire.family(a) == fam], pool.ports, "snat"
        return None, REMAP_PORTS, None

    def with_source(self, t, addresses, ports):
        """One of the addresses, and a port of the range: the client's own if it may be, else any that is free."""
        if not addresses:
            raise Drop("nat_no_address")
        client = tuple(addresses), t.src
        # which one is not specified, but a client keeps it
        known = self.node.pool_clients.get(client)
        candidates = [known] if known else addresses
        if self.seen is not None and self.seen.src in candidates:
            address = self.seen.src
        else:  # nothing left: perhaps the one that has no port free
            address = min(candidates, key=lambda a: self.n_free(t._replace(src=a), ports))
        is_wanted = ports[0] <= t.sport <= ports[1] or self.kind() in ("echo", "l3")
        final = self.with_port(t._replace(src=address), [t.sport] if is_wanted else [], ports)
        self.result.effects.append(lambda: self.node.pool_clients.update({client: address}))
        return final

    def with_port(self, t, wanted, ports):
        if not self.keeps_ttl and self.packet.ttl <= 1:
            raise Drop("ttl_exceeded", "ttl")  # it takes no port
        for port in wanted:
            if self.is_free(self.numbered(t, port)):
                return self.numbered(t, port)
        if self.kind() == "l3":
            raise Drop("nat_exhausted")
        if self.seen is not None and ports[0] <= self.seen.sport <= ports[1] and self.is_free(self.numbered(t, self.seen.sport)):
            self.label("port-chosen")
            return self.numbered(t, self.seen.sport)
        if ports[1] - ports[0] < PORT_TRIES:
            for port in range(ports[0], ports[1] + 1):
                if self.is_free(self.numbered(t, port)):
                    return self.numbered(t, port)
            raise Drop("nat_exhausted")
        return self.numbered(t, ports[0])

    def n_free(self, t, ports):
        if self.kind() == "l3":
            return int(self.is_free(t))
        if ports[1] - ports[0] >= PORT_TRIES:
            return PORT_TRIES
        return sum(self.is_free(self.numbered(t, port)) for port in range(ports[0], ports[1] + 1))

    def numbered(self, t, port):
        return Tuple(t.src, port, t.dst, port if self.kind() == "echo" else t.dport)

    def is_free(self, t):
        kind = ANSWER_KINDS.get(self.kind(), self.kind())
        found = self.node.flows.get(Key(self.zone, self.packet.proto, kind, t.reverse()))
        return found is None or found[0] in (self.unlinked, self.ended)

    # -- ICMP errors about a connection's packets (RFC 5508 s. 4)

    def related(self):
        p, q = self.packet, self.frame.quote
        kind = {"echo": "echo-answer", "echo-answer": "echo"}.get(q.kind(), q.kind())
        quoted = Tuple(q.src, q.sport, q.dst, q.dport)
        connection, is_reply = self.node.flows.get(Key(self.zone, q.proto, kind, quoted.reverse()), (None, False))
        self.admit()
        if connection is None:
            raise Drop("icmp_unmatched")
        if self.port.role == "pod" and self.node.endpoint_of(self.zone, q.dst) is not self.source:
            raise Drop("icmp_unmatched")  # about what others say to each other
        self.refuse_land()
        # the quoted packet went the other way; so it came in as:
        sent = connection.client if is_reply else connection.final.reverse()
        src = sent.dst if p.src == q.dst else p.src
        self.set_destination(sent.src)
        path = self.node.path_to(self.zone, sent.src, self, src)
        original = q.replace(src=sent.src, sport=sent.sport, dst=sent.dst, dport=sent.dport)
        self.label("icmp-error")
        self.send(path, p.replace(src=src, dst=sent.src, data=p.data[:4] + wire.ip_bytes(original)))

    # -- the end

    def for_leatd(self):
        p = self.packet
        self.label("self")
        if self.frame.tunnel:
            raise Drop("local_proto")
        if p.icmp != (wire.ECHO_REQUEST[p.family()], 0) or p.piece is not None:
            raise Drop("local_proto", "port" if p.proto == wire.UDP else None)
        answer = p.replace(src=p.dst, dst=p.src, icmp=(wire.ECHO_REPLY[p.family()], 0), ttl=64)
        self.result.frames.append((self.port.name, wire.frame(self.frame.dst_mac, self.frame.src_mac, answer)))

    def forward(self, t, path):
        packet = self.packet.replace(src=t.src, sport=t.sport, dst=t.dst, dport=t.dport)
        self.result.delivered = (path, self.send(path, packet))

    def send(self, path, packet):
        if not self.keeps_ttl:
            if packet.ttl <= 1:
                raise Drop("ttl_exceeded", "ttl")
            packet = packet.replace(ttl=packet.ttl - 1)
        self.emit(path, packet)
        return packet

    def emit(self, path, packet):
        if path.tunnel is None:
            data = wire.frame(path.src_mac, path.dst_mac, packet)
        else:
            inner = wire.frame(path.tunnel.local_mac, path.tunnel.remote_mac, packet)
            ports = [s.outer_port for s in self.all_seen if (s.src, s.dst) == (packet.src, packet.dst)]
            port = next((p for p in ports if p >= 49152), 49152)  # a hash of the inner packet (RFC 7348 s. 5)
            fam, outer = wire.vxlan(path.tunnel, port, inner)
            data = wire.ethernet(path.src_mac, path.dst_mac, outer, fam)
        self.result.frames.append((path.port, data))

    def drop(self, drop):
        """Counted at the port where it came in; its sender may be told."""
        p = self.packet
        self.result.frames.clear()
        self.result.delivered = None
        self.result.drops[self.port.name, drop.reason] = 1
        self.label(drop.reason)
        if drop.error is None or p.icmp is not None and not p.is_echo() or self.is_later_piece():
            return  # RFC 1122 s. 3.2.2
        try:
            path = self.node.path_to(self.zone, p.src)
        except Drop:
            return
        if drop.is_refusal and p.proto == wire.TCP and (p.piece is not None or p.flags & wire.RST):
            return  # whether its checksum is right cannot be known; a reset is never answered
        if drop.is_refusal and p.proto == wire.TCP:
            self.label("rst")
            self.emit(path, reset_answer(p))
        else:
            self.label("icmp-answer")
            self.emit(path, icmp_error(drop.error, self.node.node_address(p.family()) or GATEWAY[p.family()], p))

    def reset_both(self, connection):
        """The backend is gone: client and backend are told, in each other's name, and the connection is dead."""
        p, c = self.packet, connection
        self.result.drops[self.port.name, "service_backend_gone"] = 1
        self.label("reset-both")
        onwards = p.replace(src=c.final.src, sport=c.final.sport, dst=c.final.dst, dport=c.final.dport)
        for to, reset in ((p.src, reset_answer(p)), (c.final.dst, reset_for(onwards))):
            try:
                self.emit(self.node.path_to(self.zone, to), reset)
            except Drop:
                pass  # nobody can be told there
        self.result.effects.append(lambda: self.node.unlink(connection))


def reset_answer(p):
    """The answer of a closed port (RFC 9293 s. 3.10.7.1)."""
    fields = {"flags": wire.RST, "seq": p.ack, "ack": 0}
    if not p.flags & wire.ACK:
        length = len(p.data) + bool(p.flags & wire.SYN) + bool(p.flags & wire.FIN)
        fields = {"flags": wire.RST | wire.ACK, "seq": 0, "ack": p.seq + length}
    return wire.Packet(p.dst, p.src, wire.TCP, p.dport, p.sport, ident=0, has_df=True, window=0, **fields)


def reset_for(p):
    """A reset in the name of the packet's sender, which its receiver takes for one that has everything before."""
    has_ack = p.flags & wire.ACK
    return wire.Packet(p.src, p.dst, wire.TCP, p.sport, p.dport, flags=wire.RST | has_ack, seq=p.seq + bool(
        p.flags & wire.SYN), ack=p.ack if has_ack else 0, ident=0, has_df=True, window=0)


def icmp_error(kind, source, about):
    fam = about.family()
    quote = wire.ip_bytes(about)[:548 if fam == 4 else 1232]
    return wire.Packet(source, about.src, wire.ICMP if fam == 4 else wire.ICMP6, icmp=ICMP_ERRORS[kind][fam == 6],
                       data=bytes(4) + quote, tos=0xC0 if fam == 4 else 0, ident=0, has_df=fam == 4)
