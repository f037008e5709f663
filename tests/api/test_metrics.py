# SPDX-License-Identifier: BSD-3-Clause
"""Metrics: what a scraper asks for it gets, in numbers that stay bounded; promtool is the judge of the text format."""
import re
import shutil
import socket
import subprocess

import pytest

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
SAMPLE = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)$')


def scrape(running, accept=None):
    """(content type, text) of GET /metrics."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(running.run_dir + "/metrics.sock")
        header = f"Accept: {accept}\r\n" if accept is not None else ""
        sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n".encode())
        data = b""
        while chunk := sock.recv(65536):
            data += chunk
    head, body = data.decode().split("\r\n\r\n", 1)
    assert head.startswith("HTTP/1.1 200")
    return re.search(r"Content-Type: (.*)", head)[1].strip(), body


def samples(text):
    """{(name, labels): value}"""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, line
            assert (match[1], match[2]) not in found, line
            found[match[1], match[2]] = float(match[3])
    return found


@pytest.mark.parametrize("accept,kind", [
    (None, TEXT), ("", TEXT), ("*/*", TEXT), ("text/plain", TEXT), ("text/plain;version=0.0.4", TEXT), ("application/json", TEXT),
    ("application/openmetrics-text", OPEN), ("Application/OpenMetrics-Text; version=1.0.0", OPEN), (PROMETHEUS, OPEN),
    ("text/plain, application/openmetrics-text;q=0.4", TEXT), ("text/plain;q=0.3,application/openmetrics-text ; q=0.4", OPEN),
    ("application/openmetrics-text;q=0, */*", TEXT), ("application/openmetrics-text2", TEXT), (";q=,,q=1;;", TEXT),
])
def test_accept_chooses_the_format(running, accept, kind):
    got, text = scrape(running, accept)
    assert got == kind
    assert text.endswith("\n# EOF\n") == (kind == OPEN) and ("# EOF" in text) == (kind == OPEN)


def test_text_format_names_counters_and_infos_by_their_samples(running):
    text = scrape(running)[1]
    families = dict(line.split(" ")[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert families["leat_control_calls_total"] == "counter" and families["leat_build_info"] == "gauge"
    assert {name for name, _ in samples(text)} <= families.keys()


def test_both_formats_have_the_same_samples(running):
    assert samples(scrape(running)[1]).keys() == samples(scrape(running, OPEN)[1]).keys()


def full_house(client):
    """A service, a policy with a rule, a snat rule, an endpoint: every family has samples."""
    client.call("service.add", name="web", frontends=[{"kind": "cluster", "ip": "10.96.0.1", "port": 80}],
                backends=[{"ip": "10.0.0.1", "port": 8080}, {"ip": "10.0.0.2", "port": 8080, "local": "yes"}])
    client.call("policy.add", name="shield", ingress="deny")
    client.call("rule.add", policy="shield", name="web", direction="ingress", action="allow", proto="tcp", dports=["8080"])
    client.call("snat.add", name="all")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_promtool_takes_the_text_format(running, client):
    full_house(client)
    done = subprocess.run(["promtool", "check", "metrics"], input=scrape(running)[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_no_label_collides_with_the_scraper_s(running, client):
    full_house(client)
    for _, labels in samples(scrape(running)[1]):
        assert not re.search(r'(^|,)(instance|job)="', labels or ""), labels


def test_services_and_rules_have_metrics_of_their_own(running, client):
    full_house(client)
    found = samples(scrape(running)[1])
    for part in ("connections", "packets", "bytes"):
        assert found[f"leat_service_{part}_total", 'service="web",zone="0"'] == 0
        assert found[f"leat_rule_{part}_total", 'kind="policy",of="shield",rule="web"'] == 0
        assert found[f"leat_rule_{part}_total", 'kind="snat",of="0",rule="all"'] == 0
    assert found["leat_service_local_ready_backends", 'service="web",zone="0"'] == 1
    assert found["leat_services", None] == 1 and found["leat_rules", None] == 2
    client.call("service.del", name="web")
    assert not any("web" in (labels or "") for name, labels in samples(scrape(running)[1]) if name.startswith("leat_service"))


def test_objects_with_metrics_are_bounded(running, client):
    txn = client.call("txn.begin")["txn"]
    client.call("txn.add", txn=txn, calls=[{"method": "service.add", "params": {"name": f"s{i}", "backends": [], "frontends": [
        {"kind": "cluster", "ip": f"10.96.{i // 256}.{i % 256}", "port": 80}]}} for i in range(1100)])
    client.call("txn.commit", txn=txn)
    found = samples(scrape(running)[1])
    assert sum(name == "leat_service_connections_total" for name, _ in found) == 1000
    assert found["leat_services", None] == 1100
    assert found["leat_metrics_left_out", 'kind="service"'] == 100 and found["leat_metrics_left_out", 'kind="rule"'] == 0
