# SPDX-License-Identifier: BSD-3-Clause
"""What the model speaks of: ports, endpoints, paths, tuples, connections, and what became of a packet."""
import dataclasses
from typing import NamedTuple

import wire

GATEWAY_MAC = "02:1e:a7:00:00:01"


class Port(NamedTuple):
    name: str
    role: str
    mac: str
    zone: int


class Endpoint(NamedTuple):
    id: str
    kind: str  # pod, host, self
    port: str
    mac: str
    addresses: tuple
    zone: int


class Tunnel(NamedTuple):
    name: str
    local: str
    remote: str
    vni: int
    local_mac: str
    remote_mac: str
    port: str
    zone: int
    is_transit: bool = False


class Pool(NamedTuple):
    addresses: tuple
    ports: tuple


class Path(NamedTuple):
    """How a packet leaves."""
    port: str
    src_mac: str
    dst_mac: str
    tunnel: Tunnel = None


class Tuple(NamedTuple):
    """A connection's addresses and ports at one place on its way."""
    src: str
    sport: int
    dst: str
    dport: int

    def reverse(self):
        return Tuple(self.dst, self.dport, self.src, self.sport)


class RuleTuple(NamedTuple):
    """What rules are asked about; ports None: it has none."""
    proto: int
    src: str
    dst: str
    sport: int
    dport: int


class Frame(NamedTuple):
    """What arrives: tunnel is the name of the one that it comes through, and the MACs are the inner ones then."""
    port: str
    packet: wire.Packet
    src_mac: str
    dst_mac: str
    tunnel: str = None
    quote: object = None  # of an ICMP error: the packet that it is about, as it was delivered


class Key(NamedTuple):
    zone: int
    proto: int
    kind: str
    tuple: Tuple


# what answers a connection's packets is of another kind for ICMP
ANSWER_KINDS = {"echo": "echo-answer"}


@dataclasses.dataclass(eq=False)
class Connection:
    zone: int
    proto: int
    kind: str
    client: Tuple  # as the client sends
    dnat: Tuple  # behind the service
    final: Tuple  # as the server sees it
    rule_tuple: RuleTuple
    service: str = None
    backend: tuple = None
    is_hairpin: bool = False
    does_reset: bool = False  # its service did, when it began
    state: str = "new"
    labels: tuple = ()
    fins: set = dataclasses.field(default_factory=set)  # is_reply of those that have said so
    resets: set = dataclasses.field(default_factory=set)

    def keys(self):
        return (Key(self.zone, self.proto, self.kind, self.client),
                Key(self.zone, self.proto, ANSWER_KINDS.get(self.kind, self.kind), self.final.reverse()))

    def is_over(self):
        return self.state in ("time_wait", "closed")

    def is_half_open(self):
        return self.state in ("syn_sent", "syn_recv")


@dataclasses.dataclass
class Outcome:
    frames: list = dataclasses.field(default_factory=list)  # (port, bytes)
    drops: dict = dataclasses.field(default_factory=dict)  # (port, reason) → n
    labels: tuple = ()
    delivered: tuple = None  # (Path, Packet) that went on
    effects: list = dataclasses.field(default_factory=list)  # what it changes in the node


class Drop(Exception):
    """Ends a packet's way. error: the kind of ICMP error that tells its sender; is_refusal: TCP gets a reset instead;
    times: as often as it is counted, with fragments that waited for nothing."""

    def __init__(self, reason, error=None, is_refusal=False, times=1):
        super().__init__(reason)
        self.reason, self.error, self.is_refusal, self.times = reason, error, is_refusal, times
