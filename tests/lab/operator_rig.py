# SPDX-License-Identifier: BSD-3-Clause
"""A leatd of the test's own, pods in namespaces, and leatctl as an operator uses it."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import uuid

from rig import BUILD, Netns, run
from waiting import wait_for

LEATD = os.path.join(BUILD, "control", "leatd")
LEATCTL = os.path.join(BUILD, "control", "ctl", "leatctl")
SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for _ in range(int(sys.argv[3])):
    s.send(bytes.fromhex(sys.argv[2]))
"""


def have_hugepages(mib):
    with open("/proc/meminfo", encoding="ascii") as file:
        values = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return values["HugePages_Free"] * values["Hugepagesize"] >> 10 >= mib


class Pod:
    def __init__(self, leatd, name, address, **fields):
        self.name, self.address = name, address
        self.space = Netns()
        if ":" not in address:  # only what the tests send
            self.space.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        words = [f"{key}={value}" for key, value in fields.items()]
        self.about = leatd.ctl("endpoint", "attach", f"id={name}", "kind=tap", f"netns={self.space.path}",
                               f"addresses={address}/{128 if ':' in address else 32}", *words)
        self.port, self.mac, self.gateway_mac = (self.about[key] for key in ("port", "mac", "gateway_mac"))

    def ping(self, other, count=2, check=True, wait_s=20):
        """Whether every echo came back; one lost on the way to a loaded machine is asked for again by the caller."""
        done = self.space.run("ping", "-q", "-c", str(count), "-i", "0.05", "-W", str(wait_s), other.address,
                              check=False)
        answered = f" {count} received" in done.stdout
        assert answered or not check, done.stdout + done.stderr
        return answered

    def send(self, frame, count=1):
        """Sends an Ethernet frame as it is."""
        self.space.run(sys.executable, "-c", SEND, "eth0", bytes(frame).hex(), str(count))

    def has_device(self):
        return self.space.run("ip", "link", "show", "eth0", check=False).returncode == 0

    def delete(self):
        self.space.delete()


class Leatd:
    """One instance. A context manager: purged, and its pods gone, also after a failure."""

    def __init__(self, folder, *options, is_huge=False):
        self.instance = "top-" + uuid.uuid4().hex[:8]
        self.folder = str(folder)
        self.log_path = os.path.join(self.folder, self.instance + ".log")
        self.options = ["--flows", "10000", *([] if is_huge else ["--no-huge"]), "--mbufs", "8192", *options]
        self.process = None
        self.pods = []

    @property
    def run_dir(self):
        return f"/run/leat/{self.instance}"

    @property
    def state_dir(self):
        return f"/var/lib/leat/{self.instance}"

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def start(self, *options):
        with open(self.log_path, "a", encoding="utf-8") as log:
            core = str(max(os.sched_getaffinity(0)))
            self.process = subprocess.Popen([LEATD, "--instance", self.instance, "--cores", core, *self.options,
                                             *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self.is_ready, "leatd answers", 60)
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        done = self.ctl_done("status")
        return done.returncode == 0 and json.loads(done.stdout)["ready"]

    def ctl_done(self, *words):
        return run(LEATCTL, "-i", self.instance, "--json", *words, check=False)

    def ctl(self, *words):
        """The answer of a command that succeeds."""
        done = self.ctl_done(*words)
        assert done.returncode == 0, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        assert done.stderr == "", done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *words):
        """(exit code, sentence) of a command that fails."""
        done = self.ctl_done(*words)
        assert done.returncode != 0, f"{words} succeeded: {done.stdout}"
        return done.returncode, done.stderr

    def spawn_ctl(self, *words, **kw):
        return subprocess.Popen([LEATCTL, "-i", self.instance, "--json", *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)

    def attach(self, name, address, **fields):
        pod = Pod(self, name, address, **fields)
        self.pods.append(pod)
        return pod

    def drops(self, port):
        return {item["reason"]: item["packets"] for item in self.ctl("drop", "show", port)}

    def cpu_ticks(self):
        """Time on a CPU so far, user and system."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def http_get(self, path):
        client = http.client.HTTPConnection("leatd", timeout=20)
        client.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.sock.settimeout(20)
        client.sock.connect(f"{self.run_dir}/metrics.sock")
        client.request("GET", path, headers={"Accept": "application/openmetrics-text"})
        answer = client.getresponse()
        body = answer.read().decode()
        client.close()
        return answer, body

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def purge(self):
        return run(LEATD, "--instance", self.instance, "--purge", check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.kill()
            self.purge()
            for pod in self.pods:
                pod.delete()
