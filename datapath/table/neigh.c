/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/neigh.h"

#include <errno.h>

#include "datapath/base/gen.h"
#include "datapath/table/addrmap.h"
#include "datapath/table/path.h"

struct slots neigh_slots;
static struct addrmap *by_addr;

int neigh_table_init(void)
{
	if (slots_init(&neigh_slots, sizeof(struct neigh), NEIGH_TABLE_MAX) < 0)
		return -ENOMEM;
	by_addr = addrmap_create("neigh", NEIGH_TABLE_MAX);
	if (by_addr == NULL) {
		neigh_table_fini();
		return -ENOMEM;
	}
	return 0;
}

void neigh_table_fini(void)
{
	addrmap_destroy(by_addr);
	by_addr = NULL;
	slots_fini(&neigh_slots);
}

uint32_t neigh_lookup(uint16_t port_id, const struct ip_addr *addr)
{
	return addrmap_get(by_addr, port_id, addr);
}

uint32_t neigh_get(uint16_t port_id, const struct ip_addr *addr)
{
	uint32_t idx = neigh_lookup(port_id, addr);
	struct neigh *n;

	if (idx != ADDRMAP_NONE)
		return idx;
	idx = slots_alloc(&neigh_slots);
	if (idx == SLOT_NONE)
		return NEIGH_NONE;
	n = neigh_at(idx);
	n->port_id = port_id;
	n->addr = *addr;
	atomic_store_explicit(&n->path_idx, PATH_NONE, memory_order_relaxed);
	if (addrmap_set(by_addr, port_id, addr, idx) < 0) {
		slots_free(&neigh_slots, idx);
		return NEIGH_NONE;
	}
	return idx;
}

int neigh_set(uint32_t idx, enum neigh_state state, const struct rte_ether_addr *mac,
	const struct rte_ether_addr *src, uint16_t mtu)
{
	struct neigh *n = neigh_at(idx);
	uint32_t old = atomic_load_explicit(&n->path_idx, memory_order_relaxed);
	bool has_path = state != NEIGH_PENDING && state != NEIGH_FAILED;
	uint32_t path = PATH_NONE;
	int ret = 0;

	if (has_path && old != PATH_NONE && rte_is_same_ether_addr(&n->mac, mac) &&
		memcmp(&path_at(old)->macs[6], src, sizeof(*src)) == 0 &&
		path_at(old)->mtu == mtu) {
		atomic_store_explicit(&n->state, (uint8_t)state, memory_order_relaxed);
		return 0;
	}
	if (has_path) {
		path = path_create_plain(n->port_id, mac, src, mtu, 0, SLOT_NONE);
		if (path == PATH_NONE) {
			state = NEIGH_FAILED;
			ret = -ENOSPC;
		} else {
			n->mac = *mac;
		}
	}
	/* release: the path's content before its index; pairs with the acquire in layer_route */
	atomic_store_explicit(&n->path_idx, path, memory_order_release);
	atomic_store_explicit(&n->state, (uint8_t)state, memory_order_release);
	gen_touch(&n->gen);
	path_destroy(old);
	return ret;
}

void neigh_del(uint32_t idx)
{
	struct neigh *n = neigh_at(idx);

	addrmap_del(by_addr, n->port_id, &n->addr);
	path_destroy(atomic_load_explicit(&n->path_idx, memory_order_relaxed));
	slots_free(&neigh_slots, idx);
}

uint32_t neigh_next(uint32_t idx)
{
	return slots_next(&neigh_slots, idx);
}

const char *neigh_state_name(enum neigh_state state)
{
	static const char *const names[NEIGH_N] = { "pending", "reachable", "stale", "failed",
		"static" };

	return (unsigned int)state < NEIGH_N ? names[state] : "?";
}
