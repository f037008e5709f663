# SPDX-License-Identifier: BSD-3-Clause
"""Groups, policies, rules and bindings: life, errors, transactions, restarts."""
import pytest

INVALID, NOT_FOUND, EXISTS, BUSY, CONFLICT = -32602, 1, 2, 4, 5


@pytest.fixture
def policy(client):
    client.call("policy.add", name="p")
    return client


def rule(name="r", **keys):
    return {"policy": "p", "name": name, "direction": "ingress", "action": "allow", **keys}


def names(client, **keys):
    return [r["name"] for r in client.list("rule.list", **keys)]


def calls_of(*pairs):
    return [{"method": method, "params": params} for method, params in pairs]


def fails_txn(client, *pairs):
    with pytest.raises(Exception) as info:
        client.txn(calls_of(*pairs))
    return info.value


def test_group_and_members_live(client):
    client.call("group.add", name="g")
    client.fails(EXISTS, "group.add", name="g")
    client.call("group.add", name="g", exist_ok=True)
    client.call("member.add", group="g", prefix="10.0.0.0/8")
    client.call("member.add", group="g", prefix="10.1.0.0/16", **{"except": True})
    client.call("member.add", group="g", prefix="10.0.0.0/8", exist_ok=True)
    client.fails(EXISTS, "member.add", group="g", prefix="10.0.0.0/8")
    assert client.fails(EXISTS, "member.add", group="g", prefix="10.1.0.0/16", exist_ok=True,
                        **{"except": False}).field == "except"
    assert client.fails(NOT_FOUND, "member.add", group="none", prefix="10.0.0.0/8").field == "group"
    assert client.fails(INVALID, "member.add", group="g", prefix="10.0.0.1/8").field == "prefix"
    assert sorted(m["prefix"] for m in client.list("member.list", group="g", limit=1)) == ["10.0.0.0/8", "10.1.0.0/16"]
    assert client.list("group.list") == [{"name": "g", "zone": 0, "members": 2, "rules": 0}]
    assert client.fails(BUSY, "group.del", name="g").field == "name"
    for prefix in ("10.0.0.0/8", "10.1.0.0/16"):
        client.call("member.del", group="g", prefix=prefix)
    client.fails(NOT_FOUND, "member.del", group="g", prefix="10.0.0.0/8")
    client.call("member.del", group="g", prefix="10.0.0.0/8", missing_ok=True)
    client.call("group.del", name="g")
    client.call("group.del", name="g", missing_ok=True)
    assert client.list("group.list") == []


def test_members_of_a_group_are_paged(client):
    client.call("group.add", name="g")
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(500)]
    client.txn(calls_of(*(("member.add", {"group": "g", "prefix": p}) for p in prefixes)))
    assert sorted(m["prefix"] for m in client.list("member.list", group="g", limit=13)) == sorted(prefixes)


def test_policy_lives_and_is_held_by_rules_and_bindings(client):
    client.call("policy.add", name="p", tier=5, order=7, ingress="deny", egress="reject")
    client.fails(EXISTS, "policy.add", name="p")
    assert client.fails(EXISTS, "policy.add", name="p", tier=6, exist_ok=True).field == "tier"
    client.call("policy.bind", policy="p", endpoint="later")
    shown = client.call("policy.show", name="p")
    assert (shown["tier"], shown["order"], shown["ingress"], shown["egress"]) == (5, 7, "deny", "reject")
    assert shown["bindings"] == ["later"] and shown["endpoints"] == 0
    assert client.fails(BUSY, "policy.del", name="p").field == "name"
    client.call("policy.unbind", policy="p", endpoint="later")
    client.fails(NOT_FOUND, "policy.unbind", policy="p", endpoint="later")
    client.call("policy.unbind", policy="p", endpoint="later", missing_ok=True)
    client.call("rule.add", **rule())
    client.fails(BUSY, "policy.del", name="p")
    client.call("rule.del", policy="p", name="r")
    client.call("policy.del", name="p")
    client.call("policy.del", name="p", missing_ok=True)
    assert client.fails(NOT_FOUND, "policy.show", name="p").field == "name"


def test_rule_is_listed_as_it_was_given(policy):
    wanted = rule(proto="tcp", priority=5, sources=[{"prefix": "10.0.0.0/8", "except": ["10.1.0.0/16"]}],
                  dports=["80", "8000-8080"], log=True)
    policy.call("rule.add", **wanted)
    listed, = policy.list("rule.list", policy="p")
    assert {key: listed[key] for key in wanted} == wanted
    assert listed["connections"] == listed["packets"] == listed["bytes"] == 0
    policy.call("rule.add", **wanted, exist_ok=True)
    assert policy.fails(EXISTS, "rule.add", **{**wanted, "dports": ["81"]}, exist_ok=True).field == "dports"
    policy.fails(EXISTS, "rule.add", **wanted)
    policy.call("rule.del", policy="p", name="r")
    policy.fails(NOT_FOUND, "rule.del", policy="p", name="r")
    policy.call("rule.del", policy="p", name="r", missing_ok=True)


@pytest.mark.parametrize("keys, code, field", [
    ({"policy": "none"}, NOT_FOUND, "policy"),
    ({"direction": "up"}, INVALID, "direction"),
    ({"action": "maybe"}, INVALID, "action"),
    ({"proto": "quic"}, INVALID, "proto"),
    ({"proto": "256"}, INVALID, "proto"),
    ({"dports": ["80"]}, INVALID, "proto"),
    ({"proto": "icmp", "dports": ["80"]}, INVALID, "proto"),
    ({"proto": "47", "sports": ["80"]}, INVALID, "proto"),
    ({"proto": "tcp", "dports": ["80", "90-80"]}, INVALID, "dports[1]"),
    ({"proto": "tcp", "sports": ["65536"]}, INVALID, "sports[0]"),
    ({"proto": "tcp", "dports": ["http"]}, INVALID, "dports[0]"),
    ({"proto": "tcp", "icmp": ["8"]}, INVALID, "icmp"),
    ({"proto": "icmp", "icmp": ["8", "256"]}, INVALID, "icmp[1]"),
    ({"sources": [{"prefix": "10.0.0.0/8"}, {}]}, INVALID, "sources[1]"),
    ({"sources": [{"prefix": "10.0.0.0/8", "group": "g"}]}, INVALID, "sources[0]"),
    ({"destinations": [{"group": "none"}]}, NOT_FOUND, "destinations[0]"),
    ({"sources": [{"prefix": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}, INVALID, "sources[0]"),
    ({"sources": [{"prefix": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]}, INVALID, "sources[0]"),
])
def test_wrong_rule_names_its_field_and_leaves_nothing(policy, keys, code, field):
    policy.call("group.add", name="g")
    assert policy.fails(code, "rule.add", **rule(**keys)).field == field
    assert policy.list("rule.list") == []
    policy.call("group.del", name="g")
    policy.call("policy.del", name="p")


def test_group_is_held_by_rules_and_of_one_zone(policy):
    policy.call("zone.add", id=1, name="z")
    policy.call("group.add", name="g")
    policy.call("group.add", name="far", zone=1)
    assert policy.fails(NOT_FOUND, "rule.add", **rule(sources=[{"group": "far"}])).field == "sources[0]"
    policy.call("rule.add", **rule(sources=[{"group": "g"}]))
    policy.fails(BUSY, "group.del", name="g")
    policy.call("rule.del", policy="p", name="r")
    policy.call("group.del", name="g")


def test_policy_is_bound_only_within_its_zone(policy):
    policy.call("zone.add", id=1, name="z")
    policy.call("port.add", name="ring", kind="ring", zone=1)
    policy.call("endpoint.add", id="e", port="ring", zone=1, addresses=["10.0.0.1"])
    assert policy.fails(CONFLICT, "policy.bind", policy="p", endpoint="e").field == "endpoint"
    assert policy.fails(NOT_FOUND, "policy.bind", policy="none", endpoint="e").field == "policy"
    assert policy.call("policy.show", name="p")["bindings"] == []


@pytest.mark.parametrize("text", ["22", "tcp:", "tcp:65536", "icmp:1", "tcp:22x", "quic:1"])
def test_failsafe_port_must_be_protocol_and_port(client, text):
    for name in ("failsafe_in", "failsafe_out"):
        assert client.fails(INVALID, "policy.mode", **{name: ["tcp:22", text]}).field == f"{name}[1]"


def test_mode_is_shown_and_not_wiped_by_looking_at_it(client):
    client.call("policy.mode", failsafe_in=["tcp:22", "udp:53"], failsafe_out=["sctp:9"], per_connection=True)
    shown = {"failsafe_in": ["tcp:22", "udp:53"], "failsafe_out": ["sctp:9"], "per_connection": True}
    assert client.call("policy.mode_show") == shown
    with pytest.raises(Exception, match="name at least one of"):
        client.call("policy.mode")
    assert "name at least one of" in str(fails_txn(client, ("policy.mode", {})))
    assert client.call("policy.mode_show") == shown
    client.call("policy.mode", per_connection=False)
    assert client.call("policy.mode_show") == {"failsafe_in": [], "failsafe_out": [], "per_connection": False}


def test_rules_are_paged_and_of_one_policy(policy):
    policy.call("policy.add", name="q")
    policy.txn(calls_of(*(("rule.add", rule(name=f"r{i}", policy="pq"[i % 2])) for i in range(200))))
    assert sorted(names(policy, limit=7)) == sorted(f"r{i}" for i in range(200))
    assert sorted(names(policy, limit=7, policy="q")) == sorted(f"r{i}" for i in range(1, 200, 2))
    assert policy.fails(NOT_FOUND, "rule.list", policy="none").field == "policy"


def test_failed_transaction_is_undone_whole(policy):
    policy.call("rule.add", **rule())
    policy.call("policy.bind", policy="p", endpoint="e")
    policy.call("policy.default", endpoint="e", ingress="deny")
    policy.call("policy.mode", failsafe_in=["tcp:22"])
    before = policy.call("config.dump")
    error = fails_txn(policy, ("policy.unbind", {"policy": "p", "endpoint": "e"}),
                      ("policy.default", {"endpoint": "e", "ingress": "allow", "egress": "reject"}),
                      ("policy.mode", {"failsafe_in": ["tcp:23"], "per_connection": True}),
                      ("rule.del", {"policy": "p", "name": "r"}), ("policy.del", {"name": "p"}),
                      ("group.add", {"name": "g"}), ("member.add", {"group": "g", "prefix": "10.0.0.0/8"}),
                      ("rule.add", rule()))
    assert error.code == NOT_FOUND and error.field == "calls[7].policy"
    assert policy.call("config.dump") == before
    assert names(policy) == ["r"] and policy.list("group.list") == []
    assert policy.call("policy.show", name="p")["bindings"] == ["e"]


def fill(client):
    """Objects of every class of policies."""
    client.call("group.add", name="g")
    client.call("member.add", group="g", prefix="10.0.0.0/8")
    client.call("member.add", group="g", prefix="10.9.0.0/16", **{"except": True})
    client.call("policy.add", name="p", ingress="deny")
    client.call("rule.add", **rule(sources=[{"group": "g"}], proto="tcp", dports=["80"]))
    client.call("rule.add", **rule(name="out", direction="egress", action="reject", proto="icmp", icmp=["8"]))
    client.call("policy.bind", policy="p", endpoint="e")
    client.call("policy.bind", policy="p", endpoint="host")
    client.call("policy.default", endpoint="e", egress="reject")
    client.call("policy.mode", failsafe_in=["tcp:22"], failsafe_out=["udp:53"])


def test_policies_survive_a_kill_and_meet_endpoints_that_come_later(leatd):
    client = leatd.start().client()
    fill(client)
    dump = client.call("config.dump")
    for _ in range(2):
        leatd.kill()
        client = leatd.start().client()
        assert client.call("config.dump") == dump
        assert client.call("sys.status")["restored"]["failed"] == 0
        assert sorted(client.call("policy.show", name="p")["bindings"]) == ["e", "host"]
    bound = client.call("policy.show", name="p")["endpoints"]
    client.call("port.add", name="ring", kind="ring")
    client.call("endpoint.add", id="e", port="ring", addresses=["10.0.0.1"])
    assert client.call("policy.show", name="p")["endpoints"] == bound + 1
    leatd.kill()
    client = leatd.start().client()
    assert client.call("policy.show", name="p")["endpoints"] == bound + 1
    client.call("endpoint.del", id="e")
    shown = client.call("policy.show", name="p")
    assert shown["endpoints"] == bound and sorted(shown["bindings"]) == ["e", "host"]


def test_replaced_policy_judges_by_its_new_defaults_and_keeps_its_zone(client, policy):
    policy.call("rule.add", **rule())
    policy.call("policy.bind", policy="p", endpoint="e")
    error = policy.fails(BUSY, "policy.add", name="p", zone=3, replace=True)
    assert error.field == "zone"
    fails_txn(client, ("policy.add", {"name": "p", "order": 7, "replace": True}), ("policy.del", {"name": "none"}))
    assert client.call("policy.show", name="p")["order"] == 1000, "undone"
    policy.call("policy.add", name="p", order=7, egress="reject", replace=True)
    shown = client.call("policy.show", name="p")
    assert (shown["order"], shown["egress"], shown["rules"], shown["bindings"]) == (7, "reject", 1, ["e"])
