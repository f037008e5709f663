/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker and the control thread on one route table: the worker keeps a compiled answer as a flow does,
 * checks generations as a flow does, and must never go on with an answer that a published change has
 * made wrong, nor see half a route. Run under thread and address sanitizers as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/route.h"

#define READER_ID 6
#define N_HISTORY 65536u
#define CHECKS_MIN 100000u
#define CHANGES_MIN 40000u
#define JUDGED_MIN 5000u
#define DEADLINE_S 60
#define MTU_NONE 0 /* stands for "no route" */

static _Atomic uint16_t answers[N_HISTORY]; /* right answer after change i */
static _Atomic uint32_t n_published;
static _Atomic bool is_stopping;
static _Atomic uint64_t n_checks, n_wrong, n_torn, n_kept, n_judged;
static struct ip_addr dst;

/* What a flow keeps. */
struct flow {
	uint32_t epoch, route_idx;
	uint16_t mtu;
};

static void flow_judge(struct flow *f, uint32_t epoch)
{
	const struct route *r;

	f->epoch = epoch;
	f->route_idx = route_lookup(0, &dst);
	r = route_at(f->route_idx);
	f->mtu = r->kind == ROUTE_NONE ? MTU_NONE : r->mtu;
	/* every route is made with these alike */
	if (r->kind != ROUTE_NONE &&
		(r->kind != ROUTE_TUNNEL || r->tunnel_idx != r->mtu || r->port_id != r->mtu))
		atomic_fetch_add_explicit(&n_torn, 1, memory_order_relaxed);
}

/* Whether mtu was right at some time from change `from` on until now. */
static bool is_right(uint16_t mtu, uint32_t from)
{
	/* one more than published: the change that is being made may be seen already */
	uint32_t to = atomic_load_explicit(&n_published, memory_order_acquire) + 1;

	if (to - from < N_HISTORY)
		for (uint32_t i = from; i <= to; i++)
			if (atomic_load_explicit(&answers[i % N_HISTORY], memory_order_relaxed) ==
				mtu)
				return true;
	/* the writer may have lapped a reader that slept: then the history says nothing */
	atomic_thread_fence(memory_order_acquire);
	to = atomic_load_explicit(&n_published, memory_order_acquire) + 1;
	return to - from >= N_HISTORY;
}

static void *worker_main(void *arg)
{
	struct flow flow = { 0 };

	(void)arg;
	rcu_reader_register(READER_ID);
	flow_judge(&flow, gen_now());
	while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
		uint32_t from = atomic_load_explicit(&n_published, memory_order_acquire);
		uint32_t epoch = gen_now();

		if (flow.epoch != epoch &&
			gen_is_newer(&route_at(flow.route_idx)->gen, flow.epoch)) {
			flow_judge(&flow, epoch);
			atomic_fetch_add_explicit(&n_judged, 1, memory_order_relaxed);
		} else {
			flow.epoch = epoch;
			atomic_fetch_add_explicit(&n_kept, 1, memory_order_relaxed);
		}
		if (!is_right(flow.mtu, from))
			atomic_fetch_add_explicit(&n_wrong, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&n_checks, 1, memory_order_relaxed);
		rcu_quiescent(READER_ID);
	}
	rcu_reader_unregister(READER_ID);
	return NULL;
}

static struct route_config tunnel(const char *prefix, uint16_t mtu)
{
	struct route_config cfg = {
		.kind = ROUTE_TUNNEL, .mtu = mtu, .tunnel_idx = mtu, .port_id = mtu
	};

	assert_int_equal(ip_prefix_parse(prefix, &cfg.prefix), 0);
	return cfg;
}

/* Change i of a cycle over nested prefixes, the zone's first and last route included; the answer for dst
 * afterwards is stored before the change can be seen. */
static void change(uint32_t i)
{
	static const char *const wide = "10.0.0.0/8", *const narrow = "10.1.2.0/24",
				 *const host = "10.1.2.3/32";
	static uint16_t narrow_mtu;
	uint16_t mtu = (uint16_t)(1 + i % 60000), answer = mtu;
	struct route_config cfg = tunnel(wide, mtu);

	switch (i % 8) {
	case 0: /* into the empty zone */
	case 1:
	case 4: /* below the narrow one: another answer for others only */
		answer = i % 8 == 4 ? narrow_mtu : mtu;
		break;
	case 2:
	case 3:
		cfg = tunnel(narrow, mtu);
		narrow_mtu = mtu;
		break;
	case 5:
		cfg = tunnel(host, mtu);
		break;
	case 6:
		cfg = tunnel(host, 1);
		answer = narrow_mtu;
		break;
	default: /* all of it, so that the zone goes */
		answer = MTU_NONE;
	}
	atomic_store_explicit(&answers[i % N_HISTORY], answer, memory_order_relaxed);
	if (i % 8 < 6) {
		assert_int_equal(route_replace(&cfg, NULL), 0);
	} else if (i % 8 == 6) {
		assert_int_equal(route_del(0, &cfg.prefix), 0);
	} else {
		/* the wide one first, so that dst has its old answer until the last moment */
		struct ip_prefix p = tunnel(wide, 1).prefix;

		assert_int_equal(route_del(0, &p), 0);
		p = tunnel(narrow, 1).prefix;
		assert_int_equal(route_del(0, &p), 0);
	}
	gen_publish();
	/* release: pairs with the acquire in worker_main() */
	atomic_store_explicit(&n_published, i, memory_order_release);
}

static void test_route_flow_never_keeps_a_wrong_answer(void **state)
{
	uint64_t deadline_ns = clock_ns() + DEADLINE_S * CLOCK_NS_PER_S;
	pthread_t thread;
	uint32_t i = 8;

	(void)state;
	assert_int_equal(ip_parse("10.1.2.3", &dst), 0);
	atomic_store_explicit(&n_published, i - 1, memory_order_relaxed);
	assert_int_equal(pthread_create(&thread, NULL, worker_main, NULL), 0);
	while ((n_checks < CHECKS_MIN || n_judged < JUDGED_MIN || i < CHANGES_MIN) &&
		clock_ns() < deadline_ns) {
		change(i++);
		if (i % 32 == 0) {
			route_poll();
			rcu_poll();
		}
	}
	atomic_store_explicit(&is_stopping, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	assert_int_equal(n_wrong, 0);
	assert_int_equal(n_torn, 0);
	assert_true(n_checks >= CHECKS_MIN && i >= CHANGES_MIN);
	assert_true(n_judged >= JUDGED_MIN);
	assert_true(n_kept > 0);
}

static int setup(void **state)
{
	(void)state;
	clock_init();
	return rcu_init() != 0 ? -1 : route_init(0, 0);
}

static int teardown(void **state)
{
	(void)state;
	route_fini();
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_route_flow_never_keeps_a_wrong_answer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
