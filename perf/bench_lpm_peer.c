/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same prefixes in rte_lpm, rte_fib and rte_fib6 of DPDK, to compare with bench-lpm. Prints one
 * JSON object a line: name, value, unit. No hugepages needed. See docs/lpm.md.
 *
 * bench-lpm-peer PEER [--n N] [--samples N] [--mem MIB]     PEER: rte_lpm, rte_fib, rte_fib6
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_lpm.h>

#include "datapath/base/clock.h"
#include "perf/bench_prefix.h"

#define N_ADDRS 65536
#define BULK 32
#define N_NEXT_HOPS 64
/* A run of one length class ends after this time: some updates take a fifth of a second. */
#define CLASS_MAX_S 2

struct peer {
	const char *name;
	bool is_v6;
	void *(*create)(size_t n);
	int (*add)(void *t, const struct ip_prefix *p, uint32_t value);
	int (*del)(void *t, const struct ip_prefix *p);
	void (*lookup_bulk)(void *t, const struct ip_addr *addrs, uint64_t *out);
};

static uint32_t host_order(const struct ip_addr *a)
{
	return rte_be_to_cpu_32(ip_v4(a));
}

static void *lpm_create_peer(size_t n)
{
	struct rte_lpm_config config = { .max_rules = (uint32_t)n + 65536,
		.number_tbl8s = 1 << 17 };

	return rte_lpm_create("peer", SOCKET_ID_ANY, &config);
}

static int lpm_add_peer(void *t, const struct ip_prefix *p, uint32_t value)
{
	return rte_lpm_add(t, host_order(&p->addr), p->len, value);
}

static int lpm_del_peer(void *t, const struct ip_prefix *p)
{
	return rte_lpm_delete(t, host_order(&p->addr), p->len);
}

static void lpm_bulk_peer(void *t, const struct ip_addr *addrs, uint64_t *out)
{
	uint32_t ips[BULK], hops[BULK];

	for (unsigned int i = 0; i < BULK; i++)
		ips[i] = host_order(&addrs[i]);
	rte_lpm_lookup_bulk(t, ips, hops, BULK);
	out[0] = hops[0] ^ hops[BULK - 1];
}

static void *fib_create_peer(size_t n)
{
	struct rte_fib_conf conf = { .type = RTE_FIB_DIR24_8,
		.max_routes = (int)n + 65536,
		.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = 1 << 17 } };

	return rte_fib_create("peer", SOCKET_ID_ANY, &conf);
}

static int fib_add_peer(void *t, const struct ip_prefix *p, uint32_t value)
{
	return rte_fib_add(t, host_order(&p->addr), p->len, value);
}

static int fib_del_peer(void *t, const struct ip_prefix *p)
{
	return rte_fib_delete(t, host_order(&p->addr), p->len);
}

static void fib_bulk_peer(void *t, const struct ip_addr *addrs, uint64_t *out)
{
	uint32_t ips[BULK];

	for (unsigned int i = 0; i < BULK; i++)
		ips[i] = host_order(&addrs[i]);
	rte_fib_lookup_bulk(t, ips, out, BULK);
}

static void *fib6_create_peer(size_t n)
{
	struct rte_fib6_conf conf = { .type = RTE_FIB6_TRIE,
		.max_routes = (int)n + 65536,
		.trie = { .nh_sz = RTE_FIB6_TRIE_4B, .num_tbl8 = 1 << 19 } };

	return rte_fib6_create("peer", SOCKET_ID_ANY, &conf);
}

static int fib6_add_peer(void *t, const struct ip_prefix *p, uint32_t value)
{
	return rte_fib6_add(t, p->addr.b, p->len, value);
}

static int fib6_del_peer(void *t, const struct ip_prefix *p)
{
	return rte_fib6_delete(t, p->addr.b, p->len);
}

static void fib6_bulk_peer(void *t, const struct ip_addr *addrs, uint64_t *out)
{
	uint8_t ips[BULK][RTE_FIB6_IPV6_ADDR_SIZE];

	for (unsigned int i = 0; i < BULK; i++)
		memcpy(ips[i], addrs[i].b, 16);
	rte_fib6_lookup_bulk(t, ips, out, BULK);
}

static const struct peer peers[] = {
	{ "rte_lpm", false, lpm_create_peer, lpm_add_peer, lpm_del_peer, lpm_bulk_peer },
	{ "rte_fib", false, fib_create_peer, fib_add_peer, fib_del_peer, fib_bulk_peer },
	{ "rte_fib6", true, fib6_create_peer, fib6_add_peer, fib6_del_peer, fib6_bulk_peer },
};

static void print(const struct peer *peer, const char *what, double value, const char *unit)
{
	printf("{\"name\":\"%s.%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", peer->name, what, value,
		unit);
	fflush(stdout);
}

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_latencies(
	const struct peer *peer, const char *what, const char *verb, uint64_t *cycles, size_t n)
{
	static const char *const names[] = { "p50", "p99", "max" };
	static const double at[] = { 0.5, 0.99, 1.0 };
	char name[64];

	qsort(cycles, n, sizeof(*cycles), u64_cmp);
	for (unsigned int i = 0; i < RTE_DIM(names); i++) {
		snprintf(name, sizeof(name), "%s.%s.%s", what, verb, names[i]);
		print(peer, name,
			(double)clock_cycles_to_ns(cycles[(size_t)(at[i] * (double)(n - 1))]),
			"ns");
	}
}

/* Adds and deletes prefixes of these lengths that are not in the table (or so it is taken to be: at
 * these sizes few are). */
static void updates(const struct peer *peer, void *t, const char *what, unsigned int min_len,
	unsigned int max_len, size_t n)
{
	uint64_t *add_cycles = malloc(n * sizeof(uint64_t)),
		 *del_cycles = malloc(n * sizeof(uint64_t));
	uint64_t deadline_ns = clock_ns() + CLASS_MAX_S * CLOCK_NS_PER_S;
	size_t n_done;

	if (add_cycles == NULL || del_cycles == NULL)
		exit(1);
	for (n_done = 0; n_done < n && clock_ns() < deadline_ns; n_done++) {
		struct ip_prefix p = random_prefix(
			peer->is_v6, min_len + (unsigned int)(rnd() % (max_len - min_len + 1)));
		uint64_t t0 = rte_rdtsc(), t1;
		int rc = peer->add(t, &p, (uint32_t)(rnd() % N_NEXT_HOPS) + 1);

		t1 = rte_rdtsc();
		if (rc != 0 || peer->del(t, &p) != 0) {
			fprintf(stderr, "%s: update failed\n", peer->name);
			break;
		}
		add_cycles[n_done] = t1 - t0;
		del_cycles[n_done] = rte_rdtsc() - t1;
	}
	if (n_done != 0) {
		print_latencies(peer, what, "add", add_cycles, n_done);
		print_latencies(peer, what, "del", del_cycles, n_done);
	}
	free(add_cycles);
	free(del_cycles);
}

static void lookups(const struct peer *peer, void *t, const struct ip_prefix *all, size_t n)
{
	struct ip_addr *addrs = malloc(N_ADDRS * sizeof(*addrs));
	uint64_t start, sum = 0, out[BULK] = { 0 };

	if (addrs == NULL)
		exit(1);
	for (size_t i = 0; i < N_ADDRS; i++)
		addrs[i] = random_addr_below(&all[rnd() % n]);
	start = rte_rdtsc();
	for (size_t i = 0; i < N_ADDRS; i += BULK) {
		peer->lookup_bulk(t, &addrs[i], out);
		sum += out[0];
	}
	print(peer, "lookup.bulk32", (double)clock_cycles_to_ns(rte_rdtsc() - start) / N_ADDRS,
		"ns");
	if (sum == 0)
		putchar('\n'); /* keeps the loop */
	free(addrs);
}

static void bench(const struct peer *peer, size_t n, size_t n_samples)
{
	struct ip_prefix *all = malloc(n * sizeof(*all));
	void *t = peer->create(n);
	uint64_t start_ns;
	size_t n_failed = 0;

	if (all == NULL || t == NULL) {
		fprintf(stderr, "%s: no memory for the table (--mem)\n", peer->name);
		exit(1);
	}
	for (size_t i = 0; i < n; i++)
		all[i] = random_prefix(peer->is_v6, random_len(peer->is_v6));
	start_ns = clock_ns();
	for (size_t i = 0; i < n; i++)
		n_failed += peer->add(t, &all[i], (uint32_t)(i % N_NEXT_HOPS) + 1) != 0;
	print(peer, "load", (double)(clock_ns() - start_ns) / 1e9, "s");
	print(peer, "load.failed", (double)n_failed, "routes");
	if (peer->is_v6) {
		updates(peer, t, "len_29_128", 29, 128, n_samples);
		updates(peer, t, "len_1_28", 1, 28, n_samples);
	} else {
		updates(peer, t, "len_16_32", 16, 32, n_samples);
		updates(peer, t, "len_1_15", 1, 15, n_samples);
	}
	updates(peer, t, "len_0", 0, 0, n_samples);
	lookups(peer, t, all, n);
	free(all);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "n", required_argument, NULL, 'n' },
		{ "samples", required_argument, NULL, 's' },
		{ "mem", required_argument, NULL, 'm' }, { NULL, 0, NULL, 0 } };
	const struct peer *peer = NULL;
	size_t n = 0, n_samples = 20000;
	const char *mem_mib = "2048";
	char prefix[48];
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			n_samples = strtoul(optarg, NULL, 10);
		else if (opt == 'm')
			mem_mib = optarg;
		else
			return 2;
	}
	for (unsigned int i = 0; i < RTE_DIM(peers) && optind < argc; i++)
		if (strcmp(argv[optind], peers[i].name) == 0)
			peer = &peers[i];
	if (peer == NULL || n_samples == 0) {
		fprintf(stderr, "usage: bench-lpm-peer rte_lpm|rte_fib|rte_fib6 [--n N]\n");
		return 2;
	}
	if (n == 0)
		n = peer->is_v6 ? 200000 : 1000000;
	snprintf(prefix, sizeof(prefix), "--file-prefix=bench-lpm-%d", (int)getpid());
	const char *eal_args[] = { "bench-lpm-peer", "--no-huge", "--no-pci", "--no-telemetry",
		"-m", mem_mib, "--lcores=0", "--log-level=4", prefix };

	if (rte_eal_init(RTE_DIM(eal_args), (char **)(uintptr_t)eal_args) < 0)
		return 1;
	clock_init();
	bench(peer, n, n_samples);
	rte_eal_cleanup();
	return 0;
}
