# SPDX-License-Identifier: BSD-3-Clause
"""Kernel pods behind leat, the kernel's bridge, and OVS in user space; on one node, or on two with VXLAN between."""
from . import procs
from .peer_leat import Leatd
from .peer_ovs import Ovs

NODE_IPS = ("172.31.250.1", "172.31.250.2")
OVERHEAD = 50  # VXLAN over IPv4


class Topology:
    """Namespaces of pods a and b, and of one node or two with a veth `up0` between them."""

    name = ""

    def __init__(self, scenario, lab, work, mtu):
        self.is_two = scenario == "tcp-vxlan"
        self.lab, self.work, self.mtu = lab, work, mtu
        self.pod_mtu = mtu - OVERHEAD if self.is_two else mtu
        self.ns_a, self.ns_b = lab.netns("a"), lab.netns("b")
        self.nodes = [lab.netns("n1")] + ([lab.netns("n2")] if self.is_two else [])
        self.ip_a, self.ip_b = "10.244.1.2", "10.244.2.2" if self.is_two else "10.244.1.3"
        self.pods = [(self.ns_a, self.ip_a, self.nodes[0]), (self.ns_b, self.ip_b, self.nodes[-1])]
        if self.is_two:
            lab.veth(self.nodes[0], "up0", self.nodes[1], "up0", mtu)
        try:
            self.start()
        except Exception:
            self.stop()
            raise

    def start(self):
        raise NotImplementedError

    def stop(self):
        """Processes; namespaces are the lab's."""

    def processes(self):
        return []

    def reset_cycles(self):
        """Cycle counts begin here, where the peer has any."""

    def cycles(self):
        return 0, 0


class Kernel(Topology):
    """Bridge and veth; across nodes the kernel's vxlan device in the bridge. One subnet for both pods."""

    name = "kernel"

    def start(self):
        for i, node in enumerate(self.nodes):
            self.lab.ip(node, f"link add br0 mtu {self.pod_mtu} type bridge", "link set br0 up")
            if self.is_two:
                self.lab.ip(node, f"addr add {NODE_IPS[i]}/24 dev up0",
                            f"link add vx0 mtu {self.pod_mtu} type vxlan id 1 dstport 4789 "
                            f"local {NODE_IPS[i]} remote {NODE_IPS[1 - i]} dev up0",
                            "link set vx0 master br0 up")
        for k, (pod, ip, node) in enumerate(self.pods):
            self.lab.veth(node, f"p{k}", pod, "eth0", self.pod_mtu)
            self.lab.ip(node, f"link set p{k} master br0")
            self.lab.ip(pod, f"addr add {ip}/16 dev eth0")


class LeatTcp(Topology):
    """leatd's taps; across nodes two leatd, each with an AF_PACKET uplink, VXLAN between."""

    name = "leat"

    def start(self):
        self.leatds = []
        cores = (procs.SWITCH_CORE, procs.GEN_CORE)
        for i, node in enumerate(self.nodes):
            self.leatds.append(Leatd(self.work, f"n{i}", netns=node, core=cores[i], flows=10000))
        for k, (pod, ip, _) in enumerate(self.pods):
            self.leatds[k if self.is_two else 0].call(
                "endpoint.attach", id=f"pod{k}", kind="tap", netns=f"/run/netns/{pod}", ifname="eth0",
                addresses=[f"{ip}/32"], mtu=self.pod_mtu)
        if self.is_two:
            self._connect()

    def _connect(self):
        macs = [d.call("tunnel.local")["mac"] for d in self.leatds]
        for i, d in enumerate(self.leatds):
            far = 1 - i
            d.call("port.add", name="up", kind="ethdev", role="uplink", device="net_af_packet0,iface=up0",
                   mtu=self.mtu, addresses=[f"{NODE_IPS[i]}/24"])
            d.call("tunnel.add", name="far", type="vxlan", remote=NODE_IPS[far], vni=1, remote_mac=macs[far])
            d.call("route.add", prefix=f"10.244.{far + 1}.0/24", tunnel="far")

    def processes(self):
        return [d.proc for d in self.leatds]

    def reset_cycles(self):
        self.base = [d.load() for d in self.leatds]

    def cycles(self):
        now = [d.load() for d in self.leatds]
        return (sum(n[0] - b[0] for n, b in zip(now, self.base)), sum(n[1] - b[1] for n, b in zip(now, self.base)))

    def stop(self):
        for d in getattr(self, "leatds", []):
            d.stop()


class OvsTcp(Topology):
    """OVS's userspace datapath: internal ports (taps) moved into the pods, ct() on IPv4, its own VXLAN across nodes."""

    name = "ovs"
    FLOWS = ["table=0,priority=10,ip,actions=ct(table=1)", "table=0,priority=0,actions=NORMAL",
             "table=1,priority=10,ct_state=+trk+new,ip,actions=ct(commit),NORMAL",
             "table=1,priority=10,ct_state=+trk+est,ip,actions=NORMAL", "table=1,priority=0,actions=drop"]

    def start(self):
        self.switches = []
        for i, node in enumerate(self.nodes):
            ovs = Ovs(self.work, dpdk=True, netns=node, tag=f"n{i}")
            self.switches.append(ovs)
            ovs.add_bridge("br0")
            ovs.add_flows("br0", self.FLOWS)
            if self.is_two:
                ovs.add_bridge("br-phy")
                ovs.add_flows("br-phy", ["priority=0,actions=NORMAL"])
                ovs.vsctl("set", "bridge", "br-phy", f"other_config:hwaddr=02:00:00:00:01:0{i + 1}")
                ovs.vsctl("add-port", "br-phy", "up0")
                self.lab.ip(node, f"addr add {NODE_IPS[i]}/24 dev br-phy", f"link set br-phy mtu {self.mtu} up")
                ovs.appctl("tnl/arp/set", "br-phy", NODE_IPS[1 - i], f"02:00:00:00:01:0{2 - i}")
                ovs.vsctl("add-port", "br0", "vx0", "--", "set", "Interface", "vx0", "type=vxlan",
                          f"options:remote_ip={NODE_IPS[1 - i]}", "options:key=1", "options:dst_port=4789")
        for k, (pod, ip, node) in enumerate(self.pods):
            ovs = self.switches[k if self.is_two else 0]
            if self.pod_mtu > 1500:
                # of a tap that has left its namespace OVS cannot learn the MTU and cuts frames at 1500
                self.lab.veth(node, f"p{k}", pod, "eth0", self.pod_mtu)
                ovs.vsctl("add-port", "br0", f"p{k}")
            else:
                ovs.vsctl("add-port", "br0", f"p{k}", "--", "set", "Interface", f"p{k}", "type=internal")
                self.lab.ip(node, f"link set p{k} netns {pod} name eth0")
            # what its datapath does not know: unfinished checksums and segments of the pod's stack
            procs.run(["nsenter", f"--net=/run/netns/{pod}", "ethtool", "-K", "eth0", "tx", "off", "tso", "off",
                       "gso", "off"], check=False)
            self.lab.ip(pod, f"link set eth0 mtu {self.pod_mtu} up", f"addr add {ip}/16 dev eth0")

    def processes(self):
        return [p for ovs in self.switches for p in ovs.processes()]

    def stop(self):
        for ovs in getattr(self, "switches", []):
            ovs.stop()


PEERS = {c.name: c for c in (LeatTcp, Kernel, OvsTcp)}
