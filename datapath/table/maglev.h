/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Maglev look-up tables (Eisenbud et al., NSDI 2016, s. 3.4): each backend has its own order of all positions of a table of prime size,
 * and backends in turn take the next free position of theirs. A backend that goes changes little of what the others hold,
 * and every node that knows the same backends builds the same table. Weight: a quota of turns.
 *
 * Pure functions, any thread. The exact algorithm is in docs/services.md.
 */
#ifndef LEAT_TABLE_MAGLEV_H
#define LEAT_TABLE_MAGLEV_H

#include <stdint.h>

#include "datapath/base/addr.h"

#define MAGLEV_SIZE_MAX 655373u

struct maglev_backend {
	uint64_t offset_hash, skip_hash;
	uint16_t weight; /* > 0 */
};

/* The backend's permutation follows from its address and port (network order) alone. */
void maglev_backend_init(
	struct maglev_backend *b, const struct ip_addr *addr, rte_be16_t port, uint16_t weight);

/* Prime size of the table for n backends: at least 100 × n (spread of at most 1 % between equal weights), at most MAGLEV_SIZE_MAX. */
uint32_t maglev_size(uint32_t n);

/* Fills out_table[size] with positions in backends[n]; 0 < n ≤ size, n < 65535, size a prime from maglev_size(). The result depends on the
 * backends' order only where two want the same position in one round: callers sort. 0 or -ENOMEM. */
int maglev_build(
	const struct maglev_backend *backends, uint32_t n, uint32_t size, uint16_t *out_table);

#endif
