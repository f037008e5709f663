# SPDX-License-Identifier: BSD-3-Clause
"""Delegation to IPAM plugins: versions, verbs, environment, failures."""

import os
import shutil
import signal

import pytest
from conftest import IPAM_DIRS, VERSIONS
from test_matrix import full, prev_result


@pytest.fixture
def cnif(cni, fake_ipam):
    cni.path += f":{fake_ipam.dir}"
    return cni


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("speaks,chosen", (
    (["0.3.1"], "0.3.1"), (["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"], "1.0.0"),
    (["1.1.0", "0.4.0"], "1.1.0"), (["1.1.0", "1.2.0", "2.0.0"], "1.1.0")))
def test_highest_common_version_is_used(cnif, fake_ipam, recorder, netns, version, speaks, chosen):
    fake_ipam.plan(versions=speaks)
    result = cnif("ADD", full(cnif, fake_ipam, "ADD", version), netns=netns).ok()
    assert result["cniVersion"] == version
    assert ("version" in result["ips"][0]) == (version < "1.0.0")
    cnif("DEL", full(cnif, fake_ipam, "DEL", version, prevResult=result), netns=netns).ok()
    assert [entry["conf"]["cniVersion"] for entry in fake_ipam.log] == [chosen, chosen]
    prev = fake_ipam.log[1]["conf"]["prevResult"]
    assert prev["cniVersion"] == chosen
    assert ("version" in prev["ips"][0]) == (chosen < "1.0.0")


def test_no_common_version_code_7(cnif, fake_ipam, recorder, netns):
    fake_ipam.plan(versions=["0.1.0", "0.2.0", "9.0.0"])
    answer = cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns)
    assert answer.code == 7
    assert "ipam.type" in answer.msg


def test_environment_is_handed_on(cnif, fake_ipam, recorder, netns):
    args = "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.9.0.5"
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, ifname="net7", container="abc", args=args).ok()
    env = fake_ipam.log[0]["env"]
    assert env == {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "abc", "CNI_IFNAME": "net7", "CNI_NETNS": netns,
                   "CNI_PATH": cnif.path, "CNI_ARGS": args}


def test_configuration_is_handed_on_whole(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD", vendor={"x": [1, 2]}, runtimeConfig={"ips": ["10.9.0.5/24"]})
    cnif("ADD", conf, netns=netns).ok()
    assert fake_ipam.log[0]["conf"] == conf


@pytest.mark.parametrize("verb", ("ADD", "DEL", "CHECK", "GC", "STATUS"))
def test_error_of_the_plugin_is_passed_on(cnif, fake_ipam, recorder, netns, verb):
    recorder.endpoints["c1:eth0"] = {"id": "c1:eth0"}
    if verb == "ADD":
        recorder.endpoints.clear()
    fake_ipam.plan(**{verb: {"error": {"code": 111, "msg": "pool is empty", "details": "10.9.0.0/24"}}})
    answer = cnif(verb, full(cnif, fake_ipam, verb, netns=netns, mode="vhost-user"), netns=netns)
    assert answer.code == 111
    assert "pool is empty" in answer.msg and "fake" in answer.msg
    assert answer.json["details"] == "10.9.0.0/24"
    if verb == "ADD":
        assert fake_ipam.verbs == ["ADD", "DEL"]
        assert cnif.entries("attached") == []


@pytest.mark.parametrize("step", (
    {"text": "not json"}, {"text": ""}, {"text": "[]"}, {"text": '{"ips":[]}'}, {"text": '{"ips":[{"address":"x"}]}'},
    {"text": "oops", "status": 3}, {"signal": signal.SIGKILL}, {"text": '{"code":0}', "status": 1},
    {"ips": [f"10.9.0.{i}/24" for i in range(1, 18)]}, {"routes": [{"dst": "nowhere"}]}))
def test_nonsense_from_the_plugin_code_120(cnif, fake_ipam, recorder, netns, step):
    fake_ipam.plan(ADD=step)
    assert cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).code == 120
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == []


def test_endless_output_is_cut_off(cnif, fake_ipam, recorder, netns):
    fake_ipam.plan(ADD={"text": "x" * (2 << 20)})
    assert cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).code == 5
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == []


def test_plugin_vanished_still_detaches(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    os.rename(fake_ipam.dir / "fake", fake_ipam.dir / "gone")
    assert cnif("DEL", conf, netns=netns).code == 7
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == ["c1:eth0"]
    os.rename(fake_ipam.dir / "gone", fake_ipam.dir / "fake")
    cnif("DEL", conf, netns=netns).ok()
    assert cnif.entries("attached") == []


@pytest.mark.parametrize("speaks,delegated", ((["0.4.0", "1.0.0"], ["ADD", "CHECK", "DEL"]),
                                              (["1.1.0"], ["ADD", "CHECK", "STATUS", "GC", "DEL"]),
                                              (["0.3.1"], ["ADD", "DEL"])))
def test_verbs_that_the_version_has_are_delegated(cnif, fake_ipam, recorder, netns, speaks, delegated):
    fake_ipam.plan(versions=speaks)
    conf = full(cnif, fake_ipam, "ADD", mode="vhost-user")
    cnif("ADD", conf, netns=netns).ok()
    prev = prev_result("1.1.0", netns)
    cnif("CHECK", dict(conf, prevResult=prev), netns=netns).ok()
    cnif("STATUS", conf).ok()
    cnif("GC", {**conf, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}).ok()
    cnif("DEL", conf, netns=netns).ok()
    assert fake_ipam.verbs == delegated


# ---- Debian's host-local, a real one

needs_host_local = pytest.mark.skipif(
    shutil.which("host-local", path=":".join(IPAM_DIRS)) is None, reason="no host-local in " + ", ".join(IPAM_DIRS))


@needs_host_local
@pytest.mark.parametrize("version", VERSIONS)
def test_host_local_gives_and_takes_back(cni, recorder, netns, version):
    conf = cni.conf(version)
    result = cni("ADD", conf, netns=netns).ok()
    address = result["ips"][0]["address"].removesuffix("/32")
    assert cni.leases() == [address]
    if version >= "0.4.0":
        recorder.fail["endpoint.check"] = None
        answer = cni("CHECK", dict(conf, prevResult=result), netns=netns)
        assert answer.code == 121  # the recorder makes no device: all that comes before was well
        assert "eth0 is missing" in answer.msg
    cni("DEL", dict(conf, prevResult=result), netns=netns).ok()
    assert cni.leases() == []


@needs_host_local
@pytest.mark.parametrize("capability", ("runtimeConfig", "CNI_ARGS"))
def test_host_local_static_address(cni, recorder, netns, capability):
    conf = cni.conf()
    args = None
    if capability == "runtimeConfig":
        conf["runtimeConfig"] = {"ips": ["10.77.3.3/16"]}
    else:
        args = "IgnoreUnknown=1;IP=10.77.3.3"
    result = cni("ADD", conf, netns=netns, args=args).ok()
    assert result["ips"][0]["address"] == "10.77.3.3/32"
    answer = cni("ADD", conf, netns=netns, args=args, container="c2")
    assert answer.code != 0
    assert "host-local" in answer.msg and "10.77.3.3" in answer.msg


@needs_host_local
def test_host_local_dual_stack(cni, recorder, netns):
    ipam = cni.host_local(routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])
    ipam["ranges"].append([{"subnet": "fd77::/64"}])
    result = cni("ADD", cni.conf(ipam=ipam), netns=netns).ok()
    assert [ip["gateway"] for ip in result["ips"]] == ["169.254.1.1", "fe80::1"]
    cni("DEL", cni.conf(ipam=ipam), netns=netns).ok()
    assert cni.leases() == []


@needs_host_local
def test_host_local_pool_exhausted(cni, recorder, make_netns):
    conf = cni.conf(ipam=cni.host_local(subnet="10.77.0.0/30"))
    netns = make_netns()
    cni("ADD", conf, netns=netns, container="a").ok()
    answer = cni("ADD", conf, netns=netns, container="b")
    assert answer.code > 0
    assert "no IP addresses available" in answer.msg
    assert list(recorder.endpoints) == ["a:eth0"]
    assert cni.entries("attached") == ["a:eth0"]
