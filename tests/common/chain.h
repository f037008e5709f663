/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets cut into chains at any place. */
#ifndef LEAT_TESTS_COMMON_CHAIN_H
#define LEAT_TESTS_COMMON_CHAIN_H

#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

/* A buffer with these n bytes as its only segment, or NULL. */
typedef struct rte_mbuf *chain_segment_fn(const uint8_t *p, uint32_t n, void *arg);

/* A chain of len bytes: the first segment holds `first` of them, each other one `step` (at least 1). NULL when a buffer is
 * missing. */
static inline struct rte_mbuf *chain_cut(const uint8_t *p, uint32_t len, uint32_t first,
	uint32_t step, chain_segment_fn *segment, void *arg)
{
	struct rte_mbuf *head = NULL, *last = NULL;
	uint32_t want = first;

	do {
		uint32_t n = want < len ? want : len;
		struct rte_mbuf *m = segment(p, n, arg);

		if (m == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		if (head == NULL) {
			head = m;
		} else {
			last->next = m;
			head->nb_segs++;
			head->pkt_len += n;
		}
		last = m;
		p += n;
		len -= n;
		want = step;
	} while (len > 0);
	return head;
}

/* For chain_cut(): a buffer of the pool `arg`. */
static inline struct rte_mbuf *chain_pool_segment(const uint8_t *p, uint32_t n, void *arg)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(arg);

	if (m != NULL)
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), p, n);
	return m;
}

/* The length that a chain's segment may have: 0 and what is too long means max. */
static inline uint32_t chain_len(uint32_t want, uint32_t max)
{
	return want == 0 || want > max ? max : want;
}

#endif
