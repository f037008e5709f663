/* SPDX-License-Identifier: BSD-3-Clause */
/* The only place of the slow path that writes the flow table. Workers. */
#ifndef LEAT_SLOW_COMMIT_H
#define LEAT_SLOW_COMMIT_H

#include "datapath/packet/icmp_query.h"
#include "datapath/slow/slow.h"

/* enum flow_key_kind of a packet, or of one that is quoted. */
static inline uint8_t commit_key_kind(const struct parsed *pkt)
{
	bool is_v6 = pkt->l3 == PARSED_IP6;

	if (!pkt->has_l4)
		return FLOW_KEY_L3;
	return pkt->proto == (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)
		? (uint8_t)(FLOW_KEY_ICMP + icmp_message_of(is_v6, pkt->icmp_type))
		: FLOW_KEY_L4;
}

/* Key, hash and what the later stages want to know of packet i, from the full parser. */
void commit_key(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt);

/* Flow of packet i's key, FLOW_NONE if there is none. */
uint32_t commit_find(const struct worker *w, const struct batch *b, uint64_t i);

/* Limits of the endpoint and its zone; a flood from one endpoint may fill the table, but not the reserve: the others still
 * get in. DROP_NONE, or why no connection may be opened for the packet. Takes a token of the endpoint's rate, unless
 * ctx->is_peek. */
enum drop_reason commit_may_open(const struct worker *w, const struct slow_ctx *ctx);

/* Makes (or judges again) the flow of packet i as the context says; the packet goes on with it: FLOW_NONE. Else nothing has changed:
 * another worker has opened the packet's connection meanwhile, and its flow is returned, which the layers are to be asked about. */
uint32_t commit_flow(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx);

/* A program for this packet only. */
void commit_once(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx);

/* Counts packet i on its flow (when it does not reach the rewrite stage); the flow's flags. */
uint16_t commit_count(struct worker *w, struct batch *b, uint64_t i);

/* TTL of an IPv4 fragment behind 14 bytes of Ethernet header. */
void commit_ttl4(struct rte_mbuf *m);

#endif
