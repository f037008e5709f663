/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow table against an obvious model: fill, find, remove, reclaim, ageing, counting by two workers, adoption. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "datapath/base/slots.h"
#include "datapath/table/flowtab.h"
#include "datapath/table/flowtab_layout.h"

#define N_CONNS 4096u

static struct flowtab *t;

static struct flow_key4 key_of(uint32_t i)
{
	return (struct flow_key4){ .src = rte_cpu_to_be_32(0x0a000000 + i),
		.dst = RTE_BE32(0x0a800001),
		.sport = rte_cpu_to_be_16((uint16_t)(i * 7)),
		.dport = RTE_BE16(80),
		.proto = IPPROTO_UDP,
		.kind = FLOW_KEY_L4 };
}

static int open_table(unsigned int n_workers)
{
	const char *reason;

	return flowtab_open(t, NULL, false, N_CONNS, n_workers, -1, &reason);
}

static int setup(void **state)
{
	(void)state;
	clock_init();
	t = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*t), (size_t)64));
	return t != NULL && rcu_init() == 0 ? open_table(1) : -1;
}

static int teardown(void **state)
{
	(void)state;
	flowtab_close(t, false);
	free(t);
	rcu_fini();
	return 0;
}

/* Opens the connection of key i; its index or FLOW_NONE. */
static uint32_t add(uint32_t i, unsigned int worker)
{
	uint32_t conn = flowtab_alloc(t, worker);

	if (conn == FLOW_NONE)
		return FLOW_NONE;
	flowtab_flow4(t, 2 * conn)->key = key_of(i);
	flowtab_flow4(t, 2 * conn + 1)->key = flow_key4_reverse(&(struct flow_key4){ key_of(i).src,
		key_of(i).dst, key_of(i).sport, key_of(i).dport, 0, IPPROTO_UDP, FLOW_KEY_L4 });
	t->conns[conn].proto = IPPROTO_UDP;
	flowtab_prog(t, 2 * conn)->last_seen_s = flowtab_prog(t, 2 * conn + 1)->last_seen_s =
		clock_s();
	atomic_store(&t->conns[conn].state, CONN_NEW);
	if (flowtab_publish(t, conn, NULL) < 0) {
		flowtab_abort(t, worker, conn);
		return FLOW_NONE;
	}
	return conn;
}

static uint32_t find(uint32_t i)
{
	struct flow_key4 key = key_of(i);

	return flowtab_find4(t, &key);
}

static void test_flowtab_full_finds_every_key_in_both_directions(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < N_CONNS; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	assert_int_equal(flowtab_n_used(t), N_CONNS);
	assert_int_equal(add(N_CONNS, 0), FLOW_NONE);
	assert_int_equal(t->cache[0].n_full, 1);
	for (uint32_t i = 0; i < N_CONNS; i++) {
		struct flow_key4 key = key_of(i), reply = flow_key4_reverse(&key);
		uint32_t flow = flowtab_find4(t, &key);

		assert_int_not_equal(flow, FLOW_NONE);
		assert_int_equal(flow & 1, CONN_ORIG);
		assert_int_equal(flowtab_find4(t, &reply), flow + 1);
	}
	assert_int_equal(find(N_CONNS), FLOW_NONE);
}

static void test_flowtab_same_key_twice_is_refused_and_leaves_the_first(void **state)
{
	uint32_t first;

	(void)state;
	first = add(1, 0);
	assert_int_equal(add(1, 0), FLOW_NONE);
	assert_int_equal(find(1), 2 * first);
	assert_int_equal(flowtab_n_used(t), 1);
}

static void test_flowtab_zones_and_kinds_do_not_mix(void **state)
{
	struct flow_key4 key = key_of(1);

	(void)state;
	assert_int_not_equal(add(1, 0), FLOW_NONE);
	key.zone = 1;
	assert_int_equal(flowtab_find4(t, &key), FLOW_NONE);
	key.zone = 0;
	key.kind = FLOW_KEY_L3;
	assert_int_equal(flowtab_find4(t, &key), FLOW_NONE);
}

static unsigned int sweep_all(uint32_t now_s)
{
	unsigned int before = (unsigned int)t->cache[0].n_expired;

	for (unsigned int done = 0; done < 2 * N_CONNS;) {
		unsigned int n = flowtab_sweep(t, 0, 500, now_s);

		done += n > 0 ? n : N_CONNS;
	}
	return (unsigned int)t->cache[0].n_expired - before;
}

static void test_flowtab_sweep_removes_only_what_is_idle_for_its_time_out(void **state)
{
	uint32_t now_s = clock_s();

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	atomic_store(&t->conns[find(7) >> 1].state, CONN_REPLIED);
	assert_int_equal(sweep_all(now_s + conn_timeout_s(IPPROTO_UDP, CONN_NEW) - 1), 0);
	assert_int_equal(sweep_all(now_s + conn_timeout_s(IPPROTO_UDP, CONN_NEW)), 99);
	assert_int_not_equal(find(7), FLOW_NONE);
	assert_int_equal(find(8), FLOW_NONE);
	atomic_store(&t->conns[find(7) >> 1].state, CONN_DEAD);
	assert_int_equal(sweep_all(now_s), 1);
}

static void test_flowtab_memory_is_reused_only_after_a_grace_period(void **state)
{
	(void)state;
	rcu_reader_register(0);
	for (uint32_t i = 0; i < N_CONNS; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	assert_int_equal(sweep_all(clock_s() + 1000), N_CONNS);
	flowtab_reclaim(t, 0); /* takes the token */
	flowtab_reclaim(t, 0);
	assert_int_equal(add(0, 0), FLOW_NONE);
	rcu_quiescent(0);
	flowtab_reclaim(t, 0);
	assert_int_equal(flowtab_n_used(t), 0);
	for (uint32_t i = 0; i < N_CONNS; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	rcu_reader_unregister(0);
}

#define N_ROUNDS 20000u

static void *count_owner(void *arg)
{
	for (uint32_t i = 0; i < N_ROUNDS; i++)
		flow_prog_count(arg, 0xf0000000);
	return NULL;
}

static void *count_foreign(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < N_ROUNDS; i++)
		flowtab_count_foreign(t, 1, find(3), 1, 1000);
	return NULL;
}

static void test_flowtab_two_workers_count_one_flow_exactly(void **state)
{
	pthread_t threads[2];
	uint32_t flow;
	struct flow_count count;

	(void)state;
	flowtab_close(t, false);
	assert_int_equal(open_table(2), 0);
	flow = 2 * add(3, 0);
	assert_int_equal(pthread_create(&threads[0], NULL, count_owner, flowtab_prog(t, flow)), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, count_foreign, NULL), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	count = flowtab_count(t, flow);
	assert_int_equal(count.pkts, 2 * N_ROUNDS);
	assert_int_equal(count.bytes, N_ROUNDS * (0xf0000000ull + 1000));
	/* The next user of the memory starts from zero. */
	atomic_store(&t->conns[flow >> 1].state, CONN_DEAD);
	sweep_all(clock_s());
	flowtab_reclaim(t, 0);
	flowtab_reclaim(t, 0);
	flow = 2 * add(4, 0);
	assert_int_equal(flowtab_count(t, flow).pkts, 0);
}

struct racer {
	unsigned int worker;
	uint32_t n_won;
};

static void *insert_all(void *arg)
{
	struct racer *r = arg;

	for (uint32_t i = 0; i < N_CONNS / 2; i++)
		r->n_won += add(i, r->worker) != FLOW_NONE;
	return NULL;
}

static void test_flowtab_two_workers_insert_the_same_keys_once(void **state)
{
	struct racer racers[2] = { { .worker = 0 }, { .worker = 1 } };
	pthread_t threads[2];

	(void)state;
	flowtab_close(t, false);
	assert_int_equal(open_table(2), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, insert_all, &racers[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(racers[0].n_won + racers[1].n_won, N_CONNS / 2);
	for (uint32_t i = 0; i < N_CONNS / 2; i++)
		assert_int_not_equal(find(i), FLOW_NONE);
}

static void test_flowtab_unlinked_connection_is_gone_and_its_keys_are_free(void **state)
{
	uint32_t first = add(1, 0), unpublished = flowtab_alloc(t, 0), again;

	(void)state;
	assert_true(flowtab_unlink(t, first));
	assert_false(flowtab_unlink(t, first));
	assert_false(flowtab_unlink(t, unpublished));
	assert_int_equal(find(1), FLOW_NONE);
	assert_int_equal(t->conns[first].state, CONN_DEAD);
	again = add(1, 0);
	assert_int_not_equal(again, FLOW_NONE);
	/* The sweeper retires the record and leaves its successor alone. */
	assert_int_equal(sweep_all(clock_s()), 1);
	assert_int_equal(find(1), 2 * again);
	assert_false(flowtab_unlink(t, first));
}

static _Atomic bool is_over;

/* Unlinks whatever it finds, as another worker would. */
static void *unlink_found(void *arg)
{
	_Atomic uint32_t *n_unlinked = arg;

	rcu_reader_register(1);
	for (uint32_t i = 0; !atomic_load(&is_over); i = (i + 1) % 512) {
		uint32_t flow = find(i);

		if (flow != FLOW_NONE && flowtab_unlink(t, flow >> 1))
			atomic_fetch_add(n_unlinked, 1);
		rcu_quiescent(1);
	}
	rcu_reader_unregister(1);
	return NULL;
}

static unsigned int n_tags(void)
{
	unsigned int n = 0;

	for (uint32_t b = 0; b < t->n_buckets; b++)
		for (unsigned int slot = 0; slot < FLOWTAB_BUCKET_LEN; slot++)
			n += atomic_load(&t->buckets[b].tag[slot]) != 0;
	return n;
}

static void test_flowtab_unlink_beside_opening_and_sweeping_loses_no_key(void **state)
{
	_Atomic uint32_t n_unlinked = 0;
	uint32_t n_added = 0;
	uint64_t n_expired = t->cache[0].n_expired;
	pthread_t thread;

	(void)state;
	atomic_store(&is_over, false);
	assert_int_equal(pthread_create(&thread, NULL, unlink_found, &n_unlinked), 0);
	rcu_reader_register(0);
	for (uint32_t round = 0; round < 400 || atomic_load(&n_unlinked) < 1000; round++) {
		/* every fourth round everything left times out, whether the other thread is at it or not */
		for (uint32_t i = 0; i < 512; i++)
			n_added += add(i, 0) != FLOW_NONE;
		sweep_all(clock_s() + (round % 4 == 3 ? 1000 : 0));
		rcu_quiescent(0);
		flowtab_reclaim(t, 0);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	sweep_all(clock_s() + 1000);
	for (int i = 0; i < 3; i++) {
		rcu_quiescent(0);
		flowtab_reclaim(t, 0);
	}
	rcu_reader_unregister(0);
	assert_int_equal(t->cache[0].n_expired - n_expired, n_added);
	assert_true(n_unlinked <= n_added);
	assert_int_equal(n_tags(), 0);
	assert_int_equal(flowtab_n_used(t), 0);
}

/* --- adoption: the region is a file, here on whatever hugetlbfs there is ------------------------------------------------ */

static char instance[32];

static int open_named(const char **out_reason)
{
	return flowtab_open(t, instance, false, N_CONNS, 1, -1, out_reason);
}

/* A fresh named table in place of the anonymous one; skips the test where there are no hugepages for it. */
static void begin_named(void)
{
	const char *reason;
	int ret;

	flowtab_close(t, false);
	snprintf(instance, sizeof(instance), "test-%d", getpid());
	ret = open_named(&reason);
	if (ret < 0) {
		print_message("skipped: no hugepages for a named region (%d)\n", ret);
		assert_int_equal(open_table(1), 0);
		skip();
	}
}

static void test_flowtab_restart_adopts_connections_unjudged(void **state)
{
	const char *reason;

	(void)state;
	begin_named();
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	flowtab_heartbeat(t, clock_s());
	/* Killed in the middle of a removal and of an insert: unlinked but not free, taken but not published. */
	atomic_store(&t->conns[find(5) >> 1].state, CONN_FREE);
	flowtab_alloc(t, 0);
	flowtab_close(t, true);

	assert_int_equal(open_named(&reason), 0);
	assert_null(reason);
	assert_int_equal(t->n_adopted, 999);
	assert_int_equal(flowtab_n_used(t), 999);
	assert_int_equal(find(5), FLOW_NONE);
	for (uint32_t i = 0; i < 1000; i++) {
		if (i == 5)
			continue;
		assert_int_not_equal(find(i), FLOW_NONE);
		assert_true(flowtab_prog(t, find(i))->flags & FLOW_F_UNJUDGED);
		assert_int_equal(t->conns[find(i) >> 1].route[0], SLOT_NONE);
	}
	flowtab_close(t, false);
	assert_int_equal(open_table(1), 0);
}

/* A worker may have stamped seconds that the control thread, busy with other things, had not written any more. */
static void test_flowtab_restart_keeps_idle_times(void **state)
{
	static const int idle_s[] = { 0, 5, -1, -40, 20 };
	uint32_t now_s = clock_s();
	const char *reason;

	(void)state;
	begin_named();
	flowtab_heartbeat(t, now_s);
	for (uint32_t i = 0; i < RTE_DIM(idle_s); i++) {
		uint32_t flow;

		assert_int_not_equal(add(i, 0), FLOW_NONE);
		flow = find(i);
		for (unsigned int d = 0; d < CONN_DIR_N; d++)
			flowtab_prog(t, (flow & ~1u) + d)->last_seen_s = now_s -
				(uint32_t)idle_s[i];
		flowtab_conn(t, flow)->created_s = now_s - 200;
	}
	flowtab_close(t, true);
	clock_warp_ns(1000 * CLOCK_NS_PER_S);
	assert_int_equal(open_named(&reason), 0);
	now_s = clock_s();
	for (uint32_t i = 0; i < RTE_DIM(idle_s); i++) {
		uint32_t flow = find(i), idle = (uint32_t)RTE_MAX(idle_s[i], 0);

		assert_int_not_equal(flow, FLOW_NONE);
		for (unsigned int d = 0; d < CONN_DIR_N; d++)
			assert_in_range(now_s - flowtab_prog(t, (flow & ~1u) + d)->last_seen_s,
				idle, idle + 1);
		assert_in_range(now_s - flowtab_conn(t, flow)->created_s, 200, 201);
	}
	/* None is swept before its time. */
	flowtab_sweep(t, 0, N_CONNS, now_s);
	assert_int_equal(flowtab_n_used(t), RTE_DIM(idle_s));
	flowtab_close(t, false);
	assert_int_equal(open_table(1), 0);
}

static void test_flowtab_spoilt_file_is_a_cold_start_that_says_why(void **state)
{
	const char *reason;

	(void)state;
	begin_named();
	assert_int_not_equal(add(1, 0), FLOW_NONE);
	t->header->seed[1] ^= 1;
	flowtab_close(t, true);
	assert_int_equal(open_named(&reason), 0);
	assert_string_equal(reason, "header checksum wrong");
	assert_int_equal(flowtab_n_used(t), 0);
	t->header->version++;
	flowtab_close(t, true);
	assert_int_equal(open_named(&reason), 0);
	assert_string_equal(reason, "another layout version");
	/* Rubbish in the records is nobody's index. */
	assert_int_not_equal(add(1, 0), FLOW_NONE);
	memset(t->conns, 0xa5, 64 * sizeof(*t->conns));
	memset(t->flows, 0x5a, 4096);
	flowtab_close(t, true);
	assert_int_equal(open_named(&reason), 0);
	assert_int_equal(t->n_adopted, 0);
	for (uint32_t i = 0; i < N_CONNS; i++)
		assert_int_not_equal(add(i, 0), FLOW_NONE);
	flowtab_close(t, false);
	assert_int_equal(open_table(1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_flowtab_full_finds_every_key_in_both_directions, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_same_key_twice_is_refused_and_leaves_the_first, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_zones_and_kinds_do_not_mix, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_sweep_removes_only_what_is_idle_for_its_time_out, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_memory_is_reused_only_after_a_grace_period, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_two_workers_count_one_flow_exactly, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_two_workers_insert_the_same_keys_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_unlinked_connection_is_gone_and_its_keys_are_free, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_unlink_beside_opening_and_sweeping_loses_no_key, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_restart_adopts_connections_unjudged, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_restart_keeps_idle_times, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_flowtab_spoilt_file_is_a_cold_start_that_says_why, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
