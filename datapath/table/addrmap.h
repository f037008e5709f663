/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact-match map (scope, address) → 32-bit value, for the configuration tables (endpoints, neighbours, tunnel ends).
 * Lock-free readers (workers, for the first packet of a flow), one writer (control thread); on rte_hash.
 */
#ifndef LEAT_TABLE_ADDRMAP_H
#define LEAT_TABLE_ADDRMAP_H

#include <stdint.h>

#include "datapath/base/addr.h"

#define ADDRMAP_NONE UINT32_MAX

struct addrmap;

/* name: unique in the process. max: keys. NULL when memory ran out. Needs the EAL. */
struct addrmap *addrmap_create(const char *name, uint32_t max);
void addrmap_destroy(struct addrmap *map);

/* Adds or replaces. 0, -ENOSPC. */
int addrmap_set(struct addrmap *map, uint32_t scope, const struct ip_addr *addr, uint32_t value);

/* 0 or -ENOENT. */
int addrmap_del(struct addrmap *map, uint32_t scope, const struct ip_addr *addr);

/* Value or ADDRMAP_NONE. */
uint32_t addrmap_get(const struct addrmap *map, uint32_t scope, const struct ip_addr *addr);

#endif
