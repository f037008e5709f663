# SPDX-License-Identifier: BSD-3-Clause
"""A leatd of the test's own instance."""

import json
import os
import signal
import socket
import subprocess

from waiting import wait_for


def free_hugepages():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("HugePages_Free"))


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error)
        self.code = error["code"]


class Leatd:
    def __init__(self, binary, instance, log_path, *options):
        self.binary, self.instance, self.log_path = binary, instance, log_path
        self.socket = f"/run/leat/{instance}/control.sock"
        cpu = max(os.sched_getaffinity(0))
        self.args = [binary, "--instance", instance, "--cores", str(cpu), "--flows", "10000", *options]
        if free_hugepages() < 256:
            self.args.append("--no-huge")
        self.proc = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(self.args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.proc.poll() is not None or self.is_ready(), "leatd does not get ready")
        assert self.proc.poll() is None, self.log()
        return self

    def is_ready(self):
        try:
            return self.call("sys.status")["ready"]
        except OSError:
            return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()[-8000:]

    def stop(self):
        if self.proc is not None and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            self.proc.wait(20)

    def kill(self):
        self.proc.kill()
        self.proc.wait(20)

    def purge(self):
        self.stop()
        subprocess.run([self.binary, "--instance", self.instance, "--purge"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)

    def call(self, method, **params):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn:
            conn.settimeout(20)
            conn.connect(self.socket)
            conn.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            answer = json.loads(conn.makefile().readline())
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def endpoints(self):
        """Ids of the pods' endpoints."""
        items, cursor = [], {}
        while True:
            page = self.call("endpoint.list", **cursor)
            items += page["items"]
            if "next" not in page:
                return sorted(i["id"] for i in items if i.get("kind", "pod") == "pod")
            cursor = {"cursor": page["next"]}

    def n_ports(self):
        return len(self.call("port.list")["items"])
