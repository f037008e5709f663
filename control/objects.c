/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/objects.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/announce.h"
#include "control/announce_uplink.h"
#include "control/devices.h"
#include "control/kernel_routes.h"
#include "control/locality.h"
#include "control/names.h"
#include "control/neighd.h"
#include "control/node_routes.h"
#include "control/observer.h"
#include "control/state.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/table/restart.h"
#include "datapath/table/route.h"
#include "pmd/pod_net.h"
#include "pmd/portmgr.h"

uint32_t object_port_refs[PORT_MAX];
uint32_t object_tunnel_refs[TUNNEL_TABLE_MAX];

static struct port *host_port;

struct port *object_host_port(void)
{
	return host_port;
}

bool object_port_has_mac(const char *name)
{
	char key[STORE_KEY_MAX];
	const struct store_item *item;

	snprintf(key, sizeof(key), "port %s", name);
	item = store_find(state_store(), key);
	return item != NULL && strstr(item->params, "\"mac\":") != NULL;
}

static uint8_t full_len(const struct ip_addr *addr)
{
	return ip_is_v4(addr) ? 32 : 128;
}

static struct ip_prefix host_prefix(const struct ip_addr *addr)
{
	return (struct ip_prefix){ .addr = *addr, .len = full_len(addr) };
}

/* Whoever was judged by the route that led to this address so far is judged again. */
static void touch_covering(uint16_t zone, const struct ip_addr *addr)
{
	gen_touch(&route_base[route_lookup(zone, addr)].gen);
}

/* The gateway's address is leatd's own on every pod's link. */
static int endpoint_refused(const struct endpoint_config *cfg, char *errbuf, size_t errlen)
{
	char text[IP_ADDR_STRLEN];

	for (unsigned int i = 0; i < cfg->n_addrs; i++) {
		if (!ip_is_gateway(&cfg->addrs[i]))
			continue;
		snprintf(errbuf, errlen, "address %s is the gateway's of every pod",
			ip_format(&cfg->addrs[i], text));
		return -EINVAL;
	}
	return 0;
}

static void port_set_shared(struct port *port, bool is_shared)
{
	atomic_store_explicit(&port->is_shared, is_shared, memory_order_relaxed);
	restart_port_save(port->id, port->name, port->zone, port->role, is_shared);
}

int object_endpoint_add(
	struct port *port, const struct endpoint_config *cfg, char *errbuf, size_t errlen)
{
	unsigned int taken = 0;
	char text[IP_ADDR_STRLEN];
	uint32_t idx;
	int rc = endpoint_refused(cfg, errbuf, errlen);

	if (rc < 0)
		return rc;
	rc = endpoint_add(cfg, &idx, &taken);
	if (rc == -EEXIST)
		snprintf(errbuf, errlen, "endpoint %s exists already", cfg->id);
	else if (rc == -EADDRINUSE)
		snprintf(errbuf, errlen, "address %s is taken by endpoint %s",
			ip_format(&cfg->addrs[taken], text),
			endpoint_at(endpoint_by_addr(cfg->zone, &cfg->addrs[taken]))->id);
	else if (rc < 0)
		snprintf(errbuf, errlen, "no room for another endpoint: %s", strerror(-rc));
	if (rc < 0)
		return rc;
	binding_endpoint_added(idx);
	locality_changed();
	if (port->endpoint_idx == ENDPOINT_NONE)
		port->endpoint_idx = idx;
	else if (cfg->kind == ENDPOINT_POD)
		port_set_shared(port, true);
	for (unsigned int i = 0; i < cfg->n_addrs; i++) {
		const struct ip_prefix prefix = host_prefix(&cfg->addrs[i]);

		touch_covering(cfg->zone, &cfg->addrs[i]);
		if (cfg->kind == ENDPOINT_POD)
			node_route_get(cfg->zone, &prefix, 0);
		if (cfg->kind == ENDPOINT_POD && host_port != NULL && host_port->zone == cfg->zone)
			announce_at(host_port, &cfg->addrs[i]);
	}
	if (cfg->kind == ENDPOINT_POD)
		announce_gateway(port);
	return 0;
}

/* Another endpoint behind the same port, or ENDPOINT_NONE. */
static uint32_t endpoint_behind(uint16_t port_id, uint32_t except)
{
	for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1))
		if (i != except && endpoint_at(i)->port_id == port_id)
			return i;
	return ENDPOINT_NONE;
}

void object_endpoint_del(uint32_t idx)
{
	const struct endpoint *ep = endpoint_at(idx);
	struct port *port = port_by_id(ep->port_id);

	for (unsigned int i = 0; i < ep->n_addrs && ep->kind == ENDPOINT_POD; i++) {
		const struct ip_prefix prefix = host_prefix(&ep->addrs[i]);

		node_route_put(ep->zone, &prefix);
	}
	if (port != NULL && port->endpoint_idx == idx)
		port->endpoint_idx = object_port_refs[port->id] > 1 ? endpoint_behind(port->id, idx)
								    : ENDPOINT_NONE;
	if (port != NULL && port->endpoint_idx == ENDPOINT_NONE)
		port_set_shared(port, false);
	endpoint_del(idx);
	locality_changed();
}

/* leatd's own address on an uplink, unless the node's stack has the same one. */
static int self_add(struct port *port, const struct ip_addr *addr, char *errbuf, size_t errlen)
{
	char id[ENDPOINT_ID_LEN], text[IP_ADDR_STRLEN];
	struct endpoint_config cfg = { .id = id,
		.kind = ENDPOINT_SELF,
		.port_id = port->id,
		.zone = port->zone,
		.mac = port->mac,
		.mtu = port->mtu,
		.n_addrs = 1,
		.addrs = { *addr } };
	uint32_t owner = endpoint_by_addr(port->zone, addr);
	int rc;

	if (owner != ENDPOINT_NONE && endpoint_at(owner)->kind == ENDPOINT_HOST)
		return 0;
	snprintf(id, sizeof(id), "self:%s", ip_format(addr, text));
	rc = object_endpoint_add(port, &cfg, errbuf, errlen);
	if (rc == 0)
		node_route_get_addr(port->zone, addr);
	return rc;
}

static void self_del(const struct port *port, const struct ip_addr *addr)
{
	uint32_t owner = endpoint_by_addr(port->zone, addr);

	if (owner == ENDPOINT_NONE || endpoint_at(owner)->kind != ENDPOINT_SELF)
		return;
	node_route_put_addr(port->zone, addr);
	object_endpoint_del(owner);
}

static void selves_del(struct port *port)
{
	for (unsigned int i = 0; i < port->n_addrs; i++)
		self_del(port, &port->addrs[i].addr);
}

static int selves_add(struct port *port, char *errbuf, size_t errlen)
{
	for (unsigned int i = 0; i < port->n_addrs; i++) {
		int rc = self_add(port, &port->addrs[i].addr, errbuf, errlen);

		if (rc == 0)
			continue;
		while (i-- > 0)
			self_del(port, &port->addrs[i].addr);
		return rc;
	}
	return 0;
}

/* After the host port came or went: leatd's own addresses that it does not carry. */
static void selves_restore(void)
{
	char errbuf[200];

	for (struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		for (unsigned int i = 0; i < port->n_addrs && port->role == PORT_ROLE_UPLINK; i++)
			if (endpoint_by_addr(port->zone, &port->addrs[i].addr) == ENDPOINT_NONE &&
				self_add(port, &port->addrs[i].addr, errbuf, sizeof(errbuf)) < 0)
				log_err("port", "%s", errbuf);
}

static int host_add(struct port *port, char *errbuf, size_t errlen)
{
	struct endpoint_config cfg = { .id = "host",
		.kind = ENDPOINT_HOST,
		.port_id = port->id,
		.zone = port->zone,
		.mac = port->mac,
		.gw_mac = port->gw_mac,
		.mtu = port->mtu,
		.n_addrs = port->n_addrs };
	int rc;

	for (unsigned int i = 0; i < port->n_addrs; i++) {
		cfg.addrs[i] = port->addrs[i].addr;
		self_del(port, &cfg.addrs[i]);
	}
	rc = object_endpoint_add(port, &cfg, errbuf, errlen);
	if (rc < 0)
		selves_restore();
	return rc;
}

static struct ip_prefix connected_prefix(const struct port *port, unsigned int i)
{
	struct ip_prefix prefix = { .addr = port->addrs[i].addr, .len = port->addrs[i].len };

	ip_prefix_mask(&prefix);
	return prefix;
}

static bool is_connected_route(const struct port *port, const struct ip_prefix *prefix)
{
	uint32_t idx = route_find(port->zone, prefix);

	return idx != ROUTE_IDX_NONE && route_at(idx)->origin == ROUTE_ORIGIN_CONNECTED &&
		route_at(idx)->port_id == port->id;
}

static void del_connected(struct port *port)
{
	for (unsigned int i = 0; i < port->n_addrs; i++) {
		const struct ip_prefix prefix = connected_prefix(port, i);

		if (is_connected_route(port, &prefix))
			route_del(port->zone, &prefix);
	}
}

static int add_connected(struct port *port, char *errbuf, size_t errlen)
{
	char text[IP_PREFIX_STRLEN];

	for (unsigned int i = 0; i < port->n_addrs; i++) {
		struct route_config cfg = { .prefix = connected_prefix(port, i),
			.zone = port->zone,
			.port_id = port->id,
			.kind = ROUTE_CONNECTED,
			.origin = ROUTE_ORIGIN_CONNECTED };
		int rc;

		if (cfg.prefix.len == full_len(&cfg.prefix.addr))
			continue;
		rc = is_connected_route(port, &cfg.prefix) ? 0 : route_add(&cfg, NULL);
		if (rc < 0) {
			snprintf(errbuf, errlen, "route to %s of port %s: %s",
				ip_prefix_format(&cfg.prefix, text), port->name,
				rc == -EEXIST ? "there is one already" : strerror(-rc));
			del_connected(port);
			return rc;
		}
	}
	return 0;
}

/* The pods that were here before the host port. */
static void announce_all_pods(void)
{
	for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1)) {
		const struct endpoint *ep = endpoint_at(i);

		for (unsigned int a = 0; a < ep->n_addrs && ep->kind == ENDPOINT_POD; a++)
			if (ep->zone == host_port->zone)
				announce_at(host_port, &ep->addrs[a]);
	}
}

int object_port_up(struct port *port, char *errbuf, size_t errlen)
{
	int rc = 0;

	if (port->role == PORT_ROLE_HOST) {
		if (host_port != NULL) {
			snprintf(errbuf, errlen, "there is a host port already: %s",
				host_port->name);
			return -EEXIST;
		}
		rc = host_add(port, errbuf, errlen);
		if (rc < 0)
			return rc;
		host_port = port;
		node_routes_host_came();
		announce_all_pods();
		announce_uplink_zone(port->zone);
		if (kernel_routes_start(port, errbuf, errlen) < 0)
			log_warn("kernel", "%s", errbuf);
	} else if (port->role == PORT_ROLE_UPLINK) {
		rc = selves_add(port, errbuf, errlen);
		if (rc < 0)
			return rc;
		rc = add_connected(port, errbuf, errlen);
		if (rc < 0)
			selves_del(port);
		else
			kernel_routes_retry();
		announce_uplink(port);
	}
	return rc;
}

void object_port_mac_changed(const struct port *port)
{
	for (unsigned int i = 0; i < port->n_addrs; i++) {
		uint32_t owner = endpoint_by_addr(port->zone, &port->addrs[i].addr);

		if (owner != ENDPOINT_NONE && endpoint_at(owner)->kind == ENDPOINT_SELF)
			endpoint_at(owner)->mac = port->mac; /* no packet is judged by it */
	}
}

void object_port_resumed(const struct port *port)
{
	if (port == host_port)
		node_routes_host_came();
}

void object_port_down(struct port *port)
{
	devices_port_gone(port);
	observer_port_gone(port);
	neighd_port_gone(port);
	kernel_routes_port_gone(port);
	if (port->role == PORT_ROLE_UPLINK) {
		del_connected(port);
		selves_del(port);
	}
	if (port == host_port) {
		kernel_routes_stop();
		node_routes_host_gone();
		host_port = NULL;
		if (port->endpoint_idx != ENDPOINT_NONE)
			object_endpoint_del(port->endpoint_idx);
		selves_restore();
		announce_uplink_zone(port->zone);
	}
}

const struct ip_addr *object_uplink_addr(bool is_v4)
{
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		for (unsigned int i = 0; i < port->n_addrs && port->role == PORT_ROLE_UPLINK; i++)
			if (ip_is_v4(&port->addrs[i].addr) == is_v4)
				return &port->addrs[i].addr;
	return NULL;
}

struct port *object_uplink_of(const struct ip_addr *addr)
{
	for (struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		for (unsigned int i = 0; i < port->n_addrs && port->role == PORT_ROLE_UPLINK; i++)
			if (ip_eq(&port->addrs[i].addr, addr))
				return port;
	return NULL;
}
