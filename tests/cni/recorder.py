# SPDX-License-Identifier: BSD-3-Clause
"""The control socket's protocol with answers that a test decides: for errors that a healthy leatd does not give. Requests
are held against tests/api/schema.json where it is there, so that the recorder accepts nothing that leatd would refuse."""

import array
import json
import os
import socket
import threading

NOT_FOUND, EXISTS, RESOURCES, BUSY, CONFLICT, INTERNAL, LIMIT, PERMISSION, AGAIN = range(1, 10)

FIELDS = {
    "endpoint.attach": {"id", "container", "pod", "namespace", "ifname", "kind", "netns", "addresses", "gateways", "routes",
                        "default_route", "mtu", "mac", "zone", "queues", "rate_pps", "burst_pkts", "rate_bps",
                        "burst_bytes", "to_rate_bps", "to_burst_bytes", "vhost", "exist_ok"},
    "endpoint.detach": {"id", "missing_ok"},
    "endpoint.check": {"id", "ifname", "netns", "addresses"},
    "endpoint.show": {"id"},
    "endpoint.list": {"limit", "cursor"},
    "service.add": {"name", "zone", "frontends", "backends"},
    "service.del": {"name", "missing_ok"},
    "service.show": {"name"},
    "service.list": {"limit", "cursor"},
    "sys.status": set(),
    "port.list": {"cursor"},
    "port.show": {"name"},
}


class Failure(Exception):
    def __init__(self, code, reason, field=None):
        super().__init__(reason)
        self.code, self.reason, self.field = code, reason, field


class Recorder:
    def __init__(self, path):
        self.path = path
        self.calls = []  # (method, params, device and inode of the descriptor or None)
        self.endpoints = {}
        self.services = {}
        self.fail = {}  # method: Failure, or a list of them, used up one a call
        self.hang_up = set()  # methods that are carried out but never answered
        self.is_hung = False  # takes requests and never answers
        self.page = 1000
        self.addresses = {"leat0": ["10.98.0.1/32"], "up1": ["192.0.2.1/24", "2001:db8::1/64"], "up2": ["192.0.2.2/24"]}
        self.status = {"ready": True, "mbufs": {"size": 65536, "in_use": 100, "free": 65436, "reservable": 57000},
                       "ports": 3, "ports_max": 1024,
                       "conns": {"v4": {"max": 100, "used": 1, "nearly_full": False},
                                 "v6": {"max": 100, "used": 0, "nearly_full": False}}}
        self.lock = threading.Lock()

    def __enter__(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            os.unlink(self.path)

    def of(self, method):
        return [params for name, params, _ in self.calls if name == method]

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        buf, fds = b"", []
        with conn:
            while True:
                try:
                    data, anc, _, _ = conn.recvmsg(65536, socket.CMSG_SPACE(16))
                except OSError:
                    return
                for level, kind, payload in anc:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        got = array.array("i")
                        got.frombytes(payload[:len(payload) // 4 * 4])
                        fds += got
                if not data:
                    return
                buf += data
                while b"\n" in buf:
                    line, buf = buf.split(b"\n", 1)
                    answer = self._line(json.loads(line), fds)
                    for fd in fds:
                        os.close(fd)
                    fds = []
                    if answer is None:
                        return
                    conn.sendall(json.dumps(answer).encode() + b"\n")

    def _line(self, request, fds):
        method, params = request["method"], request.get("params", {})
        if self.is_hung:
            threading.Event().wait()
        assert request["jsonrpc"] == "2.0"
        stat = os.fstat(fds[0]) if fds else None
        with self.lock:
            self.calls.append((method, params, (stat.st_dev, stat.st_ino) if stat else None))
            try:
                unknown = set(params) - FIELDS[method] if method in FIELDS else set()
                if method not in FIELDS:
                    raise Failure(-32601, "no such method")
                if unknown:
                    raise Failure(-32602, "unknown field", sorted(unknown)[0])
                planned = self.fail.get(method)
                if isinstance(planned, list):
                    planned = planned.pop(0) if planned else None
                if planned is not None:
                    raise planned
                result = getattr(self, "do_" + method.replace(".", "_"))(params)
            except Failure as f:
                data = {"reason": f.reason}
                if f.field:
                    data["field"] = f.field
                return {"jsonrpc": "2.0", "id": request["id"],
                        "error": {"code": f.code, "message": f.reason, "data": data}}
        if method in self.hang_up:
            return None
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def do_sys_status(self, _):
        return self.status

    def do_port_list(self, params):
        names = sorted(self.addresses)
        at = int(params.get("cursor", "0"))
        page = {"items": [{"name": names[at], "role": "host" if names[at] == "leat0" else "uplink"}, {"name": "p1", "role": "pod"}]}
        return {**page, "next": str(at + 1)} if at + 1 < len(names) else page

    def do_port_show(self, params):
        return {"name": params["name"], "addresses": self.addresses[params["name"]]}

    def do_endpoint_show(self, params):
        if params["id"] not in self.endpoints:
            raise Failure(NOT_FOUND, f"no endpoint {params['id']}", "id")
        ep = self.endpoints[params["id"]]
        shown = {"id": params["id"], "addresses": ep.get("addresses", [])}
        if "container" in ep:
            shown["attached"] = {key: ep[key] for key in ("container", "ifname", "kind", "netns") if key in ep}
        return shown

    do_endpoint_check = do_endpoint_show

    def do_endpoint_attach(self, params):
        if params["id"] in self.endpoints:
            raise Failure(EXISTS, "is there already", "id")
        self.endpoints[params["id"]] = params
        v4 = [a for a in params["addresses"] if ":" not in a]
        mac = params.get("mac") or "0a:58:" + ":".join(
            f"{int(b):02x}" for b in (v4 or ["1.2.3.4/32"])[0].split("/")[0].split("."))
        result = {"id": params["id"], "port": "p1", "mac": mac, "ifname": params["ifname"],
                  "mtu": params.get("mtu", 1500), "gateway_mac": "02:00:00:00:00:01"}
        if params["kind"] == "vhost-user":
            result["socket"] = os.path.join(os.path.dirname(self.path), "vhost", params["id"], "vhost.sock")
        return result

    def do_endpoint_detach(self, params):
        if self.endpoints.pop(params["id"], None) is None and not params.get("missing_ok"):
            raise Failure(NOT_FOUND, "no such endpoint", "id")
        return {}

    def do_service_add(self, params):
        if params["name"] in self.services:
            raise Failure(EXISTS, "is there already", "name")
        self.services[params["name"]] = params
        return {}

    def do_service_del(self, params):
        if self.services.pop(params["name"], None) is None and not params.get("missing_ok"):
            raise Failure(NOT_FOUND, "no such service", "name")
        return {}

    def do_service_show(self, params):
        if params["name"] not in self.services:
            raise Failure(NOT_FOUND, f"no service {params['name']}", "name")
        return self.services[params["name"]]

    def do_service_list(self, params):
        return self._page(self.services, "name", params)

    def do_endpoint_list(self, params):
        return self._page(self.endpoints, "id", params)

    def _page(self, things, key, params):
        keys = sorted(things)
        start = int(params.get("cursor", "0"))
        page = {"items": [{key: k} for k in keys[start:start + self.page]]}
        if start + self.page < len(keys):
            page["next"] = str(start + self.page)
        return page
