# SPDX-License-Identifier: BSD-3-Clause
"""Random scenarios: a small node, its configuration, packets, and changes while they flow.

A scenario is a list of steps, plain values that JSON can hold, so that one can be kept, cut down and run again:

    ["cmd", name, params]      a harness command
    ["send", n, packet]        packet number n, from an end (see ENDS)
    ["again", n, changes]      the same once more, with other fields ("ack": a TCP connection that opened goes on)
    ["pieces", n, packet, pieces]   the same as fragments, (offset, length, is last) each, in the order in which they come
    ["reply", n, pieces]       whoever got packet n last answers it (in pieces if any are given)
    ["changed"]                what follows is counted as after a change
    ["error", n, is_router]    whoever got packet n last (or a router on its way) sends an ICMP error about it
"""
import random

GW = "02:1e:a7:00:00:01"
LOCAL_VTEP = "02:1e:a7:aa:aa:aa"
UP_MAC, ROUTER_MAC, HOST_MAC = "02:00:00:00:00:10", "02:00:00:00:00:fe", "02:00:00:00:00:20"
HOST = {4: "198.51.100.1", 6: "2001:db8:9::1"}
UP = {4: "192.0.2.1", 6: "2001:db8:1::1"}
ROUTER = {4: "192.0.2.254", 6: "2001:db8:1::fe"}
PODS = {name: {4: f"10.244.1.{n}", 6: f"fd00:1::{n}", "mac": f"0a:58:0a:f4:01:{n:02x}"} for n, name in enumerate("abcd", 2)}
FAR = {n: {4: [f"10.244.{n}.5", f"10.244.{n}.6"], 6: [f"fd00:{n}::5", f"fd00:{n}::6"], "mac": f"02:00:00:00:00:0{n}",
           "vtep": f"02:1e:a7:00:00:0{n}", "underlay": {4: f"192.0.2.{n}", 6: f"2001:db8:1::{n}"}} for n in (2, 3)}
ZONE = 7  # another one, with addresses of the first
ZONED = {name: {**PODS[twin], "mac": f"0a:58:07:00:00:0{n}"} for n, (name, twin) in enumerate((("y", "a"), ("z", "b")), 2)}
OUTSIDE = {4: ["203.0.113.9", "203.0.113.77", "192.88.99.5"], 6: ["2001:db8:ffff::9", "2001:db8:ffff::77", "2001:db8:fffe::5"]}
CLOSED = {4: ["203.0.113.200", "203.0.113.210"], 6: ["2001:db8:ffff::200", "2001:db8:ffff::210"]}  # blackhole, prohibit
UNROUTED = {4: "100.64.0.1", 6: "fd99::1"}
PAIR = {4: "198.18.100.3", 6: "2001:db8:100::3"}
POOL = {4: ["198.18.200.1", "198.18.200.2"], 6: ["2001:db8:200::1", "2001:db8:200::2"]}
SPORTS = [1000, 1001, 2003, 33000, 50000, 50001, 60000]
DPORTS = [53, 80, 443, 8080, 8081, 9000]
NODE_PORTS = [30080, 30053, 30443]
NARROW = [(2000, 2000), (2003, 2003), (33000, 33000), (40000, 40000), (50000, 50001)]  # pools' ports
FULL = {4: 32, 6: 128}

# end → port, source MAC, destination MAC, tunnel
ENDS = {name: (name, pod["mac"], GW, None) for name, pod in PODS.items()}
ENDS |= {"host": ("host", HOST_MAC, GW, None), "out": ("up", ROUTER_MAC, UP_MAC, None)}
ENDS |= {f"n{n}": ("up", far["vtep"], LOCAL_VTEP, f"n{n}") for n, far in FAR.items()}
ENDS |= {name: (name, pod["mac"], GW, None) for name, pod in ZONED.items()}
ENDS |= {"n2zone": ("up", FAR[2]["vtep"], LOCAL_VTEP, "n2zone")}


class World:
    """Makes one scenario. What is configured is kept, so that changes and packets can aim at it."""

    def __init__(self, seed, n_packets):
        self.rng = random.Random(seed)
        self.n_packets, self.steps = n_packets, []
        self.pods, self.has_zone = {}, self.rng.random() < 0.4
        self.services, self.policies, self.rules, self.groups, self.snat = {}, {}, {}, {}, set()
        self.pools, self.pairs, self.bindings, self.frontends, self.routes = [], {}, set(), set(), set()
        self.serial = 0

    def name(self, kind):
        self.serial += 1
        return f"{kind}{self.serial}"

    def cmd(self, command, /, **params):
        self.steps.append(["cmd", command, params])

    def some(self, items, low, high):
        return self.rng.sample(items, min(len(items), self.rng.randint(low, high)))

    # ---- the node

    def topology(self):
        rng = self.rng
        for name in list(PODS)[:rng.randint(2, 4)]:
            families = rng.choice([[4, 6]] * 4 + [[4], [6]])
            self.pods[name] = families
            self.cmd("port.add", name=name, role="pod", mac=PODS[name]["mac"])
            self.cmd("endpoint.add", id=name, port=name, addresses=[PODS[name][f] for f in families])
        self.cmd("port.add", name="up", role="uplink", mac=UP_MAC, mtu=1600, addresses=[UP[4] + "/24", UP[6] + "/64"])
        self.cmd("port.add", name="host", role="host", mac=HOST_MAC, addresses=[HOST[4], HOST[6]])
        for family in (4, 6):
            self.cmd("neigh.add", port="up", address=ROUTER[family], mac=ROUTER_MAC)
            for far in FAR.values():
                self.cmd("neigh.add", port="up", address=far["underlay"][family], mac=far["mac"])
        for n, far in FAR.items():
            underlay = 4 if n == 2 else 6
            self.cmd("tunnel.add", name=f"n{n}", local=UP[underlay], remote=far["underlay"][underlay], vni=97 + n,
                     remote_mac=far["vtep"], port="up", local_mac=LOCAL_VTEP, transit=n == 2)
            self.cmd("route.add", prefix=f"10.244.{n}.0/24", tunnel=f"n{n}")
            self.cmd("route.add", prefix=f"fd00:{n}::/64", tunnel=f"n{n}")
        for prefix, via in (("0.0.0.0/1", 4), ("128.0.0.0/1", 4), ("2000::/3", 6)):
            self.cmd("route.add", prefix=prefix, port="up", via=ROUTER[via])
        self.cmd("route.add", prefix="100.64.0.0/10", type="prohibit") if rng.random() < 0.3 else None
        for family in (4, 6):
            for address, kind in zip(CLOSED[family], ("blackhole", "prohibit")):
                self.cmd("route.add", prefix=f"{address}/{FULL[family]}", type=kind)

    def zone(self):
        """Two pods with the addresses of a and b, a tunnel, and services at addresses that the first zone's have."""
        rng = self.rng
        for name, pod in ZONED.items():
            self.cmd("port.add", name=name, role="pod", mac=pod["mac"], zone=ZONE)
            self.cmd("endpoint.add", id=name, port=name, addresses=[pod[4], pod[6]], zone=ZONE)
        self.cmd("tunnel.add", name="n2zone", local=UP[4], remote=FAR[2]["underlay"][4], vni=777, remote_mac=FAR[2]["vtep"],
                 port="up", local_mac=LOCAL_VTEP, zone=ZONE)
        for prefix in ("10.244.2.0/24", "fd00:2::/64"):
            self.cmd("route.add", prefix=prefix, tunnel="n2zone", zone=ZONE)
        for s in self.some(list(self.services.values()), 0, 2):
            frontends = [f for f in s["frontends"] if "ip" in f]
            near, far = [pod[s["family"]] for pod in ZONED.values()], FAR[2][s["family"]]
            chosen = self.some([(a, True) for a in near] + [(a, False) for a in far], 1, 3)
            if frontends:
                self.cmd("service.add", **{k: v for k, v in s.items() if k != "family"} | {
                    "name": s["name"] + "-zone", "zone": ZONE, "frontends": frontends, "backends": [
                        self.backend(*c) for c in chosen]})
        if rng.random() < 0.3:
            self.cmd("policy.default", endpoint="y", ingress=rng.choice(["deny", "reject"]))

    def pod_addresses(self, family):
        return [PODS[name][family] for name, families in self.pods.items() if family in families]

    def everyone(self, family):
        return self.pod_addresses(family) + FAR[2][family] + FAR[3][family] + OUTSIDE[family] + [HOST[family]]

    # ---- services

    def backend(self, address, is_local):
        rng = self.rng
        b = {"ip": address, "port": rng.choice([8080, 8080, 9000, 0]), "local": is_local, "weight": rng.choice([1, 1, 1, 3, 0]),
             "ready": True}
        if rng.random() < 0.25:
            b |= rng.choice([{"ready": False, "serving": True, "terminating": True}, {"ready": False, "serving": False},
                             {"ready": False, "serving": True}])
        return b

    def backends(self, family, low=0):
        chosen = self.some([(a, True) for a in self.pod_addresses(family)] * 3 + [(a, False) for a in FAR[2][family] + FAR[3][
            family]] + [(OUTSIDE[family][0], False), (HOST[family], True)], low, 4)
        return list({(b["ip"], b["port"]): b for b in (self.backend(*c) for c in chosen)}.values())

    def frontend(self, family, n):
        rng = self.rng
        kind = rng.choice(["cluster"] * 4 + ["external", "external", "node-port", "host-port"])
        f = {"kind": kind, "proto": rng.choice(["tcp", "tcp", "udp", "udp", "sctp"]), "target_port": rng.choice([0, 0, 8080])}
        if kind in ("cluster", "external"):
            cluster, external = ("10.96.0.", "198.18.0.") if family == 4 else ("fd00:96::", "2001:db8:18::")
            f |= {"ip": f"{cluster if kind == 'cluster' else external}{n}", "port": rng.choice(DPORTS)}
            if rng.random() < 0.15:
                f["port_end"] = f["port"] + rng.randint(1, 30)
        else:
            f["port"] = rng.choice(NODE_PORTS if kind == "node-port" else DPORTS)
        return f

    def claim(self, f, owner):
        """False if a frontend of another service has any of its ports."""
        keys = {(f["proto"], f.get("ip"), p, owner) for p in range(f["port"], f.get("port_end", f["port"]) + 1)}
        if any((k[:3]) in {u[:3] for u in self.frontends} for k in keys):
            return False
        self.frontends |= keys
        return True

    def service(self, name=None):
        rng = self.rng
        name = name or self.name("svc")
        family = rng.choice([4, 4, 6])
        n = rng.randint(1, 6)
        s = {"name": name, "family": family, "algorithm": rng.choice(["maglev", "maglev", "hash"]),
             "affinity_s": rng.choice([0, 0, 10800]), "internal_policy": rng.choice(["cluster"] * 4 + ["local"]),
             "external_policy": rng.choice(["cluster"] * 4 + ["local"]), "reject": rng.random() < 0.75,
             "reset": rng.random() < 0.8, "source_ranges": [], "backends": self.backends(family, rng.choice([0, 1, 1, 1]))}
        if rng.random() < 0.2:
            s["source_ranges"] = rng.choice([["203.0.113.0/28", "10.244.0.0/16"], ["2001:db8:fffe::/48"]])
        s["frontends"] = [f for f in (self.frontend(family, n) for _ in range(rng.randint(1, 3))) if self.claim(f, name)]
        return s

    def put_service(self, s):
        self.services[s["name"]] = s
        self.cmd("service.add", **{k: v for k, v in s.items() if k != "family"})

    def del_service(self, name):
        del self.services[name]
        self.frontends = {u for u in self.frontends if u[3] != name}
        self.cmd("service.del", name=name)

    # ---- groups, policies, SNAT

    def prefix(self, family):
        rng = self.rng
        address = rng.choice(self.everyone(family))
        if rng.random() < 0.6:
            return f"{address}/{FULL[family]}"
        return rng.choice({4: ["10.244.0.0/16", "10.244.1.0/24", "203.0.113.0/24", "0.0.0.0/0", "10.244.1.2/31"],
                           6: ["fd00:1::/64", "fd00::/16", "2001:db8:ffff::/48", "::/0", "fd00:1::2/127"]}[family])

    def group(self):
        name = self.name("g")
        self.groups[name] = {}
        self.cmd("group.add", name=name)
        for _ in range(self.rng.randint(0, 4)):
            self.member(name)

    def member(self, group):
        prefix = self.prefix(self.rng.choice([4, 4, 6]))
        if prefix not in self.groups[group]:
            self.groups[group][prefix] = self.rng.random() < 0.15
            self.cmd("member.add", group=group, prefix=prefix, **{"except": self.groups[group][prefix]})

    def peers(self):
        rng = self.rng
        peers = []
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            if self.groups and rng.random() < 0.4:
                peers.append({"group": rng.choice(sorted(self.groups))})
            elif rng.random() < 0.25:
                peers.append(rng.choice([{"prefix": "10.244.0.0/16", "except": ["10.244.1.3/32", "10.244.2.0/24"]},
                                         {"prefix": "fd00::/16", "except": ["fd00:1::3/128"]},
                                         {"prefix": "0.0.0.0/0", "except": ["203.0.113.0/24"]}]))
            else:
                peers.append({"prefix": self.prefix(rng.choice([4, 4, 6]))})
        return peers

    def match(self):
        rng = self.rng
        m = {"sources": self.peers(), "destinations": self.peers()}
        proto = rng.choice([None, None, "tcp", "tcp", "udp", "sctp", "icmp", "icmpv6", "47"])
        if proto is not None:
            m["proto"] = proto
        if proto in ("tcp", "udp", "sctp"):
            m["dports"] = rng.choice([[], ["8080"], ["80", "8080"], ["8000-9000"], ["1-65535"], ["53", "9000-9001"]])
            m["sports"] = rng.choice([[], [], [], ["1000-1001"], ["32768-65535"]])
        elif proto in ("icmp", "icmpv6"):
            m["icmp"] = rng.choice([[], ["8"], ["8/0"], ["128"], ["3/4"]])
        return m

    def rule(self, policy):
        rng = self.rng
        name = self.name("r")
        self.rules[name] = policy
        self.cmd("rule.add", policy=policy, name=name, direction=rng.choice(["egress", "ingress"]), priority=rng.randint(1, 6),
                 action=rng.choice(["allow"] * 6 + ["deny", "deny", "reject", "pass", "log"]), **self.match())

    def policy(self):
        rng = self.rng
        name = self.name("pol")
        self.policies[name] = True
        self.cmd("policy.add", name=name, tier=rng.choice([10, 20, 20, 30]), order=rng.randint(1, 4), **{
            d: rng.choice(["next", "next", "next", "next", "deny", "deny", "reject", "reject", "allow"]) for d in ("ingress", "egress")})
        for _ in range(rng.choice([0, 1, 2, 4, 12])):
            self.rule(name)
        for _ in range(rng.randint(0, 2)):
            self.bind(name)

    def bind(self, policy):
        endpoint = self.rng.choice(list(self.pods) + ["host"])
        if (policy, endpoint) not in self.bindings:
            self.bindings.add((policy, endpoint))
            self.cmd("policy.bind", policy=policy, endpoint=endpoint)

    def mode(self):
        rng = self.rng
        self.cmd("policy.mode", per_connection=rng.random() < 0.3, failsafe_in=rng.choice([[], ["tcp:80", "udp:53"]]),
                 failsafe_out=rng.choice([[], ["tcp:443"]]))

    def snat_rule(self):
        rng = self.rng
        name = self.name("snat")
        self.snat.add(name)
        params = {"action": rng.choice(["snat"] * 5 + ["none"]), "priority": rng.randint(1, 6), **self.match()}
        if rng.random() < 0.5:
            params = {"action": "snat", "priority": rng.randint(4, 9), "sources": [{"prefix": "10.244.0.0/16"}, {"prefix": "fd00::/16"}]}
        if params["action"] == "snat" and self.pools and rng.random() < 0.9:
            params["pool"] = rng.choice(self.pools)
        self.cmd("snat.add", name=name, **params)

    def source_nat(self):
        rng = self.rng
        if rng.random() < 0.95:
            for low, high in rng.sample(NARROW + [(1024, 65535), (49152, 65535)], rng.randint(1, 2)):
                self.pools.append(self.name("pool"))
                mixed = self.some(POOL[4] + POOL[6], 2, 4)  # most have no address for most clients
                addresses = rng.choice([POOL[4][:1], mixed] + [POOL[6][:1]] * 10)
                self.cmd("pool.add", name=self.pools[-1], addresses=addresses, port_min=low, port_max=high)
        for _ in range(rng.randint(1, 4)):
            self.snat_rule()
        for family in (4, 6):
            if rng.random() < 0.4 and self.pod_addresses(family):
                self.pairs[family] = self.pod_addresses(family)[-1]
                self.cmd("pair.add", internal=self.pairs[family], external=PAIR[family])

    def configuration(self):
        rng = self.rng
        for _ in range(rng.randint(0, 6)):
            s = self.service()
            if s["frontends"]:
                self.put_service(s)
        for _ in range(rng.randint(0, 3)):
            self.group()
        for _ in range(rng.choice([0, 0, 1, 2, 4, 8])):
            self.policy()
        if rng.random() < 0.4:
            self.cmd("policy.default", endpoint=rng.choice(list(self.pods)), ingress=rng.choice(["allow", "deny"] + ["reject"] * 4),
                     egress=rng.choice(["allow", "allow", "deny"]))
        if rng.random() < 0.4:
            self.mode()
        self.source_nat()

    # ---- changes

    def change(self):
        kinds = [self.change_service, self.change_service, self.change_service, self.change_rules, self.change_binding,
                 self.change_group, self.change_route, self.change_snat, self.mode, self.policy]
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice(kinds)()

    def change_service(self):
        rng = self.rng
        if not self.services or rng.random() < 0.15:
            s = self.service()
            if s["frontends"]:
                self.put_service(s)
            return
        s = dict(self.services[rng.choice(sorted(self.services))])
        what = rng.random()
        if what < 0.2:
            self.del_service(s["name"])
        elif what < 0.7:
            keep = [b for b in s["backends"] if rng.random() < 0.5]
            there = {(b["ip"], b["port"]) for b in keep}
            s["backends"] = keep + [b for b in self.backends(s["family"]) if (b["ip"], b["port"]) not in there]
            self.put_service(s)
        elif what < 0.8 and len(s["frontends"]) > 1:
            gone = rng.choice(s["frontends"])
            s["frontends"] = [f for f in s["frontends"] if f is not gone]
            self.frontends = {u for u in self.frontends if u[3] != s["name"]}
            assert all([self.claim(f, s["name"]) for f in s["frontends"]])
            self.put_service(s)
        else:
            s |= {"internal_policy": rng.choice(["cluster", "local"]), "external_policy": rng.choice(["cluster", "local"]),
                  "reject": rng.random() < 0.5, "source_ranges": rng.choice([[], ["203.0.113.0/28"]])}
            self.put_service(s)

    def change_rules(self):
        if self.rules and self.rng.random() < 0.5:
            name = self.rng.choice(sorted(self.rules))
            self.cmd("rule.del", policy=self.rules.pop(name), name=name)
        elif self.policies:
            self.rule(self.rng.choice(sorted(self.policies)))
        else:
            self.policy()

    def change_binding(self):
        if self.bindings and self.rng.random() < 0.5:
            policy, endpoint = self.rng.choice(sorted(self.bindings))
            self.bindings.discard((policy, endpoint))
            self.cmd("policy.unbind", policy=policy, endpoint=endpoint)
        elif self.policies:
            self.bind(self.rng.choice(sorted(self.policies)))

    def change_group(self):
        if not self.groups:
            self.group()
            return
        group = self.rng.choice(sorted(self.groups))
        if self.groups[group] and self.rng.random() < 0.5:
            prefix = self.rng.choice(sorted(self.groups[group]))
            del self.groups[group][prefix]
            self.cmd("member.del", group=group, prefix=prefix)
        else:
            self.member(group)

    def change_route(self):
        family = self.rng.choice([4, 6])
        prefix = f"{self.rng.choice(OUTSIDE[family])}/{FULL[family]}"
        if prefix in self.routes:
            self.routes.discard(prefix)
            self.cmd("route.del", prefix=prefix)
        else:
            self.routes.add(prefix)
            self.cmd("route.add", prefix=prefix, type=self.rng.choice(["blackhole", "prohibit"]))

    def change_snat(self):
        if self.snat and self.rng.random() < 0.5:
            name = self.rng.choice(sorted(self.snat))
            self.snat.discard(name)
            self.cmd("snat.del", name=name)
        else:
            self.snat_rule()

    # ---- packets

    def source(self):
        rng = self.rng
        end = rng.choice(list(self.pods) * 4 + ["host", "host", "out", "out", "out", "out", "n2", "n3"])
        if self.has_zone and rng.random() < 0.2:
            end = rng.choice(["y", "z", "n2zone"])
        family = rng.choice(self.pods[end] if end in self.pods else [4, 4, 6])
        sources = {"n2zone": FAR[2][family], **{name: [pod[family]] for name, pod in ZONED.items()}, "host": [HOST[family]], "out": OUTSIDE[family]}
        sources |= {f"n{n}": far[family] for n, far in FAR.items()}
        return end, family, rng.choice(sources[end]) if end not in self.pods else PODS[end][family]

    def target(self, family, end):
        """(proto, address, port) to send to; proto None: any."""
        rng = self.rng
        frontends = [f for s in self.services.values() for f in s["frontends"] if s["family"] == family]
        if end == "out":  # few ask for a cluster's own address from there
            frontends = [f for f in frontends if f["kind"] != "cluster" or rng.random() < 0.5]
        if frontends and rng.random() < 0.71:
            f = rng.choice(frontends)
            port = rng.choice([f["port"]] * 8 + [f.get("port_end", f["port"]), 7])
            return f["proto"], f.get("ip") or rng.choice([HOST[family], UP[family]]), port
        kind = rng.random()
        if kind < 0.03 and end != "out":
            return None, UNROUTED[family], 80
        if kind < 0.08 and end != "out":
            return None, rng.choice(CLOSED[family]), 80
        if kind < 0.24 and family in self.pairs:
            return None, PAIR[family], 80
        if kind < 0.25:
            return None, UP[family], 80
        near = self.pod_addresses(family) + [HOST[family]]
        far = FAR[2][family] + FAR[3][family]
        if end == "out":
            return None, rng.choice(near), rng.choice(DPORTS)
        if end in ZONED:
            return None, rng.choice([pod[family] for pod in ZONED.values()] + far[:3]), rng.choice(DPORTS)
        if end in ("n2", "n3", "n2zone"):
            return None, rng.choice(near + far[:1]), rng.choice(DPORTS)
        return None, rng.choice(near[:1] + [HOST[family]] + far * 7 + OUTSIDE[family] * 9 + POOL[family][:1]), rng.choice(DPORTS)

    def packet(self):
        rng = self.rng
        end, family, src = self.source()
        proto, dst, port = self.target(family, end)
        proto = proto if proto and rng.random() < 0.95 else rng.choice(["tcp", "tcp", "udp", "udp", "sctp", "echo", "gre"])
        p = {"from": end, "src": src, "dst": dst, "proto": proto, "data": rng.choice(["", "leat", "odd", "payload!" * 4])}
        if proto in ("tcp", "udp", "sctp"):
            p |= {"sport": rng.choice(SPORTS), "dport": port}
        if proto == "sctp":  # INIT, else data
            p["data"] = "\1\0\0\4" if rng.random() < 0.9 else "\0\3\0\4"
        if proto == "tcp":
            p["flags"] = 2 if rng.random() < 0.9 else 16
        if proto == "echo":
            p["sport"] = rng.choice([1, 2, 2002, 50000])
        if rng.random() < 0.08 and end != "host":
            p["src"] = rng.choice(self.everyone(family))
        elif rng.random() < 0.04 and end in self.pods:
            p["mac"] = "02:00:00:00:00:55"
        elif rng.random() < 0.04:
            p["ttl"] = 1
        return p

    def rival(self, earlier):
        """Another connection to where some of the earlier ones went: of a narrow pool, both want the same port."""
        p = {**self.rng.choice(earlier)}
        if "sport" in p:
            p["sport"] = self.rng.choice(SPORTS)
        return p

    def pieces(self):
        """96 bytes in fragments, in any order; some come twice, overlap or are missing."""
        rng = self.rng
        ends = sorted(rng.sample(range(24, 96, 8), rng.randint(1, 3))) + [96]
        pieces = [[start, end - start, end == 96] for start, end in zip([0, *ends], ends)]
        rng.shuffle(pieces)
        odd = rng.random()
        if odd < 0.1:
            pieces.insert(rng.randrange(len(pieces)), rng.choice(pieces))
        elif odd < 0.15:
            pieces.insert(rng.randrange(len(pieces)), [8 * rng.randint(0, 9), 24, False])
        elif odd < 0.2:
            pieces.pop()
        return pieces

    def traffic(self):
        """Packets, each again, answered, all of it again after a change."""
        rng, numbers = self.rng, range(self.n_packets)
        to_outside = []
        for n in numbers:
            p = self.rival(to_outside) if to_outside and rng.random() < 0.39 else self.packet()
            if p["from"] in self.pods and p["dst"] in OUTSIDE[4] + OUTSIDE[6]:
                to_outside.append(p)
            in_pieces = p["proto"] != "sctp" and rng.random() < 0.1
            self.steps += [["pieces", n, p, self.pieces()] if in_pieces else ["send", n, p], ["again", n, {}]]
            if p["proto"] != "sctp" and rng.random() < 0.05:
                self.steps.append(["pieces", n, p, self.pieces()])
        self.steps += [["reply", n, self.pieces()] if rng.random() < 0.1 else ["reply", n] for n in numbers]
        self.steps += [["back", n, "open"] for n in numbers if rng.random() < 0.1]
        self.steps += [["again", n, {"ack": True}] for n in numbers if rng.random() < 0.5]
        for n in numbers:
            if rng.random() < 0.15:
                self.steps += rng.choice([[["own", n, "reset"]], [["back", n, "reset"]], [["own", n, "end"], ["back", n, "end"]],
                                          [["back", n, "reset"], ["own", n, "end"]], [["back", n, "end"]]])
                self.steps += rng.choice([[["back", n, "open"]], [["again", n, {}]], [["reply", n]], []])
        self.steps += [["error", n, rng.random() < 0.3] for n in numbers if rng.random() < 0.4]
        self.steps.append(["changed"])
        for _ in range(rng.randint(1, 2)):
            self.change()
            self.steps += [["again", n, {"ack": True}] for n in numbers]
            self.steps += [["reply", n] for n in numbers]
            self.steps += [["error", n, False] for n in numbers if rng.random() < 0.2]


def scenario(seed, n_packets):
    world = World(seed, n_packets)
    world.topology()
    world.configuration()
    if world.has_zone:
        world.zone()
    world.traffic()
    return world.steps
