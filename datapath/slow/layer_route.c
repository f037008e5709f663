/* SPDX-License-Identifier: BSD-3-Clause */
/* Which route and next hop? */
#include "datapath/slow/slow.h"
#include "datapath/table/neigh.h"
#include "datapath/table/route.h"

#include "datapath/fast/poison.h"

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
	if (path != PATH_NONE)
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
		next_hop(ctx, r->port_id, &r->via);
		break;
	case ROUTE_CONNECTED:
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
	default:
		slow_drop(ctx, DROP_NO_ROUTE, ICMP_ERROR_NO_ROUTE);
		break;
	}
}
