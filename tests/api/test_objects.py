# SPDX-License-Identifier: BSD-3-Clause
"""Objects: add, list, show, delete; what refers to what; transactions."""
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from waiting import wait_for


def uplink(client, name="up", address="192.0.2.1/24"):
    client.call("port.add", name=name, kind="ring", role="uplink", addresses=[address])


def routes_of(client, origin="static"):
    return {r["prefix"]: r for r in client.list("route.list") if r["origin"] == origin}


def test_port_is_added_listed_shown_and_removed(client):
    client.call("port.add", name="p1", kind="ring", mtu=9000)
    assert [p["name"] for p in client.list("port.list")] == ["p1"]
    assert client.call("port.show", name="p1")["mtu"] == 9000
    assert client.fails(2, "port.add", name="p1", kind="ring")
    client.call("port.add", name="p1", kind="ring", mtu=9000, exist_ok=True)
    assert client.fails(2, "port.add", name="p1", kind="ring", mtu=1500, exist_ok=True).field == "mtu"
    client.call("port.del", name="p1")
    client.fails(1, "port.del", name="p1")
    client.call("port.del", name="p1", missing_ok=True)
    assert client.list("port.list") == []


@pytest.mark.parametrize("device", ["net_af_packet0,iface=lo", "net_af_packet0,iface=lo,framesz=2048"])
def test_uplink_on_the_loopback_is_refused(client, device):
    error = client.fails(-32602, "port.add", name="up", kind="ethdev", role="uplink", device=device)
    assert error.field == "device" and "loopback" in error.reason
    assert client.list("port.list") == []


def test_device_that_cannot_be_opened_is_the_field(client):
    error = client.fails(1, "port.add", name="up", kind="ethdev", role="uplink", device="net_af_packet0,iface=none0")
    assert error.field == "device"


@pytest.mark.parametrize("address", ["192.0.2.1/0", "2001:db8::1/0"])
def test_interface_address_that_spans_everything_is_refused(client, address):
    error = client.fails(-32602, "port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.9/24", address])
    assert error.field.startswith("addresses") and "at least 1" in error.reason
    error = client.fails(-32602, "endpoint.attach", id="v", kind="vhost-user", addresses=[address])
    assert error.field.startswith("addresses")
    assert client.list("route.list") == [] and client.list("endpoint.list") == []


def test_256_ports_come_and_go(client):
    client.txn([{"method": "port.add", "params": {"name": f"p{i}", "kind": "ring"}} for i in range(256)])
    assert len(client.list("port.list", limit=50)) == 256
    client.txn([{"method": "port.del", "params": {"name": f"p{i}"}} for i in range(256)])
    assert client.list("port.list") == []


def test_endpoint_owns_its_addresses(client):
    client.call("port.add", name="p1", kind="ring")
    client.call("port.add", name="p2", kind="ring")
    client.call("endpoint.add", id="a", port="p1", addresses=["10.0.0.1", "fd00::1"])
    error = client.fails(5, "endpoint.add", id="b", port="p2", addresses=["10.0.0.2", "fd00::1"])
    assert error.field == "addresses" and "fd00::1" in error.reason and " a" in error.reason
    client.call("endpoint.add", id="b", port="p2", addresses=["10.0.0.2"], zone=0)
    client.fails(4, "port.del", name="p1")
    assert client.call("endpoint.show", id="a")["mac"] == "0a:58:0a:00:00:01"
    client.call("endpoint.del", id="a")
    client.call("port.del", name="p1")
    client.fails(1, "endpoint.show", id="a")


def test_gateway_is_nobody_elses(client):
    client.call("port.add", name="p1", kind="ring")
    for address in ("169.254.1.1", "fe80::1"):
        assert client.fails(-32602, "endpoint.add", id="a", port="p1", addresses=[address]).field == "addresses"
        error = client.fails(-32602, "port.add", name="up", kind="ring", role="uplink", addresses=[address])
        assert error.field == "addresses" and "gateway" in error.reason
    error = client.fails(-32602, "endpoint.add", id="a", port="p1", addresses=["10.0.0.1"], mac="02:1e:a7:00:00:01")
    assert error.field == "mac"
    assert [p["name"] for p in client.list("port.list")] == ["p1"] and client.list("endpoint.list") == []


def test_same_address_lives_in_two_zones(client):
    for zone in (1, 2):
        client.call("zone.add", id=zone, name=f"z{zone}")
        client.call("port.add", name=f"p{zone}", kind="ring", zone=zone)
        client.call("endpoint.add", id=f"e{zone}", port=f"p{zone}", zone=zone, addresses=["10.0.0.1"])
    assert client.fails(5, "endpoint.add", id="x", port="p1", zone=2, addresses=["10.0.0.9"]).field == "zone"
    client.fails(4, "zone.del", id=1)


def test_routes_need_a_way_and_hold_it(client):
    uplink(client)
    assert client.fails(1, "route.add", prefix="10.0.0.0/8", via="198.51.100.1").field == "via"
    client.call("route.add", prefix="10.0.0.0/8", via="192.0.2.9")
    client.call("route.add", prefix="10.0.0.0/8", via="192.0.2.9", exist_ok=True)
    client.fails(2, "route.add", prefix="10.0.0.0/8", via="192.0.2.8", exist_ok=True)
    client.call("route.add", prefix="10.9.0.0/16", type="blackhole")
    assert client.call("route.lookup", address="10.9.1.1")["type"] == "blackhole"
    client.call("route.add", prefix="10.10.0.0/16", type="unreachable")
    assert client.call("route.lookup", address="10.10.1.1")["type"] == "unreachable"
    assert client.call("route.lookup", address="10.8.1.1")["via"] == "192.0.2.9"
    assert client.call("route.lookup", address="11.0.0.1")["type"] == "none"
    client.fails(4, "port.del", name="up")
    client.fails(8, "route.del", prefix="192.0.2.0/24")
    client.call("route.del", prefix="10.0.0.0/8")
    client.call("route.del", prefix="10.9.0.0/16")
    client.call("route.del", prefix="10.10.0.0/16")
    client.call("port.del", name="up")
    assert client.list("route.list") == []


def test_routes_are_paged_in_order_and_filtered(client):
    uplink(client)
    calls = [{"method": "route.add", "params": {"prefix": f"10.{i // 256}.{i % 256}.0/24", "via": "192.0.2.9"}}
             for i in range(700)]
    client.txn(calls)
    listed = client.list("route.list", limit=37)
    prefixes = [r["prefix"] for r in listed if r["origin"] == "static"]
    assert prefixes == [c["params"]["prefix"] for c in calls]
    assert len(client.list("route.list", prefix="10.1.0.0/16")) == 256
    assert client.list("route.list", zone=7) == []


def test_tunnel_stands_on_the_uplink_and_is_held_by_routes(client):
    params = {"name": "t", "remote": "192.0.2.7", "vni": 7, "remote_mac": "02:00:00:00:00:07"}
    assert client.fails(1, "tunnel.add", **params).field == "local"
    uplink(client)
    client.call("tunnel.add", **params)
    assert client.call("tunnel.show", name="t")["local"] == "192.0.2.1"
    assert client.call("tunnel.show", name="t")["transit"] is False
    client.call("tunnel.add", **{**params, "name": "out", "vni": 8}, transit=True)
    assert client.call("tunnel.show", name="out")["transit"] is True
    client.call("tunnel.del", name="out")
    client.fails(2, "tunnel.add", **{**params, "name": "t2"})
    client.call("route.add", prefix="10.5.0.0/16", tunnel="t")
    client.fails(4, "tunnel.del", name="t")
    client.fails(4, "port.del", name="up")
    client.call("neigh.add", port="up", address="192.0.2.7", mac="02:00:00:00:00:99")
    shown = client.call("tunnel.show", name="t")
    assert not shown["udp_csum"]
    assert shown["resolved"] and shown["mtu"] == 1450
    client.call("neigh.del", port="up", address="192.0.2.7")
    assert not client.call("tunnel.show", name="t")["resolved"]
    client.call("route.del", prefix="10.5.0.0/16")
    client.call("tunnel.del", name="t")
    client.call("port.del", name="up")


TUNNEL = {"name": "t", "remote": "192.0.2.7", "vni": 7, "remote_mac": "02:00:00:00:00:07"}


def too_big(client, address, size):
    """What happens to an IPv4 packet of that size with DF, from a pod."""
    frame = Ether(src=client.call("port.show", name="p")["mac"], dst=client.call("port.show", name="p")["gateway_mac"]) / IP(
        src="10.0.0.1", dst=address, flags="DF") / UDP(sport=1, dport=2) / Raw(bytes(size - 28))
    answer = client.call("packet.explain", port="p", frame=bytes(frame).hex())
    return answer["verdict"] == "drop" and answer["reason"] == "mtu_exceeded"


def test_mtu_of_tunnels_and_routes_is_in_force_and_changed_in_place(leatd):
    client = leatd.start().client()
    uplink(client)
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.1"])
    for address in ("192.0.2.7", "192.0.2.9"):
        client.call("neigh.add", port="up", address=address, mac="02:00:00:00:00:99")
    client.call("tunnel.add", **TUNNEL, mtu=1000)
    client.call("route.add", prefix="10.5.0.0/16", tunnel="t")
    client.call("route.add", prefix="10.6.0.0/16", tunnel="t", mtu=900)
    client.call("route.add", prefix="10.7.0.0/16", via="192.0.2.9", mtu=900)
    ways = {"10.5.0.1": 1000, "10.6.0.1": 900, "10.7.0.1": 900}
    for _ in range(2):
        for address, mtu in ways.items():
            assert [too_big(client, address, size) for size in (mtu, mtu + 1)] == [False, True], address
        assert client.call("tunnel.show", name="t")["mtu"] == 1000
        leatd.kill()
        client = leatd.start().client()
        wait_for(lambda: client.call("tunnel.show", name="t")["resolved"], "the tunnel's next hop")  # pylint: disable=cell-var-from-loop
    assert client.fails(2, "tunnel.add", **TUNNEL, mtu=1200, exist_ok=True).field == "mtu"
    client.call("tunnel.add", **TUNNEL, mtu=1200, replace=True)
    client.call("route.add", prefix="10.6.0.0/16", tunnel="t", mtu=1100, replace=True)
    client.call("route.add", prefix="10.7.0.0/16", tunnel="t", replace=True)
    for address, mtu in {"10.5.0.1": 1200, "10.6.0.1": 1100, "10.7.0.1": 1200}.items():
        assert [too_big(client, address, size) for size in (mtu, mtu + 1)] == [False, True], address
    assert client.call("tunnel.show", name="t")["routes"] == 3
    with pytest.raises(Exception):  # what is undone has its MTU again
        client.txn([{"method": "tunnel.add", "params": {**TUNNEL, "mtu": 800, "replace": True}},
                    {"method": "route.add", "params": {"prefix": "10.5.0.0/16", "tunnel": "t", "mtu": 800, "replace": True}},
                    {"method": "route.add", "params": {"prefix": "10.8.0.0/16", "tunnel": "nobody"}}])
    assert [too_big(client, "10.5.0.1", size) for size in (1200, 1201)] == [False, True]
    assert client.call("tunnel.show", name="t")["routes"] == 3


@pytest.mark.parametrize("field, other", [("remote", "192.0.2.8"), ("vni", 8), ("zone", 5), ("udp_port", 8472),
                                          ("remote_mac", "02:00:00:00:00:08")])
def test_tunnel_keeps_in_place_what_others_stand_on(client, field, other):
    uplink(client)
    client.call("tunnel.add", **TUNNEL)
    assert client.fails(5, "tunnel.add", **{**TUNNEL, field: other}, replace=True).field == field
    client.call("tunnel.del", name="t")
    client.call("port.del", name="up")


def test_mtu_below_what_every_link_carries_is_refused(client):
    uplink(client)
    assert client.fails(-32602, "tunnel.add", **TUNNEL, mtu=67).field == "mtu"
    assert client.fails(-32602, "route.add", prefix="10.0.0.0/8", via="192.0.2.9", mtu=67).field == "mtu"
    assert client.fails(-32602, "route.add", prefix="fd00::/16", port="up", mtu=1279).field == "mtu"
    client.call("port.del", name="up")


def test_transaction_is_whole_or_nothing(client):
    uplink(client)
    before = client.call("config.dump")
    calls = [{"method": "port.add", "params": {"name": "p", "kind": "ring"}},
             {"method": "endpoint.add", "params": {"id": "e", "port": "p", "addresses": ["10.0.0.1"]}},
             {"method": "route.add", "params": {"prefix": "10.1.0.0/16", "via": "192.0.2.9"}},
             {"method": "route.add", "params": {"prefix": "10.1.0.0/16", "via": "192.0.2.8"}}]
    with pytest.raises(Exception) as info:
        client.txn(calls)
    assert info.value.code == 2 and info.value.field == "calls[3].prefix"
    assert client.call("config.dump") == before
    assert [p["name"] for p in client.list("port.list")] == ["up"]
    assert client.call("route.lookup", address="10.1.0.1")["type"] == "none"
    client.txn(calls[:3])
    assert client.call("route.lookup", address="10.1.0.1")["via"] == "192.0.2.9"


def test_failed_transaction_brings_back_what_it_deleted(client):
    uplink(client)
    client.call("route.add", prefix="10.1.0.0/16", via="192.0.2.9", mtu=1400)
    with pytest.raises(Exception):
        client.txn([{"method": "route.del", "params": {"prefix": "10.1.0.0/16"}},
                    {"method": "route.del", "params": {"prefix": "10.2.0.0/16"}}])
    assert routes_of(client)["10.1.0.0/16"]["mtu"] == 1400


def test_transaction_belongs_to_its_connection(running, client):
    txn = client.call("txn.begin")["txn"]
    other = running.client()
    other.fails(1, "txn.commit", txn=txn)
    assert client.fails(-32602, "txn.add", txn=txn, calls=[{"method": "port.add", "params": {"name": "x"}}]
                        ).field == "calls[0].kind"
    assert client.fails(-32602, "txn.add", txn=txn, calls=[{"method": "sys.hello"}])
    client.call("txn.abort", txn=txn)
    client.fails(1, "txn.commit", txn=txn)


@pytest.mark.parametrize("kind", ["routes", "endpoints"])
def test_ten_thousand_in_one_transaction(running, client, kind):
    uplink(client)
    client.call("port.add", name="p", kind="ring")
    if kind == "routes":
        calls = [{"method": "route.add", "params": {"prefix": f"10.{i >> 8}.{i & 255}.0/24", "via": "192.0.2.9"}}
                 for i in range(10000)]
    else:
        calls = [{"method": "endpoint.add",
                  "params": {"id": f"e{i}", "port": "p", "addresses": [f"10.{i >> 8}.{i & 255}.1"]}}
                 for i in range(10000)]
    other = running.client()
    begin = time.monotonic()
    client.txn(calls, size=1000)
    took = time.monotonic() - begin
    assert other.call("sys.status")[kind] >= 10000
    # the target is 1 s and the usual 0.1 s; what is quadratic takes minutes
    assert took < 10, f"{took:.2f} s"


def test_others_are_served_during_a_long_transaction(running, client):
    uplink(client)
    txn = client.call("txn.begin")["txn"]
    calls = [{"method": "route.add", "params": {"prefix": f"10.{i >> 8}.{i & 255}.0/24", "via": "192.0.2.9"}}
             for i in range(20000)]
    for at in range(0, len(calls), 1000):
        client.call("txn.add", txn=txn, calls=calls[at:at + 1000])
    other = running.client()
    client.request("txn.commit", {"txn": txn})
    times = []
    while other.call("sys.status")["routes"] < 20001:
        begin = time.monotonic()
        other.call("sys.hello")
        times.append(time.monotonic() - begin)
    client.answer()
    times.sort()
    assert not times or times[int(len(times) * 0.99) - 1] < 0.5, times[-10:]


def test_events_tell_what_changes(running, client):
    watcher = running.client()
    watcher.call("event.subscribe", kinds=["port", "route"])
    uplink(client)
    client.call("route.add", prefix="10.0.0.0/8", via="192.0.2.9")
    client.call("port.add", name="p", kind="ring")
    client.call("port.del", name="p")
    seen = []
    while len(seen) < 4:
        seen.append(watcher.line()["params"])
    assert [(e["kind"], e["action"]) for e in seen] == [
        ("port", "add"), ("route", "add"), ("port", "add"), ("port", "del")]
    assert seen[1]["object"]["prefix"] == "10.0.0.0/8"


def test_dump_recreates_the_configuration(running, client):
    uplink(client)
    client.call("port.add", name="p", kind="ring")
    client.call("endpoint.add", id="e", port="p", addresses=["10.0.0.1"])
    client.call("route.add", prefix="10.1.0.0/16", via="192.0.2.9")
    dump = client.call("config.dump")["calls"]
    client.txn([{"method": "route.del", "params": {"prefix": "10.1.0.0/16"}},
                {"method": "endpoint.del", "params": {"id": "e"}},
                {"method": "port.del", "params": {"name": "p"}}, {"method": "port.del", "params": {"name": "up"}}])
    assert client.call("config.dump")["calls"] == []
    client.txn(dump)
    assert client.call("config.dump")["calls"] == dump
