# SPDX-License-Identifier: BSD-3-Clause
"""Connection tracking through the API: settings that survive, limits, filters."""
import pytest

DEFAULTS = {"tcp_strict": False, "early_drop": True, "tcp_syn_sent_s": 240, "tcp_syn_recv_s": 240,
            "tcp_established_s": 7440, "tcp_fin_wait_s": 7440, "tcp_time_wait_s": 240, "tcp_closed_s": 240,
            "udp_new_s": 120, "udp_replied_s": 300, "icmp_new_s": 60, "icmp_replied_s": 60, "other_new_s": 60,
            "other_replied_s": 600}


def test_settings_are_set_whole_and_reset(client):
    assert client.call("conntrack.show") == DEFAULTS
    client.call("conntrack.set", tcp_strict=True, udp_new_s=7)
    assert client.call("conntrack.show") == {**DEFAULTS, "tcp_strict": True, "udp_new_s": 7}
    client.call("conntrack.set", early_drop=False)
    assert client.call("conntrack.show") == {**DEFAULTS, "early_drop": False}
    client.call("conntrack.reset")
    assert client.call("conntrack.show") == DEFAULTS
    client.fails(1, "conntrack.reset")
    client.call("conntrack.reset", missing_ok=True)


def test_settings_and_limits_survive_a_kill(leatd):
    client = leatd.start().client()
    client.call("conntrack.set", tcp_strict=True, udp_new_s=7)
    client.call("zone.add", id=0, max_conns=1000)
    leatd.kill()
    client = leatd.start().client()
    assert client.call("conntrack.show") == {**DEFAULTS, "tcp_strict": True, "udp_new_s": 7}
    assert [z["max_conns"] for z in client.list("zone.list")] == [1000]


@pytest.mark.parametrize("field", [name for name in DEFAULTS if name.endswith("_s")])
def test_time_outs_have_a_range(client, field):
    for value in (0, -1, 2592001):
        assert client.fails(-32602, "conntrack.set", **{field: value}).field == field
    assert client.call("conntrack.show") == DEFAULTS


def test_failed_transaction_brings_the_settings_before_it_back(client):
    client.call("conntrack.set", udp_new_s=7)
    with pytest.raises(Exception):
        client.txn([{"method": "conntrack.set", "params": {"udp_new_s": 9}},
                    {"method": "endpoint.add", "params": {"id": "x", "port": "none", "addresses": ["10.0.0.1"]}}])
    assert client.call("conntrack.show") == {**DEFAULTS, "udp_new_s": 7}


def test_limits_of_endpoints_and_zones_are_shown(client):
    client.call("zone.add", id=0, max_conns=1000)
    assert [(z["max_conns"], z["conns"]) for z in client.list("zone.list")] == [(1000, 0)]
    client.call("zone.del", id=0)
    client.call("port.add", name="p1", kind="ring")
    client.call("endpoint.add", id="a", port="p1", addresses=["10.0.0.1"], max_conns=10, max_new_conns_per_s=5)
    shown = client.call("endpoint.show", id="a")
    assert (shown["max_conns"], shown["max_new_conns_per_s"]) == (10, 5)


def test_lists_and_flush_take_the_same_filters(client):
    for method in ("flow.list", "conn.list", "flow.flush"):
        assert client.fails(1, method, endpoint="nobody").field == "endpoint"
        assert client.fails(-32602, method, state="dead").field == "state"
        client.call(method, state="established", proto=6, src="10.0.0.0/8", dport=80, zone=0)
    assert client.call("flow.flush") == {"flushed": 0}


def test_protocol_of_a_filter_is_a_name_or_a_number(client):
    for method in ("flow.list", "conn.list", "flow.flush", "trace.start"):
        for proto in ("tcp", "icmpv6", "17", 17, -1, "-1"):
            client.call(method, proto=proto)
        for proto in ("quic", "256", "", 256, -2, 1.5, True):
            assert client.fails(-32602, method, proto=proto).field == "proto"
