/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses that are this node's even when nobody answers for them: those of pools and pairs, and those of pods that have gone. A packet
 * to one must not leave by an uplink, or it goes round with the router, which sends it here, until its TTL ends (RFC 1812 s. 5.2.7.1
 * says what to answer instead). A node's own prefixes are said by routes (ROUTE_UNREACHABLE).
 *
 * Writer: control thread; ours_seen_elsewhere(): workers. Readers: workers.
 */
#ifndef LEAT_TABLE_OURS_H
#define LEAT_TABLE_OURS_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"

#define OURS_MAX (1u << 20)
#define OURS_DEPARTED_MAX (1u << 14) /* remembered, the oldest goes first */
#define OURS_DEPARTED_S                                                                            \
	60u /* so long pods of this node are refused a departed address: then it may be another node's */
#define OURS_DEFAULT_LEN_MAX                                                                       \
	3u /* what is said of everything: ::/0, 2000::/3, 0.0.0.0/1 and 128.0.0.0/1 */

enum ours_why {
	OURS_PAIR_EXTERNAL,
	OURS_PAIR_INTERNAL, /* nobody's but when a route better than the default one leads to it */
	OURS_POOL,	    /* of all zones that translate sources: give OURS_ZONE_POOLS */
	OURS_N
};
#define OURS_ZONE_POOLS 65536u

int ours_table_init(void);
void ours_table_fini(void);

/* Counted: as many del as add. 0 or -ENOSPC. Control thread. */
int ours_add(enum ours_why why, uint32_t zone, const struct ip_addr *addr);
void ours_del(enum ours_why why, uint32_t zone, const struct ip_addr *addr);

/* A pod that had the address has gone. way_len: length of the prefix whose route covers the address; one with a longer prefix, later, says
 * where the address went. Control thread. */
void ours_depart(uint16_t zone, const struct ip_addr *addr, uint8_t way_len, uint32_t now_s);

/* Who asks, and what the route says. */
struct ours_query {
	struct ip_addr addr;
	uint16_t zone;
	uint8_t way_len; /* prefix length of the route that leads out */
	bool is_on_link; /* the route is a connected one: whoever has the address answers for it */
	bool has_snat;	 /* the zone has rules that name pools */
	bool is_from_here; /* sent by a pod or the node itself */
	uint32_t now_s;
};

/* Whether nobody but this node answers for the address. Any thread. */
bool ours_is_nobodys(const struct ours_query *q);

/* A packet from the address has come in by an uplink: who had it here has it elsewhere. Any thread. */
void ours_seen_elsewhere(uint16_t zone, const struct ip_addr *addr);

#endif
