/* SPDX-License-Identifier: BSD-3-Clause */
/* route, neigh, tunnel */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const route_types[] = { "unicast", "blackhole", "prohibit", "unreachable",
	NULL };
static const char *const tunnel_types[] = { "vxlan", NULL };
static const char *const dscps[] = { "pipe", "uniform", NULL };
static const char *const udp_csums[] = { "auto", "on", "off", NULL };

static const struct field no_fields[] = { F_END };
static const struct field page_fields[] = { F_PAGE(req_page), F_END };

static const struct field route_fields[] = {
	F_TEXT(req_route, prefix, FIELD_PREFIX, FIELD_REQUIRED | FIELD_KEY, "destination"),
	F_ZONE(req_route, FIELD_KEY),
	F_TEXT(req_route, via, FIELD_IP, 0, "next hop"),
	F_TEXT(req_route, port, FIELD_NAME, 0,
		"port it leaves by; default: the one that reaches the next hop"),
	F_TEXT(req_route, tunnel, FIELD_NAME, 0, "tunnel it leaves by"),
	F_ENUM(req_route, type, 0, route_types, REQ_ROUTE_UNICAST,
		"what happens to the packet; unreachable: a prefix of this node's own, for the "
		"addresses that nobody has"),
	F_INT(req_route, mtu, 0, "bytes", 0, 9216, 0,
		"largest IP packet that takes this route; 0: that of the way out"),
	F_SWITCH(req_route, exist_ok, "succeed if the same route is there already"),
	F_SWITCH(req_route, replace, "change the route into this one if it is there"),
	F_END,
};

static const struct field route_del_fields[] = {
	F_TEXT(req_route, prefix, FIELD_PREFIX, FIELD_REQUIRED | FIELD_KEY, "destination"),
	F_ZONE(req_route, FIELD_KEY),
	F_SWITCH(req_route, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field route_list_fields[] = {
	F_INT(req_route_list, zone, 0, NULL, -1, 65535, -1, "only this zone; -1: all"),
	F_TEXT(req_route_list, prefix, FIELD_PREFIX, FIELD_POSITIONAL,
		"only routes inside this prefix"),
	F_PAGE(req_route_list),
	F_END,
};

static const struct field lookup_fields[] = {
	F_TEXT(req_route_lookup, address, FIELD_IP, FIELD_REQUIRED, "destination"),
	F_ZONE(req_route_lookup, 0),
	F_END,
};

static const struct field neigh_fields[] = {
	F_TEXT(req_neigh, port, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "port it is behind"),
	F_TEXT(req_neigh, address, FIELD_IP, FIELD_REQUIRED | FIELD_KEY,
		"address of the neighbour"),
	F_TEXT(req_neigh, mac, FIELD_MAC, FIELD_REQUIRED, "MAC of the neighbour"),
	F_SWITCH(req_neigh, exist_ok, "succeed if the same entry is there already"),
	F_END,
};

static const struct field neigh_del_fields[] = {
	F_TEXT(req_neigh, port, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "port it is behind"),
	F_TEXT(req_neigh, address, FIELD_IP, FIELD_REQUIRED | FIELD_KEY,
		"address of the neighbour"),
	F_SWITCH(req_neigh, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field tunnel_fields[] = {
	F_TEXT(req_tunnel, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name of the tunnel"),
	F_ENUM(req_tunnel, type, 0, tunnel_types, 0, "encapsulation"),
	F_TEXT(req_tunnel, remote, FIELD_IP, FIELD_REQUIRED, "address of the far end"),
	F_TEXT(req_tunnel, local, FIELD_IP, 0, "own address; default: the first of the uplink"),
	F_INT(req_tunnel, vni, FIELD_REQUIRED, NULL, 0, 16777215, 0, "network identifier"),
	F_ZONE(req_tunnel, 0),
	F_TEXT(req_tunnel, remote_mac, FIELD_MAC, FIELD_REQUIRED,
		"inner MAC of the far end (tunnel.local there)"),
	F_INT(req_tunnel, udp_port, 0, NULL, 1, 65535, 4789, "destination port"),
	F_INT(req_tunnel, mtu, 0, "bytes", 0, 9216, 0, "largest inner packet; 0: from the uplink"),
	F_ENUM(req_tunnel, udp_csum, 0, udp_csums, REQ_UDP_CSUM_AUTO,
		"outer UDP checksum of what is sent; auto: over IPv6, where zero is an exception "
		"(RFC 6935), off: zero"),
	F_SWITCH(req_tunnel, transit, "what comes out of it may leave by an uplink"),
	F_ENUM(req_tunnel, dscp, 0, dscps, REQ_DSCP_PIPE,
		"pipe: the outer DSCP is 0, the inner one passes unseen; uniform: one DSCP, copied "
		"out and "
		"back (RFC 2983)"),
	F_SWITCH(req_tunnel, exist_ok, "succeed if the same tunnel is there already"),
	F_SWITCH(req_tunnel, replace,
		"change the tunnel's mtu, udp_csum and dscp into these if it is there"),
	F_END,
};

static const struct field name_fields[] = {
	F_TEXT(req_name, name, FIELD_NAME, FIELD_REQUIRED | FIELD_KEY, "name of the tunnel"),
	F_SWITCH(req_name, missing_ok, "succeed if it is not there"),
	F_END,
};

static const struct field show_fields[] = {
	F_TEXT(req_name, name, FIELD_NAME, FIELD_REQUIRED, "name of the tunnel"),
	F_END,
};

const struct method method_route_add = { "route.add", "Add a route.", route_fields,
	sizeof(struct req_route), METHOD_SETS, OBJECT_ROUTE, "route.del" };
const struct method method_route_del = { "route.del", "Remove a route.", route_del_fields,
	sizeof(struct req_route), METHOD_REMOVES, OBJECT_ROUTE, NULL };
const struct method method_route_list = { "route.list",
	"Routes, configured and mirrored from the kernel.", route_list_fields,
	sizeof(struct req_route_list), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_route_lookup = { "route.lookup", "The route that a destination takes.",
	lookup_fields, sizeof(struct req_route_lookup), 0, OBJECT_NONE, NULL };
const struct method method_neigh_add = { "neigh.add", "Add a static neighbour.", neigh_fields,
	sizeof(struct req_neigh), METHOD_SETS, OBJECT_NEIGH, "neigh.del" };
const struct method method_neigh_del = { "neigh.del", "Remove a neighbour.", neigh_del_fields,
	sizeof(struct req_neigh), METHOD_REMOVES, OBJECT_NEIGH, NULL };
const struct method method_neigh_list = { "neigh.list", "Neighbours, static and learned.",
	page_fields, sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_tunnel_add = { "tunnel.add", "Create a tunnel to another node.",
	tunnel_fields, sizeof(struct req_tunnel), METHOD_SETS, OBJECT_TUNNEL, "tunnel.del" };
const struct method method_tunnel_del = { "tunnel.del", "Remove a tunnel.", name_fields,
	sizeof(struct req_name), METHOD_REMOVES, OBJECT_TUNNEL, NULL };
const struct method method_tunnel_list = { "tunnel.list", "All tunnels.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_tunnel_show = { "tunnel.show", "One tunnel.", show_fields,
	sizeof(struct req_name), 0, OBJECT_NONE, NULL };
const struct method method_tunnel_local = { "tunnel.local", "The MAC of this node's tunnel end.",
	no_fields, sizeof(struct req_none), 0, OBJECT_NONE, NULL };
