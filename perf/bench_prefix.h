/* SPDX-License-Identifier: BSD-3-Clause */
/* Random prefixes with the lengths of a full Internet table, the same ones in every run. */
#ifndef LEAT_PERF_BENCH_PREFIX_H
#define LEAT_PERF_BENCH_PREFIX_H

#include <rte_common.h>

#include "datapath/base/addr.h"

struct length_share {
	uint8_t len;
	uint16_t per_mille;
};

/* Shares of a full Internet table, rounded; the sum is 1000. */
static const struct length_share shares4[] = { { 24, 600 }, { 22, 115 }, { 23, 95 }, { 21, 52 },
	{ 20, 45 }, { 19, 27 }, { 18, 14 }, { 16, 14 }, { 17, 8 }, { 32, 10 }, { 30, 4 }, { 29, 4 },
	{ 28, 3 }, { 25, 2 }, { 26, 2 }, { 27, 2 }, { 15, 1 }, { 14, 1 }, { 12, 1 } };
static const struct length_share shares6[] = { { 48, 470 }, { 32, 130 }, { 44, 100 }, { 40, 80 },
	{ 36, 50 }, { 46, 40 }, { 47, 35 }, { 42, 25 }, { 29, 25 }, { 64, 15 }, { 128, 10 },
	{ 33, 10 }, { 38, 5 }, { 56, 5 } };

static uint64_t rnd_state = 88172645463325252ull;

static inline uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state * 2685821657736338717ull >> 8;
}

static inline struct ip_addr random_addr(bool is_v6)
{
	/* unicast: 1.0.0.0 … 223.255.255.255, 2000::/3 */
	if (!is_v6)
		return ip_from_v4(rte_cpu_to_be_32((uint32_t)(0x01000000 + rnd() % 0xdf000000)));
	return (struct ip_addr){
		.q = { rte_cpu_to_be_64((rnd() ^ rnd() << 32) >> 3 | UINT64_C(1) << 61), rnd() }
	};
}

static inline struct ip_prefix random_prefix(bool is_v6, unsigned int len)
{
	struct ip_prefix p = { .addr = random_addr(is_v6), .len = (uint8_t)len };

	ip_prefix_mask(&p);
	return p;
}

static inline unsigned int random_len(bool is_v6)
{
	const struct length_share *s = is_v6 ? shares6 : shares4;
	unsigned int n = is_v6 ? RTE_DIM(shares6) : RTE_DIM(shares4),
		     pick = (unsigned int)(rnd() % 1000);

	for (unsigned int i = 0; i < n; i++) {
		if (pick < s[i].per_mille)
			return s[i].len;
		pick -= s[i].per_mille;
	}
	return s[0].len;
}

/* The prefix's bits on top, random ones below. */
static inline struct ip_addr random_addr_below(const struct ip_prefix *p)
{
	struct ip_addr a = random_addr(!ip_is_v4(&p->addr));
	struct ip_prefix top = { .addr = a, .len = p->len };

	ip_prefix_mask(&top);
	for (unsigned int i = 0; i < 16; i++)
		a.b[i] ^= top.addr.b[i] ^ p->addr.b[i];
	return a;
}

#endif
