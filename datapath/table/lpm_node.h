/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the LPM trie: node format, keys and arena, shared by lpm.c, lpm_arena.c and
 * lpm_lookup.c only.
 *
 * Level 0 covers the first bit of the address, level k ≥ 1 the six bits from bit 6k-5 on. A node of
 * level k holds the prefixes of 6k-5 … 6k bits (level 0: only length 0), so the lengths that tables
 * are full of, /24 and /48, are the last of their node and need no node of their own.
 */
#ifndef LEAT_TABLE_LPM_NODE_H
#define LEAT_TABLE_LPM_NODE_H

#include <assert.h>
#include <stdatomic.h>

#include "datapath/table/lpm.h"
#include "datapath/table/lpm_mem.h"

#define LPM_STRIDE 6
#define LPM_LEVELS_MAX 23 /* (128 + 5) / 6 + 1 */
#define LPM_GRANULE_BYTES 8
#define LPM_N_CLASSES 18
#define LPM_NODE_BYTES_MAX 528

/*
 * own: one bit per prefix that ends here, numbered like a heap: bit (1 << l) | v is the prefix of l
 * ≤ 5 bits with value v, so that of two that cover an address the longer has the higher number.
 * child: one bit per next six bits. slot: an index for each child in bit order, then a value for
 * each own prefix in bit order. Immutable once reachable from a root.
 */
struct lpm_node {
	uint64_t own;
	uint64_t child;
	uint32_t slot[];
};
static_assert(sizeof(struct lpm_node) == 16, "two maps, then the slots");

struct lpm_arena {
	struct vmem vmem;
	struct grace_queue grace;
	uint64_t bump; /* first granule never used */
	/* 0: none; a free node starts with the next one's index */
	uint32_t free_head[LPM_N_CLASSES];
	size_t free_bytes, used_bytes, pending_bytes;
	size_t n_nodes;
	size_t n_tries;
	bool is_trimming; /* giving pages back since everything was freed */
};

struct lpm {
	_Atomic uint32_t root; /* 0: empty */
	bool is_v6;
	struct lpm_arena *arena;
	uint8_t *base; /* of the arena; never moves */
	size_t n_prefixes;
};

typedef unsigned __int128 lpm_key; /* the address, first bit on top */

static inline const struct lpm_node *lpm_node_at(const uint8_t *base, uint32_t idx)
{
	return (const struct lpm_node *)(base + (size_t)idx * LPM_GRANULE_BYTES);
}

static inline unsigned int lpm_node_children(const struct lpm_node *n)
{
	return (unsigned int)__builtin_popcountll(n->child);
}

static inline unsigned int lpm_node_slots(const struct lpm_node *n)
{
	return lpm_node_children(n) + (unsigned int)__builtin_popcountll(n->own);
}

/* Set bits of map below bit pos. */
static inline unsigned int lpm_rank(uint64_t map, unsigned int pos)
{
	return (unsigned int)__builtin_popcountll(map & ((UINT64_C(1) << pos) - 1));
}

static inline uint32_t lpm_child_at(const struct lpm_node *n, unsigned int chunk)
{
	return n->slot[lpm_rank(n->child, chunk)];
}

static inline uint32_t lpm_value_at(const struct lpm_node *n, unsigned int pos)
{
	return n->slot[lpm_node_children(n) + lpm_rank(n->own, pos)];
}

/* Bits of `own` whose prefixes cover the six bits: one per length 0…5. */
static inline uint64_t lpm_cover_mask(unsigned int chunk)
{
	return UINT64_C(1) << 1 | UINT64_C(1) << (2 | chunk >> 5) |
		UINT64_C(1) << (4 | chunk >> 4) | UINT64_C(1) << (8 | chunk >> 3) |
		UINT64_C(1) << (16 | chunk >> 2) | UINT64_C(1) << (32 | chunk >> 1);
}

/* Six bits of the key at this level; bits behind the address are zero. */
static inline unsigned int lpm_chunk(lpm_key key, unsigned int level)
{
	if (level == 0)
		return (unsigned int)(key >> 127);
	return (unsigned int)((key << (LPM_STRIDE * level - 5)) >> 122);
}

/* Level whose nodes hold prefixes of len bits, and how many of the level's bits they use. */
static inline unsigned int lpm_level(unsigned int len)
{
	return (len + 5) / LPM_STRIDE;
}

static inline unsigned int lpm_rel_len(unsigned int len)
{
	return (len + 5) % LPM_STRIDE;
}

/* Bit in `own` of the prefix of rel_len bits that starts the chunk. */
static inline unsigned int lpm_own_pos(unsigned int chunk, unsigned int rel_len)
{
	return 1u << rel_len | chunk >> (LPM_STRIDE - rel_len);
}

static inline lpm_key lpm_key_of(const struct ip_addr *a, bool is_v6)
{
	if (!is_v6)
		return (lpm_key)rte_be_to_cpu_32(a->w[3]) << 96;
	return (lpm_key)rte_be_to_cpu_64(a->q[0]) << 64 | rte_be_to_cpu_64(a->q[1]);
}

/* Whether the prefix is of the trie's family and canonical. */
bool lpm_prefix_is_valid(const struct lpm *lpm, const struct ip_prefix *prefix);

/* A node for n_slots slots, contents undefined; 0 when the arena is full (for a delete: to the
 * last byte). */
uint32_t lpm_node_alloc(struct lpm_arena *arena, unsigned int n_slots, bool is_del);

/* Back to the free list: never published, or its grace period is over. Takes the size from the
 * node's maps. */
void lpm_node_free(struct lpm_arena *arena, uint32_t idx);

/* Unreachable from now on; free after a grace period. Room in arena->grace must have been
 * reserved. */
void lpm_node_retire(struct lpm_arena *arena, uint32_t idx);

/* Frees up to max retired nodes. */
void lpm_arena_recycle(struct lpm_arena *arena, unsigned int max);

#endif
