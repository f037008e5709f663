# SPDX-License-Identifier: BSD-3-Clause
"""What an error says: which field, of which object, in which call; the same to people and to programs."""
import json
import re
import subprocess

import pytest
from node import LEATCTL, RpcError
from waiting import DEADLINE_S

SCHEMA = json.loads(subprocess.run([LEATCTL, "--offline-schema"], check=True, capture_output=True, text=True,
                                   timeout=DEADLINE_S).stdout)["methods"]
BY_FORMAT = {"name": "n1", "id": "n1", "path": "/none", "ip": "10.9.0.1", "prefix": "10.9.0.0/24", "ifaddr": "10.9.0.1/24",
             "mac": "02:00:00:00:00:01"}
WORLD = {"port": "up", "from": "up", "to": "p", "policy": "pol", "group": "grp", "endpoint": "e"}
WORDS = re.compile(r"[A-Za-z0-9_.\[\]]+")


def valid(name, field):
    """A value that its field takes."""
    if field["type"] == "array":
        return [valid(name, field["items"])]
    if field["type"] == "object":
        return {key: valid(key, field["properties"][key]) for key in field.get("required", [])}
    if "enum" in field:
        return field["enum"][0]
    if field["type"] == "integer":
        return field["minimum"]
    if field["type"] == "boolean":
        return True
    return WORLD.get(name) or BY_FORMAT.get(field.get("format"), "x")


def required(method):
    params = SCHEMA[method]["params"]
    return {name: valid(name, params["properties"][name]) for name in params["required"]}


def fields(properties, path=()):
    """(path, schema) of each field; the first item stands for all of a list."""
    for name, field in properties.items():
        yield (*path, name), field
        inner = field["items"] if field["type"] == "array" else field
        at = (*path, name, 0) if field["type"] == "array" else (*path, name)
        if field["type"] == "array":
            yield at, inner
        if inner["type"] == "object":
            yield from fields(inner.get("properties", {}), at)


def text_of(path):
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]


def with_value(method, path, value):
    """Params that are right but for the one value."""
    params = required(method)
    here, schema = params, SCHEMA[method]["params"]
    for part, after in zip(path, (*path[1:], None)):
        if isinstance(part, int):
            schema = schema["items"]
        else:
            schema = schema["properties"][part]
            if after is not None and part not in here:
                here[part] = valid(part, schema)
        if after is None:
            here[part] = value
        elif isinstance(here, list) and not here:
            here.append(valid("", schema))
        here = here[part]
    return params


ALL = [(method, path, field) for method in SCHEMA for path, field in fields(SCHEMA[method]["params"]["properties"])]


def refused(client, method, params):
    client_answer = client.answer(client.request(method, params))
    assert "error" in client_answer, f"{method} takes {params}"
    return RpcError(client_answer["error"])


def test_every_field_of_every_method_is_named_when_its_value_is_of_the_wrong_kind(client):
    assert len(ALL) > 300
    for method, path, field in ALL:
        wrong = 7 if field["type"] in ("array", "object") or field["type"] == "string" else {"no": 1}
        error = refused(client, method, with_value(method, path, wrong))
        assert error.field == text_of(path), f"{method} {text_of(path)}: {error}"
        assert text_of(path) in error.reason, f"{method}: {error}"


def test_every_number_is_named_when_it_is_out_of_range(client):
    for method, path, field in ALL:
        if field["type"] == "integer":
            for value in (field["minimum"] - 1, field["maximum"] * 2 + 1, 0.5):
                error = refused(client, method, with_value(method, path, value))
                assert error.field == text_of(path) and text_of(path) in error.reason, f"{method}: {error}"


def test_every_required_field_is_named_when_it_is_missing(client):
    for method in SCHEMA:
        for name in SCHEMA[method]["params"]["required"]:
            error = refused(client, method, {k: v for k, v in required(method).items() if k != name})
            assert error.field == name and error.reason == f"{name} is required"


def make_world(client):
    client.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.5"])
    client.call("policy.add", name="pol")
    client.call("group.add", name="grp")
    client.call("member.add", group="grp", prefix="10.0.0.0/24")


# Texts that a handler reads, with what it cannot read; and what they are tried with.
ASIDE = {"packet.explain": {"src": "10.0.0.5", "dst": "10.0.0.6", "dport": 80, "port": "p"},
         "capture.start": {"point": "drop", "file": "/tmp/never"}, "port.add": {"name": "v", "kind": "vhost"},
         "endpoint.attach": {"kind": "vhost-user"}, "pair.add": {"internal": "10.0.0.5", "external": "192.0.2.7"}}
FREE = {("endpoint.attach", "container"), ("endpoint.attach", "ifname"), ("endpoint.check", "ifname"), ("sys.hello", "client"),
        ("port.add", "device"), ("port.add", "ifname")}  # any text is one


def test_every_text_that_a_handler_reads_is_named_when_it_cannot_be_read(client):
    make_world(client)
    tried = 0
    for method, path, field in ALL:
        if field["type"] not in ("string", ["integer", "string"]) or "format" in field or "enum" in field:
            continue
        if (method, path[0]) in FREE:
            continue
        params = {**with_value(method, path, "?!"), **{k: v for k, v in ASIDE.get(method, {}).items() if k != path[0]}}
        if path[0] == "icmp":
            params["proto"] = "icmp"
        if path[0] in ("sports", "dports"):
            params["proto"] = "tcp"
        error = refused(client, method, params)
        assert error.field == text_of(path), f"{method} {params}: {error}"
        assert text_of(path) in error.reason or "?!" in error.reason, f"{method}: {error}"
        tried += 1
    assert tried > 40


# Fields that name an object: (method, params, field)
NAMED = [
    ("endpoint.add", {"id": "x", "port": "none", "addresses": ["10.0.0.9"]}, "port"),
    ("route.add", {"prefix": "10.9.0.0/16", "port": "none"}, "port"),
    ("route.add", {"prefix": "10.9.0.0/16", "tunnel": "none"}, "tunnel"),
    ("route.add", {"prefix": "10.9.0.0/16", "via": "203.0.113.1"}, "via"),
    ("neigh.add", {"port": "none", "address": "10.0.0.1", "mac": "02:00:00:00:00:01"}, "port"),
    ("mirror.add", {"name": "m", "from": "none", "to": "p"}, "from"),
    ("mirror.add", {"name": "m", "from": "p", "to": "none"}, "to"),
    ("member.add", {"group": "none", "prefix": "10.0.0.0/8"}, "group"),
    ("member.list", {"group": "none"}, "group"),
    ("rule.add", {"policy": "none", "name": "r", "direction": "egress", "action": "deny"}, "policy"),
    ("rule.add", {"policy": "pol", "name": "r", "direction": "egress", "action": "deny", "sources": [{"group": "none"}]},
     "sources[0]"),
    ("rule.list", {"policy": "none"}, "policy"),
    ("policy.bind", {"policy": "none", "endpoint": "e"}, "policy"),
    ("snat.add", {"name": "r", "pool": "none"}, "pool"),
    ("conn.list", {"endpoint": "none"}, "endpoint"),
    ("conn.list", {"port": "none"}, "port"),
    ("flow.flush", {"port": "none"}, "port"),
    ("drop.show", {"port": "none"}, "port"),
    ("trace.start", {"port": "none"}, "port"),
    ("capture.start", {"file": "/tmp/never", "port": "none"}, "port"),
    ("packet.explain", {"port": "none", "src": "10.0.0.5", "dst": "10.0.0.6", "dport": 80}, "port"),
    ("port.show", {"name": "none"}, "name"), ("port.del", {"name": "none"}, "name"),
    ("tunnel.show", {"name": "none"}, "name"), ("service.show", {"name": "none"}, "name"),
    ("policy.show", {"name": "none"}, "name"), ("endpoint.show", {"id": "none"}, "id"),
    ("endpoint.detach", {"id": "none"}, "id"),
]


def test_every_field_that_names_an_object_which_is_not_there_is_named(client):
    make_world(client)
    for method, params, field in NAMED:
        error = refused(client, method, params)
        assert error.code == 1 and error.field == field, f"{method}: {error}"
        assert field in error.reason or "none" in error.reason, f"{method}: {error}"


def test_sentence_of_a_rule_names_the_field(running, client):
    make_world(client)
    words = ["rule", "add", "pol", "r1", "ingress", "deny"]
    assert running.ctl(*words, "proto=http", code=1) == \
        "leatctl: rule.add policy=pol name=r1: proto: must be tcp, udp, sctp, icmp, icmpv6 or a number\n"
    assert "sources[1]: needs either a group or a prefix" in running.ctl(*words, 'sources=[{"group":"grp"},{}]', code=1)


@pytest.mark.parametrize("words,method,code,field", [
    (["rule", "add", "pol", "r1", "ingress", "deny", "proto=http"], "rule.add", -32602, "proto"),
    (["port", "del", "p9"], "port.del", 1, "name"),
    (["route", "add"], "route.add", -32602, "prefix"),
    (["route", "add", "10.0.0.1/8"], "route.add", -32602, "prefix"),
    (["port", "add", "p", "ring", "mtu=big"], "port.add", -32602, "mtu"),
    (["port", "explode"], None, -32602, None), (["--no-such"], None, -32602, None), (["top", "now"], None, -32602, None),
    (["config", "apply", "/no/such/file"], None, -32602, None),
])
def test_errors_are_json_when_json_is_asked_for(running, client, words, method, code, field):
    make_world(client)
    done = subprocess.run([LEATCTL, "-i", running.instance, "--json", *words], capture_output=True, text=True,
                          timeout=DEADLINE_S)
    error = json.loads(done.stderr)["error"]
    assert done.returncode in (1, 2)
    assert (error["code"], error.get("method"), error.get("field")) == (code, method, field) and error["reason"]


def test_error_without_a_daemon_is_json_too():
    done = subprocess.run([LEATCTL, "-i", "no-such-instance", "status", "--json"], capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 3 and json.loads(done.stderr)["error"]["code"] == -1


def test_error_of_a_configuration_names_the_call_and_its_object(running, client, tmp_path):
    make_world(client)
    calls = [{"method": "policy.add", "params": {"name": "other"}},
             {"method": "rule.add", "params": {"policy": "other", "name": "web", "direction": "ingress", "action": "allow",
                                               "proto": "http"}}]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calls))
    text = running.ctl("config", "apply", str(path), code=1)
    assert "nothing was changed: rule.add policy=other name=web: proto: must be tcp" in text
    done = subprocess.run([LEATCTL, "-i", running.instance, "--json", "config", "apply", str(path)], capture_output=True,
                          text=True, timeout=DEADLINE_S)
    assert json.loads(done.stderr)["error"]["field"] == "calls[1].proto"
    calls[1]["params"]["action"] = "maybe"
    path.write_text(json.dumps(calls))
    assert "rule.add policy=other name=web: action must be one of" in running.ctl("config", "apply", str(path), code=2)


def test_error_in_a_late_part_of_a_transaction_has_the_place_in_the_whole(client):
    calls = [{"method": "policy.add", "params": {"name": f"p{i}"}} for i in range(10)]
    calls.append({"method": "policy.add", "params": {"name": "p10", "tier": -1}})
    with pytest.raises(RpcError) as info:
        client.txn(calls, size=4)
    assert info.value.field == "calls[10].tier" and info.value.reason.startswith("policy.add name=p10: tier must be")


USED = [
    ("port.del", {"name": "up"}, {"tunnel t", "route 10.7.0.0/16", "neigh 192.0.2.9"}),
    ("port.del", {"name": "p"}, {"endpoint e"}),
    ("tunnel.del", {"name": "t"}, {"route 10.8.0.0/16"}),
    ("group.del", {"name": "grp"}, {"member 10.0.0.0/24", "rule r of policy pol"}),
    ("policy.del", {"name": "pol"}, {"rule r", "binding to e"}),
    ("pool.del", {"name": "out"}, {"snat rule s"}),
    ("zone.del", {"id": 7}, {"port z", "route 10.6.0.0/16 of zone 7"}),
]


def test_object_that_is_used_is_kept_and_its_users_are_named(client):
    make_world(client)
    client.call("tunnel.add", name="t", type="vxlan", remote="192.0.2.2", vni=5, remote_mac="02:00:00:00:00:02")
    client.call("route.add", prefix="10.7.0.0/16", via="192.0.2.9")
    client.call("route.add", prefix="10.8.0.0/16", tunnel="t")
    client.call("neigh.add", port="up", address="192.0.2.9", mac="02:00:00:00:00:09")
    client.call("rule.add", policy="pol", name="r", direction="ingress", action="deny", sources=[{"group": "grp"}])
    client.call("policy.bind", policy="pol", endpoint="e")
    client.call("pool.add", name="out", addresses=["192.0.2.5"])
    client.call("snat.add", name="s", pool="out")
    client.call("zone.add", id=7)
    client.call("port.add", name="z", kind="ring", zone=7)
    client.call("route.add", prefix="10.6.0.0/16", zone=7, port="z")
    for method, params, users in USED:
        error = refused(client, method, params)
        assert error.code == 4 and error.field in params, str(error)
        assert set(error.reason.split(" is used by ")[1].split(", ")) == users, error.reason


def test_users_are_named_up_to_a_few_and_the_rest_counted(client):
    make_world(client)
    for i in range(20):
        client.call("route.add", prefix=f"10.{i + 20}.0.0/16", port="up")
    reason = refused(client, "port.del", {"name": "up"}).reason
    assert reason.count("route ") == 6 and reason.endswith(" and 14 more")
