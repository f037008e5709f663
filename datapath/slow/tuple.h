/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and ports of flows and connections, whatever their family. Pure reads; workers and explain. */
#ifndef LEAT_SLOW_TUPLE_H
#define LEAT_SLOW_TUPLE_H

#include "datapath/slow/slow.h"

/* What a packet of the flow looks like when it comes, and when it leaves. */
void slow_flow_tuples(
	const struct flowtab *t, uint32_t flow, struct translation *in, struct translation *out);

/* The same of a connection's original direction: as its client sent it, and as its server sees it. */
static inline void slow_conn_tuples(const struct flowtab *t, uint32_t conn,
	struct translation *client, struct translation *final)
{
	slow_flow_tuples(t, 2 * conn, client, final);
}

/* The packet as rules see it: the client's own address, the backend's address and port. */
void slow_rule_packet(const struct slow_ctx *ctx, struct rule_packet *out);

static inline struct translation translation_reverse(const struct translation *t)
{
	return (struct translation){
		.src = t->dst, .dst = t->src, .sport = t->dport, .dport = t->sport
	};
}

#endif
