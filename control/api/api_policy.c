/* SPDX-License-Identifier: BSD-3-Clause */
/* policy.add, policy.del, policy.list, policy.show, policy.bind, policy.unbind, policy.default, policy.mode, policy.mode_show */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_users.h"
#include "control/api/rule_config.h"
#include "datapath/base/gen.h"
#include "datapath/slow/slow.h"
#include "datapath/table/failsafe.h"

static const char *const default_names[POLICY_DEFAULT_N] = { "next", "deny", "reject", "allow" };
static const uint8_t failsafe_protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP };

static void handle_add(struct call *call)
{
	const struct req_policy *req = call_req(call);
	const struct policy_config cfg = { .name = req->name,
		.zone = (uint16_t)req->zone,
		.tier = (uint32_t)req->tier,
		.order = (uint32_t)req->order,
		.def = { [POLICY_EGRESS] = (enum policy_default)req->egress,
			[POLICY_INGRESS] = (enum policy_default)req->ingress } };
	uint32_t idx = policy_by_name(req->name);
	int rc;

	if (!req->replace && !call->is_replay &&
		!api_add_may_go_on(call, idx != POLICY_NONE, req->exist_ok, "policy", req->name))
		return;
	rc = idx != POLICY_NONE ? policy_set(idx, &cfg) : policy_add(&cfg, &idx);
	if (rc == -EBUSY)
		call_fail(call, LEAT_ERR_BUSY, "zone", "policy %s stays in zone %u", req->name,
			policy_at(idx)->zone);
	else if (rc < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more policies: %u is the limit",
			POLICY_TABLE_MAX);
	else
		call_ok(call, NULL);
}

static uint32_t n_rules(uint32_t policy)
{
	uint32_t n = 0;

	for (unsigned int d = 0; d < POLICY_DIR_N; d++)
		if (policy_at(policy)->list[d] != RULELIST_NONE)
			n += rulelist_n_rules(policy_at(policy)->list[d]);
	return n;
}

static void handle_del(struct call *call)
{
	const struct req_id_name *req = call_req(call);
	uint32_t idx = policy_by_name(req->name);
	struct api_users users = { 0 };

	if (idx == POLICY_NONE) {
		if (api_del_missing(call, req->missing_ok, "policy", req->name))
			call_ok(call, NULL);
		return;
	}
	if (n_rules(idx) > 0 || binding_count(idx) > 0) {
		api_users_of_policy(&users, idx);
		call_fail(call, LEAT_ERR_BUSY, "name", "policy %s is used by %s", req->name,
			api_users_text(&users));
		return;
	}
	policy_del(idx);
	call_ok(call, NULL);
}

static cJSON *policy_json(uint32_t idx)
{
	const struct policy *p = policy_at(idx);
	cJSON *out = cJSON_CreateObject();

	cJSON_AddStringToObject(out, "name", p->name);
	cJSON_AddNumberToObject(out, "zone", p->zone);
	cJSON_AddNumberToObject(out, "tier", p->tier);
	cJSON_AddNumberToObject(out, "order", p->order);
	cJSON_AddStringToObject(out, "ingress", default_names[p->def[POLICY_INGRESS]]);
	cJSON_AddStringToObject(out, "egress", default_names[p->def[POLICY_EGRESS]]);
	cJSON_AddNumberToObject(out, "rules", n_rules(idx));
	cJSON_AddNumberToObject(out, "endpoints", p->n_bound);
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < POLICY_TABLE_MAX ? policy_next((uint32_t)from) : POLICY_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != POLICY_NONE && page.left > 0; idx = policy_next(idx + 1))
		api_page_add(&page, policy_json(idx));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != POLICY_NONE ? cursor : NULL);
}

static void add_binding(void *arg, const char *endpoint)
{
	cJSON_AddItemToArray(arg, cJSON_CreateString(endpoint));
}

static void handle_show(struct call *call)
{
	const struct req_id_name *req = call_req(call);
	uint32_t idx = policy_by_name(req->name);
	cJSON *out;

	if (idx == POLICY_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "name", "there is no policy %s", req->name);
		return;
	}
	out = policy_json(idx);
	binding_foreach(idx, add_binding, cJSON_AddArrayToObject(out, "bindings"));
	call_ok(call, out);
}

/* Policy of a binding call; POLICY_NONE: the call has been failed. */
static uint32_t policy_of(struct call *call, const char *name)
{
	uint32_t idx = policy_by_name(name);

	if (idx == POLICY_NONE)
		call_fail(call, LEAT_ERR_NOT_FOUND, "policy", "there is no policy %s", name);
	return idx;
}

/* What is set for an endpoint waits for it: it may come later, or never, if its name is misspelt. NULL: it is there. */
static cJSON *absence_note(const char *endpoint, const char *what)
{
	cJSON *result;
	char text[256];

	if (endpoint_by_id(endpoint) != ENDPOINT_NONE)
		return NULL;
	result = cJSON_CreateObject();
	snprintf(
		text, sizeof(text), "there is no endpoint %s now: %s waits for it", endpoint, what);
	cJSON_AddStringToObject(result, "note", text);
	return result;
}

static void handle_bind(struct call *call)
{
	const struct req_binding *req = call_req(call);
	uint32_t policy = policy_of(call, req->policy), ep = endpoint_by_id(req->endpoint);
	int rc;

	if (policy == POLICY_NONE)
		return;
	if (ep != ENDPOINT_NONE && endpoint_at(ep)->zone != policy_at(policy)->zone) {
		call_fail(call, LEAT_ERR_CONFLICT, "endpoint", "endpoint %s is in zone %u",
			req->endpoint, endpoint_at(ep)->zone);
		return;
	}
	rc = binding_add(req->endpoint, policy);
	if (rc == -EEXIST)
		api_add_may_go_on(call, true, req->exist_ok, "binding to", req->endpoint);
	else if (rc < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no room for another binding");
	else
		call_ok(call, absence_note(req->endpoint, "the binding"));
}

static void handle_unbind(struct call *call)
{
	const struct req_binding *req = call_req(call);
	uint32_t policy = policy_of(call, req->policy);

	if (policy == POLICY_NONE)
		return;
	if (binding_del(req->endpoint, policy) == 0 ||
		api_del_missing(call, req->missing_ok, "binding to", req->endpoint))
		call_ok(call, NULL);
}

static void handle_default(struct call *call)
{
	const struct req_endpoint_default *req = call_req(call);
	static const enum rule_action actions[] = { RULE_ALLOW, RULE_DENY, RULE_REJECT };

	if (binding_default_set(req->endpoint, actions[req->ingress], actions[req->egress]) < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
	else
		call_ok(call, absence_note(req->endpoint, "the default"));
}

static void handle_default_del(struct call *call)
{
	const struct req_endpoint_default *req = call_req(call);

	if (binding_default_del(req->endpoint) ||
		api_del_missing(call, req->missing_ok, "default of", req->endpoint))
		call_ok(call, NULL);
}

/* "tcp:22" */
static bool parse_failsafe(const char *text, uint8_t *proto, uint16_t *port)
{
	const char *colon = strchr(text, ':');
	char name[8], *end;
	unsigned long number;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(name))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
	number = strtoul(colon + 1, &end, 10);
	*port = (uint16_t)number;
	return colon[1] >= '0' && colon[1] <= '9' && *end == '\0' && number <= 65535 &&
		schema_proto_parse(name, proto) == 0 &&
		(*proto == IPPROTO_TCP || *proto == IPPROTO_UDP || *proto == IPPROTO_SCTP);
}

static bool failsafe_check(struct call *call, const char *name, const struct schema_list *list)
{
	const char *const *texts = list->items;
	char field[64];
	uint8_t proto;
	uint16_t port;

	for (uint32_t i = 0; i < list->len; i++) {
		if (parse_failsafe(texts[i], &proto, &port))
			continue;
		snprintf(field, sizeof(field), "%s[%u]", name, i);
		call_fail(call, LEAT_ERR_PARAMS, field, "must be a protocol and port like tcp:22");
		return false;
	}
	return true;
}

static void failsafe_replace(enum policy_dir dir, const struct schema_list *list)
{
	const char *const *texts = list->items;
	uint8_t proto;
	uint16_t port;

	for (size_t p = 0; p < sizeof(failsafe_protos); p++)
		for (uint32_t old = 0; failsafe_next(dir, failsafe_protos[p], &old); old++)
			failsafe_set(dir, failsafe_protos[p], (uint16_t)old, false);
	for (uint32_t i = 0; i < list->len; i++)
		if (parse_failsafe(texts[i], &proto, &port))
			failsafe_set(dir, proto, port, true);
}

/* What the node itself was judged by has changed. */
static void host_touch(void)
{
	uint32_t host = endpoint_by_id("host");

	if (host != ENDPOINT_NONE)
		gen_touch(&endpoint_at(host)->gen);
}

static void mode_apply(const struct req_policy_mode *req)
{
	failsafe_replace(POLICY_INGRESS, &req->failsafe_in);
	failsafe_replace(POLICY_EGRESS, &req->failsafe_out);
	atomic_store_explicit(&policy_is_per_connection, req->per_connection, memory_order_relaxed);
	host_touch();
}

static void handle_mode(struct call *call)
{
	const struct req_policy_mode *req = call_req(call);

	if (!call->is_replay && cJSON_GetArraySize(call->rpc.params) == 0) {
		call_fail(call, LEAT_ERR_PARAMS, "failsafe_in",
			"name at least one of per_connection, failsafe_in and failsafe_out: what "
			"is not named "
			"has its default");
		return;
	}
	if (!failsafe_check(call, "failsafe_in", &req->failsafe_in) ||
		!failsafe_check(call, "failsafe_out", &req->failsafe_out))
		return;
	mode_apply(req);
	call_ok(call, NULL);
}

static void handle_mode_reset(struct call *call)
{
	const struct req_policy_mode none = { 0 };

	mode_apply(&none);
	call_ok(call, NULL);
}

static void add_failsafe(cJSON *out, const char *name, enum policy_dir dir)
{
	static const char *const names[] = { "tcp", "udp", "sctp" };
	cJSON *list = cJSON_AddArrayToObject(out, name);
	char text[16];

	for (size_t p = 0; p < sizeof(failsafe_protos); p++)
		for (uint32_t port = 0; failsafe_next(dir, failsafe_protos[p], &port); port++) {
			snprintf(text, sizeof(text), "%s:%u", names[p], port);
			cJSON_AddItemToArray(list, cJSON_CreateString(text));
		}
}

static void handle_mode_show(struct call *call)
{
	cJSON *out = cJSON_CreateObject();

	cJSON_AddBoolToObject(out, "per_connection",
		atomic_load_explicit(&policy_is_per_connection, memory_order_relaxed));
	add_failsafe(out, "failsafe_in", POLICY_INGRESS);
	add_failsafe(out, "failsafe_out", POLICY_EGRESS);
	call_ok(call, out);
}

const struct api_handler api_policy[] = {
	{ "policy.add", handle_add },
	{ "policy.del", handle_del },
	{ "policy.list", handle_list },
	{ "policy.show", handle_show },
	{ "policy.bind", handle_bind },
	{ "policy.unbind", handle_unbind },
	{ "policy.default", handle_default },
	{ "policy.default_del", handle_default_del },
	{ "policy.mode", handle_mode },
	{ "policy.mode_reset", handle_mode_reset },
	{ "policy.mode_show", handle_mode_show },
	API_HANDLERS_END,
};
