# SPDX-License-Identifier: BSD-3-Clause
"""
leatd with many services or rules: client pod on one vhost-user port of leat-gen; on the other an uplink behind which the backends of
scale-services are, or the pod that the policies of scale-rules protect.
"""
import json
import os
import time

from . import procs
from .generator import Generator
from .netfilter import N_BACKENDS, TARGET_PORT, VIP_BASE, VIP_PORT, backend, vip
from .peer_leat import A_IP, Leatd, LeatPvp

VIPS_MAX = 512  # that established flows are spread over
GENERATOR_LIMIT = 0.10
FLOWS_MAX = 900_000  # of an instance; one endpoint may have a third of them


def service_params(i, port):
    return {"name": f"svc-{i}", "frontends": [{"kind": "cluster", "ip": vip(i), "proto": "udp", "port": VIP_PORT}],
            "backends": [{"ip": backend(i, k), "port": port} for k in range(N_BACKENDS)]}


class Services:
    """What netfilter.Loader is to the kernel: calls timed from before they are sent until their answer."""

    def __init__(self, leatd, n):
        self.leatd, self.n, self.started_ns = leatd, n, 0

    def timed(self, method, **params):
        self.started_ns = time.time_ns()
        start = time.monotonic()
        self.leatd.call(method, **params)
        return time.monotonic() - start

    def add(self, seconds):
        del seconds
        self.n += 1
        return self.timed("service.add", **service_params(self.n - 1, TARGET_PORT))

    def change(self, i, port, seconds):
        del seconds
        return self.timed("service.add", replace=True, **service_params(i, port))


class Rules(Services):
    """n rules for what comes into pod b; only the last of them lets the client's packets in. acl: all in one policy; policies: ten
    in each, with groups, of which the pod has at most 20."""

    POLICY_RULES, BOUND = 10, 20

    def __init__(self, leatd, n, shape):
        super().__init__(leatd, n)
        self.per_policy = n if shape == "acl" else min(self.POLICY_RULES, n)

    def policy(self, i):
        return f"policy-{i // self.per_policy}"

    def calls(self):
        yield "group.add", {"name": "clients"}
        yield "member.add", {"group": "clients", "prefix": f"{A_IP}/32"}
        n_policies = -(-self.n // self.per_policy)
        for p in range(n_policies):
            yield "policy.add", {"name": f"policy-{p}", "ingress": "deny"}
        for g in range(min(self.n, 100)):
            yield "group.add", {"name": f"group-{g}"}
            for k in range(4):
                yield "member.add", {"group": f"group-{g}", "prefix": f"172.{16 + k}.{g}.0/28"}
        for i in range(self.n - 1):
            yield "rule.add", self.other_rule(i)
        yield "rule.add", {**self.rule(self.n - 1), "sources": [{"group": "clients"}], "dports": ["8192-16383", str(VIP_PORT)]}

    def bound(self):
        n_policies = -(-self.n // self.per_policy)
        return [f"policy-{p}" for p in range(max(0, n_policies - self.BOUND), n_policies)]

    def rule(self, i):
        return {"policy": self.policy(i), "name": f"rule-{i}", "direction": "ingress", "action": "allow", "proto": "udp",
                "priority": i}

    def other_rule(self, i):
        """Prefixes of four lengths and groups in turn, ports and ranges in turn: a mix as policies and ACLs have it."""
        if i % 4 == 3:
            source = {"group": f"group-{i % min(self.n, 100)}"}
        else:
            length = (32, 24, 20)[i % 4]
            address = (198 << 24 | 18 << 16) + (i * 4096 & 0x1ffff) | (i & 0xff if length == 32 else 0)
            source = {"prefix": "%d.%d.%d.%d/%d" % (*address.to_bytes(4, "big"), length)}
        first = 1024 + i % 30000
        return {**self.rule(i), "sources": [source], "dports": [str(first) if i % 2 else f"{first}-{first + 15}"]}

    def allow(self, port):
        """One more rule, the last of the last policy. Its name is new each time; the number of rules hardly changes."""
        rule = {**self.rule(self.n - 1), "name": f"allow-{port}", "priority": self.n, "sources": [{"group": "clients"}],
                "dports": [str(port)]}
        return self.timed("rule.add", **rule)


class LeatScale(LeatPvp):
    """Started with everything from a file; took: seconds from the start of leatd until it answers. Several can be there at once: who has
    nothing to do sleeps."""

    def __init__(self, work, scenario, calls, seconds):
        path = work.file("config.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps({"method": m, "params": p}) for m, p in calls) + "\n]\n")
        start = time.monotonic()
        leatd = Leatd(work, tag=f"-{os.path.basename(work.path)}", config=path, seconds=seconds, flows=FLOWS_MAX)
        self.took = time.monotonic() - start
        self.probe = None
        super().__init__(work, scenario, leatd)
        try:
            self.probe = Generator(work, self.sockets)
            for p in self.processes():
                p.prefer()
            self.setup(self.probe, scenario)
        except Exception:
            self.stop()
            raise

    def processes(self):
        return [self.leatd.proc, *([self.probe.proc] if self.probe else [])]

    def connections_made(self):
        return sum(w["new_conns"] for w in self.leatd.call("worker.show")["items"])

    def connections_held(self):
        """Records in use, those that were flushed and are not swept yet included."""
        return self.leatd.call("sys.status")["conns"]["v4"]["used"]

    def run(self, seconds, **flows):
        """One window of established flows, both directions."""
        self.probe.ask("flows", frame=64, **flows)
        self.probe.warm(flows["n"])
        self.reset_cycles()
        a = self.probe.ask("run", seconds=seconds)
        cycles, pkts = self.cycles()
        bad = {k: a["a"][k] + a["b"][k] for k in ("reordered", "duplicate", "misdelivered", "corrupt")}
        if any(bad.values()):
            raise procs.PerfError(f"packets that are not as they should be: {bad}")
        return {"mpps": a["mpps"], "sent": a["sent"], "arrived": a["arrived"], "cycles_per_packet": cycles / max(1, pkts),
                "generator_limited": a["refused_share"] < GENERATOR_LIMIT}

    def established(self, flows, seconds, most=VIPS_MAX):
        """Through as many of the services as there are, or `most`."""
        vips = 1 << (min(most, self.rules.n).bit_length() - 1)
        return self.run(seconds, n=flows, vips=vips, vip=vip(0), vip_stride=self.rules.n // vips, vport=VIP_PORT)

    def stop(self):
        if self.probe:
            self.probe.stop()
        super().stop()


class LeatServices(LeatScale):
    def __init__(self, work, n, seconds):
        super().__init__(work, "scale-services", (("service.add", service_params(i, TARGET_PORT)) for i in range(n)), seconds)
        self.rules = Services(self.leatd, n)


class LeatRules(LeatScale):
    def __init__(self, work, n, shape, seconds):
        rules = Rules(None, n, shape)
        super().__init__(work, "scale-rules", rules.calls(), seconds)
        self.rules = rules
        rules.leatd = self.leatd
        for policy in rules.bound():
            self.leatd.call("policy.bind", policy=policy, endpoint="b")

    def established(self, flows, seconds):
        return self.run(seconds, n=flows)
