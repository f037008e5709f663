/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client affinity: which backend a client of a service was last given. A fixed number of entries in sets of four, address space
 * only until used; the oldest of a full set makes room, so a flood of clients costs affinity, never memory. Nothing is
 * removed: an entry is ignored once it is older than the service's time-out or its backend is not what it was.
 *
 * Workers write, under a lock a set that is held for a few stores; reading takes no lock and writes nothing.
 */
#ifndef LEAT_TABLE_AFFINITY_H
#define LEAT_TABLE_AFFINITY_H

#include <stdint.h>

#include "datapath/base/addr.h"

#define AFFINITY_ENTRIES (1u << 18)
#define AFFINITY_WAYS 4u

struct affinity_binding {
	uint32_t backend;	 /* BACKEND_NONE: no binding */
	uint16_t backend_serial; /* tells a backend from the next one in its slot */
	uint32_t last_s;	 /* clock_s() of its last use */
};

/* Who is bound. Services are known by a number that is never used again, not 0. */
struct affinity_client {
	uint32_t service_serial;
	uint32_t timeout_s;
	uint32_t now_s;
	const struct ip_addr *addr;
};

struct affinity_stats {
	uint64_t n_added;
	uint64_t n_evicted; /* entries, expired or not, that made room for others */
};

/* Room for n_entries, a power of two ≥ AFFINITY_WAYS. 0 or -ENOMEM. */
int affinity_table_init(uint32_t n_entries);
void affinity_table_fini(void);

/* The binding that is not older than the time-out. Any thread. */
struct affinity_binding affinity_find(const struct affinity_client *client);

/* Binds the client, unless another worker did so since `seen` was found: then that one stays. Returns what is bound now.
 * Any worker. */
struct affinity_binding affinity_bind(const struct affinity_client *client,
	const struct affinity_binding *seen, uint32_t backend, uint16_t backend_serial);

/* Any thread. */
struct affinity_stats affinity_get_stats(void);

#endif
