/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/policy_log.h"

#include <netinet/in.h>
#include <stdio.h>

#include "control/event.h"
#include "control/names.h"
#include "datapath/base/log.h"
#include "pmd/portmgr.h"

#define LINES_PER_S 100

static const char *const verdicts[] = {
	[RULE_ALLOW] = "allow", [RULE_DENY] = "deny", [RULE_REJECT] = "reject"
};
static const char *const directions[POLICY_DIR_N] = {
	[POLICY_EGRESS] = "egress", [POLICY_INGRESS] = "ingress"
};

static const char *proto_text(uint8_t proto, char buf[4])
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_SCTP:
		return "sctp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	default:
		snprintf(buf, 4, "%u", proto);
		return buf;
	}
}

void policy_log_write(const struct punt_msg *msg)
{
	static struct log_limit limit = { .burst = LINES_PER_S };
	const struct port *port = port_by_id(msg->port_id);
	const char *port_name = port != NULL ? port->name : "";
	char rule[2 * NAMES_LEN], src[IP_ADDR_STRLEN], dst[IP_ADDR_STRLEN], number[4];
	const char *proto = proto_text(msg->proto, number);
	cJSON *object;

	rule_name_text(msg->idx, rule, sizeof(rule));
	ip_format(&msg->src, src);
	ip_format(&msg->target, dst);
	if (log_limit_pass(&limit))
		log_info("policy",
			"connection judged verdict=%s rule=%s direction=%s proto=%s src=%s "
			"sport=%u dst=%s dport=%u port=%s",
			verdicts[msg->verdict], rule, directions[msg->dir], proto, src, msg->sport,
			dst, msg->dport, port_name);
	if (!event_has_subscribers("policy-log"))
		return;
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "verdict", verdicts[msg->verdict]);
	cJSON_AddStringToObject(object, "rule", rule);
	cJSON_AddStringToObject(object, "direction", directions[msg->dir]);
	cJSON_AddStringToObject(object, "proto", proto);
	cJSON_AddStringToObject(object, "src", src);
	cJSON_AddNumberToObject(object, "sport", msg->sport);
	cJSON_AddStringToObject(object, "dst", dst);
	cJSON_AddNumberToObject(object, "dport", msg->dport);
	cJSON_AddStringToObject(object, "port", port_name);
	event_emit_object("policy-log", "log", object);
}
