/* SPDX-License-Identifier: BSD-3-Clause */
/* rule.add, rule.del, rule.list, snat.add, snat.del, snat.list */
#include <errno.h>
#include <stdio.h>

#include "control/api/rule_config.h"
#include "control/state.h"
#include "control/usage.h"
#include "datapath/table/snat.h"

/* Where a rule goes. */
struct target {
	uint32_t owner; /* as rule_name_key */
	uint16_t zone;
	const char *what;
};

static int table_add(const struct target *to, const struct req_rule *req,
	const struct rule_config *cfg, uint32_t *out_rule)
{
	uint32_t list;

	if ((to->owner & RULE_OWNER_ZONE) == 0)
		return policy_rule_add(to->owner, (enum policy_dir)req->direction, cfg, out_rule);
	list = snat_list_get(to->zone);
	return list != RULELIST_NONE ? rule_add(list, cfg, out_rule) : -ENOSPC;
}

static void add_failed(struct call *call, int rc)
{
	if (rc == -E2BIG)
		call_fail(call, LEAT_ERR_LIMIT, NULL,
			"the rule has more than %u combinations of sources, destinations and ports",
			RULE_ENTRIES_MAX);
	else
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no room for another rule");
}

static void add(struct call *call, const struct target *to, uint8_t action, uint32_t pool)
{
	const struct req_rule *req = call_req(call);
	struct rule_config cfg;
	struct rule_name *name;
	uint32_t idx;
	int rc;

	if (!api_add_may_go_on(call, rule_name_find(to->owner, req->name) != SLOT_NONE,
		    req->exist_ok, to->what, req->name))
		return;
	idx = rule_name_create(to->owner, req->name);
	if (idx == SLOT_NONE) {
		add_failed(call, -ENOSPC);
		return;
	}
	name = rule_name_at(idx);
	if (!rule_config_init(call, req, to->zone, &cfg, name)) {
		rule_name_destroy(idx);
		rule_config_fini(&cfg);
		return;
	}
	cfg.action = action;
	cfg.arg = pool;
	cfg.age = call->place;
	rc = table_add(to, req, &cfg, &name->rule);
	rule_config_fini(&cfg);
	if (rc < 0) {
		name->rule = RULE_NONE;
		rule_name_destroy(idx);
		add_failed(call, rc);
		return;
	}
	name->dir = (uint8_t)req->direction;
	name->pool = pool;
	if (pool != SLOT_NONE)
		snat_pool_at(pool)->n_rules++;
	rule_groups_count(name, 1);
	rule_name_enter(idx);
	call_ok(call, NULL);
}

static void del(struct call *call, const struct target *to)
{
	const struct req_rule *req = call_req(call);
	uint32_t idx = rule_name_find(to->owner, req->name);
	struct rule_name *name;

	if (idx == SLOT_NONE) {
		if (api_del_missing(call, req->missing_ok, to->what, req->name))
			call_ok(call, NULL);
		return;
	}
	name = rule_name_at(idx);
	call->place = rule_at(name->rule)->age;
	if ((to->owner & RULE_OWNER_ZONE) == 0)
		policy_rule_del(name->rule);
	else
		rule_del(name->rule);
	if (name->pool != SLOT_NONE)
		snat_pool_at(name->pool)->n_rules--;
	rule_groups_count(name, -1);
	rule_name_destroy(idx);
	call_ok(call, NULL);
}

static bool policy_target(struct call *call, const char *policy, struct target *out)
{
	uint32_t idx = policy_by_name(policy);

	if (idx == POLICY_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "policy", "there is no policy %s", policy);
		return false;
	}
	*out = (struct target){ .owner = idx, .zone = policy_at(idx)->zone, .what = "rule" };
	return true;
}

static struct target zone_target(int64_t zone)
{
	return (struct target){ .owner = RULE_OWNER_ZONE | (uint32_t)zone,
		.zone = (uint16_t)zone,
		.what = "snat rule" };
}

static void handle_rule_add(struct call *call)
{
	static const uint8_t actions[] = { RULE_ALLOW, RULE_DENY, RULE_REJECT, RULE_PASS,
		RULE_LOG };
	const struct req_rule *req = call_req(call);
	struct target to;

	if (policy_target(call, req->policy, &to))
		add(call, &to, actions[req->action], SLOT_NONE);
}

static void handle_rule_del(struct call *call)
{
	const struct req_rule *req = call_req(call);
	struct target to;

	if (policy_target(call, req->policy, &to))
		del(call, &to);
}

static void handle_snat_add(struct call *call)
{
	const struct req_rule *req = call_req(call);
	const struct target to = zone_target(req->zone);
	bool is_none = req->action == 1;
	uint32_t pool = SLOT_NONE;

	if (is_none && req->pool != NULL) {
		call_fail(call, LEAT_ERR_PARAMS, "pool", "a rule of action none has no pool");
		return;
	}
	if (!is_none) {
		pool = req->pool != NULL ? snat_pool_by_name(req->pool) : SNAT_POOL_NODE;
		if (pool == SNAT_POOL_NONE) {
			call_fail(
				call, LEAT_ERR_NOT_FOUND, "pool", "there is no pool %s", req->pool);
			return;
		}
	}
	add(call, &to, is_none ? RULE_NO_SNAT : RULE_SNAT, pool);
}

static void handle_snat_del(struct call *call)
{
	const struct req_rule *req = call_req(call);
	const struct target to = zone_target(req->zone);

	del(call, &to);
}

/* The rule as it was configured, from the store, and what it did. */
static cJSON *rule_json(const struct rule_name *name)
{
	bool is_snat = (name->key.owner & RULE_OWNER_ZONE) != 0;
	struct usage usage = usage_of_rule(name->rule);
	const struct store_item *item;
	char key[STORE_KEY_MAX];
	cJSON *out;

	if (is_snat)
		snprintf(key, sizeof(key), "snat %s %u", name->key.name,
			name->key.owner & ~RULE_OWNER_ZONE);
	else
		snprintf(key, sizeof(key), "rule %s %s", policy_at(name->key.owner)->name,
			name->key.name);
	item = store_find(state_store(), key);
	out = item != NULL ? cJSON_Parse(item->params) : NULL;
	if (out == NULL) {
		out = cJSON_CreateObject();
		cJSON_AddStringToObject(out, "name", name->key.name);
	}
	cJSON_AddNumberToObject(out, "connections", (double)usage.n_conns);
	cJSON_AddNumberToObject(out, "packets", (double)usage.pkts);
	cJSON_AddNumberToObject(out, "bytes", (double)usage.bytes);
	return out;
}

/* Rules whose owner is `owner` under `mask`. A page may hold less than its limit: the next one goes on. */
static void list(struct call *call, uint32_t owner, uint32_t mask)
{
	const struct req_rule_list *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < RULE_MAX ? rule_name_next((uint32_t)from) : SLOT_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != SLOT_NONE && page.left > 0; idx = rule_name_next(idx + 1))
		if ((rule_name_at(idx)->key.owner & mask) == owner)
			api_page_add(&page, rule_json(rule_name_at(idx)));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != SLOT_NONE ? cursor : NULL);
}

static void handle_rule_list(struct call *call)
{
	const struct req_rule_list *req = call_req(call);
	struct target to;

	if (req->policy == NULL)
		list(call, 0, RULE_OWNER_ZONE);
	else if (policy_target(call, req->policy, &to))
		list(call, to.owner, UINT32_MAX);
}

static void handle_snat_list(struct call *call)
{
	const struct req_rule_list *req = call_req(call);

	list(call, zone_target(req->zone).owner, UINT32_MAX);
}

const struct api_handler api_rule[] = {
	{ "rule.add", handle_rule_add },
	{ "rule.del", handle_rule_del },
	{ "rule.list", handle_rule_list },
	{ "snat.add", handle_snat_add },
	{ "snat.del", handle_snat_del },
	{ "snat.list", handle_snat_list },
	API_HANDLERS_END,
};
