/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/slow.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_arp.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/frag.h"
#include "datapath/packet/gso.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/slow/commit.h"
#include "datapath/slow/flow_nat.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/ours.h"
#include "datapath/table/restart.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u
#define FRAGMENTS_MAX 128 /* 64 KiB at an MTU of 576 */
#define RACES_MAX 8u

static void (*const layers[LAYER_N])(struct slow_ctx *ctx) = {
#define LAYER(name, help) layer_##name,
#include "datapath/slow/layers.def"
#undef LAYER
};

const char *layer_name(enum layer_id id)
{
	static const char *const names[LAYER_N] = {
#define LAYER(name, help) #name,
#include "datapath/slow/layers.def"
#undef LAYER
	};

	return (unsigned int)id < LAYER_N ? names[id] : "?";
}

void slow_layers_run(struct slow_ctx *ctx, enum layer_id first)
{
	ctx->action = SLOW_CONTINUE;
	for (unsigned int l = first; l < LAYER_N && ctx->action == SLOW_CONTINUE; l++) {
		ctx->layer = (uint8_t)l;
		layers[l](ctx);
	}
}

/* For us, and (pods) from the pod's own MAC; groups are for ARP and ND only. */
static enum drop_reason eth_check(
	const struct port *p, const uint8_t *data, const struct parsed *pkt)
{
	const struct rte_ether_hdr *eth = (const struct rte_ether_hdr *)data;
	const struct rte_ether_addr *own = p->role == PORT_ROLE_UPLINK ? &p->mac : &p->gw_mac;

	if (p->role != PORT_ROLE_UPLINK && !rte_is_same_ether_addr(&eth->src_addr, &p->mac) &&
		atomic_load_explicit(&p->is_shared, memory_order_relaxed) == 0)
		return DROP_ETH_SRC_SPOOFED;
	if (rte_is_same_ether_addr(&eth->dst_addr, own) || pkt->l3 == PARSED_ARP || pkt->is_nd)
		return DROP_NONE;
	if (rte_is_broadcast_ether_addr(&eth->dst_addr))
		return DROP_ETH_BROADCAST;
	return rte_is_multicast_ether_addr(&eth->dst_addr) ? DROP_IP_MULTICAST
							   : DROP_ETH_DST_FOREIGN;
}

/* Hands the packet to the control thread, which asks for the neighbour and gives the packet back. */
static void hold(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	struct punt_msg msg = { .kind = ctx->action == SLOW_RESOLVE_TUNNEL ? PUNT_TUNNEL
									   : PUNT_RESOLVE,
		.port_id = b->port->id,
		.in = b->in[i],
		.out_port_id = ctx->out_port,
		.worker = w->id,
		.idx = ctx->tunnel,
		.target = ctx->next_hop,
		.m = b->m[i] };

	if (ctx->pkt->is_frag)
		slow_fragment_park(b->m[i], ctx->pkt);
	if (punt_send(&msg))
		batch_take(b, i);
	else
		batch_kill(w, b, i, DROP_PUNT_FULL);
}

static void probe_again(struct worker *w, const struct slow_ctx *ctx)
{
	struct punt_msg msg = { .kind = PUNT_PROBE,
		.out_port_id = ctx->out_port,
		.worker = w->id,
		.target = ctx->next_hop };

	punt_send(&msg);
}

/* The rule that denied a packet counts it: no connection will. */
static void denied_count(const struct slow_ctx *ctx)
{
	struct rule *rule;

	if (ctx->denied_by == RULE_NONE)
		return;
	rule = rule_at(ctx->denied_by);
	atomic_fetch_add_explicit(&rule->pkts, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&rule->bytes, ctx->pkt->l3_len, memory_order_relaxed);
}

static void drop(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	if (ctx->reason == DROP_NEIGH_FAILED)
		probe_again(w, ctx);
	denied_count(ctx);
	if (ctx->is_refusal && ctx->pkt->proto == IPPROTO_TCP)
		slow_answer_reset(w, b, i, ctx->pkt, ctx->reason);
	else
		slow_answer_error(w, b, i, ctx->pkt, ctx->reason, ctx->error, ctx->error_param);
}

/* An ICMP error has no flow of its own that would be limited. */
static void related_forward(
	struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	const uint32_t ep[] = { [ENDPOINT_FROM] = ctx->src_ep, [ENDPOINT_TO] = ctx->dst_ep };

	if (!endpoint_meters_pass(ep, ctx->pkt->l3_len, w->now_ns))
		batch_kill(w, b, i, DROP_RATE_LIMIT);
	else if (slow_related_translate(b->m[i], ctx))
		commit_once(w, b, i, ctx);
	else
		batch_kill(w, b, i, DROP_NAT_UNTRANSLATABLE);
}

/* As commit_flow(). */
static uint32_t forward(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	if (slow_is_from_outside(ctx) && (ctx->in & FLOW_IN_TUNNEL) == 0)
		ours_seen_elsewhere(ctx->zone, &ctx->pkt->src);
	if (!ctx->keep_ttl && ctx->pkt->ttl <= 1)
		slow_answer_error(w, b, i, ctx->pkt, DROP_TTL_EXCEEDED, ICMP_ERROR_TTL_EXCEEDED, 0);
	else if (ctx->is_related)
		related_forward(w, b, i, ctx);
	else
		return commit_flow(w, b, i, ctx);
	return FLOW_NONE;
}

/* As commit_flow(). */
static uint32_t act(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	uint32_t other = FLOW_NONE;

	switch (ctx->action) {
	case SLOW_FORWARD:
		other = forward(w, b, i, ctx);
		break;
	case SLOW_RESOLVE_NEIGH:
	case SLOW_RESOLVE_TUNNEL:
		hold(w, b, i, ctx);
		break;
	case SLOW_SELF:
		slow_self(w, b, i, ctx->pkt);
		break;
	case SLOW_RESET:
		slow_reset_both(w, b, i, ctx);
		break;
	default:
		drop(w, b, i, ctx);
		break;
	}
	if (unlikely(ctx->is_logged) && other == FLOW_NONE)
		slow_policy_log(w, b, ctx);
	return other;
}

/* Asks the layers about the packet; ctx->flow says whose it is. */
static void judge(struct slow_ctx *ctx)
{
	struct translation in;

	ctx->now = (struct translation){ .src = ctx->pkt->src,
		.dst = ctx->pkt->dst,
		.sport = ctx->pkt->sport,
		.dport = ctx->pkt->dport };
	if (ctx->is_related)
		slow_related_tuple(ctx);
	else if (ctx->flow != FLOW_NONE)
		slow_flow_tuples(ctx->ft, ctx->flow, &in, &ctx->now);
	slow_layers_run(ctx, LAYER_admit);
}

/* Whether the packet asks for a new connection, from whichever side, with the tuple of one that is over; of a lapsed one only its client's can. That one goes when the new one is
 * made: before, somebody may only pretend. */
static bool begins_anew(const struct slow_ctx *ctx)
{
	const struct conn *c = slow_conn(ctx);
	enum conn_state state;

	if (c == NULL || ctx->is_related)
		return false;
	state = (enum conn_state)atomic_load_explicit(&c->state, memory_order_relaxed);
	return state == CONN_LAPSED ? !slow_is_reply(ctx)
				    : conn_is_over(state) && slow_is_opening(ctx);
}

void slow_judge(struct slow_ctx *ctx, bool *out_is_rebound)
{
	const struct slow_ctx fresh = *ctx;

	*out_is_rebound = false;
	if (begins_anew(ctx)) {
		ctx->ended = ctx->flow;
		ctx->flow = FLOW_NONE;
	}
	judge(ctx);
	if (ctx->action != SLOW_REBIND)
		return;
	*out_is_rebound = true;
	if (slow_is_reply(ctx)) {
		slow_drop(ctx, DROP_SERVICE_BACKEND_GONE, ICMP_ERROR_N);
		return;
	}
	*ctx = fresh;
	ctx->flow = FLOW_NONE;
	judge(ctx);
}

/* As commit_flow(). */
static uint32_t judge_and_act(struct worker *w, struct batch *b, uint64_t i, struct slow_ctx *ctx)
{
	uint32_t flow = ctx->flow;
	bool is_rebound;

	slow_judge(ctx, &is_rebound);
	if (is_rebound)
		flowtab_unlink(ctx->ft->is_v6 ? w->ft6 : w->ft4, flow >> 1);
	if (unlikely((w->observe & (OBSERVE_TRACE | OBSERVE_VERDICT)) != 0))
		observe_verdict(w, b, i, ctx);
	return act(w, b, i, ctx);
}

/* ARP and ND have no business inside a routed tunnel. */
static void neighbour_message(
	struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt)
{
	if ((b->in[i] & FLOW_IN_TUNNEL) != 0)
		batch_kill(w, b, i, pkt->is_nd ? DROP_ND_INVALID : DROP_ARP_INVALID);
	else if (pkt->is_nd)
		slow_nd(w, b, i);
	else
		slow_arp(w, b, i);
}

/* Cuts what a link or a sender has put behind the L3 packet, as stage_parse.c does. */
static void frame_trim(struct rte_mbuf *m, const struct parsed *pkt)
{
	uint32_t len = pkt->l3 == PARSED_ARP ? L3_OFF + (uint32_t)sizeof(struct rte_arp_hdr)
					     : pkt->l3_off + pkt->l3_len;

	if (m->pkt_len > len)
		chain_truncate(m, len);
}

enum drop_reason slow_packet_check(const struct batch *b, uint64_t i, struct parsed *pkt)
{
	enum drop_reason reason = parse_frame(b->m[i], pkt), eth_reason;

	if (reason == DROP_NONE)
		frame_trim(b->m[i], pkt);
	if ((b->in[i] & FLOW_IN_TUNNEL) != 0 || reason == DROP_ETH_TRUNCATED)
		return reason;
	eth_reason = eth_check(b->port, rte_pktmbuf_mtod(b->m[i], const uint8_t *), pkt);
	return eth_reason != DROP_NONE ? eth_reason : reason;
}

/* The packet's flow, FLOW_NONE for a connection's first. False: it is gone, an error about nothing. */
static bool flow_find(
	struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt, uint32_t *out_flow)
{
	if (!pkt->is_icmp_error) {
		commit_key(w, b, i, pkt);
		*out_flow = commit_find(w, b, i);
		return true;
	}
	*out_flow = slow_quoted_flow(w, b->m[i], pkt, b->zone[i]);
	if (*out_flow != FLOW_NONE)
		return true;
	batch_kill(
		w, b, i, slow_tunnel_too_big(w, b, i, pkt) ? DROP_CONSUMED : DROP_ICMP_UNMATCHED);
	return false;
}

/* Packet i belongs to the flow, FLOW_NONE: it is a connection's first. As commit_flow(). */
static uint32_t packet_judge(
	struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt, uint32_t flow)
{
	struct slow_ctx ctx = { .pkt = pkt,
		.port = b->port,
		.src_mac = rte_pktmbuf_mtod_offset(
			b->m[i], const struct rte_ether_addr *, RTE_ETHER_ADDR_LEN),
		.in = b->in[i],
		.zone = b->zone[i],
		.ft = pkt->l3 == PARSED_IP6 ? w->ft6 : w->ft4,
		.flow = flow,
		.is_related = pkt->is_icmp_error,
		.now_s = w->now_s,
		SLOW_CTX_INTENT };

	return judge_and_act(w, b, i, &ctx);
}

void slow_first(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt)
{
	uint32_t flow;

	if (!flow_find(w, b, i, pkt, &flow))
		return;
	flow = packet_judge(w, b, i, pkt, flow);
	/* The packet is of a connection that another worker opened meanwhile: mostly one of its replies, which nobody has judged. */
	for (unsigned int n = 0; unlikely(flow != FLOW_NONE); n++) {
		if (n == RACES_MAX) {
			batch_kill(w, b, i, DROP_FLOW_RACE);
			return;
		}
		flow = packet_judge(w, b, i, pkt, flow);
	}
}

/* Nobody can tell yet what may be done with the packet: it waits as it came, if there is room. */
void slow_wait_at_gate(struct worker *w, struct batch *b, uint64_t i)
{
	struct gated_box *box = &w->gated;
	uint16_t port_id = b->port->id;

	/* One buffer each: the large ones of a tap are few. */
	if (box->n == WORKER_GATED_MAX || box->n_of_port[port_id] == WORKER_GATED_PORT_MAX ||
		b->m[i]->nb_segs > 1) {
		batch_kill(w, b, i, DROP_RESTORING);
		return;
	}
	batch_take(b, i);
	b->m[i]->port = port_id;
	box->in[box->n] = (b->in[i] & FLOW_IN_TUNNEL) != 0 ? b->in[i] : 0;
	box->m[box->n++] = b->m[i];
	box->n_of_port[port_id]++;
}

void slow_packet(struct worker *w, struct batch *b, uint64_t i)
{
	struct parsed pkt;
	enum drop_reason reason = slow_packet_check(b, i, &pkt);

	if (reason != DROP_NONE) {
		batch_kill(w, b, i, reason);
	} else if (pkt.l3 == PARSED_ARP || pkt.is_nd) {
		neighbour_message(w, b, i, &pkt);
	} else if (unlikely(restart_is_gated())) {
		slow_wait_at_gate(w, b, i);
	} else if (pkt.is_frag && !b->is_resumed) {
		slow_fragment(w, b, i, &pkt);
	} else {
		if (pkt.is_frag)
			slow_fragment_resume(b->m[i], &pkt);
		slow_first(w, b, i, &pkt);
	}
}

/* Fragments of an IPv4 packet that may be cut go out on their own; the rest is answered (RFC 1191, RFC 8201). */
void slow_oversize(struct worker *w, struct batch *b, uint64_t i)
{
	struct rte_mbuf *m = b->m[i], *fragments[FRAGMENTS_MAX];
	bool is_v6 = (b->v6 >> i) & 1;
	const struct flow_prog *p = is_v6 ? &((struct flow6 *)b->entry[i])->prog
					  : &((struct flow4 *)b->entry[i])->prog;
	const struct path *path = path_at(atomic_load_explicit(&p->path, memory_order_relaxed));
	uint16_t flags, mtu = flow_prog_mtu(p);
	struct parsed pkt;
	int n;

	if (path == path_at(PATH_NONE)) {
		batch_kill(w, b, i, DROP_NO_PATH);
		return;
	}
	if (parse_frame(m, &pkt) != DROP_NONE) {
		batch_kill(w, b, i, DROP_MTU_EXCEEDED);
		return;
	}
	if (!pkt.may_fragment || gso_is_superframe(m)) {
		slow_answer_error(w, b, i, &pkt, DROP_MTU_EXCEEDED, ICMP_ERROR_TOO_BIG, mtu);
		return;
	}
	flags = commit_count(w, b, i);
	if ((flags & FLOW_F_NAT) != 0)
		nat4_apply(rte_pktmbuf_mtod(m, uint8_t *), b->entry[i], csum_is_unfinished(m));
	n = frag_ip4(m, L3_OFF, w->pool, mtu, fragments, FRAGMENTS_MAX);
	if (n < 0) {
		batch_kill(w, b, i, n == -ENOMEM ? DROP_NO_MBUF : DROP_MTU_EXCEEDED);
		return;
	}
	batch_take(b, i);
	for (int f = 0; f < n; f++) {
		if ((flags & FLOW_F_KEEP_TTL) == 0)
			commit_ttl4(fragments[f]);
		worker_send(w, path, fragments[f], false, b->hash[i]);
	}
}
