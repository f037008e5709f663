# SPDX-License-Identifier: BSD-3-Clause
"""testpmd in the switch's place: io between two vhost ports, no look at the packet. The ceiling of the rig."""
import os
import re

from . import procs


class Testpmd:
    name = "testpmd"
    checks = "none: frames go from one port to the other unread"

    def __init__(self, work, mode="io"):
        self.sockets = [work.file("ta.sock"), work.file("tb.sock")]
        self.log = work.file("testpmd.log")
        vdevs = []
        for i, path in enumerate(self.sockets):
            vdevs += ["--vdev", f"net_vhost{i},iface={path},queues=1"]
        self.proc = procs.Proc("testpmd", [
            "stdbuf", "-oL", "dpdk-testpmd", "-l", f"{procs.GEN_CORE},{procs.SWITCH_CORE}", "--main-lcore", str(procs.GEN_CORE),
            "--in-memory", "--single-file-segments", "--file-prefix", f"leattp{os.getpid()}", "--socket-mem",
            "256", "--no-pci", "--no-telemetry", *vdevs, "--", "-i", "--no-lsc-interrupt", "--nb-cores=1",
            f"--forward-mode={mode}", "--record-core-cycles", f"--rxd={procs.RING}", f"--txd={procs.RING}",
            "--total-num-mbufs=16384"], self.log)
        procs.wait_for("testpmd's sockets", lambda: all(map(os.path.exists, self.sockets)))
        self.proc.write("start")
        self.n_shown = 0

    def setup(self, gen, scenario):
        """Addresses do not matter to io, only that they are there."""
        del scenario
        gen.ask("set", a_ip="10.244.1.2", b_ip="10.244.1.3", a_gw_mac="02:00:00:00:00:01",
                b_gw_mac="02:00:00:00:00:02")

    def _shown(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return re.findall(r"total cycles=(\d+) / total io packets=(\d+)", f.read())

    def reset_cycles(self):
        self.proc.write("clear fwd stats all")

    def cycles(self):
        """(busy cycles, packets) since reset_cycles()."""
        self.proc.write("show fwd stats all")
        shown = procs.wait_for("testpmd's statistics",
                               lambda: (s := self._shown()) and len(s) > self.n_shown and s, 5)
        self.n_shown = len(shown)
        return int(shown[-1][0]), int(shown[-1][1])

    def processes(self):
        return [self.proc]

    def stop(self):
        if self.proc.is_alive():
            self.proc.write("stop")
        self.proc.stop("quit")
