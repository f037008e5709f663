# SPDX-License-Identifier: BSD-3-Clause
"""What a verdict is counted as.

Its kind: one for each thing that a layer can decide, each verdict in exactly one. What came after a refusal does not count; of what
goes on, the last layer that did something to it says what it is. Its moment: when its packet came. Both are partitions, and random
scenarios must give each part a share. The labels are finer, and several may fit one verdict; each must occur.
"""
import collections

SHARE = 0.05  # of all verdicts, at least, for each kind and each moment
LEAST = 20  # verdicts with each label

# kind → labels, any of which makes a verdict one of it; the first that fits
BY_LABEL = {
    "refused at admission": ("ip_src_spoofed", "eth_src_spoofed", "frag_bad", "ip_land", "no_connection"),
    "no service": ("service_no_backend", "service_no_port", "service_source_refused", "reset-both", "service_backend_gone"),
    "denied": ("policy_denied",),
    "rejected": ("policy_rejected",),
    "no way": ("no_route", "prohibit", "blackhole", "ttl_exceeded", "address_unused", "tunnel_transit", "route_loop"),
    "no translation": ("nat_exhausted", "nat_no_address"),
    "error about a connection": ("icmp-error", "icmp_unmatched"),
    "1:1": ("pair-in", "pair-out"),
    "pool": ("snat",),
    "service, as the node": ("hairpin", "masquerade"),
    "service, cluster": ("cluster",),
    "service, external": ("external", "node-port", "host-port"),
    "to the node": ("self",),
}
# what goes on untranslated: by where
BY_ROLE = {"pod": "to a pod", "host": "to the node", "uplink": "to the outside", "tunnel": "into a tunnel"}
KINDS = list(dict.fromkeys([*BY_LABEL, *BY_ROLE.values()]))
LABELS = {label for labels in BY_LABEL.values() for label in labels} - {"service_backend_gone", "icmp_unmatched"}
LABELS |= {"tcp", "udp", "icmp", "icmpv6", "gre", "plain", "later", "reply", "port-chosen", "rst", "icmp-answer", "local_proto", "rebind", "first-fragment", "later-fragment", "waited",
           "pair-to-pair", "anew", "anew-reverse", "crossing"}
COMMON = ["explained", "fragment", "sctp", "zone"]  # labels that need a share
MOMENTS = ["first", "again", "reply", "changed"]


def kind_of(outcome, ports):
    for kind, labels in BY_LABEL.items():
        if any(label in outcome.labels for label in labels):
            return kind
    if outcome.delivered is None:
        raise KeyError(outcome.labels)
    path, _ = outcome.delivered
    return BY_ROLE["tunnel" if path.tunnel else ports[path.port].role]


class Tally:
    """Counts verdicts."""

    def __init__(self):
        self.n, self.kinds, self.moments, self.labels = 0, collections.Counter(), collections.Counter(), collections.Counter()

    def add(self, outcome, ports, moment):
        self.n += 1
        self.kinds[kind_of(outcome, ports)] += 1
        self.moments[moment] += 1
        self.labels.update(set(outcome.labels))

    def update(self, other):
        self.n += other.n
        for mine, theirs in ((self.kinds, other.kinds), (self.moments, other.moments), (self.labels, other.labels)):
            mine.update(theirs)

    def scarce(self):
        """What lacks its share, and labels that are rare."""
        counts = [(name, self.kinds[name]) for name in KINDS] + [(name, self.moments[name]) for name in MOMENTS]
        counts += [(name, self.labels[name]) for name in COMMON]
        rare = [f"{label}: {self.labels[label]}" for label in sorted(LABELS) if self.labels[label] < LEAST]
        return [f"{name}: {n} of {self.n}" for name, n in counts if n < SHARE * self.n] + rare

    def lines(self):
        """For people."""
        for counter, names in ((self.kinds, KINDS), (self.moments, MOMENTS), (self.labels, None)):
            for name, n in counter.most_common():
                assert names is None or name in names, name
                yield f"  {name:24} {n:9} {100 * n / max(1, self.n):6.2f} %"
            yield ""
