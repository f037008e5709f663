/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at packets: trace, capture and mirror. Off, it costs one test of worker->observe a batch and drop.
 * The control thread installs a configuration by RCU; workers copy what matches into one ring that the control thread reads.
 * Copies may be lost (counted) when the ring or the pool is exhausted: looking never slows or stops forwarding.
 */
#ifndef LEAT_PIPELINE_OBSERVE_H
#define LEAT_PIPELINE_OBSERVE_H

#include "datapath/pipeline/batch.h"

struct slow_ctx;

#define OBSERVE_STAGES (1u << 0)  /* cycles by stage */
#define OBSERVE_TRACE (1u << 1)	  /* what happens to chosen packets */
#define OBSERVE_CAPTURE (1u << 2) /* copies of packets at a point */
#define OBSERVE_MIRROR (1u << 3)  /* copies out of another port */
#define OBSERVE_VERDICT (1u << 4) /* what the layers say of first packets */

#define OBSERVE_HEAD_BYTES 128
#define OBSERVE_MIRRORS_MAX 16
#define OBSERVE_CAPTURES_MAX 8

/* Zero members match everything. A trace looks at the packet as the layers see it (inner, after decapsulation), a capture at
 * the frame and at what a tunnel packet has inside. */
struct observe_filter {
	bool has_port, has_src, has_dst, has_proto, has_sport, has_dport;
	bool both_ways;	  /* or with source and destination the other way round */
	uint16_t port_id; /* ingress */
	struct ip_prefix src, dst;
	uint8_t proto;
	rte_be16_t sport, dport;
};

enum observe_dir { OBSERVE_RX = 1, OBSERVE_TX = 2, OBSERVE_DROP = 4 };

struct observe_config {
	uint32_t flags; /* OBSERVE_* */
	struct observe_filter trace;
	_Atomic uint32_t trace_left; /* packets still to trace */
	_Atomic uint32_t verdicts_left;
	unsigned int n_captures;
	struct observe_capture {
		uint32_t id;
		uint8_t points;	  /* OBSERVE_RX | _TX | _DROP */
		uint16_t port_id; /* PORT_ID_NONE: all */
		int16_t reason;	  /* of drops, -1: all */
		uint32_t snaplen;
		struct observe_filter filter;
		_Atomic uint32_t left;	      /* packets still to take */
	} captures[OBSERVE_CAPTURES_MAX + 1]; /* and the one that events come from */
	/* mirrors */
	unsigned int n_mirrors;
	struct observe_mirror {
		uint16_t from, to;
		uint8_t dirs; /* OBSERVE_RX | OBSERVE_TX */
	} mirrors[OBSERVE_MIRRORS_MAX];
};

enum observe_kind {
	OBSERVE_MSG_TRACE_IN,	   /* packet taken up: head, in, port_id */
	OBSERVE_MSG_TRACE_LOOKUP,  /* flow (FLOW_NONE: miss), is_hit */
	OBSERVE_MSG_TRACE_VERDICT, /* slow path: action, layer, reason, route, path … */
	OBSERVE_MSG_TRACE_DROP,	   /* reason */
	OBSERVE_MSG_TRACE_OUT,	   /* port_id, head as it leaves */
	OBSERVE_MSG_CAPTURE,	   /* m, point, port_id, reason; trace_id: the capture's */
	OBSERVE_MSG_VERDICT,	   /* as TRACE_VERDICT; head, rule, is_denied */
};

struct observe_msg {
	uint64_t time_ns;   /* clock_ns() */
	struct rte_mbuf *m; /* CAPTURE: a copy that the receiver frees */
	uint32_t trace_id;
	uint32_t flow, path, route, tunnel, src_ep, dst_ep;
	uint32_t wire_len;
	uint32_t rule; /* VERDICT: that denied, or let it pass last; SLOT_NONE */
	uint16_t port_id;
	uint16_t in;
	uint16_t reason;
	uint8_t kind, worker, point, action, is_v6, is_hit;
	uint8_t pad[2];
	uint16_t head_len;
	uint8_t head[OBSERVE_HEAD_BYTES];
};

/* Once, before workers start. 0 or -ENOMEM. */
int observe_init(void);
void observe_fini(void);

/* Installs a copy of cfg (NULL: nothing is looked at); the old one goes after a grace period. 0 or -ENOMEM. Control thread. */
int observe_set(const struct observe_config *cfg);

/* The installed configuration (its counters are live), or NULL. Control thread. */
struct observe_config *observe_get(void);

/* Up to max messages. Control thread, while something is installed: a few times a second. */
unsigned int observe_receive(struct observe_msg *msgs, unsigned int max);

/* Copies that did not fit since the start. */
uint64_t observe_n_lost(void);

/* For the workers. */
uint32_t observe_flags(void);
void observe_rx(struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n);
void observe_tx(struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n);
void observe_drop(struct worker *w, struct rte_mbuf *m, enum drop_reason reason);
void observe_stage(struct worker *w, struct batch *b, enum stage_id stage, uint64_t was_live);
void observe_verdict(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx);

#endif
