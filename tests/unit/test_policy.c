/* SPDX-License-Identifier: BSD-3-Clause */
/* Policies: verdicts against an obvious model, in tiers; who is told of a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/policy.h"
#include "tests/unit/policy_model.h"

#define N_SETS 12
#define N_POLICIES 8
#define N_RULES 6 /* of a policy and direction */
#define N_ENDPOINTS 4

struct model_policy {
	uint32_t idx; /* POLICY_NONE: not there */
	struct policy_config cfg;
	char name[16];
	struct model_rule rules[POLICY_DIR_N][N_RULES];
	bool is_bound[N_ENDPOINTS];
};

static struct model_set sets[N_SETS];
static struct model_policy policies[N_POLICIES];
static uint32_t endpoints[N_ENDPOINTS];
static uint8_t defaults[N_ENDPOINTS][POLICY_DIR_N];
static uint32_t age;

static void sets_fill(void)
{
	for (unsigned int i = 0; i < N_SETS; i++) {
		sets[i] = (struct model_set){ .idx = ipset_create(0) };
		for (unsigned int k = 0; k < 6; k++) {
			struct ip_prefix p = model_prefix();

			if (model_set_find(&sets[i], &p) >= 0)
				continue;
			sets[i].is_except[sets[i].n] = model_rnd(3) == 0;
			assert_int_equal(
				ipset_member_add(sets[i].idx, &p, sets[i].is_except[sets[i].n]), 0);
			sets[i].prefix[sets[i].n++] = p;
		}
	}
}

static void model_policy_fill(struct model_policy *p)
{
	p->cfg = (struct policy_config){ .name = p->name,
		.tier = model_rnd(3),
		.order = model_rnd(2),
		.def = { model_rnd(POLICY_DEFAULT_N), model_rnd(POLICY_DEFAULT_N) } };
}

static void model_policy_add(struct model_policy *p, unsigned int n)
{
	memset(p, 0, sizeof(*p));
	/* names that sort against their numbers */
	snprintf(p->name, sizeof(p->name), "p%u", (n * 5) % N_POLICIES);
	model_policy_fill(p);
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		for (unsigned int i = 0; i < N_RULES; i++)
			p->rules[dir][i].idx = RULE_NONE;
	assert_int_equal(policy_add(&p->cfg, &p->idx), 0);
}

static void rule_toggle(struct model_policy *p)
{
	enum policy_dir dir = model_rnd(POLICY_DIR_N);
	struct model_rule *r = &p->rules[dir][model_rnd(N_RULES)];

	if (r->idx != RULE_NONE) {
		policy_rule_del(r->idx);
		r->idx = RULE_NONE;
		return;
	}
	r->cfg = model_rule(sets, N_SETS);
	r->age = age++;
	assert_int_equal(policy_rule_add(p->idx, dir, &r->cfg, &r->idx), 0);
}

static void bind_toggle(struct model_policy *p)
{
	unsigned int e = model_rnd(N_ENDPOINTS);
	int ret = p->is_bound[e] ? policy_unbind(p->idx, endpoints[e])
				 : policy_bind(p->idx, endpoints[e]);

	assert_int_equal(ret, 0);
	p->is_bound[e] = !p->is_bound[e];
	ret = p->is_bound[e] ? policy_bind(p->idx, endpoints[e])
			     : policy_unbind(p->idx, endpoints[e]);
	assert_int_equal(ret, p->is_bound[e] ? -EEXIST : -ENOENT);
}

static void change(unsigned int n)
{
	struct model_policy *p = &policies[n];
	unsigned int what = model_rnd(20);

	if (p->idx == POLICY_NONE) {
		model_policy_add(p, n);
	} else if (what == 0) {
		policy_del(p->idx);
		p->idx = POLICY_NONE;
	} else if (what == 2) {
		model_policy_fill(p);
		assert_int_equal(policy_set(p->idx, &p->cfg), 0);
	} else if (what == 1) {
		unsigned int e = model_rnd(N_ENDPOINTS), dir = model_rnd(POLICY_DIR_N);

		defaults[e][dir] = (uint8_t)model_rnd(RULE_PASS);
		assert_int_equal(policy_endpoint_default(endpoints[e], dir, defaults[e][dir]), 0);
	} else if (what < 6) {
		bind_toggle(p);
	} else {
		rule_toggle(p);
	}
}

static bool before(const struct model_policy *a, const struct model_policy *b)
{
	if (a->cfg.tier != b->cfg.tier)
		return a->cfg.tier < b->cfg.tier;
	if (a->cfg.order != b->cfg.order)
		return a->cfg.order < b->cfg.order;
	return strcmp(a->name, b->name) < 0;
}

static unsigned int sorted(unsigned int e, const struct model_policy *out[N_POLICIES])
{
	unsigned int n = 0, at;

	for (unsigned int i = 0; i < N_POLICIES; i++) {
		if (policies[i].idx == POLICY_NONE || !policies[i].is_bound[e])
			continue;
		for (at = n++; at > 0 && before(&policies[i], out[at - 1]); at--)
			out[at] = out[at - 1];
		out[at] = &policies[i];
	}
	return n;
}

static const struct model_rule *model_policy_match(const struct model_policy *p,
	enum policy_dir dir, const struct rule_packet *pkt, uint32_t *log_rule)
{
	const struct model_rule *r = NULL;

	do {
		r = model_match(sets, N_SETS, p->rules[dir], N_RULES, pkt, r);
		if (r != NULL && (r->cfg.action == RULE_LOG || r->cfg.flags != 0) &&
			*log_rule == RULE_NONE)
			*log_rule = r->idx;
	} while (r != NULL && r->cfg.action == RULE_LOG);
	return r;
}

static struct policy_verdict model_judge(
	unsigned int e, enum policy_dir dir, const struct rule_packet *pkt)
{
	static const uint8_t action[] = { [POLICY_DENY] = RULE_DENY,
		[POLICY_REJECT] = RULE_REJECT,
		[POLICY_ALLOW] = RULE_ALLOW };
	const struct model_policy *bound[N_POLICIES], *isolates = NULL;
	struct policy_verdict v = { defaults[e][dir], POLICY_NONE, RULE_NONE, RULE_NONE };
	unsigned int n = sorted(e, bound);
	int64_t passed_tier = -1;

	for (unsigned int i = 0; i < n; i++) {
		const struct model_rule *r;
		bool is_last = i + 1 == n || bound[i + 1]->cfg.tier != bound[i]->cfg.tier;

		if (passed_tier != bound[i]->cfg.tier) {
			r = model_policy_match(bound[i], dir, pkt, &v.log_rule);
			if (r != NULL && r->cfg.action != RULE_PASS)
				return (struct policy_verdict){ r->cfg.action, bound[i]->idx,
					r->idx, v.log_rule };
			if (r != NULL) {
				passed_tier = bound[i]->cfg.tier;
				isolates = NULL;
			} else if (bound[i]->cfg.def[dir] != POLICY_NEXT &&
				(isolates == NULL ||
					(isolates->cfg.def[dir] == POLICY_ALLOW &&
						bound[i]->cfg.def[dir] != POLICY_ALLOW))) {
				isolates = bound[i];
			}
		}
		if (is_last && isolates != NULL)
			return (struct policy_verdict){ action[isolates->cfg.def[dir]],
				isolates->idx, RULE_NONE, v.log_rule };
	}
	return v;
}

static void check(void)
{
	struct rule_packet pkt = model_packet(0);
	struct policy_verdict v, expected;

	for (unsigned int e = 0; e < N_ENDPOINTS; e++) {
		for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
			const struct model_policy *bound[N_POLICIES];

			expected = model_judge(e, dir, &pkt);
			policy_judge(endpoints[e], dir, &pkt, &v);
			assert_int_equal(v.action, expected.action);
			assert_int_equal(v.policy, expected.policy);
			assert_int_equal(v.rule, expected.rule);
			assert_int_equal(v.log_rule, expected.log_rule);
			assert_int_equal(policy_applies(endpoints[e], dir),
				sorted(e, bound) > 0 || defaults[e][dir] != RULE_ALLOW);
		}
	}
}

static void test_policy_random_changes_match_the_model(void **state)
{
	(void)state;
	srand(1);
	sets_fill();
	for (unsigned int i = 0; i < N_POLICIES; i++)
		policies[i].idx = POLICY_NONE;
	for (unsigned int i = 0; i < 6000; i++) {
		change(model_rnd(N_POLICIES));
		for (unsigned int k = 0; k < 4; k++)
			check();
		gen_publish();
		rcu_poll();
	}
	for (unsigned int i = 0; i < N_POLICIES; i++)
		if (policies[i].idx != POLICY_NONE)
			policy_del(policies[i].idx);
	assert_int_equal(rule_slots.n_used, 0);
	for (unsigned int i = 0; i < N_SETS; i++)
		ipset_put(sets[i].idx);
}

static uint32_t policy_of(const char *name)
{
	struct policy_config cfg = { .name = name };
	uint32_t idx;

	assert_int_equal(policy_add(&cfg, &idx), 0);
	return idx;
}

/* Bit i: endpoint i was touched since the last call. */
static unsigned int touched(void)
{
	static uint32_t epoch;
	unsigned int mask = 0;

	for (unsigned int i = 0; i < N_ENDPOINTS; i++)
		if (gen_is_newer(&endpoint_at(endpoints[i])->gen, epoch))
			mask |= 1u << i;
	gen_publish();
	epoch = gen_now();
	return mask;
}

static void test_policy_change_touches_the_bound_endpoints_only(void **state)
{
	uint32_t a = policy_of("a"), b = policy_of("b"), set = ipset_create(0), rule, policy;
	struct rule_config cfg = { .n_src = 1, .src = { set } };

	(void)state;
	touched();
	assert_int_equal(policy_bind(a, endpoints[0]), 0);
	assert_int_equal(touched(), 1 << 0);
	assert_int_equal(policy_bind(a, endpoints[1]), 0);
	assert_int_equal(touched(), 1 << 1);
	assert_int_equal(policy_bind(b, endpoints[2]), 0);
	touched();
	policy_set_changed(set);
	assert_int_equal(touched(), 0);
	assert_int_equal(policy_rule_add(a, POLICY_INGRESS, &cfg, &rule), 0);
	assert_int_equal(touched(), 3);
	policy_set_changed(set);
	assert_int_equal(touched(), 3);
	policy_rule_del(rule);
	assert_int_equal(touched(), 3);
	policy_set_changed(set);
	assert_int_equal(touched(), 0);
	assert_int_equal(policy_endpoint_default(endpoints[3], POLICY_EGRESS, RULE_DENY), 0);
	assert_int_equal(touched(), 1 << 3);
	policy_endpoint_gone(endpoints[1]);
	assert_int_equal(policy_at(a)->n_bound, 1);
	assert_false(policy_applies(endpoints[1], POLICY_INGRESS));
	touched();
	assert_int_equal(policy_bound(endpoints[2], &policy, 1), 1);
	assert_int_equal(policy, b);
	policy_del(a);
	assert_int_equal(touched(), 1 << 0);
	policy_del(b);
	assert_int_equal(touched(), 1 << 2);
	assert_int_equal(policy_endpoint_default(endpoints[3], POLICY_EGRESS, RULE_ALLOW), 0);
	for (unsigned int i = 0; i < N_ENDPOINTS; i++)
		assert_int_equal(policy_bound(endpoints[i], NULL, 0), 0);
	ipset_put(set);
	assert_int_equal(ipset_is_in_zone(set, 0), false);
}

static void test_policy_errors_change_nothing(void **state)
{
	struct policy_config cfg = { .name = "a" };
	uint32_t a = policy_of("a"), idx, max = policy_slots.max, n_free = policy_slots.n_free;
	struct rule_config rule = { .action = RULE_SNAT };

	(void)state;
	assert_int_equal(policy_add(&cfg, &idx), -EEXIST);
	policy_slots.max = policy_slots.n_touched;
	policy_slots.n_free = 0;
	cfg.name = "b";
	assert_int_equal(policy_add(&cfg, &idx), -ENOSPC);
	policy_slots.max = max;
	policy_slots.n_free = n_free;
	assert_int_equal(policy_by_name("b"), POLICY_NONE);
	assert_int_equal(policy_by_name("a"), a);
	assert_int_equal(policy_rule_add(a, POLICY_EGRESS, &rule, &idx), -EINVAL);
	assert_int_equal(rulelist_n_rules(policy_at(a)->list[POLICY_EGRESS]), 0);
	assert_int_equal(policy_unbind(a, endpoints[0]), -ENOENT);
	assert_int_equal(policy_endpoint_default(endpoints[0], POLICY_EGRESS, RULE_PASS), -EINVAL);
	assert_int_equal(policy_next(0), a);
	policy_del(a);
	assert_int_equal(policy_next(0), POLICY_NONE);
	assert_int_equal(policy_by_name("a"), POLICY_NONE);
}

/* Endpoints without paths and names: policies look at zone and gen only. */
static int setup(void **state)
{
	(void)state;
	if (rcu_init() != 0 ||
		slots_init(&endpoint_slots, sizeof(struct endpoint), ENDPOINT_TABLE_MAX) != 0 ||
		ipset_table_init() != 0 || classifier_init() != 0 || policy_table_init() != 0)
		return -1;
	for (unsigned int i = 0; i < N_ENDPOINTS; i++)
		endpoints[i] = slots_alloc(&endpoint_slots);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	policy_table_fini();
	classifier_fini();
	ipset_table_fini();
	slots_fini(&endpoint_slots);
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_change_touches_the_bound_endpoints_only),
		cmocka_unit_test(test_policy_errors_change_nothing),
		cmocka_unit_test(test_policy_random_changes_match_the_model),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
