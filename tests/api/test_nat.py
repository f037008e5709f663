# SPDX-License-Identifier: BSD-3-Clause
"""Pools, rules for source addresses, one-to-one pairs; and a configuration of everything that moves to another node."""
import json

import pytest

from test_policies import fill as fill_policies
from test_services import service

INVALID, NOT_FOUND, EXISTS, BUSY, CONFLICT = -32602, 1, 2, 4, 5


def pools(client):
    return {p["name"]: p for p in client.list("pool.list")}


def test_pool_lives_and_is_held_by_rules(client):
    client.call("pool.add", name="a", addresses=["192.0.2.5", "2001:db8::5"], port_min=2000, port_max=3000)
    pool = pools(client)["a"]
    assert sorted(pool["addresses"]) == ["192.0.2.5", "2001:db8::5"]
    assert (pool["port_min"], pool["port_max"], pool["rules"], pool["exhausted"]) == (2000, 3000, 0, 0)
    client.fails(EXISTS, "pool.add", name="a", addresses=["192.0.2.5"])
    assert client.fails(EXISTS, "pool.add", name="a", addresses=["192.0.2.6"], exist_ok=True).field == "addresses"
    client.call("snat.add", name="r", pool="a")
    assert client.fails(BUSY, "pool.del", name="a").field == "name"
    client.call("snat.del", name="r")
    client.call("pool.del", name="a")
    client.fails(NOT_FOUND, "pool.del", name="a")
    client.call("pool.del", name="a", missing_ok=True)


def test_pool_of_the_node_stays(client):
    before = pools(client)
    assert len(before) == 1
    name, = before
    assert client.fails(BUSY, "pool.del", name=name).field == "name"
    client.fails(EXISTS, "pool.add", name=name, addresses=["192.0.2.5"])
    assert pools(client) == before


@pytest.mark.parametrize("keys, field", [
    ({"addresses": []}, "addresses"), ({"addresses": ["x"]}, "addresses[0]"),
    ({"port_min": 0}, "port_min"), ({"port_min": 3, "port_max": 2}, "port_max"), ({"name": ""}, "name"),
])
def test_wrong_pool_names_its_field(client, keys, field):
    assert client.fails(INVALID, "pool.add", **{"name": "a", "addresses": ["192.0.2.5"], **keys}).field == field
    assert "a" not in pools(client)


# What no host has: unspecified, loopback, multicast, broadcast, leat's own gateway of every pod.
NO_HOSTS = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "::1", "ff02::1", "fe80::1"]


@pytest.mark.parametrize("address", NO_HOSTS)
def test_address_that_no_host_has_is_refused(client, address):
    other = "2001:db8::7" if ":" in address else "192.0.2.7"
    for code, field, method, params in (
            (INVALID, "addresses[1]", "pool.add", {"name": "a", "addresses": [other, address]}),
            (INVALID, "internal", "pair.add", {"internal": address, "external": other}),
            (INVALID, "external", "pair.add", {"internal": other, "external": address}),
            (INVALID, "frontends[0].ip", "service.add", {"name": "s", "frontends": [{"ip": address, "port": 80}]}),
            (INVALID, "backends[1].ip", "service.add", {"name": "s", "frontends": [{"ip": other, "port": 80}],
                                                        "backends": [{"ip": other}, {"ip": address}]})):
        assert client.fails(code, method, **params).field == field, method
    assert client.call("config.dump")["calls"] == []


def test_pool_names_an_address_once_and_pair_two(client):
    addresses = ["192.0.2.5", "192.0.2.6", "192.0.2.5"]
    assert client.fails(INVALID, "pool.add", name="a", addresses=addresses).field == "addresses[2]"
    assert client.fails(INVALID, "pair.add", internal="192.0.2.5", external="192.0.2.5").field == "external"
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    assert client.fails(CONFLICT, "pair.add", internal="10.0.0.1", external="192.0.2.1").field == "external"
    assert client.list("pair.list") == []


def test_snat_rule_lives(client):
    client.call("snat.add", name="in", action="none", destinations=[{"prefix": "10.0.0.0/8"}], priority=1)
    client.call("snat.add", name="out", sources=[{"prefix": "10.0.0.0/8"}])
    assert {r["name"]: r.get("action") for r in client.list("snat.list", limit=1)} == {"in": "none", "out": None}
    client.fails(EXISTS, "snat.add", name="out")
    client.call("snat.add", name="out", exist_ok=True)
    client.call("snat.del", name="out")
    client.fails(NOT_FOUND, "snat.del", name="out")
    client.call("snat.del", name="out", missing_ok=True)
    client.call("zone.add", id=1, name="z")
    assert client.list("snat.list", zone=1) == []


@pytest.mark.parametrize("keys, code, field", [
    ({"pool": "none"}, NOT_FOUND, "pool"), ({"pool": "x", "action": "none"}, INVALID, "pool"),
    ({"action": "dnat"}, INVALID, "action"), ({"dports": ["80"]}, INVALID, "proto"),
    ({"sources": [{"group": "none"}]}, NOT_FOUND, "sources[0]"),
])
def test_wrong_snat_rule_names_its_field(client, keys, code, field):
    assert client.fails(code, "snat.add", **{"name": "r", **keys}).field == field
    assert client.list("snat.list") == []


def test_pair_lives(client):
    client.call("pair.add", internal="10.0.0.1", external="192.0.2.5")
    assert client.list("pair.list") == [{"internal": "10.0.0.1", "external": "192.0.2.5", "zone": 0, "connections": 0}]
    client.fails(EXISTS, "pair.add", internal="10.0.0.1", external="192.0.2.5")
    client.call("pair.add", internal="10.0.0.1", external="192.0.2.5", exist_ok=True)
    assert client.fails(EXISTS, "pair.add", internal="10.0.0.1", external="192.0.2.6", exist_ok=True).field == "external"
    assert client.fails(CONFLICT, "pair.add", internal="10.0.0.2", external="192.0.2.5").field == "external"
    assert client.fails(INVALID, "pair.add", internal="10.0.0.2", external="2001:db8::5").field == "external"
    client.call("pair.del", internal="10.0.0.1")
    client.fails(NOT_FOUND, "pair.del", internal="10.0.0.1")
    client.call("pair.del", internal="10.0.0.1", missing_ok=True)
    client.txn([{"method": "pair.add", "params": {"internal": f"10.0.0.{i}", "external": f"192.0.2.{i}"}}
                for i in range(1, 100)])
    assert len(client.list("pair.list", limit=9)) == 99


def test_failed_transaction_brings_back_pools_rules_and_pairs(client):
    fill(client)
    before, listed = client.call("config.dump"), pools(client)
    calls = [("snat.del", {"name": "out"}), ("pool.del", {"name": "a"}), ("pair.del", {"internal": "10.0.0.1"}),
             ("pool.add", {"name": "a", "addresses": ["192.0.2.77"]}), ("snat.add", {"name": "out", "pool": "a"}),
             ("pair.add", {"internal": "10.0.0.3", "external": "192.0.2.6"}), ("snat.add", {"name": "x", "pool": "none"})]
    with pytest.raises(Exception) as info:
        client.txn([{"method": method, "params": params} for method, params in calls])
    assert info.value.field == "calls[6].pool"
    assert client.call("config.dump") == before and pools(client) == listed


def fill(client):
    client.call("pool.add", name="a", addresses=["192.0.2.5"])
    client.call("snat.add", name="in", action="none", destinations=[{"prefix": "10.0.0.0/8"}], priority=1)
    client.call("snat.add", name="out", pool="a")
    client.call("pair.add", internal="10.0.0.1", external="192.0.2.6")


def fill_all(client):
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    client.call("port.add", name="ring", kind="ring")
    client.call("endpoint.add", id="e", port="ring", addresses=["10.0.0.1"])
    fill_policies(client)
    fill(client)
    client.call("service.add", **service())
    client.call("service.add", **service(backends=("10.0.0.1", "10.0.0.2"), algorithm="hash", source_ranges=["10.0.0.0/8"]),
                replace=True)


def test_everything_survives_a_kill(leatd):
    client = leatd.start().client()
    fill_all(client)
    dump, listed = client.call("config.dump"), pools(client)
    leatd.kill()
    client = leatd.start().client()
    assert client.call("config.dump") == dump and pools(client) == listed
    assert client.call("sys.status")["restored"]["failed"] == 0
    client.fails(BUSY, "pool.del", name="a")


def test_dump_of_everything_makes_the_same_node_again(leatd, tmp_path):
    leatd.start()
    fill_all(leatd.client())
    path, empty = tmp_path / "dump.json", tmp_path / "empty.json"
    path.write_text(leatd.ctl("config", "dump"))
    empty.write_text("[]")
    assert leatd.ctl("config", "diff", str(path)) == ""
    leatd.ctl("config", "apply", str(empty), "--prune")
    assert json.loads(leatd.ctl("config", "dump")) == []
    leatd.ctl("config", "apply", str(path))
    assert json.loads(leatd.ctl("config", "dump")) == json.loads(path.read_text())
    assert leatd.ctl("config", "diff", str(path)) == ""
    assert leatd.ctl("config", "apply", str(path)) == ""
