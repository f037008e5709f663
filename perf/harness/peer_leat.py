# SPDX-License-Identifier: BSD-3-Clause
"""leatd as the switch: an instance of its own, configured over its control socket."""
import json
import os
import shutil
import socket

from . import procs

A_IP, B_IP = "10.244.1.2", "10.244.1.3"
GATEWAY = "169.254.1.1"


class Client:
    """JSON-RPC, one object a line."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.lines = self.sock.makefile("r", encoding="utf-8")
        self.id = 0

    def call(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.sock.sendall((json.dumps(request) + "\n").encode())
        while True:
            answer = json.loads(self.lines.readline() or "null")
            if answer is None:
                raise procs.PerfError(f"leatd hung up during {method}")
            if answer.get("id") != self.id:
                continue
            if "error" in answer:
                raise procs.PerfError(f"leatd: {method}: {answer['error']}")
            return answer["result"]

    def close(self):
        self.lines.close()
        self.sock.close()


class LeatPvp:
    name = "leat"
    checks = "source MAC and address, IPv4 header checksum, connection tracking, TTL, MACs"
    needs = ()

    def __init__(self, work, scenario="pvp-l3"):
        raise procs.PerfError("leatd is not built")
