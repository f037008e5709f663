# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces of one measurement, with names of their own, removed at the end."""
import atexit
import os

from . import procs


class Lab:
    def __init__(self):
        self.prefix = f"lp{os.getpid()}"
        self.names = []
        atexit.register(self.remove)

    def netns(self, name):
        full = f"{self.prefix}-{name}"
        procs.run(["ip", "netns", "add", full])
        self.names.append(full)
        self.ip(full, "link set lo up")
        return full

    @staticmethod
    def ip(netns, *commands):
        """ip(8) commands inside a namespace, each a string."""
        for c in commands:
            procs.run(["ip", "-n", netns, *c.split()])

    def veth(self, ns_a, dev_a, ns_b, dev_b, mtu=1500):
        self.ip(ns_a, f"link add {dev_a} mtu {mtu} type veth peer name {dev_b} mtu {mtu} netns {ns_b}",
                f"link set {dev_a} up")
        self.ip(ns_b, f"link set {dev_b} up")

    def remove(self):
        atexit.unregister(self.remove)
        for name in reversed(self.names):
            procs.run(["ip", "netns", "del", name], check=False)
        self.names = []
