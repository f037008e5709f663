/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/slow.h"

#include <errno.h>
#include <netinet/in.h>

#include "datapath/packet/frag.h"
#include "datapath/packet/gso.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/slow/commit.h"
#include "datapath/table/endpoint.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u
#define FRAGMENTS_MAX 64

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
	ctx->error = ICMP_ERROR_N;
	for (unsigned int l = first; l < LAYER_N && ctx->action == SLOW_CONTINUE; l++)
		layers[l](ctx);
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

static void act(struct worker *w, struct batch *b, uint64_t i, struct slow_ctx *ctx)
{
	const struct parsed *pkt = ctx->pkt;

	switch (ctx->action) {
	case SLOW_FORWARD:
		if (!ctx->keep_ttl && pkt->ttl <= 1)
			slow_answer_error(
				w, b, i, pkt, DROP_TTL_EXCEEDED, ICMP_ERROR_TTL_EXCEEDED, 0);
		else if (pkt->is_icmp_error)
			commit_once(w, b, i, ctx);
		else
			commit_flow(w, b, i, ctx);
		break;
	case SLOW_RESOLVE_NEIGH:
	case SLOW_RESOLVE_TUNNEL:
		hold(w, b, i, ctx);
		break;
	case SLOW_SELF:
		slow_self(w, b, i, pkt);
		break;
	default:
		if (ctx->reason == DROP_NEIGH_FAILED)
			probe_again(w, ctx);
		slow_answer_error(w, b, i, pkt, ctx->reason, ctx->error, ctx->error_param);
		break;
	}
}

void slow_packet(struct worker *w, struct batch *b, uint64_t i)
{
	const uint8_t *data = rte_pktmbuf_mtod(b->m[i], const uint8_t *);
	bool is_from_wire = (b->in[i] & FLOW_IN_TUNNEL) == 0;
	struct parsed pkt;
	enum drop_reason reason = parse_frame(b->m[i], &pkt), eth_reason;
	struct slow_ctx ctx = { .pkt = &pkt,
		.port = b->port,
		.src_mac = (const struct rte_ether_addr *)(data + RTE_ETHER_ADDR_LEN),
		.in = b->in[i],
		.zone = b->zone[i],
		.out_port = PORT_ID_NONE,
		.src_ep = SLOT_NONE,
		.dst_ep = SLOT_NONE,
		.route = SLOT_NONE,
		.tunnel = SLOT_NONE,
		.path = PATH_NONE };

	if (is_from_wire && reason != DROP_ETH_TRUNCATED) {
		eth_reason = eth_check(b->port, data, &pkt);
		if (eth_reason != DROP_NONE)
			reason = eth_reason;
	}
	if (reason != DROP_NONE) {
		batch_kill(w, b, i, reason);
		return;
	}
	if (pkt.l3 == PARSED_ARP || pkt.is_nd) {
		/* Neither has any business inside a routed tunnel. */
		if (!is_from_wire)
			batch_kill(w, b, i, pkt.is_nd ? DROP_ND_INVALID : DROP_ARP_INVALID);
		else if (pkt.is_nd)
			slow_nd(w, b, i);
		else
			slow_arp(w, b, i);
		return;
	}
	if (pkt.is_icmp_error && slow_quoted_flow(w, b->m[i], &pkt, b->zone[i]) == FLOW_NONE) {
		batch_kill(w, b, i,
			slow_tunnel_too_big(w, b, i, &pkt) ? DROP_CONSUMED : DROP_ICMP_UNMATCHED);
		return;
	}
	slow_layers_run(&ctx, LAYER_admit);
	if (unlikely((w->observe & OBSERVE_TRACE) != 0))
		observe_verdict(w, b, i, &ctx);
	act(w, b, i, &ctx);
}

/* Fragments of an IPv4 packet that may be cut go out on their own; the rest is answered (RFC 1191, RFC 8201). */
void slow_oversize(struct worker *w, struct batch *b, uint64_t i, const struct path *path)
{
	struct rte_mbuf *m = b->m[i], *fragments[FRAGMENTS_MAX];
	struct parsed pkt;
	bool keep_ttl;
	int n;

	if (parse_frame(m, &pkt) != DROP_NONE) {
		batch_kill(w, b, i, DROP_MTU_EXCEEDED);
		return;
	}
	if (!pkt.may_fragment || gso_is_superframe(m)) {
		slow_answer_error(w, b, i, &pkt, DROP_MTU_EXCEEDED, ICMP_ERROR_TOO_BIG, path->mtu);
		return;
	}
	keep_ttl = (commit_count(w, b, i) & FLOW_F_KEEP_TTL) != 0;
	n = frag_ip4(m, L3_OFF, w->pool, path->mtu, fragments, FRAGMENTS_MAX);
	if (n < 0) {
		batch_kill(w, b, i, n == -ENOMEM ? DROP_NO_MBUF : DROP_MTU_EXCEEDED);
		return;
	}
	batch_take(b, i);
	for (int f = 0; f < n; f++) {
		if (!keep_ttl)
			commit_ttl4(fragments[f]);
		worker_send(w, path, fragments[f], false, b->hash[i]);
	}
}
