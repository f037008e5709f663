# SPDX-License-Identifier: BSD-3-Clause
"""Captures: both ways, several at a time, by filter, to a program; and the live streams of drops and verdicts."""
import io
import json
import os
import select
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from operator_rig import LEATCTL, Leatd
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")


@pytest.fixture(scope="module")
def leatd(tmp_path_factory):
    with Leatd(tmp_path_factory.mktemp("leatd")) as one:
        yield one.start()


@pytest.fixture(scope="module")
def pods(leatd):
    pair = (leatd.attach("pod-a", "10.66.0.1", pod="web-0", namespace="shop"),
            leatd.attach("pod-b", "10.66.0.2", pod="db-0", namespace="shop"))
    pair[0].ping(pair[1], check=False)  # the neighbours know each other
    return pair


def frame(a, b, dport=9, src=None, size=100):
    return Ether(src=a.mac, dst=a.gateway_mac) / IP(src=src or a.address, dst=b.address) / UDP(sport=5000, dport=dport) / bytes(size)


def start(leatd, path, *words):
    return leatd.ctl("capture", "start", f"file={path}", *words)["id"]


def about(leatd, ident):
    return next(c for c in leatd.ctl("capture", "list") if c["id"] == ident)


def read(path):
    with PcapNgReader(str(path)) as reader:
        return list(reader)


def test_both_directions_of_a_conversation(leatd, pods, tmp_path):
    a, b = pods
    ident = start(leatd, tmp_path / "x", "point=both", f"port={a.port}", f"src={a.address}", f"dst={b.address}", "proto=icmp",
                  "both_ways=true")
    one_way = start(leatd, tmp_path / "y", "point=both", f"port={a.port}", f"src={a.address}", f"dst={b.address}", "proto=icmp")
    a.send(frame(a, b))  # of no concern
    a.ping(b, count=3)
    wait_for(lambda: about(leatd, ident)["packets"] >= 6, "three echoes and their answers")
    for i in (ident, one_way):
        assert leatd.ctl("capture", "stop", str(i))["point"] == "both"
    kinds = [packet[ICMP].type for packet in read(tmp_path / "x")]
    assert kinds.count(8) == kinds.count(0) == 3, kinds
    assert [packet[ICMP].type for packet in read(tmp_path / "y")] == [8] * 3


def test_several_at_a_time_each_with_its_filter_and_count(leatd, pods, tmp_path):
    a, b = pods
    ports = [4000 + i for i in range(8)]
    idents = [start(leatd, tmp_path / str(p), "proto=udp", f"dport={p}", f"count={2 + i}") for i, p in enumerate(ports)]
    code, text = leatd.refused("capture", "start", f"file={tmp_path}/more")
    assert code == 1 and "8 captures are running" in text
    assert [c["id"] for c in leatd.ctl("capture", "list") if c["running"]] == idents[::-1], "the newest first"
    for p in ports:
        a.send(frame(a, b, p), 20)
    for i, ident in enumerate(idents):
        wait_for(lambda i=i, ident=ident: not about(leatd, ident)["running"] and about(leatd, ident)["packets"] == 2 + i,
                 "its own number of packets")
    for i, p in enumerate(ports):
        assert [packet[UDP].dport for packet in read(tmp_path / str(p))] == [p] * (2 + i)
    again = start(leatd, tmp_path / "again", "proto=udp", "dport=4000", "count=1")
    a.send(frame(a, b, 4000))
    wait_for(lambda: not about(leatd, again)["running"], "there is room again")


def test_one_that_ends_leaves_the_others_their_budget(leatd, pods, tmp_path):
    a, b = pods
    first = start(leatd, tmp_path / "1", "dport=4100", "count=5")
    a.send(frame(a, b, 4100), 2)
    wait_for(lambda: about(leatd, first)["packets"] == 2, "two of five")
    second = start(leatd, tmp_path / "2", "dport=4100", "count=1")
    a.send(frame(a, b, 4100), 10)
    for ident, n in ((first, 5), (second, 1)):
        wait_for(lambda ident=ident: not about(leatd, ident)["running"], "it ends")
        assert about(leatd, ident)["packets"] == n


def test_drops_beside_what_passes(leatd, pods, tmp_path):
    a, b = pods
    ident = start(leatd, tmp_path / "x", "point=all", f"port={a.port}", "dport=4200", "reason=ip_src_spoofed")
    a.send(frame(a, b, 4200, src="10.99.0.1"))
    wait_for(lambda: about(leatd, ident)["packets"] == 2, "taken up, and discarded")
    leatd.ctl("capture", "stop", str(ident))
    assert b"drop: ip_src_spoofed" in (tmp_path / "x").read_bytes()


def spawn(leatd, *words):
    return subprocess.Popen([LEATCTL, "-i", leatd.instance, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def streaming(leatd):
    return [c for c in leatd.ctl("capture", "list") if c["file"] == "-" and c["running"]]


@pytest.mark.parametrize("word", ["file=-", "-"])
def test_stream_to_a_program(leatd, pods, word):
    a, b = pods
    with spawn(leatd, "capture", "start", word, "dport=4300", "count=3") as reader:
        wait_for(lambda: streaming(leatd), "the capture runs")
        a.send(frame(a, b, 4300), 5)
        out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    with PcapNgReader(io.BytesIO(out)) as packets:
        assert [packet[UDP].dport for packet in packets] == [4300] * 3
    assert not streaming(leatd)


def test_stream_ends_with_its_reader(leatd, pods):
    reader = spawn(leatd, "capture", "start", "file=-", "dport=4400")
    try:
        wait_for(lambda: streaming(leatd), "the capture runs")
    finally:
        reader.kill()
        reader.communicate()
    wait_for(lambda: not streaming(leatd), "the capture ends without a packet")


def test_reader_that_does_not_read_delays_nobody(leatd, pods):
    a, b = pods
    reader = spawn(leatd, "capture", "start", "file=-", "dport=4500", f"port={a.port}")
    try:
        running, = wait_for(lambda: streaming(leatd), "the capture runs")
        wait_for(lambda: a.send(frame(a, b, 4500, size=1400), 2000) or about(leatd, running["id"])["lost"] > 0,
                 "packets that the reader was too slow for")
        assert leatd.ctl("status")["ready"] and a.ping(b)
    finally:
        reader.kill()
        reader.communicate()
    wait_for(lambda: not streaming(leatd), "the capture ends")


def test_stream_mistakes(leatd):
    done = subprocess.run(["script", "-qec", f"{LEATCTL} -i {leatd.instance} capture start file=-", "/dev/null"], check=False,
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert "wireshark" in done.stdout
    code, text = leatd.refused("capture", "start", "file=-", "reason=fun", "point=drop")
    assert code == 1 and "no drop reason" in text
    code, text = leatd.refused("capture", "start")
    assert code == 1 and "file is required" in text


class Watcher:
    """leatctl event watch; its lines as they come."""

    def __init__(self, leatd, *words):
        self.process = subprocess.Popen([LEATCTL, "-i", leatd.instance, "event", "watch", *words], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        self.data = b""

    def lines(self):
        while select.select([self.process.stdout], [], [], 0.05)[0]:
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            self.data += chunk
        return self.data.decode().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_drops_are_streamed_with_names(leatd, pods):
    a, b = pods
    leatd.ctl("policy", "add", "name=shut", "ingress=deny")
    leatd.ctl("policy", "bind", "policy=shut", "endpoint=pod-b")
    try:
        with Watcher(leatd, "drops") as watcher:
            want = f"drop policy_denied port {a.port}: {a.address}:5000 > {b.address}:4600 udp ttl 64 len 128, from shop/web-0, to shop/db-0"
            wait_for(lambda: a.send(frame(a, b, 4600)) or any(want in line for line in watcher.lines()), "a drop with its names")
            assert not any(" verdict " in line for line in watcher.lines())
        with Watcher(leatd, "drop", "--json") as watcher:
            wait_for(lambda: a.send(frame(a, b, 4600)) or watcher.lines(), "a drop")
            event = json.loads(watcher.lines()[0])
            assert event["kind"] == "drop" and event["object"]["proto"] == "udp" and event["object"]["dport"] == 4600
            assert event["object"]["meaning"]
    finally:
        leatd.ctl("policy", "unbind", "policy=shut", "endpoint=pod-b")
        leatd.ctl("policy", "del", "name=shut")


def test_verdicts_are_streamed_with_names(leatd, pods):
    a, b = pods
    leatd.ctl("policy", "add", "name=some", "ingress=deny")
    leatd.ctl("rule", "add", "policy=some", "name=open", "direction=ingress", "action=allow", "proto=udp", "dports=4700")
    leatd.ctl("rule", "add", "policy=some", "name=shut", "direction=ingress", "action=deny", "proto=udp", "dports=4701")
    leatd.ctl("policy", "bind", "policy=some", "endpoint=pod-b")
    try:
        with Watcher(leatd, "verdicts") as watcher:
            def seen(port, *words):
                a.send(frame(a, b, port))
                leatd.ctl("flow", "flush", "proto=udp")
                return any(all(word in line for word in (f":{port} ", *words)) for line in watcher.lines())

            wait_for(lambda: seen(4700, "verdict forward", "from shop/web-0", "to shop/db-0", "rule some/open", f"out of {b.port}"),
                     "who may pass, and why")
            wait_for(lambda: seen(4701, "verdict drop policy_denied", "rule some/shut"), "who may not, and why")
    finally:
        leatd.ctl("policy", "unbind", "policy=some", "endpoint=pod-b")
        for name in ("open", "shut"):
            leatd.ctl("rule", "del", "policy=some", f"name={name}")
        leatd.ctl("policy", "del", "name=some")


def test_stream_of_drops_is_bounded_and_tells_what_it_left_out(leatd, pods):
    a, b = pods
    with Watcher(leatd, "drops") as watcher:
        wait_for(lambda: a.send(frame(a, b, 4800, src="10.99.0.1")) or watcher.lines(), "a drop")
        before, shown = leatd.drops(a.port)["ip_src_spoofed"], len(watcher.lines())

        def suppressed():
            a.send(frame(a, b, 4800, src="10.99.0.1"), 5000)
            return [line for line in watcher.lines() if "suppressed" in line]

        assert " packets" in wait_for(suppressed, "what was left out")[0]
        assert len(watcher.lines()) - shown < leatd.drops(a.port)["ip_src_spoofed"] - before
        assert leatd.ctl("status")["ready"]


def test_streams_cost_nothing_when_nobody_watches(leatd, pods):
    a, b = pods
    with Watcher(leatd, "drops") as watcher:
        wait_for(lambda: a.send(frame(a, b, 4900, src="10.99.0.1")) or watcher.lines(), "a drop")
    assert not streaming(leatd) and all(not c["running"] for c in leatd.ctl("capture", "list"))
