# SPDX-License-Identifier: BSD-3-Clause
"""
The kernel as the node: client — node — backends, three network namespaces and two veth pairs; leat-probe at both ends. The
kernel's work is done on the probe's core, within the call that sends.
"""
import json
import os
import select
import subprocess

from . import netfilter, procs
from .lab import Lab

GW_MAC, BACKENDS_MAC = "02:00:00:00:03:01", "02:00:00:00:03:02"
CLIENT_IP = "10.244.1.2"


class Probe:
    """leat-probe as an object: commands in, JSON out. See perf/gen/probe.c."""

    def __init__(self, work, ns_client, ns_backends):
        self.proc = procs.Proc("leat-probe", [
            "taskset", "-c", str(procs.GEN_CORE), os.path.join(procs.BUILD, "perf", "leat-probe"), ns_client, "c0", ns_backends,
            "b0", GW_MAC, CLIENT_IP], work.file("probe.log"), stdout=subprocess.PIPE)
        self.answer(10)

    def answer(self, seconds):
        if not select.select([self.proc.child.stdout], [], [], seconds)[0]:
            raise procs.PerfError(f"leat-probe: no answer in {seconds} s")
        answer = json.loads(self.proc.child.stdout.readline() or '{"event": "error", "error": "it ended"}')
        if answer["event"] == "error":
            raise procs.PerfError(f"leat-probe: {answer['error']}")
        return answer

    def ask(self, verb, deadline_s=60, **args):
        self.proc.write(" ".join([verb] + [f"{k}={v}" for k, v in args.items()]))
        return self.answer(deadline_s)

    def start(self, verb, **args):
        """A command that says when it began; answer() has its end."""
        return self.ask(verb, **args)


class Kernel:
    """took: seconds that loading the rules took."""

    def __init__(self, work, name, n, seconds):
        self.lab = Lab()
        client, node, backends = (self.lab.netns(n) for n in ("c", "n", "b"))
        self.lab.veth(client, "c0", node, "nc")
        self.lab.veth(node, "nb", backends, "b0")
        Lab.ip(node, f"link set nc address {GW_MAC}", "addr add 10.244.1.1/24 dev nc", "addr add 172.31.251.1/24 dev nb",
               f"neigh add 172.31.251.2 lladdr {BACKENDS_MAC} dev nb nud permanent", "route add 10.128.0.0/9 via 172.31.251.2")
        Lab.ip(backends, f"link set b0 address {BACKENDS_MAC}")
        inside = ["nsenter", f"--net=/run/netns/{node}"]
        procs.run(inside + ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                            "net.ipv4.conf.nc.rp_filter=0"])
        # behind the probe's socket nothing may cost: what arrives is dropped before IP looks at it
        procs.run(["nsenter", f"--net=/run/netns/{backends}", "nft",
                   "add table netdev sink; add chain netdev sink c { type filter hook ingress device b0 priority 0; policy drop; }"])
        self.rules = netfilter.KINDS[name](node, work)
        self.name = name
        self.probe = Probe(work, client, backends)
        self.probe.proc.prefer()
        try:
            self.took = self.rules.load(n, seconds)
        except procs.PerfError:
            self.stop()
            raise

    def established(self, addresses, port, flows, seconds):
        """One direction: what the sender cannot do faster, the kernel's part within its calls, is the limit."""
        return self.probe.ask("rate", vips=",".join(addresses), port=port, flows=flows, seconds=seconds)

    def processes(self):
        return [self.probe.proc]

    def stop(self):
        self.probe.proc.stop("quit")
        self.lab.remove()
