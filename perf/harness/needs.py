# SPDX-License-Identifier: BSD-3-Clause
"""What a run needs before it starts: root, the measuring programs, the peers' programs, hugepages. What is missing is said in a sentence."""
import os
import shutil
import subprocess

from . import procs

OVS = ("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
PEERS = {"testpmd": ("dpdk-testpmd", "stdbuf"), "ovs": OVS, "kernel": ("ip",), "no-rules": ("nft", "taskset"), "nftables": ("nft", "taskset"),
         "iptables-legacy": ("iptables-legacy-restore", "nft", "taskset"), "iptables-nft": ("iptables-nft-restore", "nft", "taskset")}
TOOLS = {"tcp": ("ip", "iperf3", "ping", "ss")}  # by the first word of a scenario
PROGRAMS = ("control/leatd", "perf/leat-gen", "perf/leat-probe", "perf/leat-bench")
# Pages of 2 MiB that a run holds at most, by the first word of its scenario: leat-gen 128, an OVS 512 (two in tcp-vxlan), a leatd 230 with
# 1.2 million flows and up to 256 with rules.
PAGES = {"pvp": {"leat": 358, "testpmd": 256, "ovs": 640}, "tcp": {"leat": 152, "ovs": 1024}, "scale": {"leat": 384}, "syn": {"leat": 358}}


def missing(scenario, peer):
    """Why the peer cannot be measured in the scenario, or None."""
    wanted = (*TOOLS.get(scenario.split("-", maxsplit=1)[0], ()), *PEERS.get(peer, ()))
    tool = next((n for n in wanted if not shutil.which(n)), None)
    return tool and f"{os.path.basename(tool)} is not installed; sudo scripts/deps installs it"


def hugepages(scenario, peer, n_rule_counts=1):
    """Sees to it that enough are free; PerfError if they are not to be had. n_rule_counts: as many leatd run at once in scale-rules."""
    pages = PAGES[scenario.split("-", maxsplit=1)[0]].get(peer, 0)
    if scenario == "scale-rules":
        pages = 128 + 256 * n_rule_counts
    if pages:
        procs.run([os.path.join(procs.ROOT, "scripts", "hugepages"), str(2 * pages)], seconds=60)


def root(program):
    if os.geteuid():
        raise procs.PerfError(f"needs root: sudo {program} …")


def programs():
    """The measuring programs: built here unless LEAT_BUILD names a folder, which then has to have them. PerfError with the line to type."""
    options = ["-Dbenchmarks=true"]
    if not os.environ.get("LEAT_BUILD"):
        _build(procs.BUILD, options)
    lacking = next((p for p in PROGRAMS if not os.access(os.path.join(procs.BUILD, p), os.X_OK)), None)
    if lacking:
        again = " --reconfigure" if os.path.exists(os.path.join(procs.BUILD, "build.ninja")) else ""
        raise procs.PerfError(f"{procs.BUILD}/{lacking} is not there. To build it:\n"
                              f"    meson setup{again} {' '.join(options)} {procs.BUILD} {procs.ROOT} && ninja -C {procs.BUILD}")


def _build(folder, options):
    steps = [["ninja", "-C", folder]]
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        print(f"building in {folder} …", flush=True)
        steps.insert(0, ["meson", "setup", *options, folder, procs.ROOT])
    for step in steps:
        tool = procs.missing_tool(step[0])
        if tool:
            raise procs.PerfError(f"{tool} is not installed; sudo scripts/deps installs it")
        done = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-20:])
            raise procs.PerfError(f"{' '.join(step)} failed:\n{tail}")
