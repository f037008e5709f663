/* SPDX-License-Identifier: BSD-3-Clause */
/* Which tunnel, and is the way out known? */
#include "datapath/slow/slow.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

static void tunnel_enter(struct slow_ctx *ctx)
{
	/* From one tunnel into another would make this node a transit that nobody configured, and a loop possible. */
	if ((ctx->in & FLOW_IN_TUNNEL) != 0) {
		slow_drop(ctx, DROP_TUNNEL_TRANSIT, ICMP_ERROR_HOST_UNREACHABLE);
		return;
	}
	/* acquire: pairs with the release in tunnel_resolve() */
	ctx->path = atomic_load_explicit(&tunnel_at(ctx->tunnel)->path_idx, memory_order_acquire);
	ctx->action = ctx->path != PATH_NONE ? SLOW_FORWARD : SLOW_RESOLVE_TUNNEL;
}

void layer_encap(struct slow_ctx *ctx)
{
	if (ctx->tunnel != TUNNEL_NONE)
		tunnel_enter(ctx);
	else if (ctx->path != PATH_NONE)
		ctx->action = SLOW_FORWARD;
	else if (ctx->needs_neigh)
		ctx->action = SLOW_RESOLVE_NEIGH;
	else
		slow_drop(ctx, DROP_NO_ROUTE, ICMP_ERROR_NO_ROUTE);
}
