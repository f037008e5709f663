/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "control/bindings.h"
#include "datapath/table/ipset.h"

static struct slots groups, rule_names;
static struct chainmap groups_by_name, rules_by_name;
static struct slots
	rule_owners; /* by rule index: index + 1 of its name, behind a generation word */

struct rule_owner {
	_Atomic uint32_t gen;
	uint32_t name;
};

int names_init(void)
{
	if (slots_init(&groups, sizeof(struct group), IPSET_MAX) < 0 ||
		slots_init(&rule_names, sizeof(struct rule_name), RULE_MAX) < 0 ||
		slots_init(&rule_owners, sizeof(struct rule_owner), RULE_MAX) < 0 ||
		chainmap_init(&groups_by_name, &groups, offsetof(struct group, link),
			offsetof(struct group, name), NAMES_LEN) < 0 ||
		chainmap_init(&rules_by_name, &rule_names, offsetof(struct rule_name, link),
			offsetof(struct rule_name, key), sizeof(struct rule_name_key)) < 0 ||
		bindings_init() < 0) {
		names_fini();
		return -ENOMEM;
	}
	return 0;
}

void names_fini(void)
{
	bindings_fini();
	chainmap_fini(&rules_by_name);
	chainmap_fini(&groups_by_name);
	slots_fini(&rule_owners);
	slots_fini(&rule_names);
	slots_fini(&groups);
}

struct group *group_at(uint32_t idx)
{
	return slots_at(&groups, idx);
}

uint32_t group_next(uint32_t idx)
{
	return slots_next(&groups, idx);
}

uint32_t group_by_name(const char *name)
{
	char key[NAMES_LEN] = "";

	strlcpy(key, name, sizeof(key));
	return chainmap_find(&groups_by_name, key);
}

uint32_t group_create(const char *name, uint16_t zone)
{
	uint32_t idx = slots_alloc(&groups);
	struct group *g;

	if (idx == SLOT_NONE)
		return SLOT_NONE;
	g = group_at(idx);
	strlcpy(g->name, name, sizeof(g->name));
	g->zone = zone;
	g->set = ipset_create(zone);
	if (g->set == IPSET_NONE) {
		slots_free(&groups, idx);
		return SLOT_NONE;
	}
	chainmap_insert(&groups_by_name, idx);
	return idx;
}

void group_destroy(uint32_t idx)
{
	chainmap_remove(&groups_by_name, idx);
	ipset_put(group_at(idx)->set);
	slots_free(&groups, idx);
}

struct rule_name *rule_name_at(uint32_t idx)
{
	return slots_at(&rule_names, idx);
}

uint32_t rule_name_next(uint32_t idx)
{
	return slots_next(&rule_names, idx);
}

uint32_t rule_name_find(uint32_t owner, const char *name)
{
	struct rule_name_key key = { .owner = owner };

	strlcpy(key.name, name, sizeof(key.name));
	return chainmap_find(&rules_by_name, &key);
}

uint32_t rule_name_create(uint32_t owner, const char *name)
{
	uint32_t idx = slots_alloc(&rule_names);

	if (idx == SLOT_NONE)
		return SLOT_NONE;
	rule_name_at(idx)->key.owner = owner;
	strlcpy(rule_name_at(idx)->key.name, name, sizeof(rule_name_at(idx)->key.name));
	rule_name_at(idx)->rule = RULE_NONE;
	rule_name_at(idx)->pool = SLOT_NONE;
	return idx;
}

static struct rule_owner *owner_at(uint32_t rule)
{
	return slots_at(&rule_owners, rule);
}

void rule_name_enter(uint32_t idx)
{
	chainmap_insert(&rules_by_name, idx);
	owner_at(rule_name_at(idx)->rule)->name = idx + 1;
}

void rule_name_destroy(uint32_t idx)
{
	if (rule_name_at(idx)->rule != RULE_NONE) {
		chainmap_remove(&rules_by_name, idx);
		owner_at(rule_name_at(idx)->rule)->name = 0;
	}
	slots_free(&rule_names, idx);
}

const struct rule_name *rule_name_of(uint32_t rule)
{
	uint32_t name = rule != RULE_NONE ? owner_at(rule)->name : 0;

	return name != 0 ? rule_name_at(name - 1) : NULL;
}

const char *rule_name_text(uint32_t rule, char *buf, size_t size)
{
	const struct rule_name *name = rule_name_of(rule);

	if (name == NULL)
		snprintf(buf, size, "default");
	else
		snprintf(buf, size, "%s/%s",
			(name->key.owner & RULE_OWNER_ZONE) != 0 ? "snat"
								 : policy_at(name->key.owner)->name,
			name->key.name);
	return buf;
}
