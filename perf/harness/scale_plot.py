# SPDX-License-Identifier: BSD-3-Clause
"""Charts of the scale-services rows: median over the rounds, by number of services."""
import os
from statistics import median

from . import svg


def points(rows, peer, measure, position=None):
    """[(services, median)], rounds together; counts that a loader did not reach in full stand where they are."""
    by_count = {}
    for r in rows:
        if (r.get("scenario"), r.get("peer"), r.get("measure")) == ("scale-services", peer, measure) and r["services"] and (
                position is None or r["position"] == position):
            by_count.setdefault(r["services"], []).append(r["value"])
    return sorted((n, median(values)) for n, values in by_count.items())


def plot(rows, directory):
    """services-first-packet.svg and services-update.svg; without rows nothing."""
    peers = list(dict.fromkeys(r["peer"] for r in rows if r.get("scenario") == "scale-services"))
    first = {f"{p}, {where}": points(rows, p, "first-packet", where) for p in peers
             for where in (("first", "last") if p.startswith("iptables") else ("last",))}
    update = {p: points(rows, p, "add-effect") for p in peers}
    for name, title, unit, series in (
            ("services-first-packet", "First packet of a connection to a service", "us (median)", first),
            ("services-update", "One more service: until it works", "ms (median)", update)):
        series = {k: v for k, v in series.items() if v}
        if series:
            svg.lines(os.path.join(directory, f"{name}.svg"), title, "services", unit, series)
