/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/chainmap.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <rte_common.h>

static size_t heads_bytes(const struct chainmap *map)
{
	return ((size_t)map->mask + 1) * sizeof(*map->heads);
}

int chainmap_init(
	struct chainmap *map, struct slots *slots, size_t link_off, size_t key_off, size_t key_len)
{
	assert(key_len % 4 == 0 && key_off % 4 == 0 && slots->max <= 1u << 31);
	*map = (struct chainmap){ .slots = slots,
		.mask = rte_align32pow2(slots->max) - 1,
		.link_off = (uint16_t)link_off,
		.key_off = (uint16_t)key_off,
		.key_len = (uint16_t)key_len };
	if (getrandom(&map->seed, sizeof(map->seed), 0) != (ssize_t)sizeof(map->seed))
		return -ENOMEM;
	map->heads = mmap(NULL, heads_bytes(map), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map->heads == MAP_FAILED) {
		map->heads = NULL;
		return -ENOMEM;
	}
	return 0;
}

void chainmap_fini(struct chainmap *map)
{
	if (map->heads != NULL)
		munmap((void *)map->heads, heads_bytes(map));
	*map = (struct chainmap){ 0 };
}

static _Atomic uint32_t *link_of(const struct chainmap *map, uint32_t idx)
{
	return (_Atomic uint32_t *)((uint8_t *)slots_at(map->slots, idx) + map->link_off);
}

static _Atomic uint32_t *head_of(const struct chainmap *map, uint32_t idx)
{
	const uint8_t *key = (const uint8_t *)slots_at(map->slots, idx) + map->key_off;

	return &map->heads[chainmap_hash(map, key) & map->mask];
}

void chainmap_insert(struct chainmap *map, uint32_t idx)
{
	_Atomic uint32_t *head = head_of(map, idx);

	atomic_store_explicit(link_of(map, idx), atomic_load_explicit(head, memory_order_relaxed),
		memory_order_relaxed);
	/* release: the object before its index; pairs with the acquire in chainmap_find_hashed() */
	atomic_store_explicit(head, idx + 1, memory_order_release);
}

void chainmap_remove(struct chainmap *map, uint32_t idx)
{
	_Atomic uint32_t *link = head_of(map, idx);
	uint32_t at;

	while ((at = atomic_load_explicit(link, memory_order_relaxed)) != idx + 1) {
		assert(at != 0);
		link = link_of(map, at - 1);
	}
	/* release: a reader that goes past sees whole objects; pairs with the acquire in chainmap_find_hashed() */
	atomic_store_explicit(link, atomic_load_explicit(link_of(map, idx), memory_order_relaxed),
		memory_order_release);
}
