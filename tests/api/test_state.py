# SPDX-License-Identifier: BSD-3-Clause
"""Start, stop, kill, restart: what is acknowledged is there again; damaged state does not stop a start."""
import json
import os
import random
import subprocess
import time

import pytest
from node import LEATD
from waiting import DEADLINE_S, wait_for


def fill(client):
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.1"])
    client.call("tunnel.add", name="t", remote="192.0.2.7", vni=7, remote_mac="02:00:00:00:00:07")
    client.call("route.add", prefix="10.1.0.0/16", via="192.0.2.9")
    client.call("route.add", prefix="10.2.0.0/16", tunnel="t")


def test_configuration_survives_stop_and_kill(leatd):
    client = leatd.start().client()
    fill(client)
    dump, mac = client.call("config.dump"), client.call("tunnel.local")
    leatd.stop()
    client = leatd.start().client()
    assert client.call("config.dump") == dump
    leatd.kill()
    client = leatd.start().client()
    assert client.call("config.dump") == dump
    assert client.call("tunnel.local") == mac
    assert client.call("sys.status")["restored"]["routes"] == 2
    assert client.call("route.lookup", address="10.2.0.1")["tunnel"] == "t"


def test_kill_at_any_point_loses_nothing_acknowledged(leatd):
    random.seed(7)
    acknowledged, last = set(), None
    for _ in range(4):
        client = leatd.start().client()
        have = {zone["id"] for zone in client.list("zone.list") if zone["id"] != 0}
        assert acknowledged <= have <= acknowledged | {last}
        acknowledged = have
        end = time.monotonic() + random.uniform(0.02, 0.2)
        number = 1 + max(acknowledged, default=0)
        while time.monotonic() < end:
            last = number
            client.call("zone.add", id=number, name=f"z{number}")
            acknowledged.add(number)
            number += 1
        client.request("zone.add", {"id": number, "name": f"z{number}"})
        last = number
        leatd.kill()


def test_torn_transaction_is_gone_as_a_whole(leatd):
    client = leatd.start().client()
    client.call("zone.add", id=1, name="a")
    client.txn([{"method": "zone.add", "params": {"id": i, "name": f"z{i}"}} for i in range(2, 50)])
    leatd.kill()
    path = leatd.state_dir + "/state.journal"
    os.truncate(path, os.path.getsize(path) - 5)
    client = leatd.start().client()
    assert [c["params"]["id"] for c in client.call("config.dump")["calls"]] == [1]


@pytest.mark.parametrize("seed", range(3))
def test_damaged_state_is_restored_as_far_as_readable(leatd, seed):
    client = leatd.start().client()
    for number in range(1, 101):
        client.call("zone.add", id=number, name=f"z{number}")
    leatd.kill()
    path = leatd.state_dir + "/state.journal"
    with open(path, "r+b") as state:
        data = bytearray(state.read())
        rng = random.Random(seed)
        for _ in range(10):
            data[rng.randrange(len(data))] = rng.randrange(256)
        state.seek(0)
        state.write(data)
    client = leatd.start().client()
    assert len(client.call("config.dump")["calls"]) >= 78
    assert client.call("sys.status")["restored"]["unreadable"] > 0
    assert os.path.exists(path + ".bad")
    client.call("zone.add", id=1000, name="new")
    leatd.kill()
    client = leatd.start().client()
    assert 1000 in [c["params"]["id"] for c in client.call("config.dump")["calls"]]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def test_calls_of_a_newer_version_are_left_out_and_kept_aside(leatd):
    client = leatd.start().client()
    client.call("zone.add", id=1, name="known")
    leatd.stop()
    path = leatd.state_dir + "/state.journal"
    line = b'{"calls":[{"method":"quantum.add","params":{"name":"q"}}]}'
    with open(path, "ab") as state:
        state.write(b"%08x %s\n" % (crc32c(line), line))
    client = leatd.start().client()
    assert [c["params"]["id"] for c in client.call("config.dump")["calls"]] == [1]
    assert client.call("sys.status")["restored"]["unreadable"] == 1
    with open(path + ".bad", "rb") as kept:
        assert line in kept.read()


def test_state_of_nonsense_does_not_stop_a_start(leatd):
    leatd.start().kill()
    with open(leatd.state_dir + "/state.journal", "wb") as state:
        state.write(os.urandom(100000) + b"\n" + b"\0" * 1000)
    assert leatd.start().client().call("config.dump")["calls"] == []


def test_full_disk_changes_nothing_and_says_so(leatd):
    leatd.start().stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", leatd.state_dir], check=True)
    try:
        client = leatd.start().client()
        done = []
        for number in range(1, 2000):
            try:
                client.call("zone.add", id=number, name="z" * 60)
                done.append(number)
            except Exception as error:
                assert error.code == 3 and "nothing was changed" in error.reason
                break
        else:
            pytest.fail("64 KiB hold everything")
        state = client.call("sys.status")["state_file"]
        assert state["writable"] is False and state["write_failures"] >= 1 and "space" in state["error"]
        assert client.call("sys.status")["degraded"] == [f"the state file cannot be written: {state['error']}"]
        text = client.call("metrics.text")["text"]
        assert "\nleat_degraded 1\n" in text
        assert "\nleat_state_writable 0\n" in text and "\nleat_state_write_failures_total 0\n" not in text
        assert [c["params"]["id"] for c in client.call("config.dump", limit=10000)["calls"]] == done
        leatd.kill()
        client = leatd.start().client()
        assert [c["params"]["id"] for c in client.call("config.dump", limit=10000)["calls"]] == done
        assert client.call("sys.status")["state_file"] == {"writable": True, "write_failures": 0}
        assert "\nleat_state_writable 1\n" in client.call("metrics.text")["text"]
        leatd.kill()
    finally:
        subprocess.run(["umount", leatd.state_dir], check=True)


def test_journal_is_compacted(leatd):
    client = leatd.start().client()
    path = leatd.state_dir + "/state.journal"
    calls = []
    for number in range(1, 3000):
        zone = {"id": 1 + number % 3, "name": f"zone-{number}"}
        calls += [{"method": "zone.add", "params": zone}, {"method": "zone.del", "params": {"id": zone["id"]}}]
    sizes = []
    for _ in range(8):
        client.txn(calls, size=1000)
        sizes.append(os.path.getsize(path))
    client.call("zone.add", id=9, name="last")
    wait_for(lambda: os.path.getsize(path) < max(sizes) / 2, f"a smaller journal than {sizes}")
    leatd.kill()
    client = leatd.start().client()
    assert [c["params"] for c in client.call("config.dump")["calls"]] == [{"id": 9, "name": "last"}]


def test_second_leatd_of_an_instance_is_refused(running):
    done = subprocess.run(running.arguments(), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1
    assert f"another leatd runs as instance {running.instance} pid={running.process.pid}" in done.stderr
    assert running.client().call("sys.hello")


def test_stop_is_clean(leatd):
    leatd.start()
    leatd.stop()
    assert not os.path.exists(leatd.path)


@pytest.mark.parametrize("extra,word", [
    (["--cores", "999"], "999"), (["--cores", "x"], "--cores"), (["--instance", "a/b"], "--instance"),
    (["--log-level", "loud"], "--log-level"), (["--flows", "-1"], "--flows"), (["nonsense"], "nonsense"),
])
def test_wrong_options_are_sentences_and_a_status(leatd, extra, word):
    done = subprocess.run(leatd.arguments(*extra), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode != 0
    assert word in done.stderr


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


CONFIG = [
    {"method": "port.add", "params": {"name": "up", "kind": "ring", "role": "uplink", "addresses": ["192.0.2.1/24"]}},
    {"method": "port.add", "params": {"name": "p", "kind": "ring"}},
    {"method": "endpoint.add", "params": {"id": "e", "port": "p", "addresses": ["10.0.0.1"]}},
    {"method": "route.add", "params": {"prefix": "10.1.0.0/16", "via": "192.0.2.9"}},
]


def test_config_file_is_applied_also_over_a_saved_state(leatd, tmp_path):
    path = write(tmp_path / "c.json", CONFIG)
    for _ in range(2):
        client = leatd.start("--config", path).client()
        assert client.call("config.dump")["calls"] == CONFIG
        leatd.stop()


@pytest.mark.parametrize("content,word", [
    ("{", "line 1"), ({"calls": 7}, "list of calls"), ([{"method": "no.such"}], "calls[0]"),
    ([{"method": "port.add", "params": {"name": "p"}}], "calls[0].kind"),
    (CONFIG[:1] * 2, "calls[1]"), (CONFIG[2:3], "no port p"), ([{"method": "sys.hello"}], "changes nothing"),
    ([{"method": "route.add", "params": {"prefix": "10.0.0.0/8", "tunnel": "t"}}], "no tunnel t"),
])
def test_check_names_what_is_wrong(tmp_path, content, word):
    done = subprocess.run([LEATD, "--check", write(tmp_path / "c.json", content)], capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 1
    assert word in done.stderr


def test_check_accepts_a_good_file(tmp_path):
    subprocess.run([LEATD, "--check", write(tmp_path / "c.json", CONFIG)], check=True, timeout=DEADLINE_S)


def test_bad_config_file_ends_the_start_with_the_field(leatd, tmp_path):
    bad = [*CONFIG, {"method": "route.add", "params": {"prefix": "10.9.0.0/16", "via": "203.0.113.1"}}]
    leatd.spawn("--config", write(tmp_path / "c.json", bad))
    assert leatd.process.wait(DEADLINE_S) == 1
    assert "calls[4].via" in leatd.log()


def test_service_manager_is_told(leatd, tmp_path):
    import socket
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE_S)
    sock.bind(str(tmp_path / "notify"))
    os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    try:
        leatd.spawn()
    finally:
        del os.environ["NOTIFY_SOCKET"]
    assert sock.recv(100) == b"READY=1"
    leatd.stop()
    assert sock.recv(100) == b"STOPPING=1"
    sock.close()
