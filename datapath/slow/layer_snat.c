/* SPDX-License-Identifier: BSD-3-Clause */
/* Is the source translated? Only for a new connection, or one not yet established, is that asked: others keep what they have. The port is chosen when the
 * connection is committed (slow/nat.c). */
#include "datapath/slow/nat.h"
#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/snat.h"

#include "datapath/fast/poison.h"

static bool leaves_by_uplink(const struct slow_ctx *ctx)
{
	const struct port *out = port_at(ctx->out_port);

	return ctx->tunnel == SLOT_NONE && out != NULL && out->role == PORT_ROLE_UPLINK;
}

/* What the zone's pairs and rules say of a pod's connection that leaves the node. */
static void rules_ask(struct slow_ctx *ctx)
{
	uint32_t pair = snat_pair_of_internal(ctx->zone, &ctx->pkt->src), list, rule;
	struct rule_packet pkt;
	struct rule_query query;

	if (pair != SLOT_NONE) {
		ctx->snat = SNAT_PAIR;
		ctx->pool = pair;
		return;
	}
	list = snat_list(ctx->zone);
	if (list == RULELIST_NONE)
		return;
	slow_rule_packet(ctx, &pkt);
	rule_query_init(&query, &pkt);
	rule = rulelist_match(list, &query, RULE_NONE);
	if (rule == RULE_NONE || rule_at(rule)->action != RULE_SNAT)
		return;
	ctx->snat = SNAT_POOL;
	ctx->pool = rule_at(rule)->arg;
}

/* AH signs the addresses, and what ESP hides may be signed with them: translated, neither arrives (RFC 3715 s. 2.1). */
static void ipsec_check(struct slow_ctx *ctx)
{
	if (ctx->action == SLOW_CONTINUE && ctx->pkt->is_ipsec && nat_is_needed(ctx, &ctx->now))
		slow_refuse(ctx, DROP_NAT_UNTRANSLATABLE, ICMP_ERROR_PROHIBITED);
}

static void source_translate(struct slow_ctx *ctx)
{
	struct ip_addr addr;

	if (ctx->snat == SNAT_NONE && ctx->src_ep != ENDPOINT_NONE &&
		endpoint_at(ctx->src_ep)->kind == ENDPOINT_POD && leaves_by_uplink(ctx))
		rules_ask(ctx);
	if (ctx->snat == SNAT_NONE && ctx->flow == FLOW_NONE)
		return;
	switch (ctx->snat) {
	case SNAT_NONE:
		addr = ctx->pkt->src;
		break;
	case SNAT_PAIR:
		addr = snat_pair_at(ctx->pool)->external.addr;
		break;
	default:
		addr = snat_pool_addr(ctx->pool, &ctx->pkt->src);
		break;
	}
	/* A node without an address of the family: the gateway's, which every pod has a route to. */
	if (ip_is_zero(&addr) && ctx->snat == SNAT_HAIRPIN)
		addr = ip_gateway(!ip_is_v4(&ctx->pkt->src));
	/* A connection that is not established keeps its source only if it would get it again. */
	if (ctx->flow != FLOW_NONE)
		ctx->action = ip_eq(&addr, &ctx->now.src) ? ctx->action : SLOW_REBIND;
	else if (ip_is_zero(&addr)) /* Never untranslated. */
		slow_drop(ctx, DROP_NAT_NO_ADDRESS, ICMP_ERROR_N);
	else
		ctx->now.src = addr;
}

void layer_snat(struct slow_ctx *ctx)
{
	if (ctx->is_own || ctx->is_related || (ctx->flow != FLOW_NONE && !slow_is_retry(ctx)))
		return;
	source_translate(ctx);
	if (ctx->flow == FLOW_NONE)
		ipsec_check(ctx);
}
