# SPDX-License-Identifier: BSD-3-Clause
"""Containers of podman 4 on a CNI network of leat: a runtime that people use, with its own idea of DEL."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time

import pytest
from conftest import IPAM_DIRS, PLUGIN
from waiting import wait_for

PROGRAMS = ("sh", "ip", "ping", "sleep", "true", "httpd", "wget", "cat")


def why_not():
    for program in ("podman", "runc", "busybox", "host-local"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:" + ":".join(IPAM_DIRS)) is None:
            return f"no {program}"
    return None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Podman:
    def __init__(self, folder):
        self.dir = folder
        (folder / "net.d").mkdir()
        (folder / "tmp").mkdir()
        plugins = ", ".join(f'"{d}"' for d in (os.path.dirname(PLUGIN), *IPAM_DIRS))
        (folder / "containers.conf").write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
            f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = [{plugins}]\n'
            f'network_config_dir = "{folder}/net.d"\n')
        self.image()

    def start(self, *args):
        argv = ["podman", "--root", f"{self.dir}/root", "--runroot", f"{self.dir}/run", "--tmpdir", f"{self.dir}/tmp",
                "--runtime", "/usr/sbin/runc", *args]
        env = dict(os.environ, CONTAINERS_CONF=f"{self.dir}/containers.conf", TMPDIR=f"{self.dir}/tmp")
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def __call__(self, *args):
        proc = self.start(*args)
        assert proc.returncode == 0, f"podman {' '.join(args)}: {proc.stdout} {proc.stderr}"
        return proc.stdout.strip()

    def image(self):
        tree = self.dir / "tree"
        (tree / "bin").mkdir(parents=True)
        (tree / "etc").mkdir()
        shutil.copy(shutil.which("busybox"), tree / "bin" / "busybox")
        for program in PROGRAMS:
            os.symlink("busybox", tree / "bin" / program)
        (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        with tarfile.open(self.dir / "image.tar", "w") as tar:
            tar.add(tree, ".")
        self("import", "-q", str(self.dir / "image.tar"), "pod")

    def network(self, conf, **capabilities):
        plugin = {k: v for k, v in conf.items() if k not in ("cniVersion", "name")}
        plugin["capabilities"] = capabilities
        (self.dir / "net.d" / f"{conf['name']}.conflist").write_text(
            json.dumps({"cniVersion": conf["cniVersion"], "name": conf["name"], "plugins": [plugin]}))

    def pod(self, name, network, *args, command=("sleep", "1000")):
        return self("run", "-d", "--name", name, "--net", network, "--ulimit", "nofile=1024:1024", "--ulimit",
                    "nproc=1024:1024", "--security-opt", "seccomp=unconfined", *args, "pod", *command)

    def close(self):
        self.start("rm", "--all", "--force", "--time", "0")
        subprocess.run(["umount", "-R", "-q", f"{self.dir}/root/overlay"], stderr=subprocess.DEVNULL, check=False)


def is_removed(folder):
    """Containers' own clean-up goes on for a moment after `podman rm`."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.fixture
def podman(live):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="leat-podman.", dir="/var/tmp"))  # podman wants short paths
    podman = None
    try:
        podman = Podman(folder)
        yield podman
    finally:
        if podman is not None:
            podman.close()
        wait_for(lambda: is_removed(folder), "podman's storage stays busy")


def wait_ping(podman, name, address):
    deadline = time.monotonic() + 10
    while podman.start("exec", name, "ping", "-c", "1", "-W", "1", address).returncode != 0:
        assert time.monotonic() < deadline, f"{name} cannot reach {address}"


def address_of(podman, name, network):
    return podman("inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', name)


@pytest.mark.parametrize("version", ("0.4.0", "1.0.0"))
def test_containers_talk_and_go(podman, live, version):
    podman.network(live.conf(version, name="leatnet"))
    podman.pod("a", "leatnet")
    podman.pod("b", "leatnet")
    assert len(live.leatd.endpoints()) == 2
    address = address_of(podman, "b", "leatnet")
    assert address in live.leases("leatnet")
    shown = podman("exec", "a", "ip", "route")
    assert "default via 169.254.1.1 dev eth0" in shown
    wait_ping(podman, "a", address)
    podman("rm", "--force", "--time", "0", "a", "b")
    assert live.leatd.endpoints() == []
    assert live.leases("leatnet") == []


def test_static_address_and_mac(podman, live):
    podman.network(live.conf("0.4.0", name="leatnet"), ips=True, mac=True)
    podman.pod("a", "leatnet", "--ip", "10.77.0.200", "--mac-address", "0a:00:00:00:02:00")
    assert "10.77.0.200/32" in podman("exec", "a", "ip", "addr", "show", "eth0")
    assert "0a:00:00:00:02:00" in podman("exec", "a", "ip", "link", "show", "eth0")
    podman("rm", "--force", "--time", "0", "a")


def test_stopped_and_started_again_under_the_same_id(podman, live):
    podman.network(live.conf("0.4.0", name="leatnet"))
    podman.pod("a", "leatnet")
    podman("stop", "--time", "0", "a")
    assert live.leatd.endpoints() == []
    podman("start", "a")
    assert len(live.leatd.endpoints()) == 1
    podman("rm", "--force", "--time", "0", "a")


def test_published_port_is_a_service(podman, live):
    podman.network(live.conf("0.4.0", name="leatnet"), portMappings=True)
    podman.pod("a", "leatnet", "-p", "18080:80")
    (service,) = live.leatd.call("service.list")["items"]
    assert service["frontend"] == {"kind": "host-port", "proto": "tcp", "port": 18080}
    proc = podman.start("run", "--rm", "--name", "b", "--net", "leatnet", "-p", "18080:80", "--ulimit",
                        "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--security-opt", "seccomp=unconfined",
                        "pod", "true")
    assert proc.returncode != 0
    assert "18080" in proc.stderr
    podman("rm", "--force", "--time", "0", "a")
    podman.start("rm", "--force", "b")
    assert live.leatd.call("service.list")["items"] == []
