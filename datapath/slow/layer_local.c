/* SPDX-License-Identifier: BSD-3-Clause */
/* Does the destination live on this node? And may the sender speak to it there, if it is a tunnel's end? */
#include <netinet/in.h>

#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

static bool is_of_kind(uint32_t idx, enum endpoint_kind kind)
{
	return idx != ENDPOINT_NONE && endpoint_at(idx)->kind == kind;
}

/* Returns true if the receiver would take the packet for one of this node's own tunnel. What a pod wraps would escape every check there; so
 * would what a service sends on with this node's address. Asked behind the services, whose backend may be a tunnel's end. */
static bool is_false_tunnel(const struct slow_ctx *ctx, uint32_t dst_ep)
{
	if (ctx->pkt->proto != IPPROTO_UDP || ctx->is_own ||
		!tunnel_listens(rte_be_to_cpu_16(ctx->now.dport)))
		return false;
	if (!is_of_kind(ctx->src_ep, ENDPOINT_POD) && ctx->snat == SNAT_NONE &&
		ip_eq(&ctx->now.src, &ctx->pkt->src))
		return false;
	return (dst_ep != ENDPOINT_NONE && !is_of_kind(dst_ep, ENDPOINT_POD)) ||
		tunnel_remote_known(&ctx->now.dst);
}

void layer_local(struct slow_ctx *ctx)
{
	uint32_t idx = slow_endpoint_at(ctx, &ctx->now.dst);
	const struct endpoint *ep;

	if (is_false_tunnel(ctx, idx)) {
		slow_drop(ctx, DROP_TUNNEL_FROM_POD, ICMP_ERROR_N);
		return;
	}
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
