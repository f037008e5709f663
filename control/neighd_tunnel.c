/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/neighd_tunnel.h"

#include <rte_mbuf.h>

#include "control/hold.h"
#include "control/neighd.h"
#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/table/neigh.h"
#include "datapath/table/path.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

#define TUNNELS_PER_TICK 1024u

static uint32_t tick_at;

static uint32_t path_of(const struct tunnel *tunnel)
{
	return atomic_load_explicit(&tunnel->path_idx, memory_order_relaxed);
}

/* Zone of the uplink that has the tunnel's own address. */
static uint16_t underlay_zone(const struct tunnel *tunnel)
{
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		for (unsigned int i = 0; i < port->n_addrs && port->role == PORT_ROLE_UPLINK; i++)
			if (ip_eq(&port->addrs[i].addr, &tunnel->local))
				return port->zone;
	return 0;
}

/* Follows the underlay's route to the next hop; NEIGH_NONE if there is none. */
static uint32_t find_neigh(struct tunnel *tunnel)
{
	const struct route *route;

	tunnel->resolved_epoch = gen_now();
	tunnel->underlay_route = route_lookup(underlay_zone(tunnel), &tunnel->remote);
	route = route_at(tunnel->underlay_route);
	if (route->kind == ROUTE_VIA)
		return neighd_want(route->port_id, &route->via);
	if (route->kind == ROUTE_CONNECTED)
		return neighd_want(route->port_id, &tunnel->remote);
	return NEIGH_NONE;
}

static void resolve(uint32_t idx)
{
	struct tunnel *tunnel = tunnel_at(idx);
	uint32_t neigh = find_neigh(tunnel), hop = PATH_NONE;

	tunnel->underlay_neigh = neigh;
	if (neigh != NEIGH_NONE)
		hop = atomic_load_explicit(&neigh_at(neigh)->path_idx, memory_order_relaxed);
	if (hop == PATH_NONE && path_of(tunnel) == PATH_NONE)
		return;
	if (tunnel_resolve(idx, hop) < 0)
		log_warn("tunnel", "no path left name=%s", tunnel->name);
	gen_publish();
	log_debug(
		"tunnel", "%s name=%s", hop != PATH_NONE ? "resolved" : "unresolved", tunnel->name);
	if (path_of(tunnel) != PATH_NONE)
		hold_release(HOLD_TUNNEL, idx);
}

void neighd_tunnel_added(uint32_t idx)
{
	resolve(idx);
}

void neighd_tunnel_changed(uint32_t idx)
{
	resolve(idx);
}

void neighd_tunnel_removed(uint32_t idx)
{
	hold_drop(HOLD_TUNNEL, idx);
}

static bool is_live(uint32_t idx)
{
	return tunnel_next(idx) == idx;
}

void neighd_tunnel_hold(const struct punt_msg *msg)
{
	if (!is_live(msg->idx)) {
		rte_pktmbuf_free(msg->m);
		return;
	}
	hold_add(HOLD_TUNNEL, msg->idx, msg);
	if (path_of(tunnel_at(msg->idx)) != PATH_NONE)
		hold_release(HOLD_TUNNEL, msg->idx);
	else if (tunnel_at(msg->idx)->underlay_neigh == NEIGH_NONE)
		hold_drop(HOLD_TUNNEL, msg->idx); /* no way there */
	else
		resolve(msg->idx); /* asks again if the neighbour had failed */
}

void neighd_tunnel_neigh_changed(uint32_t neigh_idx)
{
	uint8_t state = neigh_at(neigh_idx)->state;

	for (uint32_t i = tunnel_next(0); i != TUNNEL_NONE; i = tunnel_next(i + 1)) {
		if (tunnel_at(i)->underlay_neigh != neigh_idx)
			continue;
		if (state != NEIGH_STALE)
			resolve(i);
		if (state == NEIGH_FAILED)
			hold_drop(HOLD_TUNNEL, i);
	}
}

void neighd_tunnel_neigh_gone(uint32_t neigh_idx)
{
	for (uint32_t i = tunnel_next(0); i != TUNNEL_NONE; i = tunnel_next(i + 1)) {
		if (tunnel_at(i)->underlay_neigh != neigh_idx)
			continue;
		tunnel_at(i)->underlay_neigh = NEIGH_NONE;
		tunnel_resolve(i, PATH_NONE);
	}
}

void neighd_tunnel_too_big(const struct ip_addr *remote, uint32_t mtu)
{
	uint32_t overhead = ip_is_v4(remote) ? VXLAN_OVERHEAD4 : VXLAN_OVERHEAD6;

	mtu = RTE_MAX(mtu, IP6_MTU_MIN + overhead);
	for (uint32_t i = tunnel_next(0); i != TUNNEL_NONE; i = tunnel_next(i + 1)) {
		struct tunnel *tunnel = tunnel_at(i);
		uint32_t path = path_of(tunnel);

		if (!ip_eq(&tunnel->remote, remote) || path == PATH_NONE ||
			mtu >= path_at(path)->mtu + overhead)
			continue;
		tunnel->underlay_mtu = (uint16_t)mtu;
		tunnel->underlay_mtu_ns = clock_ns();
		resolve(i);
	}
}

/* After a while the way may have become wider: it is tried again (RFC 1191 s. 6.3). */
static void mtu_expire(uint32_t idx)
{
	struct tunnel *tunnel = tunnel_at(idx);

	if (tunnel->underlay_mtu == 0 || clock_ns() - tunnel->underlay_mtu_ns < NEIGHD_PMTU_NS)
		return;
	tunnel->underlay_mtu = 0;
	resolve(idx);
}

/* A tunnel that nobody uses still learns that its underlay has changed, and asks again for a failed next hop. */
static bool must_resolve(const struct tunnel *tunnel)
{
	if (gen_now() != tunnel->resolved_epoch && tunnel->underlay_route != SLOT_NONE &&
		gen_is_newer(&route_at(tunnel->underlay_route)->gen, tunnel->resolved_epoch))
		return true;
	return path_of(tunnel) == PATH_NONE;
}

void neighd_tunnel_tick(void)
{
	uint32_t end = tick_at + TUNNELS_PER_TICK, idx;

	for (idx = tunnel_next(tick_at); idx != TUNNEL_NONE && idx < end;
		idx = tunnel_next(idx + 1)) {
		if (must_resolve(tunnel_at(idx)))
			resolve(idx);
		mtu_expire(idx);
	}
	tick_at = idx == TUNNEL_NONE ? 0 : end;
}
