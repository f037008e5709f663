/* SPDX-License-Identifier: BSD-3-Clause */
/* The order in which source ports are tried: each once, and no row of taken ports hides the free ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/hash.h"
#include "datapath/base/rcu.h"
#include "datapath/slow/nat.h"
#include "datapath/table/ours.h"
#include "datapath/table/snat.h"

#define N_CLIENTS 20000u

static uint8_t is_taken[65536];
static struct parsed pkt = { .l3 = PARSED_IP4, .proto = IPPROTO_UDP, .has_l4 = true };

static int setup(void **state)
{
	(void)state;
	memset(is_taken, 0, sizeof(is_taken));
	return rcu_init() == 0 && ours_table_init() == 0 ? snat_table_init() : -1;
}

static int teardown(void **state)
{
	(void)state;
	snat_table_fini();
	ours_table_fini();
	rcu_fini();
	return 0;
}

/* The connection of client number i with that source port; pool SNAT_POOL_NONE: nothing but a clash makes it another one. */
static void ports_begin(struct nat_ports *ports, uint32_t i, uint16_t sport, uint32_t pool)
{
	struct slow_ctx ctx = {
		.pkt = &pkt, .now = { .sport = rte_cpu_to_be_16(sport) }, SLOW_CTX_INTENT
	};

	ctx.snat = pool != SNAT_POOL_NONE ? SNAT_POOL : SNAT_NONE;
	ctx.pool = pool;
	nat_ports_init(ports, &ctx, hash_word(1, i));
}

static uint32_t pool_of(uint16_t lo, uint16_t hi)
{
	struct ip_addr addr = ip_from_v4(RTE_BE32(0xcb007101));
	uint32_t pool;
	char name[16];

	snprintf(name, sizeof(name), "%u-%u", lo, hi);
	assert_int_equal(snat_pool_add(name, &addr, 1, lo, hi, &pool), 0);
	return pool;
}

static void test_nat_ports_tries_each_port_of_a_range_once(void **state)
{
	static const uint16_t ranges[][2] = { { 40000, 40000 }, { 40000, 40001 }, { 40000, 40002 },
		{ 40000, 40063 }, { 40000, 40064 }, { 64512, 65535 }, { 1, 700 } };

	(void)state;
	for (size_t r = 0; r < RTE_DIM(ranges); r++) {
		uint32_t pool = pool_of(ranges[r][0], ranges[r][1]);

		for (uint32_t i = 0; i < 100; i++) {
			uint8_t seen[65536] = { 0 };
			struct nat_ports ports;
			unsigned int n = 0;
			rte_be16_t port;

			ports_begin(&ports, i, 80, pool);
			ports.has_wanted = false;
			for (; nat_ports_next(&ports, &port); n++) {
				uint16_t p = rte_be_to_cpu_16(port);

				assert_true(p >= ranges[r][0] && p <= ranges[r][1]);
				assert_int_equal(seen[p]++, 0);
			}
			assert_int_equal(n, ranges[r][1] - ranges[r][0] + 1);
		}
	}
}

static void test_nat_ports_tries_the_clients_own_port_first(void **state)
{
	uint32_t pool = pool_of(40000, 50000);
	struct nat_ports ports;
	rte_be16_t port;

	(void)state;
	ports_begin(&ports, 1, 45000, pool);
	assert_true(nat_ports_next(&ports, &port));
	assert_int_equal(port, rte_cpu_to_be_16(45000));
	ports_begin(&ports, 1, 80, SNAT_POOL_NONE);
	assert_true(nat_ports_next(&ports, &port));
	assert_int_equal(port, RTE_BE16(80));
	ports_begin(&ports, 1, 80, pool);
	assert_true(nat_ports_next(&ports, &port));
	assert_true(rte_be_to_cpu_16(port) >= 40000);
}

/* Each of many clients finds a port that is free, while those of is_taken[] are not. The mean number of tries. */
static double all_find(uint32_t pool)
{
	uint64_t n_tries = 0;

	for (uint32_t i = 0; i < N_CLIENTS; i++) {
		struct nat_ports ports;
		rte_be16_t port = 0;
		bool is_found = false;

		/* their own ports are in a row, too */
		ports_begin(&ports, i, (uint16_t)(2000 + i), pool);
		while (!is_found && nat_ports_next(&ports, &port)) {
			is_found = is_taken[rte_be_to_cpu_16(port)] == 0;
			n_tries++;
		}
		if (!is_found)
			fail_msg("client %u has found no port", i);
	}
	return (double)n_tries / N_CLIENTS;
}

static void take(uint32_t lo, uint32_t hi)
{
	memset(is_taken, 0, sizeof(is_taken));
	memset(&is_taken[lo], 1, hi - lo + 1);
}

static void test_nat_ports_in_a_row_leave_the_rest_to_be_found(void **state)
{
	static const unsigned int percent[] = { 2, 10, 50, 90, 98 };
	uint32_t pool = pool_of(SNAT_PORT_LO, SNAT_PORT_HI);

	(void)state;
	for (size_t i = 0; i < RTE_DIM(percent); i++) {
		unsigned int free = 100 - percent[i];

		/* services: any port above the well-known ones */
		take(2000,
			2000 + 64512 * percent[i] / 100 - 1 < 65535
				? 2000 + 64512 * percent[i] / 100 - 1
				: 65535);
		assert_true(all_find(SNAT_POOL_NONE) < 2.0 * 100 / free + 1);
		take(SNAT_PORT_LO, SNAT_PORT_LO + 16384 * percent[i] / 100 - 1);
		assert_true(all_find(pool) < 2.0 * 100 / free + 1);
	}
}

static void test_nat_ports_nearly_all_taken_at_random_leave_the_rest_to_be_found(void **state)
{
	uint32_t pool = pool_of(SNAT_PORT_LO, SNAT_PORT_HI);

	(void)state;
	srandom(1);
	for (uint32_t p = 0; p < 65536; p++)
		is_taken[p] = random() % 100 < 98;
	assert_true(all_find(SNAT_POOL_NONE) < 100);
	assert_true(all_find(pool) < 100);
}

/* What the search itself takes, one client after the other, until 98 % are gone: no worse than chance. */
static void test_nat_ports_of_clients_one_after_the_other_fill_the_range(void **state)
{
	uint32_t pool = pool_of(SNAT_PORT_LO, SNAT_PORT_HI), n = 16384 * 98 / 100;

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		struct nat_ports ports;
		bool is_found = false;
		rte_be16_t port = 0;

		ports_begin(&ports, i, (uint16_t)(20000 + i), pool);
		while (!is_found && nat_ports_next(&ports, &port))
			is_found = is_taken[rte_be_to_cpu_16(port)] == 0;
		is_taken[rte_be_to_cpu_16(port)] = 1;
		if (!is_found)
			fail_msg("client %u of %u has found no port", i, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_nat_ports_tries_each_port_of_a_range_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_nat_ports_tries_the_clients_own_port_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_nat_ports_in_a_row_leave_the_rest_to_be_found, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_nat_ports_nearly_all_taken_at_random_leave_the_rest_to_be_found, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_nat_ports_of_clients_one_after_the_other_fill_the_range, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
