/* SPDX-License-Identifier: BSD-3-Clause */
/* Do the policies of both ends allow it? The sender's when it lives here, then the receiver's when it does. Both directions of a
 * connection are judged by its first packet's addresses, the client's own and the backend's, so that what is denied stops both ways. */
#include <netinet/in.h>

#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/failsafe.h"

#include "datapath/fast/poison.h"

_Atomic bool policy_is_per_connection;

static bool is_kind(uint32_t ep, enum endpoint_kind kind)
{
	return ep != ENDPOINT_NONE && endpoint_at(ep)->kind == kind;
}

/* A node may always speak with its own pods (kubelet's probes), and a pod with itself through a service. */
static bool is_exempt(const struct slow_ctx *ctx, uint32_t from, uint32_t to)
{
	if (ctx->is_own || ctx->is_related || ctx->snat == SNAT_HAIRPIN ||
		(from == to && from != ENDPOINT_NONE))
		return true;
	return (is_kind(from, ENDPOINT_HOST) && is_kind(to, ENDPOINT_POD)) ||
		(is_kind(from, ENDPOINT_POD) && is_kind(to, ENDPOINT_HOST));
}

/* Whether connections that stand are left alone. */
static bool is_settled(const struct slow_ctx *ctx)
{
	const struct conn *c = slow_conn(ctx);
	uint8_t state;

	if (c == NULL || slow_is_crossing(ctx) ||
		!atomic_load_explicit(&policy_is_per_connection, memory_order_relaxed))
		return false;
	state = atomic_load_explicit(&c->state, memory_order_relaxed);
	return state == CONN_REPLIED || state >= CONN_ESTABLISHED;
}

/* False: refused, and the context says how. */
static bool side_allows(
	struct slow_ctx *ctx, uint32_t ep, enum policy_dir dir, const struct rule_packet *pkt)
{
	struct policy_verdict verdict;

	if (ep == ENDPOINT_NONE || !policy_applies(ep, dir))
		return true;
	if (endpoint_at(ep)->kind == ENDPOINT_HOST && pkt->has_ports &&
		failsafe_has(dir, pkt->proto, pkt->dport))
		return true;
	policy_judge(ep, dir, pkt, &verdict);
	ctx->is_policed = true;
	ctx->policy = verdict.policy;
	ctx->rule[dir] = verdict.rule;
	ctx->log_rule[dir] = verdict.log_rule;
	ctx->is_logged = ctx->is_logged || verdict.log_rule != RULE_NONE;
	if (verdict.action == RULE_ALLOW)
		return true;
	ctx->denied_by = verdict.rule;
	if (verdict.action == RULE_REJECT)
		slow_refuse(ctx, DROP_POLICY_REJECTED, ICMP_ERROR_PROHIBITED);
	else
		slow_drop(ctx, DROP_POLICY_DENIED, ICMP_ERROR_N);
	return false;
}

/* A packet that asks for a connection against the direction of the one that there is must be allowed to ask for it. */
static void crossing_judge(struct slow_ctx *ctx)
{
	const struct rule_packet pkt = { .zone = ctx->zone,
		.proto = ctx->pkt->proto,
		.has_ports = ctx->pkt->has_l4,
		.src = ctx->pkt->src,
		.dst = ctx->now.dst,
		.sport = rte_be_to_cpu_16(ctx->pkt->sport),
		.dport = rte_be_to_cpu_16(ctx->now.dport) };
	const uint32_t rule[] = { ctx->rule[0], ctx->rule[1] };

	if (side_allows(ctx, ctx->src_ep, POLICY_EGRESS, &pkt) &&
		side_allows(ctx, ctx->dst_ep, POLICY_INGRESS, &pkt))
		memcpy(ctx->rule, rule, sizeof(rule)); /* the connection's own count it */
}

void layer_policy(struct slow_ctx *ctx)
{
	bool is_reply = slow_is_reply(ctx);
	uint32_t from = is_reply ? ctx->dst_ep : ctx->src_ep;
	uint32_t to = is_reply ? ctx->src_ep : ctx->dst_ep;
	struct rule_packet pkt;

	ctx->is_settled = is_settled(ctx);
	if (ctx->is_settled || is_exempt(ctx, from, to))
		return;
	slow_rule_packet(ctx, &pkt);
	if (side_allows(ctx, from, POLICY_EGRESS, &pkt) &&
		side_allows(ctx, to, POLICY_INGRESS, &pkt) && slow_is_crossing(ctx))
		crossing_judge(ctx);
}
