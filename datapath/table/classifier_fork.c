/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's side of the two upper steps: forks, their children, and which lists name a set. */
#include <errno.h>
#include <stdlib.h>

#include "datapath/base/rcu.h"
#include "datapath/table/classifier_node.h"

struct step_level step_levels[LEVEL_N];

/* A list names a set, in some steps. */
struct set_use {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct set_use_key {
		uint32_t set;
		uint32_t list;
	} key;
	uint32_t n_refs;
	uint32_t next, prev; /* of the set */
};

static struct slots use_slots;
static struct chainmap use_map;
static uint32_t set_first_use[IPSET_MAX]; /* index + 1 */

static struct set_use *use_at(uint32_t idx)
{
	return slots_at(&use_slots, idx);
}

static int level_init(struct step_level *level, size_t size)
{
	int ret = slots_init(&level->slots, size, STEP_MAX);

	return ret < 0 ? ret
		       : chainmap_init(&level->map, &level->slots, offsetof(struct step, link),
				 offsetof(struct step, key), sizeof(struct step_key));
}

int fork_tables_init(void)
{
	if (level_init(&step_levels[LEVEL_SRC], sizeof(struct branch)) == 0 &&
		level_init(&step_levels[LEVEL_DST], sizeof(struct node)) == 0 &&
		slots_init(&use_slots, sizeof(struct set_use), STEP_MAX) == 0 &&
		chainmap_init(&use_map, &use_slots, offsetof(struct set_use, link),
			offsetof(struct set_use, key), sizeof(struct set_use_key)) == 0)
		return 0;
	return -ENOMEM;
}

void fork_tables_fini(void)
{
	const struct slots *nodes = &step_levels[LEVEL_DST].slots;

	for (uint32_t i = slots_next(nodes, 0); i != SLOT_NONE; i = slots_next(nodes, i + 1))
		free(node_at(i)->shapes);
	for (uint32_t i = slots_next(&use_slots, 0); i != SLOT_NONE;
		i = slots_next(&use_slots, i + 1))
		set_first_use[use_at(i)->key.set] = 0;
	for (unsigned int i = 0; i < LEVEL_N; i++) {
		chainmap_fini(&step_levels[i].map);
		slots_fini(&step_levels[i].slots);
	}
	chainmap_fini(&use_map);
	slots_fini(&use_slots);
}

bool fork_tables_have_room(uint32_t n_branches, uint32_t n_nodes)
{
	return slots_room(&step_levels[LEVEL_SRC].slots) >= n_branches &&
		slots_room(&step_levels[LEVEL_DST].slots) >= n_nodes &&
		slots_room(&use_slots) >= n_branches + n_nodes;
}

/* Which lists name a set */

static void use_get(uint32_t set, uint32_t list)
{
	struct set_use_key key = { .set = set, .list = list };
	uint32_t idx = chainmap_find(&use_map, &key);
	struct set_use *use;

	if (idx == SLOT_NONE) {
		idx = slots_alloc(&use_slots);
		use = use_at(idx);
		use->key = key;
		use->prev = SLOT_NONE;
		use->next = set_first_use[set] - 1; /* none: SLOT_NONE */
		if (use->next != SLOT_NONE)
			use_at(use->next)->prev = idx;
		set_first_use[set] = idx + 1;
		chainmap_insert(&use_map, idx);
	}
	use_at(idx)->n_refs++;
}

static void use_put(uint32_t set, uint32_t list)
{
	struct set_use_key key = { .set = set, .list = list };
	uint32_t idx = chainmap_find(&use_map, &key);
	struct set_use *use = use_at(idx);

	if (--use->n_refs > 0)
		return;
	if (use->next != SLOT_NONE)
		use_at(use->next)->prev = use->prev;
	if (use->prev != SLOT_NONE)
		use_at(use->prev)->next = use->next;
	else
		set_first_use[set] = use->next + 1;
	chainmap_remove(&use_map, idx);
	slots_free(&use_slots, idx);
}

void rulelist_foreach_of_set(uint32_t set, void (*fn)(void *arg, uint32_t list), void *arg)
{
	for (uint32_t idx = set_first_use[set] - 1; idx != SLOT_NONE; idx = use_at(idx)->next)
		fn(arg, use_at(idx)->key.list);
}

/* Forks */

void fork_init(struct fork *fork)
{
	for (unsigned int i = 0; i < FORK_LISTED; i++)
		atomic_init(&fork->listed[i], FORK_EMPTY);
	atomic_init(&fork->any, SLOT_NONE);
	atomic_init(&fork->first, SLOT_NONE);
}

static bool fork_list(struct fork *fork, struct step *step, uint32_t idx)
{
	for (unsigned int i = 0; i < FORK_LISTED; i++) {
		if (atomic_load_explicit(&fork->listed[i], memory_order_relaxed) != FORK_EMPTY)
			continue;
		step->is_listed = true;
		/* release: the child; pairs with the acquire in walk_listed() */
		atomic_store_explicit(&fork->listed[i], (uint64_t)step->key.set << 32 | idx,
			memory_order_release);
		return true;
	}
	return false;
}

static void fork_unlist(struct fork *fork, uint32_t idx)
{
	for (unsigned int i = 0; i < FORK_LISTED; i++)
		if ((uint32_t)atomic_load_explicit(&fork->listed[i], memory_order_relaxed) == idx)
			atomic_store_explicit(&fork->listed[i], FORK_EMPTY, memory_order_relaxed);
}

static void fork_n_unlisted_add(struct fork *fork, int n)
{
	/* release: pairs with the acquire in walk_start() */
	atomic_fetch_add_explicit(&fork->n_unlisted, (uint32_t)n, memory_order_release);
}

static void fork_add(struct fork *fork, const struct step_level *level, uint32_t idx)
{
	struct step *step = step_at(level, idx);
	uint32_t next = atomic_load_explicit(&fork->first, memory_order_relaxed);

	step->prev = SLOT_NONE;
	atomic_init(&step->next, next);
	if (next != SLOT_NONE)
		step_at(level, next)->prev = idx;
	atomic_store_explicit(&fork->first, idx, memory_order_release);
	if (step->key.set == IPSET_NONE)
		atomic_store_explicit(&fork->any, idx, memory_order_release);
	else if (!fork_list(fork, step, idx))
		fork_n_unlisted_add(fork, 1);
}

/* An unlisted child takes the place of one that went: of the first FORK_LISTED + 2 children one is neither listed nor for any. */
static void fork_refill(struct fork *fork, const struct step_level *level)
{
	uint32_t idx = fork->first;

	while (step_at(level, idx)->is_listed || step_at(level, idx)->key.set == IPSET_NONE)
		idx = step_at(level, idx)->next;
	fork_list(fork, step_at(level, idx), idx);
	fork_n_unlisted_add(fork, -1);
}

static void fork_del(struct fork *fork, const struct step_level *level, uint32_t idx)
{
	struct step *step = step_at(level, idx);
	uint32_t next = atomic_load_explicit(&step->next, memory_order_relaxed);

	if (next != SLOT_NONE)
		step_at(level, next)->prev = step->prev;
	/* release: pairs with the acquire in walk_start() and walk_children() */
	atomic_store_explicit(
		step->prev != SLOT_NONE ? &step_at(level, step->prev)->next : &fork->first, next,
		memory_order_release);
	if (step->key.set == IPSET_NONE)
		atomic_store_explicit(&fork->any, SLOT_NONE, memory_order_relaxed);
	else if (!step->is_listed)
		fork_n_unlisted_add(fork, -1);
	else {
		fork_unlist(fork, idx);
		if (fork->n_unlisted > 0)
			fork_refill(fork, level);
	}
}

/* Steps */

static struct fork *step_fork(unsigned int level, uint32_t parent)
{
	return level == LEVEL_SRC ? &rulelist_at(parent)->src : &branch_at(parent)->dst;
}

static uint32_t step_list(unsigned int level, uint32_t parent)
{
	return level == LEVEL_SRC ? parent : branch_at(parent)->step.key.parent;
}

static uint32_t step_get(unsigned int level_id, uint32_t parent, uint32_t set)
{
	struct step_level *level = &step_levels[level_id];
	struct step_key key = { .parent = parent, .set = set };
	uint32_t idx = chainmap_find(&level->map, &key);
	struct step *step;

	if (idx != SLOT_NONE) {
		step_at(level, idx)->n_refs++;
		return idx;
	}
	idx = slots_alloc(&level->slots);
	step = step_at(level, idx);
	step->key = key;
	step->n_refs = 1;
	atomic_init(&step->priority_min, UINT64_MAX);
	if (level_id == LEVEL_SRC)
		fork_init(&branch_at(idx)->dst);
	else
		branch_at(parent)->step.n_refs++;
	if (set != IPSET_NONE) {
		ipset_get(set);
		use_get(set, step_list(level_id, parent));
	}
	chainmap_insert(&level->map, idx);
	fork_add(step_fork(level_id, parent), level, idx);
	return idx;
}

/* Whether that was the last reference and the step is gone. */
static bool step_put(unsigned int level_id, uint32_t idx)
{
	struct step_level *level = &step_levels[level_id];
	struct step *step = step_at(level, idx);
	struct step_key key = step->key;

	if (--step->n_refs > 0)
		return false;
	fork_del(step_fork(level_id, key.parent), level, idx);
	chainmap_remove(&level->map, idx);
	if (key.set != IPSET_NONE) {
		use_put(key.set, step_list(level_id, key.parent));
		ipset_put(key.set);
	}
	if (level_id == LEVEL_DST && node_at(idx)->shapes != NULL)
		rcu_defer(free, node_at(idx)->shapes);
	slots_free(&level->slots, idx);
	return true;
}

uint32_t branch_get(uint32_t list, uint32_t src)
{
	return step_get(LEVEL_SRC, list, src);
}

void branch_put(uint32_t idx)
{
	step_put(LEVEL_SRC, idx);
}

uint32_t node_get(uint32_t branch, uint32_t dst)
{
	return step_get(LEVEL_DST, branch, dst);
}

void node_put(uint32_t idx)
{
	uint32_t branch = node_at(idx)->step.key.parent;

	if (step_put(LEVEL_DST, idx))
		step_put(LEVEL_SRC, branch);
}

static void step_priority_lower(struct step *step, uint64_t priority)
{
	if (priority < atomic_load_explicit(&step->priority_min, memory_order_relaxed))
		atomic_store_explicit(&step->priority_min, priority, memory_order_relaxed);
}

void node_priority_lower(uint32_t idx, uint64_t priority)
{
	struct step *step = &node_at(idx)->step;

	step_priority_lower(&branch_at(step->key.parent)->step, priority);
	step_priority_lower(step, priority);
}
