/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/commit.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/packet/csum.h"
#include "datapath/table/endpoint.h"

#include "datapath/fast/poison.h"

static struct flow_prog *prog_at(struct worker *w, bool is_v6, uint32_t flow)
{
	return flowtab_prog(is_v6 ? w->ft6 : w->ft4, flow);
}

static uint8_t key_kind(const struct parsed *pkt)
{
	if (pkt->is_frag)
		return FLOW_KEY_FRAG;
	if (pkt->proto == (pkt->l3 == PARSED_IP6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) && pkt->has_l4)
		return pkt->sport != 0 || pkt->icmp_type == 8 || pkt->icmp_type == 0 ||
				pkt->icmp_type == 128 || pkt->icmp_type == 129
			? FLOW_KEY_ECHO
			: FLOW_KEY_L3;
	return pkt->has_l4 ? FLOW_KEY_L4 : FLOW_KEY_L3;
}

/* Key, hash and what the later stages want to know, from the full parser. */
static void key_make(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt)
{
	uint8_t kind = key_kind(pkt);
	bool has_ports = kind == FLOW_KEY_L4 || kind == FLOW_KEY_ECHO;
	rte_be16_t sport = has_ports ? pkt->sport : 0, dport = has_ports ? pkt->dport : 0;

	b->len[i] = pkt->l3_len;
	b->tcp_flags[i] = pkt->tcp_flags;
	if (pkt->l3 == PARSED_IP4) {
		b->key[i].k4 = (struct flow_key4){ .src = ip_v4(&pkt->src),
			.dst = ip_v4(&pkt->dst),
			.sport = sport,
			.dport = dport,
			.zone = b->zone[i],
			.proto = pkt->proto,
			.kind = kind };
		b->v4 |= 1ull << i;
		b->hash[i] = flowtab_hash4(w->ft4, &b->key[i].k4);
		return;
	}
	b->key[i].k6 = (struct flow_key6){ .sport = sport,
		.dport = dport,
		.zone = b->zone[i],
		.proto = pkt->proto,
		.kind = kind };
	memcpy(b->key[i].k6.src, pkt->src.b, 16);
	memcpy(b->key[i].k6.dst, pkt->dst.b, 16);
	b->v6 |= 1ull << i;
	b->hash[i] = flowtab_hash6(w->ft6, &b->key[i].k6);
}

/* Flags that follow from the verdict; the tracking ones are the connection's business. */
static uint16_t flags_of(const struct slow_ctx *ctx)
{
	return (uint16_t)((ctx->pkt->proto == IPPROTO_TCP ? FLOW_F_TCP : 0) |
		(ctx->keep_ttl ? FLOW_F_KEEP_TTL : 0) | (ctx->is_metered ? FLOW_F_METERED : 0));
}

/* Stores a direction's verdict. Readers on other workers see each word whole; epoch last, so that what they
 * find current is complete. */
static void verdict_store(struct worker *w, bool is_v6, uint32_t flow, const struct slow_ctx *ctx,
	uint16_t keep_flags)
{
	struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	struct flow_prog *p = prog_at(w, is_v6, flow);
	struct conn *c = flowtab_conn(t, flow);
	unsigned int dir = flow & 1;
	uint16_t old = atomic_load_explicit(&p->flags, memory_order_relaxed);

	if ((old & FLOW_F_UNJUDGED) != 0)
		p->owner = w->id;
	atomic_store_explicit(&c->route[dir], ctx->route, memory_order_relaxed);
	atomic_store_explicit(&c->endpoint[dir], ctx->src_ep, memory_order_relaxed);
	atomic_store_explicit(&c->endpoint[!dir], ctx->dst_ep, memory_order_relaxed);
	atomic_store_explicit(&p->path, ctx->path, memory_order_relaxed);
	atomic_store_explicit(&p->in_port, ctx->in, memory_order_relaxed);
	atomic_store_explicit(&p->last_seen_s, w->now_s, memory_order_relaxed);
	atomic_store_explicit(
		&p->flags, (uint16_t)(flags_of(ctx) | (old & keep_flags)), memory_order_relaxed);
	atomic_store_explicit(&p->epoch, w->epoch, memory_order_release);
}

static void keys_fill(
	struct worker *w, bool is_v6, uint32_t conn, const struct batch *b, uint64_t i)
{
	if (is_v6) {
		flowtab_flow6(w->ft6, 2 * conn)->key = b->key[i].k6;
		flowtab_flow6(w->ft6, 2 * conn + 1)->key = flow_key6_reverse(&b->key[i].k6);
	} else {
		flowtab_flow4(w->ft4, 2 * conn)->key = b->key[i].k4;
		flowtab_flow4(w->ft4, 2 * conn + 1)->key = flow_key4_reverse(&b->key[i].k4);
	}
}

/* A new connection for packet i: flow index of its original direction, FLOW_NONE when there is no room. */
static uint32_t conn_create(
	struct worker *w, bool is_v6, const struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	uint32_t conn = flowtab_alloc(t, w->id);
	enum conn_state state;
	struct flow_prog *reply;
	struct conn *c;

	if (conn == FLOW_NONE)
		return FLOW_NONE;
	c = &t->conns[conn];
	state = conn_first_state(ctx->pkt->proto, ctx->pkt->tcp_flags);
	c->proto = ctx->pkt->proto;
	c->zone = ctx->zone;
	c->created_s = w->now_s;
	c->service = c->backend = c->rule[0] = c->rule[1] = SLOT_NONE;
	atomic_store_explicit(&c->route[CONN_REPLY], SLOT_NONE, memory_order_relaxed);
	keys_fill(w, is_v6, conn, b, i);
	verdict_store(w, is_v6, 2 * conn, ctx, 0);
	prog_at(w, is_v6, 2 * conn)->owner = w->id;
	if (state != CONN_NEW && conn_is_tracked(state))
		atomic_fetch_or_explicit(
			&prog_at(w, is_v6, 2 * conn)->flags, FLOW_F_TRACK, memory_order_relaxed);
	reply = prog_at(w, is_v6, 2 * conn + 1);
	reply->owner = w->id;
	atomic_store_explicit(&reply->path, PATH_NONE, memory_order_relaxed);
	atomic_store_explicit(&reply->last_seen_s, w->now_s, memory_order_relaxed);
	atomic_store_explicit(&reply->flags, FLOW_F_UNJUDGED | FLOW_F_TRACK, memory_order_relaxed);
	atomic_store_explicit(&c->state, (uint8_t)state, memory_order_release);
	if (flowtab_publish(t, conn) < 0) {
		flowtab_abort(t, w->id, conn);
		return FLOW_NONE;
	}
	c->opener = ctx->src_ep;
	endpoint_conn_get(ctx->src_ep);
	t->cache[w->id].n_created++;
	w->stats.n_new_conns++;
	return 2 * conn;
}

/* Limits of the endpoint and its zone; a flood from one endpoint may fill the table, but not the reserve: the others still get
 * in. DROP_NONE, or why not. */
static enum drop_reason may_open(struct worker *w, bool is_v6, const struct slow_ctx *ctx)
{
	const struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	uint32_t zone_max = atomic_load_explicit(&conn_zone_max[ctx->zone], memory_order_relaxed);
	struct endpoint *ep;
	uint32_t n_conns;

	if (unlikely(zone_max != 0) &&
		flowtab_zone_n_conns(w->ft4, ctx->zone) + flowtab_zone_n_conns(w->ft6, ctx->zone) >=
			zone_max)
		return DROP_CONN_LIMIT;
	if (ctx->src_ep == ENDPOINT_NONE)
		return DROP_NONE;
	ep = endpoint_at(ctx->src_ep);
	n_conns = atomic_load_explicit(&ep->n_conns, memory_order_relaxed);
	if (unlikely(ep->max_conns != 0) && n_conns >= ep->max_conns)
		return DROP_CONN_LIMIT;
	if (unlikely(flowtab_is_nearly_full(t)) && n_conns >= t->n_conns / FLOWTAB_RESERVE)
		return DROP_NEW_FLOW_LIMIT;
	return meter_take(&ep->new_conns, 1, w->now_ns) ? DROP_NONE : DROP_CONN_LIMIT;
}

static uint32_t find(struct worker *w, bool is_v6, const struct batch *b, uint64_t i)
{
	return is_v6 ? flowtab_find6(w->ft6, &b->key[i].k6) : flowtab_find4(w->ft4, &b->key[i].k4);
}

void commit_flow(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	bool is_v6 = ctx->pkt->l3 == PARSED_IP6;
	uint32_t flow;

	if (ctx->pkt->proto == IPPROTO_TCP && ctx->pkt->has_l4 && !ctx->pkt->is_frag &&
		conn_tcp_flags_bad(ctx->pkt->tcp_flags)) {
		batch_kill(w, b, i, DROP_TCP_INVALID);
		return;
	}
	key_make(w, b, i, ctx->pkt);
	/* A packet before this one in the batch, or another worker, may have made it. */
	flow = find(w, is_v6, b, i);
	if (flow == FLOW_NONE) {
		enum drop_reason reason = may_open(w, is_v6, ctx);

		if (reason != DROP_NONE) {
			batch_kill(w, b, i, reason);
			return;
		}
		flow = conn_create(w, is_v6, b, i, ctx);
		if (flow == FLOW_NONE)
			flow = find(w, is_v6, b, i);
		if (flow == FLOW_NONE) {
			batch_kill(w, b, i, DROP_FLOW_TABLE_FULL);
			return;
		}
	} else {
		verdict_store(w, is_v6, flow, ctx, FLOW_F_TRACK | FLOW_F_FOREIGN | FLOW_F_NAT);
		w->stats.n_rejudged++;
	}
	b->flow[i] = flow;
	b->entry[i] = is_v6 ? (void *)flowtab_flow6(w->ft6, flow)
			    : (void *)flowtab_flow4(w->ft4, flow);
}

void commit_once(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	bool is_v6 = ctx->pkt->l3 == PARSED_IP6;
	struct flow_prog *p = is_v6 ? &b->scratch[i].f6.prog : &b->scratch[i].f4.prog;

	key_make(w, b, i, ctx->pkt);
	memset(p, 0, sizeof(*p));
	p->owner = w->id;
	atomic_store_explicit(&p->path, ctx->path, memory_order_relaxed);
	atomic_store_explicit(&p->flags, flags_of(ctx) & ~FLOW_F_TCP, memory_order_relaxed);
	b->flow[i] = FLOW_NONE;
	b->entry[i] = &b->scratch[i];
}

uint16_t commit_count(struct worker *w, struct batch *b, uint64_t i)
{
	bool is_v6 = (b->v6 >> i) & 1;
	struct flow_prog *p = is_v6 ? &((struct flow6 *)b->entry[i])->prog
				    : &((struct flow4 *)b->entry[i])->prog;

	atomic_store_explicit(&p->last_seen_s, w->now_s, memory_order_relaxed);
	if (p->owner == w->id)
		flow_prog_count(p, b->len[i]);
	else if (b->flow[i] != FLOW_NONE)
		flowtab_count_foreign(is_v6 ? w->ft6 : w->ft4, w->id, b->flow[i], 1, b->len[i]);
	return atomic_load_explicit(&p->flags, memory_order_relaxed);
}

void commit_ttl4(struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(
		m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);

	ip->time_to_live--;
	ip->hdr_checksum = csum_dec_ttl(ip->hdr_checksum);
}
