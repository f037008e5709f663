# SPDX-License-Identifier: BSD-3-Clause
"""Calls leat-cni the way a runtime does. Needs root (network namespaces); says so loudly without it."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
ROOT = os.environ.get("LEAT_ROOT", os.path.dirname(os.path.dirname(HERE)))
BUILD = os.environ.get("LEAT_BUILD", os.path.join(ROOT, "build"))
PLUGIN = os.path.join(BUILD, "cni", "leat-cni")
IPAM_DIRS = ("/usr/lib/cni", "/opt/cni/bin")
VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")

from recorder import Recorder  # noqa: E402


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="leat-cni tests need root for network namespaces"))


class Answer:
    """What a call returned. stdout must be one JSON document or nothing."""

    def __init__(self, proc):
        self.status = proc.returncode
        self.stdout = proc.stdout
        self.stderr = proc.stderr
        self.json = json.loads(proc.stdout) if proc.stdout.strip() else None

    @property
    def code(self):
        if self.status == 0:
            return 0
        assert isinstance(self.json, dict), f"no error object on stdout: {self.stdout!r} {self.stderr!r}"
        assert self.json["msg"], "an error has a message"
        assert self.json["cniVersion"] in VERSIONS
        return self.json["code"]

    @property
    def msg(self):
        return self.json["msg"]

    def ok(self):
        assert self.status == 0, f"{self.stdout} {self.stderr}"
        return self.json


class Cni:
    """One network configuration and the environment of calls for it."""

    def __init__(self, instance, tmp_path, ipam_dirs=IPAM_DIRS):
        self.instance = instance
        self.tmp = tmp_path
        self.path = ":".join([os.path.dirname(PLUGIN), *ipam_dirs])
        self.env = {}

    def conf(self, version="1.1.0", ipam=None, name="net1", **keys):
        conf = {"cniVersion": version, "name": name, "type": "leat-cni", "instance": self.instance}
        conf["ipam"] = ipam if ipam is not None else self.host_local()
        conf.update(keys)
        return conf

    def host_local(self, subnet="10.77.0.0/16", routes=({"dst": "0.0.0.0/0"},), **keys):
        return {"type": "host-local", "dataDir": str(self.tmp / "ipam"), "ranges": [[{"subnet": subnet}]],
                "routes": list(routes), **keys}

    def start(self, verb, conf, container="c1", netns=None, ifname="eth0", args=None, **env):
        environ = {"PATH": os.environ["PATH"], "CNI_COMMAND": verb, "CNI_PATH": self.path, **self.env}
        if verb in ("ADD", "DEL", "CHECK"):
            environ.update(CNI_CONTAINERID=container, CNI_IFNAME=ifname)
            if netns:
                environ["CNI_NETNS"] = netns
        if args:
            environ["CNI_ARGS"] = args
        for key, value in env.items():
            environ.pop(key, None)
            if value is not None:
                environ[key] = value
        text = conf if isinstance(conf, (str, bytes)) else json.dumps(conf)
        proc = subprocess.Popen([PLUGIN], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
        proc.input = text if isinstance(text, bytes) else text.encode()
        return proc

    @staticmethod
    def finish(proc, timeout=120):
        proc.stdout_data, proc.stderr_data = proc.communicate(proc.input, timeout=timeout)
        done = subprocess.CompletedProcess(proc.args, proc.returncode, proc.stdout_data.decode(),
                                           proc.stderr_data.decode())
        return Answer(done)

    @staticmethod
    def finish_status(proc, timeout=120):
        """For a call whose output nobody reads."""
        proc.stdin.write(proc.input)
        proc.stdin.close()
        status = proc.wait(timeout)
        proc.stderr.close()
        return status

    def __call__(self, verb, conf, **kwargs):
        return self.finish(self.start(verb, conf, **kwargs))

    # what lies on disk
    @property
    def state(self):
        return f"/var/lib/leat/{self.instance}/cni"

    def entries(self, kind):
        path = os.path.join(self.state, kind)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def leases(self, name="net1"):
        path = self.tmp / "ipam" / name
        if not path.is_dir():
            return []
        return sorted(p.name for p in path.iterdir() if re.match(r"[0-9a-f.:]+$", p.name))


@pytest.fixture
def instance():
    name = f"tcni-{uuid.uuid4().hex[:8]}"
    yield name
    shutil.rmtree(f"/var/lib/leat/{name}", ignore_errors=True)
    shutil.rmtree(f"/run/leat/{name}", ignore_errors=True)


class NetnsMaker:
    def __init__(self):
        self.names = []

    def __call__(self):
        name = f"tcni-{uuid.uuid4().hex[:8]}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.names.append(name)
        return f"/run/netns/{name}"

    def delete(self, path):
        name = os.path.basename(path)
        subprocess.run(["ip", "netns", "del", name], check=True)
        self.names.remove(name)

    def close(self):
        for name in list(self.names):
            self.delete(name)


@pytest.fixture
def make_netns():
    maker = NetnsMaker()
    yield maker
    maker.close()


@pytest.fixture
def netns(make_netns):
    return make_netns()


@pytest.fixture
def recorder(instance):
    with Recorder(f"/run/leat/{instance}/control.sock") as rec:
        yield rec


@pytest.fixture
def fake_ipam(tmp_path):
    """A directory with an IPAM plugin `fake` that does what the test's file says."""
    from fake_ipam_control import FakeIpam
    return FakeIpam(tmp_path)


@pytest.fixture
def cni(instance, tmp_path):
    return Cni(instance, tmp_path)


# ---- a real leatd

LEATD = os.path.join(BUILD, "control", "leatd")


def new_leatd(instance, folder, *options):
    from leatd import Leatd
    return Leatd(LEATD, instance, str(folder / "leatd.log"), *options)


@pytest.fixture
def leatd(instance, tmp_path):
    """One of this test's own, which it may kill and start again."""
    daemon = new_leatd(instance, tmp_path)
    try:
        yield daemon.start()
    finally:
        daemon.purge()


@pytest.fixture(scope="module")
def shared_leatd(tmp_path_factory):
    """One for a module; every test must leave it empty."""
    name = f"tcni-{uuid.uuid4().hex[:8]}"
    daemon = new_leatd(name, tmp_path_factory.mktemp("leatd"))
    try:
        yield daemon.start()
    finally:
        daemon.purge()
        shutil.rmtree(f"/var/lib/leat/{name}", ignore_errors=True)
        shutil.rmtree(f"/run/leat/{name}", ignore_errors=True)


@pytest.fixture
def live(shared_leatd, tmp_path):
    """Calls against the module's leatd; at the end nothing may be left of the test."""
    cni = Cni(shared_leatd.instance, tmp_path)
    cni.leatd = shared_leatd
    n_ports = shared_leatd.n_ports()
    yield cni
    assert shared_leatd.proc.poll() is None, "leatd died: " + shared_leatd.log()
    assert shared_leatd.endpoints() == []
    assert shared_leatd.n_ports() == n_ports
    assert cni.leases() == []
    assert cni.entries("attached") == cni.entries("pending") == []
