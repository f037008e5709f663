/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leat-bench [EAL options] -- [-f FLOWS,…] [-b FILL,…] [-k KIND,…] [-n NEW_FLOWS] [-r ROUNDS] [-c PACKETS] [-1] [-S]
 *   [-V SERVICES] [-R RULES] [-P POLICIES]
 * Cycles a packet of the pipeline on bench ports (see world.h), and what flushing its connections takes; one JSON object a line.
 * perf/bench drives it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_tcp.h>

#include "datapath/pipeline/observe.h"
#include "perf/pipeline/world.h"

#define LIST_MAX 16
#define ROUNDS_MAX 101

static const char *const kind_names[WORLD_KIND_N] = { "udp4", "tcp4", "udp6", "encap", "decap" };
static const char *const stage_names[STAGE_N] = {
#define STAGE(name, help) #name,
#include "datapath/fast/stages.def"
#undef STAGE
};

struct options {
	uint32_t flows[LIST_MAX], fills[LIST_MAX];
	unsigned int n_flows, n_fills, rounds;
	uint32_t kinds; /* bit set */
	uint32_t new_flows;
	uint32_t n_services, n_rules, n_policies; /* A reaches B through them */
	uint32_t pkts;				  /* of a round */
	bool no_huge, is_once, is_strict;
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *name, double value, const char *unit, const char *more)
{
	printf("{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"%s}\n", name, value, unit, more);
	fflush(stdout);
}

/* Visits flows in an order that no prefetcher follows: a stride without a common factor with n. */
static uint32_t next_flow(uint32_t *pos, uint32_t n)
{
	uint32_t stride = n > 3 ? (uint32_t)(n * 0.6180339887) | 1 : 1;

	while (n % stride == 0 && stride > 1)
		stride += 2;
	*pos = (uint32_t)(((uint64_t)*pos + stride) % n);
	return *pos;
}

static unsigned int dir_of(enum world_kind kind, uint64_t k)
{
	if (kind == WORLD_ENCAP)
		return 0;
	return kind == WORLD_DECAP ? 1 : k & 1;
}

/* Every flow once in each direction and once more: connections exist and are replied to. */
static void establish(struct world *world, enum world_kind kind, uint32_t n)
{
	static const uint8_t handshake[] = { RTE_TCP_SYN_FLAG, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
		RTE_TCP_ACK_FLAG };

	for (unsigned int pass = 0; pass < 3; pass++) {
		world->tcp_flags = handshake[pass];
		for (uint32_t id = 0; id < n;) {
			for (unsigned int i = 0; i < BATCH_LEN && id < n; i++)
				world_stage(world, kind, id++, pass & 1);
			world_round(world);
		}
	}
}

/* One round: `pkts` packets, `fill` a batch; cycles a packet. Both directions in turn where the kind has both. */
static double round_hit(struct world *world, enum world_kind kind, uint32_t n, uint32_t fill,
	uint32_t pkts, uint32_t *pos)
{
	uint64_t cycles = 0, done = 0;

	for (uint64_t k = 0; done < pkts; k++) {
		for (unsigned int i = 0; i < fill; i++)
			world_stage(world, kind, next_flow(pos, n), dir_of(kind, k));
		uint64_t t0 = rte_rdtsc();
		done += world_round(world);
		cycles += rte_rdtsc() - t0;
	}
	return (double)cycles / (double)done;
}

static void stages_report(struct world *world, const char *what, uint32_t flows)
{
	char more[128];

	for (unsigned int s = 0; s < STAGE_N; s++) {
		const struct stage_count *c = &world->w->stats.stages[s];
		uint64_t pkts = world->w->stats.stages[STAGE_parse].pkts;

		snprintf(more, sizeof(more), ",\"kind\":\"%s\",\"flows\":%u,\"stage\":\"%s\"", what,
			flows, stage_names[s]);
		if (pkts > 0)
			report("stage", (double)c->cycles / (double)pkts, "cycles/packet", more);
	}
}

static void bench_hit(
	struct world *world, const struct options *o, enum world_kind kind, uint32_t flows)
{
	double v[ROUNDS_MAX];
	uint32_t pos = 0;
	char more[224];

	for (unsigned int f = 0; f < o->n_fills; f++) {
		for (unsigned int r = 0; r < o->rounds; r++)
			v[r] = round_hit(world, kind, flows, o->fills[f], o->pkts, &pos);
		qsort(v, o->rounds, sizeof(v[0]), compare);
		snprintf(more, sizeof(more),
			",\"kind\":\"%s\",\"flows\":%u,\"fill\":%u,\"rounds\":%u,\"lowest\":%.2f,"
			"\"highest\":%.2f,\"services\":%u,\"rules\":%u",
			kind_names[kind], flows, o->fills[f], o->rounds, v[0], v[o->rounds - 1],
			o->n_services, o->n_rules);
		report("hit", v[o->rounds / 2], "cycles/packet", more);
	}
	if (o->is_once)
		return;
	struct observe_config cfg = { .flags = OBSERVE_STAGES };
	observe_set(&cfg);
	memset(world->w->stats.stages, 0, sizeof(world->w->stats.stages));
	round_hit(world, kind, flows, BATCH_LEN, o->pkts, &pos);
	observe_set(NULL);
	stages_report(world, kind_names[kind], flows);
}

/* What is sent of a new connection, in which direction. */
struct step {
	uint8_t dir, tcp_flags;
};

static const struct step udp_steps[] = { { 0, 0 } };
static const struct step tcp_steps[] = {
	{ 0, RTE_TCP_SYN_FLAG },
	{ 1, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG },
	{ 0, RTE_TCP_ACK_FLAG },
	{ 0, RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG },
	{ 1, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG },
	{ 0, RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG },
	{ 1, RTE_TCP_ACK_FLAG },
};

/* Connections of one UDP packet, or of a whole TCP conversation: all of a batch a step further, then the next step. */
static void bench_new(struct world *world, const struct options *o, enum world_kind kind)
{
	uint64_t cycles = 0, before = world->w->stats.n_new_conns;
	const struct step *steps = kind == WORLD_TCP4 ? tcp_steps : udp_steps;
	unsigned int n_steps = kind == WORLD_TCP4 ? RTE_DIM(tcp_steps) : RTE_DIM(udp_steps);
	uint32_t n = o->new_flows;
	char more[176];

	for (uint32_t id = 0; id < n; id += BATCH_LEN)
		for (unsigned int s = 0; s < n_steps; s++) {
			world->tcp_flags = steps[s].tcp_flags;
			for (uint32_t i = id; i < id + BATCH_LEN && i < n; i++)
				world_stage(world, kind, i, steps[s].dir);
			uint64_t t0 = rte_rdtsc();
			world_round(world);
			cycles += rte_rdtsc() - t0;
		}
	uint64_t made = world->w->stats.n_new_conns - before;
	double per = (double)cycles / (double)(made ? made : 1);

	snprintf(more, sizeof(more),
		",\"kind\":\"%s\",\"flows\":%u,\"made\":%" PRIu64
		",\"packets\":%u,\"services\":%u,\"rules\":%u,\"policies\":%u",
		kind_names[kind], n, made, n_steps, o->n_services, o->n_rules, o->n_policies);
	report("new_flow", per, "cycles/flow", more);
	report("new_flows", (double)rte_get_tsc_hz() / per, "1/s", more);
}

/* As flow.flush unlinks them: every connection of the table, in the records' order. */
static void bench_flush(struct world *world, enum world_kind kind)
{
	struct flowtab *t = kind == WORLD_UDP6 ? &world->ft6 : &world->ft4;
	uint32_t n = 0;
	char more[64];
	uint64_t t0 = rte_rdtsc(), cycles;

	for (uint32_t conn = 0; conn < flowtab_n_touched(t); conn++)
		n += flowtab_unlink(t, conn);
	cycles = rte_rdtsc() - t0;
	snprintf(more, sizeof(more), ",\"kind\":\"%s\",\"flows\":%u", kind_names[kind], n);
	report("flush", 1e3 * (double)cycles / (double)rte_get_tsc_hz(), "ms", more);
}

static unsigned int parse_list(const char *text, uint32_t out[LIST_MAX])
{
	unsigned int n = 0;
	char *end;

	while (n < LIST_MAX && *text) {
		out[n++] = (uint32_t)strtod(text, &end);
		text = *end == ',' ? end + 1 : end + strlen(end);
	}
	return n;
}

static uint32_t parse_kinds(const char *text)
{
	uint32_t set = 0;

	for (unsigned int k = 0; k < WORLD_KIND_N; k++)
		if (strstr(text, kind_names[k]))
			set |= 1u << k;
	return set;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	int opt;

	*o = (struct options){ .flows = { 1000 },
		.fills = { BATCH_LEN },
		.n_flows = 1,
		.n_fills = 1,
		.rounds = 11,
		.n_policies = 1,
		.kinds = 1,
		.pkts = 1u << 20 };
	while ((opt = getopt(argc, argv, "f:b:k:n:r:c:V:R:P:1HS")) >= 0) {
		switch (opt) {
		case 'f':
			o->n_flows = parse_list(optarg, o->flows);
			break;
		case 'b':
			o->n_fills = parse_list(optarg, o->fills);
			break;
		case 'k':
			o->kinds = parse_kinds(optarg);
			break;
		case 'n':
			o->new_flows = (uint32_t)strtod(optarg, NULL);
			break;
		case 'r':
			o->rounds = RTE_MIN((unsigned int)atoi(optarg), (unsigned int)ROUNDS_MAX);
			break;
		case 'c':
			o->pkts = (uint32_t)strtod(optarg, NULL);
			break;
		case 'V':
			o->n_services = (uint32_t)strtod(optarg, NULL);
			break;
		case 'R':
			o->n_rules = (uint32_t)strtod(optarg, NULL);
			break;
		case 'P':
			o->n_policies = (uint32_t)strtod(optarg, NULL);
			break;
		case '1':
			o->is_once = true;
			break;
		case 'S':
			o->is_strict = true;
			break;
		case 'H':
			o->no_huge = true;
			break;
		default:
			return -EINVAL;
		}
	}
	for (unsigned int i = 0; i < o->n_fills; i++)
		if (o->fills[i] < 1 || o->fills[i] > BATCH_LEN)
			return -EINVAL;
	return o->n_policies > 0 && o->rounds > 0 && o->n_flows > 0 && o->n_fills > 0 ? 0 : -EINVAL;
}

/* One kind and one number of flows a process: tables start empty, and callgrind sees nothing else. */
int main(int argc, char **argv)
{
	static struct world world;
	struct options o;
	int ret = rte_eal_init(argc, argv);

	if (ret < 0)
		return 1;
	if (parse_options(argc - ret, argv + ret, &o)) {
		fprintf(stderr,
			"usage: leat-bench EAL… -- [-f FLOWS] [-b FILL,…] [-k KIND] [-n NEW] [-r "
			"ROUNDS]"
			" [-c PACKETS] [-V SERVICES] [-R RULES] [-P POLICIES] [-H: no hugepages] "
			"[-1: no stages] "
			"[-S: strict TCP]\n");
		return 2;
	}
	enum world_kind kind = o.kinds ? (enum world_kind)__builtin_ctz(o.kinds) : WORLD_UDP4;
	uint32_t most = o.new_flows;

	for (unsigned int i = 0; i < o.n_flows; i++)
		most = RTE_MAX(most, o.flows[i]);
	/* The default table, or what the flows need: with room, as a table is meant to be used. */
	uint32_t n_conns = RTE_MAX(most + most / 8, o.no_huge ? 1u << 16 : 1000000u);
	if (world_open(&world, n_conns, kind == WORLD_UDP6, o.no_huge))
		return 1;
	if (o.is_strict && flowtab_windows_open(&world.ft4) < 0)
		return 1;
	atomic_store(&conn_tcp_strict, o.is_strict);
	if ((o.n_services || o.n_rules) &&
		world_serve(&world, o.n_services, o.n_rules, o.n_policies))
		return 1;
	if (o.new_flows) {
		bench_new(&world, &o, kind);
	} else {
		for (unsigned int i = 0; i < o.n_flows; i++) {
			establish(&world, kind, o.flows[i]);
			bench_hit(&world, &o, kind, o.flows[i]);
		}
		if (!o.is_once)
			bench_flush(&world, kind);
	}
	ret = 0;
	if (world_drops(&world)) {
		fprintf(stderr, "bench: %" PRIu64 " packets were dropped: the numbers are void\n",
			world_drops(&world));
		ret = 1;
	}
	world_close(&world);
	rte_eal_cleanup();
	return ret;
}
