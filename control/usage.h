/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What backends and rules have carried: packets and bytes of connections that ended (kept with the object by table/usage.h) and of
 * those that live. The packet path counts per flow only; the live part is summed up here when somebody asks, in one pass
 * over the connections for all objects together, at most once in USAGE_AGE_NS. In a table of more than USAGE_SCAN_MAX
 * connections the pass is done in slices, and an answer may lag behind by one pass. Control thread.
 */
#ifndef LEAT_USAGE_H
#define LEAT_USAGE_H

#include <stdint.h>

#define USAGE_AGE_NS 100000000ull
#define USAGE_SCAN_MAX (1u << 20) /* about 20 ms */

struct usage {
	uint64_t n_conns, pkts, bytes;
};

int usage_init(void);
void usage_fini(void);

struct usage usage_of_backend(uint32_t backend);
struct usage usage_of_rule(uint32_t rule);

#endif
