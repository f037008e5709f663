/* SPDX-License-Identifier: BSD-3-Clause */
/* group, member, policy, rule, binding, snat, explain */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const defaults[] = { "next", "deny", "reject", "allow", NULL };
static const char *const directions[] = { "egress", "ingress", NULL };
static const char *const actions[] = { "allow", "deny", "reject", "pass", "log", NULL };
static const char *const verdicts[] = { "allow", "deny", "reject", NULL };
static const char *const snat_actions[] = { "snat", "none", NULL };

#define RULE_PRIORITY_MAX 4294967295ll

static const struct field peer_fields[] = {
	F_TEXT(req_peer, group, FIELD_ID, 0, "a group"),
	F_TEXT(req_peer, prefix, FIELD_PREFIX, 0, "or a prefix"),
	F_LIST(req_peer, except, FIELD_PREFIX, struct schema_prefix, 0, 64, "without these"),
	F_END,
};

#define F_PEERS(S, member, hp)                                                                     \
	{                                                                                          \
		.name = #member, .type = FIELD_OBJECT, .flags = FIELD_LIST,                        \
		.offset = offsetof(struct S, member), .size = sizeof(struct req_peer), .help = hp, \
		.max_len = 64, .fields = peer_fields                                               \
	}

#define MATCH_FIELDS                                                                               \
	F_TEXT(req_rule, proto, FIELD_STRING, 0,                                                   \
		"tcp, udp, sctp, icmp, icmpv6 or a number; none: any"),                            \
		F_PEERS(req_rule, sources, "any of these; none: any"),                             \
		F_PEERS(req_rule, destinations, "any of these; none: any"),                        \
		F_LIST(req_rule, sports, FIELD_STRING, const char *, 0, 64,                        \
			"source ports and ranges (\"8000-8080\"); none: any"),                     \
		F_LIST(req_rule, dports, FIELD_STRING, const char *, 0, 64,                        \
			"destination ports and ranges; none: any")

static const struct field group_fields[] = {
	F_TEXT(req_group, name, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "name of the group"),
	F_ZONE(req_group, 0),
	F_SWITCH(req_group, exist_ok, "succeed if the same group is there already"),
	F_END,
};

static const struct field name_fields[] = {
	F_TEXT(req_id_name, name, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "name"),
	F_SWITCH(req_id_name, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field show_fields[] = {
	F_TEXT(req_id_name, name, FIELD_ID, FIELD_REQUIRED, "name"),
	F_END,
};

static const struct field page_fields[] = { F_PAGE(req_page), F_END };

static const struct field member_fields[] = {
	F_TEXT(req_member, group, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "group"),
	F_TEXT(req_member, prefix, FIELD_PREFIX, FIELD_REQUIRED | FIELD_KEY, "address or prefix"),
	F_BOOL(req_member, except, "leaves these addresses out of a shorter prefix"),
	F_SWITCH(req_member, exist_ok, "succeed if the same member is there already"),
	F_END,
};

static const struct field member_del_fields[] = {
	F_TEXT(req_member, group, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "group"),
	F_TEXT(req_member, prefix, FIELD_PREFIX, FIELD_REQUIRED | FIELD_KEY, "address or prefix"),
	F_SWITCH(req_member, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field member_list_fields[] = {
	F_TEXT(req_member_list, group, FIELD_ID, FIELD_REQUIRED, "group"),
	F_PAGE(req_member_list),
	F_END,
};

static const struct field policy_fields[] = {
	F_TEXT(req_policy, name, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "name of the policy"),
	F_ZONE(req_policy, 0),
	F_INT(req_policy, tier, 0, NULL, 0, 65535, 1000, "lower tiers are asked first"),
	F_INT(req_policy, order, 0, NULL, 0, 4294967295, 1000, "place in the tier"),
	F_ENUM(req_policy, ingress, 0, defaults, 0,
		"what happens to incoming traffic that no rule of the tier decided"),
	F_ENUM(req_policy, egress, 0, defaults, 0, "the same for outgoing traffic"),
	F_SWITCH(req_policy, exist_ok, "succeed if the same policy is there already"),
	F_SWITCH(req_policy, replace, "change the policy into this one if it is there"),
	F_END,
};

static const struct field rule_fields[] = {
	F_TEXT(req_rule, policy, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "policy"),
	F_TEXT(req_rule, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name in the policy"),
	F_ENUM(req_rule, direction, FIELD_REQUIRED, directions, -1, "as the endpoint sees it"),
	F_ENUM(req_rule, action, FIELD_REQUIRED, actions, -1,
		"pass: goes on in the next tier; log: writes a line and goes on"),
	F_INT(req_rule, priority, 0, NULL, 0, RULE_PRIORITY_MAX, 1000,
		"lower is first; equal: the older rule"),
	F_BOOL(req_rule, log, "write a line for each connection that the rule decides"),
	MATCH_FIELDS,
	F_LIST(req_rule, icmp, FIELD_STRING, const char *, 0, 64,
		"ICMP types (\"8\") or types and codes (\"3/4\"); none: any"),
	F_SWITCH(req_rule, exist_ok, "succeed if the same rule is there already"),
	F_END,
};

static const struct field rule_del_fields[] = {
	F_TEXT(req_rule, policy, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "policy"),
	F_TEXT(req_rule, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name in the policy"),
	F_SWITCH(req_rule, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field rule_list_fields[] = {
	F_TEXT(req_rule_list, policy, FIELD_ID, FIELD_POSITIONAL, "only of this policy"),
	F_PAGE(req_rule_list),
	F_END,
};

static const struct field binding_fields[] = {
	F_TEXT(req_binding, policy, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "policy"),
	F_TEXT(req_binding, endpoint, FIELD_ID, FIELD_REQUIRED | FIELD_KEY,
		"endpoint; \"host\" is the node itself"),
	F_SWITCH(req_binding, exist_ok, "succeed if it is bound already"),
	F_END,
};

static const struct field unbind_fields[] = {
	F_TEXT(req_binding, policy, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "policy"),
	F_TEXT(req_binding, endpoint, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "endpoint"),
	F_SWITCH(req_binding, missing_ok, "succeed if it is not bound"),
	F_END,
};

static const struct field default_fields[] = {
	F_TEXT(req_endpoint_default, endpoint, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "endpoint"),
	F_ENUM(req_endpoint_default, ingress, 0, verdicts, 0,
		"incoming traffic that no policy decided"),
	F_ENUM(req_endpoint_default, egress, 0, verdicts, 0,
		"outgoing traffic that no policy decided"),
	F_END,
};

static const struct field default_del_fields[] = {
	F_TEXT(req_endpoint_default, endpoint, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "endpoint"),
	F_SWITCH(req_endpoint_default, missing_ok, "succeed if it has none"),
	F_END,
};

static const struct field mode_fields[] = {
	F_BOOL(req_policy_mode, per_connection,
		"connections that stand are left alone when policies change"),
	F_LIST(req_policy_mode, failsafe_in, FIELD_STRING, const char *, 0, 64,
		"ports of the node that no policy closes to the outside (\"tcp:22\")"),
	F_LIST(req_policy_mode, failsafe_out, FIELD_STRING, const char *, 0, 64,
		"ports outside that no policy closes to the node"),
	F_END,
};

static const struct field none_fields[] = { F_END };

static const struct field snat_fields[] = {
	F_TEXT(req_rule, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name in the zone"),
	F_ZONE(req_rule, FIELD_KEY),
	F_ENUM(req_rule, action, 0, snat_actions, 0, "none: goes out with its own address"),
	F_TEXT(req_rule, pool, FIELD_ID, 0, "source addresses; default: this node's own"),
	F_INT(req_rule, priority, 0, NULL, 0, RULE_PRIORITY_MAX, 1000,
		"lower is first; equal: the older rule"),
	MATCH_FIELDS,
	F_SWITCH(req_rule, exist_ok, "succeed if the same rule is there already"),
	F_END,
};

static const struct field snat_del_fields[] = {
	F_TEXT(req_rule, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name in the zone"),
	F_ZONE(req_rule, FIELD_KEY),
	F_SWITCH(req_rule, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field snat_list_fields[] = {
	F_ZONE(req_rule_list, FIELD_POSITIONAL),
	F_PAGE(req_rule_list),
	F_END,
};

static const struct field explain_fields[] = {
	F_TEXT(req_explain, port, FIELD_NAME, FIELD_REQUIRED, "port that it comes in on"),
	F_TEXT(req_explain, src, FIELD_IP, FIELD_POSITIONAL, "source address"),
	F_TEXT(req_explain, dst, FIELD_IP, FIELD_POSITIONAL, "destination address"),
	F_TEXT(req_explain, proto, FIELD_STRING, FIELD_POSITIONAL,
		"tcp (default), udp, sctp, icmp, icmpv6 or a number"),
	F_INT(req_explain, dport, FIELD_POSITIONAL, NULL, -1, 65535, -1,
		"destination port; tcp, udp and sctp need one"),
	F_INT(req_explain, sport, 0, NULL, 0, 65535, 40000, "source port"),
	F_TEXT(req_explain, tunnel, FIELD_NAME, 0, "tunnel that it comes out of"),
	F_INT(req_explain, icmp_type, 0, NULL, -1, 255, -1, "ICMP type; -1: echo request"),
	F_INT(req_explain, icmp_code, 0, NULL, 0, 255, 0, "ICMP code"),
	F_INT(req_explain, icmp_id, 0, NULL, 0, 65535, 1, "echo identifier"),
	{ .name = "tcp_flags",
		.type = FIELD_STRING,
		.offset = offsetof(struct req_explain, tcp_flags),
		.size = sizeof(const char *),
		.help = "letters of FSRPAUEC; default: S" },
	F_INT(req_explain, ttl, 0, NULL, 0, 255, 64, "TTL or hop limit"),
	F_INT(req_explain, payload_bytes, 0, "bytes", 0, 8900, 0,
		"zeros behind the transport header"),
	F_TEXT(req_explain, src_mac, FIELD_MAC, 0, "source MAC; default: the sender's own"),
	{ .name = "frame",
		.type = FIELD_STRING,
		.offset = offsetof(struct req_explain, frame),
		.size = sizeof(const char *),
		.help = "the whole frame in hexadecimal, instead of the fields above",
		.max = 18432 },
	F_END,
};

const struct method method_packet_explain = { "packet.explain",
	"What would happen to a packet now, layer by layer, and which object says so; changes "
	"nothing.",
	explain_fields, sizeof(struct req_explain), 0, OBJECT_NONE, NULL };
const struct method method_group_add = { "group.add", "Add a group of addresses.", group_fields,
	sizeof(struct req_group), METHOD_SETS, OBJECT_GROUP, "group.del" };
const struct method method_group_del = { "group.del", "Remove a group.", name_fields,
	sizeof(struct req_id_name), METHOD_REMOVES, OBJECT_GROUP, NULL };
const struct method method_group_list = { "group.list", "Groups of addresses.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_member_add = { "member.add", "Put an address or prefix into a group.",
	member_fields, sizeof(struct req_member), METHOD_SETS, OBJECT_MEMBER, "member.del" };
const struct method method_member_del = { "member.del", "Take it out again.", member_del_fields,
	sizeof(struct req_member), METHOD_REMOVES, OBJECT_MEMBER, NULL };
const struct method method_member_list = { "member.list", "Members of a group.", member_list_fields,
	sizeof(struct req_member_list), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_policy_add = { "policy.add", "Add a policy.", policy_fields,
	sizeof(struct req_policy), METHOD_SETS, OBJECT_POLICY, "policy.del" };
const struct method method_policy_del = { "policy.del", "Remove a policy without rules.",
	name_fields, sizeof(struct req_id_name), METHOD_REMOVES, OBJECT_POLICY, NULL };
const struct method method_policy_list = { "policy.list", "Policies.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_policy_show = { "policy.show", "One policy and whom it is bound to.",
	show_fields, sizeof(struct req_id_name), 0, OBJECT_NONE, NULL };
const struct method method_rule_add = { "rule.add", "Add a rule to a policy.", rule_fields,
	sizeof(struct req_rule), METHOD_SETS, OBJECT_RULE, "rule.del" };
const struct method method_rule_del = { "rule.del", "Remove a rule.", rule_del_fields,
	sizeof(struct req_rule), METHOD_REMOVES, OBJECT_RULE, NULL };
const struct method method_rule_list = { "rule.list", "Rules and their counters.", rule_list_fields,
	sizeof(struct req_rule_list), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_policy_bind = { "policy.bind", "Bind a policy to an endpoint.",
	binding_fields, sizeof(struct req_binding), METHOD_SETS, OBJECT_BINDING, "policy.unbind" };
const struct method method_policy_unbind = { "policy.unbind", "Undo it.", unbind_fields,
	sizeof(struct req_binding), METHOD_REMOVES, OBJECT_BINDING, NULL };
const struct method method_policy_default = { "policy.default",
	"What an endpoint does with what no policy decided.", default_fields,
	sizeof(struct req_endpoint_default), METHOD_SETS, OBJECT_DEFAULT, "policy.default_del" };
const struct method method_policy_default_del = { "policy.default_del",
	"Back to allowing what no policy decided.", default_del_fields,
	sizeof(struct req_endpoint_default), METHOD_REMOVES, OBJECT_DEFAULT, NULL };
const struct method method_policy_mode = { "policy.mode",
	"Set how policies reach connections that stand, and the ports that they never close, all "
	"of it: "
	"what is not given has its default.",
	mode_fields, sizeof(struct req_policy_mode), METHOD_SETS, OBJECT_POLICY_MODE,
	"policy.mode_reset" };
const struct method method_policy_mode_reset = { "policy.mode_reset", "Back to the defaults.",
	none_fields, sizeof(struct req_policy_mode), METHOD_REMOVES, OBJECT_POLICY_MODE, NULL };
const struct method method_policy_mode_show = { "policy.mode_show",
	"How policies reach connections that stand, and the ports that they never close.",
	none_fields, sizeof(struct req_none), 0, OBJECT_NONE, NULL };
const struct method method_snat_add = { "snat.add",
	"Translate the source of what pods send out of the node.", snat_fields,
	sizeof(struct req_rule), METHOD_SETS, OBJECT_SNAT, "snat.del" };
const struct method method_snat_del = { "snat.del", "Remove such a rule.", snat_del_fields,
	sizeof(struct req_rule), METHOD_REMOVES, OBJECT_SNAT, NULL };
const struct method method_snat_list = { "snat.list", "Rules for source addresses.",
	snat_list_fields, sizeof(struct req_rule_list), METHOD_LISTS, OBJECT_NONE, NULL };
