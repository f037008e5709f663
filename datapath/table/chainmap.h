/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact-match map from a key inside a slots object to the object's index: chained, lock-free readers, one writer.
 *
 * The objects carry their own key and link, so that a map is an array of heads only: address space for the largest number of
 * objects, pages touched as they fill. An add or delete costs the same whether ten or a million objects are in it; nothing is ever
 * rehashed. A reader that stands on an object while it is unlinked goes on through its link, which slots_free() keeps for a
 * grace period. (rte_hash, the other candidate, takes all its memory from hugepages at creation.)
 *
 * Writer: control thread. Readers: workers, between quiescent states.
 */
#ifndef LEAT_TABLE_CHAINMAP_H
#define LEAT_TABLE_CHAINMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_prefetch.h>

#include "datapath/base/slots.h"

struct chainmap {
	struct slots *slots;
	_Atomic uint32_t *heads; /* index + 1; 0: empty, as fresh memory is */
	uint32_t mask;
	uint16_t link_off; /* bytes from the object's start to its `_Atomic uint32_t` link */
	uint16_t key_off;  /* … to its key, 4-byte aligned, no padding inside */
	uint16_t key_len;  /* bytes, a multiple of 4 */
	uint64_t seed;
};

/* Room for slots->max objects. 0 or -ENOMEM. */
int chainmap_init(
	struct chainmap *map, struct slots *slots, size_t link_off, size_t key_off, size_t key_len);
void chainmap_fini(struct chainmap *map);

/* Enters the object by the key in it; the key must not be there yet. Control thread. */
void chainmap_insert(struct chainmap *map, uint32_t idx);

/* Takes it out; the caller frees the slot afterwards. Control thread. */
void chainmap_remove(struct chainmap *map, uint32_t idx);

/* Secret seed, so that nobody outside can choose colliding keys; folded multiplications as in flowtab.h. */
static inline uint64_t chainmap_hash(const struct chainmap *map, const void *key)
{
	const uint8_t *bytes = key;
	uint64_t hash = map->seed;
	uint32_t word;

	for (unsigned int i = 0; i < map->key_len; i += 4) {
		__uint128_t m;

		memcpy(&word, bytes + i, 4);
		m = (__uint128_t)(hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash = (uint64_t)m ^ (uint64_t)(m >> 64);
	}
	return hash;
}

static inline void chainmap_prefetch(const struct chainmap *map, uint64_t hash)
{
	rte_prefetch0(&map->heads[hash & map->mask]);
}

/* Index of the object with the key, or SLOT_NONE. Any thread. */
static inline uint32_t chainmap_find_hashed(
	const struct chainmap *map, const void *key, uint64_t hash)
{
	/* acquire: pairs with the release in chainmap_insert() */
	uint32_t link = atomic_load_explicit(&map->heads[hash & map->mask], memory_order_acquire);

	while (link != 0) {
		const uint8_t *object = slots_at(map->slots, link - 1);

		if (memcmp(object + map->key_off, key, map->key_len) == 0)
			return link - 1;
		link = atomic_load_explicit(
			(const _Atomic uint32_t *)(object + map->link_off), memory_order_acquire);
	}
	return SLOT_NONE;
}

static inline uint32_t chainmap_find(const struct chainmap *map, const void *key)
{
	return chainmap_find_hashed(map, key, chainmap_hash(map, key));
}

#endif
