# SPDX-License-Identifier: BSD-3-Clause
"""A real leatd (ordinary pages, one worker), a plain JSON-RPC client, network namespaces."""
import array
import json
import os
import socket
import subprocess
import uuid

import pytest

from waiting import DEADLINE_S, wait_for

ROOT = os.environ.get("LEAT_ROOT", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("LEAT_BUILD", os.path.join(ROOT, "build"))
LEATD = os.path.join(BUILD, "control", "leatd")
LEATCTL = os.path.join(BUILD, "control", "ctl", "leatctl")


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(json.dumps(error))
        self.code = error["code"]
        self.field = error.get("data", {}).get("field")
        self.reason = error.get("data", {}).get("reason", "")


class Client:
    def __init__(self, path, timeout_s=DEADLINE_S):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout_s)
        wait_for(lambda: self.is_connected(path), "a connection")
        self.buffer = b""
        self.last_id = 0
        self.events = []

    def is_connected(self, path):
        try:
            self.sock.connect(path)
        except BlockingIOError:  # the backlog is full
            return False
        return True

    def send(self, data, fds=()):
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], rights)
            data = data[sent:]
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(1 << 16)
            if not data:
                raise ConnectionError("closed by leatd")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def request(self, method, params=None, fds=()):
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method}
        if params is not None:
            request["params"] = params
        self.send(json.dumps(request).encode() + b"\n", fds)
        return self.last_id

    def answer(self, number=None):
        while True:
            message = self.line()
            if "method" in message:
                self.events.append(message["params"])
            elif number is None or message["id"] == number:
                return message

    def call(self, method, fds=(), **params):
        message = self.answer(self.request(method, params, fds))
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    def fails(self, code, method, **params):
        with pytest.raises(RpcError) as info:
            self.call(method, **params)
        assert info.value.code == code, str(info.value)
        return info.value

    def list(self, method, **params):
        items = []
        while True:
            page = self.call(method, **params)
            items += page["items"]
            if "next" not in page:
                return items
            params["cursor"] = page["next"]

    def txn(self, calls, size=500):
        txn = self.call("txn.begin")["txn"]
        for at in range(0, len(calls), size):
            self.call("txn.add", txn=txn, calls=calls[at:at + size])
        return self.call("txn.commit", txn=txn)

    def close(self):
        self.sock.close()


class Leatd:
    def __init__(self, log_path, core=max(os.sched_getaffinity(0))):
        self.instance = "api-" + uuid.uuid4().hex[:8]
        self.core = str(core)
        self.run_dir = f"/run/leat/{self.instance}"
        self.state_dir = f"/var/lib/leat/{self.instance}"
        self.path = self.run_dir + "/control.sock"
        self.log_path = log_path
        self.process = None
        self.clients = []

    def arguments(self, *extra):
        return [LEATD, "--instance", self.instance, "--no-huge", "--mem", "300", "--mbufs", "16384", "--cores", self.core,
                *extra]

    def spawn(self, *extra):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.arguments(*extra), stderr=log, stdout=log)

    def start(self, *extra, deadline_s=DEADLINE_S):
        self.spawn(*extra)
        wait_for(self.is_ready, f"leatd {self.instance} ready", deadline_s)
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        try:
            client = Client(self.path)
        except OSError:
            return False
        try:
            return client.call("sys.status")["ready"]
        finally:
            client.close()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def client(self):
        client = Client(self.path)
        self.clients.append(client)
        return client

    def stop(self):
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0, self.log()

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ctl(self, *words, code=0, text_in=None):
        done = subprocess.run([LEATCTL, "-i", self.instance, *words], capture_output=True, text=True,
                              timeout=DEADLINE_S, input=text_in)
        assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def clean(self):
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        subprocess.run([LEATD, "--instance", self.instance, "--purge"], check=True, timeout=DEADLINE_S)
        assert not os.path.exists(self.run_dir)
        assert not os.path.exists(self.state_dir)


class Netns:
    def __init__(self):
        self.name = "leat-api-" + uuid.uuid4().hex[:8]
        self.path = f"/run/netns/{self.name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)

    def run(self, *args, check=True):
        return subprocess.run(["ip", "netns", "exec", self.name, *args], check=check, capture_output=True, text=True,
                              timeout=DEADLINE_S)

    def has_link(self, name):
        return self.run("ip", "link", "show", name, check=False).returncode == 0

    def delete(self):
        if os.path.exists(self.path):
            subprocess.run(["ip", "netns", "del", self.name], check=True)
