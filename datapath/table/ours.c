/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/ours.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "datapath/table/chainmap.h"

struct ours {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct ours_key {
		struct ip_addr addr;
		uint64_t zone; /* as wide as it is aligned: the key has no padding */
	} key;
	_Atomic uint32_t n[OURS_N];
	_Atomic uint32_t departed_s; /* when, + 1; 0: not, or seen elsewhere since */
	_Atomic uint8_t way_len;
	bool is_in_line; /* of the departed ones; control thread */
};

static struct slots slots;
static struct chainmap by_addr;
static _Atomic uint32_t n_entries; /* mostly none: nobody looks then */

/* The departed ones in the order in which they went; control thread. */
static uint32_t line[OURS_DEPARTED_MAX];
static uint32_t line_next, line_len;

int ours_table_init(void)
{
	line_next = line_len = 0;
	atomic_store_explicit(&n_entries, 0, memory_order_relaxed);
	if (slots_init(&slots, sizeof(struct ours), OURS_MAX) < 0 ||
		chainmap_init(&by_addr, &slots, offsetof(struct ours, link),
			offsetof(struct ours, key), sizeof(struct ours_key)) < 0) {
		ours_table_fini();
		return -ENOMEM;
	}
	return 0;
}

void ours_table_fini(void)
{
	chainmap_fini(&by_addr);
	slots_fini(&slots);
}

static struct ours *at(uint32_t idx)
{
	return slots_at(&slots, idx);
}

static uint32_t find(uint32_t zone, const struct ip_addr *addr)
{
	const struct ours_key key = { .addr = *addr, .zone = zone };

	return atomic_load_explicit(&n_entries, memory_order_relaxed) != 0
		? chainmap_find(&by_addr, &key)
		: SLOT_NONE;
}

/* Entry of the address, made if need be; SLOT_NONE when full. */
static uint32_t get(uint32_t zone, const struct ip_addr *addr)
{
	uint32_t idx = find(zone, addr);

	if (idx != SLOT_NONE)
		return idx;
	idx = slots_alloc(&slots);
	if (idx == SLOT_NONE)
		return SLOT_NONE;
	at(idx)->key = (struct ours_key){ .addr = *addr, .zone = zone };
	chainmap_insert(&by_addr, idx);
	atomic_fetch_add_explicit(&n_entries, 1, memory_order_relaxed);
	return idx;
}

static void put(uint32_t idx)
{
	if (at(idx)->is_in_line)
		return;
	for (unsigned int why = 0; why < OURS_N; why++)
		if (atomic_load_explicit(&at(idx)->n[why], memory_order_relaxed) != 0)
			return;
	chainmap_remove(&by_addr, idx);
	atomic_fetch_sub_explicit(&n_entries, 1, memory_order_relaxed);
	slots_free(&slots, idx);
}

int ours_add(enum ours_why why, uint32_t zone, const struct ip_addr *addr)
{
	uint32_t idx = get(zone, addr);

	if (idx == SLOT_NONE)
		return -ENOSPC;
	atomic_fetch_add_explicit(&at(idx)->n[why], 1, memory_order_relaxed);
	return 0;
}

void ours_del(enum ours_why why, uint32_t zone, const struct ip_addr *addr)
{
	uint32_t idx = find(zone, addr);

	if (idx == SLOT_NONE)
		return;
	atomic_fetch_sub_explicit(&at(idx)->n[why], 1, memory_order_relaxed);
	put(idx);
}

static void line_push(uint32_t idx)
{
	uint32_t *place = &line[line_next];

	if (line_len == OURS_DEPARTED_MAX) {
		at(*place)->is_in_line = false;
		atomic_store_explicit(&at(*place)->departed_s, 0, memory_order_relaxed);
		put(*place);
	} else {
		line_len++;
	}
	*place = idx;
	line_next = (line_next + 1) % OURS_DEPARTED_MAX;
	at(idx)->is_in_line = true;
}

void ours_depart(uint16_t zone, const struct ip_addr *addr, uint8_t way_len, uint32_t now_s)
{
	uint32_t idx = slots.base != NULL ? get(zone, addr) : SLOT_NONE;

	if (idx == SLOT_NONE)
		return;
	atomic_store_explicit(&at(idx)->way_len, way_len, memory_order_relaxed);
	atomic_store_explicit(&at(idx)->departed_s, now_s + 1, memory_order_relaxed);
	if (!at(idx)->is_in_line)
		line_push(idx);
}

static bool counts(uint32_t idx, enum ours_why why)
{
	return idx != SLOT_NONE &&
		atomic_load_explicit(&at(idx)->n[why], memory_order_relaxed) != 0;
}

static bool has_departed(uint32_t idx, const struct ours_query *q)
{
	uint32_t since_s = atomic_load_explicit(&at(idx)->departed_s, memory_order_relaxed);

	if (since_s == 0 || q->is_on_link ||
		q->way_len > atomic_load_explicit(&at(idx)->way_len, memory_order_relaxed))
		return false;
	return !q->is_from_here || q->now_s + 1 - since_s < OURS_DEPARTED_S;
}

bool ours_is_nobodys(const struct ours_query *q)
{
	uint32_t idx = find(q->zone, &q->addr);

	if (idx != SLOT_NONE &&
		(counts(idx, OURS_PAIR_EXTERNAL) ||
			(q->way_len <= OURS_DEFAULT_LEN_MAX && counts(idx, OURS_PAIR_INTERNAL)) ||
			has_departed(idx, q)))
		return true;
	return q->has_snat && counts(find(OURS_ZONE_POOLS, &q->addr), OURS_POOL);
}

void ours_seen_elsewhere(uint16_t zone, const struct ip_addr *addr)
{
	uint32_t idx = find(zone, addr);

	if (idx != SLOT_NONE &&
		atomic_load_explicit(&at(idx)->departed_s, memory_order_relaxed) != 0)
		atomic_store_explicit(&at(idx)->departed_s, 0, memory_order_relaxed);
}
