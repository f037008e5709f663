# SPDX-License-Identifier: BSD-3-Clause
"""leat-cni with a real leatd, real namespaces and Debian's host-local."""

import contextlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from conftest import IPAM_DIRS, VERSIONS, Cni, new_leatd
from waiting import wait_for

pytestmark = pytest.mark.skipif(shutil.which("host-local", path=":".join(IPAM_DIRS)) is None,
                                reason="no host-local in " + ", ".join(IPAM_DIRS))


def ip(netns, *args):
    proc = subprocess.run(["ip", "-n", os.path.basename(netns), "-j", *args], check=True, capture_output=True)
    return json.loads(proc.stdout or b"[]")


def ip_do(netns, *args):
    subprocess.run(["ip", "-n", os.path.basename(netns), *args], check=True)


def links(netns):
    return sorted(link["ifname"] for link in ip(netns, "link") if link["ifname"] != "lo")


def addresses(netns, ifname="eth0"):
    (link,) = ip(netns, "addr", "show", "dev", ifname)
    return sorted(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global")


def can_ping(netns, address, count=2):
    return subprocess.run(["ip", "netns", "exec", os.path.basename(netns), "ping", "-n", "-q", "-i", "0.2", "-c",
                           str(count), "-w", "10", address], stdout=subprocess.DEVNULL).returncode == 0


def address_of(result):
    return result["ips"][0]["address"].split("/")[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_talk_and_go(live, make_netns, version):
    a, b = make_netns(), make_netns()
    conf = live.conf(version)
    ra = live("ADD", conf, netns=a, container="a").ok()
    rb = live("ADD", conf, netns=b, container="b").ok()
    (link,) = ip(a, "link", "show", "dev", "eth0")
    assert link["address"] == ra["interfaces"][0]["mac"]
    assert link["address"].startswith("0a:58")
    assert addresses(a) == [ra["ips"][0]["address"]]
    (default,) = ip(a, "route", "show", "default")
    assert default["gateway"] == "169.254.1.1"
    assert can_ping(a, address_of(rb))
    assert can_ping(b, address_of(ra))
    if version >= "0.4.0":
        live("CHECK", dict(conf, prevResult=ra), netns=a, container="a").ok()
    for name, netns in (("a", a), ("b", b)):
        live("DEL", conf, netns=netns, container=name).ok()
        assert links(netns) == []
        live("DEL", conf, netns=netns, container=name).ok()


def test_mtu_and_static_mac(live, netns):
    conf = live.conf(mtu=1400, runtimeConfig={"mac": "0a:00:00:00:00:42", "ips": ["10.77.9.9/16"]})
    result = live("ADD", conf, netns=netns).ok()
    (link,) = ip(netns, "link", "show", "dev", "eth0")
    assert (link["mtu"], link["address"]) == (1400, "0a:00:00:00:00:42")
    assert result["interfaces"] == [{"name": "eth0", "mac": "0a:00:00:00:00:42", "mtu": 1400, "sandbox": netns}]
    assert addresses(netns) == ["10.77.9.9/32"]
    live("CHECK", dict(conf, prevResult=result), netns=netns).ok()
    live("DEL", conf, netns=netns).ok()


def test_dual_stack(live, make_netns):
    a, b = make_netns(), make_netns()
    ipam = live.host_local(routes=[])
    ipam["ranges"].append([{"subnet": "fd77::/64"}])
    conf = live.conf(ipam=ipam)
    ra = live("ADD", conf, netns=a, container="a").ok()
    rb = live("ADD", conf, netns=b, container="b").ok()
    assert len(addresses(a)) == 2
    for i in (0, 1):
        assert can_ping(a, rb["ips"][i]["address"].split("/")[0])
    live("CHECK", dict(conf, prevResult=ra), netns=a, container="a").ok()
    ip_do(a, "-6", "route", "del", "default")
    answer = live("CHECK", dict(conf, prevResult=ra), netns=a, container="a")
    assert answer.code > 0
    live("DEL", conf, netns=a, container="a").ok()
    live("DEL", conf, netns=b, container="b").ok()


def test_bandwidth_reaches_the_endpoint(live, netns):
    conf = live.conf(runtimeConfig={"bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000,
                                                  "egressRate": 4000000, "egressBurst": 400000}})
    live("ADD", conf, netns=netns).ok()
    shown = live.leatd.call("endpoint.show", id="c1:eth0")
    assert (shown["from_limits"]["rate_bps"], shown["from_limits"]["burst_bytes"]) == (4000000, 50000)
    assert (shown["to_limits"]["rate_bps"], shown["to_limits"]["burst_bytes"]) == (8000000, 100000)
    live("DEL", conf, netns=netns).ok()


def test_several_interfaces(live, netns):
    first = live.conf()
    second = live.conf(name="net2", ipam=live.host_local("10.78.0.0/24", routes=[{"dst": "10.78.0.0/16"}]))
    r1 = live("ADD", first, netns=netns, ifname="eth0").ok()
    r2 = live("ADD", second, netns=netns, ifname="net1").ok()
    assert links(netns) == ["eth0", "net1"]
    assert [r["dev"] for r in ip(netns, "route", "show", "default")] == ["eth0"]
    (route,) = ip(netns, "route", "show", "10.78.0.0/16")
    assert (route["dev"], route["gateway"]) == ("net1", "169.254.1.1")
    live("CHECK", dict(first, prevResult=r1), netns=netns, ifname="eth0").ok()
    live("CHECK", dict(second, prevResult=r2), netns=netns, ifname="net1").ok()
    live("DEL", second, netns=netns, ifname="net1").ok()
    assert links(netns) == ["eth0"]
    live("DEL", first, netns=netns, ifname="eth0").ok()
    assert live.leases("net2") == []


def test_second_add_refused_and_harmless(live, netns):
    conf = live.conf()
    result = live("ADD", conf, netns=netns).ok()
    assert live("ADD", conf, netns=netns).code == 102
    live("CHECK", dict(conf, prevResult=result), netns=netns).ok()
    live("DEL", conf, netns=netns).ok()


def test_name_taken_in_the_pod_gives_everything_back(live, netns):
    ip_do(netns, "tuntap", "add", "dev", "eth0", "mode", "tap")
    answer = live("ADD", live.conf(), netns=netns)
    assert answer.code > 0
    assert links(netns) == ["eth0"]


def test_address_taken_gives_everything_back(live, make_netns):
    a, b = make_netns(), make_netns()
    conf = live.conf(ipam={}, runtimeConfig={"ips": ["10.77.1.1"]})
    live("ADD", conf, netns=a, container="a").ok()
    answer = live("ADD", conf, netns=b, container="b")
    assert answer.code > 0
    assert "10.77.1.1" in answer.msg
    assert links(b) == []
    live("DEL", conf, netns=a, container="a").ok()


def test_equal_addresses_in_two_zones(live, make_netns):
    a, b = make_netns(), make_netns()
    for zone, netns in ((1, a), (2, b)):
        conf = live.conf(ipam={}, zone=zone, runtimeConfig={"ips": ["10.77.1.1"]})
        live("ADD", conf, netns=netns, container=f"z{zone}").ok()
    for zone in (1, 2):
        live("DEL", live.conf(ipam={}, zone=zone), container=f"z{zone}").ok()


def damage_address(netns):
    ip_do(netns, "addr", "flush", "dev", "eth0", "scope", "global")


def damage_route(netns):
    ip_do(netns, "route", "del", "default")


def damage_port(netns):
    ip_do(netns, "link", "del", "eth0")


def damage_state(netns):
    ip_do(netns, "link", "set", "eth0", "down")


def damage_mac(netns):
    ip_do(netns, "link", "set", "eth0", "address", "0a:00:00:00:00:99")


@pytest.mark.parametrize("damage", (damage_address, damage_route, damage_port, damage_state, damage_mac))
def test_check_finds_damage(live, netns, damage):
    conf = live.conf()
    conf["prevResult"] = live("ADD", conf, netns=netns).ok()
    live("CHECK", conf, netns=netns).ok()
    damage(netns)
    answer = live("CHECK", conf, netns=netns)
    assert answer.code >= 100
    live("DEL", conf, netns=netns).ok()


def test_check_finds_an_endpoint_taken_away(live, netns):
    conf = live.conf()
    conf["prevResult"] = live("ADD", conf, netns=netns).ok()
    live.leatd.call("endpoint.detach", id="c1:eth0")
    assert live("CHECK", conf, netns=netns).code == 101
    live("DEL", conf, netns=netns).ok()


def test_del_after_the_namespace_has_gone(live, make_netns):
    netns = make_netns()
    conf = live.conf()
    conf["prevResult"] = live("ADD", conf, netns=netns).ok()
    make_netns.delete(netns)
    live("DEL", conf, netns=netns).ok()
    live("DEL", live.conf()).ok()


@pytest.mark.parametrize("role", ("server", "client"))
def test_vhost_user(live, netns, tmp_path, role):
    info = tmp_path / "device.json"
    conf = live.conf(mode="vhost-user", vhost={"role": role, "uid": 65534, "gid": 65534, "mode": "0600"},
                     runtimeConfig={"CNIDeviceInfoFile": str(info)})
    result = live("ADD", conf, netns=netns).ok()
    path = result["interfaces"][0]["socketPath"]
    assert json.loads(info.read_text())["vhost-user"] == {
        "mode": "client" if role == "server" else "server", "path": path}
    assert links(netns) == []
    if role == "server":
        st = os.stat(path)
        assert stat.S_ISSOCK(st.st_mode)
        assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o600, 65534, 65534)
    conf["prevResult"] = result
    live("CHECK", conf, netns=netns).ok()
    if role == "server":
        os.unlink(path)
        assert live("CHECK", conf, netns=netns).code >= 100
    live("DEL", conf, netns=netns).ok()
    wait_for(lambda: not os.path.exists(os.path.dirname(path)), "the socket's folder stays")


def test_status(live):
    live("STATUS", live.conf()).ok()


def test_64_parallel_adds_and_dels(live, make_netns):
    spaces = [make_netns() for _ in range(64)]
    conf = live.conf()

    def all_at_once(verb):
        procs = [live.start(verb, conf, netns=netns, container=f"p{i}") for i, netns in enumerate(spaces)]
        answers = [None] * len(procs)

        def finish(i):
            answers[i] = live.finish(procs[i])
        threads = [threading.Thread(target=finish, args=(i,)) for i in range(len(procs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answer.ok() for answer in answers]

    results = all_at_once("ADD")
    got = {address_of(result) for result in results}
    assert len(got) == 64
    assert set(live.leases()) == got
    assert len(live.leatd.endpoints()) == 64
    for i in (0, 31, 62):
        assert can_ping(spaces[i], address_of(results[i + 1]))
    all_at_once("DEL")
    for netns in spaces:
        assert links(netns) == []


@pytest.mark.parametrize("cleaner", ("DEL", "GC"))
def test_killed_at_any_point_nothing_is_left(live, netns, cleaner):
    rng = random.Random(4711)
    conf = live.conf()
    started = time.monotonic()
    live("ADD", conf, netns=netns, container="measure").ok()
    span = (time.monotonic() - started) * 1.2
    live("DEL", conf, netns=netns, container="measure").ok()
    for round_ in range(40):
        verb = "ADD" if round_ % 4 else "DEL"
        name = f"k{round_}"
        if verb == "DEL":
            live("ADD", conf, netns=netns, container=name).ok()
        proc = live.start(verb, conf, netns=netns, container=name)
        proc.stdin.write(proc.input)
        proc.stdin.close()
        try:
            proc.wait(rng.uniform(0, span))
        except subprocess.TimeoutExpired:
            proc.send_signal(signal.SIGKILL)
            proc.wait()
        proc.stdout.close()
        proc.stderr.close()
        if cleaner == "DEL":
            live("DEL", conf, netns=netns, container=name).ok()
        else:
            # a call that the killed one left running still holds the lock: GC comes again later in real life
            wait_for(lambda: live("GC", {**conf, "cni.dev/valid-attachments": []}).ok() is None and
                     live.entries("attached") == [], "GC leaves records")
        assert live.leases() == []
        wait_for(lambda: live.leatd.endpoints() == [], "an endpoint is left")
        assert links(netns) == []


# ---- with a leatd that goes away

def test_daemon_away_and_back(leatd, cni, make_netns):
    netns, other = make_netns(), make_netns()
    conf = cni.conf()
    conf["prevResult"] = cni("ADD", conf, netns=netns, container="stays").ok()
    cni("ADD", cni.conf(), netns=other, container="goes").ok()
    leatd.kill()
    assert cni("CHECK", conf, netns=netns, container="stays").code == 11
    assert cni("STATUS", cni.conf()).code == 50
    assert cni("ADD", cni.conf(), netns=netns, container="new").code == 11
    cni("DEL", cni.conf(), netns=other, container="goes").ok()
    assert cni.entries("pending") == ["goes:eth0"]
    assert len(cni.leases()) == 1
    leatd.start()
    wait_for(lambda: leatd.endpoints() == ["stays:eth0"], "the journalled DEL is not settled at start")
    wait_for(lambda: links(other) == [], "the device of the journalled DEL stays")
    cni("CHECK", conf, netns=netns, container="stays").ok()
    cni("DEL", conf, netns=netns, container="stays").ok()
    assert leatd.endpoints() == []
    assert cni.entries("pending") == []
    leatd.kill()
    leatd.start()
    assert leatd.endpoints() == []


@pytest.fixture
def node(instance, tmp_path, make_netns):
    """A leatd in a namespace that is the node: host port, an uplink address of leatd's own, and a route to it."""
    space = make_netns()
    daemon = new_leatd(instance, tmp_path)
    daemon.args = ["nsenter", "--net=" + space, *daemon.args]
    try:
        daemon.start()
        daemon.call("port.add", name="leat0", kind="tap", role="host", addresses=["10.98.0.1/32"])
        daemon.call("port.add", name="up", kind="ring", role="uplink", addresses=["192.0.2.1/24"])
        ip_do(space, "route", "replace", "192.0.2.1/32", "dev", "leat0", "src", "10.98.0.1")
        daemon.space = space
        yield daemon
    finally:
        daemon.purge()


def curl(netns, url):
    done = subprocess.run(["ip", "netns", "exec", os.path.basename(netns), "curl", "-s", "-g", "-m", "10", url],
                          capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"curl: {done.returncode}"


@contextlib.contextmanager
def web_server(netns, folder, port):
    """Serves the folder in the namespace."""
    server = subprocess.Popen(["ip", "netns", "exec", os.path.basename(netns), sys.executable, "-m", "http.server",
                               str(port), "--directory", str(folder)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def test_mapped_port_from_node_and_pod_and_after_a_restart(node, cni, make_netns, tmp_path):
    web, other = make_netns(), make_netns()
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "who").write_text("the pod")
    mapping = {"hostPort": 8080, "containerPort": 8000, "protocol": "tcp"}
    conf = cni.conf(runtimeConfig={"portMappings": [mapping]})
    conf["prevResult"] = cni("ADD", {k: v for k, v in conf.items() if k != "prevResult"}, netns=web,
                             container="web").ok()
    cni("ADD", cni.conf(), netns=other, container="other").ok()
    url = "http://192.0.2.1:8080/who"
    with web_server(web, folder, 8000):
        wait_for(lambda: curl(node.space, url) == "the pod", "the node does not reach the mapped port")
        for address in ("192.0.2.1", "10.98.0.1"):
            assert curl(other, f"http://{address}:8080/who") == "the pod"
        assert curl(web, url) == "the pod"
        cni("CHECK", conf, netns=web, container="web").ok()
        node.kill()
        node.start()
        wait_for(lambda: curl(other, url) == "the pod", "the mapping is gone after a restart")
        answer = cni("ADD", cni.conf(runtimeConfig={"portMappings": [mapping]}), netns=other, container="second",
                     ifname="net1")
        assert answer.code == 105
        assert "8080" in answer.msg
        assert node.endpoints() == ["other:eth0", "web:eth0"]
        node.kill()
        cni("DEL", conf, netns=web, container="web").ok()
        node.start()
        wait_for(lambda: node.endpoints() == ["other:eth0"], "the journalled DEL is not settled at start")
        assert node.call("service.list")["items"] == []
    cni("DEL", cni.conf(), netns=other, container="other").ok()
    assert cni.entries("pending") == cni.entries("attached") == []
    assert cni.leases() == []


def test_check_finds_a_mapping_taken_away(live, netns):
    conf = live.conf(runtimeConfig={"portMappings": [{"hostPort": 8080, "containerPort": 80}]})
    conf["prevResult"] = live("ADD", conf, netns=netns).ok()
    live("CHECK", conf, netns=netns).ok()
    live.leatd.call("service.del", name="hostport:c1:eth0:tcp:8080")
    assert live("CHECK", conf, netns=netns).code == 121
    live("DEL", conf, netns=netns).ok()


def test_pod_works_again_after_a_kill(leatd, cni, make_netns):
    a, b = make_netns(), make_netns()
    cni("ADD", cni.conf(), netns=a, container="a").ok()
    rb = cni("ADD", cni.conf(), netns=b, container="b").ok()
    assert can_ping(a, address_of(rb))
    leatd.kill()
    leatd.start()
    assert can_ping(a, address_of(rb))
    for name in ("a", "b"):
        cni("DEL", cni.conf(), container=name).ok()
    assert leatd.endpoints() == []


def test_out_of_resources_add_fails_cleanly(instance, tmp_path, netns):
    daemon = new_leatd(instance, tmp_path, "--mbufs", "1024")
    cni = Cni(instance, tmp_path)
    conf = cni.conf(mode="vhost-user")
    n_added = 0
    try:
        daemon.start()
        cni("STATUS", conf).ok()
        while (answer := cni("ADD", conf, netns=netns, container=f"c{n_added}")).code == 0:
            n_added += 1
            assert n_added < 100, "1024 mbufs carry no 100 ports"
        assert answer.code == 11
        assert "packet buffers" in answer.msg
        assert len(cni.leases()) == len(daemon.endpoints()) == n_added
        assert cni("STATUS", conf).code == 50
        cni("GC", {**conf, "cni.dev/valid-attachments": []}).ok()
        assert cni.leases() == daemon.endpoints() == []
        cni("STATUS", conf).ok()
        cni("ADD", conf, netns=netns).ok()
        cni("DEL", conf, netns=netns).ok()
    finally:
        daemon.purge()
