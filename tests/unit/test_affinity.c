/* SPDX-License-Identifier: BSD-3-Clause */
/* Client affinity: time-outs by a warped clock, eviction, two workers on one table. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "datapath/base/clock.h"
#include "datapath/base/slots.h"
#include "datapath/table/affinity.h"

#define TIMEOUT_S 60

static const struct affinity_binding nothing = { .backend = SLOT_NONE };
static struct ip_addr addr;

static int setup(void **state)
{
	(void)state;
	clock_init();
	return affinity_table_init(1024);
}

static int teardown(void **state)
{
	(void)state;
	affinity_table_fini();
	return 0;
}

static struct affinity_client client(uint32_t service_serial, uint32_t n)
{
	addr = ip_from_v4(rte_cpu_to_be_32(0x0a000000 + n));
	return (struct affinity_client){ .service_serial = service_serial,
		.timeout_s = TIMEOUT_S,
		.now_s = clock_s(),
		.addr = &addr };
}

static uint32_t bind_new(uint32_t service_serial, uint32_t n, uint32_t backend)
{
	struct affinity_client c = client(service_serial, n);

	return affinity_bind(&c, &nothing, backend, 1).backend;
}

static uint32_t find(uint32_t service_serial, uint32_t n)
{
	struct affinity_client c = client(service_serial, n);

	return affinity_find(&c).backend;
}

static void test_affinity_client_keeps_its_backend_for_its_service_only(void **state)
{
	(void)state;
	assert_int_equal(find(1, 1), SLOT_NONE);
	assert_int_equal(bind_new(1, 1, 7), 7);
	assert_int_equal(find(1, 1), 7);
	assert_int_equal(find(2, 1), SLOT_NONE);
	assert_int_equal(find(1, 2), SLOT_NONE);
}

static void test_affinity_ends_after_its_time_out(void **state)
{
	(void)state;
	bind_new(1, 1, 7);
	clock_warp_ns(TIMEOUT_S * CLOCK_NS_PER_S);
	assert_int_equal(find(1, 1), 7);
	clock_warp_ns(CLOCK_NS_PER_S);
	assert_int_equal(find(1, 1), SLOT_NONE);
	assert_int_equal(bind_new(1, 1, 8), 8);
	assert_int_equal(find(1, 1), 8);
	assert_int_equal(affinity_get_stats().n_added, 1);
}

static void test_affinity_use_starts_the_time_out_again(void **state)
{
	struct affinity_client c;
	struct affinity_binding seen;

	(void)state;
	bind_new(1, 1, 7);
	for (unsigned int i = 0; i < 5; i++) {
		clock_warp_ns((TIMEOUT_S - 1) * CLOCK_NS_PER_S);
		c = client(1, 1);
		seen = affinity_find(&c);
		assert_int_equal(seen.backend, 7);
		assert_int_equal(affinity_bind(&c, &seen, 7, 1).last_s, c.now_s);
	}
	/* but finding alone does not */
	clock_warp_ns((TIMEOUT_S - 1) * CLOCK_NS_PER_S);
	assert_int_equal(find(1, 1), 7);
	clock_warp_ns(2 * CLOCK_NS_PER_S);
	assert_int_equal(find(1, 1), SLOT_NONE);
}

static void test_affinity_worker_with_an_older_clock_finds_it(void **state)
{
	struct affinity_client c;

	(void)state;
	bind_new(1, 1, 7);
	c = client(1, 1);
	c.now_s--;
	assert_int_equal(affinity_find(&c).backend, 7);
}

static void test_affinity_first_of_two_workers_wins(void **state)
{
	struct affinity_client c;
	struct affinity_binding seen;

	(void)state;
	bind_new(1, 1, 7);
	assert_int_equal(bind_new(1, 1, 8), 7); /* saw nothing, but was late */
	c = client(1, 1);
	seen = affinity_find(&c);
	assert_int_equal(affinity_bind(&c, &seen, 9, 1).backend, 9); /* knew, and wants another */
	assert_int_equal(find(1, 1), 9);
	/* the slot of the backend seen has a new owner meanwhile: not what was seen */
	assert_int_equal(affinity_bind(&c, &(struct affinity_binding){ 9, 2, 0 }, 5, 3).backend, 9);
}

static void test_affinity_full_set_evicts_the_oldest(void **state)
{
	(void)state;
	affinity_table_fini();
	assert_int_equal(affinity_table_init(AFFINITY_WAYS), 0); /* one set */
	for (uint32_t n = 0; n < AFFINITY_WAYS; n++) {
		bind_new(1, n, n);
		clock_warp_ns(CLOCK_NS_PER_S);
	}
	assert_int_equal(affinity_get_stats().n_evicted, 0);
	bind_new(1, 0, 0xff); /* used again: keeps 0, and client 1 is the oldest now */
	clock_warp_ns(CLOCK_NS_PER_S);
	bind_new(1, 100, 100);
	assert_int_equal(affinity_get_stats().n_evicted, 1);
	assert_int_equal(affinity_get_stats().n_added, AFFINITY_WAYS + 1);
	assert_int_equal(find(1, 0), 0);
	assert_int_equal(find(1, 1), SLOT_NONE);
	assert_int_equal(find(1, 2), 2);
	assert_int_equal(find(1, 3), 3);
	assert_int_equal(find(1, 100), 100);
}

#define N_CLIENTS 64
#define N_ROUNDS 200000

/* Every client is only ever bound to backends ≡ its number; a torn entry would show another. */
static void *worker(void *arg)
{
	uint32_t rnd = (uint32_t)(uintptr_t)arg;
	uintptr_t n_wrong = 0;

	for (unsigned int i = 0; i < N_ROUNDS; i++) {
		uint32_t n, backend;
		struct ip_addr a;
		struct affinity_client c = {
			.service_serial = 1, .timeout_s = 1000, .now_s = i / 1000
		};
		struct affinity_binding seen, bound;

		rnd = rnd * 1664525 + 1013904223;
		n = rnd >> 16 & (N_CLIENTS - 1);
		backend = n + N_CLIENTS * (rnd >> 22 & 15);
		a = ip_from_v4(rte_cpu_to_be_32(n));
		c.addr = &a;
		seen = affinity_find(&c);
		bound = affinity_bind(&c, &seen, backend, (uint16_t)backend);
		n_wrong += seen.backend != SLOT_NONE &&
			(seen.backend % N_CLIENTS != n || seen.backend_serial != seen.backend);
		n_wrong += bound.backend % N_CLIENTS != n || bound.backend_serial != bound.backend;
	}
	return (void *)n_wrong;
}

static void test_affinity_two_workers_never_mix_clients(void **state)
{
	pthread_t threads[2];

	(void)state;
	affinity_table_fini();
	assert_int_equal(affinity_table_init(8 * AFFINITY_WAYS), 0); /* half of the clients fit */
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)(i + 1)), 0);
	for (unsigned int i = 0; i < 2; i++) {
		void *n_wrong;

		assert_int_equal(pthread_join(threads[i], &n_wrong), 0);
		assert_null(n_wrong);
	}
	assert_true(affinity_get_stats().n_evicted > 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_affinity_client_keeps_its_backend_for_its_service_only),
		test(test_affinity_ends_after_its_time_out),
		test(test_affinity_use_starts_the_time_out_again),
		test(test_affinity_worker_with_an_older_clock_finds_it),
		test(test_affinity_first_of_two_workers_wins),
		test(test_affinity_full_set_evicts_the_oldest),
		test(test_affinity_two_workers_never_mix_clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
