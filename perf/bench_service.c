/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Service table at several sizes: look-up and choice for a new connection, adding, changing and deleting one service, memory. Prints one
 * JSON object a line: name, value, unit. Numbers and how to repeat them: docs/services.md.
 *
 * bench-service [--counts N,N…] [--samples N]
 *   each service: one ClusterIP and port, 4 backends; the counts are reached one after the other
 */
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service.h"
#include "perf/bench_prefix.h"

#define N_BACKENDS 4
#define N_CONNS 65536 /* connections of the look-up runs */
#define N_TURNS 20    /* … looked up so often */

static void print(uint32_t n, const char *what, const char *stat, double value, const char *unit)
{
	printf("{\"name\":\"service.%u.%s%s%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", n, what,
		stat[0] == '\0' ? "" : ".", stat, value, unit);
	fflush(stdout);
}

static double resident_bytes(void)
{
	unsigned long total, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &total, &resident) != 2)
		exit(1);
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static struct ip_addr vip_of(uint32_t n)
{
	return ip_from_v4(rte_cpu_to_be_32(0x0a000000 + n));
}

/* n_ready of its backends are ready. */
static uint32_t set(uint32_t n, unsigned int n_ready)
{
	char name[32];
	struct frontend_config f = { .kind = FRONTEND_CLUSTER,
		.proto = IPPROTO_TCP,
		.has_addr = true,
		.addr = vip_of(n),
		.port = 80 };
	struct backend_config backends[N_BACKENDS];
	struct service_config cfg = { .name = name,
		.frontends = &f,
		.n_frontends = 1,
		.backends = backends,
		.n_backends = N_BACKENDS };
	uint32_t idx;

	snprintf(name, sizeof(name), "default/service-%u", n);
	for (unsigned int i = 0; i < N_BACKENDS; i++)
		backends[i] = (struct backend_config){ .addr = ip_from_v4(rte_cpu_to_be_32(
							       0x40000000 + n * N_BACKENDS + i)),
			.port = 8080,
			.weight = 1,
			.flags = i < n_ready ? BACKEND_F_READY : BACKEND_F_SERVING };
	if (service_set(&cfg, &idx, NULL) != 0)
		exit(1);
	return idx;
}

static void control_turn(void)
{
	gen_publish();
	rcu_poll();
}

/* Services from n_now to n. */
static void load(uint32_t n_now, uint32_t n, double empty_bytes)
{
	uint64_t start_ns = clock_ns();

	for (uint32_t i = n_now; i < n; i++) {
		set(i, N_BACKENDS);
		if (i % 32 == 0)
			control_turn();
	}
	control_turn();
	print(n, "load", "", (double)(clock_ns() - start_ns) / 1e3 / (n - n_now), "us/service");
	print(n, "memory", "", (resident_bytes() - empty_bytes) / n, "bytes/service");
}

static void look_up(uint32_t n)
{
	static struct ip_addr src[N_CONNS], dst[N_CONNS];
	struct service_hit hit;
	uint64_t cycles = UINT64_MAX, n_found = 0;

	for (unsigned int i = 0; i < N_CONNS; i++) {
		src[i] = random_addr(false);
		dst[i] = vip_of((uint32_t)(rnd() % n));
	}
	for (unsigned int turn = 0; turn < N_TURNS; turn++) {
		uint64_t start = rte_rdtsc();

		for (unsigned int i = 0; i < N_CONNS; i++) {
			struct service_pick pick = { .src = &src[i],
				.dst = &dst[i],
				.sport = (rte_be16_t)i,
				.dport = RTE_BE16(80),
				.proto = IPPROTO_TCP };

			service_lookup(0, &dst[i], IPPROTO_TCP, 80, false, &hit);
			n_found += service_pick(hit.service, &pick) != BACKEND_NONE;
		}
		cycles = RTE_MIN(cycles, rte_rdtsc() - start);
	}
	if (n_found != (uint64_t)N_TURNS * N_CONNS)
		exit(1);
	print(n, "lookup_and_pick", "", (double)clock_cycles_to_ns(cycles) / N_CONNS, "ns");
}

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_latencies(uint32_t n, const char *verb, uint64_t *cycles, size_t n_samples)
{
	qsort(cycles, n_samples, sizeof(*cycles), u64_cmp);
	print(n, verb, "p50", (double)clock_cycles_to_ns(cycles[n_samples / 2]) / 1e3, "us");
	print(n, verb, "p99", (double)clock_cycles_to_ns(cycles[n_samples * 99 / 100]) / 1e3, "us");
}

/* Adds a service beside n, takes a random one's backend out of service, deletes the added one again. */
static void update(uint32_t n, size_t n_samples)
{
	uint64_t *cycles = malloc(3 * n_samples * sizeof(*cycles));

	if (cycles == NULL)
		exit(1);
	for (size_t i = 0; i < n_samples; i++) {
		uint64_t start = rte_rdtsc();
		uint32_t added = set(n, N_BACKENDS), other = (uint32_t)(rnd() % n);

		cycles[i] = rte_rdtsc() - start;
		start = rte_rdtsc();
		set(other, N_BACKENDS - 1);
		cycles[n_samples + i] = rte_rdtsc() - start;
		set(other, N_BACKENDS);
		start = rte_rdtsc();
		service_del(added);
		cycles[2 * n_samples + i] = rte_rdtsc() - start;
		control_turn();
	}
	print_latencies(n, "add", cycles, n_samples);
	print_latencies(n, "change", cycles + n_samples, n_samples);
	print_latencies(n, "del", cycles + 2 * n_samples, n_samples);
	free(cycles);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "counts", required_argument, NULL, 'c' },
		{ "samples", required_argument, NULL, 's' }, { NULL, 0, NULL, 0 } };
	char default_counts[] = "1,1000,50000,200000,1000000", *counts = default_counts;
	size_t n_samples = 5000;
	uint32_t n_now = 0;
	double empty_bytes;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'c')
			counts = optarg;
		else if (opt == 's')
			n_samples = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	clock_init();
	if (rcu_init() != 0 || ipset_table_init() != 0 || service_table_init() != 0)
		return 1;
	empty_bytes = resident_bytes();
	for (char *at = strtok(counts, ","); at != NULL; at = strtok(NULL, ",")) {
		uint32_t n = (uint32_t)strtoul(at, NULL, 10);

		if (n <= n_now)
			return 2;
		load(n_now, n, empty_bytes);
		n_now = n;
		look_up(n);
		update(n, n_samples);
	}
	rcu_synchronize();
	service_table_fini();
	ipset_table_fini();
	return 0;
}
