/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generations: how a compiled flow learns that something it was judged by has changed.
 *
 * One process-wide epoch counts published changes. Every object that a flow may depend on (endpoint, route, path,
 * service, policy) carries `gen`, the epoch of its last change; a flow carries the epoch it was judged at. A hit whose
 * flow is older than the current epoch looks at the objects it depends on (their indexes are in the connection record):
 * all of them no newer than the flow → the flow is stamped with the current epoch and goes on; one newer → judged again.
 * So an update costs one store per touched object, and unrelated flows pay one look, not a judgement.
 *
 * Writer: the control thread only. A slot that is freed keeps its gen and a reused slot gets a newer one, so a stale
 * index is always seen. Comparison is by signed difference: a flow may not stay unvisited for 2^31 changes (the sweeper
 * restamps each connection every few seconds).
 */
#ifndef LEAT_BASE_GEN_H
#define LEAT_BASE_GEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern _Atomic uint32_t gen_epoch;

/* Epoch that the next gen_publish() makes current. Stamp changed objects with it. Control thread. */
uint32_t gen_next(void);

/* Marks *gen changed. Control thread; takes effect for workers with gen_publish(). */
static inline void gen_touch(_Atomic uint32_t *gen)
{
	/* release: whoever sees the new gen sees the change; pairs with the acquire in gen_is_newer() */
	atomic_store_explicit(gen, gen_next(), memory_order_release);
}

/* Makes all touches since the last call visible; does nothing if there were none. Control thread, at the end of a
 * request or of a slice of a transaction. */
void gen_publish(void);

/* Keeps a copy of the epoch in *to from now on, written before the epoch is published; NULL: no longer. Control thread. */
void gen_mirror(_Atomic uint32_t *to);

/* Current epoch. Workers, once a burst. */
static inline uint32_t gen_now(void)
{
	/* acquire: pairs with the release in gen_publish() */
	return atomic_load_explicit(&gen_epoch, memory_order_acquire);
}

static inline bool gen_is_newer(const _Atomic uint32_t *gen, uint32_t epoch)
{
	/* acquire: pairs with the release in gen_touch() */
	return (int32_t)(atomic_load_explicit(gen, memory_order_acquire) - epoch) > 0;
}

#endif
