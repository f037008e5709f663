/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes of all zones (VRFs), IPv4 and IPv6: immutable route objects in one index-addressed array,
 * found by a longest-prefix-match trie per zone and family.
 *
 * Flows keep the index of the route they were judged by and check its `gen` (base/gen.h). What
 * changes a flow's answer touches exactly one object: adding a prefix touches the route that
 * covered it, deleting or replacing touches the old object. "No route" is an object too, one per
 * zone and family, so route_lookup() always returns an index to depend on. A replace makes a new
 * object; nobody ever sees half a route.
 *
 * Threads: the control thread writes; route_lookup*() and route_at() from any RCU reader. An index
 * from route_lookup() is good for reading the whole object until the reader's next quiescent state;
 * after that only for `gen`, which is never freed. Zones appear with their first route and go with
 * their last. The state is one per process, like RCU's. Changes take effect for compiled flows with
 * gen_publish(), which is the caller's.
 */
#ifndef LEAT_TABLE_ROUTE_H
#define LEAT_TABLE_ROUTE_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath/base/addr.h"

#define ROUTE_IDX_NONE UINT32_MAX

enum route_kind {
	ROUTE_NONE,	   /* the pseudo route "no prefix covers this address" */
	ROUTE_VIA,	   /* gateway `via` on port `port_id` */
	ROUTE_CONNECTED,   /* on-link on port `port_id`: the destination itself is the next hop */
	ROUTE_TUNNEL,	   /* into tunnel `tunnel_idx` */
	ROUTE_BLACKHOLE,   /* dropped silently */
	ROUTE_PROHIBIT,	   /* dropped, with an ICMP error */
	ROUTE_UNREACHABLE, /* the same: this node's own prefix, of which nobody has the address */
	ROUTE_KIND_N
};

/* Who put it there; free for the control thread's use (dump, list, reconciliation). */
enum route_origin {
	ROUTE_ORIGIN_STATIC,
	ROUTE_ORIGIN_CONNECTED,
	ROUTE_ORIGIN_KERNEL,
	ROUTE_ORIGIN_N
};

/* What a caller asks for. Unused members are zero. */
struct route_config {
	struct ip_prefix prefix;
	struct ip_addr via; /* ROUTE_VIA: next hop, either family */
	uint16_t zone;
	uint16_t port_id;    /* ROUTE_VIA, ROUTE_CONNECTED */
	uint32_t tunnel_idx; /* ROUTE_TUNNEL */
	uint16_t mtu;	     /* bytes of L3 packet; 0: that of the way out */
	uint8_t kind;	     /* enum route_kind, not ROUTE_NONE */
	uint8_t origin;	     /* enum route_origin */
};

/* Immutable but for gen while published. */
struct route {
	_Atomic uint32_t gen; /* epoch of the last change (base/gen.h) */
	uint8_t kind;	      /* enum route_kind */
	uint8_t origin;	      /* enum route_origin */
	uint16_t port_id;
	uint32_t tunnel_idx;
	uint16_t mtu;
	uint16_t zone;
	struct ip_addr via;
	struct ip_prefix prefix;
} __rte_aligned(64);
static_assert(sizeof(struct route) == 64, "one cache line a route");

extern struct route *route_base;

/* The object behind an index from route_lookup(), route_find() or a flow. Any RCU reader. */
static inline const struct route *route_at(uint32_t idx)
{
	return &route_base[idx];
}

#define ROUTE_MAX_DEFAULT (4u << 20)
#define ROUTE_LPM_BYTES_DEFAULT (4ull << 30)

/* Once per process, after rcu_init(). max_routes objects (64 bytes each) and lpm_max_bytes of
 * trie nodes at most; both are address space, pages are taken as needed. 0: the defaults. 0,
 * -ENOMEM, or -EINVAL for less than one route. */
int route_init(uint32_t max_routes, size_t lpm_max_bytes);

/* No reader may be left. */
void route_fini(void);

/*
 * Updates; control thread. *out_idx (may be NULL) is the object that now stands for the prefix. All
 * return 0, or with nothing changed: -EINVAL bad prefix or kind, -ENOMEM out of objects or nodes (a
 * retry may succeed when workers have passed a quiescent state).
 */

/* -EEXIST if the prefix has a route, with *out_idx that route. Touches the covering route (or
 * the zone's "none"). */
int route_add(const struct route_config *cfg, uint32_t *out_idx);

/* Adds, or replaces the route of the same prefix and touches the old object. Equal content
 * changes nothing. */
int route_replace(const struct route_config *cfg, uint32_t *out_idx);

/* -ENOENT if there is none. Touches the deleted object, which flows still see by index. */
int route_del(uint16_t zone, const struct ip_prefix *prefix);

/* Makes sure that the next n updates cannot fail for memory (transactions that must be able to
 * undo). 0 or -ENOMEM. */
int route_reserve(uint32_t n);

/* Route of exactly this prefix, or ROUTE_IDX_NONE. Control thread. */
uint32_t route_find(uint16_t zone, const struct ip_prefix *prefix);

/* Whether the object says what cfg asks for. */
bool route_matches(const struct route *route, const struct route_config *cfg);

/* Index of the route for the address: always valid, kind ROUTE_NONE when nothing covers it. Any
 * RCU reader. Read gen_now() before, and give the flow that epoch. */
uint32_t route_lookup(uint16_t zone, const struct ip_addr *addr);

/* The same for n ≤ 32 addresses of one family, with overlapping memory accesses. Any RCU reader. */
void route_lookup_bulk(
	uint16_t zone, const struct ip_addr *const *addrs, unsigned int n, uint32_t *out_idxs);

/* Position in the list of routes. { 0 } is the start of everything; set zone (and is_one_zone to
 * stay there). To resume by value, set zone, prefix and is_started. */
struct route_cursor {
	struct ip_prefix prefix; /* the last one returned */
	uint16_t zone;
	bool is_started;
	bool is_one_zone;
};

/* Next route in order of zone, family (IPv4 first), address, length; ROUTE_IDX_NONE at the end.
 * The table may change between calls: what stays is returned once. Control thread. */
uint32_t route_next(struct route_cursor *cursor);

/* Recycles objects and nodes whose grace period is over. Control thread, each time around its
 * loop; bounded work. */
void route_poll(void);

struct route_stats {
	uint32_t n_v4, n_v6; /* routes */
	uint32_t n_zones;    /* zones with routes */
	uint32_t n_pending;  /* deleted objects that wait for a grace period */
	uint32_t max_routes;
	size_t object_bytes;   /* mapped for objects */
	size_t lpm_bytes;      /* mapped for trie nodes */
	size_t lpm_used_bytes; /* in live trie nodes */
	size_t lpm_max_bytes;
};

/* Control thread. */
void route_get_stats(struct route_stats *out);

/* Routes of one zone, both families. Control thread. */
size_t route_count(uint16_t zone);

#endif
