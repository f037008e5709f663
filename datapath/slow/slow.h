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
#include "datapath/packet/translate.h"
#include "datapath/pipeline/batch.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/policy.h"

enum slow_action {
	SLOW_CONTINUE,	     /* next layer */
	SLOW_FORWARD,	     /* path is known */
	SLOW_DROP,	     /* reason; and answer with `error` unless ICMP_ERROR_N */
	SLOW_RESOLVE_NEIGH,  /* next_hop on out_port has no MAC yet */
	SLOW_RESOLVE_TUNNEL, /* tunnel has no path yet */
	SLOW_SELF,	     /* for leatd itself */
	SLOW_REBIND, /* the connection's backend is gone: end the connection, judge the packet as a new one's first */
	SLOW_RESET, /* … and the service wants both sides told */
	SLOW_ACTION_N
};

/* How a new connection's source is translated. */
enum snat_kind {
	SNAT_NONE,    /* not, unless the replies would be mistaken for another connection's */
	SNAT_POOL,    /* to the pool's address, with a port of its range */
	SNAT_PAIR,    /* one to one: address only */
	SNAT_HAIRPIN, /* to a service from its own backend: to this node's address */
};

struct slow_ctx {
	/* given */
	const struct parsed *pkt;
	const struct port *port;	      /* where it came in */
	const struct rte_ether_addr *src_mac; /* of the frame */
	uint16_t in;			      /* port id, or FLOW_IN_TUNNEL | tunnel index */
	uint16_t zone;
	const struct flowtab *ft; /* of the family */
	uint32_t flow; /* the packet's flow; FLOW_NONE: the first packet of a connection */
	uint32_t now_s;
	uint32_t
		ended; /* a flow of the finished connection that this packet begins anew; FLOW_NONE */
	bool is_own;   /* made by leatd: neither service nor policy nor SNAT concern it */
	bool is_peek;	 /* only asked (explain): nothing may change, no affinity either */
	bool is_related; /* an ICMP error about `flow`, which allowed it */

	/* The packet's addresses and ports as they will be: translated by the flow, or by the layers so far. */
	struct translation now;

	/* slow_endpoint_at()'s last answer */
	struct ip_addr asked_addr;
	uint32_t asked_ep;
	bool has_asked;

	/* intent */
	uint8_t action;	 /* enum slow_action */
	uint8_t reason;	 /* enum drop_reason */
	uint8_t error;	 /* enum icmp_error_kind, ICMP_ERROR_N: none */
	uint8_t layer;	 /* that decided */
	uint8_t snat;	 /* enum snat_kind */
	bool is_refusal; /* TCP is answered with a reset instead of `error` */
	bool keep_ttl;
	bool is_metered;
	bool is_policed; /* some policy allowed it */
	bool is_settled; /* policies were not asked again */
	bool is_logged;	 /* some rule wants a log line */
	bool needs_neigh;
	uint16_t mtu; /* the route's, bytes; 0: that of the path */
	uint16_t out_port;
	struct ip_addr next_hop;
	uint32_t error_param;
	uint32_t src_ep, dst_ep; /* endpoints, SLOT_NONE: not on this node */
	uint32_t route;		 /* SLOT_NONE: not asked */
	uint32_t reverse_route;	 /* to the source, of what comes out of a tunnel; SLOT_NONE */
	uint32_t tunnel;
	uint32_t path;
	uint32_t service, backend;	 /* SLOT_NONE: none */
	uint32_t pool;			 /* SNAT_POOL: of it */
	uint32_t policy;		 /* that decided last, POLICY_NONE: an endpoint's default */
	uint32_t rule[POLICY_DIR_N];	 /* that decided; RULE_NONE */
	uint32_t denied_by;		 /* rule; RULE_NONE */
	uint32_t log_rule[POLICY_DIR_N]; /* that wants a log line; RULE_NONE */
};

/* Nothing decided yet. */
#define SLOW_CTX_INTENT                                                                            \
	.ended = FLOW_NONE, .error = ICMP_ERROR_N, .out_port = PORT_ID_NONE, .src_ep = SLOT_NONE,  \
	.dst_ep = SLOT_NONE, .route = SLOT_NONE, .reverse_route = SLOT_NONE, .tunnel = SLOT_NONE,  \
	.path = PATH_NONE, .service = SLOT_NONE, .backend = SLOT_NONE, .pool = SLOT_NONE,          \
	.policy = SLOT_NONE, .rule = { SLOT_NONE, SLOT_NONE }, .denied_by = SLOT_NONE,             \
	.log_rule = { SLOT_NONE, SLOT_NONE }

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

/* Whether policies leave connections alone that were established when they changed (else every change reaches them). */
extern _Atomic bool policy_is_per_connection;

/* Runs the layers from `first` on until one decides. */
void slow_layers_run(struct slow_ctx *ctx, enum layer_id first);

/* endpoint_by_addr() in the packet's zone. Two layers mostly ask about the same destination: the last answer is kept. For layers. */
static inline uint32_t slow_endpoint_at(struct slow_ctx *ctx, const struct ip_addr *addr)
{
	if (!ctx->has_asked || !ip_eq(addr, &ctx->asked_addr)) {
		ctx->asked_ep = endpoint_by_addr(ctx->zone, addr);
		ctx->asked_addr = *addr;
		ctx->has_asked = true;
	}
	return ctx->asked_ep;
}

/* The connection that the packet belongs to, NULL for a first packet. */
static inline const struct conn *slow_conn(const struct slow_ctx *ctx)
{
	return ctx->flow != FLOW_NONE ? flowtab_conn(ctx->ft, ctx->flow) : NULL;
}

static inline bool slow_is_reply(const struct slow_ctx *ctx)
{
	return ctx->flow != FLOW_NONE && (ctx->flow & 1) == CONN_REPLY;
}

/* Whether the packet asks for a connection: a TCP SYN, an SCTP INIT. */
static inline bool slow_is_opening(const struct slow_ctx *ctx)
{
	return conn_has_handshake(ctx->pkt->proto) && conn_tcp_is_syn(ctx->pkt->tcp_flags);
}

/* Whether it asks for one against the direction of the one that there is. */
static inline bool slow_is_crossing(const struct slow_ctx *ctx)
{
	return slow_is_reply(ctx) && !ctx->is_related && slow_is_opening(ctx);
}

/* Whether the packet's connection is not established yet: it is bound to nothing. */
static inline bool slow_is_half_open(const struct slow_ctx *ctx)
{
	uint8_t state;

	if (slow_conn(ctx) == NULL)
		return false;
	state = atomic_load_explicit(&slow_conn(ctx)->state, memory_order_relaxed);
	return state == CONN_SYN_SENT || state == CONN_SYN_RECV;
}

/* Whether the client asks once more for what it has asked for. */
static inline bool slow_is_retry(const struct slow_ctx *ctx)
{
	return slow_is_opening(ctx) && !slow_is_reply(ctx) && slow_is_half_open(ctx);
}

/* Returns true if nothing binds the packet's TCP connection to where it went: nobody has answered yet, or the client asks once more. Once it
 * is answered, other segments go where the answer came from: anybody else would reset it. */
static inline bool slow_is_unbound(const struct slow_ctx *ctx)
{
	return slow_is_retry(ctx) ||
		(slow_conn(ctx) != NULL &&
			atomic_load_explicit(&slow_conn(ctx)->state, memory_order_relaxed) ==
				CONN_SYN_SENT);
}

/* Whether the packet comes from neither a pod nor the node itself. */
static inline bool slow_is_from_outside(const struct slow_ctx *ctx)
{
	return ctx->port->role == PORT_ROLE_UPLINK;
}

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

/* The same, and the sender is told: TCP by a reset, others by the ICMP error. */
static inline void slow_refuse(
	struct slow_ctx *ctx, enum drop_reason reason, enum icmp_error_kind error)
{
	slow_drop(ctx, reason, error);
	ctx->is_refusal = true;
}

/* Packet i of the batch: afterwards it has a program and goes on, or it is no longer live. */
void slow_packet(struct worker *w, struct batch *b, uint64_t i);

/* The same for a packet that has been looked at: a connection's first, an odd one, a fragment that knows its datagram's ports. */
void slow_first(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt);

/* Packet i is a fragment: goes on as its datagram's first does, waits for it, or is dropped (fragment.c). */
void slow_fragment(struct worker *w, struct batch *b, uint64_t i, struct parsed *pkt);

/* What a fragment knows, while it waits for a neighbour; and back into pkt. */
void slow_fragment_park(struct rte_mbuf *m, const struct parsed *pkt);
void slow_fragment_resume(struct rte_mbuf *m, struct parsed *pkt);

/* Drops fragments that have waited too long. Once a second, one worker. */
void slow_fragments_expire(struct worker *w);

/* Packet i is larger than its path or its route takes: goes out as fragments, or is dropped and answered "too big". */
void slow_oversize(struct worker *w, struct batch *b, uint64_t i);

/* Keeps packet i until the gate of a restart opens (table/restart.h), or drops it when there is no room. */
void slow_wait_at_gate(struct worker *w, struct batch *b, uint64_t i);

/* ARP and ND (neighbour.c). The packet is answered, punted or dropped. */
void slow_arp(struct worker *w, struct batch *b, uint64_t i);
void slow_nd(struct worker *w, struct batch *b, uint64_t i);

/* Drops packet i and, rate-limited, tells its sender (icmp.c). */
void slow_answer_error(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt,
	enum drop_reason reason, enum icmp_error_kind kind, uint32_t param);

/* Whether a packet for leatd itself is an echo request that gets its reply; else it is dropped, and UDP is told (icmp.c). */
bool slow_self_is_answered(const struct rte_mbuf *m, const struct parsed *pkt);

/* A packet for leatd itself: echo is answered (icmp.c). */
void slow_self(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt);

/* Tells the control thread, rate-limited, what policies decided, if a rule wants that logged (policy_log.c). */
void slow_policy_log(struct worker *w, const struct batch *b, const struct slow_ctx *ctx);

/* Sends m back out of the port it came in on, MACs as they are. */
void slow_reflect(struct worker *w, struct batch *b, uint64_t i);

/* An ICMP "too big" for this node about a tunnel packet of its own: the control thread is told. Whether it was one. */
bool slow_tunnel_too_big(
	struct worker *w, const struct batch *b, uint64_t i, const struct parsed *pkt);

/* The flow that replies to the packet which an ICMP error quotes (as it left) would take, FLOW_NONE if there is none. */
uint32_t slow_quoted_flow(
	struct worker *w, const struct rte_mbuf *m, const struct parsed *pkt, uint16_t zone);

/* Where an ICMP error about ctx->flow goes, into ctx->now: to the quoted packet's sender, from the address that it was sent to if
 * the error comes from there (RFC 5508 s. 4). */
void slow_related_tuple(struct slow_ctx *ctx);

/* Translates the error and what it quotes. false: it cannot be. */
bool slow_related_translate(struct rte_mbuf *m, const struct slow_ctx *ctx);

/* Drops packet i and, rate-limited, resets its sender's connection. */
void slow_answer_reset(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt,
	enum drop_reason reason);

/* Ends packet i's TCP connection: a reset to either side. */
void slow_reset_both(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx);

/* Parses packet i and says whether it may be looked at at all: well-formed, from and to the right MACs. DROP_NONE or why not. */
enum drop_reason slow_packet_check(const struct batch *b, uint64_t i, struct parsed *pkt);

/* Asks all layers about the packet of ctx->flow (FLOW_NONE: a connection's first). *out_is_rebound: the flow's connection is to
 * end, and the answer is for the packet without it. Changes nothing but ctx. */
void slow_judge(struct slow_ctx *ctx, bool *out_is_rebound);

/* What a worker says unasked: 1000 a second, 50 at once, of ICMP errors (RFC 4443 s. 2.4 (f)) and of policy log messages each. */
#define SLOW_RATE_INTERVAL_NS 1000000u
#define SLOW_RATE_BURST_NS (50u * SLOW_RATE_INTERVAL_NS)

/* Whether one more may be sent now; *tat_ns is one of the worker's. */
static inline bool slow_rate_pass(const struct worker *w, uint64_t *tat_ns)
{
	uint64_t next = RTE_MAX(*tat_ns, w->now_ns) + SLOW_RATE_INTERVAL_NS;

	if (next > w->now_ns + SLOW_RATE_BURST_NS)
		return false;
	*tat_ns = next;
	return true;
}

#endif
