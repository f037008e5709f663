# SPDX-License-Identifier: BSD-3-Clause
"""Options of leatd are checked before anything is started for them, and what is wrong is told as it is."""
import json
import os
import re
import socket
import subprocess

import pytest
from node import LEATCTL, LEATD
from waiting import DEADLINE_S

DPDK = ("flows4", "dpdk:", "EAL")


def refused(leatd, *options, code=1):
    done = subprocess.run(leatd.arguments(*options), capture_output=True, text=True, timeout=DEADLINE_S)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert not any(word in text for word in DPDK), text
    return text


@pytest.mark.parametrize("options,text", [
    (["--metrics", "1.2.3.4:99999"], '--metrics must be ADDRESS:PORT with a port from 1 to 65535, not "1.2.3.4:99999"'),
    (["--metrics", "1.2.3.4"], "--metrics must be"), (["--metrics", ":80"], "--metrics must be"),
    (["--metrics", "1.2.3.4:"], "--metrics must be"), (["--metrics", "1.2.3.4:+80"], "--metrics must be"),
    (["--metrics", "[]:80"], "--metrics must be"), (["--metrics", "[::1]:0"], "--metrics must be"),
    (["--pci", "bad"], "--pci must be"), (["--pci", "0000:03:00"], "--pci must be"),
    (["--mbufs", "1"], "--mbufs must be a number from 1024"), (["--flows", "-1"], "--flows must be"),
    (["--mem", "much"], "--mem must be"), (["--log-level", "loud"], "--log-level must be"),
    (["--log-format", "xml"], "--log-format must be"), (["--cores", "a"], "--cores must be"), (["more"], '"more" is not an option'),
])
def test_option_of_wrong_form_is_named(leatd, options, text):
    assert text in refused(leatd, *options, code=2)


def test_address_that_is_taken_is_told_so(leatd):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert f"cannot listen on {address}: Address already in use" in refused(leatd, "--metrics", address)
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        address = f"[::1]:{other.getsockname()[1]}"
        assert f"cannot listen on {address}: Address already in use" in refused(leatd, "--metrics", address)


@pytest.mark.parametrize("content,text", [
    (None, "No such file or directory"), ("{", "is not JSON, see line 1"),
    (json.dumps([{"method": "port.add", "params": {"name": "p", "kind": "brick"}}]), "port.add name=p: kind must be one of"),
    (json.dumps([{"method": "sys.hello"}]), "changes nothing"),
])
def test_configuration_that_cannot_be_read_is_refused_at_once(leatd, tmp_path, content, text):
    path = tmp_path / "c.json"
    if content is not None:
        path.write_text(content)
    assert text in refused(leatd, "--config", str(path))


def test_core_that_is_not_there_is_named(leatd):
    done = subprocess.run([LEATD, "--instance", leatd.instance, "--no-huge", "--cores", str(os.cpu_count() + 900)],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1 and "does not exist" in done.stderr and "flows4" not in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_metrics_are_served_where_the_option_says(leatd, host):
    with socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET) as free:
        free.bind(("::1" if "[" in host else "127.0.0.1", 0))
        port = free.getsockname()[1]
    leatd.start("--metrics", f"{host}:{port}")
    for address in {"127.0.0.1": ["127.0.0.1"], "[::1]": ["::1"]}.get(host, ["127.0.0.1", "::1"]):
        try:
            sock = socket.create_connection((address, port), DEADLINE_S)
        except ConnectionRefusedError:
            continue  # the other family of the name
        with sock:
            sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert b"200" in sock.recv(1 << 16)
            break
    else:
        raise AssertionError("nobody listens")


def test_refusal_for_want_of_buffers_agrees_with_the_status(client, running):
    client.call("port.add", name="first", kind="tap", ifname="ltf")  # the pool is made for the first
    for number in range(64):
        left = client.call("sys.status")["mbufs"]["huge"]
        try:
            client.call("port.add", name=f"t{number}", kind="tap", ifname=f"lt{number}", queues=16)
        except Exception as error:  # pylint: disable=broad-except
            assert error.code == 3
            found = re.search(r"(\d+) packet buffers of 64 KiB are needed, and ports can still have (\d+) of (\d+)", error.reason)
            assert found, error.reason
            assert [int(n) for n in found.groups()] == [16, left["reservable"], left["size"]]
            assert "mbufs.huge.reservable" in error.reason
            break
        assert client.call("sys.status")["mbufs"]["huge"]["reservable"] == left["reservable"] - 16
    else:
        raise AssertionError("was never refused")
    told = json.loads(subprocess.run([LEATCTL, "-i", running.instance, "--json", "status"], check=True, capture_output=True,
                                     text=True, timeout=DEADLINE_S).stdout)
    assert told["mbufs"]["huge"] == left
