# SPDX-License-Identifier: BSD-3-Clause
"""The CNI configurations of README and docs are used as they stand there: podman publishes a port, a runtime hands in every capability."""
import json
import os
import shutil
import subprocess

import pytest
from conftest import Cni, new_leatd
from markdown import blocks, starting
from test_live import ip_do
from test_podman import podman, why_not  # noqa: F401  pylint: disable=unused-import
from waiting import wait_for

CAPABILITIES = {
    "ips": ["10.1.1.77/24"], "mac": "0a:00:00:00:00:77",
    "bandwidth": {"ingressRate": 10**9, "ingressBurst": 10**7, "egressRate": 10**9, "egressBurst": 10**7},
    "portMappings": [{"hostPort": 8088, "containerPort": 80, "protocol": "tcp"}],
}


@pytest.fixture
def node(tmp_path, make_netns):
    """leatd of the name that the configuration has, with the host port of the text and a wire: (leatd, namespace of the other end)."""
    made = []

    def make(instance, host):
        space, daemon = make_netns(), new_leatd(instance, tmp_path)
        made.append(daemon)
        daemon.start()
        subprocess.run(["ip", "link", "add", "doc-up", "type", "veth", "peer", "name", "doc-wire", "netns", os.path.basename(space)],
                       check=True)
        ip_do(space, "link", "set", "doc-wire", "up")
        ip_do(space, "addr", "add", "192.0.2.2/24", "dev", "doc-wire")
        daemon.call("port.add", name="leat0", kind="tap", role="host", addresses=[host])
        daemon.call("port.add", name="uplink", kind="ethdev", role="uplink", device="net_af_packet0,iface=doc-up",
                    addresses=["192.0.2.1/24"])
        return daemon, space

    yield make
    for daemon in made:
        daemon.purge()
        subprocess.run(["ip", "link", "del", "doc-up"], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def live(tmp_path, node):
    """What the podman fixture starts after: the README's node."""
    caller = Cni("n1", tmp_path)
    caller.leatd, caller.wire = node("n1", "10.244.1.1/32")
    yield caller
    shutil.rmtree("/var/lib/cni/networks/pods", ignore_errors=True)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_readme_conflist_publishes_a_port(podman, live):  # noqa: F811  pylint: disable=redefined-outer-name
    conf = starting("README.md", '{"cniVersion"').text
    (podman.dir / "net.d" / "10-leat.conflist").write_text(conf, encoding="utf-8")
    podman.pod("web", "pods", "-p", "8088:80", command=("httpd", "-f", "-p", "80", "-h", "/etc"))

    def fetch(*where):
        done = subprocess.run([*where, "curl", "-s", "-m", "5", "http://192.0.2.1:8088/passwd"], capture_output=True, text=True, check=False)
        return done.stdout
    from_wire = ("ip", "netns", "exec", os.path.basename(live.wire))
    wait_for(lambda: fetch(*from_wire) == "root:x:0:0::/:/bin/sh\n", "the published port from another node")
    address = live.leatd.call("endpoint.list")["items"][0]["addresses"][0].split("/")[0]
    wait_for(lambda: subprocess.run(["ping", "-c", "1", "-W", "1", address], stdout=subprocess.DEVNULL, check=False).returncode == 0,
             "the node reaches the pod through leat0")
    podman("rm", "--force", "--time", "0", "web")


def test_cni_md_configuration_takes_every_capability(tmp_path, make_netns, node):
    """As libcni does: what the configuration's capabilities name comes in runtimeConfig, all else does not."""
    (text,) = [b.text for b in blocks("docs/cni.md") if b.text.startswith("{")]
    whole = json.loads(text)
    (plugin,) = whole["plugins"]
    conf = {"cniVersion": whole["cniVersion"], "name": whole["name"], **plugin}
    conf["runtimeConfig"] = {k: v for k, v in CAPABILITIES.items() if conf["capabilities"].get(k)}
    assert conf["runtimeConfig"].keys() == CAPABILITIES.keys(), "all that a runtime knows"
    daemon, _ = node("default", "10.1.1.1/32")
    call, netns = Cni("default", tmp_path), make_netns()
    result = call("ADD", conf, netns=netns).ok()
    assert result["ips"][0]["address"] == "10.1.1.77/32" and result["interfaces"][0]["mac"] == "0a:00:00:00:00:77"
    call("CHECK", dict(conf, prevResult=result), netns=netns).ok()
    (service,) = daemon.call("service.list")["items"]
    assert service["frontend"]["port"] == 8088
    call("DEL", conf, netns=netns).ok()
    shutil.rmtree("/var/lib/cni/networks/pods", ignore_errors=True)
