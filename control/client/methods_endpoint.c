/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint */
#include "control/client/methods.h"
#include "control/client/req.h"

#define RATE_MAX 1000000000000ll

static const char *const attach_kinds[] = { "tap", "vhost-user", NULL };

#define RATE_FIELDS(S)                                                                             \
	F_INT(S, rate_pps, 0, "packets/s", 0, RATE_MAX, 0,                                         \
		"packets a second that the endpoint may send; 0: no limit"),                       \
		F_INT(S, burst_pkts, 0, "packets", 0, RATE_MAX, 0,                                 \
			"bucket for it; 0: a tenth of a second"),                                  \
		F_INT(S, rate_bps, 0, "bit/s", 0, RATE_MAX, 0,                                     \
			"bits a second that the endpoint may send; 0: no limit"),                  \
		F_INT(S, burst_bytes, 0, "bytes", 0, RATE_MAX, 0,                                  \
			"bucket for it; 0: a tenth of a second"),                                  \
		F_INT(S, to_rate_pps, 0, "packets/s", 0, RATE_MAX, 0,                              \
			"packets a second delivered to it; 0: no limit"),                          \
		F_INT(S, to_burst_pkts, 0, "packets", 0, RATE_MAX, 0,                              \
			"bucket for it; 0: a tenth of a second"),                                  \
		F_INT(S, to_rate_bps, 0, "bit/s", 0, RATE_MAX, 0,                                  \
			"bits a second delivered to it; 0: no limit"),                             \
		F_INT(S, to_burst_bytes, 0, "bytes", 0, RATE_MAX, 0,                               \
			"bucket for it; 0: a tenth of a second"),                                  \
		F_INT(S, max_conns, 0, "connections", 0, 4294967295, 0,                            \
			"connections that it may have opened at a time; 0: no limit"),             \
		F_INT(S, max_new_conns_per_s, 0, "connections/s", 0, RATE_MAX, 0,                  \
			"connections that it may open a second; 0: no limit")

static const struct field endpoint_fields[] = {
	F_TEXT(req_endpoint, id, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "id of the endpoint"),
	F_TEXT(req_endpoint, port, FIELD_NAME, FIELD_REQUIRED, "port that it is behind"),
	F_ZONE(req_endpoint, 0),
	F_LIST(req_endpoint, addresses, FIELD_IP, struct schema_ip, FIELD_REQUIRED, 16,
		"its addresses"),
	F_TEXT(req_endpoint, mac, FIELD_MAC, 0, "its MAC; default: 0a:58 and the IPv4 address"),
	RATE_FIELDS(req_endpoint),
	F_SWITCH(req_endpoint, exist_ok, "succeed if the same endpoint is there already"),
	F_END,
};

static const struct field id_fields[] = {
	F_TEXT(req_endpoint_id, id, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "id of the endpoint"),
	F_SWITCH(req_endpoint_id, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field show_fields[] = {
	F_TEXT(req_endpoint_id, id, FIELD_ID, FIELD_REQUIRED, "id of the endpoint"),
	F_END,
};

static const struct field page_fields[] = { F_PAGE(req_page), F_END };

static const struct field pod_route_fields[] = {
	F_TEXT(req_pod_route, dst, FIELD_PREFIX, FIELD_REQUIRED, "destination"),
	F_TEXT(req_pod_route, gw, FIELD_IP, 0, "next hop; default: the gateway of the pod"),
	F_END,
};

static const struct field vhost_fields[] = {
	F_ENUM(req_vhost, role, 0, schema_vhost_roles, REQ_VHOST_SERVER,
		"whether leatd listens or connects"),
	F_INT(req_vhost, uid, 0, NULL, -1, 4294967294, -1, "owner of the socket; -1: leave"),
	F_INT(req_vhost, gid, 0, NULL, -1, 4294967294, -1, "group of the socket; -1: leave"),
	F_TEXT(req_vhost, mode, FIELD_STRING, 0, "mode of the socket in octal, default 0660"),
	F_END,
};

static const struct field attach_fields[] = {
	F_TEXT(req_attach, id, FIELD_ID, FIELD_REQUIRED | FIELD_KEY, "id of the endpoint"),
	F_TEXT(req_attach, container, FIELD_STRING, 0, "id of the container, for people"),
	F_TEXT(req_attach, pod, FIELD_ID, 0, "name of the pod, for people"),
	F_TEXT(req_attach, namespace, FIELD_ID, 0,
		"namespace that the pod's name is in, for people"),
	F_TEXT(req_attach, ifname, FIELD_STRING, 0, "name of the device in the pod, default eth0"),
	F_ENUM(req_attach, kind, FIELD_REQUIRED, attach_kinds, -1,
		"kernel device or vhost-user socket"),
	F_TEXT(req_attach, netns, FIELD_PATH, FIELD_FD,
		"network namespace; or its descriptor sent along"),
	F_INT(req_attach, netns_id, 0, NULL, 0, 9007199254740991ll, 0,
		"inode of the namespace: finds it again where no path leads"),
	F_LIST(req_attach, addresses, FIELD_IFADDR, struct schema_prefix, FIELD_REQUIRED, 16,
		"addresses of the pod"),
	F_LIST(req_attach, gateways, FIELD_IP, struct schema_ip, 0, 2,
		"default gateways; default 169.254.1.1 and fe80::1"),
	{ .name = "routes",
		.type = FIELD_OBJECT,
		.flags = FIELD_LIST,
		.offset = offsetof(struct req_attach, routes),
		.size = sizeof(struct req_pod_route),
		.help = "further routes in the pod",
		.fields = pod_route_fields },
	F_INT(req_attach, mtu, 0, "bytes", 0, 9216, 0,
		"largest IP packet; 0: the smallest uplink's less the tunnel headers, 1500 without "
		"one"),
	F_TEXT(req_attach, mac, FIELD_MAC, 0,
		"MAC of the pod; default: 0a:58 and its IPv4 address"),
	F_ZONE(req_attach, 0),
	{ F_BASE(req_attach, default_route, "default_route", FIELD_BOOL, 0, NULL,
		  "add default routes through the gateways"),
		.def = 1 },
	F_INT(req_attach, queues, 0, "pairs", 0, 16, 0, "queue pairs; 0: 1"),
	RATE_FIELDS(req_attach),
	F_OBJECT(req_attach, vhost, 0, vhost_fields, "vhost-user: how the socket is made"),
	F_SWITCH(req_attach, exist_ok, "succeed if the same endpoint is there already"),
	F_END,
};

static const struct field check_fields[] = {
	F_TEXT(req_endpoint_check, id, FIELD_ID, FIELD_REQUIRED, "id of the endpoint"),
	F_TEXT(req_endpoint_check, ifname, FIELD_STRING, 0, "name of the device in the pod"),
	F_TEXT(req_endpoint_check, netns, FIELD_PATH, FIELD_FD,
		"network namespace; or its descriptor sent along"),
	F_LIST(req_endpoint_check, addresses, FIELD_IFADDR, struct schema_prefix, 0, 16,
		"addresses that must be there"),
	F_END,
};

const struct method method_endpoint_add = { "endpoint.add", "Put an endpoint behind a port.",
	endpoint_fields, sizeof(struct req_endpoint), METHOD_SETS, OBJECT_ENDPOINT,
	"endpoint.del" };
const struct method method_endpoint_del = { "endpoint.del", "Remove an endpoint.", id_fields,
	sizeof(struct req_endpoint_id), METHOD_REMOVES, OBJECT_ENDPOINT, NULL };
const struct method method_endpoint_list = { "endpoint.list", "All endpoints.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_endpoint_show = { "endpoint.show", "One endpoint.", show_fields,
	sizeof(struct req_endpoint_id), 0, OBJECT_NONE, NULL };
const struct method method_endpoint_attach = { "endpoint.attach",
	"Attach a pod: port, endpoint and its network namespace, whole or not at all.",
	attach_fields, sizeof(struct req_attach), METHOD_SETS | METHOD_SLOW | METHOD_DEVICE,
	OBJECT_ENDPOINT, "endpoint.detach" };
const struct method method_endpoint_detach = { "endpoint.detach", "Detach a pod.", id_fields,
	sizeof(struct req_endpoint_id), METHOD_REMOVES | METHOD_SLOW | METHOD_DEVICE,
	OBJECT_ENDPOINT, NULL };
const struct method method_endpoint_check = { "endpoint.check",
	"Check that an attached pod is as it should be.", check_fields,
	sizeof(struct req_endpoint_check), METHOD_SLOW | METHOD_DEVICE, OBJECT_NONE, NULL };
