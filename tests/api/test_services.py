# SPDX-License-Identifier: BSD-3-Clause
"""Services: frontends, backends, replacement, conflicts, transactions, restarts."""
import pytest

from waiting import wait_for

INVALID, NOT_FOUND, EXISTS, CONFLICT = -32602, 1, 2, 5


def service(name="web", vip="10.96.0.1", backends=("10.0.0.1",), **keys):
    return {"name": name, "frontends": [{"ip": vip, "port": 80}], "backends": [{"ip": ip, "port": 8080} for ip in backends],
            **keys}


def backends_of(client, name="web"):
    return {b["ip"] for b in client.call("service.show", name=name)["backends"]}


def add_call(**keys):
    return {"method": "service.add", "params": service(**keys)}


def test_service_is_added_listed_shown_and_removed(client):
    client.call("service.add", **service(backends=("10.0.0.1", "10.0.0.2")))
    listed, = client.list("service.list")
    assert (listed["name"], listed["n_frontends"], listed["n_backends"]) == ("web", 1, 2)
    assert listed["frontend"] == {"kind": "cluster", "ip": "10.96.0.1", "proto": "tcp", "port": 80}
    shown = client.call("service.show", name="web")
    assert shown["frontends"] == [listed["frontend"]]
    backend = shown["backends"][0]
    assert backend["port"] == 8080 and backend["weight"] == 1 and backend["ready"] and backend["serving"]
    assert not backend["terminating"] and not backend["local"]
    assert backend["connections"] == backend["packets"] == backend["bytes"] == 0
    client.call("service.del", name="web")
    client.fails(NOT_FOUND, "service.del", name="web")
    client.call("service.del", name="web", missing_ok=True)
    assert client.fails(NOT_FOUND, "service.show", name="web").field == "name"
    assert client.list("service.list") == []


def test_same_service_again_needs_exist_ok_or_replace(client):
    client.call("service.add", **service())
    client.fails(EXISTS, "service.add", **service())
    client.call("service.add", **service(), exist_ok=True)
    error = client.fails(EXISTS, "service.add", **service(backends=("10.0.0.2",)), exist_ok=True)
    assert error.field == "backends"
    client.call("service.add", **service(vip="10.96.0.2", backends=("10.0.0.2",)), replace=True)
    assert backends_of(client) == {"10.0.0.2"}
    client.call("service.add", **service(name="other"))


def test_terminating_backend_is_not_ready(client):
    client.call("service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80}],
                backends=[{"ip": "10.0.0.1", "terminating": True}])
    backend, = client.call("service.show", name="web")["backends"]
    assert backend["terminating"] and backend["serving"] and not backend["ready"]


@pytest.mark.parametrize("keys, field", [
    ({"frontends": [{"port": 80}]}, "frontends[0].ip"),
    ({"frontends": [{"kind": "external", "port": 80}]}, "frontends[0].ip"),
    ({"frontends": [{"kind": "node-port", "ip": "10.0.0.9", "port": 30000}]}, "frontends[0].ip"),
    ({"frontends": [{"ip": "10.96.0.1"}]}, "frontends[0].port"),
    ({"frontends": [{"ip": "10.96.0.1", "port": 0}]}, "frontends[0].port"),
    ({"frontends": [{"ip": "10.96.0.1", "port": 80, "port_end": 79}]}, "frontends[0].port_end"),
    ({"frontends": [{"ip": "10.96.0.1", "port": 80, "proto": "icmp"}]}, "frontends[0].proto"),
    ({"backends": [{"ip": "fd00::1"}]}, "backends[0].ip"),
    ({"backends": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2", "weight": 65536}]}, "backends[1].weight"),
    ({"backends": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}, "backends"),
    ({"source_ranges": ["10.0.0.1/8"]}, "source_ranges[0]"),
    ({"affinity_s": 86401}, "affinity_s"),
    ({"algorithm": "dice"}, "algorithm"),
    ({"external_policy": "maybe"}, "external_policy"),
    ({"health_check_port": 65536}, "health_check_port"),
    ({"name": ""}, "name"),
])
def test_wrong_service_names_its_field(client, keys, field):
    assert client.fails(INVALID, "service.add", **{**service(), **keys}).field == field
    assert client.list("service.list") == []


def test_two_services_do_not_share_a_frontend(client):
    client.call("service.add", **service())
    other = {"name": "other", "frontends": [{"ip": "10.96.0.2", "port": 80}, {"ip": "10.96.0.1", "port": 80}]}
    assert client.fails(CONFLICT, "service.add", **other).field == "frontends[1]"
    other["frontends"][1]["proto"] = "udp"
    client.call("service.add", **other)
    error = client.fails(CONFLICT, "service.add", **service(name="other"), replace=True)
    assert error.field == "frontends[0]"
    assert client.call("service.show", name="other")["n_frontends"] == 2
    client.call("service.del", name="web")
    client.call("service.add", **service(name="other"), replace=True)


def test_failed_transaction_brings_back_the_replaced_service(client):
    client.call("service.add", **service(backends=("10.0.0.1",)))
    before = client.call("config.dump")
    with pytest.raises(Exception) as info:
        client.txn([add_call(backends=("10.0.0.2", "10.0.0.3"), replace=True),
                    add_call(vip="10.96.0.7", backends=("10.0.0.4",), replace=True),
                    add_call(name="new"),
                    add_call(name="other", vip="10.96.0.1", backends=()),
                    ])
    assert info.value.code == CONFLICT and info.value.field == "calls[3].frontends[0]"
    assert client.call("config.dump") == before
    assert backends_of(client) == {"10.0.0.1"}
    assert [s["name"] for s in client.list("service.list")] == ["web"]
    client.call("service.add", **service(name="other", vip="10.96.0.7"))
    client.fails(CONFLICT, "service.add", **service(name="third"))


def test_transaction_moves_a_frontend_between_services(client):
    client.call("service.add", **service())
    client.txn([{"method": "service.del", "params": {"name": "web"}}, add_call(name="new")])
    assert [s["name"] for s in client.list("service.list")] == ["new"]
    with pytest.raises(Exception):
        client.txn([{"method": "service.del", "params": {"name": "new"}}, add_call(name="newer"),
                    {"method": "service.del", "params": {"name": "nobody"}}])
    assert [s["name"] for s in client.list("service.list")] == ["new"]


def test_services_are_paged(client):
    client.txn([add_call(name=f"s{i}", vip=f"10.96.{i >> 8}.{i & 255}") for i in range(300)])
    assert sorted(s["name"] for s in client.list("service.list", limit=7)) == sorted(f"s{i}" for i in range(300))


def test_replaced_service_survives_a_kill(leatd):
    client = leatd.start().client()
    client.call("service.add", **service())
    client.call("service.add", **service(vip="10.96.0.2", backends=("10.0.0.2", "10.0.0.3"), affinity_s=60), replace=True)
    client.call("service.add", **service(name="gone", vip="10.96.0.3"))
    client.call("service.del", name="gone")
    dump = client.call("config.dump")
    leatd.kill()
    client = leatd.start().client()
    assert client.call("config.dump") == dump
    assert client.call("service.show", name="web")["frontends"][0]["ip"] == "10.96.0.2"
    assert backends_of(client) == {"10.0.0.2", "10.0.0.3"}
    assert client.call("sys.status")["restored"]["failed"] == 0


def test_backend_that_is_an_endpoint_is_local_also_after_a_restart(leatd):
    client = leatd.start().client()
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.1"])
    client.call("service.add", **service(backends=("10.0.0.1", "10.0.0.2")))
    for _ in range(2):
        shown = client.call("service.show", name="web")
        assert {b["ip"]: b["local"] for b in shown["backends"]} == {"10.0.0.1": True, "10.0.0.2": False}
        assert shown["local_ready"] == 1
        leatd.kill()
        client = leatd.start().client()


def test_backend_becomes_local_with_its_endpoint_and_remote_without(client):
    backends = [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2", "local": "no"}, {"ip": "10.0.0.3", "local": "yes"}]
    client.call("service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80}], backends=backends)
    client.call("service.add", **service(name="other", vip="10.96.0.2"))
    dump = client.call("config.dump")["calls"]

    def is_local():
        return [b["local"] for b in client.call("service.show", name="web")["backends"]]

    assert is_local() == [False, False, True]
    client.call("port.add", name="p", kind="ring")
    for _ in range(2):
        client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.1", "10.0.0.2"])
        wait_for(lambda: is_local() == [True, False, True], "the backend is local")
        assert client.call("service.show", name="other")["local_ready"] == 1
        client.call("endpoint.del", id="e")
        wait_for(lambda: is_local() == [False, False, True], "the backend is remote")
    client.call("port.del", name="p")
    assert client.call("config.dump")["calls"] == dump


def test_frontend_named_twice_is_the_services_own_mistake(client):
    client.call("service.add", **service(name="other", vip="10.96.0.2"))
    twice = client.fails(CONFLICT, "service.add", name="web", frontends=[{"ip": "10.96.0.1", "port": 80, "port_end": 90},
                                                                          {"ip": "10.96.0.1", "port": 85}])
    assert twice.field == "frontends[1]" and "an earlier frontend" in twice.reason
    taken = client.fails(CONFLICT, "service.add", name="web", frontends=[{"ip": "10.96.0.2", "port": 80}])
    assert taken.field == "frontends[0]" and "another service" in taken.reason


def test_object_that_is_there_already_or_missing_is_named(client):
    client.call("service.add", **service())
    assert client.fails(EXISTS, "service.add", **service()).field == "name"
    assert client.fails(NOT_FOUND, "service.del", name="no").field == "name"
    client.call("group.add", name="g")
    assert client.fails(NOT_FOUND, "member.del", group="g", prefix="10.0.0.0/8").field == "prefix"
    client.call("pair.add", internal="10.0.0.1", external="192.0.2.1")
    assert client.fails(EXISTS, "pair.add", internal="10.0.0.1", external="192.0.2.2").field == "internal"
