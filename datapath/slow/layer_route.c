/* SPDX-License-Identifier: BSD-3-Clause */
/* Which route and next hop? */
#include "datapath/slow/slow.h"
#include "datapath/table/neigh.h"
#include "datapath/table/ours.h"
#include "datapath/table/route.h"
#include "datapath/table/snat.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

/* An address that only this node could answer for. */
static bool is_nobodys(const struct slow_ctx *ctx, const struct route *r)
{
	const struct ours_query q = { .addr = ctx->now.dst,
		.zone = ctx->zone,
		.way_len = r->prefix.len,
		.is_on_link = r->kind == ROUTE_CONNECTED,
		.has_snat = snat_list(ctx->zone) != RULELIST_NONE,
		.is_from_here = ctx->src_ep != SLOT_NONE,
		.now_s = ctx->now_s };

	return ours_is_nobodys(&q);
}

/* From a tunnel to beyond this node: only if the tunnel is for that. Answers to what came in the other way may go back. */
static bool is_transit_refused(const struct slow_ctx *ctx)
{
	return (ctx->in & FLOW_IN_TUNNEL) != 0 && !ctx->is_related && !slow_is_reply(ctx) &&
		!tunnel_at(ctx->in & (FLOW_IN_TUNNEL - 1))->is_transit;
}

/* May what the route sends out of an uplink leave there? */
static bool may_leave(struct slow_ctx *ctx, const struct route *r)
{
	const struct port *out = port_at(r->port_id);

	if (out == NULL || out->role != PORT_ROLE_UPLINK)
		return true;
	if (is_nobodys(ctx, r))
		slow_drop(ctx, DROP_ADDRESS_UNUSED, ICMP_ERROR_HOST_UNREACHABLE);
	else if (is_transit_refused(ctx))
		slow_drop(ctx, DROP_TUNNEL_TRANSIT, ICMP_ERROR_HOST_UNREACHABLE);
	return ctx->action == SLOW_CONTINUE;
}

/* Back to who sent it, as it came: its sender takes this node for the way, and this node its sender. */
static bool goes_round(const struct slow_ctx *ctx, const struct neigh *n)
{
	return !ctx->is_own && ctx->in == n->port_id && ctx->port->role == PORT_ROLE_UPLINK &&
		rte_is_same_ether_addr(ctx->src_mac, &n->mac) &&
		ip_eq(&ctx->now.dst, &ctx->pkt->dst) && ip_eq(&ctx->now.src, &ctx->pkt->src);
}

static void next_hop(struct slow_ctx *ctx, uint16_t port_id, const struct ip_addr *hop)
{
	uint32_t idx = neigh_lookup(port_id, hop), path;

	ctx->out_port = port_id;
	ctx->next_hop = *hop;
	if (port_at(port_id) == NULL) {
		slow_drop(ctx, DROP_PORT_DOWN, ICMP_ERROR_HOST_UNREACHABLE);
		return;
	}
	ctx->needs_neigh = true;
	if (idx == NEIGH_NONE)
		return;
	/* acquire: pairs with the release in neigh_set() */
	path = atomic_load_explicit(&neigh_at(idx)->path_idx, memory_order_acquire);
	if (path != PATH_NONE && goes_round(ctx, neigh_at(idx)))
		slow_drop(ctx, DROP_ROUTE_LOOP, ICMP_ERROR_HOST_UNREACHABLE);
	else if (path != PATH_NONE)
		ctx->path = path;
	else if (atomic_load_explicit(&neigh_at(idx)->state, memory_order_acquire) == NEIGH_FAILED)
		slow_drop(ctx, DROP_NEIGH_FAILED, ICMP_ERROR_HOST_UNREACHABLE);
}

void layer_route(struct slow_ctx *ctx)
{
	const struct route *r;

	if (ctx->dst_ep != SLOT_NONE)
		return;
	ctx->route = route_lookup(ctx->zone, &ctx->now.dst);
	r = route_at(ctx->route);
	ctx->mtu = r->mtu;
	switch (r->kind) {
	case ROUTE_VIA:
		if (may_leave(ctx, r))
			next_hop(ctx, r->port_id, &r->via);
		break;
	case ROUTE_CONNECTED:
		if (may_leave(ctx, r))
			next_hop(ctx, r->port_id, &ctx->now.dst);
		break;
	case ROUTE_TUNNEL:
		ctx->tunnel = r->tunnel_idx;
		break;
	case ROUTE_BLACKHOLE:
		slow_drop(ctx, DROP_BLACKHOLE, ICMP_ERROR_N);
		break;
	case ROUTE_PROHIBIT:
		slow_drop(ctx, DROP_PROHIBIT, ICMP_ERROR_PROHIBITED);
		break;
	case ROUTE_UNREACHABLE:
		slow_drop(ctx, DROP_ADDRESS_UNUSED, ICMP_ERROR_HOST_UNREACHABLE);
		break;
	default:
		slow_drop(ctx, DROP_NO_ROUTE, ICMP_ERROR_NO_ROUTE);
		break;
	}
}
