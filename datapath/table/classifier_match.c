/* SPDX-License-Identifier: BSD-3-Clause */
/* The readers' half of classifier.h. */
#include "datapath/base/rcu.h"
#include "datapath/table/classifier_node.h"

#define SIDE_SETS_MAX 128
#define SHAPES_BURST 16

/* One address of the packet, and the sets that hold it once somebody asked. */
struct side {
	const struct ip_addr *addr;
	bool is_known;
	bool is_cut; /* there are more than SIDE_SETS_MAX */
	uint32_t n;
	uint32_t set[SIDE_SETS_MAX];
};

struct match {
	const struct rule_packet *pkt;
	struct rule_rank after, best;
	uint32_t rule;
	struct side side[LEVEL_N];
};

enum walk_mode {
	WALK_LISTED,   /* few children: ask their sets */
	WALK_SETS,     /* few sets: look for their children */
	WALK_CHILDREN, /* many of both: ask all children */
};

/* Children of a fork that the address may go to. */
struct walk {
	const struct fork *fork;
	const struct step_level *level;
	struct side *side;
	uint32_t parent;
	enum walk_mode mode;
	bool is_any_done;
	uint32_t at;
};

static bool side_add(void *arg, uint32_t set)
{
	struct side *side = arg;

	side->is_cut = side->n == SIDE_SETS_MAX;
	if (!side->is_cut)
		side->set[side->n++] = set;
	return !side->is_cut;
}

static void walk_start(struct walk *w, struct match *m, const struct fork *fork, uint32_t parent,
	unsigned int level)
{
	struct side *side = &m->side[level];

	*w = (struct walk){
		.fork = fork, .level = &step_levels[level], .side = side, .parent = parent
	};
	/* acquire: when there are none, the listed ones are all; pairs with the
   * release in fork_add() and fork_del() */
	if (atomic_load_explicit(&fork->n_unlisted, memory_order_acquire) == 0)
		return;
	if (!side->is_known) {
		ipset_foreach(m->pkt->zone, side->addr, side_add, side);
		side->is_known = true;
	}
	if (side->is_cut) {
		w->mode = WALK_CHILDREN;
		w->at = atomic_load_explicit(&fork->first, memory_order_acquire);
		return;
	}
	w->mode = WALK_SETS;
	for (uint32_t i = 0; i < side->n; i++) {
		struct step_key key = { .parent = parent, .set = side->set[i] };

		chainmap_prefetch(&w->level->map, chainmap_hash(&w->level->map, &key));
	}
}

/* Whether a rule below the child can still come before the best one so far. */
static bool is_worth(const struct walk *w, const struct match *m, uint32_t child)
{
	return atomic_load_explicit(&step_at(w->level, child)->priority_min,
		       memory_order_relaxed) <= m->best.priority;
}

static uint32_t walk_listed(struct walk *w, const struct match *m)
{
	while (w->at < FORK_LISTED) {
		uint64_t listed = atomic_load_explicit(
			&w->fork->listed[w->at++], memory_order_acquire);

		if (listed != FORK_EMPTY && is_worth(w, m, (uint32_t)listed) &&
			ipset_contains((uint32_t)(listed >> 32), w->side->addr))
			return (uint32_t)listed;
	}
	return SLOT_NONE;
}

static uint32_t walk_sets(struct walk *w, const struct match *m)
{
	while (w->at < w->side->n) {
		struct step_key key = { .parent = w->parent, .set = w->side->set[w->at++] };
		uint32_t child = chainmap_find(&w->level->map, &key);

		if (child != SLOT_NONE && is_worth(w, m, child))
			return child;
	}
	return SLOT_NONE;
}

static uint32_t walk_children(struct walk *w, const struct match *m)
{
	while (w->at != SLOT_NONE) {
		uint32_t child = w->at;
		const struct step *step = step_at(w->level, child);

		w->at = atomic_load_explicit(&step->next, memory_order_acquire);
		if (step->key.set != IPSET_NONE && is_worth(w, m, child) &&
			ipset_contains(step->key.set, w->side->addr))
			return child;
	}
	return SLOT_NONE;
}

static uint32_t walk_next(struct walk *w, const struct match *m)
{
	if (!w->is_any_done) {
		/* acquire: pairs with the release in fork_add() */
		uint32_t any = atomic_load_explicit(&w->fork->any, memory_order_acquire);

		w->is_any_done = true;
		if (any != SLOT_NONE && is_worth(w, m, any))
			return any;
	}
	switch (w->mode) {
	case WALK_LISTED:
		return walk_listed(w, m);
	case WALK_SETS:
		return walk_sets(w, m);
	default:
		return walk_children(w, m);
	}
}

/* The first rule of an entry that comes after m->after. */
static void entry_match(struct match *m, const struct entry *entry)
{
	/* acquire: pairs with the releases in item_link() */
	uint32_t idx = atomic_load_explicit(&entry->first, memory_order_acquire);

	while (idx != SLOT_NONE) {
		const struct item *item = item_at(idx);

		if (!rank_less(item->rank, m->best))
			return;
		if (rank_less(m->after, item->rank)) {
			m->best = item->rank;
			m->rule = item->rule;
			return;
		}
		idx = atomic_load_explicit(&item->next, memory_order_acquire);
	}
}

static struct entry_key shape_key(
	const struct shape *s, uint32_t node, const struct rule_packet *pkt)
{
	return (struct entry_key){ .node = node,
		.sport = port_masked(pkt->sport, s->slen),
		.dport = port_masked(pkt->dport, s->dlen),
		.slen = s->slen,
		.dlen = s->dlen,
		.has_proto = s->has_proto,
		.proto = s->has_proto ? pkt->proto : 0 };
}

/* Up to SHAPES_BURST shapes from *i on that can still win, their chains on the
 * way into the cache. Their number. */
static unsigned int shapes_prefetch(const struct match *m, const struct shapes *shapes,
	uint32_t node, uint32_t *i, struct entry_key *keys, uint64_t *hashes)
{
	const struct rule_packet *pkt = m->pkt;
	unsigned int n = 0;

	for (; *i < shapes->n && n < SHAPES_BURST; (*i)++) {
		const struct shape *s = &shapes->shape[*i];

		if (s->priority_min > m->best.priority)
			return n;
		if (!pkt->has_ports && (s->slen != PORT_LEN_ANY || s->dlen != PORT_LEN_ANY))
			continue;
		keys[n] = shape_key(s, node, pkt);
		hashes[n] = chainmap_hash(&entry_map, &keys[n]);
		chainmap_prefetch(&entry_map, hashes[n]);
		n++;
	}
	return n;
}

static void node_match(struct match *m, uint32_t node)
{
	const struct shapes *shapes = rcu_deref(node_at(node)->shapes);
	struct entry_key keys[SHAPES_BURST];
	uint64_t hashes[SHAPES_BURST];
	uint32_t i = 0;
	unsigned int n;

	if (shapes == NULL)
		return;
	while ((n = shapes_prefetch(m, shapes, node, &i, keys, hashes)) > 0) {
		for (unsigned int k = 0; k < n; k++) {
			uint32_t entry = chainmap_find_hashed(&entry_map, &keys[k], hashes[k]);

			if (entry != SLOT_NONE)
				entry_match(m, entry_at(entry));
		}
	}
}

uint32_t rulelist_match(uint32_t list, const struct rule_packet *pkt, uint32_t after_rule)
{
	struct walk branches, nodes;
	uint32_t branch, node;
	struct match m;

	m.pkt = pkt;
	m.rule = RULE_NONE;
	m.best = (struct rule_rank){ .priority = UINT64_MAX, .age = UINT64_MAX };
	m.after = (struct rule_rank){ 0 };
	for (unsigned int level = 0; level < LEVEL_N; level++) {
		m.side[level].addr = level == LEVEL_SRC ? &pkt->src : &pkt->dst;
		m.side[level].is_known = m.side[level].is_cut = false;
		m.side[level].n = 0;
	}
	if (after_rule != RULE_NONE)
		m.after = (struct rule_rank){ .priority = rule_at(after_rule)->priority,
			.age = rule_at(after_rule)->age };
	walk_start(&branches, &m, &rulelist_at(list)->src, list, LEVEL_SRC);
	while ((branch = walk_next(&branches, &m)) != SLOT_NONE) {
		walk_start(&nodes, &m, &branch_at(branch)->dst, branch, LEVEL_DST);
		while ((node = walk_next(&nodes, &m)) != SLOT_NONE)
			node_match(&m, node);
	}
	return m.rule;
}
