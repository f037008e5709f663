/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/maglev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/hash.h"

#define OFFSET_SEED 0x6c6561742d6f6666ull /* "leat-off" */
#define SKIP_SEED 0x6c6561742d736b70ull	  /* "leat-skp" */
#define FREE UINT16_MAX

struct turn {
	uint32_t pos, skip;
	uint32_t n_left; /* turns that the backend still has */
	uint16_t backend;
};

void maglev_backend_init(
	struct maglev_backend *b, const struct ip_addr *addr, rte_be16_t port, uint16_t weight)
{
	uint64_t word = rte_be_to_cpu_16(port);

	*b = (struct maglev_backend){
		.offset_hash = hash_word(hash_addr(OFFSET_SEED, addr), word),
		.skip_hash = hash_word(hash_addr(SKIP_SEED, addr), word),
		.weight = weight,
	};
}

uint32_t maglev_size(uint32_t n)
{
	static const uint32_t primes[] = { 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537,
		131071, MAGLEV_SIZE_MAX };
	unsigned int i = 0;

	while (i < RTE_DIM(primes) - 1 && primes[i] < 100 * (uint64_t)n)
		i++;
	return primes[i];
}

/* One turn each, and the rest of the table shared out by weight. The quotas sum to size. */
static void turns_init(
	struct turn *turns, const struct maglev_backend *backends, uint32_t n, uint32_t size)
{
	uint64_t sum = 0, below = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += backends[i].weight;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t above = below + backends[i].weight;

		turns[i] = (struct turn){
			.pos = (uint32_t)(backends[i].offset_hash % size),
			.skip = (uint32_t)(backends[i].skip_hash % (size - 1)) + 1,
			.n_left = 1 +
				(uint32_t)((size - n) * above / sum - (size - n) * below / sum),
			.backend = (uint16_t)i,
		};
		below = above;
	}
}

int maglev_build(
	const struct maglev_backend *backends, uint32_t n, uint32_t size, uint16_t *out_table)
{
	struct turn *turns = malloc(n * sizeof(*turns));

	assert(n > 0 && n <= size && n < FREE);
	if (turns == NULL)
		return -ENOMEM;
	turns_init(turns, backends, n, size);
	memset(out_table, 0xff, size * sizeof(*out_table));
	while (n > 0) {
		uint32_t n_next = 0;

		for (uint32_t i = 0; i < n; i++) {
			struct turn t = turns[i];

			while (out_table[t.pos] != FREE) {
				t.pos += t.skip;
				if (t.pos >= size)
					t.pos -= size;
			}
			out_table[t.pos] = t.backend;
			if (--t.n_left > 0)
				turns[n_next++] = t;
		}
		n = n_next;
	}
	free(turns);
	return 0;
}
