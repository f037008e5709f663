/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/lpm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/rcu.h"
#include "datapath/table/lpm_node.h"

/* Retired nodes freed by each update: more than one update retires, so that a backlog shrinks. */
#define UPDATE_RECYCLE_MAX 48

enum lpm_op { LPM_OP_ADD, LPM_OP_REPLACE, LPM_OP_DEL };

/* One change of a node: how its slots differ from those of the old node, which may be NULL. */
struct node_edit {
	uint64_t own, child; /* maps of the new node */
	unsigned int at;     /* slot concerned */
	bool is_removed;     /* the old node's slot `at` goes */
	bool is_inserted;    /* `slot` comes there */
	uint32_t slot;
};

/* The way from the root to where a prefix belongs. */
struct lpm_path {
	unsigned int level; /* of the node that holds the prefix */
	unsigned int pos;   /* bit in that node's `own` */
	unsigned int chunk[LPM_LEVELS_MAX];
	uint32_t idx[LPM_LEVELS_MAX]; /* 0 from where there is no node */
};

struct lpm *lpm_create(struct lpm_arena *arena, bool is_v6)
{
	struct lpm *lpm = calloc(1, sizeof(*lpm));

	if (lpm == NULL)
		return NULL;
	lpm->is_v6 = is_v6;
	lpm->arena = arena;
	lpm->base = arena->vmem.base;
	arena->n_tries++;
	return lpm;
}

/* Frees a whole trie, depth first, with the way down on a stack. */
static void nodes_free(struct lpm_arena *arena, uint32_t root)
{
	uint32_t stack[LPM_LEVELS_MAX];
	unsigned int next[LPM_LEVELS_MAX];
	int depth = 0;

	stack[0] = root;
	next[0] = 0;
	while (depth >= 0) {
		const struct lpm_node *n = lpm_node_at(arena->vmem.base, stack[depth]);

		if (next[depth] < lpm_node_children(n)) {
			uint32_t child = n->slot[next[depth]++];

			depth++;
			stack[depth] = child;
			next[depth] = 0;
		} else {
			lpm_node_free(arena, stack[depth--]);
		}
	}
}

void lpm_destroy(struct lpm *lpm)
{
	uint32_t root;

	if (lpm == NULL)
		return;
	root = atomic_load_explicit(&lpm->root, memory_order_relaxed);
	if (root != 0)
		nodes_free(lpm->arena, root);
	lpm->arena->n_tries--;
	free(lpm);
}

bool lpm_prefix_is_valid(const struct lpm *lpm, const struct ip_prefix *prefix)
{
	lpm_key key = lpm_key_of(&prefix->addr, lpm->is_v6);

	if (ip_is_v4(&prefix->addr) == lpm->is_v6 || prefix->len > (lpm->is_v6 ? 128 : 32))
		return false;
	return prefix->len == 128 || key << prefix->len == 0;
}

static void path_find(const struct lpm *lpm, const struct ip_prefix *prefix, struct lpm_path *path)
{
	lpm_key key = lpm_key_of(&prefix->addr, lpm->is_v6);
	uint32_t idx = atomic_load_explicit(&lpm->root, memory_order_relaxed);

	path->level = lpm_level(prefix->len);
	for (unsigned int k = 0; k <= path->level; k++) {
		unsigned int chunk = lpm_chunk(key, k);
		const struct lpm_node *n;

		path->chunk[k] = chunk;
		path->idx[k] = idx;
		if (idx == 0)
			continue;
		n = lpm_node_at(lpm->base, idx);
		idx = (n->child >> chunk & 1) != 0 ? lpm_child_at(n, chunk) : 0;
	}
	path->pos = lpm_own_pos(path->chunk[path->level], lpm_rel_len(prefix->len));
}

static const struct lpm_node *path_node(
	const struct lpm *lpm, const struct lpm_path *path, unsigned int level)
{
	return path->idx[level] == 0 ? NULL : lpm_node_at(lpm->base, path->idx[level]);
}

/* A copy of old with the edit, in *out; 0 there if nothing would be left in it. 0 or -ENOMEM. */
static int node_copy(struct lpm_arena *arena, const struct lpm_node *old, const struct node_edit *e,
	bool is_del, uint32_t *out)
{
	unsigned int n_old = old == NULL ? 0 : lpm_node_slots(old);
	unsigned int n_new = n_old - e->is_removed + e->is_inserted;
	unsigned int to = e->at + e->is_inserted, from = e->at + e->is_removed;
	struct lpm_node *n;

	*out = 0;
	if (n_new == 0)
		return 0;
	*out = lpm_node_alloc(arena, n_new, is_del);
	if (*out == 0)
		return -ENOMEM;
	n = (struct lpm_node *)(arena->vmem.base + (size_t)*out * LPM_GRANULE_BYTES);
	n->own = e->own;
	n->child = e->child;
	if (old != NULL)
		memcpy(n->slot, old->slot, e->at * sizeof(n->slot[0]));
	if (e->is_inserted)
		n->slot[e->at] = e->slot;
	if (n_new > to)
		memcpy(&n->slot[to], &old->slot[from], (n_new - to) * sizeof(n->slot[0]));
	return 0;
}

/* The edit of the prefix's own node. */
static struct node_edit value_edit(
	const struct lpm_node *old, unsigned int pos, enum lpm_op op, uint32_t value)
{
	uint64_t bit = UINT64_C(1) << pos;
	struct node_edit e = {
		.is_removed = op != LPM_OP_ADD, .is_inserted = op != LPM_OP_DEL, .slot = value
	};

	if (old != NULL) {
		e.own = old->own;
		e.child = old->child;
		e.at = lpm_node_children(old) + lpm_rank(old->own, pos);
	}
	e.own = e.is_inserted ? e.own | bit : e.own & ~bit;
	return e;
}

/* The edit of a node above: its child at chunk becomes `child`, or goes if that is 0. */
static struct node_edit child_edit(const struct lpm_node *old, unsigned int chunk, uint32_t child)
{
	uint64_t bit = UINT64_C(1) << chunk;
	struct node_edit e = { .is_inserted = child != 0, .slot = child };

	if (old != NULL) {
		e.own = old->own;
		e.child = old->child;
		e.at = lpm_rank(old->child, chunk);
		e.is_removed = (old->child & bit) != 0;
	}
	e.child = e.is_inserted ? e.child | bit : e.child & ~bit;
	return e;
}

/* Copies the path with the change and publishes it. 0, or -ENOMEM with nothing changed. */
static int path_publish(
	struct lpm *lpm, const struct lpm_path *path, enum lpm_op op, uint32_t value)
{
	struct lpm_arena *arena = lpm->arena;
	uint32_t fresh[LPM_LEVELS_MAX];
	uint32_t idx = 0;

	lpm_arena_recycle(arena, UPDATE_RECYCLE_MAX);
	if (grace_reserve(&arena->grace, path->level + 1) != 0)
		return -ENOMEM;
	for (unsigned int k = path->level + 1; k-- > 0;) {
		const struct lpm_node *old = path_node(lpm, path, k);
		struct node_edit e = k == path->level ? value_edit(old, path->pos, op, value)
						      : child_edit(old, path->chunk[k], idx);

		if (node_copy(arena, old, &e, op == LPM_OP_DEL, &idx) != 0) {
			while (++k <= path->level)
				if (fresh[k] != 0)
					lpm_node_free(arena, fresh[k]);
			grace_close(&arena->grace); /* a retry may find what waits */
			return -ENOMEM;
		}
		fresh[k] = idx;
	}
	/* release: a reader that sees the root sees the nodes; pairs with the acquire in
	 * lpm_lookup*() */
	atomic_store_explicit(&lpm->root, idx, memory_order_release);
	for (unsigned int k = 0; k <= path->level && path->idx[k] != 0; k++)
		lpm_node_retire(arena, path->idx[k]);
	return 0;
}

/* The value at the end of the path, or LPM_NONE. */
static uint32_t path_value(const struct lpm *lpm, const struct lpm_path *path)
{
	const struct lpm_node *n = path_node(lpm, path, path->level);

	return n != NULL && (n->own >> path->pos & 1) != 0 ? lpm_value_at(n, path->pos) : LPM_NONE;
}

static int update(struct lpm *lpm, const struct ip_prefix *prefix, enum lpm_op op, uint32_t value,
	uint32_t *out_old)
{
	struct lpm_path path;
	uint32_t old;
	int rc;

	if (!lpm_prefix_is_valid(lpm, prefix) || (op != LPM_OP_DEL && value == LPM_NONE))
		return -EINVAL;
	path_find(lpm, prefix, &path);
	old = path_value(lpm, &path);
	if ((old != LPM_NONE) == (op == LPM_OP_ADD))
		return op == LPM_OP_ADD ? -EEXIST : -ENOENT;
	rc = path_publish(lpm, &path, op, value);
	if (rc == 0 && out_old != NULL)
		*out_old = old;
	return rc;
}

int lpm_add(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t value)
{
	int rc = update(lpm, prefix, LPM_OP_ADD, value, NULL);

	if (rc == 0)
		lpm->n_prefixes++;
	return rc;
}

int lpm_replace(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t value, uint32_t *out_old)
{
	return update(lpm, prefix, LPM_OP_REPLACE, value, out_old);
}

int lpm_del(struct lpm *lpm, const struct ip_prefix *prefix, uint32_t *out_old)
{
	int rc = update(lpm, prefix, LPM_OP_DEL, LPM_NONE, out_old);

	if (rc == 0)
		lpm->n_prefixes--;
	return rc;
}

size_t lpm_count(const struct lpm *lpm)
{
	return lpm->n_prefixes;
}
