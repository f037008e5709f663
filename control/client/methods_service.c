/* SPDX-License-Identifier: BSD-3-Clause */
/* service, snat, nat */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const algorithms[] = { "maglev", "hash", NULL };
static const char *const traffic_policies[] = { "cluster", "local", NULL };
static const char *const frontend_kinds[] = { "cluster", "external", "node-port", "host-port",
	NULL };
static const char *const protos[] = { "tcp", "udp", "sctp", NULL };
static const char *const locals[] = { "auto", "yes", "no", NULL };

/* A bool that is true unless it is said otherwise. */
#define F_BOOL_TRUE(S, member, hp)                                                                 \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_BOOL, 0, NULL, hp), .def = 1                      \
	}

static const struct field frontend_fields[] = {
	F_ENUM(req_frontend, kind, 0, frontend_kinds, 0,
		"which rules apply to it: cluster (default), external, node-port or host-port"),
	F_TEXT(req_frontend, ip, FIELD_IP, 0,
		"address; none for node-port, and for host-port on all of the node's"),
	F_ENUM(req_frontend, proto, 0, protos, REQ_PROTO_TCP, "protocol"),
	F_INT(req_frontend, port, FIELD_REQUIRED, NULL, 1, 65535, 0, "port, or first of a range"),
	F_INT(req_frontend, port_end, 0, NULL, 0, 65535, 0, "last port of a range; 0: one port"),
	F_INT(req_frontend, target_port, 0, NULL, 0, 65535, 0,
		"port at the backends; 0: each backend's own"),
	F_END,
};

static const struct field backend_fields[] = {
	F_TEXT(req_backend, ip, FIELD_IP, FIELD_REQUIRED, "address"),
	F_INT(req_backend, port, 0, NULL, 0, 65535, 0,
		"port; 0: the one that the client asked for"),
	F_INT(req_backend, weight, 0, NULL, 0, 65535, 1, "share of new connections; 0: none"),
	F_BOOL_TRUE(req_backend, ready, "takes new connections"),
	F_BOOL_TRUE(req_backend, serving, "serves those that it has"),
	F_BOOL(req_backend, terminating, "on its way out: only if nobody else is ready"),
	F_ENUM(req_backend, local, 0, locals, REQ_LOCAL_AUTO,
		"whether it lives on this node; auto: if an endpoint has the address"),
	F_END,
};

static const struct field service_fields[] = {
	F_TEXT(req_service, name, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "name of the service"),
	F_ZONE(req_service, 0),
	F_ENUM(req_service, algorithm, 0, algorithms, 0, "how a backend is chosen"),
	F_INT(req_service, affinity_s, 0, "s", 0, 86400, 0,
		"a client keeps its backend that long after its last new connection; 0: off"),
	F_ENUM(req_service, internal_policy, 0, traffic_policies, REQ_TRAFFIC_CLUSTER,
		"backends for traffic to cluster addresses: all, or this node's only"),
	F_ENUM(req_service, external_policy, 0, traffic_policies, REQ_TRAFFIC_CLUSTER,
		"backends for traffic from outside; local keeps the client's address"),
	F_BOOL_TRUE(req_service, reject, "without backend, say so (RST, ICMP); else silence"),
	F_BOOL(req_service, reset, "reset TCP connections to a removed backend; else they drain"),
	{ .name = "source_ranges",
		.type = FIELD_PREFIX,
		.flags = FIELD_LIST,
		.offset = offsetof(struct req_service, source_ranges),
		.size = sizeof(struct schema_prefix),
		.help = "who may use external addresses; none: everybody",
		.max_len = 256 },
	F_INT(req_service, health_check_port, 0, NULL, 0, 65535, 0,
		"TCP port of this node that says over HTTP whether it has ready backends; 0: none"),
	{ .name = "frontends",
		.type = FIELD_OBJECT,
		.flags = FIELD_LIST,
		.offset = offsetof(struct req_service, frontends),
		.size = sizeof(struct req_frontend),
		.help = "addresses and ports",
		.max_len = 256,
		.fields = frontend_fields },
	{ .name = "backends",
		.type = FIELD_OBJECT,
		.flags = FIELD_LIST,
		.offset = offsetof(struct req_service, backends),
		.size = sizeof(struct req_backend),
		.help = "who serves",
		.max_len = 6000,
		.fields = backend_fields },
	F_SWITCH(req_service, exist_ok, "succeed if the same service is there already"),
	F_SWITCH(req_service, replace, "change the service into this one if it is there"),
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

static const struct field pool_fields[] = {
	F_TEXT(req_pool, name, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "name of the pool"),
	F_LIST(req_pool, addresses, FIELD_IP, struct schema_ip, FIELD_REQUIRED, 64,
		"addresses; a client keeps one of them"),
	F_INT(req_pool, port_min, 0, NULL, 1, 65535, 1024, "first source port"),
	F_INT(req_pool, port_max, 0, NULL, 1, 65535, 65535, "last source port"),
	F_SWITCH(req_pool, exist_ok, "succeed if the same pool is there already"),
	F_SWITCH(req_pool, replace, "change the pool into this one if it is there"),
	F_END,
};

static const struct field pair_fields[] = {
	F_TEXT(req_pair, internal, FIELD_IP, FIELD_REQUIRED | FIELD_KEY, "address inside"),
	F_TEXT(req_pair, external, FIELD_IP, FIELD_REQUIRED, "address outside"),
	F_ZONE(req_pair, FIELD_KEY),
	F_SWITCH(req_pair, exist_ok, "succeed if the same pair is there already"),
	F_END,
};

static const struct field pair_del_fields[] = {
	F_TEXT(req_pair, internal, FIELD_IP, FIELD_REQUIRED | FIELD_KEY, "address inside"),
	F_ZONE(req_pair, FIELD_KEY),
	F_SWITCH(req_pair, missing_ok, "succeed if it is not there"),
	F_END,
};

const struct method method_service_add = { "service.add", "Add or change a service.",
	service_fields, sizeof(struct req_service), METHOD_SETS, OBJECT_SERVICE, "service.del" };
const struct method method_service_del = { "service.del", "Remove a service.", name_fields,
	sizeof(struct req_id_name), METHOD_REMOVES, OBJECT_SERVICE, NULL };
const struct method method_service_list = { "service.list", "Services and their counters.",
	page_fields, sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_service_show = { "service.show",
	"One service: frontends, backends, counters.", show_fields, sizeof(struct req_id_name), 0,
	OBJECT_NONE, NULL };
const struct method method_pool_add = { "pool.add", "Add a pool of source addresses.", pool_fields,
	sizeof(struct req_pool), METHOD_SETS, OBJECT_POOL, "pool.del" };
const struct method method_pool_del = { "pool.del", "Remove a pool.", name_fields,
	sizeof(struct req_id_name), METHOD_REMOVES, OBJECT_POOL, NULL };
const struct method method_pool_list = { "pool.list", "Pools of source addresses.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_pair_add = { "pair.add",
	"Translate an address one to one when it leaves the node, and back.", pair_fields,
	sizeof(struct req_pair), METHOD_SETS, OBJECT_PAIR, "pair.del" };
const struct method method_pair_del = { "pair.del", "Remove a one-to-one translation.",
	pair_del_fields, sizeof(struct req_pair), METHOD_REMOVES, OBJECT_PAIR, NULL };
const struct method method_pair_list = { "pair.list", "One-to-one translations.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
