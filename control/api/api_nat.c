/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.add, pool.del, pool.list, pair.add, pair.del, pair.list */
#include <errno.h>
#include <stdio.h>

#include "control/api/api.h"
#include "control/api/api_users.h"
#include "control/node_routes.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/snat.h"

/* Fills addrs[]; false: the call has been failed. */
static bool pool_addrs(struct call *call, const struct req_pool *req, struct ip_addr *addrs)
{
	const struct schema_ip *given = req->addresses.items;
	char field[64];

	for (uint32_t i = 0; i < req->addresses.len; i++) {
		snprintf(field, sizeof(field), "addresses[%u]", i);
		if (!api_check_host_ip(call, field, &given[i]))
			return false;
		addrs[i] = api_ip(&given[i]);
		for (uint32_t k = 0; k < i; k++)
			if (ip_eq(&addrs[k], &addrs[i])) {
				call_fail(call, LEAT_ERR_PARAMS, field, "is named twice");
				return false;
			}
	}
	return true;
}

/* The node's kernel leads to a pool's addresses through leatd: a pool is of every zone, the host port mostly of zone 0. */
static void range_route(
	const struct snat_range *range, void (*change)(uint16_t zone, const struct ip_addr *addr))
{
	for (unsigned int i = 0; i < range->n_v4; i++)
		change(0, &range->v4[i]);
	for (unsigned int i = 0; i < range->n_v6; i++)
		change(0, &range->v6[i]);
}

static void handle_pool_add(struct call *call)
{
	const struct req_pool *req = call_req(call);
	struct ip_addr addrs[SNAT_POOL_ADDRS_MAX];
	uint32_t idx = snat_pool_by_name(req->name);
	struct snat_range old = { 0 };
	int rc;

	if (!req->replace && !call->is_replay &&
		!api_add_may_go_on(call, idx != SNAT_POOL_NONE, req->exist_ok, "pool", req->name))
		return;
	if (req->port_min > req->port_max) {
		call_fail(call, LEAT_ERR_PARAMS, "port_max", "the range ends before it begins");
		return;
	}
	if (!pool_addrs(call, req, addrs))
		return;
	if (idx != SNAT_POOL_NONE)
		old = *snat_pool_range(snat_pool_at(idx));
	if (idx != SNAT_POOL_NONE)
		rc = snat_pool_set(idx, addrs, req->addresses.len, (uint16_t)req->port_min,
			(uint16_t)req->port_max);
	else
		rc = snat_pool_add(req->name, addrs, req->addresses.len, (uint16_t)req->port_min,
			(uint16_t)req->port_max, &idx);
	if (rc == -EBUSY)
		call_fail(call, LEAT_ERR_BUSY, "name", "pool %s is always there", req->name);
	else if (rc < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no room for pool %s: %u is the limit",
			req->name, SNAT_POOL_MAX);
	if (rc < 0)
		return;
	range_route(snat_pool_range(snat_pool_at(idx)), node_route_get_addr);
	range_route(&old, node_route_put_addr);
	call_ok(call, NULL);
}

static void handle_pool_del(struct call *call)
{
	const struct req_id_name *req = call_req(call);
	uint32_t idx = snat_pool_by_name(req->name);
	struct api_users users = { 0 };
	struct snat_range old;

	if (idx == SNAT_POOL_NONE) {
		if (api_del_missing(call, req->missing_ok, "pool", req->name))
			call_ok(call, NULL);
		return;
	}
	old = *snat_pool_range(snat_pool_at(idx));
	if (snat_pool_del(idx) == 0) {
		range_route(&old, node_route_put_addr);
		call_ok(call, NULL);
	} else if (idx == SNAT_POOL_NODE) {
		call_fail(call, LEAT_ERR_BUSY, "name", "pool %s is always there", req->name);
	} else {
		api_users_of_pool(&users, idx);
		call_fail(call, LEAT_ERR_BUSY, "name", "pool %s is used by %s", req->name,
			api_users_text(&users));
	}
}

static cJSON *pool_json(uint32_t idx)
{
	const struct snat_pool *pool = snat_pool_at(idx);
	const struct snat_range *range = snat_pool_range(pool);
	cJSON *out = cJSON_CreateObject(), *list;
	char text[IP_ADDR_STRLEN];

	cJSON_AddStringToObject(out, "name", pool->name);
	list = cJSON_AddArrayToObject(out, "addresses");
	for (unsigned int i = 0; i < range->n_v4; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(ip_format(&range->v4[i], text)));
	for (unsigned int i = 0; i < range->n_v6; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(ip_format(&range->v6[i], text)));
	cJSON_AddNumberToObject(out, "port_min", range->port_lo);
	cJSON_AddNumberToObject(out, "port_max", range->port_hi);
	cJSON_AddNumberToObject(out, "rules", pool->n_rules);
	cJSON_AddNumberToObject(out, "connections",
		(double)atomic_load_explicit(&pool->n_conns, memory_order_relaxed));
	cJSON_AddNumberToObject(out, "exhausted",
		(double)atomic_load_explicit(&pool->n_exhausted, memory_order_relaxed));
	return out;
}

static void handle_pool_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < SNAT_POOL_MAX ? snat_pool_next((uint32_t)from) : SNAT_POOL_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != SNAT_POOL_NONE && page.left > 0; idx = snat_pool_next(idx + 1))
		api_page_add(&page, pool_json(idx));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != SNAT_POOL_NONE ? cursor : NULL);
}

/* Addresses that a pair cannot have; false: the call has been failed. */
static bool pair_check(struct call *call, const struct req_pair *req)
{
	const struct ip_addr internal = api_ip(&req->internal), external = api_ip(&req->external);
	uint32_t ep = endpoint_by_addr((uint16_t)req->zone, &external);

	if (!api_check_host_ip(call, "internal", &req->internal) ||
		!api_check_host_ip(call, "external", &req->external))
		return false;
	if (ip_eq(&internal, &external)) {
		call_fail(call, LEAT_ERR_PARAMS, "external", "is the internal address");
		return false;
	}
	if (!call->is_replay && ep != ENDPOINT_NONE && endpoint_at(ep)->kind != ENDPOINT_POD) {
		call_fail(call, LEAT_ERR_CONFLICT, "external", "is the node's own address");
		return false;
	}
	return true;
}

static void handle_pair_add(struct call *call)
{
	const struct req_pair *req = call_req(call);
	const struct ip_addr internal = api_ip(&req->internal), external = api_ip(&req->external);
	uint16_t zone = (uint16_t)req->zone;
	char text[IP_ADDR_STRLEN];
	int rc;

	if (!pair_check(call, req) ||
		!api_add_may_go_on(call, snat_pair_of_internal(zone, &internal) != SLOT_NONE,
			req->exist_ok, "pair of", ip_format(&internal, text)))
		return;
	rc = snat_pair_add(zone, &internal, &external);
	if (rc == -EINVAL)
		call_fail(call, LEAT_ERR_PARAMS, "external",
			"internal and external must be of one address family");
	else if (rc == -EEXIST)
		call_fail(call, LEAT_ERR_CONFLICT, "external", "%s is another pair's",
			ip_format(&external, text));
	else if (rc < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more pairs: %u is the limit",
			SNAT_PAIR_MAX);
	if (rc < 0)
		return;
	node_route_get_addr(zone, &external);
	call_ok(call, NULL);
}

static void handle_pair_del(struct call *call)
{
	const struct req_pair *req = call_req(call);
	const struct ip_addr internal = api_ip(&req->internal);
	uint32_t idx = snat_pair_of_internal((uint16_t)req->zone, &internal);
	char text[IP_ADDR_STRLEN];

	if (idx == SLOT_NONE) {
		if (api_del_missing(call, req->missing_ok, "pair of", ip_format(&internal, text)))
			call_ok(call, NULL);
		return;
	}
	node_route_put_addr((uint16_t)req->zone, &snat_pair_at(idx)->external.addr);
	(void)snat_pair_del((uint16_t)req->zone, &internal);
	call_ok(call, NULL);
}

static void handle_pair_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < SNAT_PAIR_MAX ? snat_pair_next((uint32_t)from) : SLOT_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != SLOT_NONE && page.left > 0; idx = snat_pair_next(idx + 1)) {
		const struct snat_pair *pair = snat_pair_at(idx);
		cJSON *item = cJSON_CreateObject();

		api_add_ip(item, "internal", &pair->internal.addr);
		api_add_ip(item, "external", &pair->external.addr);
		cJSON_AddNumberToObject(item, "zone", pair->internal.zone);
		cJSON_AddNumberToObject(item, "connections",
			(double)atomic_load_explicit(&pair->n_conns, memory_order_relaxed));
		api_page_add(&page, item);
	}
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != SLOT_NONE ? cursor : NULL);
}

const struct api_handler api_nat[] = {
	{ "pool.add", handle_pool_add },
	{ "pool.del", handle_pool_del },
	{ "pool.list", handle_pool_list },
	{ "pair.add", handle_pair_add },
	{ "pair.del", handle_pair_del },
	{ "pair.list", handle_pair_list },
	API_HANDLERS_END,
};
