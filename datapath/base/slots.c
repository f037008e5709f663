/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"

struct slot_release {
	struct slots *slots;
	uint32_t idx;
};

int slots_init(struct slots *s, size_t size, uint32_t max)
{
	*s = (struct slots){ .size = (size + 7) & ~(size_t)7, .max = max };
	s->base = mmap(NULL, s->size * max, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->base == MAP_FAILED) {
		s->base = NULL;
		return -ENOMEM;
	}
	s->live = calloc(1, max);
	if (s->live == NULL) {
		slots_fini(s);
		return -ENOMEM;
	}
	return 0;
}

void slots_fini(struct slots *s)
{
	if (s->base != NULL)
		munmap(s->base, s->size * s->max);
	free(s->free);
	free(s->live);
	*s = (struct slots){ 0 };
}

static _Atomic uint32_t *slot_gen(struct slots *s, uint32_t idx)
{
	return slots_at(s, idx);
}

/* All but the generation. Atomically: who comes with an index from before (a client's affinity) looks before it finds out. */
static void slot_clear(struct slots *s, uint32_t idx)
{
	_Atomic uint32_t *words = slots_at(s, idx);

	for (size_t i = 1; i < s->size / sizeof(*words); i++)
		atomic_store_explicit(&words[i], 0, memory_order_relaxed);
}

void slots_alloc_at(struct slots *s, uint32_t idx)
{
	slot_clear(s, idx);
	gen_touch(slot_gen(s, idx));
	s->live[idx] = 1;
	s->n_used++;
}

uint32_t slots_alloc(struct slots *s)
{
	uint32_t idx;

	if (s->n_free > 0)
		idx = s->free[--s->n_free];
	else if (s->n_touched < s->max)
		idx = s->n_touched++;
	else
		return SLOT_NONE;
	slots_alloc_at(s, idx);
	return idx;
}

/* Without memory the slot is lost until restart; nothing else suffers. */
static void free_push(struct slots *s, uint32_t idx)
{
	if (s->n_free == s->free_max) {
		uint32_t max = s->free_max != 0 ? 2 * s->free_max : 64;
		uint32_t *grown = realloc(s->free, max * sizeof(*grown));

		if (grown == NULL)
			return;
		s->free = grown;
		s->free_max = max;
	}
	s->free[s->n_free++] = idx;
}

static void slot_release(void *arg)
{
	struct slot_release *r = arg;

	free_push(r->slots, r->idx);
	free(r);
}

void slots_reserve(struct slots *s, uint32_t idx)
{
	while (s->n_touched < idx)
		free_push(s, s->n_touched++);
	s->n_touched = idx + 1;
}

void slots_unreserve(struct slots *s, uint32_t idx)
{
	free_push(s, idx);
}

void slots_free(struct slots *s, uint32_t idx)
{
	struct slot_release *r = malloc(sizeof(*r));

	assert(s->live[idx]);
	gen_touch(slot_gen(s, idx));
	s->live[idx] = 0;
	s->n_used--;
	if (r == NULL)
		return; /* as above: lost until restart */
	*r = (struct slot_release){ .slots = s, .idx = idx };
	rcu_defer(slot_release, r);
}

uint32_t slots_next(const struct slots *s, uint32_t idx)
{
	for (; idx < s->n_touched; idx++)
		if (s->live[idx])
			return idx;
	return SLOT_NONE;
}
