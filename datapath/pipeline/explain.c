/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/pipeline/explain.h"

#include <stdlib.h>

#include <rte_ip.h>

#include "datapath/base/clock.h"
#include "datapath/pipeline/frame.h"
#include "datapath/slow/commit.h"
#include "datapath/slow/nat.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/tunnel.h"

#define L3_OFF 14u

const char *explain_verdict_name(enum explain_verdict verdict)
{
	static const char *const names[EXPLAIN_N] = { "forward", "drop", "hold", "self",
		"fragment" };

	return (unsigned int)verdict < EXPLAIN_N ? names[verdict] : "?";
}

/* The tuple that the packet leaves with; false: no source port is free. ended: a flow of the connection that the packet ends, or
 * FLOW_NONE. */
static bool final_tuple(
	const struct slow_ctx *ctx, const struct batch *b, uint32_t ended, struct translation *out)
{
	struct translation in;
	struct nat_ports ports;
	uint8_t kind = ctx->ft->is_v6 ? b->key[0].k6.kind : b->key[0].k4.kind;

	*out = ctx->now;
	if (ctx->is_related)
		return true;
	if (ctx->flow != FLOW_NONE) {
		slow_flow_tuples(ctx->ft, ctx->flow, &in, out);
		return true;
	}
	nat_ports_init(&ports, ctx, b->hash[0]);
	while (nat_ports_next(&ports, &out->sport)) {
		uint32_t flow = nat_reply_flow(ctx, out, kind);

		if (flow == FLOW_NONE ||
			(ended != FLOW_NONE && flow / CONN_DIR_N == ended / CONN_DIR_N))
			return true;
	}
	return false;
}

static void ttl_take(struct rte_mbuf *m, bool is_v6)
{
	if (is_v6)
		rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, L3_OFF)->hop_limits--;
	else
		commit_ttl4(m);
}

static uint16_t mtu_of(const struct slow_ctx *ctx)
{
	uint16_t mtu = path_at(ctx->path)->mtu;

	return ctx->mtu != 0 ? RTE_MIN(ctx->mtu, mtu) : mtu;
}

/* The frame as it leaves, from a copy of the one that came; NULL: *out_reason, DROP_NONE when it goes out in pieces. */
static struct rte_mbuf *rewritten(struct rte_mbuf *m, const struct slow_ctx *ctx,
	const struct explain_result *res, uint64_t hash, struct rte_mempool *pool,
	enum drop_reason *out_reason)
{
	const struct path *path = path_at(ctx->path);
	bool is_v6 = ctx->ft->is_v6, is_good = true;
	struct rte_mbuf *copy;

	*out_reason = DROP_NONE;
	if (ctx->pkt->l3_len > mtu_of(ctx)) {
		if (!ctx->pkt->may_fragment)
			*out_reason = DROP_MTU_EXCEEDED;
		return NULL;
	}
	copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
	if (copy == NULL)
		return NULL;
	if (ctx->is_related)
		is_good = slow_related_translate(copy, ctx);
	else if (res->is_translated)
		is_good = translate_packet(copy, L3_OFF, ctx->pkt, &res->final);
	if (!is_good)
		*out_reason = DROP_NAT_UNTRANSLATABLE;
	if (is_good && !ctx->keep_ttl)
		ttl_take(copy, is_v6);
	if (is_good && path_frame(copy, path, is_v6, hash))
		return copy;
	rte_pktmbuf_free(copy);
	return NULL;
}

static void drop(struct explain_result *out, enum drop_reason reason, bool is_answered)
{
	out->verdict = EXPLAIN_DROP;
	out->reason = reason;
	out->is_answered = is_answered;
}

/* Whether the packet may have a flow, in the order in which the slow path asks. */
static enum drop_reason flow_refused(
	const struct worker *w, const struct slow_ctx *ctx, uint32_t ended)
{
	enum drop_reason reason;

	if (ctx->is_related || ctx->flow != FLOW_NONE)
		return DROP_NONE;
	reason = commit_may_open(w, ctx);
	if (reason == DROP_NONE && ended == FLOW_NONE &&
		flowtab_n_used(ctx->ft) >= ctx->ft->n_conns)
		return DROP_FLOW_TABLE_FULL;
	return reason;
}

static void forward(struct rte_mbuf *m, const struct worker *w, const struct slow_ctx *ctx,
	struct explain_result *out)
{
	const uint32_t ep[] = { [ENDPOINT_FROM] = ctx->src_ep, [ENDPOINT_TO] = ctx->dst_ep };
	const struct batch *b = &w->batch;
	enum drop_reason reason;

	if (!ctx->keep_ttl && ctx->pkt->ttl <= 1) {
		drop(out, DROP_TTL_EXCEEDED, true);
		return;
	}
	reason = flow_refused(w, ctx, out->ended);
	if (reason == DROP_NONE && !final_tuple(ctx, b, out->ended, &out->final))
		reason = DROP_NAT_EXHAUSTED;
	if (reason == DROP_NONE && !endpoint_meters_would_pass(ep, ctx->pkt->l3_len, w->now_ns))
		reason = DROP_RATE_LIMIT;
	if (reason != DROP_NONE) {
		drop(out, reason, false);
		return;
	}
	out->verdict = EXPLAIN_FORWARD;
	out->is_translated = nat_is_needed(ctx, &out->final);
	out->out_port = path_at(ctx->path)->port_id;
	out->out = rewritten(m, ctx, out, b->hash[0], w->pool, &reason);
	if (reason != DROP_NONE)
		drop(out, reason, reason == DROP_MTU_EXCEEDED);
}

/* What is for leatd itself gets an answer, or is dropped as a protocol that it does not speak. */
static void self(const struct rte_mbuf *m, const struct slow_ctx *ctx, struct explain_result *out)
{
	if ((ctx->in & FLOW_IN_TUNNEL) == 0 && slow_self_is_answered(m, ctx->pkt))
		out->verdict = EXPLAIN_SELF;
	else
		drop(out, DROP_LOCAL_PROTO,
			(ctx->in & FLOW_IN_TUNNEL) == 0 && ctx->pkt->proto == IPPROTO_UDP);
}

static void conclude(struct rte_mbuf *m, const struct worker *w, const struct slow_ctx *ctx,
	struct explain_result *out)
{
	switch (ctx->action) {
	case SLOW_FORWARD:
		forward(m, w, ctx, out);
		break;
	case SLOW_RESOLVE_NEIGH:
	case SLOW_RESOLVE_TUNNEL:
		out->verdict = EXPLAIN_HOLD;
		break;
	case SLOW_SELF:
		self(m, ctx, out);
		break;
	case SLOW_RESET:
		drop(out, DROP_SERVICE_BACKEND_GONE, true);
		break;
	default:
		drop(out, (enum drop_reason)ctx->reason, ctx->error != ICMP_ERROR_N);
		break;
	}
}

/* Finds the packet's flow and asks the layers. False: decided already. */
static bool ask(struct worker *w, struct batch *b, struct slow_ctx *ctx, struct explain_result *out)
{
	commit_key(w, b, 0, ctx->pkt);
	if (ctx->pkt->is_icmp_error) {
		ctx->is_related = true;
		ctx->flow = slow_quoted_flow(w, b->m[0], ctx->pkt, ctx->zone);
		if (ctx->flow == FLOW_NONE) {
			drop(out, DROP_ICMP_UNMATCHED, false);
			return false;
		}
	} else {
		ctx->flow = commit_find(w, b, 0);
	}
	out->ended = ctx->flow;
	slow_judge(ctx, &out->is_rebound);
	if (!out->is_rebound)
		out->ended = ctx->ended;
	return true;
}

void explain_packet(const struct port *p, uint16_t in, struct rte_mbuf *m, struct flowtab *ft4,
	struct flowtab *ft6, struct rte_mempool *pool, struct explain_result *out)
{
	struct worker *w = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*w), (size_t)RTE_CACHE_LINE_SIZE));
	struct batch *b;
	enum drop_reason reason;

	*out = (struct explain_result){ .verdict = EXPLAIN_DROP, .reason = DROP_NO_MBUF };
	if (w == NULL)
		return;
	memset(w, 0, sizeof(*w));
	out->reason = DROP_NONE;
	w->ft4 = ft4;
	w->ft6 = ft6;
	w->pool = pool;
	w->now_ns = clock_ns();
	b = &w->batch;
	b->port = (struct port *)(uintptr_t)p;
	b->m[0] = m;
	b->in[0] = in;
	b->zone[0] = (in & FLOW_IN_TUNNEL) != 0 ? tunnel_at(in & (FLOW_IN_TUNNEL - 1))->zone
						: p->zone;
	reason = slow_packet_check(b, 0, &out->pkt);
	out->ctx = (struct slow_ctx){ .pkt = &out->pkt,
		.port = p,
		.src_mac = rte_pktmbuf_mtod_offset(
			m, const struct rte_ether_addr *, RTE_ETHER_ADDR_LEN),
		.in = in,
		.zone = b->zone[0],
		.ft = out->pkt.l3 == PARSED_IP6 ? ft6 : ft4,
		.flow = FLOW_NONE,
		.now_s = clock_s(),
		.is_peek = true,
		SLOW_CTX_INTENT };
	if (reason != DROP_NONE)
		drop(out, reason, false);
	else if (out->pkt.l3 == PARSED_ARP || out->pkt.is_nd)
		out->verdict = EXPLAIN_SELF;
	else if (out->pkt.is_frag)
		out->verdict = EXPLAIN_FRAGMENT;
	else if (ask(w, b, &out->ctx, out))
		conclude(m, w, &out->ctx, out);
	free(w);
}
