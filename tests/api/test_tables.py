# SPDX-License-Identifier: BSD-3-Clause
"""Lists for people: they fit a terminal, name things as people do, and have the same columns each time."""
import json
import os
import re
import select
import subprocess

import pytest
from node import LEATCTL
from waiting import DEADLINE_S, wait_for

CONTAINER = "8d4b5e8fd2c1" + "0123456789abcdef" * 3 + "0123"
LISTS = [["port", "list"], ["endpoint", "list"], ["route", "list"], ["neigh", "list"], ["tunnel", "list"], ["zone", "list"],
         ["mirror", "list"], ["service", "list"], ["policy", "list"], ["rule", "list"], ["snat", "list"], ["pool", "list"],
         ["pair", "list"], ["group", "list"], ["member", "list", "grp"], ["conn", "list"], ["flow", "list"], ["drop", "show"],
         ["worker", "show"], ["stage", "show"], ["capture", "list"]]


def table(running, *words, columns=None):
    env = dict(os.environ, **({"COLUMNS": str(columns)} if columns else {}))
    done = subprocess.run([LEATCTL, "-i", running.instance, *words], capture_output=True, text=True, timeout=DEADLINE_S,
                          check=True, env=env)
    return done.stdout.splitlines()


def world(client, netns):
    """One of everything; a pod with a container's id, as a runtime attaches it."""
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24", "2001:db8:1234:5678::1/64"])
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.5", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"])
    client.call("endpoint.attach", id=CONTAINER + ":eth0", container=CONTAINER, kind="tap", addresses=["10.0.0.9/32"],
                netns=netns().path, pod="web-0", namespace="shop")
    client.call("neigh.add", port="up", address="192.0.2.254", mac="02:00:00:00:00:fe")
    client.call("route.add", prefix="0.0.0.0/0", via="192.0.2.254")
    client.call("route.add", prefix="2001:db8:ffff::/48", via="2001:db8:1234:5678::fe")
    client.call("tunnel.add", name="t", type="vxlan", remote="192.0.2.2", vni=5, remote_mac="02:00:00:00:00:02")
    client.call("zone.add", id=7, name="seven")
    client.call("mirror.add", name="m", **{"from": "p", "to": "up"})
    client.call("service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80}], backends=[
        {"ip": f"10.0.1.{i}", "port": 80} for i in range(20)])
    client.call("policy.add", name="pol")
    client.call("group.add", name="grp")
    client.call("member.add", group="grp", prefix="10.0.0.0/24")
    client.call("rule.add", policy="pol", name="r", direction="ingress", action="deny", proto="tcp", dports=["80", "8000-8080"],
                sources=[{"group": "grp"}, {"prefix": "10.0.0.0/8", "except": ["10.1.0.0/16"]}])
    client.call("pool.add", name="out", addresses=["192.0.2.5"])
    client.call("snat.add", name="all", pool="out", destinations=[{"prefix": "203.0.113.0/24"}])
    client.call("pair.add", internal="10.0.0.5", external="192.0.2.6")


def test_every_list_fits_a_terminal_and_holds_no_json(running, client, netns):
    world(client, netns)
    for words in LISTS:
        for columns in (100, 140):
            lines = table(running, *words, columns=columns)
            assert not any(re.search(r'[{}"]', line) for line in lines), f"{words}: {lines}"
            assert all(len(line) <= columns for line in lines), f"{words}: {lines}"
        wide = table(running, *words, "-o", "wide", columns=100)
        assert not any(re.search(r'[{}"]', line) for line in wide), f"{words}: {wide}"


def test_columns_are_the_same_with_and_without_items(running, client, netns):
    before = {tuple(words): table(running, *words)[0] for words in LISTS
              if words[0] in ("port", "endpoint", "route", "neigh", "tunnel", "service", "policy", "rule", "snat", "conn", "flow", "drop")}
    world(client, netns)
    for words, header in before.items():
        assert table(running, *words)[0].split() == header.split(), words


def test_pods_are_called_by_their_names(running, client, netns):
    world(client, netns)
    endpoints = [line.split()[0] for line in table(running, "endpoint", "list")]
    assert endpoints[:2] == ["POD", "self:192.0.2.1"] and "shop/web-0" in endpoints and "e" in endpoints
    assert any("shop/web-0" in line for line in table(running, "port", "list"))
    assert CONTAINER not in "".join(table(running, "endpoint", "list"))
    assert any(CONTAINER in line for line in table(running, "endpoint", "list", "-o", "wide"))
    shown = client.call("endpoint.show", id=CONTAINER + ":eth0")
    assert (shown["pod"], shown["namespace"]) == ("web-0", "shop")


def test_name_of_a_pod_is_no_way_into_a_terminal(client, netns):
    for name in ("\x1b[2J", "a b", "x" * 128, "-x"):
        assert client.fails(-32602, "endpoint.attach", id="x", kind="tap", addresses=["10.0.0.9/32"], netns=netns().path,
                            pod=name).field == "pod"


def test_container_without_a_name_is_told_by_the_beginning_of_its_id(running, client, netns):
    client.call("endpoint.attach", id=CONTAINER + ":eth0", kind="tap", addresses=["10.0.0.9/32"], netns=netns().path)
    assert table(running, "endpoint", "list")[1].split()[0] == CONTAINER[:12] + "…:eth0"


def test_rules_and_services_are_told_in_words(running, client, netns):
    world(client, netns)
    assert "grp,10.0.0.0/8:10.1.0.0/16" in table(running, "rule", "list")[1]
    header, line = table(running, "service", "list")
    assert dict(zip(header.split(), line.split()))["BACKENDS"] == "20"
    shown = "\n".join(table(running, "service", "show", "web"))
    assert "10.0.1.19" in shown and "{" not in shown


def test_formats(running, client, netns):
    world(client, netns)
    ports = client.list("port.list")
    for words in (["--json"], ["-j"], ["-o", "json"], ["-ojson"], ["--output=json"]):
        assert [p["name"] for p in json.loads("\n".join(table(running, "port", "list", *words)))] == [p["name"] for p in ports]
    assert "GATEWAY" not in table(running, "port", "list")[0]
    assert "QUEUES" in table(running, "port", "list", "-o", "wide")[0]
    assert "takes json, wide or table" in running.ctl("port", "list", "-o", "xml", code=2)
    assert "needs a value" in running.ctl("port", "list", "-o", code=2)


def test_sorting(running, client):
    for number in (2, 10, 1):
        client.call("port.add", name=f"p{number}", kind="ring", mtu=1500 + number)

    def names(*how):
        return [line.split()[0] for line in table(running, "port", "list", *how)[1:]]

    assert names("--sort", "name") == ["p1", "p2", "p10"] and names("--sort=-name") == ["p10", "p2", "p1"]
    assert names("--sort=MTU") == ["p1", "p2", "p10"] and names("--sort=-mtu") == ["p10", "p2", "p1"]
    assert [p["name"] for p in json.loads("\n".join(table(running, "port", "list", "--sort=-mtu", "--json")))][0] == "p10"
    assert 'no column "colour"' in running.ctl("port", "list", "--sort=colour", code=2)


@pytest.mark.parametrize("words", [["port", "list"], ["route", "list"], ["drop", "show"], ["conn", "list"]])
def test_lists_can_be_watched(running, client, words):
    with subprocess.Popen([LEATCTL, "-i", running.instance, *words, "--watch=0.1"], stdout=subprocess.PIPE, text=True) as watcher:
        try:
            header = watcher.stdout.readline()
            seen = 1
            while seen < 3:
                assert select.select([watcher.stdout], [], [], DEADLINE_S)[0]
                seen += watcher.stdout.readline() == header
        finally:
            watcher.kill()


def test_wrong_interval_of_a_watch_is_refused(running):
    for text in ("0", "-1", "x", ""):
        assert "--watch takes seconds" in running.ctl("port", "list", f"--watch={text}", code=2)



def test_counters_since_a_mark(running, client, netns, tmp_path):
    world(client, netns)
    mark = str(tmp_path / "mark")
    client.call("trace.start")  # something for stages to be measured by
    running.ctl("mark", mark)
    assert os.stat(mark).st_mode & 0o777 == 0o600
    total = wait_for(lambda: client.list("worker.show")[0]["sleeps"] > 10 and client.list("worker.show"), "a worker that sleeps")
    since = json.loads("\n".join(table(running, "worker", "show", "--json", "--since", mark)))
    assert since[0]["core"] == total[0]["core"] and 0 <= since[0]["sleeps"]
    with open(mark, encoding="utf-8") as text:
        saved = json.load(text)["worker.show"]["items"][0]
    later = client.list("worker.show")[0]["sleeps"]
    again = json.loads("\n".join(table(running, "worker", "show", "--json", "--since", mark)))[0]["sleeps"]
    assert later - saved["sleeps"] <= again <= client.list("worker.show")[0]["sleeps"] - saved["sleeps"]
    assert "holds nothing of route.list" in running.ctl("route", "list", "--since", mark, code=2)
    assert "cannot read" in running.ctl("port", "list", "--since", str(tmp_path / "none"), code=2)


def test_top_tells_rates_of_ports(running, client, netns):
    world(client, netns)
    text = running.ctl("top", "interval=0.1", "count=1")
    assert re.search(r"^WORKER +CORE +BUSY% ", text, re.M)
    assert re.search(r"^PORT +POD +UP +RX-PPS +RX-BIT/S +TX-PPS +TX-BIT/S", text, re.M)
    assert re.search(r"^up +- +\w+ +0(\.0*)? ", text, re.M) and "shop/web-0" in text
    assert running.ctl("top", "interval=0.1", "count=1", "--sort=-rx_bps").splitlines()
