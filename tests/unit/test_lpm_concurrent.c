/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lookups while the writer works: a registered reader checks that every answer is one that the
 * table gave at some moment of the lookup. Run under thread and address sanitizers as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/table/lpm.h"

#define READER_ID 5
#define LOOKUPS_MIN 200000u
#define UPDATES_MIN 60000u
#define DEADLINE_S 60

struct check {
	struct ip_addr addr;
	uint32_t allowed[2];
};

/* What the reader looks up over and over, and the two answers that are right. */
struct rig {
	struct lpm_arena *arena;
	struct lpm *lpm;
	const struct check *checks;
	unsigned int n_checks;
	_Atomic bool is_stopping;
	_Atomic uint64_t n_lookups;
	_Atomic uint64_t n_wrong;
	_Atomic uint64_t
		n_seen[2]; /* answers of either kind: both must occur, or nothing was tested */
};

static void *reader_main(void *arg)
{
	struct rig *rig = arg;

	rcu_reader_register(READER_ID);
	while (!atomic_load_explicit(&rig->is_stopping, memory_order_relaxed)) {
		for (unsigned int i = 0; i < rig->n_checks; i++) {
			const struct check *c = &rig->checks[i];
			uint32_t v = ip_is_v4(&c->addr) ? lpm_lookup4(rig->lpm, ip_v4(&c->addr))
							: lpm_lookup6(rig->lpm, &c->addr);

			if (v != c->allowed[0] && v != c->allowed[1])
				atomic_fetch_add_explicit(&rig->n_wrong, 1, memory_order_relaxed);
			else if (c->allowed[0] != c->allowed[1])
				atomic_fetch_add_explicit(
					&rig->n_seen[v == c->allowed[1]], 1, memory_order_relaxed);
		}
		atomic_fetch_add_explicit(&rig->n_lookups, rig->n_checks, memory_order_relaxed);
		rcu_quiescent(READER_ID);
	}
	rcu_reader_unregister(READER_ID);
	return NULL;
}

static struct ip_prefix parse(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static void add(struct lpm *lpm, const char *text, uint32_t value)
{
	struct ip_prefix p = parse(text);

	assert_int_equal(lpm_add(lpm, &p, value), 0);
}

static void del(struct lpm *lpm, const char *text)
{
	struct ip_prefix p = parse(text);

	assert_int_equal(lpm_del(lpm, &p, NULL), 0);
}

static void replace(struct lpm *lpm, const char *text, uint32_t value)
{
	struct ip_prefix p = parse(text);

	assert_int_equal(lpm_replace(lpm, &p, value, NULL), 0);
}

/* Runs `round` in this thread, the writer, until both sides have done enough. */
static void run(struct rig *rig, void (*round)(struct rig *rig, uint32_t i), bool is_toggling)
{
	uint64_t deadline_ns = clock_ns() + DEADLINE_S * CLOCK_NS_PER_S;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, reader_main, rig), 0);
	for (uint32_t i = 0;; i++) {
		bool has_seen = !is_toggling || (rig->n_seen[0] > 0 && rig->n_seen[1] > 0);

		if (i >= UPDATES_MIN && rig->n_lookups >= LOOKUPS_MIN && has_seen)
			break;
		if (clock_ns() > deadline_ns)
			break;
		round(rig, i);
		if (i % 128 == 0)
			lpm_arena_poll(rig->arena);
	}
	atomic_store_explicit(&rig->is_stopping, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	assert_int_equal(rig->n_wrong, 0);
	assert_true(rig->n_lookups >= LOOKUPS_MIN);
	if (is_toggling) {
		assert_true(rig->n_seen[0] > 0);
		assert_true(rig->n_seen[1] > 0);
	}
}

static void rig_init(struct rig *rig, bool is_v6)
{
	*rig = (struct rig){ .arena = lpm_arena_create((size_t)64 << 20) };
	rig->lpm = lpm_create(rig->arena, is_v6);
}

/* Only what the reader holds may keep nodes; with it gone all of them come back. */
static void rig_fini(struct rig *rig)
{
	struct lpm_arena_stats stats;

	lpm_destroy(rig->lpm);
	lpm_arena_poll(rig->arena);
	while (lpm_arena_get_stats(rig->arena, &stats), stats.pending_bytes != 0)
		lpm_arena_poll(rig->arena);
	assert_int_equal(stats.n_nodes, 0);
	lpm_arena_destroy(rig->arena);
}

static struct check check_of(const char *addr, uint32_t a, uint32_t b)
{
	struct check c = { .allowed = { a, b } };

	assert_int_equal(ip_parse(addr, &c.addr), 0);
	return c;
}

static void toggle4(struct rig *rig, uint32_t i)
{
	struct ip_prefix churn = { .addr = ip_from_v4(
					   rte_cpu_to_be_32(0x0a010000 | (i * 2654435761u >> 16))),
		.len = 32 };
	int rc;

	if (i % 2 == 0)
		add(rig->lpm, "10.1.2.0/24", 2);
	else
		del(rig->lpm, "10.1.2.0/24");
	/* neighbours come and go, so that the nodes on the way are copied, grow and shrink */
	churn.addr.b[14] |= 0x80;
	rc = lpm_add(rig->lpm, &churn, 99);
	if (rc != 0)
		rc = lpm_del(rig->lpm, &churn, NULL);
	assert_int_equal(rc, 0);
}

static void test_lpm_toggled_prefix_reader_sees_old_or_new(void **state)
{
	struct check checks[] = { check_of("10.1.2.3", 1, 2), check_of("10.1.2.255", 1, 2),
		check_of("10.1.3.0", 1, 1), check_of("10.1.1.255", 1, 1),
		check_of("10.2.0.0", 3, 3), check_of("11.0.0.1", 0, 0),
		check_of("10.1.4.4", 4, 4) };
	struct rig rig;

	(void)state;
	rig_init(&rig, false);
	rig.checks = checks;
	rig.n_checks = sizeof(checks) / sizeof(checks[0]);
	add(rig.lpm, "0.0.0.0/0", 0);
	add(rig.lpm, "10.0.0.0/8", 3);
	add(rig.lpm, "10.1.0.0/16", 1);
	add(rig.lpm, "10.1.4.4/32", 4);
	run(&rig, toggle4, true);
	rig_fini(&rig);
}

static void toggle6(struct rig *rig, uint32_t i)
{
	static const char *const deep = "2001:db8:1:2:3:4:5:6/128";

	switch (i % 4) {
	case 0:
		add(rig->lpm, deep, 2);
		break;
	case 1:
		add(rig->lpm, "2001:db8:1::/48", 1);
		break;
	case 2:
		del(rig->lpm, deep);
		break;
	default:
		del(rig->lpm, "2001:db8:1::/48");
	}
}

static void test_lpm_toggled_host_route_v6_neighbours_stay(void **state)
{
	struct check checks[] = { check_of("2001:db8:1:2:3:4:5:7", 0, 1),
		check_of("2001:db8:2::", 0, 0), check_of("2001:db9::", LPM_NONE, LPM_NONE) };
	struct rig rig;

	(void)state;
	rig_init(&rig, true);
	rig.checks = checks;
	rig.n_checks = sizeof(checks) / sizeof(checks[0]);
	add(rig.lpm, "2001:db8::/32", 0);
	run(&rig, toggle6, true);
	rig_fini(&rig);
}

/*
 * Make before break, over prefixes that lie in three nodes: at every moment the address is covered
 * by value 1 or 2, never by the default route alone. A reader that mixed two states of the table
 * would see it.
 */
static void make_before_break(struct rig *rig, uint32_t i)
{
	switch (i % 6) {
	case 0:
		add(rig->lpm, "10.1.0.0/18", 2);
		break;
	case 1:
		del(rig->lpm, "10.1.2.3/32");
		break;
	case 2:
		replace(rig->lpm, "0.0.0.0/0", 100 + i);
		break;
	case 3:
		add(rig->lpm, "10.1.2.3/32", 1);
		break;
	case 4:
		del(rig->lpm, "10.1.0.0/18");
		break;
	default:
		replace(rig->lpm, "0.0.0.0/0", 100 + i);
	}
}

static void test_lpm_sequence_of_updates_reader_never_mixes_states(void **state)
{
	struct check checks[] = { check_of("10.1.2.3", 1, 2) };
	struct rig rig;

	(void)state;
	rig_init(&rig, false);
	rig.checks = checks;
	rig.n_checks = 1;
	add(rig.lpm, "0.0.0.0/0", 100);
	add(rig.lpm, "10.1.2.3/32", 1);
	run(&rig, make_before_break, true);
	rig_fini(&rig);
}

static int group_setup(void **state)
{
	(void)state;
	clock_init();
	return rcu_init();
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lpm_toggled_prefix_reader_sees_old_or_new),
		cmocka_unit_test(test_lpm_toggled_host_route_v6_neighbours_stay),
		cmocka_unit_test(test_lpm_sequence_of_updates_reader_never_mixes_states),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
