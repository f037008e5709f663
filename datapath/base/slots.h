/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Index-addressed objects with stable addresses: one reserved virtual range, pages touched as they fill. Readers hold 32-bit
 * indexes, never pointers across a quiescent state. The first member of every object is `_Atomic uint32_t gen` (gen.h): a freed
 * slot keeps it and a reused one gets a newer one, so a stale index in a compiled flow is always seen.
 * Writer: control thread only. Readers: any.
 */
#ifndef LEAT_BASE_SLOTS_H
#define LEAT_BASE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define SLOT_NONE UINT32_MAX

struct slots {
	uint8_t *base;
	size_t size; /* bytes of one object */
	uint32_t max;
	uint32_t n_touched; /* high-water mark */
	uint32_t n_used;
	uint32_t n_free; /* free stack */
	uint32_t free_max;
	uint32_t *free;
	uint8_t *live; /* one byte a slot: allocated and not freed */
};

/* Reserves address space for max objects of size bytes (rounded up to 8). 0 or -ENOMEM. */
int slots_init(struct slots *s, size_t size, uint32_t max);

/* Releases everything; no reader may be left and rcu_synchronize() must have run. */
void slots_fini(struct slots *s);

/* A zeroed slot (gen kept and touched), or SLOT_NONE when full. */
uint32_t slots_alloc(struct slots *s);

/* Keeps slot idx for slots_alloc_at(). Before anything was allocated; indexes in ascending order. */
void slots_reserve(struct slots *s, uint32_t idx);

/* The reserved slot idx, as slots_alloc(). */
void slots_alloc_at(struct slots *s, uint32_t idx);

/* Nobody came for the reserved slot idx: anybody may have it. */
void slots_unreserve(struct slots *s, uint32_t idx);

/* Touches gen now; the slot is reused after a grace period. */
void slots_free(struct slots *s, uint32_t idx);

static inline void *slots_at(const struct slots *s, uint32_t idx)
{
	return s->base + (size_t)idx * s->size;
}

/* How many slots_alloc() will not fail; those that wait for a grace period do not count. */
static inline uint32_t slots_room(const struct slots *s)
{
	return s->n_free + (s->max - s->n_touched);
}

/* Next live index at or after idx, or SLOT_NONE: for listing. Control thread. */
uint32_t slots_next(const struct slots *s, uint32_t idx);

#endif
