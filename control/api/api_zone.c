/* SPDX-License-Identifier: BSD-3-Clause */
/* zone.add, zone.del, zone.list: names of zones. A zone comes into being with the first object in it. */
#include <stdio.h>

#include "control/api/api.h"
#include "control/api/api_users.h"
#include "control/state.h"
#include "control/tables.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "pmd/portmgr.h"

static struct store_item *zone_item(int64_t id)
{
	char key[STORE_KEY_MAX];

	snprintf(key, sizeof(key), "zone %lld", (long long)id);
	return store_find(state_store(), key);
}

static void handle_add(struct call *call)
{
	const struct req_zone *req = call_req(call);
	char name[24];

	snprintf(name, sizeof(name), "%lld", (long long)req->id);
	if (api_add_may_go_on(call, zone_item(req->id) != NULL && !call->is_replay, req->exist_ok,
		    "zone", name)) {
		atomic_store_explicit(
			&conn_zone_max[req->id], (uint32_t)req->max_conns, memory_order_relaxed);
		call_ok(call, NULL);
	}
}

static unsigned int n_ports_in(int64_t zone)
{
	unsigned int n = 0;

	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		n += port->zone == zone;
	return n;
}

static void handle_del(struct call *call)
{
	const struct req_zone *req = call_req(call);
	struct api_users users = { 0 };

	if (zone_item(req->id) == NULL) {
		if (req->missing_ok)
			call_unchanged(call, NULL);
		else
			call_fail(call, LEAT_ERR_NOT_FOUND, "id", "there is no zone %lld",
				(long long)req->id);
	} else if (req->id != 0 &&
		(n_ports_in(req->id) > 0 || route_count((uint16_t)req->id) > 0)) {
		api_users_of_zone(&users, (uint16_t)req->id);
		call_fail(call, LEAT_ERR_BUSY, "id", "zone %lld is used by %s", (long long)req->id,
			api_users_text(&users));
	} else {
		atomic_store_explicit(&conn_zone_max[req->id], 0, memory_order_relaxed);
		call_ok(call, NULL);
	}
}

static cJSON *zone_json(const struct store_item *item)
{
	cJSON *out = cJSON_Parse(item->params);
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(out, "id");

	cJSON_AddNumberToObject(out, "conns",
		flowtab_zone_n_conns(&tables_flow4, (uint16_t)id->valueint) +
			flowtab_zone_n_conns(&tables_flow6, (uint16_t)id->valueint));
	cJSON_AddNumberToObject(out, "ports", n_ports_in(id->valueint));
	cJSON_AddNumberToObject(out, "routes", (double)route_count((uint16_t)id->valueint));
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t seq = api_cursor_number(req->cursor);
	struct store_item *item;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, seq))
		return;
	for (;;) {
		item = store_next(state_store(), OBJECT_ZONE, seq);
		if (item == NULL || item->method->class != OBJECT_ZONE || page.left == 0)
			break;
		seq = item->seq;
		api_page_add(&page, zone_json(item));
	}
	snprintf(cursor, sizeof(cursor), "%llu", (unsigned long long)seq);
	api_page_end(
		call, &page, item != NULL && item->method->class == OBJECT_ZONE ? cursor : NULL);
}

const struct api_handler api_zone[] = {
	{ "zone.add", handle_add },
	{ "zone.del", handle_del },
	{ "zone.list", handle_list },
	API_HANDLERS_END,
};
