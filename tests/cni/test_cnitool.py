# SPDX-License-Identifier: BSD-3-Clause
"""The same through libcni, the library of containerd, CRI-O and Multus: its cnitool, built with Go."""

import glob
import json
import os
import shutil
import subprocess

import pytest
from conftest import IPAM_DIRS, PLUGIN, ROOT, VERSIONS

VERSION = "v1.3.0"
MODULE = f"github.com/containernetworking/cni/cnitool@{VERSION}"


def build(folder):
    """Builds cnitool into the folder; why not, if it cannot."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return "no Go"
    # tests may run in a network namespace without a way out; modules come through that of the machine
    env = dict(os.environ, GOBIN=folder, GOFLAGS="-mod=mod", CGO_ENABLED="0")
    env.setdefault("HOME", "/root")
    proc = None
    for wrapper in ([], ["nsenter", "--net=/proc/1/ns/net"]):
        try:
            proc = subprocess.run([*wrapper, go, "install", MODULE], env=env, cwd=folder, timeout=240,
                                  capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return "go install does not end"
        if proc.returncode == 0:
            return None
    return "go install: " + proc.stderr.strip()[-300:]


@pytest.fixture(scope="module")
def cnitool():
    folder = os.path.join(ROOT, ".cache", f"cnitool-{VERSION}")
    path = os.path.join(folder, "cnitool")
    os.makedirs(folder, exist_ok=True)
    if not os.access(path, os.X_OK):
        reason = build(folder)
        if reason is not None:
            pytest.skip(f"no cnitool: {reason}")
    return path


@pytest.fixture
def tool(cnitool, live, tmp_path, monkeypatch):
    confdir = tmp_path / "net.d"
    confdir.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(verb, network, netns=None, expect=0, **env):
        environ = dict(os.environ, NETCONFPATH=str(confdir),
                       CNI_PATH=":".join([os.path.dirname(PLUGIN), *IPAM_DIRS]), **env)
        argv = [cnitool, verb, network]
        if netns:
            argv.append(netns)
        proc = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
        assert (proc.returncode == 0) == (expect == 0), f"{verb}: {proc.stdout} {proc.stderr}"
        return proc

    def network(version, **keys):
        name = live.instance  # libcni keeps results by network: ours alone
        plugin = live.conf(version, name=name, **keys)
        del plugin["cniVersion"], plugin["name"]
        plugin["capabilities"] = {"ips": True, "mac": True, "bandwidth": True}
        (confdir / f"{name}.conflist").write_text(json.dumps(
            {"cniVersion": version, "name": name, "plugins": [plugin]}))
        return name

    run.network = network
    yield run
    for path in glob.glob(f"/var/lib/cni/results/{live.instance}-*"):
        os.unlink(path)


@pytest.mark.parametrize("version", VERSIONS)
def test_add_check_del(tool, live, netns, version):
    name = tool.network(version)
    result = json.loads(tool("add", name, netns).stdout)
    assert result["cniVersion"] == version
    assert result["interfaces"][0]["name"] == "eth0"
    if version >= "0.4.0":
        tool("check", name, netns)
        subprocess.run(["ip", "-n", os.path.basename(netns), "route", "del", "default"], check=True)
        assert "default" in tool("check", name, netns, expect=1).stderr or "0.0.0.0/0" in \
            tool("check", name, netns, expect=1).stderr
    tool("del", name, netns)
    tool("del", name, netns)
    assert live.leatd.endpoints() == []


def test_capabilities(tool, live, netns):
    name = tool.network("1.1.0")
    args = {"ips": ["10.77.5.5/16"], "mac": "0a:00:00:00:00:55",
            "bandwidth": {"ingressRate": 1000000, "ingressBurst": 800000, "egressRate": 1000000,
                          "egressBurst": 800000}}
    result = json.loads(tool("add", name, netns, CAP_ARGS=json.dumps(args)).stdout)
    assert result["ips"][0]["address"] == "10.77.5.5/32"
    assert result["interfaces"][0]["mac"] == "0a:00:00:00:00:55"
    tool("del", name, netns, CAP_ARGS=json.dumps(args))


def test_status_and_gc(tool, live, make_netns):
    name = tool.network("1.1.0")
    netns = make_netns()
    tool("status", name, netns)
    tool("add", name, netns)
    assert len(live.leatd.endpoints()) == 1
    # cnitool sends no list at all, after a DEL of everything that libcni has cached: the plugin does not take that
    # for an empty list
    assert "cni.dev/valid-attachments" in tool("gc", name, netns, expect=1).stderr
    assert live.leatd.endpoints() == []


def test_error_of_the_plugin_is_understood(tool, live, netns):
    name = tool.network("1.1.0", mtu=20)
    proc = tool("add", name, netns, expect=1)
    assert "mtu" in proc.stderr
