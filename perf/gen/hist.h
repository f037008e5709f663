/* SPDX-License-Identifier: BSD-3-Clause */
/* Histogram with constant relative error (1/32) over 64 bits, the way HDR histograms do it. Single thread. */
#ifndef LEAT_PERF_HIST_H
#define LEAT_PERF_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 5
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_LEN (64 * HIST_SUB)

struct hist {
	uint64_t n, max;
	uint64_t bucket[HIST_LEN];
};

static inline unsigned int hist_index(uint64_t v)
{
	if (v < HIST_SUB)
		return (unsigned int)v;
	unsigned int exp = 63 - (unsigned int)__builtin_clzll(v) - HIST_SUB_BITS;

	return (exp + 1) * HIST_SUB + (unsigned int)((v >> exp) & (HIST_SUB - 1));
}

/* Upper edge of a bucket. */
static inline uint64_t hist_value(unsigned int idx)
{
	if (idx < HIST_SUB)
		return idx;
	unsigned int exp = idx / HIST_SUB - 1;

	return (((uint64_t)HIST_SUB + idx % HIST_SUB + 1) << exp) - 1;
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->bucket[hist_index(v)]++;
	h->n++;
	if (v > h->max)
		h->max = v;
}

/* Smallest value that `share` (0…1) of all values do not exceed, within the bucket's width. */
static inline uint64_t hist_quantile(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)((double)h->n * share), seen = 0;

	for (unsigned int i = 0; i < HIST_LEN; i++) {
		seen += h->bucket[i];
		if (seen > want)
			return hist_value(i) < h->max ? hist_value(i) : h->max;
	}
	return h->max;
}

#endif
