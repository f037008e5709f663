/* SPDX-License-Identifier: BSD-3-Clause */
/* neigh.add, neigh.del, neigh.list */
#include <stdio.h>

#include "control/api/api.h"
#include "control/neighd.h"
#include "control/objects.h"
#include "datapath/base/clock.h"
#include "datapath/table/neigh.h"
#include "pmd/portmgr.h"

static void handle_add(struct call *call)
{
	const struct req_neigh *req = call_req(call);
	const struct ip_addr addr = api_ip(&req->address);
	const struct rte_ether_addr mac = api_mac(&req->mac);
	const struct port *port = port_by_name(req->port);
	uint32_t idx;

	if (port == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", req->port);
		return;
	}
	if (rte_is_multicast_ether_addr(&mac)) {
		call_fail(call, LEAT_ERR_PARAMS, "mac", "a neighbour's MAC is not multicast");
		return;
	}
	idx = neigh_lookup(port->id, &addr);
	if (!api_add_may_go_on(call, idx != NEIGH_NONE && neigh_at(idx)->state == NEIGH_STATIC,
		    req->exist_ok, "neighbour", req->port))
		return;
	if (neighd_set_static(port, &addr, &mac) < 0) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "the neighbour table is full");
		return;
	}
	object_port_refs[port->id]++;
	call_ok(call, NULL);
}

static void handle_del(struct call *call)
{
	const struct req_neigh *req = call_req(call);
	const struct ip_addr addr = api_ip(&req->address);
	struct port *port = port_by_name(req->port);
	uint32_t idx = port != NULL ? neigh_lookup(port->id, &addr) : NEIGH_NONE;
	char text[SCHEMA_TEXT_MAX];

	if (idx == NEIGH_NONE) {
		if (api_del_missing(call, req->missing_ok, "neighbour",
			    schema_ip_format(&req->address, text)))
			call_ok(call, NULL);
		return;
	}
	if (neigh_at(idx)->state !=
		NEIGH_STATIC) { /* a learned one: asked for again when it is needed */
		neighd_forget(idx);
		call_unchanged(call, NULL);
		return;
	}
	object_port_refs[port->id]--;
	neighd_forget(idx);
	call_ok(call, NULL);
}

static cJSON *neigh_json(const struct neigh *neigh)
{
	const struct port *port = port_by_id(neigh->port_id);
	uint8_t state = atomic_load_explicit(&neigh->state, memory_order_relaxed);
	cJSON *out = cJSON_CreateObject();

	cJSON_AddStringToObject(out, "port", port != NULL ? port->name : "");
	api_add_ip(out, "address", &neigh->addr);
	cJSON_AddStringToObject(out, "state", neigh_state_name((enum neigh_state)state));
	if (state != NEIGH_PENDING && state != NEIGH_FAILED)
		api_add_mac(out, "mac", &neigh->mac);
	cJSON_AddNumberToObject(
		out, "age_s", (double)((clock_ns() - neigh->changed_ns) / CLOCK_NS_PER_S));
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < NEIGH_TABLE_MAX ? neigh_next((uint32_t)from) : NEIGH_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != NEIGH_NONE && page.left > 0; idx = neigh_next(idx + 1))
		api_page_add(&page, neigh_json(neigh_at(idx)));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != NEIGH_NONE ? cursor : NULL);
}

const struct api_handler api_neigh[] = {
	{ "neigh.add", handle_add },
	{ "neigh.del", handle_del },
	{ "neigh.list", handle_list },
	API_HANDLERS_END,
};
