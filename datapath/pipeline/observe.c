/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/pipeline/observe.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "datapath/packet/parse.h"
#include "datapath/slow/slow.h"
#include "datapath/table/tunnel.h"

#define RING_LEN 4096

static_assert(sizeof(struct observe_msg) % 4 == 0, "ring element");

static _Atomic(struct observe_config *) config;
static struct rte_ring *ring;
static _Atomic uint64_t n_lost;
static _Atomic uint32_t next_trace_id = 1;

/* Traced packets of the batch that a worker has in hand. Only its worker touches a row. */
static struct {
	uint64_t mask;
	uint32_t id[BATCH_LEN];
	struct rte_mbuf *m[BATCH_LEN];
} traced[WORKER_MAX];

int observe_init(void)
{
	ring = rte_ring_create_elem(
		"leat_observe", sizeof(struct observe_msg), RING_LEN, SOCKET_ID_ANY, RING_F_SC_DEQ);
	return ring != NULL ? 0 : -ENOMEM;
}

void observe_fini(void)
{
	struct observe_msg msg;

	observe_set(NULL);
	while (ring != NULL && observe_receive(&msg, 1) == 1)
		rte_pktmbuf_free(msg.m);
	rte_ring_free(ring);
	ring = NULL;
}

int observe_set(const struct observe_config *cfg)
{
	struct observe_config *fresh = NULL, *old = rcu_deref(config);

	if (cfg != NULL) {
		fresh = malloc(sizeof(*fresh));
		if (fresh == NULL)
			return -ENOMEM;
		memcpy(fresh, cfg, sizeof(*fresh));
	}
	rcu_assign(config, fresh);
	if (old != NULL)
		rcu_defer(free, old);
	return 0;
}

struct observe_config *observe_get(void)
{
	return rcu_deref(config);
}

unsigned int observe_receive(struct observe_msg *msgs, unsigned int max)
{
	return ring != NULL ? rte_ring_dequeue_burst_elem(ring, msgs, sizeof(*msgs), max, NULL) : 0;
}

uint64_t observe_n_lost(void)
{
	return atomic_load_explicit(&n_lost, memory_order_relaxed);
}

uint32_t observe_flags(void)
{
	const struct observe_config *cfg = rcu_deref(config);

	return likely(cfg == NULL) ? 0 : cfg->flags;
}

static void msg_send(struct worker *w, struct observe_msg *msg)
{
	msg->time_ns = w->now_ns;
	msg->worker = w->id;
	if (rte_ring_enqueue_elem(ring, msg, sizeof(*msg)) == 0)
		return;
	rte_pktmbuf_free(msg->m);
	atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
}

static void head_copy(struct observe_msg *msg, const struct rte_mbuf *m)
{
	msg->wire_len = m->pkt_len;
	msg->head_len = (uint16_t)RTE_MIN((uint32_t)OBSERVE_HEAD_BYTES, (uint32_t)m->data_len);
	memcpy(msg->head, rte_pktmbuf_mtod(m, const void *), msg->head_len);
}

/* Takes one from a budget; false when it is used up. */
static bool budget_take(_Atomic uint32_t *left)
{
	uint32_t n = atomic_load_explicit(left, memory_order_relaxed);

	while (n > 0)
		if (atomic_compare_exchange_weak_explicit(
			    left, &n, n - 1, memory_order_relaxed, memory_order_relaxed))
			return true;
	return false;
}

/* --- capture and mirror ------------------------------------------------------------------------------------------ */

static bool tuple_matches(const struct observe_filter *f, const struct ip_addr *src,
	const struct ip_addr *dst, rte_be16_t sport, rte_be16_t dport)
{
	return (!f->has_src || ip_prefix_covers(&f->src, src)) &&
		(!f->has_dst || ip_prefix_covers(&f->dst, dst)) &&
		(!f->has_sport || f->sport == sport) && (!f->has_dport || f->dport == dport);
}

static bool packet_matches(const struct observe_filter *f, const struct parsed *pkt)
{
	return (!f->has_proto || f->proto == pkt->proto) &&
		(tuple_matches(f, &pkt->src, &pkt->dst, pkt->sport, pkt->dport) ||
			(f->both_ways &&
				tuple_matches(f, &pkt->dst, &pkt->src, pkt->dport, pkt->sport)));
}

static bool is_open(const struct observe_filter *f)
{
	return !f->has_src && !f->has_dst && !f->has_proto && !f->has_sport && !f->has_dport;
}

#define VXLAN_INNER_OFF 16u /* behind the outer UDP header's start: UDP 8, VXLAN 8 */

/* The packet inside of a tunnel's; false: it is none. */
static bool inner_packet(const struct rte_mbuf *m, const struct parsed *outer, struct parsed *out)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t off = outer->l4_off + VXLAN_INNER_OFF + RTE_ETHER_HDR_LEN;
	rte_be16_t type;

	if (outer->proto != IPPROTO_UDP || !outer->has_l4 || outer->is_frag ||
		!tunnel_listens(rte_be_to_cpu_16(outer->dport)) || off > m->data_len)
		return false;
	memcpy(&type, data + off - 2, sizeof(type));
	if (type != RTE_BE16(RTE_ETHER_TYPE_IPV4) && type != RTE_BE16(RTE_ETHER_TYPE_IPV6))
		return false;
	parse_l3(data, m->data_len, m->pkt_len, (uint16_t)off,
		type == RTE_BE16(RTE_ETHER_TYPE_IPV4) ? PARSED_IP4 : PARSED_IP6, false, out);
	return true;
}

/* A malformed packet matches by what could be read of it. */
static bool frame_matches(const struct observe_filter *f, const struct rte_mbuf *m)
{
	struct parsed pkt, inner;

	if (is_open(f))
		return true;
	if (parse_frame(m, &pkt) == DROP_ETH_TRUNCATED)
		return false;
	return packet_matches(f, &pkt) ||
		(inner_packet(m, &pkt, &inner) && packet_matches(f, &inner));
}

static bool is_wanted(struct observe_capture *c, const struct rte_mbuf *m, uint16_t port_id,
	uint8_t point, uint16_t reason)
{
	return (c->points & point) != 0 && (c->port_id == PORT_ID_NONE || c->port_id == port_id) &&
		(point != OBSERVE_DROP || c->reason < 0 || c->reason == reason) &&
		atomic_load_explicit(&c->left, memory_order_relaxed) != 0 &&
		frame_matches(&c->filter, m) && budget_take(&c->left);
}

static void capture(struct worker *w, struct observe_config *cfg, const struct rte_mbuf *m,
	uint16_t port_id, uint8_t point, uint16_t reason)
{
	for (unsigned int i = 0; i < cfg->n_captures; i++) {
		struct observe_capture *c = &cfg->captures[i];
		struct observe_msg msg = { .kind = OBSERVE_MSG_CAPTURE,
			.trace_id = c->id,
			.port_id = port_id,
			.point = point,
			.reason = reason };

		if (!is_wanted(c, m, port_id, point, reason))
			continue;
		msg.m = rte_pktmbuf_copy(m, w->pool, 0, RTE_MIN(c->snaplen, m->pkt_len));
		msg.wire_len = m->pkt_len;
		if (msg.m == NULL)
			atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
		else
			msg_send(w, &msg);
	}
}

static void mirror(struct worker *w, const struct observe_config *cfg, const struct port *p,
	struct rte_mbuf **pkts, uint16_t n, uint8_t dir)
{
	for (unsigned int i = 0; i < cfg->n_mirrors; i++) {
		const struct observe_mirror *mr = &cfg->mirrors[i];
		struct port *to = port_at(mr->to);

		if (mr->from != p->id || (mr->dirs & dir) == 0 || to == NULL || to == p)
			continue;
		for (uint16_t j = 0; j < n; j++) {
			struct rte_mbuf *copy = rte_pktmbuf_copy(pkts[j], w->pool, 0, UINT32_MAX);

			if (copy == NULL || to->ops->tx(to, w->id, &copy, 1) != 1) {
				rte_pktmbuf_free(copy);
				atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
			} else {
				to->stats[w->id]->tx_pkts++;
				to->stats[w->id]->tx_bytes += pkts[j]->pkt_len;
			}
		}
	}
}

void observe_rx(struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n)
{
	struct observe_config *cfg = rcu_deref(config);

	if (cfg == NULL)
		return;
	if ((cfg->flags & OBSERVE_CAPTURE) != 0)
		for (uint16_t i = 0; i < n; i++)
			capture(w, cfg, pkts[i], p->id, OBSERVE_RX, DROP_NONE);
	if ((cfg->flags & OBSERVE_MIRROR) != 0)
		mirror(w, cfg, p, pkts, n, OBSERVE_RX);
}

static void trace_out(struct worker *w, const struct port *p, const struct rte_mbuf *m)
{
	for (uint64_t mask = traced[w->id].mask; mask != 0; mask &= mask - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(mask);
		struct observe_msg msg = { .kind = OBSERVE_MSG_TRACE_OUT,
			.trace_id = traced[w->id].id[i],
			.port_id = p->id };

		if (traced[w->id].m[i] != m)
			continue;
		head_copy(&msg, m);
		msg_send(w, &msg);
	}
}

void observe_tx(struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n)
{
	struct observe_config *cfg = rcu_deref(config);

	if (cfg == NULL)
		return;
	if ((cfg->flags & OBSERVE_CAPTURE) != 0)
		for (uint16_t i = 0; i < n; i++)
			capture(w, cfg, pkts[i], p->id, OBSERVE_TX, DROP_NONE);
	if (traced[w->id].mask != 0)
		for (uint16_t i = 0; i < n; i++)
			trace_out(w, p, pkts[i]);
	if ((cfg->flags & OBSERVE_MIRROR) != 0)
		mirror(w, cfg, p, pkts, n, OBSERVE_TX);
}

void observe_drop(struct worker *w, struct rte_mbuf *m, enum drop_reason reason)
{
	struct observe_config *cfg = rcu_deref(config);

	if (cfg == NULL)
		return;
	capture(w, cfg, m, w->batch.port != NULL ? w->batch.port->id : PORT_ID_NONE, OBSERVE_DROP,
		(uint16_t)reason);
	for (uint64_t mask = traced[w->id].mask; mask != 0; mask &= mask - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(mask);
		struct observe_msg msg = { .kind = OBSERVE_MSG_TRACE_DROP,
			.trace_id = traced[w->id].id[i],
			.reason = (uint16_t)reason };

		if (traced[w->id].m[i] == m)
			msg_send(w, &msg);
	}
}

/* --- trace -------------------------------------------------------------------------------------------------------- */

static bool filter_matches(const struct observe_filter *f, const struct batch *b, uint64_t i)
{
	struct parsed pkt;

	if (f->has_port && f->port_id != b->port->id)
		return false;
	if (is_open(f))
		return true;
	/* A malformed packet matches by what could be read of it. */
	return parse_frame(b->m[i], &pkt) != DROP_ETH_TRUNCATED && packet_matches(f, &pkt);
}

static void trace_choose(struct worker *w, const struct batch *b)
{
	struct observe_config *cfg = rcu_deref(config);

	traced[w->id].mask = 0;
	if (cfg == NULL)
		return;
	MASK_FOREACH(i, b->live)
	{
		struct observe_msg msg = {
			.kind = OBSERVE_MSG_TRACE_IN, .port_id = b->port->id, .in = b->in[i]
		};

		if (!filter_matches(&cfg->trace, b, i) || !budget_take(&cfg->trace_left))
			continue;
		msg.trace_id = atomic_fetch_add_explicit(&next_trace_id, 1, memory_order_relaxed);
		traced[w->id].mask |= 1ull << i;
		traced[w->id].id[i] = msg.trace_id;
		traced[w->id].m[i] = b->m[i];
		head_copy(&msg, b->m[i]);
		msg_send(w, &msg);
	}
}

void observe_stage(struct worker *w, struct batch *b, enum stage_id stage, uint64_t was_live)
{
	if (stage == STAGE_decap)
		trace_choose(w, b);
	if (stage == STAGE_output)
		traced[w->id].mask = 0;
	if (stage != STAGE_lookup)
		return;
	MASK_FOREACH(i, traced[w->id].mask & was_live)
	{
		bool is_keyed = ((b->v4 | b->v6) >> i) & 1;
		struct observe_msg msg = { .kind = OBSERVE_MSG_TRACE_LOOKUP,
			.trace_id = traced[w->id].id[i],
			.flow = is_keyed ? b->flow[i] : FLOW_NONE,
			.is_v6 = (b->v6 >> i) & 1,
			.is_hit = (b->hit >> i) & 1 };

		if (msg.is_hit)
			msg.path = atomic_load_explicit(
				&flowtab_prog(msg.is_v6 ? w->ft6 : w->ft4, msg.flow)->path,
				memory_order_relaxed);
		msg_send(w, &msg);
	}
}

/* For the stream of verdicts: what the layers say of a packet, whoever it is. */
static void verdict_send(struct worker *w, struct observe_msg *msg, const struct rte_mbuf *m,
	const struct slow_ctx *ctx)
{
	struct observe_config *cfg = rcu_deref(config);

	if (cfg == NULL || (cfg->flags & OBSERVE_VERDICT) == 0 || !budget_take(&cfg->verdicts_left))
		return;
	msg->kind = OBSERVE_MSG_VERDICT;
	msg->rule = ctx->denied_by;
	for (unsigned int d = 0; d < POLICY_DIR_N && msg->rule == SLOT_NONE; d++)
		msg->rule = ctx->rule[d];
	head_copy(msg, m);
	msg_send(w, msg);
}

void observe_verdict(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	struct observe_msg msg = { .kind = OBSERVE_MSG_TRACE_VERDICT,
		.trace_id = traced[w->id].id[i],
		.action = ctx->action,
		.reason = ctx->reason,
		.path = ctx->path,
		.route = ctx->route,
		.tunnel = ctx->tunnel,
		.src_ep = ctx->src_ep,
		.dst_ep = ctx->dst_ep,
		.port_id = ctx->out_port,
		.in = b->in[i] };

	if ((traced[w->id].mask >> i) & 1)
		msg_send(w, &msg);
	if ((w->observe & OBSERVE_VERDICT) != 0)
		verdict_send(w, &msg, b->m[i], ctx);
}
