# SPDX-License-Identifier: BSD-3-Clause
"""leatd as the switch: an instance of its own, configured over its control socket."""
import atexit
import json
import os
import socket

from . import procs

A_IP, B_IP, C_IP, FAR_IP = "10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.2.2"
UPLINK_IP, REMOTE_IP = "172.31.251.1", "172.31.251.2"
UPLINK_MAC, REMOTE_MAC, REMOTE_TUNNEL_MAC = "02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:02:02"
GATEWAY = "169.254.1.1"
VIP, VIP_PORT, TARGET_PORT = "10.96.0.1", 80, 8080  # pvp-service
BACKENDS = "10.128.0.0/9"  # scale-services: behind the uplink


class Client:
    """JSON-RPC, one object a line."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.lines = self.sock.makefile("r", encoding="utf-8")
        self.id = 0

    def call(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.sock.sendall((json.dumps(request) + "\n").encode())
        while True:
            answer = json.loads(self.lines.readline() or "null")
            if answer is None:
                raise procs.PerfError(f"leatd hung up during {method}")
            if answer.get("id") != self.id:
                continue
            if "error" in answer:
                raise procs.PerfError(f"leatd: {method}: {answer['error']}")
            return answer["result"]

    def close(self):
        self.lines.close()
        self.sock.close()


class Leatd:
    """One daemon. netns: name of the network namespace it lives in."""

    def __init__(self, work, tag="", netns=None, core=None, flows=1_200_000, config=None, seconds=20):
        self.instance = f"perf{os.getpid()}{tag}"
        self.exe = os.path.join(procs.BUILD, "control", "leatd")
        self.client = None
        atexit.register(self._purge)  # runs after the process was ended
        enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
        self.proc = procs.Proc("leatd", [
            *enter, self.exe, f"--instance={self.instance}", f"--cores={procs.SWITCH_CORE if core is None else core}",
            f"--flows={flows}", "--mbufs=32768", "--log-level=warn",
            *([f"--config={config}"] if config else [])], work.file(f"leatd{tag}.log"))
        path = f"/run/leat/{self.instance}/control.sock"
        try:
            self.client = procs.wait_for("leatd's control socket", lambda: self._connect(path), seconds)
        except procs.PerfError as e:
            self.stop()
            raise procs.PerfError(f"{e}\n{self.proc.tail()}") from e

    def _connect(self, path):
        if not self.proc.is_alive():
            raise procs.PerfError(f"leatd ended: {self.proc.tail()}")
        try:
            return Client(path)
        except OSError:
            return None

    def call(self, method, **params):
        return self.client.call(method, **params)

    def load(self):
        """(busy cycles, packets) of all workers since the start."""
        items = self.call("worker.show")["items"]
        return sum(w["busy_cycles"] for w in items), sum(w["packets"] for w in items)

    def drops(self):
        """{reason: packets} over all ports, for a failure's message."""
        out = {}
        for d in self.call("drop.show")["items"]:
            out[d["reason"]] = out.get(d["reason"], 0) + int(d["packets"])
        return out

    def stop(self):
        if self.client:
            self.client.close()
        self.proc.stop()
        self._purge()

    def _purge(self):
        atexit.unregister(self._purge)
        procs.run([self.exe, f"--instance={self.instance}", "--purge"], check=False)


class LeatPvp:
    """Two vhost-user pods; or one, and an uplink that carries VXLAN."""

    name = "leat"
    checks = "source MAC and address, IPv4 header checksum, connection tracking, TTL, MACs"

    def __init__(self, work, scenario="pvp-l3", leatd=None):
        self.leatd = leatd or Leatd(work)
        try:
            pod_a = self.add_pod("a", A_IP)
            if scenario in ("pvp-vxlan", "scale-services"):
                self.sockets = [pod_a["socket"], work.file("up.sock")]
                self._uplink(self.sockets[1])
                if scenario == "pvp-vxlan":
                    self._tunnel()
                else:
                    self.leatd.call("route.add", prefix=BACKENDS, via=REMOTE_IP)
            else:
                self.sockets = [pod_a["socket"], self.add_pod("b", B_IP)["socket"]]
                if scenario == "pvp-service":
                    self._service()
            self.mac_a = pod_a["mac"]
            self.inner_mac = self.leatd.call("tunnel.local")["mac"] if scenario == "pvp-vxlan" else ""
        except Exception:
            self.leatd.stop()
            raise
        self.base = (0, 0)

    def add_pod(self, name, ip):
        # 1518 bytes without FCS, as the other peers carry them, are an IP packet of 1504
        return self.leatd.call("endpoint.attach", id=name, kind="vhost-user", addresses=[f"{ip}/32"], mtu=1504,
                               vhost={"role": "server"})

    def _uplink(self, path):
        """An ethdev whose wire is a vhost-user socket: the cheapest that every peer can have."""
        call = self.leatd.call
        call("port.add", name="up", kind="ethdev", role="uplink", device=f"net_vhost0,iface={path},queues=1",
             mac=UPLINK_MAC, addresses=[f"{UPLINK_IP}/24"], descriptors=procs.RING, mtu=1600)
        call("neigh.add", port="up", address=REMOTE_IP, mac=REMOTE_MAC)

    def _service(self):
        """Both protocols of the service; what comes into pod b has to be allowed, by a group."""
        call = self.leatd.call
        call("service.add", name="web", backends=[{"ip": B_IP, "port": TARGET_PORT}],
             frontends=[{"kind": "cluster", "ip": VIP, "proto": proto, "port": VIP_PORT} for proto in ("tcp", "udp")])
        call("group.add", name="clients")
        call("member.add", group="clients", prefix=f"{A_IP}/32")
        call("policy.add", name="web", ingress="deny")
        for proto in ("tcp", "udp"):
            # the second range is for the plain packets that say whether the switch forwards at all
            call("rule.add", policy="web", name=proto, direction="ingress", action="allow", proto=proto,
                 sources=[{"group": "clients"}], dports=[str(TARGET_PORT), "8192-8255"])
        call("policy.bind", policy="web", endpoint="b")

    def _tunnel(self):
        call = self.leatd.call
        call("tunnel.add", name="far", type="vxlan", remote=REMOTE_IP, vni=1, remote_mac=REMOTE_TUNNEL_MAC)
        call("route.add", prefix="10.244.2.0/24", tunnel="far")

    def setup(self, gen, scenario):
        gen.ask("set", a_ip=A_IP, a_mac=self.mac_a)
        if scenario == "scale-services":
            gen.ask("set", b_ip=BACKENDS.split("/", maxsplit=1)[0], b_mac=REMOTE_MAC, b_gw_mac=self._up_mac())
        elif scenario == "pvp-vxlan":
            gen.ask("set", b_ip=FAR_IP, b_encap="vxlan", b_mac=REMOTE_MAC, b_gw_mac=self._up_mac(), b_vtep=REMOTE_IP,
                    vtep_far=UPLINK_IP, vni=1, inner_dst_mac=self.inner_mac)
        else:
            gen.ask("set", b_ip=B_IP, b_mac="0a:58:" + ":".join(f"{int(x):02x}" for x in B_IP.split(".")))
            procs.wait_for("ARP from leat, side b", lambda: self.arp(gen, "b"), 15)
        procs.wait_for("ARP from leat, side a", lambda: self.arp(gen, "a"), 15)

    def _up_mac(self):
        return next(p["mac"] for p in self.leatd.call("port.list")["items"] if p["name"] == "up")

    @staticmethod
    def arp(gen, side):
        try:
            return gen.ask("arp", side=side, ip=GATEWAY)
        except procs.PerfError:
            return None

    def reset_cycles(self):
        self.base = self.leatd.load()

    def cycles(self):
        now = self.leatd.load()
        return now[0] - self.base[0], now[1] - self.base[1]

    def processes(self):
        return [self.leatd.proc]

    def stop(self):
        self.leatd.stop()
