/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_prefetch.h>

#include "datapath/base/rcu.h"
#include "datapath/table/lpm_node.h"

/* The best match so far: resolved at the end only, since a published node does not change. */
struct match {
	const struct lpm_node *node;
	uint64_t own; /* candidates; the highest bit is the longest */
};

static uint32_t match_value(const struct match *m)
{
	if (m->node == NULL)
		return LPM_NONE;
	return lpm_value_at(m->node, 63u - (unsigned int)__builtin_clzll(m->own));
}

/* One level: notes a match and returns the child to go on with, or 0. */
static inline uint32_t lookup_step(
	const uint8_t *base, uint32_t idx, unsigned int chunk, struct match *m)
{
	const struct lpm_node *n = lpm_node_at(base, idx);
	uint64_t own = n->own & lpm_cover_mask(chunk);

	if (own != 0)
		*m = (struct match){ .node = n, .own = own };
	return (n->child >> chunk & 1) != 0 ? lpm_child_at(n, chunk) : 0;
}

/* An IPv4 key keeps its 32 bits below 5 zero bits, so that level 0 reads like the others. */
static inline uint64_t key4(rte_be32_t addr)
{
	return (uint64_t)rte_be_to_cpu_32(addr) << 27;
}

uint32_t lpm_lookup4(const struct lpm *lpm, rte_be32_t addr)
{
	uint32_t idx = rcu_deref(lpm->root);
	struct match m = { .node = NULL };

	for (uint64_t key = key4(addr); idx != 0; key <<= LPM_STRIDE)
		idx = lookup_step(lpm->base, idx, (unsigned int)(key >> 58), &m);
	return match_value(&m);
}

uint32_t lpm_lookup6(const struct lpm *lpm, const struct ip_addr *addr)
{
	uint32_t idx = rcu_deref(lpm->root);
	lpm_key key = lpm_key_of(addr, true);
	struct match m = { .node = NULL };

	if (idx != 0)
		idx = lookup_step(lpm->base, idx, (unsigned int)(key >> 127), &m);
	for (key <<= 1; idx != 0; key <<= LPM_STRIDE)
		idx = lookup_step(lpm->base, idx, (unsigned int)(key >> 122), &m);
	return match_value(&m);
}

/* Walks all lanes one level at a time, each prefetching its next node while the others work. */
static void lookup_bulk(const struct lpm *lpm, lpm_key *keys, unsigned int n, uint32_t *out_values)
{
	uint32_t root = rcu_deref(lpm->root);
	struct match matches[LPM_BULK_MAX];
	uint32_t idx[LPM_BULK_MAX];
	bool is_active = root != 0;

	for (unsigned int i = 0; i < n; i++) {
		matches[i].node = NULL;
		idx[i] = root;
	}
	for (unsigned int level = 0; is_active; level++) {
		unsigned int n_bits = level == 0 ? 1 : LPM_STRIDE;

		is_active = false;
		for (unsigned int i = 0; i < n; i++) {
			if (idx[i] == 0)
				continue;
			idx[i] = lookup_step(lpm->base, idx[i],
				(unsigned int)(keys[i] >> (128 - n_bits)), &matches[i]);
			keys[i] <<= n_bits;
			if (idx[i] != 0) {
				rte_prefetch0(lpm_node_at(lpm->base, idx[i]));
				is_active = true;
			}
		}
	}
	for (unsigned int i = 0; i < n; i++)
		out_values[i] = match_value(&matches[i]);
}

void lpm_lookup4_bulk(
	const struct lpm *lpm, const rte_be32_t *addrs, unsigned int n, uint32_t *out_values)
{
	lpm_key keys[LPM_BULK_MAX];

	for (unsigned int i = 0; i < n; i++)
		keys[i] = (lpm_key)rte_be_to_cpu_32(addrs[i]) << 96;
	lookup_bulk(lpm, keys, n, out_values);
}

void lpm_lookup6_bulk(const struct lpm *lpm, const struct ip_addr *const *addrs, unsigned int n,
	uint32_t *out_values)
{
	lpm_key keys[LPM_BULK_MAX];

	for (unsigned int i = 0; i < n; i++)
		keys[i] = lpm_key_of(addrs[i], true);
	lookup_bulk(lpm, keys, n, out_values);
}

uint32_t lpm_find(const struct lpm *lpm, const struct ip_prefix *prefix)
{
	lpm_key key = lpm_key_of(&prefix->addr, lpm->is_v6);
	unsigned int level = lpm_level(prefix->len);
	uint32_t idx = rcu_deref(lpm->root);
	const struct lpm_node *n;
	unsigned int pos;

	if (!lpm_prefix_is_valid(lpm, prefix))
		return LPM_NONE;
	for (unsigned int k = 0; k < level && idx != 0; k++) {
		unsigned int chunk = lpm_chunk(key, k);

		n = lpm_node_at(lpm->base, idx);
		idx = (n->child >> chunk & 1) != 0 ? lpm_child_at(n, chunk) : 0;
	}
	if (idx == 0)
		return LPM_NONE;
	n = lpm_node_at(lpm->base, idx);
	pos = lpm_own_pos(lpm_chunk(key, level), lpm_rel_len(prefix->len));
	return (n->own >> pos & 1) != 0 ? lpm_value_at(n, pos) : LPM_NONE;
}

uint32_t lpm_covering(const struct lpm *lpm, const struct ip_prefix *prefix)
{
	lpm_key key = lpm_key_of(&prefix->addr, lpm->is_v6);
	unsigned int level = lpm_level(prefix->len);
	uint32_t idx = rcu_deref(lpm->root);
	struct match m = { .node = NULL };

	if (!lpm_prefix_is_valid(lpm, prefix))
		return LPM_NONE;
	for (unsigned int k = 0; k < level && idx != 0; k++)
		idx = lookup_step(lpm->base, idx, lpm_chunk(key, k), &m);
	if (idx != 0) {
		const struct lpm_node *n = lpm_node_at(lpm->base, idx);
		/* shorter ones have lower bits than any of this length */
		uint64_t shorter = (UINT64_C(1) << (1u << lpm_rel_len(prefix->len))) - 1;
		uint64_t own = n->own & lpm_cover_mask(lpm_chunk(key, level)) & shorter;

		if (own != 0)
			m = (struct match){ .node = n, .own = own };
	}
	return match_value(&m);
}

/* A place in the walk in order of address and length. */
struct walk {
	unsigned int level;
	unsigned int chunk; /* first chunk not yet done */
	/* own prefixes of that chunk from this length on; LPM_STRIDE: its child is next */
	unsigned int rel_len;
	unsigned int path_chunk[LPM_LEVELS_MAX];
	uint32_t path_idx[LPM_LEVELS_MAX];
};

static void walk_start_after(const struct lpm *lpm, const struct ip_prefix *after, struct walk *w)
{
	lpm_key key = lpm_key_of(&after->addr, lpm->is_v6);
	unsigned int level = lpm_level(after->len);

	for (w->level = 0;; w->level++) {
		const struct lpm_node *n = lpm_node_at(lpm->base, w->path_idx[w->level]);
		unsigned int chunk = lpm_chunk(key, w->level);

		w->chunk = w->path_chunk[w->level] = chunk;
		if (w->level == level) {
			w->rel_len = lpm_rel_len(after->len) + 1;
			return;
		}
		if ((n->child >> chunk & 1) == 0) {
			w->chunk++;
			return;
		}
		w->path_idx[w->level + 1] = lpm_child_at(n, chunk);
	}
}

static void walk_result(const struct lpm *lpm, const struct walk *w, unsigned int rel_len,
	struct ip_prefix *out_prefix, uint32_t *out_value)
{
	lpm_key key = (lpm_key)(w->level == 0 ? w->chunk : w->path_chunk[0]) << 127;

	if (out_value != NULL)
		*out_value = lpm_value_at(lpm_node_at(lpm->base, w->path_idx[w->level]),
			lpm_own_pos(w->chunk, rel_len));
	if (out_prefix == NULL)
		return;
	for (unsigned int k = 1; k <= w->level; k++)
		key |= (lpm_key)(k == w->level ? w->chunk : w->path_chunk[k]) << 122 >>
			(LPM_STRIDE * k - 5);
	out_prefix->len = (uint8_t)(LPM_STRIDE * w->level + rel_len - 5);
	if (lpm->is_v6) {
		out_prefix->addr.q[0] = rte_cpu_to_be_64((uint64_t)(key >> 64));
		out_prefix->addr.q[1] = rte_cpu_to_be_64((uint64_t)key);
	} else {
		out_prefix->addr = ip_from_v4(rte_cpu_to_be_32((uint32_t)(key >> 96)));
	}
}

/* The shortest own prefix of at least w->rel_len bits that starts exactly at w->chunk, or
 * LPM_STRIDE. */
static unsigned int walk_own(const struct lpm_node *n, const struct walk *w)
{
	unsigned int rel_len = w->rel_len;

	for (; rel_len < LPM_STRIDE; rel_len++)
		if ((w->chunk & ((1u << (LPM_STRIDE - rel_len)) - 1)) == 0 &&
			(n->own >> lpm_own_pos(w->chunk, rel_len) & 1) != 0)
			break;
	return rel_len;
}

bool lpm_next(const struct lpm *lpm, const struct ip_prefix *after, struct ip_prefix *out_prefix,
	uint32_t *out_value)
{
	struct walk w = { .level = 0 };

	w.path_idx[0] = rcu_deref(lpm->root);
	if (w.path_idx[0] == 0 || (after != NULL && !lpm_prefix_is_valid(lpm, after)))
		return false;
	if (after != NULL)
		walk_start_after(lpm, after, &w);
	for (;;) {
		const struct lpm_node *n = lpm_node_at(lpm->base, w.path_idx[w.level]);
		unsigned int rel_len;

		if (w.chunk == 64) {
			if (w.level == 0)
				return false;
			w.level--;
			w.chunk = w.path_chunk[w.level] + 1;
			w.rel_len = 0;
			continue;
		}
		rel_len = walk_own(n, &w);
		if (rel_len < LPM_STRIDE) {
			walk_result(lpm, &w, rel_len, out_prefix, out_value);
			return true;
		}
		w.path_chunk[w.level] = w.chunk;
		w.rel_len = 0;
		if ((n->child >> w.chunk & 1) != 0) {
			w.path_idx[w.level + 1] = lpm_child_at(n, w.chunk);
			w.level++;
			w.chunk = 0;
		} else {
			w.chunk++;
		}
	}
}
