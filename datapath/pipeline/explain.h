/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What would happen to a packet, and who says so: the same layers that a first packet walks, run without changing anything: no flow, no
 * affinity, no counter. The answer holds for a packet that comes now.
 */
#ifndef LEAT_PIPELINE_EXPLAIN_H
#define LEAT_PIPELINE_EXPLAIN_H

#include "datapath/slow/slow.h"

enum explain_verdict {
	EXPLAIN_FORWARD,  /* out holds the frame */
	EXPLAIN_DROP,	  /* reason; is_answered: the sender is told */
	EXPLAIN_HOLD,	  /* waits for a neighbour or a tunnel's way */
	EXPLAIN_SELF,	  /* for leatd: ARP, ND, echo */
	EXPLAIN_FRAGMENT, /* goes the way of its datagram's first fragment */
	EXPLAIN_N
};

/* "forward" …; "?" for a value outside the list. Static. */
const char *explain_verdict_name(enum explain_verdict verdict);

struct explain_result {
	enum explain_verdict verdict;
	enum drop_reason reason;
	bool is_answered;
	bool is_rebound; /* its connection ends, and it opens a new one */
	uint32_t ended;	 /* a flow of the one that ends, FLOW_NONE */
	struct parsed pkt;
	struct slow_ctx ctx;	  /* what the layers said; ctx.pkt is not valid */
	struct translation final; /* EXPLAIN_FORWARD: addresses and ports as they leave */
	bool is_translated;
	uint16_t out_port;
	struct rte_mbuf *
		out; /* EXPLAIN_FORWARD: the frame as it leaves, the caller's to free; NULL when buffers ran out, or it is
				 too big for its way */
};

/* m: the frame as it came in on port p, or (in: FLOW_IN_TUNNEL | index) out of a tunnel; not changed. Control thread. */
void explain_packet(const struct port *p, uint16_t in, struct rte_mbuf *m, struct flowtab *ft4,
	struct flowtab *ft6, struct rte_mempool *pool, struct explain_result *out);

#endif
