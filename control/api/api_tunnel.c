/* SPDX-License-Identifier: BSD-3-Clause */
/* tunnel.add, tunnel.del, tunnel.list, tunnel.show, tunnel.local */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "control/api/api.h"
#include "control/api/api_users.h"
#include "control/neighd.h"
#include "control/objects.h"
#include "datapath/table/path.h"
#include "datapath/table/tunnel.h"

static bool fill_tunnel(struct call *call, const struct req_tunnel *req, struct tunnel *proto)
{
	const struct ip_addr *own;

	*proto = (struct tunnel){
		.type = TUNNEL_VXLAN,
		.zone = (uint16_t)req->zone,
		.is_transit = req->transit,
		.udp_port = (uint16_t)req->udp_port,
		.mtu = (uint16_t)req->mtu,
		.is_dscp_uniform = req->dscp == REQ_DSCP_UNIFORM,
		.vni = (uint32_t)req->vni,
		.remote = api_ip(&req->remote),
		.remote_mac = api_mac(&req->remote_mac),
	};
	proto->has_udp_csum = req->udp_csum == REQ_UDP_CSUM_ON ||
		(req->udp_csum == REQ_UDP_CSUM_AUTO && !ip_is_v4(&proto->remote));
	strlcpy(proto->name, req->name, sizeof(proto->name));
	if (proto->mtu != 0 && proto->mtu < IP4_MTU_MIN) {
		call_fail(
			call, LEAT_ERR_PARAMS, "mtu", "mtu must be 0 or %u at least", IP4_MTU_MIN);
		return false;
	}
	if (rte_is_multicast_ether_addr(&proto->remote_mac) ||
		rte_is_zero_ether_addr(&proto->remote_mac)) {
		call_fail(call, LEAT_ERR_PARAMS, "remote_mac",
			"remote_mac must be the MAC of the far tunnel end");
		return false;
	}
	if (req->local.is_set) {
		proto->local = api_ip(&req->local);
		if (ip_is_v4(&proto->local) != ip_is_v4(&proto->remote)) {
			call_fail(call, LEAT_ERR_PARAMS, "local",
				"local and remote must be of one address family");
			return false;
		}
		if (object_uplink_of(&proto->local) == NULL) {
			call_fail(call, LEAT_ERR_NOT_FOUND, "local", "no uplink has this address");
			return false;
		}
		return true;
	}
	own = object_uplink_addr(ip_is_v4(&proto->remote));
	if (own == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "local", "no uplink has an %s address",
			ip_is_v4(&proto->remote) ? "IPv4" : "IPv6");
		return false;
	}
	proto->local = *own;
	return true;
}

/* Changes what may be changed while routes and flows use the tunnel. */
static void tunnel_change(struct call *call, uint32_t idx, const struct tunnel *proto)
{
	struct tunnel *tunnel = tunnel_at(idx);
	const char *field = NULL;

	if (!ip_eq(&tunnel->remote, &proto->remote))
		field = "remote";
	else if (!ip_eq(&tunnel->local, &proto->local))
		field = "local";
	else if (tunnel->vni != proto->vni)
		field = "vni";
	else if (tunnel->zone != proto->zone)
		field = "zone";
	else if (tunnel->udp_port != proto->udp_port)
		field = "udp_port";
	else if (tunnel->is_transit != proto->is_transit)
		field = "transit";
	else if (!rte_is_same_ether_addr(&tunnel->remote_mac, &proto->remote_mac))
		field = "remote_mac";
	if (field != NULL) {
		call_fail(call, LEAT_ERR_CONFLICT, field,
			"tunnel %s has another %s: remove it first", proto->name, field);
		return;
	}
	tunnel->mtu = proto->mtu;
	tunnel->has_udp_csum = proto->has_udp_csum;
	tunnel->is_dscp_uniform = proto->is_dscp_uniform;
	neighd_tunnel_changed(idx);
	call_ok(call, NULL);
}

static void handle_add(struct call *call)
{
	const struct req_tunnel *req = call_req(call);
	char text[IP_ADDR_STRLEN];
	struct tunnel proto;
	uint32_t idx = tunnel_by_name(req->name);
	int rc;

	if (!req->replace && !call->is_replay &&
		!api_add_may_go_on(call, idx != TUNNEL_NONE, req->exist_ok, "tunnel", req->name))
		return;
	if (!fill_tunnel(call, req, &proto))
		return;
	if (idx != TUNNEL_NONE) {
		tunnel_change(call, idx, &proto);
		return;
	}
	rc = tunnel_add(&proto, &idx);
	if (rc == -EEXIST) {
		call_fail(call, LEAT_ERR_EXISTS, "remote",
			"there is a tunnel to %s with VNI %u already",
			ip_format(&proto.remote, text), proto.vni);
		return;
	}
	if (rc < 0) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "no more tunnels: %u is the limit",
			TUNNEL_TABLE_MAX);
		return;
	}
	object_port_refs[object_uplink_of(&proto.local)->id]++;
	neighd_tunnel_added(idx);
	call_ok(call, NULL);
}

static void handle_del(struct call *call)
{
	const struct req_name *req = call_req(call);
	uint32_t idx = tunnel_by_name(req->name);
	struct api_users users = { 0 };

	if (idx == TUNNEL_NONE) {
		if (api_del_missing(call, req->missing_ok, "tunnel", req->name))
			call_ok(call, NULL);
		return;
	}
	if (object_tunnel_refs[idx] > 0) {
		api_users_of_tunnel(&users, idx);
		call_fail(call, LEAT_ERR_BUSY, "name", "tunnel %s is used by %s", req->name,
			api_users_text(&users));
		return;
	}
	neighd_tunnel_removed(idx);
	object_port_refs[object_uplink_of(&tunnel_at(idx)->local)->id]--;
	tunnel_del(idx);
	call_ok(call, NULL);
}

static cJSON *tunnel_json(uint32_t idx)
{
	const struct tunnel *tunnel = tunnel_at(idx);
	uint32_t path = atomic_load_explicit(&tunnel->path_idx, memory_order_relaxed);
	cJSON *out = cJSON_CreateObject();

	cJSON_AddStringToObject(out, "name", tunnel->name);
	cJSON_AddStringToObject(out, "type", "vxlan");
	api_add_ip(out, "remote", &tunnel->remote);
	api_add_ip(out, "local", &tunnel->local);
	cJSON_AddNumberToObject(out, "vni", tunnel->vni);
	cJSON_AddNumberToObject(out, "zone", tunnel->zone);
	api_add_mac(out, "remote_mac", &tunnel->remote_mac);
	cJSON_AddNumberToObject(out, "udp_port", tunnel->udp_port);
	cJSON_AddBoolToObject(out, "udp_csum", tunnel->has_udp_csum);
	cJSON_AddBoolToObject(out, "transit", tunnel->is_transit);
	cJSON_AddStringToObject(out, "dscp", tunnel->is_dscp_uniform ? "uniform" : "pipe");
	cJSON_AddBoolToObject(out, "resolved", path != PATH_NONE);
	if (path != PATH_NONE)
		cJSON_AddNumberToObject(out, "mtu", path_at(path)->mtu);
	cJSON_AddNumberToObject(out, "routes", object_tunnel_refs[idx]);
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	uint32_t idx = from < TUNNEL_TABLE_MAX ? tunnel_next((uint32_t)from) : TUNNEL_NONE;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; idx != TUNNEL_NONE && page.left > 0; idx = tunnel_next(idx + 1))
		api_page_add(&page, tunnel_json(idx));
	snprintf(cursor, sizeof(cursor), "%u", idx);
	api_page_end(call, &page, idx != TUNNEL_NONE ? cursor : NULL);
}

static void handle_show(struct call *call)
{
	const struct req_name *req = call_req(call);
	uint32_t idx = tunnel_by_name(req->name);

	if (idx == TUNNEL_NONE)
		call_fail(call, LEAT_ERR_NOT_FOUND, "name", "there is no tunnel %s", req->name);
	else
		call_ok(call, tunnel_json(idx));
}

static void handle_local(struct call *call)
{
	cJSON *result = cJSON_CreateObject();

	api_add_mac(result, "mac", &tunnel_local_mac);
	call_ok(call, result);
}

const struct api_handler api_tunnel[] = {
	{ "tunnel.add", handle_add },
	{ "tunnel.del", handle_del },
	{ "tunnel.list", handle_list },
	{ "tunnel.show", handle_show },
	{ "tunnel.local", handle_local },
	API_HANDLERS_END,
};
