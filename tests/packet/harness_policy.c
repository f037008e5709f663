/* SPDX-License-Identifier: BSD-3-Clause */
/* Policies by commands, named and shaped as the control API's methods, straight onto the tables. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "datapath/slow/slow.h"
#include "datapath/table/failsafe.h"
#include "tests/packet/harness_rule.h"

static struct harness_names rules; /* "policy/rule" */

static int direction(const cJSON *params)
{
	return strcmp(harness_str(params, "direction", ""), "ingress") == 0 ? POLICY_INGRESS
									    : POLICY_EGRESS;
}

static uint8_t policy_default(const cJSON *params, const char *name)
{
	const char *text = harness_str(params, name, "next");

	return strcmp(text, "deny") == 0      ? POLICY_DENY
		: strcmp(text, "reject") == 0 ? POLICY_REJECT
		: strcmp(text, "allow") == 0  ? POLICY_ALLOW
					      : POLICY_NEXT;
}

static const char *policy_add_(const cJSON *params, cJSON *result)
{
	const struct policy_config cfg = {
		.name = harness_str(params, "name", ""),
		.zone = harness_zone(params),
		.tier = (uint32_t)harness_num(params, "tier", 1000),
		.order = (uint32_t)harness_num(params, "order", 1000),
		.def = { [POLICY_EGRESS] = policy_default(params, "egress"),
			[POLICY_INGRESS] = policy_default(params, "ingress") },
	};
	uint32_t idx;

	(void)result;
	return harness_done("policy_add", policy_add(&cfg, &idx));
}

static enum rule_action action(const cJSON *params)
{
	static const char *const names[] = { "allow", "deny", "reject", "pass", "log" };
	const char *text = harness_str(params, "action", "");

	for (size_t i = 0; i < RTE_DIM(names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum rule_action)i;
	return RULE_ACTION_N;
}

static void rule_key(const cJSON *params, char *out)
{
	snprintf(out, HARNESS_NAME_LEN, "%s/%s", harness_str(params, "policy", ""),
		harness_str(params, "name", ""));
}

static const char *rule_add_(const cJSON *params, cJSON *result)
{
	static struct rule_config cfg;
	uint32_t policy = policy_by_name(harness_str(params, "policy", "")), idx;
	const char *error;
	char key[HARNESS_NAME_LEN];
	int rc;

	(void)result;
	if (policy == POLICY_NONE)
		return "no such policy";
	cfg = (struct rule_config){ .action = (uint8_t)action(params),
		.flags = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(params, "log")) ? RULE_F_LOG
										       : 0 };
	error = harness_rule(params, &cfg);
	if (error != NULL)
		return error;
	rc = policy_rule_add(policy, (enum policy_dir)direction(params), &cfg, &idx);
	harness_rule_fini(&cfg);
	error = harness_done("policy_rule_add", rc);
	rule_key(params, key);
	return error != NULL ? error : harness_name_add(&rules, key, idx);
}

static const char *rule_del_(const cJSON *params, cJSON *result)
{
	char key[HARNESS_NAME_LEN];
	uint32_t idx;

	(void)result;
	rule_key(params, key);
	idx = harness_name_take(&rules, key);
	if (idx == SLOT_NONE)
		return "no such rule";
	policy_rule_del(idx);
	return harness_done("", 0);
}

static const char *binding(const cJSON *params, int (*change)(uint32_t policy, uint32_t endpoint))
{
	uint32_t policy = policy_by_name(harness_str(params, "policy", "")),
		 ep = endpoint_by_id(harness_str(params, "endpoint", ""));

	if (policy == POLICY_NONE || ep == ENDPOINT_NONE)
		return "no such policy or endpoint";
	return harness_done("binding", change(policy, ep));
}

static const char *policy_bind_(const cJSON *params, cJSON *result)
{
	(void)result;
	return binding(params, policy_bind);
}

static const char *policy_unbind_(const cJSON *params, cJSON *result)
{
	(void)result;
	return binding(params, policy_unbind);
}

static const char *endpoint_default(const cJSON *params, cJSON *result)
{
	static const char *const names[] = {
		[POLICY_EGRESS] = "egress", [POLICY_INGRESS] = "ingress"
	};
	uint32_t ep = endpoint_by_id(harness_str(params, "endpoint", ""));
	int rc = 0;

	(void)result;
	if (ep == ENDPOINT_NONE)
		return "no such endpoint";
	for (int d = 0; d < POLICY_DIR_N && rc == 0; d++) {
		uint8_t def = policy_default(params, names[d]);

		rc = policy_endpoint_default(ep, (enum policy_dir)d,
			def == POLICY_DENY	       ? RULE_DENY
				: def == POLICY_REJECT ? RULE_REJECT
						       : RULE_ALLOW);
	}
	return harness_done("policy_endpoint_default", rc);
}

static void failsafe_clear(enum policy_dir dir)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

	for (size_t i = 0; i < RTE_DIM(protos); i++)
		for (uint32_t port = 0; failsafe_next(dir, protos[i], &port);)
			failsafe_set(dir, protos[i], (uint16_t)port, false);
}

/* "tcp:22" */
static void failsafe_fill(const cJSON *params, const char *name, enum policy_dir dir)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, name);

	failsafe_clear(dir);
	cJSON_ArrayForEach(item, list) {
		char text[8] = "";
		unsigned int port;
		uint8_t number;

		if (sscanf(item->valuestring, "%7[^:]:%u", text, &port) == 2 &&
			harness_proto(text, &number))
			failsafe_set(dir, number, (uint16_t)port, true);
	}
}

static void mode_set(bool is_per_connection)
{
	atomic_store_explicit(&policy_is_per_connection, is_per_connection, memory_order_relaxed);
}

static const char *mode(const cJSON *params, cJSON *result)
{
	(void)result;
	mode_set(harness_num(params, "per_connection", 0) != 0);
	failsafe_fill(params, "failsafe_in", POLICY_INGRESS);
	failsafe_fill(params, "failsafe_out", POLICY_EGRESS);
	/* Every endpoint's connections are judged again. */
	for (uint32_t ep = endpoint_next(0); ep != ENDPOINT_NONE; ep = endpoint_next(ep + 1))
		gen_touch(&endpoint_at(ep)->gen);
	return harness_done("", 0);
}

void harness_policy_reset(void)
{
	harness_groups_reset();
	harness_snat_reset();
	rules.n = 0;
	mode_set(false);
	failsafe_clear(POLICY_INGRESS);
	failsafe_clear(POLICY_EGRESS);
}

const struct harness_command harness_policy_commands[] = {
	{ "policy.add", policy_add_ },
	{ "rule.add", rule_add_ },
	{ "rule.del", rule_del_ },
	{ "policy.bind", policy_bind_ },
	{ "policy.unbind", policy_unbind_ },
	{ "policy.default", endpoint_default },
	{ "policy.mode", mode },
	{ NULL, NULL },
};
