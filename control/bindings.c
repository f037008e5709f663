/* SPDX-License-Identifier: BSD-3-Clause */
/* Which policies are bound to an endpoint, by its id: also to one that is not there yet, so that a pod's first packet meets them. */
#include "control/bindings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "control/names.h"

struct bound {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	char id[ENDPOINT_ID_LEN];
	uint32_t *policies;
	uint32_t n, size;
	bool has_default;
	uint8_t def[POLICY_DIR_N]; /* enum rule_action */
};

static struct slots bounds;
static struct chainmap by_id;

int bindings_init(void)
{
	if (slots_init(&bounds, sizeof(struct bound), ENDPOINT_TABLE_MAX) < 0)
		return -ENOMEM;
	return chainmap_init(&by_id, &bounds, offsetof(struct bound, link),
		offsetof(struct bound, id), ENDPOINT_ID_LEN);
}

static struct bound *bound_at(uint32_t idx)
{
	return slots_at(&bounds, idx);
}

void bindings_fini(void)
{
	for (uint32_t i = slots_next(&bounds, 0); i != SLOT_NONE; i = slots_next(&bounds, i + 1))
		free(bound_at(i)->policies);
	chainmap_fini(&by_id);
	slots_fini(&bounds);
}

static uint32_t find(const char *endpoint)
{
	char key[ENDPOINT_ID_LEN] = "";

	strlcpy(key, endpoint, sizeof(key));
	return chainmap_find(&by_id, key);
}

static struct bound *get(const char *endpoint)
{
	uint32_t idx = find(endpoint);

	if (idx != SLOT_NONE)
		return bound_at(idx);
	idx = slots_alloc(&bounds);
	if (idx == SLOT_NONE)
		return NULL;
	strlcpy(bound_at(idx)->id, endpoint, ENDPOINT_ID_LEN);
	chainmap_insert(&by_id, idx);
	return bound_at(idx);
}

static void put(const char *endpoint)
{
	uint32_t idx = find(endpoint);

	if (idx == SLOT_NONE || bound_at(idx)->n > 0 || bound_at(idx)->has_default)
		return;
	chainmap_remove(&by_id, idx);
	free(bound_at(idx)->policies);
	bound_at(idx)->policies = NULL;
	slots_free(&bounds, idx);
}

static uint32_t position(const struct bound *b, uint32_t policy)
{
	uint32_t i = 0;

	while (i < b->n && b->policies[i] != policy)
		i++;
	return i;
}

static int append(struct bound *b, uint32_t policy)
{
	if (b->n == b->size) {
		uint32_t size = b->size != 0 ? 2 * b->size : 4;
		uint32_t *grown = reallocarray(b->policies, size, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		b->policies = grown;
		b->size = size;
	}
	b->policies[b->n++] = policy;
	return 0;
}

int binding_add(const char *endpoint, uint32_t policy)
{
	uint32_t ep = endpoint_by_id(endpoint);
	struct bound *b = get(endpoint);
	int rc;

	if (b == NULL)
		return -ENOMEM;
	if (position(b, policy) < b->n)
		return -EEXIST;
	rc = append(b, policy);
	if (rc == 0 && ep != ENDPOINT_NONE) {
		rc = policy_bind(policy, ep);
		if (rc < 0)
			b->n--;
	}
	if (rc < 0)
		put(endpoint);
	return rc;
}

int binding_del(const char *endpoint, uint32_t policy)
{
	uint32_t idx = find(endpoint), ep = endpoint_by_id(endpoint), at;
	struct bound *b;

	if (idx == SLOT_NONE)
		return -ENOENT;
	b = bound_at(idx);
	at = position(b, policy);
	if (at == b->n)
		return -ENOENT;
	b->policies[at] = b->policies[--b->n];
	if (ep != ENDPOINT_NONE)
		policy_unbind(policy, ep);
	put(endpoint);
	return 0;
}

unsigned int binding_count(uint32_t policy)
{
	unsigned int n = 0;

	for (uint32_t i = slots_next(&bounds, 0); i != SLOT_NONE; i = slots_next(&bounds, i + 1))
		n += position(bound_at(i), policy) < bound_at(i)->n;
	return n;
}

void binding_foreach(uint32_t policy, void (*fn)(void *arg, const char *endpoint), void *arg)
{
	for (uint32_t i = slots_next(&bounds, 0); i != SLOT_NONE; i = slots_next(&bounds, i + 1))
		if (position(bound_at(i), policy) < bound_at(i)->n)
			fn(arg, bound_at(i)->id);
}

static void defaults_apply(const struct bound *b, uint32_t ep)
{
	for (unsigned int d = 0; d < POLICY_DIR_N; d++)
		policy_endpoint_default(ep, (enum policy_dir)d,
			b->has_default ? (enum rule_action)b->def[d] : RULE_ALLOW);
}

int binding_default_set(const char *endpoint, enum rule_action ingress, enum rule_action egress)
{
	uint32_t ep = endpoint_by_id(endpoint);
	struct bound *b = get(endpoint);

	if (b == NULL)
		return -ENOMEM;
	b->has_default = true;
	b->def[POLICY_INGRESS] = (uint8_t)ingress;
	b->def[POLICY_EGRESS] = (uint8_t)egress;
	if (ep != ENDPOINT_NONE)
		defaults_apply(b, ep);
	return 0;
}

bool binding_default_del(const char *endpoint)
{
	uint32_t idx = find(endpoint), ep = endpoint_by_id(endpoint);

	if (idx == SLOT_NONE || !bound_at(idx)->has_default)
		return false;
	bound_at(idx)->has_default = false;
	if (ep != ENDPOINT_NONE)
		defaults_apply(bound_at(idx), ep);
	put(endpoint);
	return true;
}

void binding_endpoint_added(uint32_t endpoint)
{
	uint32_t idx = find(endpoint_at(endpoint)->id);

	if (idx == SLOT_NONE)
		return;
	for (uint32_t i = 0; i < bound_at(idx)->n; i++)
		if (policy_at(bound_at(idx)->policies[i])->zone == endpoint_at(endpoint)->zone)
			policy_bind(bound_at(idx)->policies[i], endpoint);
	if (bound_at(idx)->has_default)
		defaults_apply(bound_at(idx), endpoint);
}
