# SPDX-License-Identifier: BSD-3-Clause
"""One call to leatd: rpc.py INSTANCE METHOD [PARAMS-AS-JSON] prints its result as JSON."""

import json
import socket
import sys


def call(instance, method, params=None, timeout_s=30):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(f"/run/leat/{instance}/control.sock")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as stream:
            answer = json.loads(stream.readline() or b"{}")
    if "error" in answer:
        raise RuntimeError(f"{method}: {json.dumps(answer['error'])}")
    return answer.get("result")


def main():
    instance, method = sys.argv[1:3]
    try:
        print(json.dumps(call(instance, method, json.loads(sys.argv[3]) if len(sys.argv) > 3 else None)))
    except (OSError, RuntimeError, ValueError) as error:
        print(f"rpc: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
