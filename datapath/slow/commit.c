/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/commit.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/base/race.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/slow/nat.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/service.h"
#include "datapath/table/snat.h"

#include "datapath/fast/poison.h"

static struct flow_prog *prog_at(struct worker *w, bool is_v6, uint32_t flow)
{
	return flowtab_prog(is_v6 ? w->ft6 : w->ft4, flow);
}

void commit_key(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt)
{
	uint8_t kind = commit_key_kind(pkt);
	bool has_ports = kind == FLOW_KEY_L4 || flow_key_kind_has_ident(kind);
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
		(ctx->keep_ttl ? FLOW_F_KEEP_TTL : 0) | (ctx->is_metered ? FLOW_F_METERED : 0) |
		(ctx->mtu != 0 ? FLOW_F_MTU : 0));
}

static void rules_store(struct conn *c, const struct slow_ctx *ctx)
{
	for (unsigned int d = 0; d < POLICY_DIR_N; d++)
		atomic_store_explicit(&c->rule[d], ctx->rule[d], memory_order_relaxed);
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
	uint8_t owner = FLOW_OWNER_NONE;

	/* Once: another one may be counting by it. */
	if (atomic_load_explicit(&p->owner, memory_order_relaxed) == FLOW_OWNER_NONE)
		atomic_compare_exchange_strong_explicit(
			&p->owner, &owner, w->id, memory_order_relaxed, memory_order_relaxed);
	atomic_store_explicit(&c->route[dir], ctx->route, memory_order_relaxed);
	if (ctx->reverse_route != SLOT_NONE)
		atomic_store_explicit(&c->route[!dir], ctx->reverse_route, memory_order_relaxed);
	atomic_store_explicit(&c->endpoint[dir], ctx->src_ep, memory_order_relaxed);
	atomic_store_explicit(&c->endpoint[!dir], ctx->dst_ep, memory_order_relaxed);
	atomic_store_explicit(&c->service, ctx->service, memory_order_relaxed);
	atomic_store_explicit(&c->backend, ctx->backend, memory_order_relaxed);
	if (!ctx->is_settled)
		rules_store(c, ctx);
	atomic_store_explicit(&p->path, ctx->path, memory_order_relaxed);
	atomic_store_explicit(&p->mtu, ctx->mtu, memory_order_relaxed);
	RACE_POINT(RACE_VERDICT);
	atomic_store_explicit(&p->in_port, ctx->in, memory_order_relaxed);
	atomic_store_explicit(&p->last_seen_s, w->now_s, memory_order_relaxed);
	/* release: the path first. acquire: pairs with the release in flowtab_unlink(), whose mark this takes away. What others set
	 * meanwhile stays. */
	while (!atomic_compare_exchange_weak_explicit(&p->flags, &old,
		(uint16_t)(flags_of(ctx) | (old & keep_flags)), memory_order_acq_rel,
		memory_order_relaxed))
		;
	if (atomic_load_explicit(&c->state, memory_order_relaxed) >= CONN_LAPSED)
		atomic_fetch_or_explicit(&p->flags, FLOW_F_UNJUDGED, memory_order_relaxed);
	atomic_store_explicit(&p->epoch, w->epoch, memory_order_release);
}

/* The objects that a new connection is counted at. */
static void conn_count(const struct slow_ctx *ctx)
{
	if (ctx->backend != SLOT_NONE)
		atomic_fetch_add_explicit(
			&backend_at(ctx->backend)->n_conns, 1, memory_order_relaxed);
	if (ctx->snat == SNAT_POOL)
		atomic_fetch_add_explicit(
			&snat_pool_at(ctx->pool)->n_conns, 1, memory_order_relaxed);
	if (ctx->snat == SNAT_PAIR)
		atomic_fetch_add_explicit(
			&snat_pair_at(ctx->pool)->n_conns, 1, memory_order_relaxed);
	for (unsigned int d = 0; d < POLICY_DIR_N; d++)
		if (ctx->rule[d] != RULE_NONE)
			atomic_fetch_add_explicit(
				&rule_at(ctx->rule[d])->n_conns, 1, memory_order_relaxed);
}

/* Record and flows of a connection that nobody can find yet, but for its keys. */
static void conn_init(struct worker *w, bool is_v6, uint32_t conn, const struct slow_ctx *ctx)
{
	struct conn *c = &(is_v6 ? w->ft6 : w->ft4)->conns[conn];
	enum conn_state state = conn_first_state(ctx->pkt->proto, ctx->pkt->tcp_flags);
	struct flow_prog *orig = prog_at(w, is_v6, 2 * conn),
			 *reply = prog_at(w, is_v6, 2 * conn + 1);

	c->proto = ctx->pkt->proto;
	c->zone = ctx->zone;
	c->created_s = w->now_s;
	if (ctx->service != SERVICE_NONE && service_does_reset(ctx->service))
		atomic_store_explicit(&c->flags, CONN_F_RESET, memory_order_relaxed);
	atomic_store_explicit(&c->opener, ctx->src_ep, memory_order_relaxed);
	atomic_store_explicit(&c->route[CONN_REPLY], SLOT_NONE, memory_order_relaxed);
	verdict_store(w, is_v6, 2 * conn, ctx, 0);
	atomic_store_explicit(&orig->owner, w->id, memory_order_relaxed);
	atomic_store_explicit(&reply->owner, FLOW_OWNER_NONE, memory_order_relaxed);
	if (state != CONN_NEW && conn_is_tracked(state))
		atomic_fetch_or_explicit(&orig->flags, FLOW_F_TRACK, memory_order_relaxed);
	atomic_store_explicit(&reply->path, PATH_NONE, memory_order_relaxed);
	atomic_store_explicit(&reply->last_seen_s, w->now_s, memory_order_relaxed);
	atomic_store_explicit(&reply->flags, FLOW_F_UNJUDGED | FLOW_F_TRACK, memory_order_relaxed);
	atomic_store_explicit(&c->state, (uint8_t)state, memory_order_release);
}

static void nat_flag_set(struct worker *w, bool is_v6, uint32_t conn, bool is_nat)
{
	for (uint32_t flow = 2 * conn; is_nat && flow <= 2 * conn + 1; flow++)
		atomic_fetch_or_explicit(
			&prog_at(w, is_v6, flow)->flags, FLOW_F_NAT, memory_order_relaxed);
}

/* Publishes the connection under the first source port whose replies are nobody's. As flowtab_publish(): what failed has not been
 * seen, so that the record may be filled again. */
static int conn_publish(struct worker *w, struct batch *b, uint64_t i, uint32_t conn,
	const struct slow_ctx *ctx, uint32_t *out_taken)
{
	bool is_v6 = ctx->ft->is_v6;
	struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	uint8_t kind = is_v6 ? b->key[i].k6.kind : b->key[i].k4.kind;
	struct translation final = ctx->now;
	struct nat_ports ports;
	int ret = -EADDRINUSE;

	nat_ports_init(&ports, ctx, b->hash[i]);
	for (unsigned int n = 0; ret == -EADDRINUSE && nat_ports_next(&ports, &final.sport); n++) {
		/* The first one mostly is: publishing asks too. */
		if (n == 1)
			nat_ports_limit(&ports, w, ctx);
		if (n > 0 && nat_reply_flow(ctx, &final, kind) != FLOW_NONE)
			continue;
		nat_flag_set(w, is_v6, conn, nat_conn_fill(t, conn, ctx, &final, kind));
		RACE_POINT(RACE_COMMIT);
		ret = flowtab_publish(t, conn, out_taken);
	}
	if (unlikely(ret == -EADDRINUSE))
		nat_ports_note(w, ctx);
	return ret;
}

/* A new connection for packet i: 0 and the flow of its original direction. -errno as conn_publish() (-EEXIST: *out_flow is the flow
 * that has the key), -ENOMEM without a free record. */
static int conn_create(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx,
	uint32_t *out_flow)
{
	bool is_v6 = ctx->ft->is_v6;
	struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	uint32_t conn = flowtab_alloc(t, w->id);
	int ret;

	if (conn == FLOW_NONE)
		return -ENOMEM;
	conn_init(w, is_v6, conn, ctx);
	/* Before it is published: whoever ends it takes it back. */
	endpoint_conn_get(ctx->src_ep);
	ret = conn_publish(w, b, i, conn, ctx, out_flow);
	if (ret < 0) {
		endpoint_conn_put(ctx->src_ep);
		flowtab_abort(t, w->id, conn);
		return ret;
	}
	conn_count(ctx);
	t->cache[w->id].n_created++;
	w->stats.n_new_conns++;
	*out_flow = 2 * conn;
	return 0;
}

enum drop_reason commit_may_open(const struct worker *w, const struct slow_ctx *ctx)
{
	const struct flowtab *t = ctx->ft->is_v6 ? w->ft6 : w->ft4;
	uint32_t zone_max = atomic_load_explicit(&conn_zone_max[ctx->zone], memory_order_relaxed);
	const struct conn *ended = ctx->ended != FLOW_NONE ? flowtab_conn(t, ctx->ended) : NULL;
	struct endpoint *ep;
	uint32_t n_conns;

	if (unlikely(zone_max != 0) &&
		flowtab_zone_n_conns(w->ft4, ctx->zone) + flowtab_zone_n_conns(w->ft6, ctx->zone) >=
			zone_max + (ended != NULL))
		return DROP_CONN_LIMIT;
	if (ctx->src_ep == ENDPOINT_NONE)
		return DROP_NONE;
	ep = endpoint_at(ctx->src_ep);
	n_conns = atomic_load_explicit(&ep->n_conns, memory_order_relaxed);
	if (unlikely(ep->max_conns != 0) &&
		n_conns >= ep->max_conns +
				(ended != NULL &&
					atomic_load_explicit(&ended->opener,
						memory_order_relaxed) == ctx->src_ep))
		return DROP_CONN_LIMIT;
	if (unlikely(flowtab_is_nearly_full(t)) && n_conns >= t->n_conns / FLOWTAB_RESERVE)
		return DROP_NEW_FLOW_LIMIT;
	if (unlikely(ctx->is_peek))
		return meter_would_pass(&ep->new_conns, 1, w->now_ns) ? DROP_NONE : DROP_CONN_LIMIT;
	return meter_take(&ep->new_conns, 1, w->now_ns) ? DROP_NONE : DROP_CONN_LIMIT;
}

uint32_t commit_find(const struct worker *w, const struct batch *b, uint64_t i)
{
	return (b->v6 >> i & 1) != 0 ? flowtab_find6(w->ft6, &b->key[i].k6)
				     : flowtab_find4(w->ft4, &b->key[i].k4);
}

/* Whether the rewrite stage can do what the flow's program says: it knows TCP, UDP and echo behind headers of the usual length. */
static bool is_plain(const struct parsed *pkt)
{
	bool is_v6 = pkt->l3 == PARSED_IP6;

	return !pkt->is_frag && pkt->l4_off == pkt->l3_off + (is_v6 ? 40 : 20) &&
		(pkt->proto == IPPROTO_TCP || pkt->proto == IPPROTO_UDP ||
			pkt->proto == (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
}

/* Translates packet i here; it goes on with a copy of its flow's program that translates no more. */
static void translate_here(
	struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx, uint32_t flow)
{
	bool is_v6 = ctx->ft->is_v6;
	const struct flow_prog *real = prog_at(w, is_v6, flow);
	struct flow_prog *copy = is_v6 ? &b->scratch[i].f6.prog : &b->scratch[i].f4.prog;
	struct translation in, out;

	slow_flow_tuples(ctx->ft, flow, &in, &out);
	/* Of a connection that began without AH (IPv6). */
	if (ctx->pkt->is_ipsec || !translate_packet(b->m[i], ctx->pkt->l3_off, ctx->pkt, &out)) {
		batch_kill(w, b, i, DROP_NAT_UNTRANSLATABLE);
		return;
	}
	commit_count(w, b, i);
	memcpy(copy, real, sizeof(*copy));
	atomic_store_explicit(&copy->flags,
		atomic_load_explicit(&real->flags, memory_order_relaxed) & ~FLOW_F_NAT,
		memory_order_relaxed);
	atomic_store_explicit(&copy->owner, w->id, memory_order_relaxed);
	b->entry[i] = &b->scratch[i];
}

/* It will be answered instead of sent, and the answer quotes what its sender sent. */
static bool is_too_big(
	const struct rte_mbuf *m, const struct parsed *pkt, const struct flow_prog *prog)
{
	return gso_wire_len(m, pkt->l3_len) > flow_prog_mtu(prog) &&
		(!pkt->may_fragment || gso_is_superframe(m));
}

static void flow_apply(
	struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx, uint32_t flow)
{
	bool is_v6 = ctx->ft->is_v6;
	const struct flow_prog *p = prog_at(w, is_v6, flow);
	uint16_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);

	b->flow[i] = flow;
	b->entry[i] = is_v6 ? (void *)flowtab_flow6(w->ft6, flow)
			    : (void *)flowtab_flow4(w->ft4, flow);
	if ((flags & FLOW_F_NAT) != 0 && !is_plain(ctx->pkt) && !is_too_big(b->m[i], ctx->pkt, p))
		translate_here(w, b, i, ctx, flow);
}

/* No connection for packet i. */
static void create_failed(
	struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx, int error)
{
	if (error != -EADDRINUSE) {
		batch_kill(w, b, i, DROP_FLOW_TABLE_FULL);
		return;
	}
	if (ctx->snat == SNAT_POOL)
		atomic_fetch_add_explicit(
			&snat_pool_at(ctx->pool)->n_exhausted, 1, memory_order_relaxed);
	batch_kill(w, b, i, DROP_NAT_EXHAUSTED);
}

uint32_t commit_flow(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	uint32_t flow = ctx->flow;
	int ret;

	if (flow != FLOW_NONE) {
		verdict_store(
			w, ctx->ft->is_v6, flow, ctx, FLOW_F_TRACK | FLOW_F_FOREIGN | FLOW_F_NAT);
		w->stats.n_rejudged++;
	} else {
		enum drop_reason reason = commit_may_open(w, ctx);

		if (reason != DROP_NONE) {
			batch_kill(w, b, i, reason);
			return FLOW_NONE;
		}
		if (ctx->ended != FLOW_NONE)
			flowtab_unlink(ctx->ft->is_v6 ? w->ft6 : w->ft4, ctx->ended >> 1);
		ret = conn_create(w, b, i, ctx, &flow);
		if (unlikely(ret == -EEXIST))
			return flow;
		if (ret < 0) {
			create_failed(w, b, i, ctx, ret);
			return FLOW_NONE;
		}
	}
	flow_apply(w, b, i, ctx, flow);
	return FLOW_NONE;
}

void commit_once(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	bool is_v6 = ctx->pkt->l3 == PARSED_IP6;
	struct flow_prog *p = is_v6 ? &b->scratch[i].f6.prog : &b->scratch[i].f4.prog;

	commit_key(w, b, i, ctx->pkt);
	memset(p, 0, sizeof(*p));
	atomic_store_explicit(&p->owner, w->id, memory_order_relaxed);
	atomic_store_explicit(&p->path, ctx->path, memory_order_relaxed);
	atomic_store_explicit(&p->mtu, ctx->mtu, memory_order_relaxed);
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
	if (atomic_load_explicit(&p->owner, memory_order_relaxed) == w->id)
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
