# SPDX-License-Identifier: BSD-3-Clause
"""Services: which frontend a packet asks for, and which backends may serve it (Kubernetes Service and EndpointSlice semantics)."""
from wire import PROTO_NUMBERS, family


class Frontend:
    def __init__(self, params):
        self.kind, self.ip = params.get("kind", "cluster"), params.get("ip")
        self.proto = PROTO_NUMBERS[params.get("proto", "tcp")]
        self.port = params["port"]
        self.port_end = params.get("port_end") or self.port
        self.target_port = params.get("target_port", 0)

    def matches(self, packet, is_node_address):
        is_there = is_node_address if self.ip is None else self.ip == packet.dst
        return is_there and self.proto == packet.proto and self.port <= packet.dport <= self.port_end


class Backend:
    def __init__(self, params):
        self.ip, self.port, self.weight = params["ip"], params.get("port", 0), params.get("weight", 1)
        self.is_terminating = params.get("terminating", False)
        self.is_ready = params.get("ready", True) and not self.is_terminating
        # Kubernetes: ready is serving and not terminating
        self.is_serving = params.get("serving", True) or self.is_ready
        self.is_local = params["local"]

    def key(self):
        return self.ip, self.port


class Service:
    def __init__(self, params, old=None):
        self.name, self.zone = params["name"], params.get("zone", 0)
        self.algorithm = params.get("algorithm", "maglev")
        self.affinity_s = params.get("affinity_s", 0)
        self.is_internal_local = params.get("internal_policy") == "local"
        self.is_external_local = params.get("external_policy") == "local"
        self.does_reject, self.does_reset = params.get("reject", True), params.get("reset", False)
        self.source_ranges = params.get("source_ranges", [])
        self.frontends = [Frontend(p) for p in params.get("frontends", [])]
        self.backends = {b.key(): b for b in map(Backend, params.get("backends", []))}
        self.affinity = {}  # client address → (backend key, when)
        if old is not None:
            self.affinity = {c: e for c, e in old.affinity.items() if e[0] in self.backends}

    def usable(self, fam, is_local_only):
        """Backends that new connections may get: ready ones, else those that still serve while they terminate."""
        candidates = [b for b in self.backends.values()
                      if b.weight > 0 and family(b.ip) == fam and (b.is_local or not is_local_only)]
        return [b for b in candidates if b.is_ready] or [b for b in candidates if b.is_serving and b.is_terminating]

    def holds(self, backend_key, client, dnat, frontend):
        """Whether a connection may stay where it is: on its backend, or on one that was configured anew and is the same to it: when the
        frontend chooses the port, any with the address. frontend: the service's, that its client asked for; None: another's, or none."""
        keys = [backend_key, (dnat.dst, dnat.dport)] + ([(dnat.dst, 0)] if client.dport == dnat.dport else [])
        if frontend is not None and frontend.target_port == dnat.dport:
            keys += [key for key in self.backends if key[0] == dnat.dst]
        return any(self.backends[key].is_serving for key in keys if key in self.backends)

    def is_local_only(self, frontend, is_from_outside):
        if frontend.kind == "cluster":
            return self.is_internal_local
        return frontend.kind != "host-port" and self.is_external_local and is_from_outside
