# SPDX-License-Identifier: BSD-3-Clause
"""
tcp-pod and tcp-vxlan: one iperf3 stream between two kernel pods, on one node or across two. Nothing is pinned but the
switch's poll threads: iperf3 shares the two cores with them, as a pod does.
"""
import json
import subprocess
import time

from . import gate, procs
from .lab import Lab
from .peer_tcp import PEERS

TRIES = 3


def iperf(work, ns_a, ns_b, address, seconds):
    """Client in ns_a, server in ns_b; iperf3's summary."""
    server = procs.Proc("iperf3", ["nsenter", f"--net=/run/netns/{ns_b}", "iperf3", "-s", "-1", "-B", address],
                        work.file("iperf-server.log"))
    client = None
    try:
        procs.wait_for("iperf3's server", lambda: f"{address}:5201" in procs.run(
            ["nsenter", f"--net=/run/netns/{ns_b}", "ss", "-Hltn"]), 5)
        client = procs.Proc("iperf3", ["nsenter", f"--net=/run/netns/{ns_a}", "iperf3", "-J", "-c", address, "-t",
                                       str(seconds), "-O", "1"], work.file("iperf-client.log"), stdout=subprocess.PIPE)
        for p in (server, client):
            p.prefer()
        text = client.child.communicate(timeout=seconds + 30)[0]
    except subprocess.TimeoutExpired as e:
        raise procs.PerfError("iperf3 did not end") from e
    finally:
        server.stop()
        if client:
            client.stop()
    end = json.loads(text).get("end")
    if not end or "sum_received" not in end:
        raise procs.PerfError(f"iperf3: {json.loads(text).get('error', text[:200])}")
    return end


def wait_ping(ns_a, address):
    procs.wait_for(f"a ping to {address}", lambda: " 0% packet loss" in procs.run(
        ["nsenter", f"--net=/run/netns/{ns_a}", "ping", "-c", "1", "-W", "1", address], check=False), 20)


def trial(scenario, name, mtu, rnd, opts, emit):
    work, lab, peer = procs.Workdir(), Lab(), None
    row = {"scenario": scenario, "peer": name, "frame_bytes": None, "flows": 1, "round": rnd, "mtu": mtu}
    try:
        peer = PEERS[name](scenario, lab, work, mtu)
        for p in peer.processes():
            p.prefer()
        wait_ping(peer.ns_a, peer.ip_b)
        for attempt in range(1, TRIES + 1):
            peer.reset_cycles()
            pids = [p.pid for p in peer.processes()]
            cpu, started = gate.cpu_seconds(pids), time.monotonic()
            # iperf3 and the kernel's threads are part of the scenario: only what else runs is noise
            window = gate.Window(pids, own_names=("iperf3", "ksoftirqd", "kworker"))
            end = iperf(work, peer.ns_a, peer.ns_b, peer.ip_b, max(1, round(opts.seconds)))
            reasons = window.stop(end["sum_sent"]["seconds"] + 1)
            cpu = (gate.cpu_seconds(pids) - cpu) / (time.monotonic() - started)
            cycles, pkts = peer.cycles()
            line = {**row, "mpps": None, "refused_share": None,
                    "gbps": round(end["sum_received"]["bits_per_second"] / 1e9, 3),
                    "cycles_per_packet": round(cycles / pkts, 1) if pkts else None,
                    "retransmits": end["sum_sent"]["retransmits"],
                    "client_cpu": round(end["cpu_utilization_percent"]["host_total"] / 100, 3),
                    "server_cpu": round(end["cpu_utilization_percent"]["remote_total"] / 100, 3),
                    "switch_cpu": round(cpu, 3) if pids else None, "attempt": attempt, "noisy": reasons}
            if not reasons:
                break
        emit(line)
    except procs.PerfError as e:
        emit({**row, "error": str(e)})
    finally:
        if peer:
            peer.stop()
        lab.remove()
        work.remove()


def run(scenario, peers, opts, emit):
    for mtu in opts.mtu if scenario == "tcp-vxlan" else [1500]:
        for rnd in range(1, opts.rounds + 1):
            for name in peers:
                trial(scenario, name, mtu, rnd, opts, emit)
                time.sleep(opts.pause)
