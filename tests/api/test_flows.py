# SPDX-License-Identifier: BSD-3-Clause
"""What the lists of connections and flows say about real packets."""
import pytest

from waiting import wait_for


@pytest.fixture
def pods(client, netns):
    """Two taps, and a service in front of the second."""
    spaces = {}
    for name, address in (("a", "10.66.0.1/32"), ("b", "10.66.0.2/32")):
        spaces[name] = attach(client, netns, name, address)
    client.call("service.add", name="dns", backends=[{"ip": "10.66.0.2", "port": 5353}],
                frontends=[{"ip": "10.96.0.53", "proto": "udp", "port": 53}])
    return spaces


def attach(client, netns, name, address):
    space = netns()
    with open(space.path, "rb") as file:
        client.call("endpoint.attach", fds=(file.fileno(),), id=name, kind="tap", ifname="eth0", addresses=[address])
    return space


def query(client, pods, method):
    """What is listed of a query to the service, sent until it is there."""
    def is_listed():
        pods["a"].run("bash", "-c", "echo x > /dev/udp/10.96.0.53/53")
        return client.list(method, dst="10.96.0.53/32")

    return wait_for(is_listed, "a connection")


def test_connection_tells_how_it_leaves_and_whose_it_is(client, pods):
    conn = query(client, pods, "conn.list")[0]
    assert (conn["dst"], conn["dport"]) == ("10.96.0.53", 53)
    assert conn["leaves"] == {"src": "10.66.0.1", "dst": "10.66.0.2", "sport": conn["sport"], "dport": 5353}
    assert (conn["service"], conn["backend"]) == ("dns", "10.66.0.2")
    client.call("service.del", name="dns")
    client.call("service.add", name="other", frontends=[{"ip": "10.96.0.54", "port": 80}], backends=[{"ip": "10.66.0.9"}])
    conn = client.list("conn.list", dst="10.96.0.53/32")[0]
    assert conn["leaves"]["dst"] == "10.66.0.2"
    assert "service" not in conn and "backend" not in conn


def test_flow_does_not_name_a_port_that_has_its_way_out_anew(client, pods, netns):
    port = client.call("endpoint.show", id="b")["port"]
    flow = query(client, pods, "flow.list")[0]
    assert flow["out"] == port
    client.call("endpoint.detach", id="b")
    attach(client, netns, "c", "10.66.0.3/32")
    flow = client.list("flow.list", dst="10.96.0.53/32")[0]
    assert "out" not in flow
