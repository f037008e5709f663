/* SPDX-License-Identifier: BSD-3-Clause */
/* group.add, group.del, group.list, member.add, member.del, member.list */
#include <errno.h>
#include <stdio.h>

#include "control/api/api.h"
#include "control/api/api_users.h"
#include "control/names.h"
#include "datapath/table/ipset.h"

static void handle_group_add(struct call *call)
{
	const struct req_group *req = call_req(call);

	if (!api_add_may_go_on(
		    call, group_by_name(req->name) != SLOT_NONE, req->exist_ok, "group", req->name))
		return;
	if (group_create(req->name, (uint16_t)req->zone) == SLOT_NONE)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more groups: %u is the limit",
			IPSET_MAX);
	else
		call_ok(call, NULL);
}

static void handle_group_del(struct call *call)
{
	const struct req_id_name *req = call_req(call);
	uint32_t idx = group_by_name(req->name);
	struct api_users users = { 0 };

	if (idx == SLOT_NONE) {
		if (api_del_missing(call, req->missing_ok, "group", req->name))
			call_ok(call, NULL);
		return;
	}
	if (group_at(idx)->n_refs > 0 || ipset_n_members(group_at(idx)->set) > 0) {
		api_users_of_group(&users, idx);
		call_fail(call, LEAT_ERR_BUSY, "name", "group %s is used by %s", req->name,
			api_users_text(&users));
		return;
	}
	group_destroy(idx);
	call_ok(call, NULL);
}

static void handle_group_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < IPSET_MAX ? group_next((uint32_t)from) : SLOT_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != SLOT_NONE && page.left > 0; idx = group_next(idx + 1)) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "name", group_at(idx)->name);
		cJSON_AddNumberToObject(item, "zone", group_at(idx)->zone);
		cJSON_AddNumberToObject(item, "members", ipset_n_members(group_at(idx)->set));
		cJSON_AddNumberToObject(item, "rules", group_at(idx)->n_refs);
		api_page_add(&page, item);
	}
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != SLOT_NONE ? cursor : NULL);
}

/* Group of a member call; SLOT_NONE: the call has been failed. */
static uint32_t group_of(struct call *call, const char *name)
{
	uint32_t idx = group_by_name(name);

	if (idx == SLOT_NONE)
		call_fail(call, LEAT_ERR_NOT_FOUND, "group", "there is no group %s", name);
	return idx;
}

static bool is_host(const struct ip_prefix *prefix)
{
	return prefix->len == (ip_is_v4(&prefix->addr) ? 32 : 128);
}

/* Flows to or from a single address look by themselves (ipset_addr_gen()); a prefix concerns all users of the set. */
static void member_changed(uint32_t set, const struct ip_prefix *prefix)
{
	if (!is_host(prefix))
		policy_set_changed(set);
}

static void handle_member_add(struct call *call)
{
	const struct req_member *req = call_req(call);
	const struct ip_prefix prefix = api_prefix(&req->prefix);
	uint32_t group = group_of(call, req->group);
	char text[SCHEMA_TEXT_MAX];
	int rc;

	if (group == SLOT_NONE)
		return;
	rc = ipset_member_add(group_at(group)->set, &prefix, req->except);
	schema_prefix_format(&req->prefix, text);
	if (rc == -EEXIST) {
		api_add_may_go_on(call, true, req->exist_ok, "member", text);
		return;
	}
	if (rc < 0) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more members");
		return;
	}
	member_changed(group_at(group)->set, &prefix);
	call_ok(call, NULL);
}

static void handle_member_del(struct call *call)
{
	const struct req_member *req = call_req(call);
	const struct ip_prefix prefix = api_prefix(&req->prefix);
	uint32_t group = group_of(call, req->group);
	char text[SCHEMA_TEXT_MAX];

	if (group == SLOT_NONE)
		return;
	schema_prefix_format(&req->prefix, text);
	if (ipset_member_del(group_at(group)->set, &prefix) < 0) {
		if (api_del_missing(call, req->missing_ok, "member", text))
			call_ok(call, NULL);
		return;
	}
	member_changed(group_at(group)->set, &prefix);
	call_ok(call, NULL);
}

/* The cursor is the set's own. */
static void handle_member_list(struct call *call)
{
	const struct req_member_list *req = call_req(call);
	uint64_t cursor = api_cursor_number(req->cursor);
	uint32_t group = group_of(call, req->group);
	struct ip_prefix prefix;
	struct api_page page;
	bool is_except, is_more = true;
	char text[24];

	if (group == SLOT_NONE)
		return;
	if (!api_page_begin(call, &page, req->limit, cursor))
		return;
	while (page.left > 0) {
		cJSON *item;

		is_more = ipset_member_next(group_at(group)->set, &cursor, &prefix, &is_except);
		if (!is_more)
			break;
		item = cJSON_CreateObject();
		api_add_prefix(item, "prefix", &prefix);
		if (is_except)
			cJSON_AddBoolToObject(item, "except", true);
		api_page_add(&page, item);
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)cursor);
	api_page_end(call, &page, is_more ? text : NULL);
}

const struct api_handler api_group[] = {
	{ "group.add", handle_group_add },
	{ "group.del", handle_group_del },
	{ "group.list", handle_group_list },
	{ "member.add", handle_member_add },
	{ "member.del", handle_member_del },
	{ "member.list", handle_member_list },
	API_HANDLERS_END,
};
