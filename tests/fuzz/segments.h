/* SPDX-License-Identifier: BSD-3-Clause */
/* What fuzz targets of packet code share: a pool, and segments that show over-reads. */
#ifndef LEAT_TESTS_FUZZ_SEGMENTS_H
#define LEAT_TESTS_FUZZ_SEGMENTS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#define SEGMENT_MAX 1900

static struct rte_mempool *pool;

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* EAL without hugepages, and the pool. Call from LLVMFuzzerInitialize(). */
static inline void pool_init(void)
{
	char prefix[64];
	char words[][24] = { "fuzz", "--no-huge", "--no-pci", "-m", "64", "--no-telemetry",
		"--no-shconf", "--log-level=*:error", "-l", "0" };
	char *eal_argv[sizeof(words) / sizeof(words[0]) + 1];
	int n = (int)(sizeof(words) / sizeof(words[0]));

	for (int i = 0; i < n; i++)
		eal_argv[i] = words[i];
	snprintf(prefix, sizeof(prefix), "--file-prefix=leat-fuzz-%d", (int)getpid());
	eal_argv[n] = prefix;
	CHECK(rte_eal_init(n + 1, eal_argv) >= 0);
	pool = rte_pktmbuf_pool_create("fuzz", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	CHECK(pool != NULL);
}

static inline void extbuf_free(void *addr, void *opaque)
{
	free(addr);
	free(opaque);
}

/* One segment of these bytes: on the heap and exactly as long, or in the pool's buffer. For chain_cut(); arg: bool *,
 * whether exact. */
static inline struct rte_mbuf *segment(const uint8_t *p, uint32_t n, void *arg)
{
	const bool *is_exact = arg;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (m == NULL)
		return NULL;
	if (*is_exact) {
		struct rte_mbuf_ext_shared_info *info = malloc(sizeof(*info));
		uint8_t *buf = malloc(n > 0 ? n : 1);

		CHECK(info != NULL && buf != NULL);
		info->free_cb = extbuf_free;
		info->fcb_opaque = info;
		rte_mbuf_ext_refcnt_set(info, 1);
		rte_pktmbuf_attach_extbuf(m, buf, 0, (uint16_t)n, info);
		m->data_off = 0;
	}
	memcpy(rte_pktmbuf_mtod(m, void *), p, n);
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	return m;
}

/* A packet that the library made is whole. */
static inline void check_chain(const struct rte_mbuf *m)
{
	uint32_t len = 0, n = 0;

	for (const struct rte_mbuf *s = m; s != NULL; s = s->next, n++) {
		len += s->data_len;
		CHECK(s->data_off + s->data_len <= s->buf_len);
	}
	CHECK(len == m->pkt_len && n == m->nb_segs);
}

#endif
