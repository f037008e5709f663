# SPDX-License-Identifier: BSD-3-Clause
"""The measuring programs run and write what they promise. Tiny counts; no judgement on speed."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
PVP_FIELDS = {"scenario", "peer", "frame_bytes", "flows", "round", "mpps", "refused_share", "cycles_per_packet"}
sys.path.insert(0, str(ROOT / "perf"))
from harness import needs  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(autouse=True)
def machine():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores: a switch and a generator")


def run(*argv, seconds=180):
    with subprocess.Popen([str(ROOT / argv[0]), *map(str, argv[1:])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.terminate()  # it tidies up: a killed one would leave its switches behind
            out, err = child.communicate()
            err += f"not done after {seconds} s"
    assert child.returncode == 0, f"{' '.join(map(str, argv))}\n{out}\n{err}"
    return out


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def need(scenario, peer):
    why = needs.missing(scenario, peer)
    if why:
        pytest.skip(why)


@pytest.mark.parametrize("scenario,peer", [("pvp-l3", "leat"), ("pvp-l3", "testpmd"), ("pvp-l3", "ovs"),
                                           ("pvp-vxlan", "leat"), ("pvp-vxlan", "testpmd"), ("pvp-vxlan", "ovs"),
                                           ("pvp-service", "leat"), ("pvp-service", "testpmd"), ("pvp-service", "ovs")])
def test_pvp_peer_writes_a_line_a_row(tmp_path, scenario, peer):
    need(scenario, peer)
    out = tmp_path / "rows"
    run("perf/run", scenario, "--peers", peer, "--rounds", 1, "--frames", "64,imix", "--flows", "1,100",
        "--seconds", 0.05, "--json", out)
    rows = lines(out)
    assert [(r["frame_bytes"], r["flows"]) for r in rows] == [(64, 1), (64, 100), ("imix", 1), ("imix", 100)]
    for r in rows:
        assert PVP_FIELDS <= set(r), PVP_FIELDS - set(r)
        assert (r["scenario"], r["peer"], r["round"]) == (scenario, peer, 1)
        assert r["mpps"] > 0 and 0 <= r["refused_share"] <= 1
        assert r["warmed"] == r["flows"]
        assert r["corrupt"] == r["misdelivered"] == r["duplicate"] == r["reordered"] == 0


def test_pvp_latency_lines_are_ordered(tmp_path):
    out = tmp_path / "rows"
    run("perf/run", "pvp-l3", "--peers", "leat", "--rounds", 1, "--frames", "64", "--flows", "10", "--seconds", 0.05,
        "--latency", "--json", out)
    rows = [r for r in lines(out) if "load" in r]
    assert [r["load"] for r in rows] == [0.1, 0.5, 0.9]
    for r in rows:
        assert 0 < r["p50_ns"] <= r["p99_ns"] <= r["p999_ns"] <= r["max_ns"]


@pytest.mark.parametrize("scenario,peer", [("tcp-pod", "leat"), ("tcp-pod", "kernel"), ("tcp-pod", "ovs"),
                                           ("tcp-vxlan", "leat"), ("tcp-vxlan", "kernel"), ("tcp-vxlan", "ovs")])
def test_tcp_peer_writes_a_line(tmp_path, scenario, peer):
    need(scenario, peer)
    out = tmp_path / "rows"
    run("perf/run", scenario, "--peers", peer, "--rounds", 1, "--seconds", 1, "--mtu", 1500, "--json", out)
    rows = lines(out)
    assert len(rows) == 1 and PVP_FIELDS <= set(rows[0])
    assert rows[0]["gbps"] > 0 and rows[0]["mtu"] == 1500


def test_bench_writes_lines_and_plots(tmp_path):
    out = tmp_path / "rows"
    run("perf/bench", "--quick", "--json", out, "--plots", tmp_path)
    rows = lines(out)
    for r in rows:
        assert {"name", "value", "unit"} <= set(r)
    names = {r["name"] for r in rows}
    assert {"hit", "stage", "new_flow", "new_flows"} <= names
    assert {r["kind"] for r in rows if r["name"] == "hit"} == {"udp4", "tcp4", "udp6", "encap", "decap"}
    assert all(r["value"] > 0 for r in rows if r["name"] in ("hit", "new_flow", "new_flows"))
    if shutil.which("valgrind"):
        assert any(r["name"] == "instructions" and r["value"] > 0 for r in rows)
    plots = sorted(tmp_path.glob("*.svg"))
    assert len(plots) >= 3
    for p in plots:
        assert ElementTree.parse(p).getroot().tag.endswith("svg")


@pytest.mark.parametrize("peer", ["leat", "nftables", "iptables-legacy"])
def test_scale_services_writes_a_line_a_measure(tmp_path, peer):
    need("scale-services", peer)
    out = tmp_path / "rows"
    run("perf/run", "scale-services", "--peers", peer, "--rounds", 1, "--services", 5, "--changes", 2, "--seconds", 0.05,
        "--json", out, "--plots", tmp_path)
    rows = lines(out)
    beside = ["established", "established-one"] if peer == "leat" else ["established"]
    assert [r["measure"] for r in rows] == ["load", *beside, *["first-packet"] * 3, *["busy-first-packet"] * 3, "add-ack", "add-effect",
                                            "change-ack", "change-effect"]
    assert [r["position"] for r in rows if "position" in r] == ["first", "middle", "last"] * 2
    for r in rows:
        assert (r["peer"], r["services"], r["round"]) == (peer, 5, 1)
        assert r["value"] > 0 and r.get("lost", 0) == 0
    assert len(list(tmp_path.glob("services-*.svg"))) == 2


def test_scale_rules_measures_all_counts_in_turn(tmp_path):
    out = tmp_path / "rows"
    run("perf/run", "scale-rules", "--rounds", 1, "--rules", "10,25", "--changes", 2, "--seconds", 0.05, "--json", out, seconds=400)
    rows = lines(out)
    in_turn = ["load", "established", "new-connections", "first-packet", "busy-first-packet"]
    assert [r["measure"] for r in rows] == 2 * [*(m for m in in_turn for _ in range(2)), *["add-ack", "add-effect"] * 2]
    assert [r["shape"] for r in rows] == ["acl"] * 14 + ["policies"] * 14
    assert [r["rules"] for r in rows] == 2 * (5 * [10, 25] + [10] * 2 + [25] * 2)
    assert all(r["value"] > 0 for r in rows)
    assert all(r[ratio] == 1 for r in rows for ratio in ("rate_ratio", "cycles_ratio", "p50_ratio", "p99_ratio") if ratio in r and r["rules"] == 10)


def test_syn_flood_writes_a_line_a_rate(tmp_path):
    out = tmp_path / "rows"
    run("perf/run", "syn-flood", "--rounds", 1, "--seconds", 0.1, "--json", out)
    quiet, flooded = lines(out)
    assert quiet["flood_pps"] == 0 < flooded["flood_pps"]
    assert quiet["unit"] == flooded["unit"] == "%"
