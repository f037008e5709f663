/* SPDX-License-Identifier: BSD-3-Clause */
/* Rule lists: against rules looked at one by one, in random lists that change between the checks; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/classifier.h"
#include "datapath/table/classifier_node.h"
#include "tests/unit/policy_model.h"

#define N_SETS 40
#define N_RULES 60
#define ZONE 7

static struct model_set sets[N_SETS];
static struct model_rule rules[N_RULES];
static uint32_t age;

static void set_fill(struct model_set *s, unsigned int n)
{
	s->idx = ipset_create(s->zone);
	s->n = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct ip_prefix p = model_prefix();

		s->is_except[s->n] = model_rnd(3) == 0;
		if (model_set_find(s, &p) >= 0)
			continue;
		assert_int_equal(ipset_member_add(s->idx, &p, s->is_except[s->n]), 0);
		s->prefix[s->n++] = p;
	}
}

static void sets_fill(void)
{
	for (unsigned int i = 0; i < N_SETS; i++) {
		sets[i].zone = ZONE;
		set_fill(&sets[i], 1 + model_rnd(MODEL_MEMBERS - 1));
	}
}

static void sets_empty(void)
{
	for (unsigned int i = 0; i < N_SETS; i++)
		ipset_put(sets[i].idx);
}

/* All rules that match the packet, in order. */
static void check_packet(uint32_t list)
{
	struct rule_packet pkt = model_packet(ZONE);
	const struct model_rule *expected = NULL;
	struct rule_query query;
	uint32_t rule = RULE_NONE;

	rule_query_init(&query, &pkt);
	do {
		expected = model_match(sets, N_SETS, rules, N_RULES, &pkt, expected);
		rule = rulelist_match(list, &query, rule);
		assert_int_equal(rule, expected != NULL ? expected->idx : RULE_NONE);
	} while (rule != RULE_NONE);
}

static void rule_toggle(uint32_t list, struct model_rule *r, unsigned int n_sets)
{
	if (r->idx != RULE_NONE) {
		rule_del(r->idx);
		r->idx = RULE_NONE;
		return;
	}
	r->cfg = model_rule(sets, n_sets);
	r->age = age++;
	assert_int_equal(rule_add(list, &r->cfg, &r->idx), 0);
}

static void set_change(void)
{
	struct model_set *s = &sets[model_rnd(N_SETS)];
	struct ip_prefix p = model_prefix();
	int at = model_set_find(s, &p);

	if (at >= 0) {
		assert_int_equal(ipset_member_del(s->idx, &p), 0);
		s->n--;
		s->prefix[at] = s->prefix[s->n];
		s->is_except[at] = s->is_except[s->n];
	} else if (s->n < MODEL_MEMBERS) {
		s->is_except[s->n] = model_rnd(3) == 0;
		assert_int_equal(ipset_member_add(s->idx, &p, s->is_except[s->n]), 0);
		s->prefix[s->n++] = p;
	}
}

static bool is_empty(void)
{
	return rule_slots.n_used == 0 && entry_slots.n_used == 0 && item_slots.n_used == 0 &&
		step_levels[LEVEL_SRC].slots.n_used == 0 &&
		step_levels[LEVEL_DST].slots.n_used == 0;
}

/* With few sets the children are listed, with many they are looked up. */
static void random_list(unsigned int n_sets)
{
	uint32_t list = rulelist_create(ZONE), other = rulelist_create(ZONE);

	sets_fill();
	for (unsigned int i = 0; i < N_RULES; i++)
		rules[i].idx = RULE_NONE;
	for (unsigned int i = 0; i < 100; i++) {
		rule_toggle(list, &rules[model_rnd(N_RULES)], n_sets);
		if (i % 4 == 0)
			set_change();
		for (unsigned int k = 0; k < 10; k++)
			check_packet(list);
		gen_publish();
		rcu_poll();
	}
	rulelist_destroy(list);
	rulelist_destroy(other);
	assert_true(is_empty());
	sets_empty();
}

#define N_LISTS 12

/* One question to many short lists: what was found out about the packet for one holds for the next, and no list is passed over that has a
 * rule for it, nor asked in vain for ever because of rules that went. */
static void many_lists(unsigned int n_sets)
{
	static struct model_rule of_list[N_LISTS][N_RULES / 6];
	uint32_t lists[N_LISTS];

	sets_fill();
	for (unsigned int l = 0; l < N_LISTS; l++) {
		lists[l] = rulelist_create(ZONE);
		for (unsigned int i = 0; i < RTE_DIM(of_list[l]); i++)
			of_list[l][i].idx = RULE_NONE;
	}
	for (unsigned int round = 0; round < 200; round++) {
		struct rule_packet pkt = model_packet(ZONE);
		unsigned int l = model_rnd(N_LISTS);
		struct rule_query query;

		rule_toggle(lists[l], &of_list[l][model_rnd(RTE_DIM(of_list[l]))], n_sets);
		set_change();
		rule_query_init(&query, &pkt);
		for (l = 0; l < N_LISTS; l++) {
			const struct model_rule *expected = model_match(
				sets, N_SETS, of_list[l], RTE_DIM(of_list[l]), &pkt, NULL);

			assert_int_equal(rulelist_match(lists[l], &query, RULE_NONE),
				expected != NULL ? expected->idx : RULE_NONE);
		}
		gen_publish();
		rcu_poll();
	}
	for (unsigned int l = 0; l < N_LISTS; l++)
		rulelist_destroy(lists[l]);
	assert_true(is_empty());
	sets_empty();
}

static void test_classifier_many_lists_match_the_model(void **state)
{
	(void)state;
	srand(2);
	for (unsigned int i = 0; i < 20; i++)
		many_lists(i % 2 == 0 ? 5 : N_SETS);
}

static bool filter_is(const struct list_filter *a, const struct list_filter *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void test_classifier_filter_forgets_rules_that_went(void **state)
{
	uint32_t list = rulelist_create(ZONE), set[2], rule[2];
	struct list_filter empty = rulelist_at(list)->filter, one;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct rule_config cfg = { .n_src = 1,
			.n_dport = 1,
			.dport = { { (uint16_t)(80 + i), (uint16_t)(80 + i) } } };

		cfg.src[0] = set[i] = ipset_create(ZONE);
		assert_int_equal(rule_add(list, &cfg, &rule[i]), 0);
		if (i == 0)
			one = rulelist_at(list)->filter;
	}
	assert_false(filter_is(&rulelist_at(list)->filter, &one));
	rule_del(rule[1]);
	assert_true(filter_is(&rulelist_at(list)->filter, &one));
	rule_del(rule[0]);
	assert_true(filter_is(&rulelist_at(list)->filter, &empty));
	rulelist_destroy(list);
	for (unsigned int i = 0; i < 2; i++)
		ipset_put(set[i]);
}

static void test_classifier_random_lists_match_the_model(void **state)
{
	(void)state;
	srand(1);
	for (unsigned int i = 0; i < 20; i++)
		random_list(i % 2 == 0 ? 5 : N_SETS);
}

/* A table that is full now. */
struct full {
	struct slots *slots;
	uint32_t max, n_free;
};

static struct full slots_fill(struct slots *s)
{
	struct full f = { .slots = s, .max = s->max, .n_free = s->n_free };

	s->max = s->n_touched;
	s->n_free = 0;
	return f;
}

static void slots_unfill(const struct full *f)
{
	f->slots->max = f->max;
	f->slots->n_free = f->n_free;
}

static void test_classifier_full_tables_leave_the_list_unchanged(void **state)
{
	struct slots *const tables[] = { &rule_slots, &entry_slots, &item_slots,
		&step_levels[LEVEL_SRC].slots, &step_levels[LEVEL_DST].slots };
	uint32_t list = rulelist_create(ZONE), set = ipset_create(ZONE), rule;
	struct rule_config cfg = { .n_src = 1, .src = { set }, .n_dst = 1, .dst = { set } };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(tables); i++) {
		struct full full = slots_fill(tables[i]);

		assert_int_equal(rule_add(list, &cfg, &rule), -ENOSPC);
		slots_unfill(&full);
		assert_int_equal(rulelist_n_rules(list), 0);
		assert_true(is_empty());
	}
	assert_int_equal(rule_add(list, &cfg, &rule), 0);
	rulelist_destroy(list);
	ipset_put(set);
	assert_false(ipset_is_in_zone(set, ZONE));
}

static void test_classifier_refuses_what_it_cannot_hold(void **state)
{
	static struct rule_config cfg;
	uint32_t list = rulelist_create(ZONE), set = ipset_create(ZONE), other = ipset_create(0);
	uint32_t rule;

	(void)state;
	cfg = (struct rule_config){ .action = RULE_ACTION_N };
	assert_int_equal(rule_add(list, &cfg, &rule), -EINVAL);
	cfg = (struct rule_config){ .n_dport = 1, .dport = { { .lo = 2, .hi = 1 } } };
	assert_int_equal(rule_add(list, &cfg, &rule), -EINVAL);
	cfg = (struct rule_config){ .n_src = 1, .src = { other } };
	assert_int_equal(rule_add(list, &cfg, &rule), -EINVAL);
	cfg = (struct rule_config){ .n_src = RULE_SETS_MAX + 1 };
	assert_int_equal(rule_add(list, &cfg, &rule), -EINVAL);
	/* 30 × 30 prefixes for one pair of sets, ten pairs */
	cfg = (struct rule_config){ .n_src = 10,
		.n_sport = 1,
		.sport = { { .lo = 1, .hi = 65534 } },
		.n_dport = 1,
		.dport = { { .lo = 1, .hi = 65534 } } };
	for (unsigned int i = 0; i < cfg.n_src; i++)
		cfg.src[i] = set;
	assert_int_equal(rule_add(list, &cfg, &rule), -E2BIG);
	cfg.n_src = 9;
	assert_int_equal(rule_add(list, &cfg, &rule), 0);
	rulelist_destroy(list);
	assert_true(is_empty());
	ipset_put(set);
	ipset_put(other);
}

static void test_classifier_port_prefixes_cover_the_ranges_exactly(void **state)
{
	static struct port_prefix prefixes[PORT_PREFIXES_MAX];
	static uint8_t n_covers[65536];

	(void)state;
	srand(2);
	for (unsigned int round = 0; round < 200; round++) {
		struct port_range ranges[RULE_PORTS_MAX];
		unsigned int n_ranges = 1 + model_rnd(round % RULE_PORTS_MAX + 1), n;

		for (unsigned int i = 0; i < n_ranges; i++) {
			uint16_t lo = (uint16_t)model_rnd(65536);

			ranges[i] = (struct port_range){ lo,
				(uint16_t)(lo + model_rnd(RTE_MIN(65536u - lo, 3000u))) };
		}
		n = port_prefixes(ranges, n_ranges, prefixes);
		memset(n_covers, 0, sizeof(n_covers));
		for (unsigned int i = 0; i < n; i++)
			for (unsigned int k = 0; k < 1u << (16 - prefixes[i].len); k++)
				n_covers[prefixes[i].port + k]++;
		for (unsigned int port = 0; port < 65536; port++)
			assert_int_equal(n_covers[port],
				model_ports(ranges, n_ranges, true, (uint16_t)port));
	}
}

/* A reader while a writer changes everything but one rule for any packet and one for the members of a set on each side. */

#define READER_ID 3
#define CHANGES_MIN 20000u
#define CHECKS_MIN 20000u
#define DEADLINE_S 60

enum { ARG_ANY, ARG_SRC, ARG_DST, ARG_OTHER, ARG_N };

static _Atomic bool is_stopping;
static _Atomic uint64_t n_checks, n_wrong, n_seen[ARG_N];
static uint32_t shared_list;

static struct rule_packet packet(const char *src, const char *dst)
{
	struct rule_packet pkt = { .zone = ZONE, .proto = 6, .has_ports = true, .dport = 80 };

	ip_parse(src, &pkt.src);
	ip_parse(dst, &pkt.dst);
	return pkt;
}

/* The stable rules come behind the changing ones, which only match packets from 10.9/16 to 10.9/16. */
static void *reader_main(void *arg)
{
	const struct rule_packet pkts[ARG_N] = { packet("10.2.0.1", "10.2.0.1"),
		packet("10.1.0.1", "10.2.0.1"), packet("10.2.0.1", "10.1.0.1"),
		packet("10.9.0.1", "10.9.0.1") };

	(void)arg;
	rcu_reader_register(READER_ID);
	while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
		for (unsigned int i = 0; i < ARG_N; i++) {
			struct rule_query query;
			const struct rule *r;
			uint32_t rule;

			rule_query_init(&query, &pkts[i]);
			rule = rulelist_match(shared_list, &query, RULE_NONE);
			r = rule != RULE_NONE ? rule_at(rule) : NULL;
			if (r == NULL || r->list != shared_list ||
				(r->arg != i && !(i == ARG_OTHER && r->arg == ARG_ANY)))
				n_wrong++;
			else
				n_seen[r->arg]++;
		}
		n_checks++;
		rcu_quiescent(READER_ID);
	}
	rcu_reader_unregister(READER_ID);
	return NULL;
}

static uint32_t set_of(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return ipset_intern(ZONE, &p, NULL, 0);
}

static void stable_rules_add(uint32_t set)
{
	struct rule_config cfg = { .priority = 1000, .arg = ARG_ANY };
	uint32_t rule;

	assert_int_equal(rule_add(shared_list, &cfg, &rule), 0);
	cfg = (struct rule_config){ .priority = 900, .arg = ARG_SRC, .n_src = 1, .src = { set } };
	assert_int_equal(rule_add(shared_list, &cfg, &rule), 0);
	cfg = (struct rule_config){ .priority = 900, .arg = ARG_DST, .n_dst = 1, .dst = { set } };
	assert_int_equal(rule_add(shared_list, &cfg, &rule), 0);
}

/* The sets of changing rules: enough for a fork to be listed and not. Each is 10.9/16 in its own way. */
static void changing_sets_create(uint32_t *out, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct ip_prefix p;

		out[i] = ipset_create(ZONE);
		assert_int_equal(ip_prefix_parse("10.9.0.0/16", &p), 0);
		p.len = (uint8_t)(16 + i % 8);
		assert_int_equal(ipset_member_add(out[i], &p, false), 0);
	}
}

static void rule_change(uint32_t *rule, const uint32_t *changing, unsigned int n_sets)
{
	struct rule_config cfg = { .priority = model_rnd(4), .arg = ARG_OTHER, .n_dport = 1 };

	if (*rule != RULE_NONE) {
		rule_del(*rule);
		*rule = RULE_NONE;
		return;
	}
	cfg.dport[0] = (struct port_range){ (uint16_t)model_rnd(81),
		(uint16_t)(80 + model_rnd(9)) };
	cfg.n_src = (uint8_t)(1 + model_rnd(2));
	cfg.n_dst = (uint8_t)(1 + model_rnd(2));
	for (unsigned int i = 0; i < 2; i++) {
		cfg.src[i] = changing[model_rnd(n_sets)];
		cfg.dst[i] = changing[model_rnd(n_sets)];
	}
	assert_int_equal(rule_add(shared_list, &cfg, rule), 0);
}

static void test_classifier_reader_never_sees_a_wrong_match(void **state)
{
	uint64_t deadline_ns = clock_ns() + DEADLINE_S * CLOCK_NS_PER_S;
	uint32_t stable = set_of("10.1.0.0/16"), changing[16], rule[16];
	struct ip_prefix near;
	pthread_t thread;
	unsigned int n = 0;

	(void)state;
	srand(3);
	shared_list = rulelist_create(ZONE);
	stable_rules_add(stable);
	changing_sets_create(changing, RTE_DIM(changing));
	memset(rule, 0xff, sizeof(rule));
	assert_int_equal(ip_prefix_parse("10.1.0.0/17", &near), 0);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, NULL), 0);
	while ((n < CHANGES_MIN || n_checks < CHECKS_MIN) && clock_ns() < deadline_ns) {
		rule_change(&rule[model_rnd(RTE_DIM(rule))], changing, RTE_DIM(changing));
		/* an exception in another set for the addresses that the reader asks for */
		if (n % 8 == 0)
			ipset_member_add(changing[n / 16 % 16], &near, true);
		else if (n % 8 == 4)
			ipset_member_del(changing[n / 16 % 16], &near);
		if (++n % 16 == 0) {
			gen_publish();
			rcu_poll();
		}
	}
	atomic_store_explicit(&is_stopping, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	assert_int_equal(n_wrong, 0);
	assert_true(n >= CHANGES_MIN && n_checks >= CHECKS_MIN);
	for (unsigned int i = 0; i < ARG_N; i++)
		assert_true(n_seen[i] > 0);
	rulelist_destroy(shared_list);
	for (unsigned int i = 0; i < RTE_DIM(changing); i++)
		ipset_put(changing[i]);
	ipset_put(stable);
	assert_true(is_empty());
}

static int setup(void **state)
{
	(void)state;
	clock_init();
	return rcu_init() == 0 && ipset_table_init() == 0 && classifier_init() == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	classifier_fini();
	ipset_table_fini();
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classifier_random_lists_match_the_model),
		cmocka_unit_test(test_classifier_many_lists_match_the_model),
		cmocka_unit_test(test_classifier_filter_forgets_rules_that_went),
		cmocka_unit_test(test_classifier_full_tables_leave_the_list_unchanged),
		cmocka_unit_test(test_classifier_refuses_what_it_cannot_hold),
		cmocka_unit_test(test_classifier_port_prefixes_cover_the_ranges_exactly),
		cmocka_unit_test(test_classifier_reader_never_sees_a_wrong_match),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
