/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.attach, endpoint.detach, endpoint.check: a pod as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/api/api.h"
#include "control/api/endpoint_common.h"
#include "control/attach.h"
#include "control/loop.h"
#include "control/netns.h"
#include "control/objects.h"
#include "control/state.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "pmd/portmgr.h"

/* Params for the state: where the namespace is, and what was derived. NULL when memory ran out. */
static cJSON *saved_params(struct call *call, const struct netns_ref *ns, const struct port *port)
{
	cJSON *params = schema_object_params(call->rpc.method, call->rpc.params);
	char mac[MAC_STRLEN];
	bool is_whole = params != NULL;

	if (ns->path[0] != '\0' && cJSON_GetObjectItemCaseSensitive(params, "netns") == NULL)
		is_whole &= cJSON_AddStringToObject(params, "netns", ns->path) != NULL;
	if (ns->inode != 0 && cJSON_GetObjectItemCaseSensitive(params, "netns_id") == NULL)
		is_whole &= cJSON_AddNumberToObject(params, "netns_id", (double)ns->inode) != NULL;
	if (cJSON_GetObjectItemCaseSensitive(params, "mtu") == NULL)
		is_whole &= cJSON_AddNumberToObject(params, "mtu", port->mtu) != NULL;
	if (cJSON_GetObjectItemCaseSensitive(params, "mac") == NULL)
		is_whole &= cJSON_AddStringToObject(params, "mac", mac_format(&port->mac, mac)) !=
			NULL;
	if (is_whole)
		return params;
	cJSON_Delete(params);
	return NULL;
}

static cJSON *result_json(const struct req_attach *req, const struct port *port)
{
	cJSON *result = cJSON_CreateObject();
	char path[108];

	cJSON_AddStringToObject(result, "id", req->id);
	cJSON_AddStringToObject(result, "port", port->name);
	api_add_mac(result, "mac", &port->mac);
	if (req->kind == REQ_ATTACH_TAP)
		cJSON_AddStringToObject(result, "ifname", port->ifname);
	else if (attach_socket_path(req->id, path, sizeof(path)) == 0)
		cJSON_AddStringToObject(result, "socket", path);
	cJSON_AddNumberToObject(result, "mtu", port->mtu);
	api_add_mac(result, "gateway_mac", &port->gw_mac);
	return result;
}

/* Endpoints whose device is being made or closed on a helper thread: until that is done, no other call may touch them. A
 * client that was killed leaves such work behind, and the next one comes to undo it. */
struct busy {
	struct busy *next;
	char id[ENDPOINT_ID_LEN];
};
static struct busy *busy_list;

static struct busy **busy_find(const char *id)
{
	struct busy **at = &busy_list;

	while (*at != NULL && strcmp((*at)->id, id) != 0)
		at = &(*at)->next;
	return at;
}

/* Whether the endpoint is marked; the call has then been finished. */
static bool busy_refuses(struct call *call, const char *id)
{
	if (*busy_find(id) == NULL)
		return false;
	call_fail(call, LEAT_ERR_BUSY, "id", "endpoint %s is being attached or detached", id);
	return true;
}

/* Marks the endpoint; false if that cannot be and the call has been finished. */
static bool busy_begin(struct call *call, const char *id)
{
	struct busy **at = busy_find(id);

	if (busy_refuses(call, id))
		return false;
	*at = calloc(1, sizeof(**at));
	if (*at == NULL) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
		return false;
	}
	snprintf((*at)->id, sizeof((*at)->id), "%s", id);
	return true;
}

static void busy_end(const char *id)
{
	struct busy **at = busy_find(id), *gone = *at;

	if (gone == NULL)
		return;
	*at = gone->next;
	free(gone);
}

/* The same attach again: true if the call has been finished. */
static bool is_repeated(struct call *call, const struct req_attach *req)
{
	const char *field;
	uint32_t idx = endpoint_by_id(req->id);

	if (idx == ENDPOINT_NONE)
		return false;
	if (!req->exist_ok)
		call_fail(call, LEAT_ERR_EXISTS, "id", "endpoint %s exists already", req->id);
	else if (api_compare_stored(call, &field) != LEAT_OK)
		call_fail(call, LEAT_ERR_EXISTS, field,
			"endpoint %s exists already and is different", req->id);
	else
		call_unchanged(call, result_json(req, port_by_id(endpoint_at(idx)->port_id)));
	return true;
}

static bool check_request(struct call *call, const struct req_attach *req)
{
	uint32_t mode;

	if (endpoint_id_is_reserved(call, req->id) || is_repeated(call, req))
		return false;
	if (req->kind == REQ_ATTACH_VHOST_USER && (req->netns != NULL || call->n_fds > 0)) {
		/* harmless: a vhost-user pod needs no namespace */
	} else if (req->kind == REQ_ATTACH_TAP && req->netns == NULL && call->n_fds == 0 &&
		req->netns_id == 0) {
		call_fail(call, LEAT_ERR_PARAMS, "netns",
			"netns is required for a tap: a path, or a descriptor sent along");
		return false;
	}
	if (api_mode(req->vhost.mode, 0660, &mode) < 0) {
		call_fail(
			call, LEAT_ERR_PARAMS, "vhost.mode", "vhost.mode must be octal, like 0660");
		return false;
	}
	if (req->ifname != NULL && (req->ifname[0] == '\0' || strlen(req->ifname) >= IFNAMSIZ)) {
		call_fail(call, LEAT_ERR_PARAMS, "ifname", "ifname must have 1 to %d characters",
			IFNAMSIZ - 1);
		return false;
	}
	return true;
}

struct attach_call {
	struct call *call;
	struct netns_ref ns;
};

static void attached(int rc, struct port *port, const struct attach_error *err, void *arg)
{
	struct attach_call *attach = arg;
	struct call *call = attach->call;
	const struct req_attach *req = call_req(call);

	busy_end(req->id);
	if (rc < 0) {
		call_fail(call, api_errno_code(rc), err->field, "%s", err->reason);
	} else {
		call->object = saved_params(call, &attach->ns, port);
		call->is_object_lost = call->object == NULL;
		log_info("endpoint", "attached id=%s port=%s", req->id, port->name);
		call_ok(call, result_json(req, port));
	}
	netns_ref_close(&attach->ns);
	free(attach);
}

/* The pod's namespace; false if the call has been finished. */
static bool open_netns(struct call *call, struct netns_ref *ns)
{
	const struct req_attach *req = call_req(call);
	int rc = netns_ref_open(ns, call_take_fd(call), req->netns, (uint64_t)req->netns_id);

	if (rc < 0) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "netns",
			"the network namespace cannot be opened: %s", strerror(-rc));
		return false;
	}
	if (netns_is_own(ns)) {
		netns_ref_close(ns);
		call_fail(call, LEAT_ERR_PARAMS, "netns",
			"the network namespace is leatd's own: no pod lives there");
		return false;
	}
	return true;
}

static void handle_attach(struct call *call)
{
	const struct req_attach *req = call_req(call);
	struct attach_call *attach;

	if (!check_request(call, req))
		return;
	attach = calloc(1, sizeof(*attach));
	if (attach == NULL) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
		return;
	}
	attach->call = call;
	attach->ns.fd = -1;
	if (req->kind == REQ_ATTACH_TAP && !open_netns(call, &attach->ns)) {
		free(attach);
		return;
	}
	if (!busy_begin(call, req->id)) {
		netns_ref_close(&attach->ns);
		free(attach);
		return;
	}
	attach_pod(req, attach->ns.fd, attached, attach);
}

/* The stored attach of an endpoint, decoded; false if there is none. */
static bool stored_attach(const char *id, struct rpc_request *out)
{
	char key[STORE_KEY_MAX];
	const struct store_item *item;
	struct leat_error err;

	memset(out, 0, sizeof(*out));
	snprintf(key, sizeof(key), "endpoint %s", id);
	item = store_find(state_store(), key);
	if (item == NULL || strcmp(item->method->name, "endpoint.attach") != 0)
		return false;
	out->method = item->method;
	out->params = cJSON_Parse(item->params);
	return schema_decode(out->method, out->params, &out->req, &err) == 0;
}

/* When the device has gone. */
static void detached(void *arg)
{
	struct call *call = arg;
	const struct req_endpoint_id *req = call_req(call);

	busy_end(req->id);
	log_info("endpoint", "detached id=%s", req->id);
	call_ok(call, NULL);
}

static void handle_detach(struct call *call)
{
	const struct req_endpoint_id *req = call_req(call);
	uint32_t idx = endpoint_by_id(req->id);
	struct rpc_request stored;

	if (endpoint_id_is_reserved(call, req->id) || busy_refuses(call, req->id))
		return;
	if (idx != ENDPOINT_NONE) {
		bool is_attached = stored_attach(req->id, &stored) || call->is_replay;

		rpc_request_fini(&stored);
		if (!is_attached) {
			call_fail(call, LEAT_ERR_CONFLICT, "id",
				"endpoint %s was not attached: use endpoint.del", req->id);
			return;
		}
		if (!busy_begin(call, req->id))
			return;
		attach_remove(idx, detached, call);
		gen_publish();
		loop_wake_tick();
		return;
	} else if (api_del_missing(call, req->missing_ok, "endpoint", req->id)) {
		/* It could not be restored; its device may still be there. */
		if (stored_attach(req->id, &stored))
			attach_remove_leftover(stored.req.data);
		rpc_request_fini(&stored);
	} else {
		return;
	}
	detached(call);
}

/* Addresses that the caller wants must be the endpoint's. */
static bool check_addresses(
	struct call *call, const struct req_endpoint_check *req, const struct endpoint *ep)
{
	const struct schema_prefix *addresses = req->addresses.items;
	char text[SCHEMA_TEXT_MAX];

	for (uint32_t i = 0; i < req->addresses.len; i++) {
		struct ip_addr addr;

		memcpy(addr.b, addresses[i].b, sizeof(addr.b));
		if (endpoint_owns(ep, &addr))
			continue;
		call_fail(call, LEAT_ERR_NOT_FOUND, "addresses", "endpoint %s has no address %s",
			req->id, schema_prefix_format(&addresses[i], text));
		return false;
	}
	return true;
}

static void handle_check(struct call *call)
{
	const struct req_endpoint_check *req = call_req(call);
	uint32_t idx = endpoint_by_id(req->id);
	struct attach_error err = { 0 };
	struct rpc_request stored;
	int rc;

	if (idx == ENDPOINT_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "id", "there is no endpoint %s", req->id);
		return;
	}
	if (!check_addresses(call, req, endpoint_at(idx)))
		return;
	if (!stored_attach(req->id, &stored)) {
		rpc_request_fini(&stored);
		call_ok(call, NULL);
		return;
	}
	rc = attach_check(stored.req.data, idx, call_take_fd(call), req->netns, req->ifname, &err);
	rpc_request_fini(&stored);
	if (rc < 0)
		call_fail(call, rc == -EINVAL ? LEAT_ERR_CONFLICT : api_errno_code(rc), err.field,
			"%s", err.reason);
	else
		call_ok(call, NULL);
}

const struct api_handler api_attach[] = {
	{ "endpoint.attach", handle_attach },
	{ "endpoint.detach", handle_detach },
	{ "endpoint.check", handle_check },
	API_HANDLERS_END,
};
