# SPDX-License-Identifier: BSD-3-Clause
"""leatctl: words become calls, answers become tables, mistakes become sentences."""
import contextlib
import json
import select
import signal
import socket
import subprocess
import tarfile

import pytest
from node import LEATCTL
from waiting import DEADLINE_S, wait_for


def test_words_fields_and_switches(running):
    running.ctl("port", "add", "up", "ring", "role=uplink", "addresses=192.0.2.1/24,2001:db8::1/64")
    running.ctl("route", "add", "10.0.0.0/8", "via=192.0.2.9")
    running.ctl("route", "add", "prefix=10.0.0.0/8", "via=192.0.2.9", "exist_ok")
    table = running.ctl("route", "list").splitlines()
    assert table[0].split()[:3] == ["ZONE", "PREFIX", "TYPE"]
    assert table[1].split()[:4] == ["0", "10.0.0.0/8", "unicast", "192.0.2.9"]
    assert json.loads(running.ctl("--json", "route", "list", "10.0.0.0/8"))[0]["port"] == "up"
    assert "192.0.2.9" in running.ctl("route", "lookup", "10.1.2.3")
    running.ctl("route", "del", "10.0.0.0/8")


@pytest.mark.parametrize("words,code,text", [
    (["route", "add"], 2, "prefix is required"),
    (["route", "add", "10.0.0.1/8"], 2, "host bits"),
    (["route", "add", "10.0.0.0/8", "colour=red"], 2, "colour"),
    (["port", "add", "p", "brick"], 2, "must be one of"),
    (["port", "explode"], 2, "port"),
    (["nonsense"], 2, "nonsense"),
    (["route", "del", "10.0.0.0/8"], 1, "no route"),
    (["route", "add", "10.0.0.0/8", "via=192.0.2.1"], 1, "next hop"),
])
def test_mistakes_are_told(running, words, code, text):
    assert text in running.ctl(*words, code=code)


def test_no_daemon_is_told():
    done = subprocess.run([LEATCTL, "-i", "no-such-instance", "status"], capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 3 and "does not run" in done.stderr


def test_help_needs_no_daemon():
    for words in (["help"], ["route", "add", "help"], ["help", "route"]):
        done = subprocess.run([LEATCTL, *words], capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0 and "route" in done.stdout


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "1e9", "nan", "3s"])
def test_time_to_wait_must_be_seconds(text):
    done = subprocess.run([LEATCTL, "-t", text, "status"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and "-t takes seconds" in done.stderr and f'"{text}"' in done.stderr


@pytest.mark.parametrize("words", [["trace", "wait=x"], ["trace", "wait=-1"], ["top", "interval=x"], ["top", "count=-1"],
                                   ["top", "count=x"]])
def test_options_of_repeated_looks_are_checked(running, words):
    running.ctl(*words, code=2)


@contextlib.contextmanager
def stopped(leatd):
    leatd.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        leatd.process.send_signal(signal.SIGCONT)


def test_change_without_an_answer_is_said_to_be_open(running, client, tmp_path):
    running.ctl("port", "add", "up", "ring", "role=uplink", "addresses=192.0.2.1/24")
    with stopped(running):
        text = running.ctl("-t", "0.2", "route", "add", "10.0.0.0/8", "via=192.0.2.9", code=3)
        asked = running.ctl("-t", "0.2", "route", "list", code=3)
    assert "no answer within 0.2 s" in text and "may still be applied" in text and '"leatctl route list"' in text
    assert "no answer within 0.2 s" in asked and "applied" not in asked
    wait_for(lambda: "10.0.0.0/8" in [r["prefix"] for r in client.list("route.list")], "the route that was asked for")


def test_daemon_that_goes_away_in_a_call_leaves_it_open(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(DEADLINE_S)
        with subprocess.Popen([LEATCTL, "-s", path, "port", "add", "p", "ring"], stderr=subprocess.PIPE, text=True) as asking:
            connection, _ = listener.accept()
            assert b"port.add" in connection.recv(1 << 16)
            connection.close()
            text = asking.communicate(timeout=DEADLINE_S)[1]
            assert asking.returncode == 3 and "may still be applied" in text and '"leatctl port list"' in text


CONFIG = [
    {"method": "port.add", "params": {"name": "up", "kind": "ring", "role": "uplink", "addresses": ["192.0.2.1/24"]}},
    {"method": "route.add", "params": {"prefix": "10.1.0.0/16", "via": "192.0.2.9"}},
    {"method": "route.add", "params": {"prefix": "10.2.0.0/16", "via": "192.0.2.9"}},
]


def test_config_apply_is_idempotent_and_prunes(running, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CONFIG))
    assert running.ctl("config", "diff", str(path), code=1).count("+") == 3
    running.ctl("config", "apply", str(path))
    assert running.ctl("config", "diff", str(path)) == ""
    assert running.ctl("config", "apply", str(path)) == ""
    assert json.loads(running.ctl("config", "dump")) == CONFIG
    changed = json.loads(json.dumps(CONFIG[:2]))
    changed[1]["params"]["via"] = "192.0.2.8"
    path.write_text(json.dumps(changed))
    running.ctl("config", "apply", str(path))
    assert {c["params"].get("via") for c in json.loads(running.ctl("config", "dump"))[1:]} == {"192.0.2.8", "192.0.2.9"}
    running.ctl("config", "apply", str(path), "--prune")
    assert json.loads(running.ctl("config", "dump")) == changed


def test_failed_apply_changes_nothing(running, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps([*CONFIG, {"method": "route.add", "params": {"prefix": "10.3.0.0/16",
                                                                           "via": "203.0.113.1"}}]))
    assert "nothing was changed" in running.ctl("config", "apply", str(path), code=1)
    assert json.loads(running.ctl("config", "dump")) == []


def test_support_bundle_holds_state_and_machine(running, client, tmp_path):
    path = tmp_path / "bundle.tar.gz"
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    client.call("service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80}])
    client.call("pool.add", name="out", addresses=["192.0.2.5"])
    client.call("pair.add", internal="10.0.0.5", external="192.0.2.6")
    client.call("snat.add", name="all", pool="out")
    client.call("policy.add", name="pol")
    client.txn([{"method": "rule.add", "params": {"policy": "pol", "name": f"r{i}", "direction": "ingress", "action": "deny"}}
                for i in range(1200)])
    running.ctl("support-bundle", str(path))
    with tarfile.open(path) as bundle:
        names = {name.split("/")[-1] for name in bundle.getnames()}
        status = json.load(bundle.extractfile("./sys.status.json"))
        of = {name: json.load(bundle.extractfile(f"./{name}.json")) for name in (
            "service.list", "policy.list", "rule.list", "snat.list", "pool.list", "pair.list", "conn.list", "flow.list",
            "conntrack.show", "sys.log_show", "config.dump")}
    assert {"sys.status.json", "config.dump.json", "metrics.text.json", "meminfo"} <= names
    assert len(of["rule.list"]["items"]) == 1200, "all pages"
    assert len(of["config.dump"]["calls"]) == 1206
    for name, item in (("service.list", "web"), ("policy.list", "pol"), ("snat.list", "all"), ("pool.list", "out")):
        assert item in [i["name"] for i in of[name]["items"]], name
    assert of["pair.list"]["items"][0]["external"] == "192.0.2.6"
    assert "port: added name=up" in of["sys.log_show"]["text"]
    assert status["instance"] == running.instance


def test_events_are_streamed(running):
    with subprocess.Popen([LEATCTL, "-i", running.instance, "event", "watch", "port"], stdout=subprocess.PIPE,
                          text=True) as watcher:
        try:
            subscribed = False
            for number in range(1000):
                if not subscribed:
                    running.ctl("port", "add", f"p{number}", "ring")
                if select.select([watcher.stdout], [], [], 0.05)[0]:
                    break
            assert json.loads(watcher.stdout.readline())["kind"] == "port"
        finally:
            watcher.kill()


def test_config_apply_changes_a_service_in_place(running, tmp_path):
    def file_of(port):
        path = tmp_path / "services.json"
        path.write_text(json.dumps([{"method": "service.add", "params": {
            "name": "web", "frontends": [{"ip": "10.96.0.1", "port": 80}], "backends": [{"ip": "10.0.0.2", "port": port}],
            "replace": True}}]))
        return str(path)

    running.ctl("config", "apply", file_of(8080))
    assert running.ctl("config", "apply", file_of(8080)) == "", "a switch is no difference"
    plan = running.ctl("config", "apply", file_of(9090))
    assert plan.startswith("+ service.add") and "- service" not in plan
    assert [b["port"] for b in json.loads(running.ctl("service", "show", "web", "--json"))["backends"]] == [9090]


def test_config_apply_changes_a_pool_and_a_policy_in_use_in_place(running, tmp_path):
    def apply(address, tier):
        path = tmp_path / "used.json"
        calls = [("pool.add", {"name": "out", "addresses": [address]}), ("snat.add", {"name": "r", "pool": "out"}),
                 ("policy.add", {"name": "p", "tier": tier, "ingress": "deny"}),
                 ("rule.add", {"policy": "p", "name": "r", "direction": "ingress", "action": "allow"}),
                 ("policy.bind", {"policy": "p", "endpoint": "e"})]
        path.write_text(json.dumps([{"method": method, "params": params} for method, params in calls]))
        return running.ctl("config", "apply", str(path)).splitlines()

    assert len(apply("192.0.2.5", 5)) == 5
    assert [line.split()[:2] for line in apply("192.0.2.6", 7)] == [["+", "pool.add"], ["+", "policy.add"]]
    pool, = (p for p in json.loads(running.ctl("pool", "list", "--json")) if p["name"] == "out")
    assert pool["addresses"] == ["192.0.2.6"] and pool["rules"] == 1
    policy = json.loads(running.ctl("policy", "show", "p", "--json"))
    assert policy["tier"] == 7 and policy["rules"] == 1 and policy["bindings"] == ["e"]


def test_binding_to_an_endpoint_that_is_not_there_is_said(running, client):
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.5"])
    client.call("policy.add", name="pol")
    assert running.ctl("policy", "bind", "pol", "e") == ""
    assert "there is no endpoint ee now: the binding waits for it" in running.ctl("policy", "bind", "pol", "ee")
    assert running.ctl("policy", "default", "e", "ingress=deny") == ""
    assert "there is no endpoint ee now: the default waits for it" in running.ctl("policy", "default", "ee", "ingress=deny")


def test_last_lines_of_the_log_can_be_asked_for(running, client):
    client.call("port.add", name="p", kind="ring")
    assert running.ctl("sys", "log_show").splitlines()[-1].endswith("port: added name=p kind=ring role=pod")
    client.call("sys.log", level="debug")
    for _ in range(6000):
        client.call("sys.hello", client="x" * 60)
    text = client.call("sys.log_show")["text"]
    assert 200_000 < len(text) <= 1 << 18 and text.endswith("\n") and "added name=p" not in text
    assert all(line[2] == ":" and "hello" in line for line in text.splitlines()[1:5])
