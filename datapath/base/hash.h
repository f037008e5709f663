/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Folded 64×64→128-bit multiplication (as in wyhash): about 5 cycles a word, and every input bit reaches every output bit
 * within two. For hashes that several nodes or an independent model must agree on (docs/services.md). Pure.
 */
#ifndef LEAT_BASE_HASH_H
#define LEAT_BASE_HASH_H

#include <stdint.h>

#include "datapath/base/addr.h"

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ull

static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
	__uint128_t m = (__uint128_t)(hash ^ word) * HASH_MULTIPLIER;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The address as two big-endian numbers, the upper half first. */
static inline uint64_t hash_addr(uint64_t hash, const struct ip_addr *addr)
{
	return hash_word(
		hash_word(hash, rte_be_to_cpu_64(addr->q[0])), rte_be_to_cpu_64(addr->q[1]));
}

/* 0 … n - 1, as evenly as the hash (n < 2^32). */
static inline uint32_t hash_scale(uint64_t hash, uint32_t n)
{
	return (uint32_t)(((__uint128_t)hash * n) >> 64);
}

#endif
