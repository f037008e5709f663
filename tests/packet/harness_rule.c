/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups of addresses by commands, and what policies and SNAT rules have in common: matches and names. */
#include "tests/packet/harness_rule.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/gen.h"
#include "datapath/table/policy.h"

static struct harness_names groups;

static uint32_t name_find(const struct harness_names *names, const char *name)
{
	for (unsigned int i = 0; i < names->n; i++)
		if (strcmp(names->at[i].name, name) == 0)
			return names->at[i].idx;
	return SLOT_NONE;
}

const char *harness_name_add(struct harness_names *names, const char *name, uint32_t idx)
{
	if (names->n == HARNESS_NAMES_MAX || name_find(names, name) != SLOT_NONE)
		return "too many names, or twice the same";
	snprintf(names->at[names->n].name, HARNESS_NAME_LEN, "%s", name);
	names->at[names->n++].idx = idx;
	return NULL;
}

uint32_t harness_name_take(struct harness_names *names, const char *name)
{
	uint32_t idx = name_find(names, name);

	for (unsigned int i = 0; i < names->n; i++)
		if (names->at[i].idx == idx) {
			names->at[i] = names->at[--names->n];
			break;
		}
	return idx;
}

uint16_t harness_zone(const cJSON *params)
{
	return (uint16_t)harness_num(params, "zone", 0);
}

const char *harness_done(const char *what, int rc)
{
	gen_publish();
	return rc < 0 ? harness_fail("%s: %s", what, strerror(-rc)) : NULL;
}

static const char *group_add(const cJSON *params, cJSON *result)
{
	uint32_t set = ipset_create(harness_zone(params));

	(void)result;
	return set == IPSET_NONE ? "full"
				 : harness_name_add(&groups, harness_str(params, "name", ""), set);
}

/* A host member has a generation of its own; others concern everybody who names the set. */
static void member_changed(uint32_t set, const struct ip_prefix *prefix)
{
	if (prefix->len != (ip_is_v4(&prefix->addr) ? 32 : 128))
		policy_set_changed(set);
}

static const char *member(const cJSON *params, bool is_added)
{
	uint32_t set = name_find(&groups, harness_str(params, "group", ""));
	struct ip_prefix prefix;
	int rc;

	if (set == SLOT_NONE || ip_prefix_parse(harness_str(params, "prefix", ""), &prefix) < 0)
		return "group or prefix";
	rc = is_added ? ipset_member_add(set, &prefix, harness_num(params, "except", 0) != 0)
		      : ipset_member_del(set, &prefix);
	member_changed(set, &prefix);
	return harness_done("member", rc);
}

static const char *member_add(const cJSON *params, cJSON *result)
{
	(void)result;
	return member(params, true);
}

static const char *member_del(const cJSON *params, cJSON *result)
{
	(void)result;
	return member(params, false);
}

static const char *peer(const cJSON *item, uint16_t zone, uint32_t *out)
{
	const cJSON *e, *list = cJSON_GetObjectItemCaseSensitive(item, "except");
	const char *group = harness_str(item, "group", NULL);
	struct ip_prefix prefix, except[RULE_SETS_MAX];
	unsigned int n = 0;

	if (group != NULL) {
		*out = name_find(&groups, group);
		if (*out != IPSET_NONE)
			ipset_get(*out);
		return *out != IPSET_NONE ? NULL : "no such group";
	}
	if (ip_prefix_parse(harness_str(item, "prefix", ""), &prefix) < 0)
		return "prefix";
	cJSON_ArrayForEach(e, list)
		if (n == RULE_SETS_MAX || ip_prefix_parse(e->valuestring, &except[n++]) < 0)
			return "except";
	*out = ipset_intern(zone, &prefix, except, n);
	return *out != IPSET_NONE ? NULL : "no set";
}

static const char *peers(
	const cJSON *params, const char *name, uint16_t zone, uint32_t *out, uint8_t *out_n)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, name);
	const char *error = NULL;

	cJSON_ArrayForEach(item, list) {
		if (*out_n == RULE_SETS_MAX)
			return name;
		error = peer(item, zone, &out[*out_n]);
		if (error != NULL)
			return error;
		(*out_n)++;
	}
	return NULL;
}

static const char *ports(
	const cJSON *params, const char *name, struct port_range *out, uint8_t *out_n)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, name);
	unsigned int lo, hi;

	cJSON_ArrayForEach(item, list) {
		int n = sscanf(item->valuestring, "%u-%u", &lo, &hi);

		if (n < 1 || *out_n == RULE_PORTS_MAX)
			return name;
		out[(*out_n)++] = (struct port_range){ (uint16_t)lo, (uint16_t)(n == 2 ? hi : lo) };
	}
	return NULL;
}

/* "8": a type; "3/4": type and code. */
static const char *icmp(const cJSON *params, struct port_range *out, uint8_t *out_n)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, "icmp");
	unsigned int type, code;

	cJSON_ArrayForEach(item, list) {
		int n = sscanf(item->valuestring, "%u/%u", &type, &code);

		if (n < 1 || *out_n == RULE_PORTS_MAX)
			return "icmp";
		out[(*out_n)++] = (struct port_range){ (uint16_t)(type << 8 | (n == 2 ? code : 0)),
			(uint16_t)(type << 8 | (n == 2 ? code : 255)) };
	}
	return NULL;
}

bool harness_proto(const char *text, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} known[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP },
		{ "icmp", IPPROTO_ICMP }, { "icmpv6", IPPROTO_ICMPV6 } };

	for (size_t i = 0; i < RTE_DIM(known); i++)
		if (strcmp(text, known[i].name) == 0) {
			*out = known[i].proto;
			return true;
		}
	*out = (uint8_t)atoi(text);
	return *out != 0;
}

const char *harness_rule(const cJSON *params, struct rule_config *cfg)
{
	const char *text = harness_str(params, "proto", NULL), *error;
	uint16_t zone = harness_zone(params);

	if (text != NULL && !harness_proto(text, &cfg->proto))
		return "proto";
	cfg->has_proto = text != NULL;
	cfg->priority = (uint64_t)harness_num(params, "priority", 1000);
	error = peers(params, "sources", zone, cfg->src, &cfg->n_src);
	if (error == NULL)
		error = peers(params, "destinations", zone, cfg->dst, &cfg->n_dst);
	if (error == NULL)
		error = ports(params, "sports", cfg->sport, &cfg->n_sport);
	if (error == NULL)
		error = ports(params, "dports", cfg->dport, &cfg->n_dport);
	return error != NULL ? error : icmp(params, cfg->dport, &cfg->n_dport);
}

void harness_rule_fini(const struct rule_config *cfg)
{
	for (uint8_t i = 0; i < cfg->n_src; i++)
		ipset_put(cfg->src[i]);
	for (uint8_t i = 0; i < cfg->n_dst; i++)
		ipset_put(cfg->dst[i]);
}

void harness_groups_reset(void)
{
	groups.n = 0;
}

const struct harness_command harness_group_commands[] = {
	{ "group.add", group_add },
	{ "member.add", member_add },
	{ "member.del", member_del },
	{ NULL, NULL },
};
