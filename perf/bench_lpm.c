/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Route table at full size: load time, time of one update by length class, lookups, memory. Prints
 * one JSON object a line: name, value, unit. Numbers and how to repeat them: docs/lpm.md.
 *
 * bench-lpm [--v4 N] [--v6 N] [--samples N] [--reader]
 *   --reader: a second thread looks up random addresses all the time and reports its slowest
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/route.h"
#include "perf/bench_prefix.h"

#define POLL_EVERY 32 /* updates a turn of the control loop */
#define N_ADDRS 65536 /* random addresses of the lookup runs */
#define BULK 32

static void print(
	const char *family, const char *what, const char *stat, double value, const char *unit)
{
	printf("{\"name\":\"lpm.%s.%s%s%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", family, what,
		stat[0] == '\0' ? "" : ".", stat, value, unit);
	fflush(stdout);
}

static struct route_config config_of(const struct ip_prefix *p)
{
	return (struct route_config){
		.prefix = *p, .kind = ROUTE_CONNECTED, .port_id = (uint16_t)(rnd() % 64)
	};
}

static void control_turn(void)
{
	gen_publish();
	route_poll();
	rcu_poll();
}

/* n different random prefixes, loaded; the array of them is the caller's. */
static struct ip_prefix *load(bool is_v6, size_t n)
{
	const char *family = is_v6 ? "v6" : "v4";
	struct ip_prefix *all = malloc((n + 1) * sizeof(*all));
	struct route_stats stats;
	uint64_t start_ns, in_add_cycles = 0;
	size_t n_done = 0;

	if (all == NULL)
		exit(1);
	start_ns = clock_ns();
	for (size_t i = 0; n_done < n; i++) {
		struct ip_prefix p = random_prefix(is_v6, random_len(is_v6));
		struct route_config cfg = config_of(&p);
		uint64_t start = rte_rdtsc();
		int rc = route_add(&cfg, NULL);

		in_add_cycles += rte_rdtsc() - start;
		if (rc == 0)
			all[n_done++] = p;
		else if (rc != -EEXIST)
			exit(1);
		if (i % POLL_EVERY == 0)
			control_turn();
		if (n_done == 10000 && rc == 0)
			print(family, "load_10k", "", (double)(clock_ns() - start_ns) / 1e9, "s");
	}
	print(family, "load", "routes", (double)n, "routes");
	print(family, "load", "", (double)(clock_ns() - start_ns) / 1e9, "s");
	print(family, "load", "in_route_add", (double)clock_cycles_to_ns(in_add_cycles) / 1e9, "s");
	route_get_stats(&stats);
	print(family, "memory", "nodes_used", (double)stats.lpm_used_bytes, "bytes");
	print(family, "memory", "nodes_mapped", (double)stats.lpm_bytes, "bytes");
	print(family, "memory", "objects", (double)stats.object_bytes, "bytes");
	return all;
}

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_latencies(
	const char *family, const char *what, const char *verb, uint64_t *cycles, size_t n)
{
	static const struct {
		const char *name;
		double at;
	} stats[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1.0 } };
	char name[64];

	qsort(cycles, n, sizeof(*cycles), u64_cmp);
	snprintf(name, sizeof(name), "%s.%s", what, verb);
	for (unsigned int i = 0; i < RTE_DIM(stats); i++)
		print(family, name, stats[i].name,
			(double)clock_cycles_to_ns(cycles[(size_t)(stats[i].at * (double)(n - 1))]),
			"ns");
}

/* Adds and deletes prefixes of min_len…max_len, or deletes and adds again some of `existing`. */
static void updates(bool is_v6, const char *what, unsigned int min_len, unsigned int max_len,
	const struct ip_prefix *existing, size_t n_existing, size_t n)
{
	const char *family = is_v6 ? "v6" : "v4";
	uint64_t *add_cycles = malloc(n * sizeof(uint64_t)),
		 *del_cycles = malloc(n * sizeof(uint64_t));
	size_t n_done = 0;

	if (add_cycles == NULL || del_cycles == NULL)
		exit(1);
	while (n_done < n) {
		unsigned int len = min_len + (unsigned int)(rnd() % (max_len - min_len + 1));
		struct ip_prefix p = existing != NULL ? existing[rnd() % n_existing]
						      : random_prefix(is_v6, len);
		struct route_config cfg = config_of(&p);
		uint64_t t0, t1, t2;

		if (existing == NULL && route_find(0, &p) != ROUTE_IDX_NONE) {
			if (min_len == max_len)
				break;
			continue;
		}
		t0 = rte_rdtsc();
		if ((existing != NULL ? route_del(0, &p) : route_add(&cfg, NULL)) != 0)
			exit(1);
		t1 = rte_rdtsc();
		if ((existing != NULL ? route_add(&cfg, NULL) : route_del(0, &p)) != 0)
			exit(1);
		t2 = rte_rdtsc();
		add_cycles[n_done] = existing != NULL ? t2 - t1 : t1 - t0;
		del_cycles[n_done] = existing != NULL ? t1 - t0 : t2 - t1;
		if (++n_done % POLL_EVERY == 0)
			control_turn();
	}
	if (n_done != 0) {
		print_latencies(family, what, "add", add_cycles, n_done);
		print_latencies(family, what, "del", del_cycles, n_done);
	}
	free(add_cycles);
	free(del_cycles);
}

/* Random addresses below random prefixes of the table. */
static void lookups(bool is_v6, const struct ip_prefix *existing, size_t n_existing)
{
	const char *family = is_v6 ? "v6" : "v4";
	struct ip_addr *addrs = malloc(N_ADDRS * sizeof(*addrs));
	const struct ip_addr *ptrs[BULK];
	uint32_t idxs[BULK];
	uint64_t sum = 0, start;

	if (addrs == NULL)
		exit(1);
	for (size_t i = 0; i < N_ADDRS; i++)
		addrs[i] = random_addr_below(&existing[rnd() % n_existing]);
	start = rte_rdtsc();
	for (size_t i = 0; i < N_ADDRS; i++)
		sum += route_lookup(0, &addrs[i]);
	print(family, "lookup", "single", (double)clock_cycles_to_ns(rte_rdtsc() - start) / N_ADDRS,
		"ns");
	/* each depends on the one before, as in a slow path that waits for its answer */
	start = rte_rdtsc();
	for (size_t i = 0; i < N_ADDRS; i++)
		sum = route_lookup(0, &addrs[(i + (sum & 1)) % N_ADDRS]);
	print(family, "lookup", "dependent",
		(double)clock_cycles_to_ns(rte_rdtsc() - start) / N_ADDRS, "ns");
	start = rte_rdtsc();
	for (size_t i = 0; i < N_ADDRS; i += BULK) {
		for (unsigned int j = 0; j < BULK; j++)
			ptrs[j] = &addrs[i + j];
		route_lookup_bulk(0, ptrs, BULK, idxs);
		sum += idxs[0];
	}
	print(family, "lookup", "bulk32", (double)clock_cycles_to_ns(rte_rdtsc() - start) / N_ADDRS,
		"ns");
	if (sum == 0)
		putchar('\n'); /* keeps the loops */
	free(addrs);
}

static _Atomic bool is_stopping;
static uint64_t reader_sum;

static void *reader_main(void *arg)
{
	struct ip_addr addrs[512];
	uint64_t n_by_log2[64] = { 0 }, n = 0, n_above = 0;
	unsigned int log2;

	(void)arg;
	for (unsigned int i = 0; i < RTE_DIM(addrs); i++)
		addrs[i] = random_addr(i % 2);
	rcu_reader_register(0);
	while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
		for (unsigned int i = 0; i < RTE_DIM(addrs); i++) {
			uint64_t start = rte_rdtsc();

			reader_sum += route_lookup(0, &addrs[i]);
			n_by_log2[63 - __builtin_clzll(rte_rdtsc() - start)]++;
			if (i % 32 == 31)
				rcu_quiescent(0);
		}
		n += RTE_DIM(addrs);
	}
	rcu_reader_unregister(0);
	print("reader", "lookups", "", (double)n, "lookups");
	/* by powers of two; beyond this the timer tick is what one sees */
	for (log2 = 63; log2 > 0 && n_above + n_by_log2[log2] <= n / 10000; log2--)
		n_above += n_by_log2[log2];
	print("reader", "lookup", "p9999_below", (double)clock_cycles_to_ns(UINT64_C(2) << log2),
		"ns");
	return NULL;
}

static void bench_family(bool is_v6, size_t n_routes, size_t n_samples)
{
	struct ip_prefix *all;

	if (n_routes == 0)
		return;
	all = load(is_v6, n_routes);
	updates(is_v6, "existing", 0, 0, all, n_routes, n_samples);
	if (is_v6) {
		updates(true, "len_29_128", 29, 128, NULL, 0, n_samples);
		updates(true, "len_1_28", 1, 28, NULL, 0, n_samples);
	} else {
		updates(false, "len_16_32", 16, 32, NULL, 0, n_samples);
		updates(false, "len_1_15", 1, 15, NULL, 0, n_samples);
	}
	updates(is_v6, "len_0", 0, 0, NULL, 0, n_samples);
	lookups(is_v6, all, n_routes);
	free(all);
}

static void bench_teardown(void)
{
	struct route_cursor c = { .zone = 0 };
	struct route_stats stats;
	uint64_t start_ns = clock_ns();
	size_t n = 0;

	while (route_next(&c) != ROUTE_IDX_NONE) {
		if (route_del(0, &c.prefix) != 0)
			exit(1);
		if (++n % POLL_EVERY == 0)
			control_turn();
	}
	print("all", "list_and_del", "", (double)(clock_ns() - start_ns) / 1e9, "s");
	for (unsigned int i = 0; i < 10000; i++)
		control_turn();
	route_get_stats(&stats);
	print("all", "memory_after", "nodes_mapped", (double)stats.lpm_bytes, "bytes");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "v4", required_argument, NULL, '4' },
		{ "v6", required_argument, NULL, '6' }, { "samples", required_argument, NULL, 's' },
		{ "reader", no_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
	size_t n_v4 = 1000000, n_v6 = 200000, n_samples = 20000;
	bool has_reader = false;
	pthread_t thread;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '4')
			n_v4 = strtoul(optarg, NULL, 10);
		else if (opt == '6')
			n_v6 = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			n_samples = strtoul(optarg, NULL, 10);
		else if (opt == 'r')
			has_reader = true;
		else
			return 2;
	}
	clock_init();
	if (n_samples == 0 || rcu_init() != 0 || route_init(0, 0) != 0)
		return 1;
	if (has_reader && pthread_create(&thread, NULL, reader_main, NULL) != 0)
		return 1;
	bench_family(false, n_v4, n_samples);
	bench_family(true, n_v6, n_samples);
	bench_teardown();
	if (has_reader) {
		atomic_store_explicit(&is_stopping, true, memory_order_relaxed);
		pthread_join(thread, NULL);
	}
	route_fini();
	rcu_fini();
	return 0;
}
