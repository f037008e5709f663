/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours on uplinks: (port, address) → MAC and path. The state machine (requests, hold queue, ageing) is the control
 * thread's (control/neighd.c); workers only read, and punt packets whose neighbour has no path yet (pipeline/punt.h).
 * Writer: control thread. Readers: workers, by index or (port, address).
 */
#ifndef LEAT_TABLE_NEIGH_H
#define LEAT_TABLE_NEIGH_H

#include <stdatomic.h>
#include <stdint.h>

#include <rte_ether.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"

#define NEIGH_NONE SLOT_NONE
#define NEIGH_TABLE_MAX (1u << 16)

enum neigh_state {
	NEIGH_PENDING,	 /* asked, no answer yet: path_idx is PATH_NONE, packets are held */
	NEIGH_REACHABLE, /* answered lately */
	NEIGH_STALE,	 /* being asked again; the old MAC is used meanwhile */
	NEIGH_FAILED,	 /* did not answer: packets are dropped (or answered) until the next try */
	NEIGH_STATIC,	 /* configured */
	NEIGH_N
};

struct neigh {
	_Atomic uint32_t gen;
	uint16_t port_id;
	_Atomic uint8_t state; /* enum neigh_state */
	uint8_t n_probes;
	_Atomic uint32_t path_idx; /* PATH_NONE unless reachable, stale or static */
	struct rte_ether_addr mac;
	struct ip_addr addr;
	uint64_t changed_ns; /* last confirmation or probe, clock_ns(); control thread */
};

extern struct slots neigh_slots;

int neigh_table_init(void);
void neigh_table_fini(void);

/* Index or NEIGH_NONE. Any thread. */
uint32_t neigh_lookup(uint16_t port_id, const struct ip_addr *addr);

/* Existing or new entry (new: NEIGH_PENDING, no path). NEIGH_NONE when full. Control thread. */
uint32_t neigh_get(uint16_t port_id, const struct ip_addr *addr);

/* Sets state and MAC; src is the port's own MAC, mtu the port's. Makes or replaces the path when a MAC or the MTU is new, drops it for
 * PENDING and FAILED. 0 or -ENOSPC (no path left; state FAILED). Control thread. */
int neigh_set(uint32_t idx, enum neigh_state state, const struct rte_ether_addr *mac,
	const struct rte_ether_addr *src, uint16_t mtu);

/* Control thread. */
void neigh_del(uint32_t idx);
uint32_t neigh_next(uint32_t idx);

static inline struct neigh *neigh_at(uint32_t idx)
{
	return slots_at(&neigh_slots, idx);
}

const char *neigh_state_name(enum neigh_state state);

#endif
