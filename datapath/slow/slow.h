/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slow path: what a first packet (or an odd one) goes through. Layers read the packet and the configuration tables and write
 * their intent into struct slow_ctx, nothing else; slow_packet() then commits it: a flow pair, a drop, an answer, a
 * question to the control thread. So the same layers can be run for a question without changing anything.
 * Workers only; no locks but the flow table's buckets, no allocation but packet buffers.
 */
#ifndef LEAT_SLOW_SLOW_H
#define LEAT_SLOW_SLOW_H

#include "datapath/packet/icmp_error.h"
#include "datapath/packet/parse.h"
#include "datapath/pipeline/batch.h"

enum slow_action {
	SLOW_CONTINUE,	     /* next layer */
	SLOW_FORWARD,	     /* path is known */
	SLOW_DROP,	     /* reason; and answer with `error` unless ICMP_ERROR_N */
	SLOW_RESOLVE_NEIGH,  /* next_hop on out_port has no MAC yet */
	SLOW_RESOLVE_TUNNEL, /* tunnel has no path yet */
	SLOW_SELF,	     /* for leatd itself */
	SLOW_ACTION_N
};

struct slow_ctx {
	/* given */
	const struct parsed *pkt;
	const struct port *port;	      /* where it came in */
	const struct rte_ether_addr *src_mac; /* of the frame */
	uint16_t in;			      /* port id, or FLOW_IN_TUNNEL | tunnel index */
	uint16_t zone;

	/* intent */
	uint8_t action; /* enum slow_action */
	uint8_t reason; /* enum drop_reason */
	uint8_t error;	/* enum icmp_error_kind, ICMP_ERROR_N: none */
	bool keep_ttl;
	bool is_metered;
	uint16_t out_port;
	struct ip_addr next_hop;
	uint32_t error_param;
	uint32_t src_ep, dst_ep; /* endpoints, SLOT_NONE: not on this node */
	uint32_t route;		 /* SLOT_NONE: not asked */
	uint32_t tunnel;
	uint32_t path;
};

enum layer_id {
#define LAYER(name, help) LAYER_##name,
#include "datapath/slow/layers.def"
#undef LAYER
	LAYER_N
};

#define LAYER(name, help) void layer_##name(struct slow_ctx *ctx);
#include "datapath/slow/layers.def"
#undef LAYER

const char *layer_name(enum layer_id id);

/* Runs the layers from `first` on until one decides. */
void slow_layers_run(struct slow_ctx *ctx, enum layer_id first);

/* Ends the walk with a drop; error: ICMP_ERROR_N for silence. For layers. */
static inline void slow_drop(
	struct slow_ctx *ctx, enum drop_reason reason, enum icmp_error_kind error)
{
	ctx->action = SLOW_DROP;
	ctx->reason = (uint8_t)reason;
	ctx->error = (uint8_t)error;
}

/* Whether a pod speaks to the gateway, which is leatd itself on each pod's link. For layers. */
static inline bool slow_is_to_gateway(const struct slow_ctx *ctx)
{
	return ctx->port->role == PORT_ROLE_POD && (ctx->in & FLOW_IN_TUNNEL) == 0 &&
		ip_is_gateway(&ctx->pkt->dst);
}

/* Packet i of the batch: afterwards it has a program and goes on, or it is no longer live. */
void slow_packet(struct worker *w, struct batch *b, uint64_t i);

/* Packet i is larger than its path takes: goes out as fragments, or is dropped and answered "too big". */
void slow_oversize(struct worker *w, struct batch *b, uint64_t i, const struct path *path);

/* ARP and ND (neighbour.c). The packet is answered, punted or dropped. */
void slow_arp(struct worker *w, struct batch *b, uint64_t i);
void slow_nd(struct worker *w, struct batch *b, uint64_t i);

/* Drops packet i and, rate-limited, tells its sender (icmp.c). */
void slow_answer_error(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt,
	enum drop_reason reason, enum icmp_error_kind kind, uint32_t param);

/* A packet for leatd itself: echo is answered (icmp.c). */
void slow_self(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt);

/* Sends m back out of the port it came in on, MACs as they are. */
void slow_reflect(struct worker *w, struct batch *b, uint64_t i);

/* An ICMP "too big" for this node about a tunnel packet of its own: the control thread is told. Whether it was one. */
bool slow_tunnel_too_big(
	struct worker *w, const struct batch *b, uint64_t i, const struct parsed *pkt);

/* Direction and table of the connection that an ICMP error speaks of: flow index of the quoted packet, FLOW_NONE if none. */
uint32_t slow_quoted_flow(
	struct worker *w, const struct rte_mbuf *m, const struct parsed *pkt, uint16_t zone);

#endif
