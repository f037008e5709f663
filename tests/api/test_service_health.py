# SPDX-License-Identifier: BSD-3-Clause
"""Health check ports: HTTP on the node that says whether a service has ready backends here."""
import http.client
import json
import socket

import pytest

CONFLICT = 5


def free_port():
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def ask(port, host="127.0.0.1", path="/healthz"):
    conn = http.client.HTTPConnection(host, port, timeout=10)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        conn.close()


def is_open(port, host="127.0.0.1"):
    try:
        ask(port, host)
    except ConnectionRefusedError:
        return False
    return True


def backend(ip, local="yes", **keys):
    return {"ip": ip, "port": 80, "local": local, **keys}


def add(client, name, port, *backends, vip="192.0.2.10", **keys):
    client.call("service.add", name=name, health_check_port=port, backends=list(backends),
                frontends=[{"kind": "external", "ip": vip, "port": 80}], **keys)


@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_says_how_many_local_backends_are_ready(client, host):
    port = free_port()
    add(client, "web", port, backend("10.0.0.1"), backend("10.0.0.2"), backend("10.0.0.3", "no"),
        backend("10.0.0.4", ready=False))
    assert ask(port, host) == (200, {"service": "web", "localEndpoints": 2})
    assert ask(port, host, "/") == (200, {"service": "web", "localEndpoints": 2})
    assert client.call("service.show", name="web")["health_check_port"] == port
    add(client, "web", port, backend("10.0.0.1", ready=False), backend("10.0.0.3", "no"), replace=True)
    assert ask(port, host) == (503, {"service": "web", "localEndpoints": 0})


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND")


def status_of(port, host, request):
    """The status line's number of a request as it is."""
    with socket.create_connection((host, port), timeout=10) as sock:
        sock.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = sock.recv(4096)
            assert chunk, head
            head += chunk
    return int(head.split()[1])


@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_answers_whatever_the_method(client, host):
    """HAProxy asks by OPTIONS with HTTP/1.0, others by HEAD or POST."""
    port = free_port()
    requests = [f"{m} {'x:1' if m == 'CONNECT' else '/'} HTTP/1.{minor}\r\nHost: x\r\n\r\n" for m in METHODS for minor in (0, 1)]
    requests += ["OPTIONS / HTTP/1.0\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"]
    for ready, status in ((True, 200), (False, 503)):
        add(client, "web", port, backend("10.0.0.1", ready=ready), replace=True)
        assert {r: status_of(port, host, r) for r in requests} == dict.fromkeys(requests, status)


def test_services_that_share_a_port_answer_with_the_fewest(client):
    port = free_port()
    add(client, "one", port, backend("10.0.0.1"))
    add(client, "none", port, vip="192.0.2.11")
    assert ask(port) == (503, {"service": "none", "localEndpoints": 0})
    client.call("service.del", name="none")
    assert ask(port) == (200, {"service": "one", "localEndpoints": 1})
    client.call("service.del", name="one")
    assert not is_open(port)


def test_the_port_is_freed_by_replace_and_by_stop(running, client):
    first, second = free_port(), free_port()
    add(client, "web", first, backend("10.0.0.1"))
    add(client, "web", second, backend("10.0.0.1"), replace=True)
    assert not is_open(first)
    assert ask(second)[0] == 200
    add(client, "web", 0, replace=True)
    assert not is_open(second)
    assert "health_check_port" not in client.call("service.show", name="web")
    add(client, "web", first, backend("10.0.0.1"), replace=True)
    running.stop()
    assert not is_open(first)
    running.start()
    assert ask(first)[0] == 200


def test_a_port_in_use_fails_the_call_and_changes_nothing(client):
    old = free_port()
    add(client, "web", old, backend("10.0.0.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        error = client.fails(CONFLICT, "service.add", name="web", health_check_port=taken.getsockname()[1],
                             replace=True, frontends=[{"kind": "external", "ip": "192.0.2.12", "port": 80}])
    assert error.field == "health_check_port"
    assert client.call("service.show", name="web")["frontends"][0]["ip"] == "192.0.2.10"
    assert ask(old) == (200, {"service": "web", "localEndpoints": 1})


def test_a_refused_service_leaves_no_listener(client):
    port = free_port()
    add(client, "web", 0)
    error = client.fails(CONFLICT, "service.add", name="other", health_check_port=port,
                         frontends=[{"kind": "external", "ip": "192.0.2.10", "port": 80}])
    assert error.field == "frontends[0]"
    assert not is_open(port)
