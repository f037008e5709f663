/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NAT of a new connection: which source port, and the programs of its two flows. No table of ports: a port is free when the
 * reply that it would bring is in no flow yet.
 */
#ifndef LEAT_SLOW_NAT_H
#define LEAT_SLOW_NAT_H

#include "datapath/slow/slow.h"

/* The source port's candidates for a connection, in the order in which they are tried: the packet's own, then the range's in a
 * shuffled order that depends on the tuple. One after the other would not do: clients choose their ports in rows. */
struct nat_ports {
	uint16_t lo, n;	  /* range; n 0: only the wanted one */
	uint32_t n_tries; /* of the range, at most */
	bool has_wanted;  /* the packet's own (or as the layers left it) is tried first */
	rte_be16_t wanted;
	uint64_t hash;
	/* offsets are shuffled within the power of two that holds the range */
	uint32_t mask, n_steps, at, stride;
	uint8_t shift;
};

void nat_ports_init(struct nat_ports *ports, const struct slow_ctx *ctx, uint64_t hash);

/* A search that found nothing is not repeated in full for the same destination for NAT_EXHAUSTED_NS: who keeps opening connections that
 * cannot be had would otherwise take a core (29 us each). nat_ports_limit() when the first candidate is taken, nat_ports_note() after one in vain. */
#define NAT_EXHAUSTED_NS 100000000ull
void nat_ports_limit(struct nat_ports *ports, const struct worker *w, const struct slow_ctx *ctx);
void nat_ports_note(struct worker *w, const struct slow_ctx *ctx);

/* The next candidate into *out_port; false: no more. */
bool nat_ports_next(struct nat_ports *ports, rte_be16_t *out_port);

/* Whether the connection would leave unchanged with that tuple. */
bool nat_is_needed(const struct slow_ctx *ctx, const struct translation *final);

/* The flow that a reply to a packet that leaves like that would belong to; FLOW_NONE: nobody's yet. */
uint32_t nat_reply_flow(const struct slow_ctx *ctx, const struct translation *final, uint8_t kind);

/* Fills the connection's two keys and, if `final` differs from the client's tuple, both programs. kind: of the keys. Whether it is
 * translated. The connection is not published yet. */
bool nat_conn_fill(struct flowtab *t, uint32_t conn, const struct slow_ctx *ctx,
	const struct translation *final, uint8_t kind);

#endif
