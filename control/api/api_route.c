/* SPDX-License-Identifier: BSD-3-Clause */
/* route.add, route.del, route.list, route.lookup */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/api/api.h"
#include "control/kernel_routes.h"
#include "control/node_routes.h"
#include "control/objects.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

static const char *const kind_names[ROUTE_KIND_N] = {
	[ROUTE_NONE] = "none",
	[ROUTE_VIA] = "unicast",
	[ROUTE_CONNECTED] = "connected",
	[ROUTE_TUNNEL] = "tunnel",
	[ROUTE_BLACKHOLE] = "blackhole",
	[ROUTE_PROHIBIT] = "prohibit",
	[ROUTE_UNREACHABLE] = "unreachable",
};
static const char *const origin_names[ROUTE_ORIGIN_N] = {
	[ROUTE_ORIGIN_STATIC] = "static",
	[ROUTE_ORIGIN_CONNECTED] = "connected",
	[ROUTE_ORIGIN_KERNEL] = "kernel",
};

static const uint8_t special_kinds[] = {
	[REQ_ROUTE_BLACKHOLE] = ROUTE_BLACKHOLE,
	[REQ_ROUTE_PROHIBIT] = ROUTE_PROHIBIT,
	[REQ_ROUTE_UNREACHABLE] = ROUTE_UNREACHABLE,
};

/* The port through which a next hop is reached: a connected route must cover it. */
static struct port *port_of_next_hop(uint16_t zone, const struct ip_addr *via)
{
	const struct route *route = route_at(route_lookup(zone, via));

	return route->kind == ROUTE_CONNECTED ? port_by_id(route->port_id) : NULL;
}

static bool fill_tunnel(struct call *call, const struct req_route *req, struct route_config *cfg)
{
	uint32_t idx = tunnel_by_name(req->tunnel);

	if (req->via.is_set || req->port != NULL) {
		call_fail(call, LEAT_ERR_PARAMS, "tunnel",
			"a route into a tunnel has neither via nor port");
	} else if (idx == TUNNEL_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "tunnel", "there is no tunnel %s", req->tunnel);
	} else if (tunnel_at(idx)->zone != req->zone) {
		call_fail(call, LEAT_ERR_CONFLICT, "zone", "tunnel %s is in zone %u", req->tunnel,
			tunnel_at(idx)->zone);
	} else {
		cfg->kind = ROUTE_TUNNEL;
		cfg->tunnel_idx = idx;
		return true;
	}
	return false;
}

static bool fill_unicast(struct call *call, const struct req_route *req, struct route_config *cfg)
{
	struct port *port = req->port != NULL ? port_by_name(req->port) : NULL;

	if (req->port != NULL && port == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", req->port);
		return false;
	}
	if (!req->via.is_set && port == NULL) {
		call_fail(call, LEAT_ERR_PARAMS, "via", "one of via, port and tunnel is required");
		return false;
	}
	if (req->via.is_set) {
		cfg->via = api_ip(&req->via);
		if (ip_is_v4(&cfg->via) != ip_is_v4(&cfg->prefix.addr)) {
			call_fail(call, LEAT_ERR_PARAMS, "via",
				"via and prefix must be of one address family");
			return false;
		}
		if (port == NULL)
			port = port_of_next_hop(cfg->zone, &cfg->via);
		if (port == NULL) {
			call_fail(call, LEAT_ERR_NOT_FOUND, "via",
				"no connected network has the next hop: name its port");
			return false;
		}
	}
	cfg->kind = req->via.is_set ? ROUTE_VIA : ROUTE_CONNECTED;
	cfg->port_id = port->id;
	return true;
}

static bool fill_config(struct call *call, const struct req_route *req, struct route_config *cfg)
{
	*cfg = (struct route_config){
		.prefix = api_prefix(&req->prefix),
		.zone = (uint16_t)req->zone,
		.mtu = (uint16_t)req->mtu,
		.origin = ROUTE_ORIGIN_STATIC,
	};
	const bool is_v4 = ip_is_v4(&cfg->prefix.addr);

	if (cfg->mtu != 0 && cfg->mtu < (is_v4 ? IP4_MTU_MIN : IP6_MTU_MIN)) {
		call_fail(call, LEAT_ERR_PARAMS, "mtu", "mtu must be 0 or %u at least",
			is_v4 ? IP4_MTU_MIN : IP6_MTU_MIN);
		return false;
	}
	if (req->type != REQ_ROUTE_UNICAST) {
		if (req->via.is_set || req->port != NULL || req->tunnel != NULL) {
			call_fail(call, LEAT_ERR_PARAMS, "type",
				"only a unicast route has via, port or tunnel");
			return false;
		}
		cfg->kind = special_kinds[req->type];
		return true;
	}
	return req->tunnel != NULL ? fill_tunnel(call, req, cfg) : fill_unicast(call, req, cfg);
}

/* Objects that the route stands on may not go before it. */
static void count_refs(const struct route *route, int step)
{
	if (route->origin != ROUTE_ORIGIN_STATIC)
		return;
	if (route->kind == ROUTE_TUNNEL)
		object_tunnel_refs[route->tunnel_idx] += (uint32_t)step;
	else if (route->kind == ROUTE_VIA || route->kind == ROUTE_CONNECTED)
		object_port_refs[route->port_id] += (uint32_t)step;
}

/* What was configured here wins over what the kernel says; what was configured before goes only if that is asked for. */
static bool may_replace(const struct call *call, const struct req_route *req, uint32_t idx,
	const struct route_config *cfg)
{
	const struct route *route = route_at(idx);

	if (route->origin == ROUTE_ORIGIN_KERNEL)
		return true;
	return route->origin == ROUTE_ORIGIN_STATIC && !route_matches(route, cfg) &&
		(req->replace || call->is_replay);
}

/* The node's kernel hears of routes into tunnels. */
static void route_gone(const struct route *old)
{
	count_refs(old, -1);
	if (old->kind == ROUTE_TUNNEL)
		node_route_put(old->zone, &old->prefix);
}

static void handle_add(struct call *call)
{
	const struct req_route *req = call_req(call);
	char text[SCHEMA_TEXT_MAX];
	struct route_config cfg;
	bool is_replaced = false;
	struct route old;
	uint32_t idx;
	int rc;

	if (!fill_config(call, req, &cfg))
		return;
	rc = route_add(&cfg, &idx);
	if (rc == -EEXIST && may_replace(call, req, idx, &cfg)) {
		memcpy(&old, route_at(idx), sizeof(old));
		rc = route_replace(&cfg, &idx);
		is_replaced = rc == 0;
	}
	if (rc == -EEXIST) {
		schema_prefix_format(&req->prefix, text);
		if (route_matches(route_at(idx), &cfg) && (req->exist_ok || req->replace))
			call_unchanged(call, NULL);
		else
			call_fail(call, LEAT_ERR_EXISTS, "prefix",
				"there is a %s route to %s in zone %u already%s",
				origin_names[route_at(idx)->origin], text, cfg.zone,
				req->exist_ok ? ", and it is different" : "");
		return;
	}
	if (rc < 0) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "the route table is full");
		return;
	}
	count_refs(route_at(idx), 1);
	if (cfg.kind == ROUTE_TUNNEL)
		node_route_get(cfg.zone, &cfg.prefix, cfg.mtu);
	if (is_replaced)
		route_gone(&old);
	call_ok(call, NULL);
}

static void handle_del(struct call *call)
{
	const struct req_route *req = call_req(call);
	const struct ip_prefix prefix = api_prefix(&req->prefix);
	uint16_t zone = (uint16_t)req->zone;
	uint32_t idx = route_find(zone, &prefix);
	char text[SCHEMA_TEXT_MAX];
	struct route old;

	schema_prefix_format(&req->prefix, text);
	if (idx == ROUTE_IDX_NONE) {
		if (api_del_missing(call, req->missing_ok, "route", text))
			call_ok(call, NULL);
		return;
	}
	if (route_at(idx)->origin != ROUTE_ORIGIN_STATIC) {
		call_fail(call, LEAT_ERR_PERMISSION, "prefix", "the route to %s is a %s one", text,
			origin_names[route_at(idx)->origin]);
		return;
	}
	memcpy(&old, route_at(idx), sizeof(old));
	if (route_del(zone, &prefix) < 0) {
		call_fail(call, LEAT_ERR_AGAIN, NULL,
			"no memory to change the route table: try again");
		return;
	}
	route_gone(&old);
	kernel_routes_retry();
	call_ok(call, NULL);
}

static cJSON *route_json(const struct route *route)
{
	const struct port *port = port_by_id(route->port_id);
	cJSON *out = cJSON_CreateObject();

	cJSON_AddNumberToObject(out, "zone", route->zone);
	if (route->kind != ROUTE_NONE)
		api_add_prefix(out, "prefix", &route->prefix);
	cJSON_AddStringToObject(out, "type", kind_names[route->kind]);
	if (route->kind == ROUTE_VIA)
		api_add_ip(out, "via", &route->via);
	if ((route->kind == ROUTE_VIA || route->kind == ROUTE_CONNECTED) && port != NULL)
		cJSON_AddStringToObject(out, "port", port->name);
	if (route->kind == ROUTE_TUNNEL)
		cJSON_AddStringToObject(out, "tunnel", tunnel_at(route->tunnel_idx)->name);
	if (route->mtu != 0)
		cJSON_AddNumberToObject(out, "mtu", route->mtu);
	cJSON_AddStringToObject(out, "origin", origin_names[route->origin]);
	return out;
}

/* Cursor: "ZONE PREFIX", the last route given. */
static bool parse_cursor(const char *text, struct route_cursor *cursor)
{
	char prefix[IP_PREFIX_STRLEN];
	unsigned int zone;

	if (sscanf(text, "%u %55s", &zone, prefix) != 2 || zone > UINT16_MAX ||
		ip_prefix_parse(prefix, &cursor->prefix) < 0)
		return false;
	cursor->zone = (uint16_t)zone;
	cursor->is_started = true;
	return true;
}

static bool is_inside(const struct req_route_list *req, const struct route *route)
{
	const struct ip_prefix outer = api_prefix(&req->prefix);

	return !req->prefix.is_set ||
		(route->prefix.len >= outer.len && ip_prefix_covers(&outer, &route->prefix.addr));
}

/* A list with a filter looks at a bounded number of routes a page: a page may be short, its cursor goes on. */
#define LOOKED_AT_MAX 20000

static void handle_list(struct call *call)
{
	const struct req_route_list *req = call_req(call);
	struct route_cursor cursor = { 0 };
	char text[IP_PREFIX_STRLEN], next[IP_PREFIX_STRLEN + 8];
	unsigned int n_looked_at = 0;
	struct api_page page;
	uint32_t idx = ROUTE_IDX_NONE;

	if (req->zone >= 0) {
		cursor.zone = (uint16_t)req->zone;
		cursor.is_one_zone = true;
	}
	if (req->cursor != NULL && !parse_cursor(req->cursor, &cursor)) {
		call_fail(call, LEAT_ERR_PARAMS, "cursor",
			"cursor must be the \"next\" of the answer before");
		return;
	}
	(void)api_page_begin(call, &page, req->limit, 0);
	while (page.left > 0 && n_looked_at++ < LOOKED_AT_MAX &&
		(idx = route_next(&cursor)) != ROUTE_IDX_NONE)
		if (is_inside(req, route_at(idx)))
			api_page_add(&page, route_json(route_at(idx)));
	snprintf(next, sizeof(next), "%u %s", cursor.zone, ip_prefix_format(&cursor.prefix, text));
	api_page_end(call, &page, idx != ROUTE_IDX_NONE ? next : NULL);
}

static void handle_lookup(struct call *call)
{
	const struct req_route_lookup *req = call_req(call);
	const struct ip_addr addr = api_ip(&req->address);
	uint32_t owner = endpoint_by_addr((uint16_t)req->zone, &addr);
	cJSON *out = route_json(route_at(route_lookup((uint16_t)req->zone, &addr)));

	if (owner != ENDPOINT_NONE) /* what lives here needs no route */
		cJSON_AddStringToObject(out, "endpoint", endpoint_at(owner)->id);
	call_ok(call, out);
}

const struct api_handler api_route[] = {
	{ "route.add", handle_add },
	{ "route.del", handle_del },
	{ "route.list", handle_list },
	{ "route.lookup", handle_lookup },
	API_HANDLERS_END,
};
