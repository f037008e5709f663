# SPDX-License-Identifier: BSD-3-Clause
"""The tap rig (tap_rig.c) and network namespaces, for tests of ports without the daemon."""
import os
import subprocess
import uuid

from waiting import DEADLINE_S, wait_for

BUILD = os.environ.get("LEAT_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
RIG = os.path.join(BUILD, "tests", "lab", "tap_rig")


def run(*args, check=True, timeout=60):
    done = subprocess.run(args, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done


class Netns:
    def __init__(self):
        self.name = "leat-tap-" + uuid.uuid4().hex[:8]
        self.path = f"/run/netns/{self.name}"
        run("ip", "netns", "add", self.name)

    def run(self, *args, **kw):
        return run("ip", "netns", "exec", self.name, *args, **kw)

    def spawn(self, *args):
        return subprocess.Popen(["ip", "netns", "exec", self.name, *args], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def ip(self, *args, **kw):
        return run("ip", "-n", self.name, *args, **kw).stdout

    def delete(self):
        if os.path.exists(self.path):
            run("ip", "netns", "del", self.name)


class Rig:
    """One process of tap_rig. A context manager: leaves nothing behind, also after a failure."""

    def __init__(self):
        self.instance = "tap-" + uuid.uuid4().hex[:8]
        core = str(max(os.sched_getaffinity(0)))
        self.process = subprocess.Popen([RIG, self.instance, core], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        assert self.process.stdout.readline() == "ready\n"

    def command(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        answer = self.process.stdout.readline().strip()
        status, _, rest = answer.partition(" ")
        if status != "ok":
            raise RuntimeError(rest or "the rig died")
        return rest

    def add(self, name, netns, addr, ifname="eth0", mtu=1500, queues=1):
        return self.command("add", name, netns.path if netns else "-", ifname, addr, mtu, queues)

    def uplink(self, name, device, addr, mtu=1500):
        return self.command("uplink", name, device, addr, mtu)

    def stats(self, name):
        keys = ("rx_pkts", "rx_bytes", "tx_pkts", "max_len", "drops", "is_up")
        return dict(zip(keys, map(int, self.command("stats", name).split())))

    def mbufs(self):
        return tuple(map(int, self.command("mbufs").split()))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def quit(self):
        if self.process.poll() is None:
            self.process.stdin.write("quit\n")
            assert self.process.stdout.readline() == "bye\n"
            assert self.process.wait(DEADLINE_S) == 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.quit()
        else:
            self.kill()
