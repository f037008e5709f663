/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rule lists at 10 to 160,000 rules: one match, one add, one delete. Prints one
 * JSON object a line: name, value, unit. Numbers and how to repeat them:
 * docs/policy.md.
 *
 * mixed: as in an access list: nested prefixes on both sides, exact ports,
 * ranges, any. pods: groups of 32 pods times ports.
 *
 * bench-policy [--max N] [--samples N]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/classifier.h"
#include "perf/bench_prefix.h"

#define N_PKTS 16384
#define GROUP_PODS 32
#define GROUP_PORTS 16
#define POLL_EVERY 32

/* What is kept of a rule: its index, and prefixes for packets that match. */
struct bench_rule {
	uint32_t idx;
	struct ip_prefix src, dst;
};

static struct rule_packet pkts[N_PKTS];
static uint32_t list, groups[65536];
static size_t n_groups;

static void print(const char *world, size_t n, const char *what, double value, const char *unit)
{
	printf("{\"name\":\"policy.%s.%zu.%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", world, n, what,
		value, unit);
	fflush(stdout);
}

static void control_turn(void)
{
	gen_publish();
	rcu_poll();
}

/* Inside 10/8, so that they nest; any for 20 %. */
static struct ip_prefix mixed_prefix(void)
{
	static const uint8_t lens[] = { 0, 0, 12, 16, 20, 24, 24, 28, 32, 32 };
	struct ip_prefix p = { .addr = random_addr(false), .len = lens[rnd() % RTE_DIM(lens)] };

	p.addr.b[12] = 10;
	ip_prefix_mask(&p);
	return p;
}

static uint8_t mixed_set(const struct ip_prefix *p, uint32_t *set)
{
	if (p->len == 0)
		return 0;
	*set = ipset_intern(0, p, NULL, 0);
	return 1;
}

static uint8_t mixed_ports(struct port_range *r)
{
	uint64_t pick = rnd() % 10;
	uint16_t lo = (uint16_t)(rnd() % 60000);

	if (pick < 2)
		return 0;
	*r = (struct port_range){ lo, lo };
	if (pick == 2)
		*r = (struct port_range){ 1024, 65535 };
	else if (pick == 3)
		r->hi = (uint16_t)(lo + rnd() % 1000);
	else if (pick < 8)
		r->lo = r->hi = (uint16_t)(rnd() % 100);
	return 1;
}

/* A random rule of a list of n; the sets' references are the caller's. */
typedef void (*make_fn)(size_t n, struct bench_rule *out, struct rule_config *cfg);

static void mixed_make(size_t n, struct bench_rule *out, struct rule_config *cfg)
{
	out->src = mixed_prefix();
	out->dst = mixed_prefix();
	*cfg = (struct rule_config){ .priority = rnd() % (1 + n), .has_proto = rnd() % 10 != 0 };
	cfg->proto = rnd() % 3 == 0 ? 17 : 6;
	cfg->n_src = mixed_set(&out->src, cfg->src);
	cfg->n_dst = mixed_set(&out->dst, cfg->dst);
	cfg->n_dport = mixed_ports(cfg->dport);
	cfg->n_sport = rnd() % 10 == 0 ? mixed_ports(cfg->sport) : 0;
}

/* Pod i of group g is 10.g.i, g of 16 bits. */
static struct ip_prefix pod_prefix(size_t group)
{
	return (struct ip_prefix){ .addr = ip_from_v4(rte_cpu_to_be_32((
					   uint32_t)(10u << 24 | group << 8 | rnd() % GROUP_PODS))),
		.len = 32 };
}

static void pods_make(size_t n, struct bench_rule *out, struct rule_config *cfg)
{
	size_t group = rnd() % RTE_MAX(n / GROUP_PORTS, 1u);
	uint16_t port = (uint16_t)(8000 + rnd() % GROUP_PORTS);

	out->src = pod_prefix(group);
	out->dst = pod_prefix(group);
	*cfg = (struct rule_config){ .priority = 1,
		.has_proto = true,
		.proto = 6,
		.n_src = 1,
		.src = { groups[group] },
		.n_dport = 1,
		.dport = { { port, port } } };
	ipset_get(groups[group]);
}

static void groups_create(size_t n)
{
	for (n_groups = 0; n_groups < RTE_MAX(n / GROUP_PORTS, 1u); n_groups++) {
		groups[n_groups] = ipset_create(0);
		for (uint32_t i = 0; i < GROUP_PODS; i++) {
			struct ip_prefix p = { .addr = ip_from_v4(rte_cpu_to_be_32(
						       (uint32_t)(10u << 24 | n_groups << 8 | i))),
				.len = 32 };

			if (ipset_member_add(groups[n_groups], &p, false) != 0)
				exit(1);
		}
	}
}

static void groups_destroy(void)
{
	while (n_groups > 0)
		ipset_put(groups[--n_groups]);
}

/* Cycles that rule_add() took. */
static uint64_t rule_make(make_fn make, size_t n, struct bench_rule *r)
{
	struct rule_config cfg;
	uint64_t start, cycles;

	make(n, r, &cfg);
	start = rte_rdtsc();
	if (rule_add(list, &cfg, &r->idx) != 0)
		exit(1);
	cycles = rte_rdtsc() - start;
	for (unsigned int i = 0; i < cfg.n_src; i++)
		ipset_put(cfg.src[i]);
	for (unsigned int i = 0; i < cfg.n_dst; i++)
		ipset_put(cfg.dst[i]);
	return cycles;
}

/* Half of the packets are from where a rule is to where it is, the others from
 * one rule to another. */
static void pkts_make(const struct bench_rule *rules, size_t n)
{
	for (unsigned int i = 0; i < N_PKTS; i++) {
		const struct bench_rule *r = &rules[rnd() % n],
					*to = i % 2 == 0 ? r : &rules[rnd() % n];

		pkts[i] = (struct rule_packet){ .proto = rnd() % 4 == 0 ? 17 : 6,
			.has_ports = true,
			.src = random_addr_below(&r->src),
			.dst = random_addr_below(&to->dst),
			.sport = (uint16_t)(32768 + rnd() % 28000),
			.dport = (uint16_t)(rnd() % 2 == 0 ? rnd() % 100
							   : 8000 + rnd() % GROUP_PORTS) };
	}
}

static bool is_matched(const struct rule_packet *pkt)
{
	struct rule_query query;

	rule_query_init(&query, pkt);
	return rulelist_match(list, &query, RULE_NONE) != RULE_NONE;
}

static void matches(const char *world, size_t n)
{
	unsigned int n_hits = 0;
	uint64_t start_ns;

	for (unsigned int i = 0; i < N_PKTS; i++)
		n_hits += is_matched(&pkts[i]);
	start_ns = clock_ns();
	for (unsigned int round = 0; round < 4; round++)
		for (unsigned int i = 0; i < N_PKTS; i++)
			n_hits += is_matched(&pkts[i]);
	print(world, n, "match", (double)(clock_ns() - start_ns) / (4 * N_PKTS), "ns");
	print(world, n, "match.hits", (double)n_hits / (5 * N_PKTS), "ratio");
}

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_latencies(
	const char *world, size_t n, const char *verb, uint64_t *cycles, size_t n_samples)
{
	static const double at[] = { 0.5, 0.99, 1.0 };
	static const char *const names[] = { "p50", "p99", "max" };
	char what[32];

	qsort(cycles, n_samples, sizeof(*cycles), u64_cmp);
	for (unsigned int i = 0; i < RTE_DIM(at); i++) {
		size_t k = (size_t)(at[i] * (double)(n_samples - 1));

		snprintf(what, sizeof(what), "%s.%s", verb, names[i]);
		print(world, n, what, (double)clock_cycles_to_ns(cycles[k]) / 1e3, "us");
	}
}

/* A rule goes, another comes. */
static void updates(
	const char *world, make_fn make, struct bench_rule *rules, size_t n, size_t n_samples)
{
	uint64_t *add = malloc(n_samples * sizeof(*add)), *del = malloc(n_samples * sizeof(*del));

	if (add == NULL || del == NULL)
		exit(1);
	for (size_t i = 0; i < n_samples; i++) {
		struct bench_rule *r = &rules[rnd() % n];
		uint64_t start = rte_rdtsc();

		rule_del(r->idx);
		del[i] = rte_rdtsc() - start;
		add[i] = rule_make(make, n, r);
		if (i % POLL_EVERY == 0)
			control_turn();
	}
	print_latencies(world, n, "add", add, n_samples);
	print_latencies(world, n, "del", del, n_samples);
	free(add);
	free(del);
}

static void bench(const char *world, make_fn make, size_t n, size_t n_samples)
{
	struct bench_rule *rules = calloc(n, sizeof(*rules));
	uint64_t start_ns = clock_ns();

	if (rules == NULL)
		exit(1);
	if (make == pods_make)
		groups_create(n);
	list = rulelist_create(0);
	for (size_t i = 0; i < n; i++) {
		rule_make(make, n, &rules[i]);
		if (i % POLL_EVERY == 0)
			control_turn();
	}
	print(world, n, "load", (double)(clock_ns() - start_ns) / 1e9, "s");
	pkts_make(rules, n);
	matches(world, n);
	updates(world, make, rules, n, n_samples);
	rulelist_destroy(list);
	groups_destroy();
	control_turn();
	free(rules);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "max", required_argument, NULL, 'm' },
		{ "samples", required_argument, NULL, 's' }, { NULL, 0, NULL, 0 } };
	static const size_t sizes[] = { 10, 1000, 10000, 160000 };
	size_t max = 160000, n_samples = 20000;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'm')
			max = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			n_samples = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	clock_init();
	if (n_samples == 0 || rcu_init() != 0 || ipset_table_init() != 0 || classifier_init() != 0)
		return 1;
	for (unsigned int i = 0; i < RTE_DIM(sizes) && sizes[i] <= max; i++) {
		bench("mixed", mixed_make, sizes[i], n_samples);
		bench("pods", pods_make, sizes[i], n_samples);
	}
	classifier_fini();
	ipset_table_fini();
	rcu_fini();
	return 0;
}
