# SPDX-License-Identifier: BSD-3-Clause
"""
OVS-DPDK of the distribution, in private directories (never the system's service): userspace datapath, one poll thread,
vhost-user ports. Flows do what leat does for a routed pod: source check, ct(), TTL, MACs.
"""
import os
import re
import shutil

from . import needs, procs
from .peer_leat import TARGET_PORT, VIP, VIP_PORT

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
A_MAC, B_MAC, GW_MAC = "0a:58:0a:f4:01:02", "0a:58:0a:f4:01:03", "02:00:00:00:00:01"
A_IP, B_IP = "10.244.1.2", "10.244.1.3"


class Ovs:
    name = "ovs"
    checks = "source MAC and address, IPv4 header checksum, ct() with TCP windows and L4 checksum, TTL, MACs"

    def __init__(self, work, dpdk=True, netns=None, tag=""):
        self.dir = work.file(f"ovs{tag}")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.env = {k: self.dir for k in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")}
        self.db = f"unix:{self.dir}/db.sock"
        self.procs = []
        # its datapath wants a device named ovs-netdev: a network namespace keeps it apart from another OVS
        self.own_netns = ["nsenter", f"--net=/run/netns/{netns}"] if netns else ["unshare", "--net"]
        try:
            self._start(dpdk, tag)
        except Exception:
            self.stop()
            raise

    def _start(self, dpdk, tag):
        procs.run(["ovsdb-tool", "create", f"{self.dir}/conf.db", SCHEMA], self.env)
        self.procs.append(procs.Proc("ovsdb-server", [
            "ovsdb-server", f"{self.dir}/conf.db", f"--remote=p{self.db}", f"--unixctl={self.dir}/ovsdb.ctl"],
            f"{self.dir}/ovsdb.log", self.env))
        procs.wait_for("ovsdb-server", lambda: os.path.exists(f"{self.dir}/db.sock"))
        self.vsctl("--no-wait", "init")
        if dpdk:
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                       f"other_config:dpdk-lcore-mask={1 << procs.GEN_CORE:#x}",
                       f"other_config:pmd-cpu-mask={1 << procs.SWITCH_CORE:#x}",
                       "other_config:dpdk-socket-mem=1024", "other_config:userspace-tso-enable=false",
                       f"other_config:dpdk-extra=--in-memory --no-pci --no-telemetry --file-prefix=leatovs{os.getpid()}{tag}")
        self.procs.append(procs.Proc("ovs-vswitchd", [
            *self.own_netns, needs.OVS[0], self.db, f"--unixctl={self.dir}/vswitchd.ctl", f"--log-file={self.dir}/vswitchd.log"],
            f"{self.dir}/vswitchd.out", self.env))
        procs.wait_for("ovs-vswitchd", lambda: os.path.exists(f"{self.dir}/vswitchd.ctl"))

    def vsctl(self, *args):
        return procs.run(["ovs-vsctl", "--timeout=20", f"--db={self.db}", *args], self.env)

    def appctl(self, *args):
        return procs.run(["ovs-appctl", "-t", f"{self.dir}/vswitchd.ctl", *args], self.env)

    def add_flows(self, bridge, lines):
        path = f"{self.dir}/flows.txt"
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        procs.run(["ovs-ofctl", "-O", "OpenFlow13", "replace-flows", f"{self.dir}/{bridge}.mgmt", path], self.env)

    def add_bridge(self, name):
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "fail-mode=secure",
                   "protocols=OpenFlow13")

    def stop(self):
        for p in reversed(self.procs):
            p.stop()

    def processes(self):
        return self.procs

    def reset_cycles(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def cycles(self):
        """(processing cycles, packets received) of the poll thread since reset_cycles()."""
        text = self.appctl("dpif-netdev/pmd-stats-show")
        pmd = text[text.index("pmd thread"):]
        busy = re.search(r"processing cycles:\s*(\d+)", pmd)
        pkts = re.search(r"packets received:\s*(\d+)", pmd)
        return (int(busy.group(1)) if busy else 0), (int(pkts.group(1)) if pkts else 0)


class OvsPvp(Ovs):
    """Two vhost-user pods, routed with ct(); or a pod and an uplink that carries VXLAN."""

    def __init__(self, work, scenario="pvp-l3"):
        super().__init__(work)
        self.sockets = [f"{self.dir}/va", f"{self.dir}/vb"]
        try:
            self.add_bridge("br0")
            self._add_vhost("br0", "va", 1)
            if scenario == "pvp-vxlan":
                self._vxlan()
            else:
                self._add_vhost("br0", "vb", 2)
                self.add_flows("br0", self.service_flows(1, 2) if scenario == "pvp-service" else self.flows(1, 2))
        except Exception:
            self.stop()
            raise
        procs.wait_for("OVS's sockets", lambda: all(map(os.path.exists, self.sockets)))

    def _add_vhost(self, bridge, port, number):
        self.vsctl("add-port", bridge, port, "--", "set", "Interface", port, "type=dpdkvhostuser", "mtu_request=1600",
                   f"ofport_request={number}")

    @staticmethod
    def flows(a, b, a_to_b="", b_to_a=""):
        """Routing with ct between OpenFlow ports a and b, for the pods A_IP and B_IP."""
        hop = f"dec_ttl,mod_dl_src:{GW_MAC}"
        return [
            f"table=0,priority=10,in_port={a},dl_src={A_MAC},ip,nw_src={A_IP},actions=ct(table=1)",
            f"table=0,priority=10,in_port={b},ip,nw_src={B_IP},actions=ct(table=1)",
            "table=0,priority=0,actions=drop",
            f"table=1,priority=10,ct_state=+trk+new,ip,nw_dst={B_IP},"
            f"actions=ct(commit),{hop},mod_dl_dst:{B_MAC},{a_to_b}output:{b}",
            f"table=1,priority=10,ct_state=+trk+new,ip,nw_dst={A_IP},"
            f"actions=ct(commit),{hop},mod_dl_dst:{A_MAC},{b_to_a}output:{a}",
            f"table=1,priority=10,ct_state=+trk+est,ip,nw_dst={B_IP},"
            f"actions={hop},mod_dl_dst:{B_MAC},{a_to_b}output:{b}",
            f"table=1,priority=10,ct_state=+trk+est,ip,nw_dst={A_IP},"
            f"actions={hop},mod_dl_dst:{A_MAC},{b_to_a}output:{a}",
            "table=1,priority=0,actions=drop",
        ]

    @staticmethod
    def service_flows(a, b):
        """As flows(), but pod b is reached by VIP: its backend is chosen when the connection is committed, and only pod A_IP may open
        one to TARGET_PORT (and to the ports of the plain packets that say whether the switch forwards at all)."""
        hop = f"dec_ttl,mod_dl_src:{GW_MAC}"
        to_a, to_b = f"{hop},mod_dl_dst:{A_MAC},output:{a}", f"{hop},mod_dl_dst:{B_MAC},output:{b}"
        lines = [
            f"table=0,priority=10,in_port={a},dl_src={A_MAC},ip,nw_src={A_IP},actions=ct(nat,table=1)",
            f"table=0,priority=10,in_port={b},ip,nw_src={B_IP},actions=ct(nat,table=1)",
            "table=0,priority=0,actions=drop",
            f"table=1,priority=10,ct_state=+trk+est,ip,nw_dst={B_IP},actions={to_b}",
            f"table=1,priority=10,ct_state=+trk+est,ip,nw_dst={A_IP},actions={to_a}",
            f"table=1,priority=10,ct_state=+trk+new,ip,nw_dst={A_IP},actions=ct(commit),{to_a}",
            "table=1,priority=0,actions=drop",
            f"table=2,priority=10,ip,nw_src={A_IP},nw_dst={B_IP},actions={to_b}",
            "table=2,priority=0,actions=drop",
        ]
        for proto in ("tcp", "udp"):
            lines.append(f"table=1,priority=20,ct_state=+trk+new,{proto},nw_src={A_IP},nw_dst={VIP},tp_dst={VIP_PORT},"
                         f"actions=ct(commit,nat(dst={B_IP}:{TARGET_PORT}),table=2)")
            lines.append(f"table=1,priority=10,ct_state=+trk+new,{proto},nw_src={A_IP},nw_dst={B_IP},"
                         f"tp_dst=0x2000/0xffc0,actions=ct(commit),{to_b}")
        return lines

    def _vxlan(self):
        self.add_bridge("br-phy")
        self._add_vhost("br-phy", "vb", 2)
        self.vsctl("set", "bridge", "br-phy", "other_config:hwaddr=02:00:00:00:01:01")
        self.add_flows("br-phy", ["priority=0,actions=NORMAL"])
        inside = ["nsenter", f"--net=/proc/{self.procs[-1].pid}/ns/net", "ip"]
        procs.run(inside + ["addr", "add", "172.31.251.1/24", "dev", "br-phy"])
        procs.run(inside + ["link", "set", "br-phy", "up"])
        self.appctl("tnl/arp/set", "br-phy", "172.31.251.2", "02:00:00:00:01:02")
        self.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", "ofport_request=3",
                   "options:remote_ip=172.31.251.2", "options:key=1", "options:dst_port=4789")
        self.add_flows("br0", self.flows(1, 3))

    def setup(self, gen, scenario):
        gen.ask("set", a_ip=A_IP, b_ip=B_IP, a_mac=A_MAC, b_mac=B_MAC, a_gw_mac=GW_MAC, b_gw_mac=GW_MAC)
        if scenario == "pvp-vxlan":
            gen.ask("set", b_encap="vxlan", b_mac="02:00:00:00:01:02", b_gw_mac="02:00:00:00:01:01",
                    b_vtep="172.31.251.2", vtep_far="172.31.251.1", vni=1, inner_dst_mac=A_MAC)
