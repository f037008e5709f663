# SPDX-License-Identifier: BSD-3-Clause
"""What an operator sees: trace, capture, mirror, flows, drops, load, events, metrics, configuration, bundle."""
import json
import os
import re
import struct
import sys
import tarfile

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from operator_rig import LEATCTL, LEATD, Leatd
from rig import run
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")


@pytest.fixture(scope="module")
def leatd(tmp_path_factory):
    with Leatd(tmp_path_factory.mktemp("leatd")) as one:
        yield one.start()


@pytest.fixture(scope="module")
def pods(leatd):
    pair = leatd.attach("pod-a", "10.66.0.1"), leatd.attach("pod-b", "10.66.0.2")
    pair[0].ping(pair[1], check=False)  # the neighbours know each other
    return pair


def test_trace_of_first_packet_and_hit(leatd, pods):
    a, b = pods
    leatd.ctl("flow", "flush")
    tracer = leatd.spawn_ctl("trace", "count=2", "proto=1", f"src={a.address}", f"dst={b.address}", "wait=60")
    # the trace is set up when the packets come, however long that takes
    wait_for(lambda: tracer.poll() is not None or a.ping(b), "pings are answered")
    while tracer.poll() is None:
        a.ping(b)
    out, err = tracer.communicate()
    assert tracer.returncode == 0, err
    result = json.loads(out)
    assert result["done"] and len(result["packets"]) == 2
    for packet in result["packets"]:
        steps = packet["steps"]
        assert [s["step"] for s in steps][:2] == ["in", "lookup"] and steps[-1]["step"] == "out", steps
        assert f"port {a.port}" in steps[0]["text"] and f"{a.address} > {b.address} icmp id " in steps[0]["text"]
        assert "ttl 64" in steps[0]["text"]
        assert f"port {b.port}" in steps[-1]["text"] and "ttl 63" in steps[-1]["text"]
        assert [s["time_us"] for s in steps] == sorted(s["time_us"] for s in steps)


def trace(leatd, send, *words):
    """Steps of one packet: the trace is on before it is sent."""
    ident = leatd.ctl("trace", "start", "count=1", *words)["id"]
    send()
    done = wait_for(lambda: (t := leatd.ctl("trace", "show", f"id={ident}"))["done"] and t["packets"] and
                    t["packets"][0]["steps"][-1]["step"] in ("out", "drop") and t, "the packet is traced")
    return done["packets"][0]["steps"]


def echo(a, b, ident, **ip):
    return Ether(src=a.mac, dst=a.gateway_mac) / IP(**{"src": a.address, "dst": b.address, **ip}) / ICMP(id=ident)


def test_trace_tells_layers_from_hit(leatd, pods):
    a, b = pods
    send = lambda: a.send(echo(a, b, 4711))
    words = ("proto=1", f"src={a.address}", f"dst={b.address}")
    first = trace(leatd, send, *words)
    assert [s["step"] for s in first] == ["in", "lookup", "layers", "out"], first
    assert "no flow" in first[1]["text"]
    assert "forward" in first[2]["text"] and "pod-a" in first[2]["text"] and "pod-b" in first[2]["text"]
    second = trace(leatd, send, *words)
    assert [s["step"] for s in second] == ["in", "lookup", "out"], second
    assert "hit" in second[1]["text"]


def test_trace_of_a_drop(leatd, pods):
    a, b = pods
    steps = trace(leatd, lambda: a.send(echo(a, b, 1, src="10.99.0.1")), "src=10.99.0.1")
    assert steps[-1]["step"] == "drop" and steps[-1]["reason"] == "ip_src_spoofed", steps
    assert "source address" in steps[-1]["text"]


def test_trace_without_packets_says_so(leatd):
    code, text = leatd.refused("trace", "src=203.0.113.77", "wait=0.2")
    assert code == 1 and "no packet matched" in text


def comments(path):
    """The comment of each packet, read by the letter of the format: scapy asks for a line end in them."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size
        if kind == 6:
            captured = struct.unpack_from("<I", data, at + 20)[0]
            option = at + 28 + (captured + 3) // 4 * 4
            code, length = struct.unpack_from("<HH", data, option)
            found.append(data[option + 4:option + 4 + length].decode() if code == 1 else None)
        at += size
    return found


def read_capture(path):
    with PcapNgReader(str(path)) as reader:
        return list(reader)


@pytest.mark.parametrize("point", ["rx", "tx"])
def test_capture_of_one_port(leatd, pods, tmp_path, point):
    a, b = pods
    path = tmp_path / "x.pcapng"
    ident = leatd.ctl("capture", "start", f"file={path}", f"point={point}", f"port={a.port}", "count=3")["id"]
    a.ping(b, count=5)
    wait_for(lambda: not leatd.ctl("capture", "list")[0]["running"], "three packets are captured")
    about = leatd.ctl("capture", "list")[0]
    assert about["id"] == ident and about["packets"] == 3 and about["point"] == point and about["lost"] == 0
    frames = read_capture(path)
    assert len(frames) == 3 and oct(path.stat().st_mode & 0o777) == "0o600"
    assert {frame[ICMP].type for frame in frames if ICMP in frame} == {8 if point == "rx" else 0}
    for frame in frames:
        assert (frame[Ether].src if point == "rx" else frame[Ether].dst) == a.mac
        assert abs(float(frame.time) - path.stat().st_mtime) < 60


def test_capture_of_drops_names_the_reason(leatd, pods, tmp_path):
    a, b = pods
    path = tmp_path / "drop.pcapng"
    ident = leatd.ctl("capture", "start", f"file={path}", "point=drop", "reason=ip_src_spoofed", "snaplen=64")["id"]
    a.send(echo(a, b, 5, src="10.99.0.2") / bytes(200), 4)
    wait_for(lambda: leatd.ctl("capture", "list")[0]["packets"] == 4, "four drops are captured")
    assert not leatd.ctl("capture", "stop", f"id={ident}")["running"]
    frames = read_capture(path)
    assert [f[IP].src for f in frames] == ["10.99.0.2"] * 4
    assert all(len(bytes(f)) == 64 and f.wirelen == 242 for f in frames)
    assert comments(path) == ["drop: ip_src_spoofed (source address is not one of the endpoint's)"] * 4
    code, _ = leatd.refused("capture", "stop", f"id={ident}")
    assert code == 1


def test_capture_mistakes(leatd, tmp_path):
    for words, sentence in ((["file=/nonexistent/x"], "cannot write"), (["file=x"], "absolute path"),
                            ([f"file={tmp_path}/x", "reason=fun", "point=drop"], "no drop reason"),
                            ([f"file={tmp_path}/x", "reason=rate_limit"], "needs point drop"),
                            ([f"file={tmp_path}/x", "port=nope"], "no port nope")):
        _, text = leatd.refused("capture", "start", *words)
        assert sentence in text, (words, text)


def test_mirror_to_a_third_port(leatd, pods):
    a, b = pods
    watcher = leatd.attach("pod-watch", "10.66.0.3")
    leatd.ctl("mirror", "add", "name=m1", f"from={a.port}", f"to={watcher.port}")
    assert leatd.ctl("mirror", "list") == [{"name": "m1", "from": a.port, "to": watcher.port, "direction": "both",
                                           "active": True}]
    tcpdump = watcher.space.spawn("tcpdump", "-l", "-n", "-c", "4", "--immediate-mode", "-i", "eth0", "icmp")
    try:
        wait_for(lambda: "listening" in tcpdump.stdout.readline(), "tcpdump listens")
        a.ping(b)
        lines = tcpdump.communicate(timeout=60)[0]
    finally:
        tcpdump.kill()
    assert lines.count(f"{a.address} > {b.address}: ICMP echo request") == 2, lines
    assert lines.count(f"{b.address} > {a.address}: ICMP echo reply") == 2, lines
    # a mirror belongs to a name: who gets the place of a port in the table gets nothing of its traffic
    leatd.ctl("endpoint", "detach", "pod-watch")
    assert not leatd.ctl("mirror", "list")[0]["active"]
    stranger = leatd.attach("pod-stranger", "10.66.0.6")
    assert not leatd.ctl("mirror", "list")[0]["active"]
    before = leatd.ctl("port", "show", stranger.port)["tx_packets"]
    a.ping(b, count=5)
    assert leatd.ctl("port", "show", stranger.port)["tx_packets"] == before
    watcher = leatd.attach("pod-watch", "10.66.0.3")
    assert leatd.ctl("mirror", "list")[0]["active"]
    before = leatd.ctl("port", "show", watcher.port)["tx_packets"]
    a.ping(b, count=5)
    wait_for(lambda: leatd.ctl("port", "show", watcher.port)["tx_packets"] >= before + 10, "the mirror goes on")
    leatd.ctl("mirror", "del", "m1")
    assert leatd.ctl("mirror", "list") == []
    for name in ("pod-watch", "pod-stranger"):
        leatd.ctl("endpoint", "detach", name)


def test_capture_ends_with_its_port(leatd, pods, tmp_path):
    leatd.attach("pod-gone", "10.66.0.7")
    leatd.ctl("capture", "start", f"file={tmp_path}/x.pcapng", "port=pod-gone")
    leatd.ctl("endpoint", "detach", "pod-gone")
    assert not leatd.ctl("capture", "list")[0]["running"]
    assert read_capture(tmp_path / "x.pcapng") == []


def udp_flows(leatd, a, b, n):
    for i in range(n):
        a.send(Ether(src=a.mac, dst=a.gateway_mac) / IP(src=a.address, dst=b.address) / UDP(sport=7000 + i, dport=53))


def test_flow_and_conn_lists(leatd, pods):
    a, b = pods
    udp_flows(leatd, a, b, 5)
    where = ("proto=17", f"src={a.address}")
    conns = wait_for(lambda: len(c := leatd.ctl("conn", "list", *where)) == 5 and c, "five connections")
    assert sorted(c["sport"] for c in conns) == list(range(7000, 7005))
    assert all(c["orig"]["packets"] == 1 and c["dst"] == b.address and c["dport"] == 53 for c in conns)
    flows = leatd.ctl("flow", "list", *where)
    assert len(flows) == 5 and all(f["in"] == a.port and f["out"] == b.port for f in flows)
    both = leatd.ctl("flow", "list", "proto=17")
    assert {(f["direction"]) for f in both} == {"orig", "reply"}
    assert len(leatd.ctl("flow", "list", "proto=17", "sport=7003")) == 1
    assert leatd.ctl("flow", "list", "proto=17", "dst=10.67.0.0/16") == []
    assert leatd.ctl("conn", "list", "zone=9") == []
    code, text = leatd.refused("flow", "list", "port=nope")
    assert code == 1 and "no port nope" in text
    # page by page: nothing twice, nothing lost, whatever the page
    for method in ("flow.list", "conn.list"):
        key = lambda item: json.dumps([item[k] for k in ("src", "dst", "sport", "dport", "proto")])
        whole = sorted(map(key, leatd.ctl(method, "proto=17")))
        for limit in (1, 2, 3):
            got, cursor = [], []
            while True:
                done = run(sys.executable, "-c", CALL, leatd.run_dir, method,
                           json.dumps({"proto": 17, "limit": limit, **dict(cursor)}))
                page = json.loads(done.stdout)
                assert len(page["items"]) <= limit
                got += map(key, page["items"])
                if "next" not in page:
                    break
                cursor = [("cursor", page["next"])]
            assert sorted(got) == whole, (method, limit)


CALL = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1] + "/control.sock")
s.sendall(json.dumps({"id": 1, "method": sys.argv[2], "params": json.loads(sys.argv[3])}).encode() + b"\\n")
print(json.dumps(json.loads(s.makefile().readline())["result"]))
"""


def test_flow_flush_forgets_what_matches(leatd, pods):
    a, b = pods
    leatd.ctl("flow", "flush")
    # a connection that is on its way out takes packets along until it is swept
    wait_for(lambda: udp_flows(leatd, a, b, 3) or len(leatd.ctl("conn", "list", "proto=17")) == 3, "three connections")
    assert leatd.ctl("flow", "flush", "proto=17", "sport=7001")["flushed"] == 1
    assert sorted(c["sport"] for c in leatd.ctl("conn", "list", "proto=17")) == [7000, 7002]
    assert leatd.ctl("flow", "flush", "proto=17")["flushed"] == 2
    assert leatd.ctl("conn", "list", "proto=17") == []
    a.ping(b)


def test_drop_show_by_name(leatd, pods):
    a, b = pods
    before = leatd.drops(a.port).get("ip_src_spoofed", 0)
    a.send(echo(a, b, 9, src="10.99.0.3"), 3)
    wait_for(lambda: leatd.drops(a.port).get("ip_src_spoofed", 0) == before + 3, "three drops are counted")
    everywhere = leatd.ctl("drop", "show")
    assert {"port": a.port, "reason": "ip_src_spoofed", "packets": before + 3} in [
        {k: item[k] for k in ("port", "reason", "packets")} for item in everywhere]
    assert all(item["meaning"] for item in everywhere)
    code, text = leatd.refused("drop", "show", "nope")
    assert code == 1 and "no port nope" in text


def test_rate_limit_of_an_endpoint(leatd, pods):
    _, b = pods
    slow = leatd.attach("pod-slow", "10.66.0.4", rate_pps=1, burst_pkts=5)
    before = {p["name"]: p for p in leatd.ctl("ports")}[slow.port]
    slow.send(echo(slow, b, 3), 60)
    drops = wait_for(lambda: leatd.drops(slow.port).get("rate_limit"), "packets over the limit are counted")
    wait_for(lambda: leatd.drops(slow.port).get("rate_limit") >= 40, "most of sixty at once are too many")
    passed = wait_for(lambda: (sum(c["orig"]["packets"] for c in leatd.ctl("conn", "list", f"src={slow.address}"))),
                      "some pass")
    assert before and drops and 5 <= passed <= 20
    leatd.ctl("endpoint", "detach", "pod-slow")


def test_worker_and_stage_show(leatd, pods):
    a, b = pods
    leatd.ctl("stage", "show")  # measured from the first question on
    before = leatd.ctl("worker", "show")[0]
    a.ping(b, count=10)
    worker = wait_for(lambda: (w := leatd.ctl("worker", "show")[0])["packets"] >= before["packets"] + 20 and w,
                      "the worker has counted the packets")
    assert 0 <= worker["busy_percent"] <= 100
    assert worker["core"] == max(os.sched_getaffinity(0))
    assert worker["hits"] > before["hits"] and worker["busy_cycles"] > before["busy_cycles"]
    assert {a.port, b.port} <= {q["port"] for q in worker["queues"]}
    stages = {s["stage"]: s for s in leatd.ctl("stage", "show")}
    assert list(stages) == ["decap", "parse", "lookup", "slow", "rewrite", "output"]
    assert stages["parse"]["packets"] >= 20 and stages["output"]["cycles_per_packet"] > 0


SAMPLE = re.compile(r'([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9]+(?:\.[0-9]+)?)$')
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",)}


def parse_metrics(text):
    """OpenMetrics, strictly: {family: (type, {(name, labels): value})}."""
    assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1 and "\n\n" not in text
    families, name = {}, None
    for line in text.splitlines()[:-1]:
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in families, f"family {name} in two places"
            assert not (kind == "counter" and name.endswith("_total"))
            families[name] = (kind, {})
        elif line.startswith("# HELP "):
            assert line[7:].startswith(name + " ") and not families[name][1] and line.endswith(".")
        else:
            match = SAMPLE.match(line)
            assert match, line
            kind, samples = families[name]
            assert match[1] in [name + suffix for suffix in SUFFIXES[kind]], line
            assert (match[1], match[2]) not in samples, f"twice: {line}"
            samples[match[1], match[2]] = float(match[3])
            assert kind != "counter" or float(match[3]) >= 0
    return families


def test_metrics_over_the_socket(leatd, pods):
    a, b = pods
    answer, text = leatd.http_get("/metrics")
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    before = parse_metrics(text)
    a.ping(b, count=3)
    after = parse_metrics(leatd.http_get("/metrics")[1])
    assert before.keys() <= after.keys()
    key = ("leat_port_receive_packets_total", f'port="{a.port}"')
    assert after["leat_port_receive_packets"][1][key] >= before["leat_port_receive_packets"][1][key] + 3
    for name, (kind, samples) in before.items():
        for sample, value in samples.items():
            assert kind != "counter" or after[name][1][sample] >= value, sample
    assert after["leat_endpoints"][1]["leat_endpoints", None] == len(leatd.ctl("endpoints"))
    assert after["leat_build"][0] == "info" and after["leat_ready"][1]["leat_ready", None] == 1
    assert parse_metrics(leatd.ctl("metrics")["text"]).keys() == after.keys()
    assert leatd.http_get("/nothing")[0].status == 404


def test_metrics_of_a_service_and_a_rule_count_and_never_go_back(leatd, pods):
    a, b = pods
    leatd.ctl("service", "add", "web", 'frontends=[{"ip":"10.96.0.1","port":7,"proto":"udp"}]',
              f'backends=[{{"ip":"{b.address}","port":7}}]')
    leatd.ctl("policy", "add", "shield", "ingress=deny")
    leatd.ctl("rule", "add", "shield", "echo", "direction=ingress", "action=allow", "proto=udp", "dports=7")
    leatd.ctl("policy", "bind", "shield", b.name)

    def told():
        families = parse_metrics(leatd.http_get("/metrics")[1])
        return {what: next(iter(families[f"leat_{what}"][1].values())) for what in (
            "service_connections", "service_packets", "service_bytes", "rule_connections", "rule_packets", "rule_bytes")}

    def knock(n):
        a.space.run(sys.executable, "-c", "import socket\nfor _ in range(%d):\n s = socket.socket(2, 2)\n s.sendto(b'x' * 100, ('10.96.0.1', 7))" % n)
    knock(3)
    wait_for(lambda: told()["service_packets"] >= 3 and told()["rule_packets"] >= 3, "three packets")
    first = told()
    assert first["service_connections"] == first["rule_connections"] == 3 and first["service_bytes"] >= 384
    # its only backend goes, another comes: what was counted stays
    leatd.ctl("service", "add", "web", 'frontends=[{"ip":"10.96.0.1","port":7,"proto":"udp"}]', "replace=true",
              f'backends=[{{"ip":"{b.address}","port":8}}]')
    second = told()
    assert all(second[what] >= first[what] for what in first), (first, second)
    leatd.ctl("rule", "add", "shield", "echo8", "direction=ingress", "action=allow", "proto=udp", "dports=8")
    knock(2)
    wait_for(lambda: told()["service_connections"] == 5, "two more")


def test_event_watch(leatd, pods):
    watcher = leatd.spawn_ctl("event", "watch", "endpoint", "route")
    os.set_blocking(watcher.stdout.fileno(), False)
    seen = []

    def look():
        for line in iter(watcher.stdout.readline, ""):
            seen.append(json.loads(line))
        return seen

    def provoke():
        leatd.ctl("route", "add", "203.0.113.0/24", "type=blackhole")
        leatd.ctl("route", "del", "203.0.113.0/24")
        return look()

    try:
        wait_for(provoke, "the subscription is there")
        seen.clear()
        leatd.attach("pod-event", "10.66.0.5")
        leatd.ctl("endpoint", "detach", "pod-event")
        wait_for(lambda: sum(e["kind"] == "endpoint" for e in look()) >= 2, "the endpoint came and went")
        assert all(e["kind"] in ("endpoint", "route") for e in seen), seen
        assert all("pod-event" in json.dumps(e) for e in seen if e["kind"] == "endpoint")
    finally:
        watcher.terminate()
        watcher.communicate()
    code, text = leatd.refused("event", "watch", "weather")
    assert code == 1 and "one of" in text


def test_config_dump_diff_apply(leatd, pods, tmp_path):
    path = tmp_path / "config.json"
    leatd.ctl("zone", "add", "7", "blue")
    path.write_text(json.dumps(leatd.ctl("config", "dump")))
    assert leatd.ctl("config", "diff", str(path)) == []
    assert leatd.ctl("config", "apply", str(path)) == []
    wanted = json.loads(path.read_text())
    route = {"method": "route.add", "params": {"prefix": "198.51.100.0/24", "type": "blackhole"}}
    more = tmp_path / "more.json"
    more.write_text(json.dumps([*wanted, route]))
    done = leatd.ctl_done("config", "diff", str(more))
    assert done.returncode == 1 and json.loads(done.stdout) == [route]
    assert leatd.ctl("config", "apply", str(more)) == [route]
    assert leatd.ctl("config", "apply", str(more)) == []
    assert "198.51.100.0/24" in [r["prefix"] for r in leatd.ctl("routes")]
    assert leatd.ctl("config", "apply", str(path)) == []  # what the file lacks stays
    plan = leatd.ctl("config", "apply", str(path), "--prune")
    assert [c["method"] for c in plan] == ["route.del"]
    assert leatd.ctl("config", "diff", str(path), "--prune") == []
    assert leatd.ctl("config", "dump") == wanted
    # whole or not at all
    more.write_text(json.dumps([route, {"method": "route.add", "params": {"prefix": "10.0.0.0/8", "port": "nope"}}]))
    code, text = leatd.refused("config", "apply", str(more))
    assert code == 1 and "nothing was changed" in text and "nope" in text
    assert leatd.ctl("config", "dump") == wanted
    more.write_text('[{"method": "route.del", "params": {"prefix": "10.0.0.0/8"}}]')
    code, text = leatd.refused("config", "apply", str(more))
    assert code == 2 and "route.del" in text
    leatd.ctl("zone", "del", "7")


def test_support_bundle(leatd, pods, tmp_path):
    path = tmp_path / "bundle.tar.gz"
    done = leatd.ctl_done("support-bundle", str(path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(path) as bundle:
        names = {os.path.basename(m.name): bundle.extractfile(m).read() for m in bundle if m.isfile()}
    for method in ("sys.status", "config.dump", "port.list", "drop.show", "worker.show", "metrics.text"):
        content = json.loads(names[method + ".json"])
        assert "error" not in content, (method, content)
    assert "meminfo" in names and any(n.startswith("command-") for n in names)
    assert len(json.loads(names["port.list.json"])["items"]) >= 2
    code, text = leatd.refused("support-bundle", "/nonexistent/x.tar.gz")
    assert code == 1 and "could not write" in text


def test_wrong_device(leatd):
    for device, sentence in (("0000:ff:1f.7", "0000:ff:1f.7"), ("net_nonsense0", "net_nonsense0"),
                             ("net_af_packet0,iface=leat-none", "leat-none")):
        code, text = leatd.refused("port", "add", "name=bad", "kind=ethdev", "role=uplink", f"device={device}")
        assert code == 1 and sentence in text, text
    assert "bad" not in [p["name"] for p in leatd.ctl("ports")]


def test_command_line_mistakes(leatd):
    for words, code, sentence in ((["fly"], 2, "no command"), (["port", "fly"], 2, "no command"),
                                  (["route", "add", "10.0.0.1/8"], 2, "host bits"),
                                  (["route", "add"], 2, "required"),
                                  (["route", "add", "10.0.0.0/8", "mtu=x"], 2, "not a number"),
                                  (["route", "add", "10.0.0.0/8", "mtu=1", "mtu=2"], 2, "twice"),
                                  (["route", "del", "10.0.0.0/8"], 1, "no route"),
                                  (["port", "show", "nope"], 1, "nope")):
        got, text = leatd.refused(*words)
        assert got == code and sentence in text, (words, got, text)
    done = run(LEATCTL, "-i", "no-such-instance", "status", check=False)
    assert done.returncode == 3 and "leatctl: " in done.stderr


def test_check_of_a_file(tmp_path):
    good = tmp_path / "good.json"
    good.write_text(json.dumps([{"method": "port.add", "params": {"name": "p", "kind": "tap"}},
                                {"method": "route.add", "params": {"prefix": "10.0.0.0/8", "port": "p"}}]))
    done = run(LEATD, "--check", str(good))
    assert done.stdout == f"{good}: good\n"
    for text, sentence in (("", "JSON"), ("{", "JSON"), ("7", "list"), ('[{"method": "port.fly"}]', "port.fly"),
                           ('[{"method": "port.add", "params": {"name": "p"}}]', "kind is required"),
                           ('[{"method": "route.add", "params": {"prefix": "10.0.0.1/8"}}]', "host bits"),
                           ('[{"method": "port.list"}]', "port.list")):
        bad = tmp_path / "bad.json"
        bad.write_text(text)
        done = run(LEATD, "--check", str(bad), check=False)
        assert done.returncode == 1 and sentence in done.stderr, (text, done)
    done = run(LEATD, "--check", str(tmp_path / "none.json"), check=False)
    assert done.returncode == 1 and "none.json" in done.stderr
