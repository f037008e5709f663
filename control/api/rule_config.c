/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/api/rule_config.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/table/ipset.h"

/* "A" or "A<separator>B", each up to max. */
static bool parse_pair(
	const char *text, char separator, unsigned long max, unsigned long out[2], bool *has_second)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	out[0] = out[1] = strtoul(text, &end, 10);
	*has_second = *end == separator;
	if (*has_second) {
		if (end[1] < '0' || end[1] > '9')
			return false;
		out[1] = strtoul(end + 1, &end, 10);
	}
	return *end == '\0' && out[0] <= max && out[1] <= max;
}

static bool fill_ports(struct call *call, const char *name, const struct schema_list *list,
	struct port_range *out, uint8_t *out_n)
{
	const char *const *texts = list->items;
	char field[64];

	for (uint32_t i = 0; i < list->len; i++) {
		unsigned long range[2];
		bool has_second;

		if (!parse_pair(texts[i], '-', 65535, range, &has_second) || range[0] > range[1]) {
			snprintf(field, sizeof(field), "%s[%u]", name, i);
			call_fail(call, LEAT_ERR_PARAMS, field,
				"must be a port or a range like 8000-8080");
			return false;
		}
		out[(*out_n)++] = (struct port_range){ (uint16_t)range[0], (uint16_t)range[1] };
	}
	return true;
}

static bool fill_icmp(struct call *call, const struct req_rule *req, struct rule_config *cfg)
{
	const char *const *texts = req->icmp.items;
	char field[64];

	if (req->icmp.len > 0 &&
		(!cfg->has_proto || (cfg->proto != IPPROTO_ICMP && cfg->proto != IPPROTO_ICMPV6))) {
		call_fail(call, LEAT_ERR_PARAMS, "icmp", "only with proto icmp or icmpv6");
		return false;
	}
	for (uint32_t i = 0; i < req->icmp.len; i++) {
		unsigned long v[2];
		bool has_code;

		if (!parse_pair(texts[i], '/', 255, v, &has_code)) {
			snprintf(field, sizeof(field), "icmp[%u]", i);
			call_fail(call, LEAT_ERR_PARAMS, field,
				"must be a type, or type and code like 3/4");
			return false;
		}
		cfg->dport[cfg->n_dport++] =
			(struct port_range){ (uint16_t)(v[0] << 8 | (has_code ? v[1] : 0)),
				(uint16_t)(v[0] << 8 | (has_code ? v[1] : 255)) };
	}
	return true;
}

static bool has_ports(const struct rule_config *cfg)
{
	return cfg->has_proto &&
		(cfg->proto == IPPROTO_TCP || cfg->proto == IPPROTO_UDP ||
			cfg->proto == IPPROTO_SCTP);
}

static bool fill_proto(struct call *call, const struct req_rule *req, struct rule_config *cfg)
{
	if (req->proto != NULL) {
		cfg->has_proto = true;
		if (schema_proto_parse(req->proto, &cfg->proto) < 0) {
			call_fail(call, LEAT_ERR_PARAMS, "proto",
				"must be tcp, udp, sctp, icmp, icmpv6 or a number");
			return false;
		}
	}
	if ((req->sports.len > 0 || req->dports.len > 0) && !has_ports(cfg)) {
		call_fail(call, LEAT_ERR_PARAMS, "proto", "ports need a protocol that has ports");
		return false;
	}
	return fill_ports(call, "sports", &req->sports, cfg->sport, &cfg->n_sport) &&
		fill_ports(call, "dports", &req->dports, cfg->dport, &cfg->n_dport) &&
		fill_icmp(call, req, cfg);
}

/* The peer's set, with a reference; IPSET_NONE: the call has been failed. */
static uint32_t peer_set(struct call *call, const struct req_peer *peer, uint16_t zone,
	const char *field, struct rule_name *name)
{
	const struct schema_prefix *excepts = peer->except.items;
	struct ip_prefix prefix = api_prefix(&peer->prefix), except[64];
	uint32_t group, set;

	if ((peer->group != NULL) == peer->prefix.is_set) {
		call_fail(call, LEAT_ERR_PARAMS, field, "needs either a group or a prefix");
		return IPSET_NONE;
	}
	if (peer->group != NULL) {
		group = group_by_name(peer->group);
		if (group == SLOT_NONE || group_at(group)->zone != zone || peer->except.len > 0) {
			call_fail(call, LEAT_ERR_NOT_FOUND, field,
				"there is no group %s in zone %u, or it has exceptions here",
				peer->group, zone);
			return IPSET_NONE;
		}
		name->groups[name->n_groups++] = group;
		ipset_get(group_at(group)->set);
		return group_at(group)->set;
	}
	for (uint32_t i = 0; i < peer->except.len; i++) {
		except[i] = api_prefix(&excepts[i]);
		if (!ip_prefix_covers(&prefix, &except[i].addr) || except[i].len <= prefix.len) {
			call_fail(call, LEAT_ERR_PARAMS, field,
				"an exception lies outside its prefix");
			return IPSET_NONE;
		}
	}
	set = ipset_intern(zone, &prefix, except, peer->except.len);
	if (set == IPSET_NONE)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more address sets");
	return set;
}

static bool fill_peers(struct call *call, const char *what, const struct schema_list *list,
	uint16_t zone, struct rule_name *name, uint32_t *sets, uint8_t *n)
{
	const struct req_peer *peers = list->items;
	char field[64];

	for (uint32_t i = 0; i < list->len; i++) {
		snprintf(field, sizeof(field), "%s[%u]", what, i);
		sets[*n] = peer_set(call, &peers[i], zone, field, name);
		if (sets[*n] == IPSET_NONE)
			return false;
		(*n)++;
	}
	return true;
}

bool rule_config_init(struct call *call, const struct req_rule *req, uint16_t zone,
	struct rule_config *cfg, struct rule_name *name)
{
	*cfg = (struct rule_config){ .priority = (uint64_t)req->priority,
		.flags = req->log ? RULE_F_LOG : 0 };
	return fill_proto(call, req, cfg) &&
		fill_peers(call, "sources", &req->sources, zone, name, cfg->src, &cfg->n_src) &&
		fill_peers(call, "destinations", &req->destinations, zone, name, cfg->dst,
			&cfg->n_dst);
}

/* The rule holds references of its own. */
void rule_config_fini(const struct rule_config *cfg)
{
	for (unsigned int i = 0; i < cfg->n_src; i++)
		ipset_put(cfg->src[i]);
	for (unsigned int i = 0; i < cfg->n_dst; i++)
		ipset_put(cfg->dst[i]);
}

void rule_groups_count(const struct rule_name *name, int step)
{
	for (unsigned int i = 0; i < name->n_groups; i++)
		group_at(name->groups[i])->n_refs += (uint32_t)step;
}
