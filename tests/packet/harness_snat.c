/* SPDX-License-Identifier: BSD-3-Clause */
/* Source NAT by commands, named and shaped as the control API's methods, straight onto the tables. */
#include <string.h>

#include "datapath/table/snat.h"
#include "tests/packet/harness_rule.h"

static struct harness_names rules;

void harness_snat_reset(void)
{
	rules.n = 0;
}

static const char *pool_add(const cJSON *params, cJSON *result)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, "addresses");
	struct ip_addr addrs[SNAT_POOL_ADDRS_MAX];
	unsigned int n = 0;
	uint32_t idx;

	(void)result;
	cJSON_ArrayForEach(item, list)
		if (n == SNAT_POOL_ADDRS_MAX || ip_parse(item->valuestring, &addrs[n++]) < 0)
			return "addresses";
	return harness_done("snat_pool_add",
		snat_pool_add(harness_str(params, "name", ""), addrs, n,
			(uint16_t)harness_num(params, "port_min", SNAT_PORT_LO),
			(uint16_t)harness_num(params, "port_max", SNAT_PORT_HI), &idx));
}

static const char *snat_add(const cJSON *params, cJSON *result)
{
	static struct rule_config cfg;
	const char *pool = harness_str(params, "pool", NULL), *error;
	uint32_t idx, pool_idx = pool != NULL ? snat_pool_by_name(pool) : SNAT_POOL_NODE;
	int rc;

	(void)result;
	if (pool_idx == SNAT_POOL_NONE)
		return "no such pool";
	cfg = (struct rule_config){ .arg = pool_idx,
		.action = strcmp(harness_str(params, "action", "snat"), "snat") == 0
			? RULE_SNAT
			: RULE_NO_SNAT };
	error = harness_rule(params, &cfg);
	if (error != NULL)
		return error;
	rc = rule_add(snat_list_get(harness_zone(params)), &cfg, &idx);
	harness_rule_fini(&cfg);
	error = harness_done("rule_add", rc);
	return error != NULL ? error
			     : harness_name_add(&rules, harness_str(params, "name", ""), idx);
}

static const char *snat_del(const cJSON *params, cJSON *result)
{
	uint32_t idx = harness_name_take(&rules, harness_str(params, "name", ""));

	(void)result;
	if (idx == SLOT_NONE)
		return "no such rule";
	rule_del(idx);
	return harness_done("", 0);
}

static const char *pair_add(const cJSON *params, cJSON *result)
{
	struct ip_addr internal, external;

	(void)result;
	if (ip_parse(harness_str(params, "internal", ""), &internal) < 0 ||
		ip_parse(harness_str(params, "external", ""), &external) < 0)
		return "internal or external";
	return harness_done(
		"snat_pair_add", snat_pair_add(harness_zone(params), &internal, &external));
}

static const char *pair_del(const cJSON *params, cJSON *result)
{
	struct ip_addr internal;

	(void)result;
	if (ip_parse(harness_str(params, "internal", ""), &internal) < 0)
		return "internal";
	return harness_done("snat_pair_del", snat_pair_del(harness_zone(params), &internal));
}

const struct harness_command harness_snat_commands[] = {
	{ "pool.add", pool_add },
	{ "snat.add", snat_add },
	{ "snat.del", snat_del },
	{ "pair.add", pair_add },
	{ "pair.del", pair_del },
	{ NULL, NULL },
};
