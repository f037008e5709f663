#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Does the model test notice a bug? One line of each layer is broken in turn, in a copy of the sources; each must make scenarios fail.

    tests/model/mutate.py [--copy FOLDER] [NAME…]      all of MUTATIONS, or these

Prints a Markdown table (docs/model.md). Exit status 1: a bug went unnoticed, or a line is not there any more.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
root = here.parents[1]
sys.path[:0] = [str(here), str(here.parent / "packet"), str(here.parent / "common")]
import runner  # noqa: E402
import world  # noqa: E402

SEEDS, PACKETS = 200, 40

# name → file, line (part of it), what it becomes, what that means
MUTATIONS = {
    "admit": ("datapath/slow/layer_admit.c", "if (ep == ENDPOINT_NONE || endpoint_at(ep)->port_id != ctx->port->id) {",
              "if (ep == ENDPOINT_NONE) {", "a pod may use another pod's address"),
    "service": ("datapath/slow/layer_service.c", "if (hit->target_port != 0)", "if (false)",
                "the frontend's target port is not used"),
    "service-local": ("datapath/slow/layer_service.c", "slow_is_from_outside(ctx);", "true;",
                      "externalTrafficPolicy Local binds pods of the node too"),
    "service-snat": ("datapath/slow/layer_service.c", "if (ip_eq(&ctx->now.src, &ctx->now.dst))", "if (false)",
                     "no hairpin translation"),
    "local": ("datapath/slow/layer_local.c", "ctx->keep_ttl |= ep->kind == ENDPOINT_HOST;", "ctx->keep_ttl |= false;",
              "what the node gets loses a hop"),
    "route": ("datapath/slow/layer_route.c", "slow_drop(ctx, DROP_PROHIBIT, ICMP_ERROR_PROHIBITED);",
              "slow_drop(ctx, DROP_PROHIBIT, ICMP_ERROR_N);", "a prohibit route is silent"),
    "policy": ("datapath/slow/layer_policy.c", "uint32_t to = is_reply ? ctx->src_ep : ctx->dst_ep;",
               "uint32_t to = ctx->dst_ep;", "replies are judged at the wrong end"),
    "policy-exempt": ("datapath/slow/layer_policy.c", "(is_kind(from, ENDPOINT_POD) && is_kind(to, ENDPOINT_HOST));",
                      "false;", "pods reach their node only if policies allow it"),
    "policy-table": ("datapath/table/policy_judge.c", "has_passed = rule != RULE_NONE;", "has_passed = false;",
                     "pass does not leave the tier"),
    "sets": ("datapath/table/ipset_lookup.c", "return !ipset_member_at(member)->is_except;", "return true;",
             "exceptions of sets are members"),
    "snat": ("datapath/slow/layer_snat.c", "out->role == PORT_ROLE_UPLINK;", "true;",
             "traffic between pods of the node is translated"),
    "encap": ("datapath/slow/layer_encap.c", "if ((ctx->in & FLOW_IN_TUNNEL) != 0) {", "if (false) {",
              "from one tunnel into another"),
    "commit": ("datapath/slow/commit.c", "ret == -EADDRINUSE && nat_ports_at", "n == 0 && nat_ports_at",
               "only one port is tried"),
    "nat": ("datapath/slow/nat.c", "f->new_sport = out->sport;", "f->new_sport = f->key.sport;",
            "the source port stays as it was"),
    "nat-checksum": ("datapath/slow/nat.c", "csum_delta_add(f->l3_delta, ports)", "f->l3_delta",
                     "the checksum does not follow the ports"),
    "icmp": ("datapath/slow/icmp.c", "if (ip_eq(&ctx->pkt->src, &reply.src))", "if (false)",
             "an ICMP error shows the backend's address"),
    "icmp-quote": ("datapath/slow/icmp.c", "quote = translation_reverse(&translated);", "quote = translated;",
                   "the quoted packet is translated the wrong way round"),
    "maglev": ("datapath/table/service_select.c", "hash_scale(hash, sel->n_positions)", "0",
               "every connection gets the first position's backend"),
    "affinity": ("datapath/table/service_select.c", "is_usable ? seen.backend", "false ? seen.backend",
                 "clients do not keep their backend"),
    "anew": ("datapath/slow/slow.c", "return slow_is_opening(ctx) && !ctx->is_related && slow_conn(ctx) != NULL &&",
             "return false && slow_conn(ctx) != NULL &&", "who was connected to may connect back when that is over"),
    "crossing": ("datapath/slow/layer_policy.c", "slow_is_crossing(ctx))\n\t\tcrossing_judge(ctx);", "false)\n\t\tcrossing_judge(ctx);",
                 "a crossing SYN needs no policy of its own direction"),
    "icmp-type": ("datapath/table/flowtab.h", "return kind ^ (kind >= FLOW_KEY_ICMP);", "return kind;",
                  "an echo request is taken for its answer"),
    "no-connection": ("datapath/slow/layer_track.c", "(CONN_TCP_SYN | CONN_TCP_FIN | CONN_TCP_RST)) == 0", "CONN_TCP_SYN) == 0",
                      "a RST or FIN makes a connection"),
    "retry": ("datapath/slow/layer_snat.c", "ip_eq(&addr, &ctx->now.src) ? ctx->action : SLOW_REBIND", "ctx->action",
              "a SYN that is sent again keeps a source that it would not get"),
    "sctp": ("datapath/packet/translate.c", "crc_change(old_ports ^ new_ports, t->l4_len - 4)",
             "crc_change(old_ports ^ new_ports, t->l4_len)", "SCTP's checksum is wrong with other ports"),
    "zone": ("datapath/slow/layer_service.c", "service_lookup(ctx->zone,", "service_lookup(0,",
             "a zone has the services of another"),
    "zone-local": ("datapath/slow/layer_local.c", "endpoint_by_addr(ctx->zone,", "endpoint_by_addr(0,",
                   "a zone's packets are delivered in another"),
    "fragments": ("datapath/slow/fragment.c", "learn(pkt, &out.first);", ";", "later fragments have no ports"),
    "fragments-held": ("datapath/slow/fragment.c", "learn(&pkt, first);", ";", "fragments that waited have no ports"),
    "fragtab": ("datapath/table/fragtab.c", "if (r->off < known_end && known->off < end)", "if (false)",
                "fragments may overlap"),
    "lookup": ("datapath/fast/stage_lookup.c", "return !is_stale;", "return true;", "hits do not notice changes"),
    "rewrite": ("datapath/fast/stage_rewrite.c", "ip->time_to_live--;", ";", "hits lose no hop"),
    "explain": ("datapath/pipeline/explain.c", "if (!ctx->keep_ttl && ctx->pkt->ttl <= 1) {", "if (false) {",
                "explain does not count hops"),
    "explain-nat": ("datapath/pipeline/explain.c", "if (reason == DROP_NONE && !final_tuple(ctx, b, out->ended, &out->final))",
                    "if (reason == DROP_NONE && (final_tuple(ctx, b, out->ended, &out->final), false))", "explain does not know that ports run out"),
}


def run(*command, **how):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **how)


def copy_sources(folder):
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    with subprocess.Popen(["tar", "-C", root, "--null", "-T", "-", "-cf", "-"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as tar:
        tar.stdin.write(names)
        tar.stdin.close()
        run("tar", "-C", folder, "-xmf", "-", stdin=tar.stdout)
    if not (folder / "build").exists():
        run("meson", "setup", "build", cwd=folder)
    build(folder)


def build(folder):
    run("nice", "ninja", "-j2", "-C", str(folder / "build"), "tests/packet/packet_harness")


def first_failure():
    """(seed, verdicts until then, mismatch), None if nothing was noticed."""
    lab = runner.Lab()
    try:
        for seed in range(SEEDS):
            mismatch = lab.failure(world.scenario(seed, PACKETS))
            if mismatch is not None:
                return seed, lab.tally.n, mismatch
    finally:
        lab.harness.process.kill()
        lab.harness.process.communicate()
    return None


def check(folder, name):
    """A line of the table; whether the bug was noticed."""
    file, old, new, meaning = MUTATIONS[name]
    path = folder / file
    text = path.read_text()
    if text.count(old) == 0:
        return f"| {name} | {meaning} | **the line is not there** | |", False
    try:
        path.write_text(text.replace(old, new, 1))
        build(folder)
        found = first_failure()
    finally:
        path.write_text(text)
    if found is None:
        return f"| {name} | {meaning} | **no** | |", False
    seed, n_verdicts, mismatch = found
    return f"| {name} | {meaning} | seed {seed}, packet {n_verdicts + 1:,} | {mismatch.summary()} |", True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", type=pathlib.Path, help="keeps the copy of the sources here, for the next time")
    parser.add_argument("names", nargs="*", choices=[[], *MUTATIONS], metavar="NAME")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leat-mutate-") as scratch:
        folder = args.copy or pathlib.Path(scratch)
        folder.mkdir(exist_ok=True)
        copy_sources(folder)
        os.environ["LEAT_BUILD"] = str(folder / "build")
        clean = first_failure()
        if clean is not None:
            sys.exit(f"the sources fail as they are, seed {clean[0]}: {clean[2]}")
        print("| bug in | what it does | noticed at | got; what the model says |\n|---|---|---|---|")
        all_noticed = True
        for name in args.names or MUTATIONS:
            line, is_noticed = check(folder, name)
            print(line, flush=True)
            all_noticed &= is_noticed
    return 0 if all_noticed else 1


if __name__ == "__main__":
    sys.exit(main())
