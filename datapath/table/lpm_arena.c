/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/table/lpm_node.h"

#define ARENA_BYTES_MIN ((size_t)1 << 20)
#define ARENA_BYTES_MAX ((size_t)32 << 30) /* 2^32 granules */
/* One control-loop turn: nodes recycled (a cache miss each), and steps of pages given back
 * (about 0.1 ms each). */
#define POLL_NODES_MAX 4096
#define POLL_STEPS_MAX 2
/* Kept for deletes, which copy nodes too: a full table must be able to shrink. */
#define DEL_BYTES ((size_t)512 << 10)
/* Lasting need of one update: a node that outgrows its size and a chain from it down to a host
 * route. What an update copies besides comes back with the next grace period; COPIES_BYTES is
 * for those that have not come back yet. */
#define UPDATE_BYTES_MAX ((size_t)LPM_NODE_BYTES_MAX + (size_t)24 * LPM_LEVELS_MAX)
#define COPIES_BYTES ((size_t)16 << 20)

/* Node sizes: at most an eighth to a fifth is lost to rounding. */
static const uint16_t class_bytes[LPM_N_CLASSES] = { 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160,
	192, 224, 256, 320, 384, 448, LPM_NODE_BYTES_MAX };

static unsigned int class_of_bytes(size_t bytes)
{
	unsigned int c = 0;

	if (bytes <= 64)
		return bytes <= 24 ? 0 : (unsigned int)(bytes - 24 + 7) / 8;
	for (c = 6; class_bytes[c] < bytes; c++)
		;
	return c;
}

static unsigned int class_of_slots(unsigned int n_slots)
{
	return class_of_bytes(sizeof(struct lpm_node) + n_slots * sizeof(uint32_t));
}

static void *granule_at(const struct lpm_arena *arena, uint32_t idx)
{
	return arena->vmem.base + (size_t)idx * LPM_GRANULE_BYTES;
}

static void free_list_push(struct lpm_arena *arena, unsigned int class, uint32_t idx)
{
	*(uint32_t *)granule_at(arena, idx) = arena->free_head[class];
	arena->free_head[class] = idx;
	arena->free_bytes += class_bytes[class];
}

static uint32_t free_list_pop(struct lpm_arena *arena, unsigned int class)
{
	uint32_t idx = arena->free_head[class];

	arena->free_head[class] = *(const uint32_t *)granule_at(arena, idx);
	arena->free_bytes -= class_bytes[class];
	return idx;
}

static void arena_reset(struct lpm_arena *arena)
{
	arena->bump = 1; /* index 0 means "no node" */
	arena->free_bytes = 0;
	memset(arena->free_head, 0, sizeof(arena->free_head));
}

struct lpm_arena *lpm_arena_create(size_t max_bytes)
{
	struct lpm_arena *arena;

	if (max_bytes < ARENA_BYTES_MIN || max_bytes > ARENA_BYTES_MAX)
		return NULL;
	arena = calloc(1, sizeof(*arena));
	if (arena == NULL)
		return NULL;
	if (vmem_init(&arena->vmem, max_bytes) != 0) {
		free(arena);
		return NULL;
	}
	grace_init(&arena->grace);
	arena_reset(arena);
	return arena;
}

void lpm_arena_destroy(struct lpm_arena *arena)
{
	if (arena == NULL)
		return;
	assert(arena->n_tries == 0);
	grace_fini(&arena->grace);
	vmem_fini(&arena->vmem);
	free(arena);
}

/* When the arena is full: cuts a node out of the smallest free one that leaves a usable rest.
 * Up to 16 bytes of an odd rest are lost until the arena is empty. */
static uint32_t node_split(struct lpm_arena *arena, unsigned int class)
{
	for (unsigned int c = class + 1; c < LPM_N_CLASSES; c++) {
		size_t rest = (size_t)class_bytes[c] - class_bytes[class];
		uint32_t idx, rest_idx;

		if (arena->free_head[c] == 0 || (rest != 0 && rest < class_bytes[0]))
			continue;
		idx = free_list_pop(arena, c);
		rest_idx = idx + class_bytes[class] / LPM_GRANULE_BYTES;
		while (rest >= class_bytes[0]) {
			unsigned int r = class_of_bytes(rest);

			if (class_bytes[r] > rest)
				r--;
			free_list_push(arena, r, rest_idx);
			rest_idx += class_bytes[r] / LPM_GRANULE_BYTES;
			rest -= class_bytes[r];
		}
		return idx;
	}
	return 0;
}

/* A node from memory never used so far, `spare` bytes of which must remain; 0 if there is none. */
static uint32_t node_bump(struct lpm_arena *arena, unsigned int class, size_t spare)
{
	uint64_t end = arena->bump + class_bytes[class] / LPM_GRANULE_BYTES;
	uint32_t idx = (uint32_t)arena->bump;

	if (end * LPM_GRANULE_BYTES + spare > arena->vmem.max_bytes ||
		vmem_grow(&arena->vmem, end * LPM_GRANULE_BYTES) != 0)
		return 0;
	arena->bump = end;
	return idx;
}

uint32_t lpm_node_alloc(struct lpm_arena *arena, unsigned int n_slots, bool is_del)
{
	unsigned int class = class_of_slots(n_slots);
	uint32_t idx;

	if (arena->free_head[class] != 0)
		idx = free_list_pop(arena, class);
	else
		idx = node_bump(arena, class, DEL_BYTES);
	if (idx == 0)
		idx = node_split(arena, class);
	if (idx == 0 && is_del)
		idx = node_bump(arena, class, 0);
	if (idx == 0)
		return 0;
	arena->used_bytes += class_bytes[class];
	arena->n_nodes++;
	return idx;
}

void lpm_node_free(struct lpm_arena *arena, uint32_t idx)
{
	unsigned int class = class_of_slots(lpm_node_slots(granule_at(arena, idx)));

	arena->used_bytes -= class_bytes[class];
	arena->n_nodes--;
	free_list_push(arena, class, idx);
}

void lpm_node_retire(struct lpm_arena *arena, uint32_t idx)
{
	unsigned int class = class_of_slots(lpm_node_slots(granule_at(arena, idx)));

	arena->used_bytes -= class_bytes[class];
	arena->n_nodes--;
	arena->pending_bytes += class_bytes[class];
	grace_push(&arena->grace, idx);
}

void lpm_arena_recycle(struct lpm_arena *arena, unsigned int max)
{
	uint32_t idx;

	while (max-- > 0 && grace_pop(&arena->grace, &idx)) {
		unsigned int class = class_of_slots(lpm_node_slots(granule_at(arena, idx)));

		arena->pending_bytes -= class_bytes[class];
		free_list_push(arena, class, idx);
	}
}

void lpm_arena_poll(struct lpm_arena *arena)
{
	grace_close(&arena->grace);
	lpm_arena_recycle(arena, POLL_NODES_MAX);
	if (arena->n_nodes == 0 && arena->grace.n_waiting == 0 && arena->bump != 1) {
		arena_reset(arena);
		arena->is_trimming = true;
	}
	if (arena->is_trimming)
		arena->is_trimming = vmem_shrink(
			&arena->vmem, arena->bump * LPM_GRANULE_BYTES, POLL_STEPS_MAX);
}

int lpm_arena_reserve(struct lpm_arena *arena, size_t n_updates)
{
	size_t bytes;

	if (n_updates > ARENA_BYTES_MAX / UPDATE_BYTES_MAX)
		return -ENOMEM;
	bytes = arena->bump * LPM_GRANULE_BYTES + n_updates * UPDATE_BYTES_MAX + COPIES_BYTES +
		DEL_BYTES;
	if (vmem_grow(&arena->vmem, RTE_MIN(bytes, arena->vmem.max_bytes)) != 0)
		return -ENOMEM;
	if (bytes > arena->vmem.max_bytes && bytes - arena->free_bytes > arena->vmem.max_bytes)
		return -ENOMEM;
	arena->is_trimming = false;
	return 0;
}

void lpm_arena_get_stats(const struct lpm_arena *arena, struct lpm_arena_stats *out)
{
	*out = (struct lpm_arena_stats){
		.max_bytes = arena->vmem.max_bytes,
		.mapped_bytes = arena->vmem.mapped_bytes,
		.used_bytes = arena->used_bytes,
		.free_bytes = arena->free_bytes,
		.pending_bytes = arena->pending_bytes,
		.n_nodes = arena->n_nodes,
	};
}
