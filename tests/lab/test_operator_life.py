# SPDX-License-Identifier: BSD-3-Clause
"""leatd's life: start, refusals, stop, kill, purge; and what it costs when nothing happens."""
import glob
import json
import os
import signal
import subprocess
import sys

import pytest

from operator_rig import LEATD, Leatd, have_hugepages
from rig import run
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")

ECHO = """
import socket, sys
s = socket.create_server((sys.argv[1], 7))
print("listening", flush=True)
c, _ = s.accept()
while data := c.recv(100):
    c.sendall(data)
"""
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], 7), timeout=60)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.recv(100).decode(), end="", flush=True)
"""


def start_fails(leatd, *options):
    """The log of a start that ends by itself with exit code 1."""
    done = run(LEATD, "--instance", leatd.instance, *options, check=False, timeout=30)
    assert done.returncode == 1, done
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def leatd(tmp_path):
    with Leatd(tmp_path) as one:
        yield one


def test_second_leatd_on_one_instance_is_refused(leatd):
    leatd.start()
    text = start_fails(leatd, "--no-huge")
    assert f"another leatd runs as instance {leatd.instance} pid={leatd.process.pid}" in text
    done = run(LEATD, "--instance", leatd.instance, "--purge", check=False)
    assert done.returncode == 1 and "another leatd runs" in done.stderr
    assert leatd.ctl("hello")["pid"] == leatd.process.pid


def test_wrong_use_has_exit_code_2(leatd):
    for words, sentence in ((["--fly"], "fly"), (["--cores", "x"], "list like 2,4-6"), (["--cores", ""], "--cores"),
                            (["--flows", "-1"], "--flows must be a number"), (["word"], "not an option"),
                            (["--log-level", "loud"], "must be err"), (["--instance", "a/b"], "--instance must be")):
        done = run(LEATD, "--instance", leatd.instance, *words, check=False)
        assert done.returncode == 2 and sentence in done.stderr, (words, done)
    assert not os.path.exists(leatd.state_dir)


def test_wrong_cores(leatd):
    beyond = os.cpu_count() + 100
    assert f"core {beyond} does not exist" in start_fails(leatd, "--no-huge", "--cores", str(beyond))
    # a core outside the process's affinity
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    if first != last:
        done = run("taskset", "-c", str(first), LEATD, "--instance", leatd.instance, "--no-huge", "--cores", str(last),
                   check=False)
        assert done.returncode == 1 and f"core {last} may not be used" in done.stderr
    text = start_fails(leatd, "--no-huge", "--cores", f"{last},{last}")
    assert f"core {last}" in text and "twice" in text


def test_core_that_another_leatd_has_is_named(leatd, tmp_path):
    leatd.start()
    with Leatd(tmp_path) as second:
        second.start()
        # on a machine where more of them run, the first to come has the claim
        line = next(line for line in second.log().splitlines() if "is busy" in line)
        assert f"core {max(os.sched_getaffinity(0))} is busy" in line and int(line.rpartition("pid=")[2]) > 0


def test_without_enough_hugepages(leatd):
    text = start_fails(leatd, "--mem", "8000000")
    assert "hugepages" in text and ("vm.nr_hugepages" in text)


def test_bad_config_file_at_start(leatd, tmp_path):
    path = tmp_path / "c.json"
    path.write_text('[{"method": "route.add", "params": {"prefix": "10.0.0.0/8", "port": "nope"}}]')
    text = start_fails(leatd, "--no-huge", "--flows", "1024", "--config", str(path))
    assert "nope" in text and str(path) in text


def test_stop_leaves_no_socket_and_purge_nothing(leatd):
    leatd.start()
    a, b = leatd.attach("pod-a", "10.68.0.1"), leatd.attach("pod-b", "10.68.0.2")
    leatd.ctl("port", "add", "name=own", "kind=tap", f"ifname={leatd.instance[:14]}")
    a.ping(b)
    assert leatd.stop() == 0
    assert f"stopped instance={leatd.instance}" in leatd.log()
    assert glob.glob(f"{leatd.run_dir}/**/*.sock", recursive=True) == []
    assert os.path.exists(f"{leatd.state_dir}/state.journal")
    done = leatd.ctl_done("status")
    assert done.returncode == 3, "the exit code of a daemon that is away"
    done = leatd.purge()
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(leatd.run_dir) and not os.path.exists(leatd.state_dir)
    assert glob.glob(f"/dev/hugepages/*{leatd.instance}*") == []
    assert glob.glob(f"/var/run/dpdk/*{leatd.instance}*") == []
    assert not a.has_device() and not b.has_device()
    assert run("ip", "link", "show", leatd.instance[:14], check=False).returncode != 0
    assert leatd.purge().returncode == 0, "a purge of nothing is fine"


def test_purge_spares_an_instance_whose_name_begins_alike(leatd):
    if not have_hugepages(512):
        pytest.skip("needs hugepages: what an instance could lose is a file of them")
    with open(f"/dev/hugepages/leat-{leatd.instance}-flow4", "w", encoding="ascii"), \
            open(f"/dev/hugepages/leat-{leatd.instance}-more-flow4", "w", encoding="ascii"):
        assert leatd.purge().returncode == 0
    try:
        assert not os.path.exists(f"/dev/hugepages/leat-{leatd.instance}-flow4")
        assert os.path.exists(f"/dev/hugepages/leat-{leatd.instance}-more-flow4")
    finally:
        os.unlink(f"/dev/hugepages/leat-{leatd.instance}-more-flow4")


def test_stop_and_start_keep_the_configuration(leatd):
    leatd.start()
    a, b = leatd.attach("pod-a", "10.68.0.1"), leatd.attach("pod-b", "10.68.0.2")
    leatd.ctl("route", "add", "198.51.100.0/24", "type=blackhole")
    leatd.ctl("port", "add", "name=gone", "kind=ring")
    leatd.ctl("mirror", "add", "name=m", "from=pod-a", "to=gone")
    leatd.ctl("port", "del", "gone")  # the mirror rests
    before = leatd.ctl("config", "dump")
    assert leatd.stop() == 0
    leatd.start()
    assert leatd.ctl("config", "dump") == before
    restored = leatd.ctl("status")["restored"]
    assert restored["endpoints"] == 2 and restored["routes"] == 1 and restored["failed"] == 0, restored
    assert restored["mirrors"] == 1
    a.ping(b)


def test_damaged_state_is_restored_as_far_as_it_goes(leatd):
    leatd.start()
    for i in range(4):
        leatd.ctl("route", "add", f"198.51.{i}.0/24", "type=blackhole")
    leatd.stop()
    path = f"{leatd.state_dir}/state.journal"
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    lines[-2] = lines[-2].replace(b"198.51.2", b"198.51.7")
    damaged = b"".join(lines) + b"0123abcd {\"calls\":"
    with open(path, "wb") as file:
        file.write(damaged)
    leatd.start()
    assert sorted(r["prefix"] for r in leatd.ctl("routes")) == [f"198.51.{i}.0/24" for i in (0, 1, 3)]
    assert leatd.ctl("status")["restored"]["unreadable"] == 1
    with open(path + ".bad", "rb") as file:
        assert file.read().startswith(b"".join(lines)), "kept for a person to look at"
    assert "damaged lines skipped" in leatd.log()


def test_pod_gone_meanwhile_is_kept_until_it_is_detached(leatd):
    leatd.start()
    a = leatd.attach("pod-a", "10.68.0.1")
    leatd.stop()
    leatd.pods.remove(a)
    a.delete()
    leatd.start()
    assert leatd.ctl("status")["restored"]["failed"] == 1 and leatd.ctl("endpoints") == []
    assert "network namespace cannot be opened" in leatd.log()
    assert len(leatd.ctl("config", "dump")) == 1
    leatd.ctl("endpoint", "detach", "pod-a")
    assert leatd.ctl("config", "dump") == []


def test_hung_leatd_is_not_waited_for_longer_than_asked(leatd):
    leatd.start()
    leatd.process.send_signal(signal.SIGSTOP)
    try:
        code, text = leatd.refused("-t", "1", "status")
    finally:
        leatd.process.send_signal(signal.SIGCONT)
    assert code == 3 and "no answer within" in text
    assert leatd.ctl("status")["ready"]


def test_config_takes_pods_away_and_back(leatd, tmp_path):
    leatd.start()
    a, b = leatd.attach("pod-a", "10.68.0.1"), leatd.attach("pod-b", "10.68.0.2")
    full, empty = tmp_path / "full.json", tmp_path / "empty.json"
    full.write_text(json.dumps(leatd.ctl("config", "dump")))
    empty.write_text("[]")
    assert len(leatd.ctl("config", "apply", str(empty), "--prune")) == 2
    assert leatd.ctl("config", "dump") == [] and not a.has_device() and not b.has_device()
    assert len(leatd.ctl("config", "apply", str(full))) == 2
    assert leatd.ctl("config", "diff", str(full), "--prune") == []
    a.ping(b)


def test_killed_leatd_comes_back(tmp_path):
    is_huge = have_hugepages(512)
    with Leatd(tmp_path, is_huge=is_huge) as leatd:
        leatd.start()
        a, b = leatd.attach("pod-a", "10.69.0.1"), leatd.attach("pod-b", "10.69.0.2")
        leatd.ctl("route", "add", "198.51.100.0/24", "type=blackhole")
        before = leatd.ctl("config", "dump")
        server = b.space.spawn(sys.executable, "-c", ECHO, b.address)
        assert server.stdout.readline() == "listening\n"
        client = subprocess.Popen(["ip", "netns", "exec", a.space.name, sys.executable, "-c", TALK, b.address],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        try:
            client.stdin.write("one\n")
            assert client.stdout.readline() == "one\n"
            leatd.kill()
            assert a.has_device() and b.has_device(), "taps outlive leatd"
            leatd.start()
            assert leatd.ctl("config", "dump") == before
            restored = leatd.ctl("status")["restored"]
            assert restored["endpoints"] == 2 and restored["routes"] == 1, restored
            assert restored["failed"] == restored["unreadable"] == 0, restored
            # the connection from before goes on, and is known
            client.stdin.write("two\n")
            assert client.stdout.readline() == "two\n"
            conns = leatd.ctl("conn", "list", "proto=6", "dport=7")
            assert [c["state"] for c in conns] == ["established"]
            adopted = [int(line.rpartition("=")[2]) for line in leatd.log().splitlines() if "flows4: " in line]
            assert adopted[0] == 0 and (adopted[1] >= 1 or not is_huge), adopted
            a.ping(b)
            b.ping(a)
        finally:
            client.kill()
            client.communicate()
            server.kill()
            server.communicate()


# Prints whom an ARP announcement or an unsolicited neighbour advertisement speaks of.
HEARD = """
import ipaddress, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
s.settimeout(30)
print("listening", flush=True)
while True:
    frame, about = s.recvfrom(2048)
    if about[2] == socket.PACKET_OUTGOING:
        continue
    if frame[12:14] == b"\\x08\\x06" and frame[28:32] == frame[38:42]:
        print(ipaddress.ip_address(frame[28:32]), flush=True)
    elif frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 136 and frame[38] == 0xff:
        print(ipaddress.ip_address(frame[62:78]), flush=True)
"""


def test_kernels_are_told_where_their_neighbours_are_after_a_restart(leatd):
    """What they asked while leatd was away is lost, and they ask again a second later only."""
    leatd.start()
    device = leatd.instance[:14]
    leatd.ctl("port", "add", "name=host", "kind=tap", "role=host", f"ifname={device}", "addresses=10.68.1.1/32")
    a = leatd.attach("pod-a", "10.68.0.1")
    listeners = [a.space.spawn(sys.executable, "-c", HEARD, "eth0"),
                 subprocess.Popen([sys.executable, "-c", HEARD, device], stdout=subprocess.PIPE, text=True)]
    try:
        for listener in listeners:
            assert listener.stdout.readline() == "listening\n"
        leatd.kill()
        leatd.start()
        for listener, wanted in zip(listeners, ({"169.254.1.1", "fe80::1"}, {a.address})):
            while wanted:
                line = listener.stdout.readline()
                assert line, f"not told: {wanted}"
                wanted.discard(line.strip())
    finally:
        for listener in listeners:
            listener.kill()
            listener.communicate()


def test_idle_leatd_uses_next_to_nothing(leatd):
    leatd.start()
    a, b = leatd.attach("pod-a", "10.68.0.1"), leatd.attach("pod-b", "10.68.0.2")
    a.ping(b)
    shares = []
    for _ in range(5):  # on a machine full of other work a window may hold what came late
        before = leatd.cpu_ticks()
        with pytest.raises(subprocess.TimeoutExpired):
            leatd.process.wait(2)
        shares.append((leatd.cpu_ticks() - before) / os.sysconf("SC_CLK_TCK") / 2)
        if shares[-1] < 0.05:
            break
    assert shares[-1] < 0.05, shares
    a.ping(b)
