/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/announce.h"
#include "control/api/api.h"
#include "control/devices.h"
#include "control/instance.h"
#include "control/job.h"
#include "control/journal.h"
#include "control/netns.h"
#include "control/objects.h"
#include "control/observer.h"
#include "datapath/packet/vxlan.h"
#include "pmd/netlink.h"
#include "pmd/pod_net.h"
#include "pmd/portmgr.h"

#define ROUTES_MAX (POD_NET_ROUTES_MAX + 2)

struct pod_routes {
	struct pod_route items[ROUTES_MAX];
	unsigned int n;
};

static void cut_id(const char *id, char *buf, size_t max)
{
	if (strlen(id) <= max)
		snprintf(buf, max + 1, "%s", id);
	else
		snprintf(buf, max + 1, "%.*s-%08x", (int)max - 9, id, journal_crc(id, strlen(id)));
}

void attach_port_name(const char *id, char name[PORT_NAME_LEN])
{
	cut_id(id, name, PORT_NAME_LEN - 1);
}

int attach_socket_path(const char *id, char *buf, size_t size)
{
	char folder[128];
	size_t room = 107 - strlen(instance.run_dir) - strlen("/vhost//vhost.sock");

	cut_id(id, folder, room < sizeof(folder) ? room : sizeof(folder) - 1);
	return snprintf(buf, size, "%s/vhost/%s/vhost.sock", instance.run_dir, folder) < (int)size
		? 0
		: -1;
}

static struct ip_prefix default_prefix(bool is_v4)
{
	struct ip_prefix prefix = { 0 };

	if (is_v4)
		prefix.addr = ip_from_v4(0);
	return prefix;
}

/* The pod's routes beyond those that its addresses and the standard gateways bring. */
static void collect_routes(const struct req_attach *req, struct pod_routes *out)
{
	const struct schema_ip *gateways = req->gateways.items;
	const struct req_pod_route *routes = req->routes.items;

	out->n = 0;
	for (uint32_t i = 0; i < req->gateways.len && req->default_route; i++) {
		const struct ip_addr gw = api_ip(&gateways[i]);

		out->items[out->n++] = (struct pod_route){
			.dst = default_prefix(ip_is_v4(&gw)), .has_gw = true, .gw = gw
		};
	}
	for (uint32_t i = 0; i < req->routes.len && out->n < ROUTES_MAX; i++) {
		struct pod_route *route = &out->items[out->n++];

		*route = (struct pod_route){ .dst = api_prefix(&routes[i].dst), .has_gw = true };
		if (routes[i].gw.is_set)
			route->gw = api_ip(&routes[i].gw);
		else
			route->gw = ip_gateway(!ip_is_v4(&route->dst.addr));
	}
}

/* MTU of a pod that does not ask for one: what fits through any uplink inside the larger of the tunnel headers, so that it
 * stays right when tunnels come later. Without an uplink Ethernet's 1500. */
static uint16_t default_mtu(void)
{
	uint16_t mtu = 0;

	for (const struct port *p = port_next(NULL); p != NULL; p = port_next(p))
		if (p->role == PORT_ROLE_UPLINK && (mtu == 0 || p->mtu < mtu))
			mtu = p->mtu;
	if (mtu == 0)
		return 1500;
	return object_uplink_addr(true) != NULL ? mtu - VXLAN_OVERHEAD4 : mtu - VXLAN_OVERHEAD6;
}

static void fill_port(const struct req_attach *req, int netns_fd, struct port_config *cfg)
{
	const struct schema_prefix *addresses = req->addresses.items;

	*cfg = (struct port_config){
		.kind = req->kind == REQ_ATTACH_TAP ? "tap" : "vhost",
		.role = PORT_ROLE_POD,
		.zone = (uint16_t)req->zone,
		.mtu = req->mtu != 0 ? (uint16_t)req->mtu : default_mtu(),
		.n_queues = (uint16_t)req->queues,
		.mac = api_mac(&req->mac),
		.n_addrs = (uint8_t)req->addresses.len,
		.is_vhost_client = req->vhost.role == REQ_VHOST_CLIENT,
		.socket_uid = (int32_t)req->vhost.uid,
		.socket_gid = (int32_t)req->vhost.gid,
		.ifname = req->ifname != NULL ? req->ifname : "eth0",
		.netns_fd = netns_fd,
		.tap_fd = -1,
		.is_gateway_default = req->default_route && req->gateways.len == 0,
	};
	attach_port_name(req->id, cfg->name);
	api_mode(req->vhost.mode, 0660, &cfg->socket_mode);
	for (uint32_t i = 0; i < req->addresses.len; i++) {
		memcpy(cfg->addrs[i].addr.b, addresses[i].b, sizeof(cfg->addrs[i].addr.b));
		cfg->addrs[i].len = addresses[i].len;
	}
}

/* An attach under way. */
struct attach {
	const struct req_attach *req;
	struct port_config cfg;
	struct pod_routes routes;
	char socket[108];
	struct port *port;
	int rc;
	struct attach_error err;
	attach_done_fn *done;
	void *arg;
};

static int make_socket_folder(struct attach *attach)
{
	const struct req_attach *req = attach->req;
	int rc = attach_socket_path(req->id, attach->socket, sizeof(attach->socket)) < 0
		? -ENAMETOOLONG
		: 0;

	if (rc == 0)
		rc = api_vhost_dir(attach->socket, req->vhost.uid, req->vhost.gid);
	if (rc < 0)
		snprintf(attach->err.reason, sizeof(attach->err.reason),
			"cannot make the folder of the socket: %s", strerror(-rc));
	attach->cfg.socket_path = attach->socket;
	attach->cfg.ifname = NULL;
	return rc;
}

static int make_endpoint(const struct req_attach *req, struct port *port, struct attach_error *err)
{
	struct endpoint_config cfg = {
		.id = req->id,
		.kind = ENDPOINT_POD,
		.port_id = port->id,
		.zone = port->zone,
		.mac = port->mac,
		.gw_mac = port->gw_mac,
		.mtu = port->mtu,
		.n_addrs = port->n_addrs,
		.max_conns = (uint32_t)req->max_conns,
		.max_new_conns_per_s = (uint64_t)req->max_new_conns_per_s,
		.limits = {
			[ENDPOINT_FROM] = { (uint64_t)req->rate_pps, (uint64_t)req->burst_pkts, (uint64_t)req->rate_bps,
				(uint64_t)req->burst_bytes },
			[ENDPOINT_TO] = { (uint64_t)req->to_rate_pps, (uint64_t)req->to_burst_pkts,
				(uint64_t)req->to_rate_bps, (uint64_t)req->to_burst_bytes },
		},
	};
	int rc;

	for (unsigned int i = 0; i < port->n_addrs; i++)
		cfg.addrs[i] = port->addrs[i].addr;
	rc = object_endpoint_add(port, &cfg, err->reason, sizeof(err->reason));
	if (rc == -EADDRINUSE)
		err->field = "addresses";
	return rc;
}

static void finish(struct attach *attach)
{
	attach->done(attach->rc, attach->port, &attach->err, attach->arg);
	free(attach);
}

/* Helper thread, or the control thread for vhost. */
static void open_device(void *arg)
{
	struct attach *attach = arg;
	char *reason = attach->err.reason;

	attach->rc = port_create_open(
		attach->port, &attach->cfg, reason, sizeof(attach->err.reason));
	if (attach->rc < 0 || attach->req->kind != REQ_ATTACH_TAP || attach->routes.n == 0)
		return;
	attach->rc = pod_net_add_routes(attach->cfg.netns_fd, attach->port->ifname,
		attach->routes.items, attach->routes.n, reason, sizeof(attach->err.reason));
	if (attach->rc < 0)
		attach->port->ops->close(attach->port, attach->port->is_adopted);
}

/* Those that the pod has instead of, or beside, the standard one. */
static void announce_gateways(const struct attach *attach)
{
	const struct schema_ip *gateways = attach->req->gateways.items;

	for (uint32_t i = 0; i < attach->req->gateways.len; i++) {
		const struct ip_addr gateway = api_ip(&gateways[i]);

		announce_at(attach->port, &gateway);
	}
}

static void device_opened(void *arg)
{
	struct attach *attach = arg;

	attach->rc = port_create_end(
		attach->port, attach->rc, attach->err.reason, sizeof(attach->err.reason));
	if (attach->rc == 0) {
		/* Another one may have come first while the device was made. */
		attach->rc = attach_admit(attach->req, &attach->err);
		if (attach->rc == 0)
			attach->rc = make_endpoint(attach->req, attach->port, &attach->err);
		if (attach->rc == 0) {
			object_port_refs[attach->port->id]++;
			announce_gateways(attach);
			observer_port_came();
			devices_port_came(attach->port, &attach->cfg, "");
		} else {
			port_abandon(attach->port);
		}
	}
	finish(attach);
}

void attach_pod(const struct req_attach *req, int netns_fd, attach_done_fn *done, void *arg)
{
	struct attach_error no_memory = { .reason = "out of memory" };
	struct attach *attach = calloc(1, sizeof(*attach));

	if (attach == NULL) {
		done(-ENOMEM, NULL, &no_memory, arg);
		return;
	}
	attach->req = req;
	attach->done = done;
	attach->arg = arg;
	fill_port(req, netns_fd, &attach->cfg);
	collect_routes(req, &attach->routes);
	attach->rc = attach_admit(req, &attach->err);
	if (attach->rc == 0 && req->kind == REQ_ATTACH_VHOST_USER)
		attach->rc = make_socket_folder(attach);
	if (attach->rc == 0)
		attach->rc = port_create_begin(&attach->cfg, &attach->port, attach->err.reason,
			sizeof(attach->err.reason));
	if (attach->rc < 0) {
		finish(attach);
		return;
	}
	if (req->kind == REQ_ATTACH_TAP && job_submit(open_device, device_opened, attach) == 0)
		return;
	open_device(attach);
	device_opened(attach);
}

/* After the port has been closed: its socket's folder. */
static void remove_folder(void *arg)
{
	char *path = arg, *slash = strrchr(path, '/');

	unlink(path);
	if (slash != NULL)
		*slash = '\0';
	rmdir(path); /* a pod that mounted it keeps its own view */
	free(path);
}

struct removal {
	char *socket; /* NULL: none */
	void (*removed)(void *arg);
	void *arg;
};

static void port_closed(void *arg)
{
	struct removal *removal = arg;

	if (removal->socket != NULL)
		remove_folder(removal->socket);
	removal->removed(removal->arg);
	free(removal);
}

void attach_remove(uint32_t endpoint_idx, void (*removed)(void *arg), void *arg)
{
	const struct endpoint *ep = endpoint_at(endpoint_idx);
	struct port *port = port_by_id(ep->port_id);
	struct removal *removal = calloc(1, sizeof(*removal));
	char path[108];

	if (removal != NULL)
		*removal = (struct removal){ .removed = removed, .arg = arg };
	if (removal != NULL && port != NULL && strcmp(port->ops->kind, "vhost") == 0 &&
		attach_socket_path(ep->id, path, sizeof(path)) == 0)
		removal->socket = strdup(path);
	object_endpoint_del(endpoint_idx);
	if (port != NULL) {
		object_port_refs[port->id]--;
		object_port_down(port);
		port_destroy_then(port, false, removal != NULL ? port_closed : NULL, removal);
	} else if (removal != NULL) {
		port_closed(removal);
	}
	if (removal == NULL)
		removed(arg);
}

void attach_remove_leftover(const struct req_attach *req)
{
	char alias[PORT_NAME_LEN + 8] = "leat:", path[108];
	struct netns_ref ns;
	struct nl_link link;
	struct nl *nl;
	int rc;

	if (req->kind == REQ_ATTACH_VHOST_USER) {
		if (attach_socket_path(req->id, path, sizeof(path)) == 0)
			remove_folder(strdup(path));
		return;
	}
	if (netns_ref_open(&ns, -1, req->netns, (uint64_t)req->netns_id) < 0)
		return; /* the namespace has gone, and the device with it */
	attach_port_name(req->id, alias + 5);
	nl = nl_open(ns.fd, &rc);
	if (nl != NULL) {
		rc = nl_link_get(nl, req->ifname != NULL ? req->ifname : "eth0", &link);
		if (rc == 0 && strcmp(link.kind, "tun") == 0 && strcmp(link.alias, alias) == 0)
			nl_link_del(nl, link.ifindex);
		nl_close(nl);
	}
	netns_ref_close(&ns);
}

static int check_tap(const struct req_attach *req, const struct port *port, int netns_fd,
	const char *ifname, struct attach_error *err)
{
	struct pod_routes routes;
	const struct pod_net net = {
		.ifname = ifname != NULL ? ifname : port->ifname,
		.mac = port->mac,
		.mtu = port->mtu,
		.n_addrs = port->n_addrs,
		.addrs = port->addrs,
		.has_default_gateway = req->default_route && req->gateways.len == 0,
		.n_routes = (collect_routes(req, &routes), routes.n),
		.routes = routes.items,
	};

	return pod_net_check(netns_fd, &net, err->reason, sizeof(err->reason));
}

static int check_vhost(const struct req_attach *req, struct attach_error *err)
{
	char path[108];
	struct stat st;

	if (req->vhost.role == REQ_VHOST_CLIENT ||
		attach_socket_path(req->id, path, sizeof(path)) < 0)
		return 0;
	if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return 0;
	snprintf(err->reason, sizeof(err->reason), "the socket %s is missing", path);
	return -ENOENT;
}

int attach_check(const struct req_attach *req, uint32_t endpoint_idx, int fd, const char *netns,
	const char *ifname, struct attach_error *err)
{
	const struct port *port = port_by_id(endpoint_at(endpoint_idx)->port_id);
	struct netns_ref ns;
	int rc;

	if (port == NULL || req->kind == REQ_ATTACH_VHOST_USER) {
		if (fd >= 0)
			close(fd);
		if (port != NULL)
			return check_vhost(req, err);
		snprintf(err->reason, sizeof(err->reason), "the port of endpoint %s is missing",
			req->id);
		return -ENOENT;
	}
	rc = netns_ref_open(&ns, fd, netns != NULL ? netns : req->netns,
		netns != NULL ? 0 : (uint64_t)req->netns_id);
	if (rc < 0) {
		err->field = "netns";
		snprintf(err->reason, sizeof(err->reason),
			"the network namespace cannot be opened: %s", strerror(-rc));
		return -ENOENT;
	}
	rc = check_tap(req, port, ns.fd, ifname, err);
	netns_ref_close(&ns);
	return rc;
}
