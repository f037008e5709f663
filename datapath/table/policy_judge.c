/* SPDX-License-Identifier: BSD-3-Clause */
/* The readers' half of policy.h. */
#include "datapath/base/rcu.h"
#include "datapath/table/policy_node.h"

bool policy_applies(uint32_t endpoint, enum policy_dir dir)
{
	return atomic_load_explicit(&policy_chains[dir][endpoint], memory_order_relaxed) != NULL;
}

static uint8_t default_action(enum policy_default def)
{
	return def == POLICY_ALLOW ? RULE_ALLOW : def == POLICY_REJECT ? RULE_REJECT : RULE_DENY;
}

/* The deciding or passing rule of one policy, RULE_NONE if there is none. */
static uint32_t policy_match(
	const struct policy_bound *bound, struct rule_query *query, struct policy_verdict *out)
{
	/* acquire: pairs with the release in chain_del() */
	uint32_t list = atomic_load_explicit(&bound->list, memory_order_acquire);
	uint32_t rule = RULE_NONE;

	if (list == RULELIST_NONE)
		return RULE_NONE;
	while ((rule = rulelist_match(list, query, rule)) != RULE_NONE) {
		const struct rule *r = rule_at(rule);

		if (out->log_rule == RULE_NONE &&
			(r->action == RULE_LOG || (r->flags & RULE_F_LOG) != 0))
			out->log_rule = rule;
		if (r->action != RULE_LOG)
			break;
	}
	return rule;
}

/* The policies of one tier, from *i on; moves *i behind them. Whether the verdict is out. */
static bool tier_judge(const struct policy_chain *chain, uint32_t *i, struct rule_query *query,
	struct policy_verdict *out)
{
	uint32_t tier = chain->bound[*i].tier;
	const struct policy_bound *isolates = NULL;
	bool has_passed = false;

	for (; *i < chain->n && chain->bound[*i].tier == tier; (*i)++) {
		const struct policy_bound *bound = &chain->bound[*i];
		uint32_t rule;

		if (has_passed ||
			atomic_load_explicit(&bound->list, memory_order_relaxed) == RULELIST_NONE)
			continue;
		rule = policy_match(bound, query, out);
		if (rule != RULE_NONE && rule_at(rule)->action != RULE_PASS) {
			out->action = rule_at(rule)->action;
			out->policy = bound->policy;
			out->rule = rule;
			return true;
		}
		has_passed = rule != RULE_NONE;
		if (bound->def != POLICY_NEXT &&
			(isolates == NULL ||
				(isolates->def == POLICY_ALLOW && bound->def != POLICY_ALLOW)))
			isolates = bound;
	}
	if (has_passed || isolates == NULL)
		return false;
	out->action = default_action(isolates->def);
	out->policy = isolates->policy;
	return true;
}

void policy_judge(uint32_t endpoint, enum policy_dir dir, const struct rule_packet *pkt,
	struct policy_verdict *out)
{
	const struct policy_chain *chain = rcu_deref(policy_chains[dir][endpoint]);
	struct rule_query query;
	uint32_t i = 0;

	*out = (struct policy_verdict){ .action = RULE_ALLOW,
		.policy = POLICY_NONE,
		.rule = RULE_NONE,
		.log_rule = RULE_NONE };
	if (chain == NULL)
		return;
	rule_query_init(&query, pkt);
	while (i < chain->n)
		if (tier_judge(chain, &i, &query, out))
			return;
	out->action = chain->action;
}
