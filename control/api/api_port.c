/* SPDX-License-Identifier: BSD-3-Clause */
/* port.add, port.del, port.list, port.show */
#include <stdio.h>
#include <string.h>

#include "control/api/api.h"
#include "control/api/api_users.h"
#include "control/devices.h"
#include "control/instance.h"
#include "control/objects.h"
#include "control/observer.h"
#include "datapath/base/log.h"
#include "pmd/portmgr.h"

static const char *const kind_names[] = { "ethdev", "vhost", "tap", "ring" };
static const char *const role_names[] = { "pod", "uplink", "host" };

/* What a field means only for other kinds is a mistake that must not pass unseen. */
static const char *misplaced(const struct req_port *req)
{
	if (req->kind != REQ_PORT_ETHDEV && req->device != NULL)
		return "device";
	if (req->kind != REQ_PORT_VHOST && req->socket != NULL)
		return "socket";
	if (req->kind != REQ_PORT_VHOST && req->mode != NULL)
		return "mode";
	if (req->kind != REQ_PORT_TAP && req->ifname != NULL)
		return "ifname";
	return NULL;
}

static bool check_request(struct call *call, const struct req_port *req)
{
	const char *field = misplaced(req);

	if (field != NULL)
		call_fail(call, LEAT_ERR_PARAMS, field, "%s is not for ports of kind %s", field,
			kind_names[req->kind]);
	else if (req->kind == REQ_PORT_ETHDEV && req->device == NULL)
		call_fail(call, LEAT_ERR_PARAMS, "device",
			"device is required for ports of kind ethdev");
	else if (req->role == REQ_ROLE_HOST && object_host_port() != NULL)
		call_fail(call, LEAT_ERR_CONFLICT, "role", "there is a host port already: %s",
			object_host_port()->name);
	else
		return true;
	return false;
}

/* Path of the vhost socket; false: the call has been finished with an error. */
static bool fill_socket(struct call *call, struct port_config *cfg, char *socket, size_t size)
{
	const struct req_port *req = call_req(call);
	int len, rc;

	if (api_mode(req->mode, 0660, &cfg->socket_mode) < 0) {
		call_fail(call, LEAT_ERR_PARAMS, "mode", "mode must be octal, like 0660");
		return false;
	}
	if (req->kind != REQ_PORT_VHOST)
		return true;
	if (req->socket != NULL)
		len = snprintf(socket, size, "%s", req->socket);
	else
		len = snprintf(socket, size, "%s/vhost/%s/vhost.sock", instance.run_dir, req->name);
	if (len >= (int)size) {
		call_fail(call, LEAT_ERR_PARAMS, "socket", "a socket path may have %zu characters",
			size - 1);
		return false;
	}
	rc = req->socket == NULL ? api_vhost_dir(socket, req->uid, req->gid) : 0;
	if (rc < 0) {
		call_fail(call, api_errno_code(rc), "socket", "cannot make the folder of %s: %s",
			socket, strerror(-rc));
		return false;
	}
	cfg->socket_path = socket;
	return true;
}

static void fill_config(const struct req_port *req, struct port_config *cfg)
{
	const struct schema_prefix *addresses = req->addresses.items;

	*cfg = (struct port_config){
		.kind = kind_names[req->kind],
		.role = (enum port_role)req->role,
		.zone = (uint16_t)req->zone,
		.mtu = (uint16_t)req->mtu,
		.n_queues = (uint16_t)req->queues,
		.n_desc = (uint16_t)req->descriptors,
		.mac = api_mac(&req->mac),
		.n_addrs = (uint8_t)req->addresses.len,
		.device = req->device,
		.is_vhost_client = req->vhost_role == REQ_VHOST_CLIENT,
		.socket_uid = (int32_t)req->uid,
		.socket_gid = (int32_t)req->gid,
		.ifname = req->ifname,
		.netns_fd = -1,
		.tap_fd = -1,
	};
	snprintf(cfg->name, sizeof(cfg->name), "%s", req->name);
	if (req->kind == REQ_PORT_TAP && req->ifname == NULL && req->role != REQ_ROLE_HOST)
		cfg->ifname = req->name;
	for (uint32_t i = 0; i < req->addresses.len; i++) {
		memcpy(cfg->addrs[i].addr.b, addresses[i].b, sizeof(cfg->addrs[i].addr.b));
		cfg->addrs[i].len = addresses[i].len;
	}
}

/* *out_field: what the device's own refusal is about. 0 with a sentence: without the device, which is waited for. */
static int create(const struct req_port *req, const struct port_config *cfg, bool is_replay,
	struct port **out, const char **out_field, char *errbuf, size_t errlen)
{
	static const char *const opened_by[] = { [REQ_PORT_ETHDEV] = "device",
		[REQ_PORT_VHOST] = "socket",
		[REQ_PORT_TAP] = "ifname",
		[REQ_PORT_RING] = NULL };
	int rc = port_create_begin(cfg, out, errbuf, errlen);

	if (rc < 0)
		return rc;
	rc = port_create_open(*out, cfg, errbuf, errlen);
	if (rc < 0 && devices_may_wait(cfg, is_replay, rc)) {
		port_create_absent(*out, cfg);
		return port_create_end(*out, 0, errbuf, errlen);
	}
	if (rc < 0)
		*out_field = opened_by[req->kind];
	else
		errbuf[0] = '\0';
	return port_create_end(*out, rc, errbuf, errlen);
}

static void handle_add(struct call *call)
{
	const struct req_port *req = call_req(call);
	const char *field = NULL;
	char errbuf[300] = "", missing[300], socket[108];
	struct port_config cfg;
	struct port *port;
	cJSON *result;
	int rc;

	if (!api_add_may_go_on(
		    call, port_by_name(req->name) != NULL, req->exist_ok, "port", req->name) ||
		!check_request(call, req))
		return;
	fill_config(req, &cfg);
	if (!fill_socket(call, &cfg, socket, sizeof(socket)))
		return;
	rc = create(req, &cfg, call->is_replay, &port, &field, errbuf, sizeof(errbuf));
	if (rc == 0) {
		strcpy(missing, errbuf);
		rc = object_port_up(port, errbuf, sizeof(errbuf));
		if (rc < 0) {
			field = "addresses";
			port_abandon(port);
		}
	}
	if (rc < 0) {
		call_fail(call, api_errno_code(rc), field, "%s", errbuf);
		return;
	}
	observer_port_came();
	devices_port_came(port, &cfg, missing);
	log_info("port", "added name=%s kind=%s role=%s", port->name, cfg.kind,
		role_names[port->role]);
	result = cJSON_CreateObject();
	cJSON_AddStringToObject(result, "name", port->name);
	api_add_mac(result, "mac", &port->mac);
	cJSON_AddNumberToObject(result, "mtu", port->mtu);
	if (port->ifname != NULL)
		cJSON_AddStringToObject(result, "ifname", port->ifname);
	if (cfg.socket_path != NULL)
		cJSON_AddStringToObject(result, "socket", cfg.socket_path);
	call_ok(call, result);
}

static void handle_del(struct call *call)
{
	const struct req_name *req = call_req(call);
	struct port *port = port_by_name(req->name);
	struct api_users users = { 0 };

	if (port == NULL) {
		if (api_del_missing(call, req->missing_ok, "port", req->name))
			call_ok(call, NULL);
		return;
	}
	if (object_port_refs[port->id] > 0) {
		api_users_of_port(&users, port);
		call_fail(call, LEAT_ERR_BUSY, "name", "port %s is used by %s", req->name,
			api_users_text(&users));
		return;
	}
	object_port_down(port);
	port_destroy(port, false);
	log_info("port", "removed name=%s", req->name);
	call_ok(call, NULL);
}

static void add_details(cJSON *out, const struct port *port, const struct port_stats *stats)
{
	cJSON *list = cJSON_AddArrayToObject(out, "addresses"), *drops;
	char text[1024];

	for (unsigned int i = 0; i < port->n_addrs; i++) {
		const struct ip_prefix prefix = { .addr = port->addrs[i].addr,
			.len = port->addrs[i].len };

		cJSON_AddItemToArray(list, cJSON_CreateString(ip_prefix_format(&prefix, text)));
	}
	api_add_mac(out, "gateway_mac", &port->gw_mac);
	drops = cJSON_AddObjectToObject(out, "drops");
	for (int reason = 1; reason < DROP_N; reason++)
		if (stats->drops[reason] > 0)
			cJSON_AddNumberToObject(drops, drop_name((enum drop_reason)reason),
				(double)stats->drops[reason]);
	if (port->ops->describe != NULL) {
		text[port->ops->describe(port, text, sizeof(text) - 1)] = '\0';
		cJSON_AddStringToObject(out, "details", text);
	}
}

static cJSON *port_json(const struct port *port, bool is_full)
{
	cJSON *out = cJSON_CreateObject();
	struct port_stats stats;

	cJSON_AddStringToObject(out, "name", port->name);
	cJSON_AddNumberToObject(out, "id", port->id);
	cJSON_AddStringToObject(out, "kind", port->ops->kind);
	cJSON_AddStringToObject(out, "role", role_names[port->role]);
	cJSON_AddBoolToObject(out, "up", port->ops->is_up(port));
	cJSON_AddNumberToObject(out, "zone", port->zone);
	cJSON_AddNumberToObject(out, "mtu", port->mtu);
	cJSON_AddNumberToObject(out, "queues", port->n_rxq);
	api_add_mac(out, "mac", &port->mac);
	if (port->endpoint_idx != ENDPOINT_NONE) {
		cJSON_AddStringToObject(out, "endpoint", endpoint_at(port->endpoint_idx)->id);
		api_add_pod(out, endpoint_at(port->endpoint_idx)->id);
	}
	port_stats_sum(port, &stats);
	cJSON_AddNumberToObject(out, "rx_packets", (double)stats.rx_pkts);
	cJSON_AddNumberToObject(out, "rx_bytes", (double)stats.rx_bytes);
	cJSON_AddNumberToObject(out, "tx_packets", (double)stats.tx_pkts);
	cJSON_AddNumberToObject(out, "tx_bytes", (double)stats.tx_bytes);
	if (is_full)
		add_details(out, port, &stats);
	return out;
}

static void handle_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	const struct port *port;
	struct api_page page;
	char cursor[24];

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (port = port_next(NULL); port != NULL; port = port_next(port)) {
		if (port->id < from)
			continue;
		snprintf(cursor, sizeof(cursor), "%u", port->id);
		if (!api_page_add(&page, port_json(port, false)))
			break;
	}
	api_page_end(call, &page, port != NULL ? cursor : NULL);
}

static void handle_show(struct call *call)
{
	const struct req_name *req = call_req(call);
	const struct port *port = port_by_name(req->name);

	if (port == NULL)
		call_fail(call, LEAT_ERR_NOT_FOUND, "name", "there is no port %s", req->name);
	else
		call_ok(call, port_json(port, true));
}

const struct api_handler api_port[] = {
	{ "port.add", handle_add },
	{ "port.del", handle_del },
	{ "port.list", handle_list },
	{ "port.show", handle_show },
	API_HANDLERS_END,
};
