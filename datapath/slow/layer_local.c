/* SPDX-License-Identifier: BSD-3-Clause */
/* Does the destination live on this node? */
#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"

#include "datapath/fast/poison.h"

void layer_local(struct slow_ctx *ctx)
{
	uint32_t idx = endpoint_by_addr(ctx->zone, &ctx->now.dst);
	const struct endpoint *ep;

	if (idx == ENDPOINT_NONE) {
		if (slow_is_to_gateway(ctx))
			ctx->action = SLOW_SELF;
		return;
	}
	ep = endpoint_at(idx);
	ctx->dst_ep = idx;
	if (ep->kind == ENDPOINT_SELF) {
		ctx->action = SLOW_SELF;
		return;
	}
	ctx->keep_ttl |= ep->kind == ENDPOINT_HOST;
	ctx->is_metered |= ep->is_metered[ENDPOINT_TO];
	ctx->path = ep->path_idx;
	ctx->out_port = ep->port_id;
}
