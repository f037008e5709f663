/* SPDX-License-Identifier: BSD-3-Clause */
/* Rule lists: against rules looked at one by one, in random lists that change between the checks; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

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
	uint32_t rule = RULE_NONE;

	do {
		expected = model_match(sets, N_SETS, rules, N_RULES, &pkt, expected);
		rule = rulelist_match(list, &pkt, rule);
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

static void test_classifier_random_lists_match_the_model(void **state)
{
	(void)state;
	srand(1);
	for (unsigned int i = 0; i < 20; i++)
		random_list(i % 2 == 0 ? 5 : N_SETS);
}

static int setup(void **state)
{
	(void)state;
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
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
