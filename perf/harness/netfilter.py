# SPDX-License-Identifier: BSD-3-Clause
"""
Services as kube-proxy programs them into the kernel: iptables (KUBE-SERVICES → KUBE-SVC-* → KUBE-SEP-*, v1.28 and later: partial
syncs) and nftables (a verdict map of service addresses → service chains → endpoint chains, v1.31). Text in, command run, time out.
"""
import base64
import hashlib
import ipaddress
import os
import resource
import subprocess
import time

from . import procs

CLUSTER_CIDR = "10.244.0.0/16"
VIP_BASE = int(ipaddress.IPv4Address("10.96.0.1"))
BACKEND_BASE = int(ipaddress.IPv4Address("10.128.0.0"))
N_BACKENDS = 4
VIP_PORT, TARGET_PORT, CHANGED_PORT = 80, 8080, 8081
MEMORY_BYTES = 4 << 30  # a loader that wants more is ended: the machine is shared


def vip(i):
    return str(ipaddress.IPv4Address(VIP_BASE + i))


def backend(i, k):
    return str(ipaddress.IPv4Address(BACKEND_BASE + i * N_BACKENDS + k))


def digest(*words):
    return base64.b32encode(hashlib.sha256("".join(map(str, words)).encode()).digest()).decode()[:16]


class Loader:
    """Runs a loader of rules inside the node's namespace, its input from a file."""

    def __init__(self, netns, work):
        self.netns, self.work = netns, work
        self.n = 0
        self.started_ns = 0  # of the last run, by the clock of the probe

    def _run(self, argv, lines, seconds):
        """Seconds from the start of the program to its end: what it acknowledged is in the kernel then."""
        path = self.work.file("rules.txt")
        with open(path, "w", encoding="ascii") as f:
            f.writelines(line + "\n" for line in lines)
        log = self.work.file("loader.log")
        with open(path, "rb") as stdin, open(log, "wb") as err:
            self.started_ns = time.time_ns()
            start = time.monotonic()
            with subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns}", *argv], stdin=stdin, stdout=err, stderr=err,
                                  preexec_fn=self._limit) as child:
                try:
                    code = child.wait(seconds)
                except subprocess.TimeoutExpired as e:
                    child.kill()
                    raise procs.PerfError(f"{argv[0]}: not done after {seconds:.0f} s") from e
            took = time.monotonic() - start
        if code:
            with open(log, encoding="utf-8", errors="replace") as f:
                raise procs.PerfError(f"{argv[0]}: {code}: {f.read()[-300:].strip() or 'no word: out of memory?'}")
        return took

    @staticmethod
    def _limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.sched_setaffinity(0, {procs.SWITCH_CORE})  # the probe has the other core


class Iptables(Loader):
    name = "iptables-nft"
    tool = ["iptables-nft-restore", "--noflush"]

    @staticmethod
    def chains(i):
        return ["KUBE-SVC-" + digest("svc", i)] + ["KUBE-SEP-" + digest("sep", i, k) for k in range(N_BACKENDS)]

    def _service(self, i, port):
        svc, *seps = self.chains(i)
        yield (f'-A {svc} -m comment --comment "ns/svc-{i}:p cluster IP" -m udp -p udp -d {vip(i)}/32 --dport {VIP_PORT} '
               f"! -s {CLUSTER_CIDR} -j KUBE-MARK-MASQ")
        for k, sep in enumerate(seps):
            address = backend(i, k)
            left = N_BACKENDS - k
            chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
            yield f'-A {svc} -m comment --comment "ns/svc-{i}:p -> {address}:{port}" {chance}-j {sep}'
            yield f'-A {sep} -m comment --comment "ns/svc-{i}:p" -s {address}/32 -j KUBE-MARK-MASQ'
            yield (f'-A {sep} -m comment --comment "ns/svc-{i}:p" -m udp -p udp -j DNAT --to-destination '
                   f"{address}:{port}")

    def _portal(self, i):
        return (f'-A KUBE-SERVICES -m comment --comment "ns/svc-{i}:p cluster IP" -m udp -p udp -d {vip(i)}/32 '
                f"--dport {VIP_PORT} -j {self.chains(i)[0]}")

    def load(self, n, seconds):
        def text():
            yield "*nat"
            for chain in ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"):
                yield f":{chain} - [0:0]"
            for i in range(n):
                yield from (f":{c} - [0:0]" for c in self.chains(i))
            yield '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
            yield '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'
            yield "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN"
            yield "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000"
            yield "-A KUBE-POSTROUTING -j MASQUERADE --random-fully"
            yield "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000"
            for i in range(n):
                yield self._portal(i)
                yield from self._service(i, TARGET_PORT)
            yield "COMMIT"
        self.n = n
        return self._run(self.tool, text(), seconds)

    def _sync(self, i, port, seconds):
        """A partial sync: KUBE-SERVICES in full, as kube-proxy writes it each time, and the service's own chains."""
        def text():
            yield "*nat"
            yield ":KUBE-SERVICES - [0:0]"
            yield from (f":{c} - [0:0]" for c in self.chains(i))
            yield from (self._portal(k) for k in range(self.n))
            yield from self._service(i, port)
            yield "COMMIT"
        return self._run(self.tool, text(), seconds)

    def add(self, seconds):
        self.n += 1
        return self._sync(self.n - 1, TARGET_PORT, seconds)

    def change(self, i, port, seconds):
        return self._sync(i, port, seconds)


class IptablesLegacy(Iptables):
    """The same text, loaded into the older tables of the kernel: the loader above is cubic in the number of chains."""
    name = "iptables-legacy"
    tool = ["iptables-legacy-restore", "--noflush"]


class Nftables(Loader):
    name = "nftables"
    tool = ["nft", "-f", "-"]
    CHUNK = 1000

    @staticmethod
    def chain(i):
        return f"service-{digest('svc', i)[:8]}-ns/svc-{i}/udp/p"

    @staticmethod
    def endpoints(i, port):
        return [f"endpoint-{digest('sep', i, k, port)[:8]}-ns/svc-{i}/udp/p__{backend(i, k)}/{port}" for k in range(N_BACKENDS)]

    def _service(self, i, port):
        chain, ends = self.chain(i), self.endpoints(i, port)
        for k, end in enumerate(ends):
            yield f"add chain ip kube-proxy {end}"
            yield f"add rule ip kube-proxy {end} ip saddr {backend(i, k)} jump mark-for-masquerade"
            yield f"add rule ip kube-proxy {end} meta l4proto udp dnat to {backend(i, k)}:{port}"
        yield (f"add rule ip kube-proxy {chain} ip daddr {vip(i)} udp dport {VIP_PORT} ip saddr != {CLUSTER_CIDR} "
               "jump mark-for-masquerade")
        choice = ", ".join(f"{k} : goto {end}" for k, end in enumerate(ends))
        yield f"add rule ip kube-proxy {chain} numgen random mod {N_BACKENDS} vmap {{ {choice} }}"

    def _new(self, i):
        yield f"add chain ip kube-proxy {self.chain(i)}"
        yield from self._service(i, TARGET_PORT)
        yield f"add element ip kube-proxy service-ips {{ {vip(i)} . udp . {VIP_PORT} : goto {self.chain(i)} }}"

    @staticmethod
    def _base():
        t = "ip kube-proxy"
        yield f"add table {t}"
        yield f"add map {t} service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict ; }}"
        for c in ("services", "mark-for-masquerade", "masquerading"):
            yield f"add chain {t} {c}"
        yield f"add chain {t} nat-prerouting {{ type nat hook prerouting priority dstnat ; }}"
        yield f"add chain {t} nat-postrouting {{ type nat hook postrouting priority srcnat ; }}"
        yield f"add rule {t} nat-prerouting jump services"
        yield f"add rule {t} nat-postrouting jump masquerading"
        yield f"add rule {t} mark-for-masquerade mark set mark or 0x4000"
        yield f"add rule {t} masquerading mark and 0x4000 == 0 return"
        yield f"add rule {t} masquerading mark set mark xor 0x4000"
        yield f"add rule {t} masquerading masquerade fully-random"
        yield f"add rule {t} services ip daddr . meta l4proto . th dport vmap @service-ips"

    def load(self, n, seconds):
        """In transactions of CHUNK services: in one of many the kernel's look-ups of its own new sets are quadratic. Ends with as many
        as were there after `seconds`."""
        took = self._run(self.tool, self._base(), seconds)
        self.n = 0
        while self.n < n and took < seconds:
            chunk = range(self.n, min(n, self.n + self.CHUNK))
            took += self._run(self.tool, (line for i in chunk for line in self._new(i)), seconds)
            self.n = chunk.stop
        return took

    def add(self, seconds):
        self.n += 1
        return self._run(self.tool, self._new(self.n - 1), seconds)

    def change(self, i, port, seconds):
        """New endpoint chains, then the service's chain written anew, in one transaction."""
        def text():
            yield f"flush chain ip kube-proxy {self.chain(i)}"
            yield from self._service(i, port)
        return self._run(self.tool, text(), seconds)


class NoRules(Loader):
    """The floor: routing and connection tracking, no address is translated."""
    name = "no-rules"

    def load(self, n, seconds):
        del n
        return self._run(["nft", "-f", "-"], [
            "add table ip floor", "add chain ip floor c { type filter hook prerouting priority 0 ; }",
            "add rule ip floor c ct state invalid drop"], seconds)


KINDS = {k.name: k for k in (NoRules, Nftables, IptablesLegacy, Iptables)}
