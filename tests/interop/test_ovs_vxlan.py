# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch's userspace datapath as the other VXLAN end."""
import os

import pytest

from conftest import need, run
from waiting import wait_for

VNI = 88
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Ovs:
    """ovsdb-server and ovs-vswitchd with folders of their own, in a namespace."""

    def __init__(self, space, folder):
        self.space = space
        self.dir = folder
        self.env = dict(os.environ, OVS_RUNDIR=folder, OVS_LOGDIR=folder, OVS_DBDIR=folder)
        need("ovsdb-server")
        vswitchd = need("ovs-vswitchd")
        run("ovsdb-tool", "create", f"{folder}/conf.db", SCHEMA)
        self.db = f"unix:{folder}/db.sock"
        log = open(f"{folder}/ovs.log", "w", encoding="utf-8")
        space.spawn("ovsdb-server", f"{folder}/conf.db", f"--remote=punix:{folder}/db.sock",
                    f"--unixctl={folder}/ovsdb.ctl", log=log)
        wait_for(lambda: os.path.exists(f"{folder}/db.sock"), "ovsdb-server listens")
        self.vsctl("--no-wait", "init")
        self.ctl = f"{folder}/vswitchd.ctl"
        space.spawn(vswitchd, self.db, f"--unixctl={self.ctl}", "--disable-system", log=log)
        wait_for(lambda: os.path.exists(self.ctl), "ovs-vswitchd answers")

    def vsctl(self, *args):
        return self.space.run("ovs-vsctl", f"--db={self.db}", "--timeout=20", *args, env=self.env)

    def appctl(self, *args):
        return self.space.run("ovs-appctl", "-t", self.ctl, *args, env=self.env)


@pytest.fixture
def ovs(node, tmp_path):
    folder = tmp_path / "ovs"
    folder.mkdir()
    peer = node.peer
    peer.ip("addr", "flush", "dev", "wire")
    switch = Ovs(peer, str(folder))
    # The underlay's address is on a bridge of its own; the tunnel leaves through it.
    switch.vsctl("add-br", "phy", "--", "set", "bridge", "phy", "datapath_type=netdev", "--", "add-port", "phy",
                 "wire")
    peer.ip("addr", "add", "192.0.2.2/24", "dev", "phy")
    peer.ip("link", "set", "phy", "up")
    switch.vsctl("add-br", "inner", "--", "set", "bridge", "inner", "datapath_type=netdev",
                 "other-config:hwaddr=02:00:00:00:00:99", "--", "add-port", "inner", "vx", "--", "set", "interface",
                 "vx", "type=vxlan", "options:remote_ip=192.0.2.1", f"options:key={VNI}")
    peer.ip("link", "set", "inner", "mtu", "1450", "up")
    peer.ip("addr", "add", "10.244.2.1/24", "dev", "inner")
    peer.ip("route", "add", "10.244.1.0/24", "dev", "inner")
    return switch


def test_ovs_vxlan_pings_pass_both_ways(node, ovs):
    ours = node.call("tunnel.local")["mac"]
    node.call("tunnel.add", name="peer", remote="192.0.2.2", vni=VNI, remote_mac="02:00:00:00:00:99")
    node.call("route.add", prefix="10.244.2.0/24", tunnel="peer")
    pod = node.pod("pod", "10.244.1.10/32")
    node.peer.ip("neigh", "replace", "10.244.1.10", "lladdr", ours, "dev", "inner", "nud", "permanent")
    wait_for(lambda: node.peer.ping("10.244.1.10", count=1), "the first ping")
    assert pod.ping("10.244.2.1", count=20)
    assert node.peer.ping("10.244.1.10", count=20)
    assert pod.ping("10.244.2.1", "-M", "do", "-s", "1422")
    # The bridge floods what its own port says to groups; that is not for the tunnel's MAC.
    assert set(node.drops()) <= {("uplink", "tunnel_inner_mac")}
