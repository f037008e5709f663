# SPDX-License-Identifier: BSD-3-Clause
"""Rows for a person: one line each as they come, medians and spread at the end."""
from statistics import median


def key(row):
    return tuple(row.get(k) for k in ("scenario", "peer", "frame_bytes", "flows", "proto", "mtu", "load", "zipf", "services",
                                      "rules", "shape", "measure", "position"))


def peerless(k):
    """The key without its peer."""
    return k[:1] + k[2:]


def line(row):
    head = f"{row['scenario']:10} {row['peer']:8} round {row['round']}"
    if "error" in row:
        return f"{head}{count(row)}  ERROR {row['error']}"
    if "measure" in row:
        return head + measured(row) + noise(row)
    text = head
    if "frame_bytes" in row and row["frame_bytes"] is not None:
        text += f"  {row['frame_bytes']!s:>5} B {row.get('flows', ''):>8} flows"
    if "mtu" in row:
        text += f"  mtu {row['mtu']}"
    if row.get("mpps") is None:
        text += (f"  {row['gbps']:7.3f} Gb/s  {row['retransmits']} retransmits  cpu client {row['client_cpu']:.0%}"
                 f" server {row['server_cpu']:.0%}")
        text += f" switch {row['switch_cpu']:.0%}" if row.get("switch_cpu") is not None else ""
    else:
        text += f"  {row['mpps']:8.3f} Mpps"
    if "p99_ns" in row:
        return text + (f"  at {row['load']:.0%} load: p50 {row['p50_ns'] / 1e3:.1f}  p99 {row['p99_ns'] / 1e3:.1f}"
                       f"  p99.9 {row['p999_ns'] / 1e3:.1f} us" + noise(row))
    if row.get("cycles_per_packet"):
        text += f"  {row['cycles_per_packet']:7.1f} cycles/packet"
    if row.get("refused_share") is not None:
        text += f"  refused {row['refused_share']:4.0%}  loss {row['loss_share']:.4%}"
        if row["generator_limited"]:
            text += "  GENERATOR WAS THE LIMIT"
        if row["reordered"] or row["duplicate"] or row["misdelivered"] or row["corrupt"]:
            text += (f"  REORDERED {row['reordered']} DUPLICATE {row['duplicate']}"
                     f" MISDELIVERED {row['misdelivered']} CORRUPT {row['corrupt']}")
    return text + noise(row)


def count(row):
    return "".join(f"  {row[k]:>7} {k}" for k in ("services", "rules") if k in row)


def measured(row):
    """What a row of the scale-* scenarios says: one measured thing."""
    text = f"{count(row)} {row.get('shape', '')}  {row['measure']:14} {row.get('position', ''):7} {row['value']:10.3f} {row['unit']}"
    more = ("p99", "lowest", "highest", "pps", "changes", "connections", "lost", "loss_share", "cycles_per_packet", "rate_ratio",
            "cycles_ratio", "p50_ratio", "p99_ratio", "flood_pps", "drops")
    text += "".join(f"  {k} {row[k]}" for k in more if row.get(k) is not None)
    return text + ("  GENERATOR WAS THE LIMIT" if row.get("generator_limited") else "")


def noise(row):
    return f"  NOISY: {'; '.join(row['noisy'])}" if row.get("noisy") else ""


def spread(values):
    return f"{median(values):9.3f} ({min(values):.3f} … {max(values):.3f})" if values else "-"


def summary(rows):
    """Medians by row and peer. Only quiet rounds count where every peer of the row has some; else all, for all, and it
    says so: quiet rounds of one beside noisy ones of another would not be the same machine."""
    groups = {}
    for r in rows:
        if "error" not in r:
            groups.setdefault(key(r), []).append(r)
    out = ["", "median (lowest … highest) of the rounds"]
    unsettled = {peerless(k) for k, rounds in groups.items() if all(r.get("noisy") for r in rounds)}
    for k, all_rounds in groups.items():
        quiet = [] if peerless(k) in unsettled else [r for r in all_rounds if not r.get("noisy")]
        used = quiet or all_rounds
        name = " ".join(str(x) for x in k if x is not None)
        field = "value" if "measure" in used[0] else "mpps" if used[0].get("mpps") is not None else "gbps"
        text = f"{name:44} {spread([r[field] for r in used])} {used[0].get('unit', field)}"
        if "p99" in used[0]:
            text += f"  p99 {median([r['p99'] for r in used]):.1f}"
        cycles = [r["cycles_per_packet"] for r in used if r.get("cycles_per_packet")]
        if cycles:
            text += f"  {median(cycles):7.1f} cycles/packet"
        if "rate_ratio" in used[0]:
            text += f"  {median([r['rate_ratio'] for r in used]):.3f} of the least count's rate, {median([r['cycles_ratio'] for r in used]):.3f} of its cycles"
        if "p99_ratio" in used[0]:
            text += f"  {median([r['p50_ratio'] for r in used]):.3f} of the least count's median, {median([r['p99_ratio'] for r in used]):.3f} of its p99"
        if "p99_ns" in used[0]:
            text += f"  p99 {median([r['p99_ns'] for r in used]) / 1e3:.1f} us"
        limited = sum(1 for r in used if r.get("generator_limited"))
        text += f"  {len(used)} of {len(all_rounds)} rounds"
        text += "" if quiet else ", NOT QUIET"
        text += f", generator the limit in {limited}" if limited else ""
        out.append(text)
    return "\n".join(out)
