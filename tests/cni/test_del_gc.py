# SPDX-License-Identifier: BSD-3-Clause
"""DEL and GC: idempotent, without what is gone, without leatd; and nothing that they leave behind."""

import json
import os
import signal
import time

import pytest
from conftest import VERSIONS, Cni
from recorder import INTERNAL, Failure, Recorder
from test_matrix import full
from waiting import wait_for


@pytest.fixture
def cnif(cni, fake_ipam):
    cni.path += f":{fake_ipam.dir}"
    return cni


def gc(cni, ipam, valid=(), **keys):
    attachments = [dict(zip(("containerID", "ifname"), item)) for item in valid]
    return cni("GC", full(cni, ipam, "GC", **{"cni.dev/valid-attachments": attachments}, **keys))


@pytest.mark.parametrize("version", VERSIONS)
def test_del_is_idempotent(cnif, fake_ipam, recorder, make_netns, version):
    netns = make_netns()
    conf = full(cnif, fake_ipam, "ADD", version)
    result = cnif("ADD", conf, netns=netns).ok()
    assert cnif("DEL", dict(conf, prevResult=result), netns=netns).ok() is None
    cnif("DEL", dict(conf, prevResult=result), netns=netns).ok()
    cnif("DEL", conf).ok()
    make_netns.delete(netns)
    cnif("DEL", dict(conf, prevResult=result), netns=netns).ok()
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == cnif.entries("pending") == []


def test_del_of_what_never_was(cnif, fake_ipam, recorder):
    cnif("DEL", full(cnif, fake_ipam, "DEL"), container="never").ok()
    assert fake_ipam.verbs == ["DEL"]


def test_del_of_what_never_was_with_leatd_away_leaves_no_trace(cnif, fake_ipam):
    cnif("DEL", full(cnif, fake_ipam, "DEL"), container="never").ok()
    assert fake_ipam.verbs == ["DEL"]
    assert not os.path.exists(f"/var/lib/leat/{cnif.instance}")


def test_del_of_one_leaves_the_others(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    for name in ("a", "b"):
        cnif("ADD", conf, netns=netns, container=name).ok()
    cnif("DEL", conf, netns=netns, container="a").ok()
    assert list(recorder.endpoints) == ["b:eth0"]
    assert cnif.entries("attached") == ["b:eth0"]


def test_del_with_leatd_away_is_journalled(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    recorder.stop()
    cnif("DEL", conf, netns=netns).ok()
    cnif("DEL", conf).ok()
    assert cnif.entries("pending") == ["c1:eth0"]
    assert cnif.entries("attached") == []
    assert fake_ipam.verbs == ["ADD", "DEL", "DEL"]
    with open(os.path.join(cnif.state, "pending", "c1:eth0"), encoding="utf-8") as file:
        assert json.load(file) == {"version": 1, "method": "endpoint.detach", "id": "c1:eth0"}


@pytest.mark.parametrize("verb", ("ADD", "DEL", "GC"))
def test_pending_del_is_settled_by_the_next_call(cnif, fake_ipam, recorder, netns, verb):
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    left = dict(recorder.endpoints)
    recorder.stop()
    cnif("DEL", conf, netns=netns).ok()
    with Recorder(recorder.path) as again:
        again.endpoints.update(left)
        cnif(verb, full(cnif, fake_ipam, verb), netns=netns, container="other").ok()
        assert "c1:eth0" not in again.endpoints
        assert cnif.entries("pending") == []


def test_same_container_comes_back_after_a_journalled_del(cnif, fake_ipam, recorder, netns):
    """A restarted container keeps its id: its new endpoint must survive the old DEL."""
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    left = dict(recorder.endpoints)
    recorder.stop()
    cnif("DEL", conf, netns=netns).ok()
    with Recorder(recorder.path) as again:
        again.endpoints.update(left)
        cnif("ADD", conf, netns=netns).ok()
        assert list(again.endpoints) == ["c1:eth0"]
        assert cnif.entries("pending") == []
        cnif("DEL", full(cnif, fake_ipam, "DEL"), container="other").ok()
        assert list(again.endpoints) == ["c1:eth0"]


def test_leatd_dies_during_add(cnif, fake_ipam, recorder, netns):
    recorder.hang_up.add("endpoint.attach")
    assert cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).code == 11
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("attached") == []
    assert cnif.entries("pending") == ["c1:eth0"]
    assert list(recorder.endpoints) == ["c1:eth0"]
    cnif("DEL", full(cnif, fake_ipam, "DEL"), container="other").ok()
    assert recorder.endpoints == {}


def test_leatd_dies_during_del(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    recorder.hang_up.add("endpoint.detach")
    cnif("DEL", conf, netns=netns).ok()
    assert cnif.entries("pending") == ["c1:eth0"]
    assert fake_ipam.verbs == ["ADD", "DEL"]


def test_hung_leatd_is_waited_for_once(cnif, fake_ipam, recorder, netns):
    names = ("a", "b", "c")
    for name in names:
        cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, container=name).ok()
    recorder.is_hung = True
    started = time.monotonic()
    assert cnif("STATUS", full(cnif, fake_ipam, "STATUS")).code == 50
    assert time.monotonic() - started < 20
    started = time.monotonic()
    assert gc(cnif, fake_ipam).code == 11
    assert time.monotonic() - started < 50
    assert cnif.entries("pending") == [f"{name}:eth0" for name in names]


@pytest.mark.parametrize("verb,after", (("ADD", []), ("DEL", [])))
def test_killed_while_ipam_runs_then_del(cnif, fake_ipam, recorder, netns, verb, after):
    """The lock outlives the killed plugin as long as its IPAM plugin runs, so that DEL cannot overtake it."""
    conf = full(cnif, fake_ipam, "ADD")
    fifo = fake_ipam.make_fifo()
    if verb == "DEL":
        cnif("ADD", conf, netns=netns).ok()
    fake_ipam.plan(**{verb: {"wait_for": fifo}})
    proc = cnif.start(verb, conf, netns=netns)
    proc.stdin.write(proc.input)
    proc.stdin.close()
    wait_for(lambda: fake_ipam.is_waiting, "IPAM was never called")
    proc.send_signal(signal.SIGKILL)
    proc.wait()
    proc.stdout.close()
    proc.stderr.close()
    assert cnif.entries("attached") == ["c1:eth0"]
    fake_ipam.plan()
    second = cnif.start("DEL", conf, netns=netns)
    second.stdin.write(second.input)
    second.stdin.flush()
    n_before = len(fake_ipam.verbs)
    with open(fifo, "w", encoding="utf-8"):
        pass
    second.input = b""
    cnif.finish(second).ok()
    assert fake_ipam.verbs[n_before:] == ["DEL"]
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == after


def test_add_after_a_killed_add_frees_the_old_lease(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    fake_ipam.plan(ADD={"wait_for": fake_ipam.make_fifo()})
    proc = cnif.start("ADD", conf, netns=netns)
    proc.stdin.write(proc.input)
    proc.stdin.close()
    wait_for(lambda: fake_ipam.is_waiting, "IPAM was never called")
    proc.send_signal(signal.SIGKILL)
    proc.wait()
    proc.stdout.close()
    proc.stderr.close()
    with open(fake_ipam.dir / "fifo", "w", encoding="utf-8"):
        pass
    fake_ipam.plan()
    cnif("ADD", conf, netns=netns).ok()
    assert fake_ipam.verbs == ["ADD", "DEL", "ADD"]
    assert list(recorder.endpoints) == ["c1:eth0"]


PORTS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
SERVICE = "hostport:c1:eth0:tcp:8080"


def test_journalled_del_names_the_services(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns).ok()
    endpoints, services = dict(recorder.endpoints), dict(recorder.services)
    recorder.stop()
    for _ in range(2):
        cnif("DEL", full(cnif, fake_ipam, "DEL")).ok()
        with open(os.path.join(cnif.state, "pending", "c1:eth0"), encoding="utf-8") as file:
            assert json.load(file) == {"version": 1, "method": "endpoint.detach", "id": "c1:eth0",
                                       "services": [SERVICE]}
    with Recorder(recorder.path) as again:
        again.endpoints.update(endpoints)
        again.services.update(services)
        cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns, container="c2").ok()
        assert list(again.endpoints) == ["c2:eth0"]
        assert list(again.services) == ["hostport:c2:eth0:tcp:8080"]


def test_leatd_dies_while_ports_are_mapped(cnif, fake_ipam, recorder, netns):
    recorder.hang_up.add("service.add")
    assert cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns).code == 11
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("pending") == ["c1:eth0"]
    cnif("DEL", full(cnif, fake_ipam, "DEL"), container="other").ok()
    assert recorder.endpoints == recorder.services == {}


def test_service_that_cannot_be_removed_keeps_the_pod(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns).ok()
    recorder.fail["service.del"] = [Failure(INTERNAL, "stuck")]
    assert cnif("DEL", full(cnif, fake_ipam, "DEL")).code == 100 + INTERNAL
    assert list(recorder.endpoints) == ["c1:eth0"] and fake_ipam.verbs == ["ADD"]
    cnif("DEL", full(cnif, fake_ipam, "DEL")).ok()
    assert recorder.endpoints == recorder.services == {}


def test_pod_detached_by_hand_comes_back_with_its_ports(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS)
    cnif("ADD", conf, netns=netns).ok()
    recorder.endpoints.clear()
    cnif("ADD", conf, netns=netns).ok()
    assert list(recorder.services) == [SERVICE]


# ---- GC

def test_gc_removes_port_mappings(cnif, fake_ipam, recorder, netns):
    """Those of recorded attachments, and those that no record knows; nobody else's services."""
    recorder.page = 2
    for i, name in enumerate(("stays", "goes")):
        ports = {"portMappings": [{"hostPort": 8080 + i, "containerPort": 80}]}
        cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=ports), netns=netns, container=name).ok()
    others = ("hostport:x", "hostport::0123:tcp:80", "kube:a:tcp:80", "hostport:stays:eth0:tcp:1")
    for name in ("hostport:gone:eth0:tcp:80:2001:db8::1", "hostport:old:tcp:eth0:sctp:9", *others):
        recorder.services[name] = {"name": name}
    gc(cnif, fake_ipam, [("stays", "eth0")]).ok()
    assert sorted(recorder.services) == sorted([*others, "hostport:stays:eth0:tcp:8080"])


def test_gc_frees_what_is_not_valid(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    fake_ipam.plan(versions=["1.0.0"])
    for name in ("a", "b", "c"):
        cnif("ADD", conf, netns=netns, container=name).ok()
    cnif("ADD", conf, netns=netns, container="a", ifname="net1").ok()
    gc(cnif, fake_ipam, [("a", "eth0"), ("c", "eth0")]).ok()
    assert sorted(recorder.endpoints) == ["a:eth0", "c:eth0"]
    assert cnif.entries("attached") == ["a:eth0", "c:eth0"]
    freed = [(e["env"]["CNI_CONTAINERID"], e["env"]["CNI_IFNAME"], "CNI_NETNS" in e["env"])
             for e in fake_ipam.log if e["verb"] == "DEL"]
    assert sorted(freed) == [("a", "net1", False), ("b", "eth0", False)]


def test_gc_leaves_other_networks_alone(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD", name="one"), netns=netns, container="a").ok()
    cnif("ADD", full(cnif, fake_ipam, "ADD", name="two"), netns=netns, container="b").ok()
    gc(cnif, fake_ipam, name="one").ok()
    assert list(recorder.endpoints) == ["b:eth0"]


def test_gc_leaves_endpoints_that_cni_did_not_make(cnif, fake_ipam, recorder):
    recorder.endpoints["vm:eth0"] = {"id": "vm:eth0", "port": "p"}
    gc(cnif, fake_ipam).ok()
    assert list(recorder.endpoints) == ["vm:eth0"]


def test_gc_without_any_record_finds_endpoints(cnif, fake_ipam, recorder):
    recorder.endpoints["x:eth0"] = {"id": "x:eth0", "container": "x", "ifname": "eth0"}
    gc(cnif, fake_ipam).ok()
    assert recorder.endpoints == {}


def test_gc_frees_endpoints_without_a_record(cnif, fake_ipam, recorder):
    """What a killed ADD left in leatd after its DEL."""
    recorder.page = 7
    for i in range(30):
        recorder.endpoints[f"x{i}:eth0"] = {"id": f"x{i}:eth0", "container": f"x{i}", "ifname": "eth0"}
    gc(cnif, fake_ipam, [("x3", "eth0"), ("x17", "eth0")]).ok()
    assert sorted(recorder.endpoints) == ["x17:eth0", "x3:eth0"]


def test_gc_goes_on_after_errors(cnif, fake_ipam, recorder, netns):
    fake_ipam.plan(versions=["1.0.0"])
    for name in ("a", "b", "c"):
        cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, container=name).ok()
    recorder.fail["endpoint.detach"] = [Failure(INTERNAL, "stuck")]
    answer = gc(cnif, fake_ipam)
    assert answer.code == 100 + INTERNAL
    assert "1 error" in answer.msg and "stuck" in answer.msg
    assert len(recorder.endpoints) == len(cnif.entries("attached")) == 1
    fake_ipam.plan(versions=["1.0.0"], DEL={"error": {"code": 111, "msg": "disk"}})
    assert gc(cnif, fake_ipam).code == 111
    assert recorder.endpoints == {}
    fake_ipam.plan(versions=["1.0.0"])
    gc(cnif, fake_ipam).ok()
    assert cnif.entries("attached") == []


def test_gc_with_leatd_away(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    recorder.stop()
    assert gc(cnif, fake_ipam).code == 11
    assert cnif.entries("pending") == ["c1:eth0"]
    assert "DEL" in fake_ipam.verbs


def test_gc_takes_the_older_name_of_the_list(cnif, fake_ipam, recorder, netns):
    for name in ("a", "b"):
        cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, container=name).ok()
    conf = cnif.conf(ipam=fake_ipam.conf)
    conf["cni.dev/attachments"] = [{"containerID": "a", "ifname": "eth0"}]
    cnif("GC", conf).ok()
    assert list(recorder.endpoints) == ["a:eth0"]
    conf["cni.dev/valid-attachments"] = None
    cnif("GC", conf).ok()
    assert recorder.endpoints == {}


def test_gc_removes_half_written_files(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    for kind in ("attached", "pending"):
        with open(os.path.join(cnif.state, kind, ".x:eth0"), "w", encoding="utf-8") as file:
            file.write("{")
    gc(cnif, fake_ipam).ok()
    assert cnif.entries("attached") == cnif.entries("pending") == []


UNREADABLE = ("", "{", "{}", "[]", '{"version":1,"network":"net1"}', '{"version":1,"network":7,"containerID":"c1","ifname":"eth0"}')


def damage(cnif, text, name="c1:eth0"):
    with open(os.path.join(cnif.state, "attached", name), "w", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize("text", UNREADABLE)
def test_gc_frees_an_unreadable_record_of_a_pod_that_is_gone(cnif, fake_ipam, recorder, make_netns, text):
    """leatd has no such endpoint, or its namespace is gone: the lease, the services and the record go."""
    netns = make_netns()
    cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns).ok()
    recorder.endpoints["c1:eth0"]["netns"] = netns
    make_netns.delete(netns)
    damage(cnif, text)
    damage(cnif, text, "never:eth0")
    answer = gc(cnif, fake_ipam)
    answer.ok()
    assert "c1:eth0" in answer.stderr and "never:eth0" in answer.stderr
    assert cnif.entries("attached") == [] and recorder.endpoints == {} and recorder.services == {}
    assert fake_ipam.verbs[1:3] == ["DEL", "DEL"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_gc_writes_the_record_of_a_valid_attachment_again(cnif, fake_ipam, recorder, netns, text):
    conf = full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS)
    cnif("ADD", conf, netns=netns).ok()
    damage(cnif, text)
    gc(cnif, fake_ipam, valid=[("c1", "eth0")]).ok()
    assert list(recorder.endpoints) == ["c1:eth0"] and list(recorder.services) == [SERVICE]
    with open(os.path.join(cnif.state, "attached", "c1:eth0"), encoding="utf-8") as file:
        record = json.load(file)
    assert (record["network"], record["containerID"], record["ifname"], record["services"]) == (conf["name"], "c1", "eth0", [SERVICE])
    gc(cnif, fake_ipam).ok()
    assert recorder.endpoints == {} and recorder.services == {} and cnif.entries("attached") == []


@pytest.mark.parametrize("text", UNREADABLE)
def test_gc_names_an_unreadable_record_of_a_pod_that_may_live(cnif, fake_ipam, recorder, netns, text):
    """It may be another network's pod. DEL frees it, with its services."""
    cnif("ADD", full(cnif, fake_ipam, "ADD", runtimeConfig=PORTS), netns=netns).ok()
    recorder.endpoints["c1:eth0"]["netns"] = netns
    damage(cnif, text)
    answer = gc(cnif, fake_ipam)
    assert answer.code == 5 and "c1:eth0" in answer.msg and "DEL" in answer.msg
    assert list(recorder.endpoints) == ["c1:eth0"] and list(recorder.services) == [SERVICE]
    cnif("DEL", full(cnif, fake_ipam, "DEL")).ok()
    assert recorder.endpoints == {} and recorder.services == {} and cnif.entries("attached") == []


def test_two_instances_do_not_mix(cnif, fake_ipam, recorder, netns, tmp_path):
    other = Cni(cnif.instance + "b", tmp_path)
    other.path = cnif.path
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    try:
        assert gc(other, fake_ipam).code == 11
        assert list(recorder.endpoints) == ["c1:eth0"]
        assert other.entries("attached") == []
    finally:
        os.system(f"rm -rf /var/lib/leat/{other.instance}")
