/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's half of classifier.h: lists, rules, and what a node holds. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/rcu.h"
#include "datapath/table/classifier_node.h"

struct slots rule_slots, rulelist_slots, entry_slots, item_slots;
struct chainmap entry_map;
static uint64_t n_rules_made; /* the age of the next rule is one more */

int classifier_init(void)
{
	if (slots_init(&rule_slots, sizeof(struct rule), RULE_MAX) == 0 &&
		slots_init(&rulelist_slots, sizeof(struct rulelist), RULELIST_MAX) == 0 &&
		slots_init(&entry_slots, sizeof(struct entry), ENTRY_MAX) == 0 &&
		slots_init(&item_slots, sizeof(struct item), ENTRY_MAX) == 0 &&
		chainmap_init(&entry_map, &entry_slots, offsetof(struct entry, link),
			offsetof(struct entry, key), sizeof(struct entry_key)) == 0 &&
		fork_tables_init() == 0)
		return 0;
	classifier_fini();
	return -ENOMEM;
}

void classifier_fini(void)
{
	rcu_synchronize();
	fork_tables_fini();
	chainmap_fini(&entry_map);
	slots_fini(&item_slots);
	slots_fini(&entry_slots);
	slots_fini(&rulelist_slots);
	slots_fini(&rule_slots);
}

/* Shapes of a node */

static bool shape_is(const struct shape *s, const struct entry_key *key)
{
	return s->slen == key->slen && s->dlen == key->dlen && s->has_proto == key->has_proto;
}

static struct shape *shape_find(const struct node *node, const struct entry_key *key)
{
	struct shapes *shapes = node->shapes;

	for (uint32_t i = 0; shapes != NULL && i < shapes->n; i++)
		if (shape_is(&shapes->shape[i], key))
			return &shapes->shape[i];
	return NULL;
}

static int shape_cmp(const void *a, const void *b)
{
	const struct shape *x = a, *y = b;

	return x->priority_min < y->priority_min ? -1 : x->priority_min > y->priority_min;
}

/* Publishes the shapes that have entries, and that of `added` (may be NULL), in order. 0 or -ENOMEM: nothing changed. */
static int shapes_replace(struct node *node, const struct shape *added)
{
	struct shapes *old = node->shapes, *s;
	uint32_t n_old = old != NULL ? old->n : 0;

	s = malloc(sizeof(*s) + (n_old + 1) * sizeof(s->shape[0]));
	if (s == NULL)
		return -ENOMEM;
	s->n = 0;
	for (uint32_t i = 0; i < n_old; i++)
		if (old->shape[i].n_entries > 0)
			s->shape[s->n++] = old->shape[i];
	if (added != NULL)
		s->shape[s->n++] = *added;
	qsort(s->shape, s->n, sizeof(s->shape[0]), shape_cmp);
	rcu_assign(node->shapes, s);
	if (old != NULL)
		rcu_defer(free, old);
	return 0;
}

/* Makes sure that readers look for entries of this shape as early as a rule of this priority asks for. 0 or -ENOMEM. */
static int shape_ensure(struct node *node, const struct entry_key *key, uint64_t priority)
{
	struct shape *old = shape_find(node, key);
	struct shape s = { .slen = key->slen,
		.dlen = key->dlen,
		.has_proto = key->has_proto,
		.priority_min = priority };
	uint32_t n_entries;
	int ret;

	if (old == NULL || old->n_entries == 0)
		return shapes_replace(node, &s);
	if (old->priority_min <= priority)
		return 0;
	s.n_entries = n_entries = old->n_entries;
	old->n_entries = 0; /* left out in favour of s */
	ret = shapes_replace(node, &s);
	if (ret < 0)
		old->n_entries = n_entries;
	return ret;
}

static void shape_put(struct node *node, const struct entry_key *key)
{
	if (--shape_find(node, key)->n_entries == 0 && node->shapes->n > 1)
		/* Without memory readers look for it in vain until the next change. */
		(void)shapes_replace(node, NULL);
}

/* Items: rules in entries */

/* Behind the last item that comes before it. Rules mostly come in ascending or descending order: from the end, but for a new first. */
static void item_link(struct entry *entry, uint32_t idx)
{
	struct item *item = item_at(idx);
	uint32_t first = atomic_load_explicit(&entry->first, memory_order_relaxed);
	uint32_t prev = entry->last, next;

	if (first != SLOT_NONE && rank_less(item->rank, item_at(first)->rank))
		prev = SLOT_NONE;
	while (prev != SLOT_NONE && rank_less(item->rank, item_at(prev)->rank))
		prev = item_at(prev)->prev;
	next = prev != SLOT_NONE ? item_at(prev)->next : first;
	item->prev = prev;
	atomic_init(&item->next, next);
	if (next != SLOT_NONE)
		item_at(next)->prev = idx;
	else
		entry->last = idx;
	/* release: the whole item; pairs with the acquires in entry_match() */
	atomic_store_explicit(prev != SLOT_NONE ? &item_at(prev)->next : &entry->first, idx,
		memory_order_release);
}

static void item_unlink(struct entry *entry, uint32_t idx)
{
	const struct item *item = item_at(idx);
	uint32_t next = atomic_load_explicit(&item->next, memory_order_relaxed);

	if (next != SLOT_NONE)
		item_at(next)->prev = item->prev;
	else
		entry->last = item->prev;
	/* release: a reader that goes past sees whole items; pairs with the acquires in entry_match() */
	atomic_store_explicit(item->prev != SLOT_NONE ? &item_at(item->prev)->next : &entry->first,
		next, memory_order_release);
}

static uint32_t entry_create(const struct entry_key *key)
{
	uint32_t idx = slots_alloc(&entry_slots);
	struct entry *entry = entry_at(idx);

	entry->key = *key;
	atomic_init(&entry->first, SLOT_NONE);
	entry->last = SLOT_NONE;
	chainmap_insert(&entry_map, idx);
	shape_find(node_at(key->node), key)->n_entries++;
	return idx;
}

static int item_add(uint32_t rule_idx, const struct entry_key *key)
{
	struct rule *rule = rule_at(rule_idx);
	struct node *node = node_at(key->node);
	struct rulelist *list;
	struct item *item;
	uint32_t entry, idx;
	int ret = shape_ensure(node, key, rule->priority);

	if (ret < 0)
		return ret;
	node_priority_lower(key->node, rule->priority);
	list = rulelist_at(rule->list);
	list->n_items++;
	filter_add(list, branch_at(node->step.key.parent)->step.key.set, node->step.key.set, key);
	entry = chainmap_find(&entry_map, key);
	if (entry == SLOT_NONE)
		entry = entry_create(key);
	idx = slots_alloc(&item_slots);
	item = item_at(idx);
	item->rule = rule_idx;
	item->entry = entry;
	item->rank = (struct rule_rank){ .priority = rule->priority, .age = rule->age };
	item->next_of_rule = rule->first_item;
	rule->first_item = idx;
	node->step.n_refs++;
	item_link(entry_at(entry), idx);
	return 0;
}

static void item_del(uint32_t idx)
{
	uint32_t entry_idx = item_at(idx)->entry;
	struct entry *entry = entry_at(entry_idx);
	uint32_t node = entry->key.node;

	item_unlink(entry, idx);
	if (entry->last == SLOT_NONE) {
		chainmap_remove(&entry_map, entry_idx);
		shape_put(node_at(node), &entry->key);
		slots_free(&entry_slots, entry_idx);
	}
	slots_free(&item_slots, idx);
	node_put(node);
}

/* Rules */

struct port_pairs {
	unsigned int n_sport, n_dport;
	struct port_prefix sport[PORT_PREFIXES_MAX], dport[PORT_PREFIXES_MAX];
};

static bool ranges_are_valid(const struct port_range *r, unsigned int n)
{
	for (unsigned int i = 0; i < n && i < RULE_PORTS_MAX; i++)
		if (r[i].lo > r[i].hi)
			return false;
	return n <= RULE_PORTS_MAX;
}

static bool sets_are_valid(uint16_t zone, const uint32_t *sets, unsigned int n)
{
	for (unsigned int i = 0; i < n && i < RULE_SETS_MAX; i++)
		if (!ipset_is_in_zone(sets[i], zone))
			return false;
	return n <= RULE_SETS_MAX;
}

static bool config_is_valid(uint16_t zone, const struct rule_config *cfg)
{
	return cfg->action < RULE_ACTION_N && sets_are_valid(zone, cfg->src, cfg->n_src) &&
		sets_are_valid(zone, cfg->dst, cfg->n_dst) &&
		ranges_are_valid(cfg->sport, cfg->n_sport) &&
		ranges_are_valid(cfg->dport, cfg->n_dport);
}

static int items_add_node(
	uint32_t rule, uint32_t node, const struct rule_config *cfg, const struct port_pairs *ports)
{
	int ret = 0;

	for (unsigned int i = 0; i < ports->n_sport && ret == 0; i++) {
		for (unsigned int k = 0; k < ports->n_dport && ret == 0; k++) {
			struct entry_key key = { .node = node,
				.sport = ports->sport[i].port,
				.dport = ports->dport[k].port,
				.slen = ports->sport[i].len,
				.dlen = ports->dport[k].len,
				.has_proto = cfg->has_proto,
				.proto = cfg->has_proto ? cfg->proto : 0 };

			ret = item_add(rule, &key);
		}
	}
	return ret;
}

/* All combinations of sets; none is one alternative, any. */
static int items_add(uint32_t rule, const struct rule_config *cfg, const struct port_pairs *ports)
{
	int ret = 0;

	for (unsigned int i = 0; i < RTE_MAX(cfg->n_src, 1) && ret == 0; i++) {
		uint32_t src = cfg->n_src > 0 ? cfg->src[i] : IPSET_NONE;
		uint32_t branch = branch_get(rule_at(rule)->list, src);

		for (unsigned int k = 0; k < RTE_MAX(cfg->n_dst, 1) && ret == 0; k++) {
			uint32_t dst = cfg->n_dst > 0 ? cfg->dst[k] : IPSET_NONE;
			uint32_t node = node_get(branch, dst);

			ret = items_add_node(rule, node, cfg, ports);
			node_put(node);
		}
		branch_put(branch);
	}
	return ret;
}

static void items_del(struct rule *rule)
{
	while (rule->first_item != SLOT_NONE) {
		uint32_t idx = rule->first_item;

		rule->first_item = item_at(idx)->next_of_rule;
		item_del(idx);
		rulelist_at(rule->list)->n_items--;
	}
}

static void rule_link(struct rulelist *list, uint32_t idx)
{
	struct rule *rule = rule_at(idx);

	rule->prev = RULE_NONE;
	rule->next = list->first_rule;
	if (rule->next != RULE_NONE)
		rule_at(rule->next)->prev = idx;
	list->first_rule = idx;
	list->n_rules++;
	gen_touch(&list->gen);
}

static void rule_unlink(struct rulelist *list, uint32_t idx)
{
	const struct rule *rule = rule_at(idx);

	if (rule->next != RULE_NONE)
		rule_at(rule->next)->prev = rule->prev;
	if (rule->prev != RULE_NONE)
		rule_at(rule->prev)->next = rule->next;
	else
		list->first_rule = rule->next;
	list->n_rules--;
	gen_touch(&list->gen);
}

/* Whether a rule of so many combinations fits: then readers see nothing of one that does not. */
static int room_check(const struct rule_config *cfg, const struct port_pairs *ports)
{
	uint32_t n_src = RTE_MAX(cfg->n_src, 1), n_nodes = n_src * RTE_MAX(cfg->n_dst, 1);
	uint64_t n_items = (uint64_t)n_nodes * ports->n_sport * ports->n_dport;

	if (n_items > RULE_ENTRIES_MAX)
		return -E2BIG;
	if (slots_room(&rule_slots) == 0 || slots_room(&item_slots) < n_items ||
		slots_room(&entry_slots) < n_items || !fork_tables_have_room(n_src, n_nodes))
		return -ENOSPC;
	return 0;
}

int rule_add(uint32_t list, const struct rule_config *cfg, uint32_t *out_rule)
{
	struct port_pairs ports;
	struct rule *rule;
	uint32_t idx;
	int ret;

	if (!config_is_valid(rulelist_at(list)->zone, cfg))
		return -EINVAL;
	ports.n_sport = port_prefixes(cfg->sport, cfg->n_sport, ports.sport);
	ports.n_dport = port_prefixes(cfg->dport, cfg->n_dport, ports.dport);
	ret = room_check(cfg, &ports);
	if (ret < 0)
		return ret;
	idx = slots_alloc(&rule_slots);
	rule = rule_at(idx);
	rule->list = list;
	rule->priority = cfg->priority;
	rule->age = cfg->age != 0 ? cfg->age : ++n_rules_made;
	rule->arg = cfg->arg;
	rule->action = cfg->action;
	rule->flags = cfg->flags;
	rule->first_item = SLOT_NONE;
	ret = items_add(idx, cfg, &ports);
	if (ret < 0) {
		items_del(rule);
		slots_free(&rule_slots, idx);
		return -ENOSPC;
	}
	rule_link(rulelist_at(list), idx);
	*out_rule = idx;
	return 0;
}

static void rule_drop(struct rulelist *list, uint32_t idx)
{
	items_del(rule_at(idx));
	rule_unlink(list, idx);
	slots_free(&rule_slots, idx);
}

void rule_del(uint32_t idx)
{
	struct rulelist *list = rulelist_at(rule_at(idx)->list);

	rule_drop(list, idx);
	filter_rule_gone(list);
}

/* Lists */

uint32_t rulelist_create(uint16_t zone)
{
	uint32_t idx = slots_alloc(&rulelist_slots);
	struct rulelist *list;

	if (idx == SLOT_NONE)
		return RULELIST_NONE;
	list = rulelist_at(idx);
	list->zone = zone;
	list->first_rule = RULE_NONE;
	fork_init(&list->src);
	return idx;
}

void rulelist_destroy(uint32_t idx)
{
	struct rulelist *list = rulelist_at(idx);

	while (list->first_rule != RULE_NONE)
		rule_drop(list, list->first_rule);
	slots_free(&rulelist_slots, idx);
}

uint32_t rulelist_n_rules(uint32_t list)
{
	return rulelist_at(list)->n_rules;
}
