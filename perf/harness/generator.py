# SPDX-License-Identifier: BSD-3-Clause
"""leat-gen as an object: two guests on two vhost-user sockets, commands in, JSON out."""
import json
import os
import select
import subprocess

from . import procs


class Generator:
    """Two virtio-user ports a and b on core GEN_CORE."""

    def __init__(self, work, sockets, server=False):
        argv = [os.path.join(procs.BUILD, "perf", "leat-gen"), "-l", str(procs.GEN_CORE), "--in-memory",
                "--single-file-segments", "--file-prefix", f"leatgen{os.getpid()}-{os.path.basename(work.path)}", "--socket-mem", "256",
                "--no-pci", "--no-telemetry", "--log-level=lib.eal:4"]
        for i, path in enumerate(sockets):
            argv += ["--vdev", f"net_virtio_user{i},path={path},queues=1,queue_size={procs.RING},"
                     f"{procs.FEATURES}" + (",server=1" if server else "")]
        self.proc = procs.Proc("leat-gen", argv + ["--", str(procs.RING)], work.file("gen.log"),
                               stdout=subprocess.PIPE)
        self.answer(20)

    def answer(self, seconds):
        if not select.select([self.proc.child.stdout], [], [], seconds)[0]:
            raise procs.PerfError(f"leat-gen: no answer in {seconds} s\n{self.proc.tail()}")
        line = self.proc.child.stdout.readline()
        if not line:
            raise procs.PerfError(f"leat-gen ended\n{self.proc.tail()}")
        answer = json.loads(line)
        if answer["event"] == "error":
            raise procs.PerfError(f"leat-gen: {answer['error']}")
        return answer

    def ask(self, verb, deadline_s=60, **args):
        """One command and its answer."""
        self.proc.write(" ".join([verb] + [f"{k}={v}" for k, v in args.items()]))
        return self.answer(deadline_s)

    def start(self, verb, **args):
        """A command that says when it began; answer() has its end."""
        return self.ask(verb, **args)

    def warm(self, flows, pps=500000, tries=5):
        """Sends every flow both ways until each has been seen on the far side; the last counts."""
        seen = {}
        for _ in range(tries):
            seen = self.ask("warm", deadline_s=4 * flows / pps + 60, pps=pps)
            if min(seen["a_to_b"], seen["b_to_a"]) >= flows * 0.999:
                break
        return seen

    def wait_forwarding(self, seconds=15):
        """Until a packet makes it both ways; PerfError if the switch does not forward."""
        self.ask("flows", n=1, frame=64)
        procs.wait_for("a packet through the switch, both ways",
                       lambda: (s := self.ask("warm")) and s["a_to_b"] and s["b_to_a"], seconds)

    def stop(self):
        self.proc.stop("quit")
