/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.add, endpoint.del, endpoint.list, endpoint.show */
#include <stdio.h>
#include <string.h>

#include "control/api/api.h"
#include "control/api/endpoint_common.h"
#include "control/objects.h"
#include "control/state.h"
#include "pmd/portmgr.h"

bool endpoint_id_is_reserved(struct call *call, const char *id)
{
	if (strcmp(id, "host") != 0 && strncmp(id, "self:", 5) != 0)
		return false;
	call_fail(call, LEAT_ERR_PARAMS, "id", "the ids \"host\" and \"self:...\" are leatd's own");
	return true;
}

/* Kernel devices have the port's MAC; behind other ports it follows from the address unless something was configured. */
static struct rte_ether_addr choose_mac(const struct req_endpoint *req, const struct port *port)
{
	const struct schema_ip *addresses = req->addresses.items;
	const struct ip_addr first = api_ip(&addresses[0]);

	if (req->mac.is_set)
		return api_mac(&req->mac);
	if (strcmp(port->ops->kind, "tap") == 0 || port->n_addrs > 0 ||
		object_port_has_mac(port->name))
		return port->mac;
	return mac_from_ip(&first);
}

static bool check_port(struct call *call, const struct req_endpoint *req, const struct port *port)
{
	if (port == NULL)
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", req->port);
	else if (port->role != PORT_ROLE_POD)
		call_fail(call, LEAT_ERR_CONFLICT, "port", "port %s is no pod port", req->port);
	else if (port->zone != req->zone)
		call_fail(call, LEAT_ERR_CONFLICT, "zone", "port %s is in zone %u", req->port,
			port->zone);
	else
		return true;
	return false;
}

static void handle_add(struct call *call)
{
	const struct req_endpoint *req = call_req(call);
	const struct schema_ip *addresses = req->addresses.items;
	struct port *port = port_by_name(req->port);
	char errbuf[256] = "";
	struct endpoint_config cfg;
	int rc;

	if (endpoint_id_is_reserved(call, req->id) ||
		!api_add_may_go_on(call, endpoint_by_id(req->id) != ENDPOINT_NONE, req->exist_ok,
			"endpoint", req->id) ||
		!check_port(call, req, port))
		return;
	cfg = (struct endpoint_config){
		.id = req->id,
		.kind = ENDPOINT_POD,
		.port_id = port->id,
		.zone = port->zone,
		.mac = choose_mac(req, port),
		.gw_mac = port->gw_mac,
		.mtu = port->mtu,
		.n_addrs = (uint8_t)req->addresses.len,
		.max_conns = (uint32_t)req->max_conns,
		.max_new_conns_per_s = (uint64_t)req->max_new_conns_per_s,
		.limits = {
			[ENDPOINT_FROM] = { (uint64_t)req->rate_pps, (uint64_t)req->burst_pkts, (uint64_t)req->rate_bps,
				(uint64_t)req->burst_bytes },
			[ENDPOINT_TO] = { (uint64_t)req->to_rate_pps, (uint64_t)req->to_burst_pkts,
				(uint64_t)req->to_rate_bps, (uint64_t)req->to_burst_bytes },
		},
	};
	for (uint32_t i = 0; i < req->addresses.len; i++)
		cfg.addrs[i] = api_ip(&addresses[i]);
	if (rte_is_same_ether_addr(&cfg.mac, &port->gw_mac)) {
		call_fail(call, LEAT_ERR_PARAMS, "mac", "the gateway's MAC is not for an endpoint");
		return;
	}
	if (port->endpoint_idx == ENDPOINT_NONE)
		port->mac =
			cfg.mac; /* no packet is accepted from a port without endpoint: nobody reads it now */
	rc = object_endpoint_add(port, &cfg, errbuf, sizeof(errbuf));
	if (rc < 0) {
		call_fail(call, api_errno_code(rc),
			rc == -EADDRINUSE || rc == -EINVAL ? "addresses" : NULL, "%s", errbuf);
		return;
	}
	object_port_refs[port->id]++;
	call_ok(call, NULL);
}

static void handle_del(struct call *call)
{
	const struct req_endpoint_id *req = call_req(call);
	uint32_t idx = endpoint_by_id(req->id);
	char key[STORE_KEY_MAX];
	const struct store_item *item;

	if (endpoint_id_is_reserved(call, req->id))
		return;
	if (idx == ENDPOINT_NONE) {
		if (api_del_missing(call, req->missing_ok, "endpoint", req->id))
			call_ok(call, NULL);
		return;
	}
	snprintf(key, sizeof(key), "endpoint %s", req->id);
	item = store_find(state_store(), key);
	if (item != NULL && strcmp(item->method->name, "endpoint.add") != 0) {
		call_fail(call, LEAT_ERR_CONFLICT, "id", "endpoint %s was attached: detach it",
			req->id);
		return;
	}
	object_port_refs[endpoint_at(idx)->port_id]--;
	object_endpoint_del(idx);
	call_ok(call, NULL);
}

static void add_limits(cJSON *out, const char *name, const struct endpoint_limits *limits)
{
	cJSON *object;

	if (limits->rate_pps == 0 && limits->rate_bps == 0)
		return;
	object = cJSON_AddObjectToObject(out, name);
	cJSON_AddNumberToObject(object, "rate_pps", (double)limits->rate_pps);
	cJSON_AddNumberToObject(object, "burst_pkts", (double)limits->burst_pkts);
	cJSON_AddNumberToObject(object, "rate_bps", (double)limits->rate_bps);
	cJSON_AddNumberToObject(object, "burst_bytes", (double)limits->burst_bytes);
}

void api_add_pod(cJSON *out, const char *id)
{
	static const char *const fields[] = { "pod", "namespace" };
	char key[STORE_KEY_MAX];
	const struct store_item *item;
	cJSON *params;

	snprintf(key, sizeof(key), "endpoint %s", id);
	item = store_find(state_store(), key);
	if (item == NULL || strstr(item->params, "\"pod\":") == NULL)
		return;
	params = cJSON_Parse(item->params);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(params, fields[i]);

		if (value != NULL)
			cJSON_AddItemToObject(out, fields[i], value);
	}
	cJSON_Delete(params);
}

static cJSON *endpoint_json(uint32_t idx)
{
	static const char *const kinds[] = { "pod", "host", "self" };
	const struct endpoint *ep = endpoint_at(idx);
	const struct port *port = port_by_id(ep->port_id);
	cJSON *out = cJSON_CreateObject(), *list;
	char text[IP_ADDR_STRLEN];

	cJSON_AddStringToObject(out, "id", ep->id);
	api_add_pod(out, ep->id);
	cJSON_AddStringToObject(out, "kind", kinds[ep->kind]);
	cJSON_AddStringToObject(out, "port", port != NULL ? port->name : "");
	cJSON_AddNumberToObject(out, "zone", ep->zone);
	list = cJSON_AddArrayToObject(out, "addresses");
	for (unsigned int i = 0; i < ep->n_addrs; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(ip_format(&ep->addrs[i], text)));
	api_add_mac(out, "mac", &ep->mac);
	cJSON_AddNumberToObject(
		out, "conns", atomic_load_explicit(&ep->n_conns, memory_order_relaxed));
	if (ep->max_conns != 0)
		cJSON_AddNumberToObject(out, "max_conns", ep->max_conns);
	if (ep->max_new_conns_per_s != 0)
		cJSON_AddNumberToObject(
			out, "max_new_conns_per_s", (double)ep->max_new_conns_per_s);
	add_limits(out, "from_limits", &ep->limits[ENDPOINT_FROM]);
	add_limits(out, "to_limits", &ep->limits[ENDPOINT_TO]);
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	struct api_page page;
	char cursor[24];
	uint32_t idx = from < ENDPOINT_TABLE_MAX ? endpoint_next((uint32_t)from) : ENDPOINT_NONE;

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != ENDPOINT_NONE; idx = endpoint_next(idx + 1)) {
		snprintf(cursor, sizeof(cursor), "%u", idx);
		if (page.left == 0)
			break;
		api_page_add(&page, endpoint_json(idx));
	}
	api_page_end(call, &page, idx != ENDPOINT_NONE ? cursor : NULL);
}

/* What attach and the state know on top: container, netns … */
static void add_stored(cJSON *out, const char *id)
{
	static const char *const fields[] = { "container", "ifname", "netns", "kind" };
	char key[STORE_KEY_MAX];
	const struct store_item *item;
	cJSON *params, *object;

	snprintf(key, sizeof(key), "endpoint %s", id);
	item = store_find(state_store(), key);
	if (item == NULL || strcmp(item->method->name, "endpoint.attach") != 0)
		return;
	params = cJSON_Parse(item->params);
	object = cJSON_AddObjectToObject(out, "attached");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(params, fields[i]);

		if (value != NULL)
			cJSON_AddItemToObject(object, fields[i], value);
	}
	cJSON_Delete(params);
}

static void handle_show(struct call *call)
{
	const struct req_endpoint_id *req = call_req(call);
	uint32_t idx = endpoint_by_id(req->id);
	cJSON *out;

	if (idx == ENDPOINT_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "id", "there is no endpoint %s", req->id);
		return;
	}
	out = endpoint_json(idx);
	add_stored(out, req->id);
	call_ok(call, out);
}

const struct api_handler api_endpoint[] = {
	{ "endpoint.add", handle_add },
	{ "endpoint.del", handle_del },
	{ "endpoint.list", handle_list },
	{ "endpoint.show", handle_show },
	API_HANDLERS_END,
};
