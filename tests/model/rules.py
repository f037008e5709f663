# SPDX-License-Identifier: BSD-3-Clause
"""Sets of addresses, rules, policies: who may speak to whom.

From the Kubernetes NetworkPolicy and AdminNetworkPolicy specifications, generalised to tiers as Calico has them:
    - in a tier the bound policies by (order, name), in each the rules by priority, the older of equal ones first;
    - allow, deny, reject decide; pass leaves the tier; log goes on;
    - a tier with isolating policies that no rule decided ends with a default of theirs, the first that is not allow;
    - behind the last tier: the endpoint's own default.
"""
import functools
import ipaddress

from wire import PROTO_NUMBERS


@functools.lru_cache(maxsize=None)
def network(prefix):
    return ipaddress.ip_network(prefix)


@functools.lru_cache(maxsize=None)
def host(address):
    return ipaddress.ip_address(address)


@functools.lru_cache(maxsize=None)
def covers(prefix, address):
    net, addr = network(prefix), host(address)
    return net.version == addr.version and addr in net


class AddressSet:
    """Prefixes, each plain or an exception; the longest that covers an address decides."""

    def __init__(self, members=()):
        self.members = dict(members)  # prefix → is an exception

    def has(self, address):
        covering = [prefix for prefix in self.members if covers(prefix, address)]
        return bool(covering) and not self.members[max(covering, key=lambda p: network(p).prefixlen)]


def parse_range(text):
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def parse_icmp(text):
    kind, slash, code = text.partition("/")
    return int(kind) << 8 | int(code or 0), int(kind) << 8 | (int(code) if slash else 255)


class Rule:
    def __init__(self, params, groups, age):
        self.action, self.priority, self.age = params["action"], params.get("priority", 1000), age
        self.pool = params.get("pool")
        proto = params.get("proto")
        self.proto = None if proto is None else PROTO_NUMBERS.get(proto) or int(proto)
        self.sources = [self.peer(p, groups) for p in params.get("sources", [])]
        self.destinations = [self.peer(p, groups) for p in params.get("destinations", [])]
        self.sports = [parse_range(t) for t in params.get("sports", [])]
        self.dports = [parse_range(t) for t in params.get("dports", [])] + [parse_icmp(t) for t in params.get("icmp", [])]

    @staticmethod
    def peer(params, groups):
        if "group" in params:
            return groups[params["group"]]
        return AddressSet({params["prefix"]: False, **{p: True for p in params.get("except", [])}})

    def matches(self, t):
        def side(sets, address):
            return not sets or any(s.has(address) for s in sets)

        def ports(ranges, port):
            return not ranges or (port is not None and any(low <= port <= high for low, high in ranges))

        return (self.proto in (None, t.proto) and side(self.sources, t.src) and side(self.destinations, t.dst)
                and ports(self.sports, t.sport) and ports(self.dports, t.dport))


class RuleList:
    def __init__(self):
        self.rules = {}  # name → rule

    def matching(self, t):
        """Matching rules, first to last."""
        for rule in sorted(self.rules.values(), key=lambda r: (r.priority, r.age)):
            if rule.matches(t):
                yield rule


class Policy:
    def __init__(self, params):
        self.name, self.tier, self.order = params["name"], params.get("tier", 1000), params.get("order", 1000)
        self.default = {d: params.get(d, "next") for d in ("egress", "ingress")}
        self.lists = {d: RuleList() for d in ("egress", "ingress")}
        self.bound = set()  # endpoint ids


def tier_verdict(policies, direction, t):
    """allow, deny or reject; None: goes on in the next tier."""
    for policy in policies:
        for rule in policy.lists[direction].matching(t):
            if rule.action == "pass":
                return None
            if rule.action != "log":
                return rule.action
    defaults = [p.default[direction] for p in policies if p.default[direction] != "next"]
    return next((d for d in defaults if d != "allow"), defaults[0] if defaults else None)


def judge(policies, endpoint_default, direction, t):
    """What the policies bound to an endpoint say of tuple t: allow, deny or reject."""
    ordered = sorted(policies, key=lambda p: (p.tier, p.order, p.name))
    for tier in sorted({p.tier for p in ordered}):
        verdict = tier_verdict([p for p in ordered if p.tier == tier], direction, t)
        if verdict is not None:
            return verdict
    return endpoint_default
