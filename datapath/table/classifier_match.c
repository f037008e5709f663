/* SPDX-License-Identifier: BSD-3-Clause */
/* The readers' half of classifier.h. */
#include "datapath/base/rcu.h"
#include "datapath/table/classifier_node.h"

#define SHAPES_BURST 16

struct match {
	struct rule_query *query;
	struct rule_rank after, best;
	uint32_t rule;
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
	struct rule_query_side *side;
	uint32_t parent;
	enum walk_mode mode;
	bool is_any_done;
	uint32_t at;
};

static void sign_add(uint64_t sign[2], unsigned int bit)
{
	sign[bit / 64] |= UINT64_C(1) << bit % 64;
}

void rule_query_init(struct rule_query *out_query, const struct rule_packet *pkt)
{
	const struct ip_addr *addrs[LEVEL_N] = { &pkt->src, &pkt->dst };

	out_query->pkt = pkt;
	out_query->port_sign[0] = UINT64_C(1) << FILTER_ANY;
	out_query->port_sign[1] = 0;
	if (pkt->has_ports)
		sign_add(out_query->port_sign, filter_bit(pkt->dport));
	for (unsigned int level = 0; level < LEVEL_N; level++) {
		struct rule_query_side *side = &out_query->side[level];

		side->addr = addrs[level];
		side->is_asked = side->is_known = side->is_cut = false;
		side->n = 0;
		side->sign[0] = UINT64_C(1) << FILTER_ANY;
		side->sign[1] = 0;
	}
}

static bool side_add(void *arg, uint32_t set)
{
	struct rule_query_side *side = arg;

	side->is_cut = side->n == QUERY_SETS_MAX;
	if (side->is_cut)
		return false;
	side->set[side->n++] = set;
	sign_add(side->sign, filter_bit(set));
	return true;
}

static void side_learn(struct rule_query_side *side, uint16_t zone)
{
	if (side->is_known)
		return;
	ipset_foreach(zone, side->addr, side_add, side);
	side->is_known = true;
	if (side->is_cut)
		side->sign[0] = side->sign[1] = UINT64_MAX;
}

static bool side_has(const struct rule_query_side *side, uint32_t set)
{
	if (!side->is_known || side->is_cut)
		return ipset_contains(set, side->addr);
	for (uint32_t i = 0; i < side->n; i++)
		if (side->set[i] == set)
			return true;
	return false;
}

static bool words_meet(const _Atomic uint64_t words[2], const uint64_t sign[2])
{
	return ((atomic_load_explicit(&words[0], memory_order_relaxed) & sign[0]) |
		       (atomic_load_explicit(&words[1], memory_order_relaxed) & sign[1])) != 0;
}

/* The sets of an address are looked up for the second list that needs them: one list asks more cheaply by itself. */
static bool filter_has_side(
	const struct list_filter *filter, struct rule_query *query, unsigned int level)
{
	struct rule_query_side *side = &query->side[level];

	if (words_meet(filter->set[level], side->sign))
		return true;
	if (side->is_known)
		return false;
	if (!side->is_asked) {
		side->is_asked = true;
		return true;
	}
	side_learn(side, query->pkt->zone);
	return words_meet(filter->set[level], side->sign);
}

static bool filter_passes(const struct list_filter *filter, struct rule_query *query)
{
	return words_meet(filter->port, query->port_sign) &&
		filter_has_side(filter, query, LEVEL_SRC) &&
		filter_has_side(filter, query, LEVEL_DST);
}

static void walk_start(struct walk *w, struct match *m, const struct fork *fork, uint32_t parent,
	unsigned int level)
{
	struct rule_query_side *side = &m->query->side[level];

	*w = (struct walk){
		.fork = fork, .level = &step_levels[level], .side = side, .parent = parent
	};
	/* acquire: when there are none, the listed ones are all; pairs with the
   * release in fork_add() and fork_del() */
	if (atomic_load_explicit(&fork->n_unlisted, memory_order_acquire) == 0)
		return;
	side_learn(side, m->query->pkt->zone);
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
			side_has(w->side, (uint32_t)(listed >> 32)))
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
	const struct rule_packet *pkt = m->query->pkt;
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

static uint32_t list_match(uint32_t list, struct rule_query *query, uint32_t after_rule)
{
	struct match m = { .query = query,
		.best = { .priority = UINT64_MAX, .age = UINT64_MAX },
		.rule = RULE_NONE };
	struct walk branches, nodes;
	uint32_t branch, node;

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

uint32_t rulelist_match(uint32_t list, struct rule_query *query, uint32_t after_rule)
{
	return filter_passes(&rulelist_at(list)->filter, query)
		? list_match(list, query, after_rule)
		: RULE_NONE;
}
