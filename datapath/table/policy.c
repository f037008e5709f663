/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's half of policy.h: policies, and the chain of each endpoint and direction. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/rcu.h"
#include "datapath/table/chainmap.h"
#include "datapath/table/policy_node.h"

#define BINDING_MAX (1u << 21)

/* A policy on an endpoint. */
struct binding {
	_Atomic uint32_t gen;
	uint32_t policy, endpoint;
	uint32_t next, prev; /* of the policy */
};

struct policy_chain *_Atomic policy_chains[POLICY_DIR_N][ENDPOINT_TABLE_MAX];
struct slots policy_slots;
static struct slots binding_slots;
static struct chainmap by_name;
static uint32_t list_owner[RULELIST_MAX]; /* policy + 1; 0: no policy's list */

static struct binding *binding_at(uint32_t idx)
{
	return slots_at(&binding_slots, idx);
}

int policy_table_init(void)
{
	if (slots_init(&policy_slots, sizeof(struct policy), POLICY_TABLE_MAX) == 0 &&
		slots_init(&binding_slots, sizeof(struct binding), BINDING_MAX) == 0 &&
		chainmap_init(&by_name, &policy_slots, offsetof(struct policy, link),
			offsetof(struct policy, name), POLICY_NAME_LEN) == 0)
		return 0;
	policy_table_fini();
	return -ENOMEM;
}

void policy_table_fini(void)
{
	for (uint32_t i = policy_next(0); i != POLICY_NONE; i = policy_next(i + 1))
		policy_del(i);
	rcu_synchronize();
	/* what only has a default */
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
		for (uint32_t i = 0; i < ENDPOINT_TABLE_MAX; i++) {
			free(policy_chains[dir][i]);
			policy_chains[dir][i] = NULL;
		}
	}
	chainmap_fini(&by_name);
	slots_fini(&binding_slots);
	slots_fini(&policy_slots);
}

static void endpoint_touch(uint32_t endpoint)
{
	gen_touch(&endpoint_at(endpoint)->gen);
}

/* The policy and the endpoints that it is bound to. */
static void policy_touch(uint32_t idx)
{
	struct policy *policy = policy_at(idx);

	gen_touch(&policy->gen);
	for (uint32_t b = policy->first_binding; b != SLOT_NONE; b = binding_at(b)->next)
		endpoint_touch(binding_at(b)->endpoint);
}

/* Policies */

uint32_t policy_by_name(const char *name)
{
	char key[POLICY_NAME_LEN] = { 0 };

	memcpy(key, name, strnlen(name, POLICY_NAME_LEN - 1));
	return chainmap_find(&by_name, key);
}

uint32_t policy_next(uint32_t idx)
{
	return slots_next(&policy_slots, idx);
}

static void lists_destroy(struct policy *policy)
{
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
		if (policy->list[dir] == RULELIST_NONE)
			continue;
		list_owner[policy->list[dir]] = 0;
		rulelist_destroy(policy->list[dir]);
	}
}

static void policy_fill(struct policy *policy, const struct policy_config *cfg)
{
	policy->tier = cfg->tier;
	policy->order = cfg->order;
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		policy->def[dir] = (uint8_t)cfg->def[dir];
}

int policy_add(const struct policy_config *cfg, uint32_t *out_idx)
{
	struct policy *policy;
	uint32_t idx;

	if (policy_by_name(cfg->name) != POLICY_NONE)
		return -EEXIST;
	idx = slots_alloc(&policy_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	policy = policy_at(idx);
	policy->zone = cfg->zone;
	policy_fill(policy, cfg);
	policy->first_binding = SLOT_NONE;
	memcpy(policy->name, cfg->name, strnlen(cfg->name, POLICY_NAME_LEN - 1));
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		policy->list[dir] = rulelist_create(cfg->zone);
	if (policy->list[POLICY_EGRESS] == RULELIST_NONE ||
		policy->list[POLICY_INGRESS] == RULELIST_NONE) {
		lists_destroy(policy);
		slots_free(&policy_slots, idx);
		return -ENOSPC;
	}
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		list_owner[policy->list[dir]] = idx + 1;
	chainmap_insert(&by_name, idx);
	*out_idx = idx;
	return 0;
}

static void binding_del(uint32_t idx);

void policy_del(uint32_t idx)
{
	struct policy *policy = policy_at(idx);

	while (policy->first_binding != SLOT_NONE)
		binding_del(policy->first_binding);
	lists_destroy(policy);
	chainmap_remove(&by_name, idx);
	slots_free(&policy_slots, idx);
}

int policy_rule_add(
	uint32_t policy, enum policy_dir dir, const struct rule_config *cfg, uint32_t *out_rule)
{
	int ret = cfg->action <= RULE_LOG ? rule_add(policy_at(policy)->list[dir], cfg, out_rule)
					  : -EINVAL;

	if (ret == 0)
		policy_touch(policy);
	return ret;
}

void policy_rule_del(uint32_t rule)
{
	uint32_t policy = list_owner[rule_at(rule)->list] - 1;

	rule_del(rule);
	policy_touch(policy);
}

static void list_touch(void *arg, uint32_t list)
{
	(void)arg;
	if (list_owner[list] != 0)
		policy_touch(list_owner[list] - 1);
}

void policy_set_changed(uint32_t set)
{
	rulelist_foreach_of_set(set, list_touch, NULL);
}

/* Chains */

static int policy_cmp(const struct policy *a, const struct policy *b)
{
	if (a->tier != b->tier)
		return a->tier < b->tier ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return strcmp(a->name, b->name);
}

static void chain_publish(enum policy_dir dir, uint32_t endpoint, struct policy_chain *chain)
{
	struct policy_chain *old = policy_chains[dir][endpoint];

	rcu_assign(policy_chains[dir][endpoint], chain);
	if (old != NULL)
		rcu_defer(free, old);
}

/* A copy of what is bound to the endpoint now, with room for one more. NULL without memory. */
static struct policy_chain *chain_copy(enum policy_dir dir, uint32_t endpoint)
{
	const struct policy_chain *old = policy_chains[dir][endpoint];
	uint32_t n = old != NULL ? old->n : 0;
	struct policy_chain *chain = malloc(sizeof(*chain) + (n + 1) * sizeof(chain->bound[0]));

	if (chain == NULL)
		return NULL;
	chain->action = old != NULL ? old->action : RULE_ALLOW;
	chain->n = 0;
	for (uint32_t i = 0; i < n; i++)
		if (old->bound[i].list != RULELIST_NONE)
			chain->bound[chain->n++] = old->bound[i];
	return chain;
}

static void chain_insert(struct policy_chain *chain, enum policy_dir dir, uint32_t binding)
{
	uint32_t idx = binding_at(binding)->policy, at = chain->n++;
	const struct policy *policy = policy_at(idx);

	for (; at > 0 && policy_cmp(policy, policy_at(chain->bound[at - 1].policy)) < 0; at--)
		chain->bound[at] = chain->bound[at - 1];
	chain->bound[at] = (struct policy_bound){ .tier = policy->tier,
		.policy = idx,
		.list = policy->list[dir],
		.binding = binding,
		.def = policy->def[dir] };
}

static void chain_remove(struct policy_chain *chain, uint32_t policy)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < chain->n; i++)
		if (chain->bound[i].policy != policy)
			chain->bound[n++] = chain->bound[i];
	chain->n = n;
}

/* Without memory for a new chain the old one keeps a gap. */
static void chain_del(enum policy_dir dir, uint32_t endpoint, uint32_t policy)
{
	struct policy_chain *chain = policy_chains[dir][endpoint];

	for (uint32_t i = 0; i < chain->n; i++)
		if (chain->bound[i].policy == policy)
			/* release: pairs with the acquire in policy_match() */
			atomic_store_explicit(
				&chain->bound[i].list, RULELIST_NONE, memory_order_release);
	chain = chain_copy(dir, endpoint);
	if (chain == NULL)
		return;
	if (chain->n == 0 && chain->action == RULE_ALLOW) {
		free(chain);
		chain = NULL;
	}
	chain_publish(dir, endpoint, chain);
}

/* The binding of the policy to the endpoint, or SLOT_NONE. */
static uint32_t binding_find(uint32_t policy, uint32_t endpoint)
{
	const struct policy_chain *chain = policy_chains[POLICY_EGRESS][endpoint];

	for (uint32_t i = 0; chain != NULL && i < chain->n; i++)
		if (chain->bound[i].policy == policy && chain->bound[i].list != RULELIST_NONE)
			return chain->bound[i].binding;
	return SLOT_NONE;
}

static void binding_link(uint32_t idx)
{
	struct binding *b = binding_at(idx);
	struct policy *policy = policy_at(b->policy);

	b->prev = SLOT_NONE;
	b->next = policy->first_binding;
	if (b->next != SLOT_NONE)
		binding_at(b->next)->prev = idx;
	policy->first_binding = idx;
	policy->n_bound++;
}

static void binding_unlink(uint32_t idx)
{
	const struct binding *b = binding_at(idx);
	struct policy *policy = policy_at(b->policy);

	if (b->next != SLOT_NONE)
		binding_at(b->next)->prev = b->prev;
	if (b->prev != SLOT_NONE)
		binding_at(b->prev)->next = b->next;
	else
		policy->first_binding = b->next;
	policy->n_bound--;
}

static void binding_del(uint32_t idx)
{
	const struct binding *b = binding_at(idx);

	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		chain_del(dir, b->endpoint, b->policy);
	endpoint_touch(b->endpoint);
	binding_unlink(idx);
	slots_free(&binding_slots, idx);
}

int policy_set(uint32_t idx, const struct policy_config *cfg)
{
	struct policy *policy = policy_at(idx);
	size_t n = 0, n_chains = (size_t)policy->n_bound * POLICY_DIR_N;
	struct policy_chain **chains;

	if (policy->zone != cfg->zone)
		return -EBUSY;
	chains = calloc(n_chains + 1, sizeof(*chains));
	if (chains == NULL)
		return -ENOMEM;
	for (uint32_t b = policy->first_binding; b != SLOT_NONE; b = binding_at(b)->next)
		for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
			chains[n] = chain_copy(dir, binding_at(b)->endpoint);
			if (chains[n++] == NULL)
				goto err_chains;
		}
	policy_fill(policy, cfg);
	n = 0;
	for (uint32_t b = policy->first_binding; b != SLOT_NONE; b = binding_at(b)->next)
		for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
			chain_remove(chains[n], idx);
			chain_insert(chains[n], dir, b);
			chain_publish(dir, binding_at(b)->endpoint, chains[n++]);
		}
	free(chains);
	policy_touch(idx);
	return 0;

err_chains:
	while (n > 0)
		free(chains[--n]);
	free(chains);
	return -ENOMEM;
}

int policy_bind(uint32_t policy, uint32_t endpoint)
{
	struct policy_chain *chain[POLICY_DIR_N];
	uint32_t idx;

	assert(policy_at(policy)->zone == endpoint_at(endpoint)->zone);
	if (binding_find(policy, endpoint) != SLOT_NONE)
		return -EEXIST;
	idx = slots_alloc(&binding_slots);
	if (idx == SLOT_NONE)
		return -ENOMEM;
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		chain[dir] = chain_copy(dir, endpoint);
	if (chain[POLICY_EGRESS] == NULL || chain[POLICY_INGRESS] == NULL)
		goto err_chains;
	binding_at(idx)->policy = policy;
	binding_at(idx)->endpoint = endpoint;
	binding_link(idx);
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++) {
		chain_insert(chain[dir], dir, idx);
		chain_publish(dir, endpoint, chain[dir]);
	}
	endpoint_touch(endpoint);
	return 0;

err_chains:
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		free(chain[dir]);
	slots_free(&binding_slots, idx);
	return -ENOMEM;
}

int policy_unbind(uint32_t policy, uint32_t endpoint)
{
	uint32_t binding = binding_find(policy, endpoint);

	if (binding == SLOT_NONE)
		return -ENOENT;
	binding_del(binding);
	return 0;
}

void policy_endpoint_gone(uint32_t endpoint)
{
	const struct policy_chain *chain = policy_chains[POLICY_EGRESS][endpoint];

	for (uint32_t i = 0; chain != NULL && i < chain->n; i++) {
		if (chain->bound[i].list == RULELIST_NONE)
			continue;
		binding_unlink(chain->bound[i].binding);
		slots_free(&binding_slots, chain->bound[i].binding);
	}
	for (unsigned int dir = 0; dir < POLICY_DIR_N; dir++)
		if (policy_chains[dir][endpoint] != NULL)
			chain_publish(dir, endpoint, NULL);
}

unsigned int policy_bound(uint32_t endpoint, uint32_t *out_policies, unsigned int max)
{
	const struct policy_chain *chain = policy_chains[POLICY_EGRESS][endpoint];
	unsigned int n = 0;

	for (uint32_t i = 0; chain != NULL && i < chain->n; i++) {
		if (chain->bound[i].list == RULELIST_NONE)
			continue;
		if (n < max)
			out_policies[n] = chain->bound[i].policy;
		n++;
	}
	return n;
}

int policy_endpoint_default(uint32_t endpoint, enum policy_dir dir, enum rule_action action)
{
	struct policy_chain *chain;

	if (action != RULE_ALLOW && action != RULE_DENY && action != RULE_REJECT)
		return -EINVAL;
	chain = chain_copy(dir, endpoint);
	if (chain == NULL)
		return -ENOMEM;
	chain->action = (uint8_t)action;
	if (chain->n == 0 && action == RULE_ALLOW) {
		free(chain);
		chain = NULL;
	}
	chain_publish(dir, endpoint, chain);
	endpoint_touch(endpoint);
	return 0;
}
