# SPDX-License-Identifier: BSD-3-Clause
"""Every verb x version x error code, against answers that the test decides."""

import json
import os
import stat

import pytest
from conftest import VERSIONS
from recorder import (AGAIN, BUSY, CONFLICT, EXISTS, INTERNAL, LIMIT, NOT_FOUND, PERMISSION, RESOURCES, Failure)

VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS")
FIRST_VERSION = {"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def full(cni, ipam, verb, version="1.1.0", netns="/n", **keys):
    """A configuration that has what the verb needs."""
    if verb == "CHECK":
        keys.setdefault("prevResult", prev_result(version, netns))
    if verb == "GC":
        keys.setdefault("cni.dev/valid-attachments", [])
    return cni.conf(version, ipam.conf, **keys)


def prev_result(version, netns):
    ip = {"address": "10.9.0.5/32", "gateway": "169.254.1.1", "interface": 0}
    if version < "1.0.0":
        ip["version"] = "4"
    return {"cniVersion": version, "interfaces": [{"name": "eth0", "mac": "0a:58:0a:09:00:05", "sandbox": netns}],
            "ips": [ip], "routes": [], "dns": {}}


@pytest.fixture
def cnif(cni, fake_ipam):
    cni.path += f":{fake_ipam.dir}"
    return cni


# ---- what every verb has in common

@pytest.mark.parametrize("version", ("0.1.0", "0.3.0", "0.3.1", "1.0.0", "1.1.0", "1.2.0"))
def test_version_echoes_and_lists(cni, version):
    answer = cni("VERSION", {"cniVersion": version}).ok()
    assert answer == {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def test_version_without_input(cni):
    assert cni("VERSION", "").ok()["supportedVersions"] == list(VERSIONS)
    assert cni("VERSION", "{").code == 6


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("version", ("0.1.0", "0.2.0", "0.3.0", "0.5.0", "1.2.0", "2.0.0", "x"))
def test_unknown_version_code_1(cnif, fake_ipam, netns, verb, version):
    assert cnif(verb, full(cnif, fake_ipam, verb, version), netns=netns).code == 1


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("version", VERSIONS)
def test_verb_exists_from_its_version_on(cnif, fake_ipam, recorder, netns, verb, version):
    answer = cnif(verb, full(cnif, fake_ipam, verb, version, netns, mode="vhost-user"), netns=netns)
    if version < FIRST_VERSION[verb]:
        assert answer.code == 1
        assert verb in answer.msg
        assert recorder.calls == []
    elif verb == "CHECK":
        assert answer.code == 100 + NOT_FOUND
    else:
        assert answer.code == 0
        if verb != "ADD":
            assert answer.stdout == ""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("text", ("", "{", "[]", "nonsense", '{"cniVersion":"1.1.0",}', "\0"))
def test_bad_json_code_6(cnif, netns, verb, text):
    assert cnif(verb, text, netns=netns).code == 6


ENV = [(v, n) for v in VERBS for n in ("CNI_COMMAND", "CNI_PATH")]
ENV += [(v, n) for v in ("ADD", "DEL", "CHECK") for n in ("CNI_CONTAINERID", "CNI_IFNAME")]
ENV += [(v, "CNI_NETNS") for v in ("ADD", "CHECK")]


@pytest.mark.parametrize("verb,name", ENV)
@pytest.mark.parametrize("value", (None, ""))
def test_missing_environment_code_4_names_it(cnif, fake_ipam, netns, verb, name, value):
    answer = cnif(verb, full(cnif, fake_ipam, verb), netns=netns, **{name: value})
    assert answer.code == 4
    assert name in answer.msg


@pytest.mark.parametrize("verb", ("ADD", "DEL", "CHECK"))
@pytest.mark.parametrize("name,value", (
    ("CNI_CONTAINERID", "../x"), ("CNI_CONTAINERID", "-x"), ("CNI_CONTAINERID", "a b"), ("CNI_IFNAME", "a/b"),
    ("CNI_IFNAME", ".."), ("CNI_IFNAME", "a:b"), ("CNI_IFNAME", "sixteen-chars-xx"), ("CNI_IFNAME", "a\tb"),
    ("CNI_COMMAND", "add")))
def test_bad_environment_code_4_names_it(cnif, fake_ipam, netns, verb, name, value):
    answer = cnif(verb, full(cnif, fake_ipam, verb), netns=netns, **{name: value})
    assert answer.code == 4
    assert name in answer.msg


@pytest.mark.parametrize("verb", ("ADD", "CHECK"))
@pytest.mark.parametrize("what", ("missing", "file", "own", "folder", "other kind"))
def test_bad_netns_code_4(cnif, fake_ipam, recorder, tmp_path, verb, what):
    path = {"missing": str(tmp_path / "none"), "file": str(tmp_path / "file"), "own": "/proc/self/ns/net",
            "folder": str(tmp_path), "other kind": "/proc/self/ns/uts"}[what]
    (tmp_path / "file").write_text("")
    answer = cnif(verb, full(cnif, fake_ipam, verb), netns=path)
    assert answer.code == 4
    assert "CNI_NETNS" in answer.msg
    assert fake_ipam.verbs == []


@pytest.mark.parametrize("args", ("FOO=1", "FOO=1;IgnoreUnknown=0", "x", "=1", "IgnoreUnknown=1;IP=300.0.0.1",
                                  "IgnoreUnknown=1;MAC=01:00:00:00:00:00", "IP="))
def test_bad_cni_args_code_4(cnif, fake_ipam, recorder, netns, args):
    answer = cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, args=args)
    assert answer.code == 4
    assert "CNI_ARGS" in answer.msg
    cnif("DEL", full(cnif, fake_ipam, "DEL"), netns=netns, args=args).ok()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("key,value", (
    ("name", ""), ("name", "a/b"), ("name", None), ("instance", "a/b"), ("instance", 7), ("mode", "bridge"),
    ("mtu", -1), ("mtu", 20), ("mtu", "1500"), ("zone", 70000), ("vhost", {"role": "x"}), ("vhost", {"mode": "9"}),
    ("vhost", {"x": 1}), ("ipam", {"no": "type"}), ("ipam", {"type": "a/b"}), ("ipam", []), ("dns", []),
    ("runtimeConfig", {"mac": "ff:ff:ff:ff:ff:ff"}), ("runtimeConfig", {"ips": ["1.2.3"]}),
    ("runtimeConfig", {"bandwidth": {"ingressRate": "1"}}), ("runtimeConfig", {"CNIDeviceInfoFile": "x"}),
    ("prevResult", 7)))
def test_bad_configuration_code_7_names_the_key(cnif, fake_ipam, recorder, netns, verb, key, value):
    conf = full(cnif, fake_ipam, verb)
    conf[key] = value
    answer = cnif(verb, conf, netns=netns)
    assert answer.code == 7
    assert key in answer.msg or "is missing" in answer.msg
    assert recorder.calls == []


def test_needed_keys_code_7(cnif, fake_ipam, recorder, netns):
    assert cnif("CHECK", cnif.conf(ipam=fake_ipam.conf), netns=netns).code == 7
    assert cnif("GC", cnif.conf(ipam=fake_ipam.conf)).code == 7
    assert cnif("ADD", cnif.conf(ipam={}), netns=netns).code == 7
    assert cnif("ADD", cnif.conf(ipam={"type": "absent"}), netns=netns).code == 7
    assert recorder.of("endpoint.attach") == []


@pytest.mark.parametrize("verb", ("ADD", "CHECK"))
def test_daemon_away_code_11(cnif, fake_ipam, netns, verb):
    assert cnif(verb, full(cnif, fake_ipam, verb, netns=netns), netns=netns).code == 11
    assert "ADD" not in fake_ipam.verbs
    assert cnif.entries("attached") == []


def test_daemon_away_status_code_50(cnif, fake_ipam):
    assert cnif("STATUS", full(cnif, fake_ipam, "STATUS")).code == 50


def test_state_folder_not_writable_code_5(cnif, fake_ipam, recorder, netns):
    os.makedirs(os.path.dirname(cnif.state), exist_ok=True)
    with open(cnif.state, "w"):
        pass
    for verb in ("ADD", "DEL", "GC"):
        assert cnif(verb, full(cnif, fake_ipam, verb), netns=netns).code == 5


# ---- leatd's errors

LEATD = [(RESOURCES, 11), (BUSY, 11), (LIMIT, 11), (AGAIN, 11), (EXISTS, 100 + EXISTS), (CONFLICT, 100 + CONFLICT),
         (INTERNAL, 100 + INTERNAL), (PERMISSION, 100 + PERMISSION), (-32602, 7), (-32601, 106)]


@pytest.mark.parametrize("version,code,expected", [(v, c, e) for c, e in LEATD for v in VERSIONS
                                                   if v == "1.1.0" or c not in (BUSY, AGAIN)])
def test_attach_fails_everything_is_given_back(cnif, fake_ipam, recorder, netns, version, code, expected):
    recorder.fail["endpoint.attach"] = [Failure(code, "no way", "mtu")] * (1 if code not in (BUSY, AGAIN) else 99)
    answer = cnif("ADD", full(cnif, fake_ipam, "ADD", version), netns=netns)
    assert answer.code == expected
    assert "no way" in answer.msg
    assert answer.json["cniVersion"] == version
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert recorder.endpoints == {}
    assert cnif.entries("attached") == cnif.entries("pending") == []


@pytest.mark.parametrize("code,expected", [e for e in LEATD if e[0] not in (EXISTS,)])
def test_detach_fails_the_lease_is_kept(cnif, fake_ipam, recorder, netns, code, expected):
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    recorder.fail["endpoint.detach"] = Failure(code, "no way", "id")
    assert cnif("DEL", full(cnif, fake_ipam, "DEL"), netns=netns).code == expected
    assert fake_ipam.verbs == ["ADD"]
    assert cnif.entries("attached") == ["c1:eth0"]
    del recorder.fail["endpoint.detach"]
    cnif("DEL", full(cnif, fake_ipam, "DEL"), netns=netns).ok()
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("attached") == []


@pytest.mark.parametrize("code,expected", [(NOT_FOUND, 100 + NOT_FOUND), *LEATD])
def test_check_reports_leatds_answer(cnif, fake_ipam, recorder, netns, code, expected):
    recorder.fail["endpoint.check"] = Failure(code, "route is missing", "id")
    answer = cnif("CHECK", full(cnif, fake_ipam, "CHECK", netns=netns), netns=netns)
    assert answer.code == expected
    assert "route is missing" in answer.msg


@pytest.mark.parametrize("code", (BUSY, AGAIN))
def test_a_busy_daemon_is_asked_again(cnif, fake_ipam, recorder, netns, code):
    recorder.fail["endpoint.attach"] = [Failure(code, "wait")] * 3
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    assert len(recorder.of("endpoint.attach")) == 4


# ---- STATUS

def test_status_codes(cnif, fake_ipam, recorder):
    def status():
        return cnif("STATUS", full(cnif, fake_ipam, "STATUS"))

    good = dict(recorder.status)
    status().ok()
    recorder.status = dict(good, ready=False)
    assert status().code == 50
    recorder.status = dict(good, mbufs={"size": 65536, "in_use": 65530, "free": 6, "reservable": 8})
    assert status().code == 50
    recorder.status = dict(good, ports=1024)
    assert status().code == 50
    recorder.status = dict(good, conns={"v4": {"max": 100, "used": 98, "nearly_full": True}})
    assert status().code == 51
    recorder.status = good
    recorder.fail["sys.status"] = Failure(INTERNAL, "broken")
    assert status().code == 50
    del recorder.fail["sys.status"]
    fake_ipam.plan(STATUS={"error": {"code": 51, "msg": "pool is nearly empty"}})
    answer = status()
    assert answer.code == 51
    assert "pool is nearly empty" in answer.msg
    fake_ipam.plan(versions=["0.3.1", "1.0.0"], STATUS={"error": {"code": 51, "msg": "never asked"}})
    status().ok()


# ---- results

@pytest.mark.parametrize("mode", ("tap", "vhost-user"))
@pytest.mark.parametrize("version", VERSIONS)
def test_result_form(cnif, fake_ipam, recorder, netns, version, mode):
    fake_ipam.plan(ADD={"ips": ["10.9.0.5/24", "fd00::5/64"], "dns": {"nameservers": ["10.96.0.10"]}})
    result = cnif("ADD", full(cnif, fake_ipam, "ADD", version, mode=mode, mtu=1400, zone=3), netns=netns).ok()
    interface = {"name": "eth0", "mac": "0a:58:0a:09:00:05", "sandbox": netns}
    if version >= "1.1.0":
        interface["mtu"] = 1400
        if mode == "vhost-user":
            interface["socketPath"] = f"/run/leat/{cnif.instance}/vhost/c1:eth0/vhost.sock"
    ips = [{"address": "10.9.0.5/32", "gateway": "169.254.1.1", "interface": 0},
           {"address": "fd00::5/128", "gateway": "fe80::1", "interface": 0}]
    if version < "1.0.0":
        ips[0]["version"], ips[1]["version"] = "4", "6"
    assert result == {"cniVersion": version, "interfaces": [interface], "ips": ips,
                      "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": "fe80::1"}],
                      "dns": {"nameservers": ["10.96.0.10"]}}
    (attach,) = recorder.of("endpoint.attach")
    assert attach == {**{"id": "c1:eth0", "container": "c1", "ifname": "eth0", "kind": mode, "zone": 3, "mtu": 1400,
                         "addresses": ["10.9.0.5/32", "fd00::5/128"], "routes": []},
                      **({"vhost": {"role": "server"}} if mode == "vhost-user" else {})}


def test_netns_is_passed_as_a_descriptor(cnif, fake_ipam, recorder, netns):
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    (passed,) = [fd for name, _, fd in recorder.calls if name == "endpoint.attach"]
    st = os.stat(netns)
    assert passed == (st.st_dev, st.st_ino)


def test_routes_of_ipam_replace_the_default_route(cnif, fake_ipam, recorder, netns):
    fake_ipam.plan(ADD={"routes": [{"dst": "10.1.2.3/16", "gw": "10.9.0.254"}, {"dst": "192.0.2.0/24"}]})
    result = cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns).ok()
    assert result["routes"] == [{"dst": "10.1.0.0/16", "gw": "169.254.1.1"},
                                {"dst": "192.0.2.0/24", "gw": "169.254.1.1"}]
    (attach,) = recorder.of("endpoint.attach")
    assert attach["default_route"] is False
    assert attach["routes"] == [{"dst": "10.1.0.0/16"}, {"dst": "192.0.2.0/24"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_chained_result_keeps_what_came_before(cnif, fake_ipam, recorder, netns, version):
    ip = {"address": "192.0.2.9/24", "interface": 1}
    if version < "1.0.0":
        ip["version"] = "4"
    prev = {"cniVersion": version, "interfaces": [{"name": "br0"}, {"name": "net0", "sandbox": netns}], "ips": [ip],
            "routes": [{"dst": "198.51.100.0/24"}], "dns": {"domain": "example"}}
    result = cnif("ADD", full(cnif, fake_ipam, "ADD", version, prevResult=prev), netns=netns).ok()
    assert result["interfaces"][:2] == prev["interfaces"]
    assert result["interfaces"][2]["name"] == "eth0"
    assert result["ips"][0] == ip
    assert result["ips"][1]["interface"] == 2
    assert result["routes"][0] == prev["routes"][0]
    assert result["dns"] == {"domain": "example"}
    assert cnif("ADD", full(cnif, fake_ipam, "ADD", version, prevResult=result), netns=netns,
                container="c2").code == 7


def test_mac_and_bandwidth_and_vhost_reach_leatd(cnif, fake_ipam, recorder, netns):
    runtime = {"mac": "0a:00:00:00:00:77", "bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000,
                                                        "egressRate": 4000000, "egressBurst": 400000}}
    conf = full(cnif, fake_ipam, "ADD", mode="vhost-user", runtimeConfig=runtime,
                vhost={"role": "client", "uid": 107, "gid": 0, "mode": "0600"})
    result = cnif("ADD", conf, netns=netns, args="IgnoreUnknown=1;MAC=0a:00:00:00:00:01;K8S_POD_NAME=p").ok()
    assert result["interfaces"][0]["mac"] == "0a:00:00:00:00:77"
    (attach,) = recorder.of("endpoint.attach")
    assert attach["mac"] == "0a:00:00:00:00:77"
    assert (attach["rate_bps"], attach["burst_bytes"]) == (4000000, 50000)
    assert (attach["to_rate_bps"], attach["to_burst_bytes"]) == (8000000, 100000)
    assert attach["vhost"] == {"role": "client", "uid": 107, "gid": 0, "mode": "0600"}


@pytest.mark.parametrize("source", ("runtimeConfig", "args", "CNI_ARGS"))
def test_static_addresses(cnif, recorder, netns, source):
    conf = cnif.conf(ipam={})
    args = None
    if source == "runtimeConfig":
        conf["runtimeConfig"] = {"ips": ["10.5.0.9/24", "fd05::9"]}
    elif source == "args":
        conf["args"] = {"cni": {"ips": ["10.5.0.9", "fd05::9/64"]}}
    else:
        args = "IP=10.5.0.9,fd05::9"
    result = cnif("ADD", conf, netns=netns, args=args).ok()
    assert [ip["address"] for ip in result["ips"]] == ["10.5.0.9/32", "fd05::9/128"]
    cnif("DEL", conf, netns=netns, args=args).ok()


@pytest.mark.parametrize("args,names", (
    ("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=7", ("web-0", "shop")),
    ("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0", ("web-0", "shop")), ("K8S_POD_NAME=a.b", ("a.b", None)),
    ("K8S_POD_NAME=;K8S_POD_NAMESPACE=", (None, None)), ("K8S_POD_NAME=a b;K8S_POD_NAMESPACE=-x", (None, None)),
    ("K8S_POD_NAME=" + "p" * 253, ("p" * 127, None)), ("", (None, None))))
def test_names_for_people_are_told_and_stop_nobody(cnif, fake_ipam, recorder, netns, args, names):
    cnif("ADD", full(cnif, fake_ipam, "ADD"), netns=netns, args=args).ok()
    (attach,) = [params for name, params, _ in recorder.calls if name == "endpoint.attach"]
    assert (attach.get("pod"), attach.get("namespace")) == names
    cnif("DEL", full(cnif, fake_ipam, "DEL"), netns=netns, args=args).ok()


def test_requested_address_not_given_is_an_error(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD", runtimeConfig={"ips": ["10.9.0.77/24"]})
    answer = cnif("ADD", conf, netns=netns)
    assert answer.code == 120
    assert "10.9.0.77" in answer.msg
    assert fake_ipam.verbs == ["ADD", "DEL"]
    fake_ipam.plan(ADD={"ips": ["10.9.0.77/24"]})
    cnif("ADD", conf, netns=netns).ok()


PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
         {"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.1"},
         {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "2001:db8::1"}]
DUAL = {"ips": ["10.9.0.5/24", "fd00::5/64", "10.9.0.6/24"]}


def mapped(cni, ipam, verb, ports=PORTS, **keys):
    return full(cni, ipam, verb, runtimeConfig={"portMappings": ports}, **keys)


@pytest.mark.parametrize("mode", ("tap", "vhost-user"))
@pytest.mark.parametrize("version", VERSIONS)
def test_port_mappings_become_services(cnif, fake_ipam, recorder, netns, version, mode):
    fake_ipam.plan(ADD=DUAL)
    plain = cnif("ADD", full(cnif, fake_ipam, "ADD", version, mode=mode), netns=netns).ok()
    cnif("DEL", full(cnif, fake_ipam, "DEL", version), netns=netns).ok()
    result = cnif("ADD", mapped(cnif, fake_ipam, "ADD", version=version, mode=mode, zone=3), netns=netns).ok()
    assert result == plain
    v4, v6 = ({"ip": ip, "local": "yes"} for ip in ("10.9.0.5", "fd00::5"))
    assert list(recorder.services.values()) == [
        {"name": "hostport:c1:eth0:tcp:8080", "zone": 3,
         "frontends": [{"kind": "host-port", "proto": "tcp", "port": 8080}],
         "backends": [dict(v4, port=80), dict(v6, port=80)]},
        {"name": "hostport:c1:eth0:udp:53:192.0.2.1", "zone": 3,
         "frontends": [{"kind": "host-port", "ip": "192.0.2.1", "proto": "udp", "port": 53}],
         "backends": [dict(v4, port=5353)]},
        {"name": "hostport:c1:eth0:udp:53:2001:db8::1", "zone": 3,
         "frontends": [{"kind": "host-port", "ip": "2001:db8::1", "proto": "udp", "port": 53}],
         "backends": [dict(v6, port=5353)]}]
    assert [name for name, _, _ in recorder.calls][-4:] == ["endpoint.attach"] + ["service.add"] * 3
    cnif("DEL", mapped(cnif, fake_ipam, "DEL", version=version), netns=netns).ok()
    assert recorder.services == recorder.endpoints == {}


@pytest.mark.parametrize("host_ip", ("", None, "0.0.0.0", "::"))
def test_unspecified_host_ip_is_every_address(cnif, fake_ipam, recorder, netns, host_ip):
    ports = [{"hostPort": 8080, "containerPort": 80, "hostIP": host_ip}, {"hostPort": 8080, "containerPort": 80}]
    cnif("ADD", mapped(cnif, fake_ipam, "ADD", ports), netns=netns).ok()
    (service,) = recorder.services.values()
    assert service["frontends"] == [{"kind": "host-port", "proto": "tcp", "port": 8080}]


@pytest.mark.parametrize("host_ip", ("192.0.2.2", "10.98.0.1", "2001:db8::1"))
def test_host_ip_of_any_uplink_or_leat0(cnif, fake_ipam, recorder, netns, host_ip):
    fake_ipam.plan(ADD=DUAL)
    cnif("ADD", mapped(cnif, fake_ipam, "ADD", [{"hostPort": 80, "containerPort": 80, "hostIP": host_ip}]), netns=netns).ok()
    assert len(recorder.services) == 1


@pytest.mark.parametrize("host_ip", ("192.0.2.9", "2001:db8::9", "8.8.8.8"))
def test_host_ip_that_is_nobody_s_is_refused_before_anything_is_taken(cnif, fake_ipam, recorder, netns, host_ip):
    ports = [PORTS[0], {"hostPort": 81, "containerPort": 80, "hostIP": "192.0.2.2"}, {"hostPort": 80, "containerPort": 80, "hostIP": host_ip}]
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD", ports), netns=netns)
    assert answer.code == 7 and f"tcp port 80: hostIP {host_ip} is no address of an uplink or of leat0" in answer.msg
    assert fake_ipam.verbs == [] and recorder.endpoints == recorder.services == {} and cnif.entries("attached") == []


def test_host_ip_of_the_ipv6_loopback_is_refused(cnif, fake_ipam, recorder, netns):
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD", [{"hostPort": 80, "containerPort": 80, "hostIP": "::1"}]), netns=netns)
    assert answer.code == 7 and "runtimeConfig.portMappings[0].hostIP" in answer.msg and "127.0.0.1" in answer.msg


def test_host_ip_of_the_loopback_needs_portmap(cnif, fake_ipam, recorder, netns):
    cnif.path = ":".join(d for d in cnif.path.split(":") if "lib/cni" not in d and "opt" not in d)
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD", [{"hostPort": 80, "containerPort": 80, "hostIP": "127.0.0.1"}]), netns=netns)
    assert answer.code == 7 and "hostIP 127.0.0.1 is left to the plugin portmap" in answer.msg
    assert recorder.endpoints == {} and cnif.entries("attached") == []


@pytest.mark.parametrize("ports", ([], None))
def test_no_port_mappings(cnif, fake_ipam, recorder, netns, ports):
    cnif("ADD", mapped(cnif, fake_ipam, "ADD", ports), netns=netns).ok()
    assert recorder.services == {}


@pytest.mark.parametrize("verb", ("ADD", "DEL", "CHECK"))
@pytest.mark.parametrize("key,change", (
    ("hostPort", {"hostPort": 0}), ("hostPort", {"hostPort": 65536}), ("hostPort", {"hostPort": "80"}),
    ("containerPort", {"containerPort": None}), ("containerPort", {"containerPort": 1.5}),
    ("protocol", {"protocol": "icmp"}), ("protocol", {"protocol": 6}), ("hostIP", {"hostIP": "192.0.2"}),
    ("hostIP", {"hostIP": "192.0.2.1/32"}), ("hostIP", {"hostIP": 1})))
def test_bad_port_mapping_code_7_names_the_key(cnif, fake_ipam, recorder, netns, verb, key, change):
    answer = cnif(verb, mapped(cnif, fake_ipam, verb, [PORTS[0], {**PORTS[1], **change}]), netns=netns)
    assert answer.code == 7
    assert f"runtimeConfig.portMappings[1].{key}" in answer.msg
    assert recorder.calls == []


def test_port_mapped_to_two_container_ports_code_7(cnif, fake_ipam, recorder, netns):
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD", [PORTS[0], {**PORTS[0], "containerPort": 81}]), netns=netns)
    assert answer.code == 7
    assert "portMappings[1]" in answer.msg


def test_host_ip_of_a_family_that_the_pod_has_not_gives_all_back(cnif, fake_ipam, recorder, netns):
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD"), netns=netns)
    assert answer.code == 7
    assert "udp port 53" in answer.msg
    assert recorder.services == recorder.endpoints == {}
    assert fake_ipam.verbs == ["ADD", "DEL"]


@pytest.mark.parametrize("code,expected", [e for e in LEATD if e[0] not in (BUSY, AGAIN)])
def test_port_refused_everything_is_given_back(cnif, fake_ipam, recorder, netns, code, expected):
    fake_ipam.plan(ADD=DUAL)
    recorder.fail["service.add"] = [None, Failure(code, "is taken", "frontends[0]")]
    answer = cnif("ADD", mapped(cnif, fake_ipam, "ADD"), netns=netns)
    assert answer.code == expected
    assert "udp port 53" in answer.msg and "is taken" in answer.msg
    assert recorder.services == recorder.endpoints == {}
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("attached") == cnif.entries("pending") == []


def test_check_verifies_port_mappings(cnif, fake_ipam, recorder, netns):
    fake_ipam.plan(ADD=DUAL)
    result = cnif("ADD", mapped(cnif, fake_ipam, "ADD", mode="vhost-user"), netns=netns).ok()
    # no such device or socket: only what leatd says
    def check():
        return cnif("CHECK", mapped(cnif, fake_ipam, "CHECK", mode="vhost-user", prevResult=result,
                                    vhost={"role": "client"}), netns=netns)
    check().ok()
    web = recorder.services["hostport:c1:eth0:tcp:8080"]
    for key, value in (("backends", web["backends"][:1]), ("frontends", [{**web["frontends"][0], "port": 81}])):
        recorder.services[web["name"]] = {**web, key: value}
        answer = check()
        assert answer.code == 121
        assert "tcp port 8080" in answer.msg
    del recorder.services[web["name"]]
    answer = check()
    assert answer.code == 121
    assert "tcp port 8080" in answer.msg and "missing" in answer.msg


def test_long_container_id_has_short_service_names(cnif, fake_ipam, recorder, netns):
    names = set()
    for tail in "ab":
        conf = mapped(cnif, fake_ipam, "ADD", PORTS[:1])
        cnif("ADD", conf, netns=netns, container="x" * 119 + tail).ok()
        names |= set(recorder.services)
        cnif("DEL", conf, netns=netns, container="x" * 119 + tail).ok()
        assert recorder.services == {}
    assert len(names) == 2
    assert all(name.startswith("hostport::") and len(name) <= 127 for name in names)


@pytest.mark.parametrize("role,pod_mode", (("server", "client"), ("client", "server")))
def test_device_info_file(cnif, fake_ipam, recorder, netns, tmp_path, role, pod_mode):
    path = tmp_path / "device.json"
    conf = full(cnif, fake_ipam, "ADD", mode="vhost-user", vhost={"role": role},
                runtimeConfig={"CNIDeviceInfoFile": str(path)})
    cnif("ADD", conf, netns=netns).ok()
    socket_path = f"/run/leat/{cnif.instance}/vhost/c1:eth0/vhost.sock"
    assert json.loads(path.read_text()) == {"type": "vhost-user", "version": "1.1.0",
                                            "vhost-user": {"mode": pod_mode, "path": socket_path}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    cnif("DEL", conf, netns=netns).ok()
    assert not path.exists()
    cnif("DEL", conf, netns=netns).ok()


def test_device_info_cannot_be_written_undoes_all(cnif, fake_ipam, recorder, netns, tmp_path):
    conf = full(cnif, fake_ipam, "ADD", mode="vhost-user",
                runtimeConfig={"CNIDeviceInfoFile": str(tmp_path / "no" / "such" / "folder")})
    assert cnif("ADD", conf, netns=netns).code == 5
    assert recorder.endpoints == {}
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("attached") == []


def test_second_add_of_an_attachment_refused_and_harmless(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    cnif("ADD", conf, netns=netns).ok()
    assert cnif("ADD", conf, netns=netns).code == 100 + EXISTS
    assert list(recorder.endpoints) == ["c1:eth0"]
    assert fake_ipam.verbs == ["ADD"]
    assert cnif.entries("attached") == ["c1:eth0"]


def test_several_interfaces_of_one_pod(cnif, fake_ipam, recorder, netns):
    conf = full(cnif, fake_ipam, "ADD")
    for i, ifname in enumerate(("eth0", "net1", "net2")):
        fake_ipam.plan(ADD={"ips": [f"10.9.0.{5 + i}/24"]})
        cnif("ADD", conf, netns=netns, ifname=ifname).ok()
    assert sorted(recorder.endpoints) == ["c1:eth0", "c1:net1", "c1:net2"]
    cnif("DEL", conf, netns=netns, ifname="net1").ok()
    assert sorted(recorder.endpoints) == ["c1:eth0", "c1:net2"]


def test_nobody_reads_the_result_undoes_all(cnif, fake_ipam, recorder, netns):
    proc = cnif.start("ADD", full(cnif, fake_ipam, "ADD"), netns=netns)
    proc.stdout.close()
    proc.stdout = None
    assert cnif.finish_status(proc) == 1
    assert recorder.endpoints == {}
    assert fake_ipam.verbs == ["ADD", "DEL"]
    assert cnif.entries("attached") == []
