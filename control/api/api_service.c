/* SPDX-License-Identifier: BSD-3-Clause */
/* service.add, service.del, service.list, service.show */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api.h"
#include "control/health.h"
#include "control/locality.h"
#include "control/node_routes.h"
#include "control/usage.h"
#include "datapath/base/log.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service.h"

static const uint8_t protos[] = { [REQ_PROTO_TCP] = IPPROTO_TCP,
	[REQ_PROTO_UDP] = IPPROTO_UDP,
	[REQ_PROTO_SCTP] = IPPROTO_SCTP };
static const char *const kind_names[FRONTEND_KIND_N] = { "cluster", "external", "node-port",
	"host-port" };

/* What a request becomes; the arrays are this file's to free. */
struct wanted {
	struct service_config cfg;
	struct frontend_config *frontends;
	struct backend_config *backends;
	uint32_t *sets;
};

static void wanted_fini(struct wanted *w)
{
	for (unsigned int i = 0; i < w->cfg.n_source_sets; i++)
		ipset_put(w->sets[i]); /* the service has its own references */
	free(w->frontends);
	free(w->backends);
	free(w->sets);
}

static bool fill_frontend(
	struct call *call, const struct req_frontend *req, uint32_t i, struct frontend_config *out)
{
	char field[64];

	*out = (struct frontend_config){ .kind = (uint8_t)req->kind,
		.proto = protos[req->proto],
		.has_addr = req->ip.is_set,
		.addr = api_ip(&req->ip),
		.port = (uint16_t)req->port,
		.port_end = (uint16_t)(req->port_end != 0 ? req->port_end : req->port),
		.target_port = (uint16_t)req->target_port };
	snprintf(field, sizeof(field), "frontends[%u].ip", i);
	if (req->ip.is_set && req->kind == FRONTEND_NODE_PORT) {
		call_fail(call, LEAT_ERR_PARAMS, field,
			"a node port is on every address of the node");
		return false;
	}
	if (!req->ip.is_set && (req->kind == FRONTEND_CLUSTER || req->kind == FRONTEND_EXTERNAL)) {
		call_fail(call, LEAT_ERR_PARAMS, field, "the frontend needs an address");
		return false;
	}
	if (req->ip.is_set && !api_check_host_ip(call, field, &req->ip))
		return false;
	if (out->port_end < out->port) {
		snprintf(field, sizeof(field), "frontends[%u].port_end", i);
		call_fail(call, LEAT_ERR_PARAMS, field, "the range ends before it begins");
		return false;
	}
	return true;
}

static bool is_local(const struct req_backend *req, uint16_t zone, const struct ip_addr *addr)
{
	return req->local == REQ_LOCAL_AUTO ? locality_is_local(zone, addr)
					    : req->local == REQ_LOCAL_YES;
}

static void fill_backend(const struct req_backend *req, uint16_t zone, struct backend_config *out)
{
	*out = (struct backend_config){ .addr = api_ip(&req->ip),
		.port = (uint16_t)req->port,
		.weight = (uint16_t)req->weight,
		.flags = (uint8_t)((req->ready && !req->terminating ? BACKEND_F_READY : 0) |
			(req->serving ? BACKEND_F_SERVING : 0) |
			(req->terminating ? BACKEND_F_TERMINATING : 0) |
			(req->local == REQ_LOCAL_AUTO ? BACKEND_F_AUTO_LOCAL : 0)) };
	if (is_local(req, zone, &out->addr))
		out->flags |= BACKEND_F_LOCAL;
}

/* Addresses that no backend has, or families that do not meet; false: the call has been failed. */
static bool backends_check(struct call *call, const struct req_service *req)
{
	const struct req_backend *backends = req->backends.items;
	const struct req_frontend *frontends = req->frontends.items;
	char field[64];

	for (uint32_t i = 0; i < req->backends.len; i++) {
		const struct ip_addr addr = api_ip(&backends[i].ip);

		snprintf(field, sizeof(field), "backends[%u].ip", i);
		if (!api_check_host_ip(call, field, &backends[i].ip))
			return false;
		for (uint32_t f = 0; f < req->frontends.len; f++) {
			const struct ip_addr vip = api_ip(&frontends[f].ip);

			if (!frontends[f].ip.is_set || ip_is_v4(&vip) == ip_is_v4(&addr))
				continue;
			call_fail(call, LEAT_ERR_PARAMS, field,
				"backends and frontends must be of one address family");
			return false;
		}
	}
	return true;
}

static uint16_t flags_of(const struct req_service *req)
{
	return (uint16_t)((req->internal_policy == REQ_TRAFFIC_LOCAL ? SERVICE_F_INTERNAL_LOCAL
								     : 0) |
		(req->external_policy == REQ_TRAFFIC_LOCAL ? SERVICE_F_EXTERNAL_LOCAL : 0) |
		(req->reject ? SERVICE_F_REJECT : 0) | (req->reset ? SERVICE_F_RESET : 0));
}

static bool fill_sets(struct call *call, const struct req_service *req, struct wanted *w)
{
	const struct schema_prefix *ranges = req->source_ranges.items;

	for (uint32_t i = 0; i < req->source_ranges.len; i++) {
		const struct ip_prefix prefix = api_prefix(&ranges[i]);

		w->sets[i] = ipset_intern((uint16_t)req->zone, &prefix, NULL, 0);
		if (w->sets[i] == IPSET_NONE) {
			call_fail(
				call, LEAT_ERR_RESOURCES, "source_ranges", "no more address sets");
			return false;
		}
		w->cfg.n_source_sets++;
	}
	return true;
}

/* False: the call has been failed; wanted_fini() in any case. */
static bool fill(struct call *call, const struct req_service *req, struct wanted *w)
{
	const struct req_frontend *frontends = req->frontends.items;
	const struct req_backend *backends = req->backends.items;

	*w = (struct wanted){
		.frontends = calloc(req->frontends.len + 1, sizeof(*w->frontends)),
		.backends = calloc(req->backends.len + 1, sizeof(*w->backends)),
		.sets = calloc(req->source_ranges.len + 1, sizeof(*w->sets)),
	};
	w->cfg = (struct service_config){ .name = req->name,
		.zone = (uint16_t)req->zone,
		.flags = flags_of(req),
		.algorithm = (enum service_algorithm)req->algorithm,
		.affinity_s = (uint32_t)req->affinity_s,
		.source_sets = w->sets,
		.frontends = w->frontends,
		.n_frontends = req->frontends.len,
		.backends = w->backends,
		.n_backends = req->backends.len };
	if (w->frontends == NULL || w->backends == NULL || w->sets == NULL) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
		return false;
	}
	for (uint32_t i = 0; i < req->frontends.len; i++)
		if (!fill_frontend(call, &frontends[i], i, &w->frontends[i]))
			return false;
	for (uint32_t i = 0; i < req->backends.len; i++)
		fill_backend(&backends[i], w->cfg.zone, &w->backends[i]);
	return backends_check(call, req) && fill_sets(call, req, w);
}

static bool is_twin(const struct req_frontend *a, const struct req_frontend *b)
{
	const struct ip_addr x = api_ip(&a->ip), y = api_ip(&b->ip);

	return a->proto == b->proto && a->ip.is_set == b->ip.is_set && ip_eq(&x, &y) &&
		a->port <= RTE_MAX(b->port, b->port_end) &&
		b->port <= RTE_MAX(a->port, a->port_end);
}

/* Whether an earlier frontend of the request has ports of this one. */
static bool has_twin(const struct req_service *req, unsigned int at)
{
	const struct req_frontend *frontends = req->frontends.items;

	for (unsigned int i = 0; i < at; i++)
		if (is_twin(&frontends[i], &frontends[at]))
			return true;
	return false;
}

static void set_failed(struct call *call, const struct req_service *req, int rc, unsigned int at)
{
	char field[64];

	switch (rc) {
	case -EEXIST:
		snprintf(field, sizeof(field), "frontends[%u]", at);
		call_fail(call, LEAT_ERR_CONFLICT, field,
			has_twin(req, at)
				? "an earlier frontend has this address, protocol and port"
				: "another service has this address, protocol and port");
		break;
	case -EINVAL:
		call_fail(call, LEAT_ERR_PARAMS, "backends",
			"service %s names a frontend or backend twice, or changes its zone",
			req->name);
		break;
	default:
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no room for service %s", req->name);
		break;
	}
}

/* Listens on the health check port. *out_port: what to bind; false: the call has been failed. */
static bool health_listen(struct call *call, const struct req_service *req, uint16_t *out_port)
{
	int rc = health_get((uint16_t)req->health_check_port);

	*out_port = rc == 0 ? (uint16_t)req->health_check_port : 0;
	if (rc == 0)
		return true;
	if (call->is_replay) { /* a saved service serves all the same */
		log_warn("service", "cannot listen for health checks name=%s port=%u error=%s",
			req->name, (unsigned int)req->health_check_port, strerror(-rc));
		return true;
	}
	call_fail(call, rc == -EADDRINUSE ? LEAT_ERR_CONFLICT : LEAT_ERR_RESOURCES,
		"health_check_port", "cannot listen on port %u: %s",
		(unsigned int)req->health_check_port, strerror(-rc));
	return false;
}

/* The node's kernel leads to ClusterIPs and external addresses through leatd. */
static void frontends_route(uint16_t zone, const struct frontend_config *frontends, unsigned int n,
	void (*change)(uint16_t zone, const struct ip_addr *addr))
{
	for (unsigned int i = 0; i < n; i++)
		if (frontends[i].kind == FRONTEND_CLUSTER || frontends[i].kind == FRONTEND_EXTERNAL)
			change(zone, &frontends[i].addr);
}

static void handle_add(struct call *call)
{
	static struct frontend_config old[SERVICE_FRONTENDS_MAX];
	const struct req_service *req = call_req(call);
	uint32_t idx = service_by_name(req->name);
	unsigned int at = 0, n_old = 0;
	uint16_t port = 0;
	struct wanted w;
	int rc;

	if (!req->replace && !call->is_replay &&
		!api_add_may_go_on(call, idx != SERVICE_NONE, req->exist_ok, "service", req->name))
		return;
	if (!fill(call, req, &w) || !health_listen(call, req, &port)) {
		wanted_fini(&w);
		return;
	}
	if (idx != SERVICE_NONE)
		n_old = service_frontends(idx, old, SERVICE_FRONTENDS_MAX);
	rc = service_set(&w.cfg, &idx, &at);
	if (rc == 0) {
		frontends_route(w.cfg.zone, w.frontends, w.cfg.n_frontends, node_route_get_addr);
		frontends_route(w.cfg.zone, old, n_old, node_route_put_addr);
	}
	wanted_fini(&w);
	if (rc < 0) {
		health_put(port);
		set_failed(call, req, rc, at);
		return;
	}
	health_bind(idx, port);
	call_ok(call, NULL);
}

static void handle_del(struct call *call)
{
	static struct frontend_config old[SERVICE_FRONTENDS_MAX];
	const struct req_id_name *req = call_req(call);
	uint32_t idx = service_by_name(req->name);
	uint16_t zone;

	if (idx == SERVICE_NONE) {
		if (api_del_missing(call, req->missing_ok, "service", req->name))
			call_ok(call, NULL);
		return;
	}
	zone = service_at(idx)->zone;
	frontends_route(
		zone, old, service_frontends(idx, old, SERVICE_FRONTENDS_MAX), node_route_put_addr);
	health_bind(idx, 0);
	service_del(idx);
	call_ok(call, NULL);
}

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_TCP ? "tcp" : proto == IPPROTO_UDP ? "udp" : "sctp";
}

static cJSON *frontend_json(const struct frontend_config *f)
{
	cJSON *out = cJSON_CreateObject();

	cJSON_AddStringToObject(out, "kind", kind_names[f->kind]);
	if (f->has_addr)
		api_add_ip(out, "ip", &f->addr);
	cJSON_AddStringToObject(out, "proto", proto_name(f->proto));
	cJSON_AddNumberToObject(out, "port", f->port);
	if (f->port_end != f->port)
		cJSON_AddNumberToObject(out, "port_end", f->port_end);
	if (f->target_port != 0)
		cJSON_AddNumberToObject(out, "target_port", f->target_port);
	return out;
}

static void add_usage(cJSON *out, const struct usage *usage)
{
	cJSON_AddNumberToObject(out, "connections", (double)usage->n_conns);
	cJSON_AddNumberToObject(out, "packets", (double)usage->pkts);
	cJSON_AddNumberToObject(out, "bytes", (double)usage->bytes);
}

static cJSON *backend_json(uint32_t idx)
{
	const struct backend *b = backend_at(idx);
	uint8_t flags = atomic_load_explicit(&b->flags, memory_order_relaxed);
	struct usage usage = usage_of_backend(idx);
	cJSON *out = cJSON_CreateObject();

	api_add_ip(out, "ip", &b->addr);
	cJSON_AddNumberToObject(out, "port", rte_be_to_cpu_16(b->port));
	cJSON_AddNumberToObject(out, "weight", b->weight);
	cJSON_AddBoolToObject(out, "ready", (flags & BACKEND_F_READY) != 0);
	cJSON_AddBoolToObject(out, "serving", (flags & BACKEND_F_SERVING) != 0);
	cJSON_AddBoolToObject(out, "terminating", (flags & BACKEND_F_TERMINATING) != 0);
	cJSON_AddBoolToObject(out, "local", (flags & BACKEND_F_LOCAL) != 0);
	add_usage(out, &usage);
	return out;
}

static cJSON *service_json(uint32_t idx, bool is_whole)
{
	static struct frontend_config frontends[SERVICE_FRONTENDS_MAX];
	static uint32_t backends[SERVICE_BACKENDS_MAX];
	unsigned int n_frontends = service_frontends(idx, frontends, SERVICE_FRONTENDS_MAX);
	unsigned int n_backends = service_backends(idx, backends, SERVICE_BACKENDS_MAX);
	struct usage sum = { 0 };
	cJSON *out = cJSON_CreateObject(), *list;

	cJSON_AddStringToObject(out, "name", service_name(idx));
	cJSON_AddNumberToObject(out, "zone", service_at(idx)->zone);
	if (n_frontends > 0 && !is_whole)
		cJSON_AddItemToObject(out, "frontend", frontend_json(&frontends[0]));
	cJSON_AddNumberToObject(out, "n_frontends", n_frontends);
	cJSON_AddNumberToObject(out, "n_backends", n_backends);
	cJSON_AddNumberToObject(out, "local_ready", service_n_local_ready(idx));
	for (unsigned int i = 0; i < n_backends; i++) {
		struct usage usage = usage_of_backend(backends[i]);

		sum.n_conns += usage.n_conns;
		sum.pkts += usage.pkts;
		sum.bytes += usage.bytes;
	}
	add_usage(out, &sum);
	if (!is_whole)
		return out;
	if (health_port(idx) != 0)
		cJSON_AddNumberToObject(out, "health_check_port", health_port(idx));
	list = cJSON_AddArrayToObject(out, "frontends");
	for (unsigned int i = 0; i < n_frontends; i++)
		cJSON_AddItemToArray(list, frontend_json(&frontends[i]));
	list = cJSON_AddArrayToObject(out, "backends");
	for (unsigned int i = 0; i < n_backends; i++)
		cJSON_AddItemToArray(list, backend_json(backends[i]));
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < SERVICE_TABLE_MAX ? service_next((uint32_t)from) : SERVICE_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != SERVICE_NONE && page.left > 0; idx = service_next(idx + 1))
		api_page_add(&page, service_json(idx, false));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != SERVICE_NONE ? cursor : NULL);
}

static void handle_show(struct call *call)
{
	const struct req_id_name *req = call_req(call);
	uint32_t idx = service_by_name(req->name);

	if (idx == SERVICE_NONE)
		call_fail(call, LEAT_ERR_NOT_FOUND, "name", "there is no service %s", req->name);
	else
		call_ok(call, service_json(idx, true));
}

const struct api_handler api_service[] = {
	{ "service.add", handle_add },
	{ "service.del", handle_del },
	{ "service.list", handle_list },
	{ "service.show", handle_show },
	API_HANDLERS_END,
};
