/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes of mbuf chains: bounds-checked read and write across segments, and copies into fresh
 * chains. For the library's slow functions; owner of the mbufs, any worker.
 */
#ifndef LEAT_PACKET_CHAIN_H
#define LEAT_PACKET_CHAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

/* Copies bytes [off, off + len) out. False: the packet is shorter. */
static inline bool chain_read(const struct rte_mbuf *m, uint32_t off, void *out, uint32_t len)
{
	const void *p = rte_pktmbuf_read(m, off, len, out);

	if (unlikely(p == NULL))
		return false;
	if (p != out)
		memcpy(out, p, len);
	return true;
}

/* Overwrites bytes [off, off + len). False, and nothing written: the packet is shorter. */
bool chain_write(struct rte_mbuf *m, uint32_t off, const void *buf, uint32_t len);

/* Makes the packet len bytes long (≤ pkt_len) from its end; segments that become empty are freed,
 * never the first. */
void chain_truncate(struct rte_mbuf *m, uint32_t len);

/* Moves bytes from later segments into the first until that holds min(len, pkt_len) bytes (it needs the tailroom; else
 * as many as fit). Segments that become empty are freed. */
void chain_pull_up(struct rte_mbuf *m, uint32_t len);

/* Makes the packet exactly these bytes, in its first segment; further segments are freed, offload
 * metadata is cleared. False, and nothing changed: the first segment's buffer (behind its data
 * start) is too small. */
bool chain_set(struct rte_mbuf *m, const void *buf, uint16_t len);

/* A new packet of these bytes with RTE_PKTMBUF_HEADROOM in front, in one segment. NULL: no mbuf, or
 * the pool's buffers are too small. */
struct rte_mbuf *chain_create(struct rte_mempool *pool, const void *buf, uint16_t len);

/* A place in a chain that is read from front to back. */
struct chain_cursor {
	const struct rte_mbuf *seg;
	uint32_t off;
};

/* off ≤ pkt_len. */
void chain_cursor_init(struct chain_cursor *c, const struct rte_mbuf *m, uint32_t off);

/* Appends len bytes from the cursor to the packet, whose last segment is *last, taking more mbufs
 * from pool as its buffers fill. False: the source ended or no mbuf was left; the packet is still
 * well-formed and the caller's to free. */
bool chain_append(struct rte_mbuf *m, struct rte_mbuf **last, struct rte_mempool *pool,
	struct chain_cursor *src, uint32_t len);

#endif
