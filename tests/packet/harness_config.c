/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration commands, named and shaped as the control API's methods, straight onto the tables. */
#include <errno.h>
#include <string.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/neigh.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/kind_ring.h"
#include "pmd/portmgr.h"
#include "tests/packet/harness.h"

static bool get_ip(const cJSON *params, const char *name, struct ip_addr *out)
{
	return ip_parse(harness_str(params, name, ""), out) == 0;
}

/* "a/len" with host bits → address and length; a bare address has its family's full length. */
static bool parse_host_prefix(const char *text, struct ip_prefix_host *out)
{
	char addr[IP_ADDR_STRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);

	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (ip_parse(addr, &out->addr) < 0)
		return false;
	out->len = slash != NULL ? (uint8_t)atoi(slash + 1) : ip_is_v4(&out->addr) ? 32 : 128;
	return true;
}

static const char *addresses(const cJSON *params, struct ip_prefix_host *out, uint8_t *out_n)
{
	const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(params, "addresses");

	*out_n = 0;
	cJSON_ArrayForEach(item, list)
		if (*out_n == PORT_ADDRS_MAX ||
			!parse_host_prefix(item->valuestring, &out[(*out_n)++]))
			return "addresses";
	return NULL;
}

static uint32_t offloads(const cJSON *params)
{
	uint32_t bits = 0;

	if (harness_num(params, "csum", 0) != 0)
		bits |= PORT_TX_CSUM;
	if (harness_num(params, "tso", 0) != 0)
		bits |= PORT_TX_CSUM | PORT_TX_TSO4 | PORT_TX_TSO6;
	if (harness_num(params, "uso", 0) != 0)
		bits |= PORT_TX_CSUM | PORT_TX_USO;
	return bits;
}

/* What the API's port.add does beside the port: leatd's own addresses and connected prefixes, the node behind a host port. */
static const char *port_endpoint(struct port *p, const struct port_config *cfg)
{
	struct endpoint_config ep = {
		.id = p->name,
		.kind = p->role == PORT_ROLE_HOST ? ENDPOINT_HOST : ENDPOINT_SELF,
		.port_id = p->id,
		.zone = p->zone,
		.mac = p->mac,
		.gw_mac = p->gw_mac,
		.mtu = p->mtu,
		.n_addrs = cfg->n_addrs,
	};
	uint32_t idx;

	if (p->role == PORT_ROLE_POD || cfg->n_addrs == 0)
		return NULL;
	for (unsigned int i = 0; i < cfg->n_addrs; i++)
		ep.addrs[i] = cfg->addrs[i].addr;
	if (endpoint_add(&ep, &idx, NULL) < 0)
		return "endpoint of the port";
	p->endpoint_idx = idx;
	for (unsigned int i = 0; i < cfg->n_addrs && p->role == PORT_ROLE_UPLINK; i++) {
		struct route_config r = { .prefix = { cfg->addrs[i].addr, cfg->addrs[i].len },
			.zone = p->zone,
			.port_id = p->id,
			.kind = ROUTE_CONNECTED,
			.origin = ROUTE_ORIGIN_CONNECTED };

		ip_prefix_mask(&r.prefix);
		if (route_add(&r, NULL) < 0)
			return "connected route";
	}
	return NULL;
}

static const char *port_add(const cJSON *params, cJSON *result)
{
	static const char *const roles[] = { "pod", "uplink", "host" };
	struct port_config cfg = { .kind = "ring", .netns_fd = -1, .tap_fd = -1 };
	const char *role = harness_str(params, "role", "pod"), *error;
	char text[MAC_STRLEN];
	struct port *p;

	snprintf(cfg.name, sizeof(cfg.name), "%s", harness_str(params, "name", ""));
	while (cfg.role < PORT_ROLE_N && strcmp(role, roles[cfg.role]) != 0)
		cfg.role++;
	cfg.zone = (uint16_t)harness_num(params, "zone", 0);
	cfg.mtu = (uint16_t)harness_num(params, "mtu", 0);
	cfg.n_desc = (uint16_t)harness_num(params, "descriptors", 0);
	cfg.n_queues = (uint16_t)harness_num(params, "queues", 0);
	if (mac_parse(harness_str(params, "mac", ""), &cfg.mac) < 0)
		return "mac";
	error = addresses(params, cfg.addrs, &cfg.n_addrs);
	if (error != NULL)
		return error;
	if (port_create(&cfg, &p, harness_error, sizeof(harness_error)) < 0)
		return harness_error;
	ring_port_set_tx_offloads(p, offloads(params));
	cJSON_AddStringToObject(result, "gateway_mac", mac_format(&p->gw_mac, text));
	error = port_endpoint(p, &cfg);
	gen_publish();
	return error;
}

static const char *port_set(const cJSON *params, cJSON *result)
{
	struct port *p = port_by_name(harness_str(params, "name", ""));

	(void)result;
	if (p == NULL)
		return "no such port";
	ring_port_set_up(p, harness_num(params, "up", 1) != 0);
	ring_port_set_tx_offloads(p, offloads(params));
	p->tso_min_bytes = (uint16_t)harness_num(params, "tso_min", 0);
	return NULL;
}

static const char *port_del(const cJSON *params, cJSON *result)
{
	struct port *p = port_by_name(harness_str(params, "name", ""));

	(void)result;
	if (p == NULL)
		return "no such port";
	if (p->endpoint_idx != ENDPOINT_NONE)
		endpoint_del(p->endpoint_idx);
	port_destroy(p, false);
	gen_publish();
	return NULL;
}

static const char *ep_add(const cJSON *params, cJSON *result)
{
	struct port *p = port_by_name(harness_str(params, "port", ""));
	struct ip_prefix_host addrs[PORT_ADDRS_MAX];
	const cJSON *from = cJSON_GetObjectItemCaseSensitive(params, "from");
	const cJSON *to = cJSON_GetObjectItemCaseSensitive(params, "to");
	struct endpoint_config cfg = { .id = harness_str(params, "id", ""), .kind = ENDPOINT_POD };
	const cJSON *limits[ENDPOINT_DIR_N] = { [ENDPOINT_FROM] = from, [ENDPOINT_TO] = to };
	const char *error;
	uint32_t idx;
	int rc;

	(void)result;
	if (p == NULL)
		return "no such port";
	error = addresses(params, addrs, &cfg.n_addrs);
	if (error != NULL)
		return error;
	for (unsigned int i = 0; i < cfg.n_addrs; i++)
		cfg.addrs[i] = addrs[i].addr;
	cfg.port_id = p->id;
	cfg.zone = (uint16_t)harness_num(params, "zone", p->zone);
	if (mac_parse(harness_str(params, "mac", ""), &cfg.mac) < 0)
		cfg.mac = p->mac;
	cfg.gw_mac = p->gw_mac;
	cfg.mtu = p->mtu;
	cfg.max_conns = (uint32_t)harness_num(params, "max_conns", 0);
	cfg.max_new_conns_per_s = (uint64_t)harness_num(params, "max_new_conns_per_s", 0);
	for (int d = 0; d < ENDPOINT_DIR_N; d++)
		cfg.limits[d] = (struct endpoint_limits){
			.rate_pps = (uint64_t)harness_num(limits[d], "rate_pps", 0),
			.burst_pkts = (uint64_t)harness_num(limits[d], "burst_pkts", 0),
			.rate_bps = (uint64_t)harness_num(limits[d], "rate_bps", 0),
			.burst_bytes = (uint64_t)harness_num(limits[d], "burst_bytes", 0),
		};
	rc = endpoint_add(&cfg, &idx, NULL);
	if (rc < 0)
		return harness_fail("endpoint_add: %s", strerror(-rc));
	if (p->endpoint_idx == ENDPOINT_NONE)
		p->endpoint_idx = idx;
	else
		atomic_store_explicit(&p->is_shared, 1, memory_order_relaxed);
	gen_publish();
	return NULL;
}

static const char *ep_del(const cJSON *params, cJSON *result)
{
	uint32_t idx = endpoint_by_id(harness_str(params, "id", ""));
	struct port *p = NULL;

	(void)result;
	if (idx == ENDPOINT_NONE)
		return "no such endpoint";
	while ((p = port_next(p)) != NULL)
		if (p->endpoint_idx == idx)
			p->endpoint_idx = ENDPOINT_NONE;
	endpoint_del(idx);
	gen_publish();
	return NULL;
}

static const char *route_cfg(const cJSON *params, struct route_config *r)
{
	const char *type = harness_str(params, "type", "unicast"),
		   *tunnel = harness_str(params, "tunnel", NULL);
	const struct port *p = port_by_name(harness_str(params, "port", ""));

	if (ip_prefix_parse(harness_str(params, "prefix", ""), &r->prefix) < 0)
		return "prefix";
	r->zone = (uint16_t)harness_num(params, "zone", 0);
	r->mtu = (uint16_t)harness_num(params, "mtu", 0);
	if (strcmp(type, "blackhole") == 0) {
		r->kind = ROUTE_BLACKHOLE;
	} else if (strcmp(type, "prohibit") == 0) {
		r->kind = ROUTE_PROHIBIT;
	} else if (strcmp(type, "unreachable") == 0) {
		r->kind = ROUTE_UNREACHABLE;
	} else if (tunnel != NULL) {
		r->kind = ROUTE_TUNNEL;
		r->tunnel_idx = tunnel_by_name(tunnel);
		if (r->tunnel_idx == TUNNEL_NONE)
			return "no such tunnel";
	} else {
		if (p == NULL)
			return "no such port";
		r->port_id = p->id;
		r->kind = get_ip(params, "via", &r->via) ? ROUTE_VIA : ROUTE_CONNECTED;
	}
	return NULL;
}

static const char *rt_add(const cJSON *params, cJSON *result)
{
	struct route_config r = { 0 };
	const char *error = route_cfg(params, &r);
	int rc;

	(void)result;
	if (error != NULL)
		return error;
	rc = route_replace(&r, NULL);
	gen_publish();
	return rc < 0 ? harness_fail("route_replace: %s", strerror(-rc)) : NULL;
}

static const char *rt_del(const cJSON *params, cJSON *result)
{
	struct ip_prefix prefix;
	int rc;

	(void)result;
	if (ip_prefix_parse(harness_str(params, "prefix", ""), &prefix) < 0)
		return "prefix";
	rc = route_del((uint16_t)harness_num(params, "zone", 0), &prefix);
	gen_publish();
	return rc < 0 ? "no such route" : NULL;
}

/* state: static (default), reachable, stale, pending, failed. */
static const char *nb_add(const cJSON *params, cJSON *result)
{
	const struct port *p = port_by_name(harness_str(params, "port", ""));
	const char *name = harness_str(params, "state", "static");
	struct rte_ether_addr mac = { 0 };
	enum neigh_state state = NEIGH_PENDING;
	struct ip_addr addr;
	uint32_t idx;
	int rc;

	(void)result;
	if (p == NULL || !get_ip(params, "address", &addr))
		return "port or address";
	while (state < NEIGH_N && strcmp(neigh_state_name(state), name) != 0)
		state++;
	(void)mac_parse(harness_str(params, "mac", ""), &mac);
	idx = neigh_get(p->id, &addr);
	if (idx == NEIGH_NONE)
		return "neighbour table full";
	rc = neigh_set(idx, state, &mac, &p->mac, p->mtu);
	gen_publish();
	return rc < 0 ? harness_fail("neigh_set: %s", strerror(-rc)) : NULL;
}

static const char *tn_add(const cJSON *params, cJSON *result)
{
	struct tunnel t = {
		.type = TUNNEL_VXLAN,
		.zone = (uint16_t)harness_num(params, "zone", 0),
		.udp_port = (uint16_t)harness_num(params, "udp_port", TUNNEL_VXLAN_PORT),
		.vni = (uint32_t)harness_num(params, "vni", 0),
		.mtu = (uint16_t)harness_num(params, "mtu", 0),
		.is_transit = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(params, "transit")),
	};
	uint32_t idx, neigh;
	struct ip_addr hop;
	const struct port *p = port_by_name(harness_str(params, "port", ""));
	char text[MAC_STRLEN];
	int rc;

	snprintf(t.name, sizeof(t.name), "%s", harness_str(params, "name", ""));
	if (!get_ip(params, "remote", &t.remote) || !get_ip(params, "local", &t.local) ||
		mac_parse(harness_str(params, "remote_mac", ""), &t.remote_mac) < 0 ||
		mac_parse(harness_str(params, "local_mac", "02:1e:a7:aa:aa:aa"),
			&tunnel_local_mac) < 0)
		return "remote, local, remote_mac or local_mac";
	t.has_udp_csum = harness_num(params, "udp_csum", !ip_is_v4(&t.remote)) != 0;
	rc = tunnel_add(&t, &idx);
	if (rc < 0)
		return harness_fail("tunnel_add: %s", strerror(-rc));
	/* The underlay: "via" (or the remote end) on "port" has a neighbour entry already; without, unresolved. */
	if (p != NULL) {
		hop = t.remote;
		(void)get_ip(params, "via", &hop);
		neigh = neigh_lookup(p->id, &hop);
		if (neigh == NEIGH_NONE)
			return "underlay neighbour";
		rc = tunnel_resolve(idx, neigh_at(neigh)->path_idx);
		if (rc < 0)
			return harness_fail("tunnel_resolve: %s", strerror(-rc));
	}
	gen_publish();
	cJSON_AddStringToObject(result, "mac", mac_format(&tunnel_local_mac, text));
	return NULL;
}

static const char *tn_set(const cJSON *params, cJSON *result)
{
	uint32_t idx = tunnel_by_name(harness_str(params, "name", "")), neigh;
	const struct port *p = port_by_name("up");

	(void)result;
	if (idx == TUNNEL_NONE || p == NULL)
		return "no such tunnel";
	neigh = neigh_lookup(p->id, &tunnel_at(idx)->remote);
	tunnel_at(idx)->mtu = (uint16_t)harness_num(params, "mtu", 0);
	tunnel_at(idx)->is_dscp_uniform = harness_num(params, "is_uniform", 0) != 0;
	if (neigh == NEIGH_NONE || tunnel_resolve(idx, neigh_at(neigh)->path_idx) < 0)
		return "underlay neighbour";
	gen_publish();
	return NULL;
}

static const char *tn_del(const cJSON *params, cJSON *result)
{
	uint32_t idx = tunnel_by_name(harness_str(params, "name", ""));

	(void)result;
	if (idx == TUNNEL_NONE)
		return "no such tunnel";
	tunnel_del(idx);
	gen_publish();
	return NULL;
}

static const char *warp(const cJSON *params, cJSON *result)
{
	(void)result;
	clock_warp_ns((uint64_t)(harness_num(params, "seconds", 0) * 1e9));
	return NULL;
}

static const char *ct_set(const cJSON *params, cJSON *result)
{
	(void)result;
	if (flowtab_windows_open(&harness_ft4) < 0 || flowtab_windows_open(&harness_ft6) < 0)
		return "no memory";
	atomic_store(&conn_tcp_strict, harness_num(params, "tcp_strict", 0) != 0);
	atomic_store(&flowtab_early_drop, harness_num(params, "early_drop", 1) != 0);
	conn_timeout_set(CONN_UDP, CONN_NEW, (uint32_t)harness_num(params, "udp_new_s", 0));
	conn_timeout_set(CONN_UDP, CONN_REPLIED, (uint32_t)harness_num(params, "udp_replied_s", 0));
	return NULL;
}

static const char *zn_add(const cJSON *params, cJSON *result)
{
	(void)result;
	atomic_store(&conn_zone_max[(uint16_t)harness_num(params, "id", 0)],
		(uint32_t)harness_num(params, "max_conns", 0));
	return NULL;
}

const struct harness_command harness_config_commands[] = {
	{ "port.add", port_add },
	{ "port.set", port_set },
	{ "port.del", port_del },
	{ "endpoint.add", ep_add },
	{ "endpoint.del", ep_del },
	{ "route.add", rt_add },
	{ "route.del", rt_del },
	{ "neigh.add", nb_add },
	{ "tunnel.add", tn_add },
	{ "tunnel.set", tn_set },
	{ "tunnel.del", tn_del },
	{ "conntrack.set", ct_set },
	{ "zone.add", zn_add },
	{ "warp", warp },
	{ NULL, NULL },
};
