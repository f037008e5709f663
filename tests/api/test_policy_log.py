# SPDX-License-Identifier: BSD-3-Clause
"""A rule that logs, a real packet: the event and the line in the log."""
from waiting import wait_for


def attach(client, netns, name, address):
    space = netns()
    with open(space.path, "rb") as file:
        client.call("endpoint.attach", fds=(file.fileno(),), id=name, kind="tap", ifname="eth0", addresses=[address])
    return space


def test_denied_packet_is_an_event_and_a_line(running, client, netns):
    a = attach(client, netns, "a", "10.66.0.1/32")
    attach(client, netns, "b", "10.66.0.2/32")
    client.call("policy.add", name="shield")
    client.call("rule.add", policy="shield", name="no-dns", direction="ingress", action="deny", proto="udp",
                dports=["53"], log=True)
    client.call("policy.bind", policy="shield", endpoint="b")
    client.call("event.subscribe", kinds=["policy-log"])
    client.call("policy.add", name="other")  # is of another kind
    port = client.call("endpoint.show", id="a")["port"]

    def is_logged():
        a.run("bash", "-c", "echo x > /dev/udp/10.66.0.2/53")
        client.call("sys.status")
        return client.events

    wait_for(is_logged, "an event")
    event = client.events[0]
    sport = event["object"].pop("sport")
    assert 0 < sport < 65536
    assert event == {"kind": "policy-log", "action": "log",
                     "object": {"verdict": "deny", "rule": "shield/no-dns", "direction": "ingress", "proto": "udp",
                                "src": "10.66.0.1", "dst": "10.66.0.2", "dport": 53, "port": port}}
    assert (f"connection judged verdict=deny rule=shield/no-dns direction=ingress proto=udp src=10.66.0.1 sport={sport} "
            f"dst=10.66.0.2 dport=53 port={port}") in running.log()
