/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "datapath/base/rcu.h"
#include "datapath/table/ours.h"

static struct ours_query query(uint32_t host, uint8_t way_len)
{
	return (struct ours_query){ .addr = ip_from_v4(rte_cpu_to_be_32(host)),
		.zone = 1,
		.way_len = way_len,
		.is_from_here = true,
		.now_s = 1000 };
}

static void depart(uint32_t host, uint8_t way_len, uint32_t now_s)
{
	const struct ip_addr addr = ip_from_v4(rte_cpu_to_be_32(host));

	ours_depart(1, &addr, way_len, now_s);
}

static int setup(void **state)
{
	(void)state;
	return rcu_init() == 0 && ours_table_init() == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	rcu_synchronize(); /* what was freed goes into the table's own list */
	ours_table_fini();
	rcu_fini();
	return 0;
}

static void test_ours_pair_and_pool_count_until_the_last_goes(void **state)
{
	struct ours_query q = query(1, 0);

	(void)state;
	assert_false(ours_is_nobodys(&q));
	assert_int_equal(ours_add(OURS_POOL, OURS_ZONE_POOLS, &q.addr), 0);
	assert_int_equal(ours_add(OURS_POOL, OURS_ZONE_POOLS, &q.addr), 0);
	assert_false(ours_is_nobodys(&q));
	q.has_snat = true;
	assert_true(ours_is_nobodys(&q));
	ours_del(OURS_POOL, OURS_ZONE_POOLS, &q.addr);
	assert_true(ours_is_nobodys(&q));
	ours_del(OURS_POOL, OURS_ZONE_POOLS, &q.addr);
	assert_false(ours_is_nobodys(&q));
	assert_int_equal(ours_add(OURS_PAIR_INTERNAL, 1, &q.addr), 0);
	assert_true(ours_is_nobodys(&q));
	q.way_len = 8;
	assert_false(ours_is_nobodys(&q));
	ours_del(OURS_PAIR_INTERNAL, 1, &q.addr);
	assert_int_equal(ours_add(OURS_PAIR_EXTERNAL, 1, &q.addr), 0);
	assert_true(ours_is_nobodys(&q));
	q.zone = 2;
	assert_false(ours_is_nobodys(&q));
}

static void test_ours_departed_address_is_let_go(void **state)
{
	struct ours_query q = query(1, 16);

	(void)state;
	depart(1, 16, 1000);
	assert_true(ours_is_nobodys(&q));
	q.way_len = 17;
	assert_false(ours_is_nobodys(&q));
	q.way_len = 16;
	q.is_on_link = true;
	assert_false(ours_is_nobodys(&q));
	q.is_on_link = false;
	q.now_s += OURS_DEPARTED_S;
	assert_false(ours_is_nobodys(&q));
	q.is_from_here = false;
	assert_true(ours_is_nobodys(&q));
	ours_seen_elsewhere(1, &q.addr);
	assert_false(ours_is_nobodys(&q));
	depart(1, 16, q.now_s);
	assert_true(ours_is_nobodys(&q));
}

static void test_ours_departed_memory_is_bounded_and_oldest_goes_first(void **state)
{
	struct ours_query q;

	(void)state;
	for (uint32_t i = 1; i <= 2 * OURS_DEPARTED_MAX; i++)
		depart(i, 0, 1000);
	q = query(OURS_DEPARTED_MAX, 0);
	assert_false(ours_is_nobodys(&q));
	q = query(OURS_DEPARTED_MAX + 1, 0);
	assert_true(ours_is_nobodys(&q));
	q = query(2 * OURS_DEPARTED_MAX, 0);
	assert_true(ours_is_nobodys(&q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_ours_pair_and_pool_count_until_the_last_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_ours_departed_address_is_let_go, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_ours_departed_memory_is_bounded_and_oldest_goes_first, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
