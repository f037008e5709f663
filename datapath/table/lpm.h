/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Longest-prefix match: a multibit trie, IPv4 or IPv6, with a uint32 value per prefix.
 *
 * A node covers six bits of the address: one 64-bit map says which of its own prefixes exist, a
 * second one which children do, so a prefix of any length, /0 included, is one bit in one node and
 * is never expanded. Published nodes are immutable: an update copies the nodes from the root down
 * to the changed one and publishes all of it by one store of the root, so every lookup answers from
 * exactly one state of the table.
 *
 * Threads: one writer (the control thread) for everything but the lookups; lookups from any RCU
 * reader. Replaced nodes are reused a grace period later, without an allocation per node. All tries
 * of an arena share its memory.
 */
#ifndef LEAT_TABLE_LPM_H
#define LEAT_TABLE_LPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath/base/addr.h"

/* "No value"; not a legal value. */
#define LPM_NONE UINT32_MAX

struct lpm;
struct lpm_arena;

struct lpm_arena_stats {
	size_t max_bytes;     /* limit given to lpm_arena_create() */
	size_t mapped_bytes;  /* taken from the kernel so far */
	size_t used_bytes;    /* in nodes of live tries */
	size_t free_bytes;    /* in nodes ready for reuse */
	size_t pending_bytes; /* in nodes that wait for a grace period */
	size_t n_nodes;	      /* live nodes */
};

/* Memory for any number of tries: address space for max_bytes (1 MiB…32 GiB) is reserved, pages
 * are taken as needed. NULL when memory is short. */
struct lpm_arena *lpm_arena_create(size_t max_bytes);

/* All tries must have been destroyed and no reader may be left. */
void lpm_arena_destroy(struct lpm_arena *arena);

/* Recycles nodes whose grace period is over; updates do so too. Bounded work; call it from the
 * control loop. When nothing is left in any trie, the pages go back to the kernel. */
void lpm_arena_poll(struct lpm_arena *arena);

/* Makes sure that the next n_updates updates (on any trie of the arena) find memory, as long as
 * readers pass their quiescent states meanwhile. 0 or -ENOMEM. */
int lpm_arena_reserve(struct lpm_arena *arena, size_t n_updates);

void lpm_arena_get_stats(const struct lpm_arena *arena, struct lpm_arena_stats *out);

/* An empty trie, about 64 bytes. NULL when memory is short. */
struct lpm *lpm_create(struct lpm_arena *arena, bool is_v6);

/* Frees the trie. No reader may hold it any more (unlink it, then rcu_defer()); time grows with
 * the prefixes left in it. */
void lpm_destroy(struct lpm *lpm);

/*
 * Updates. The prefix must be of the trie's family, its host bits zero. value != LPM_NONE. All
 * return 0, or with nothing changed: -EINVAL bad prefix or value, -EEXIST (add), -ENOENT (replace,
 * del), -ENOMEM arena full. out_old may be NULL.
 */
int lpm_add(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t value);
int lpm_replace(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t value, uint32_t *out_old);
int lpm_del(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t *out_old);

/* Value of exactly this prefix, or LPM_NONE. Writer or reader. */
uint32_t lpm_find(const struct lpm *lpm, const struct ip_prefix *prefix);

/* Value of the longest prefix that covers this one and is shorter, or LPM_NONE. Writer or
 * reader. */
uint32_t lpm_covering(const struct lpm *lpm, const struct ip_prefix *prefix);

/* Value of the longest prefix that covers the address, or LPM_NONE. Any RCU reader, or the
 * writer; lookup4 only on an IPv4 trie, lookup6 only on an IPv6 one. */
uint32_t lpm_lookup4(const struct lpm *lpm, rte_be32_t addr);
uint32_t lpm_lookup6(const struct lpm *lpm, const struct ip_addr *addr);

#define LPM_BULK_MAX 32

/* n ≤ LPM_BULK_MAX lookups whose memory accesses overlap. All answer from the same state. */
void lpm_lookup4_bulk(
	const struct lpm *lpm, const rte_be32_t *addrs, unsigned int n, uint32_t *out_values);
void lpm_lookup6_bulk(const struct lpm *lpm, const struct ip_addr *const *addrs, unsigned int n,
	uint32_t *out_values);

/*
 * The prefix after `after` (which need not exist) in ascending order of address, then length; with
 * after = NULL the first. True and *out_prefix, *out_value (either may be NULL); false at the end.
 * out_prefix may be the object that `after` points to. Cost of one lookup, so a list can be paged
 * with the last prefix as cursor, whatever changes between pages.
 */
bool lpm_next(const struct lpm *lpm, const struct ip_prefix *after, struct ip_prefix *out_prefix,
	uint32_t *out_value);

/* Prefixes in the trie. Control thread. */
size_t lpm_count(const struct lpm *lpm);

#endif
