/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/chain.h"

#include <rte_memcpy.h>

bool chain_write(struct rte_mbuf *m, uint32_t off, const void *buf, uint32_t len)
{
	const uint8_t *p = buf;

	if (len > m->pkt_len || off > m->pkt_len - len)
		return false;
	while (off >= m->data_len && len > 0) {
		off -= m->data_len;
		m = m->next;
	}
	for (; len > 0; m = m->next) {
		uint32_t n = RTE_MIN(len, (uint32_t)m->data_len - off);

		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, off), p, n);
		p += n;
		len -= n;
		off = 0;
	}
	return true;
}

void chain_truncate(struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *last = m;
	uint16_t n = 1;

	m->pkt_len = len;
	while (len > last->data_len) {
		len -= last->data_len;
		last = last->next;
		n++;
	}
	last->data_len = (uint16_t)len;
	m->nb_segs = n;
	rte_pktmbuf_free(last->next);
	last->next = NULL;
}

void chain_pull_up(struct rte_mbuf *m, uint32_t len)
{
	len = RTE_MIN(len, m->pkt_len);
	while (m->data_len < len) {
		struct rte_mbuf *next = m->next;
		uint32_t n = RTE_MIN(len - m->data_len, (uint32_t)next->data_len);

		n = RTE_MIN(n, (uint32_t)rte_pktmbuf_tailroom(m));
		if (n == 0 && next->data_len != 0)
			return;
		memcpy(rte_pktmbuf_mtod_offset(m, void *, m->data_len),
			rte_pktmbuf_mtod(next, const void *), n);
		m->data_len = (uint16_t)(m->data_len + n);
		next->data_off = (uint16_t)(next->data_off + n);
		next->data_len = (uint16_t)(next->data_len - n);
		if (next->data_len == 0) {
			m->next = next->next;
			m->nb_segs--;
			rte_pktmbuf_free_seg(next);
		}
	}
}

bool chain_set(struct rte_mbuf *m, const void *buf, uint16_t len)
{
	if (m->buf_len - m->data_off < len)
		return false;
	rte_pktmbuf_free(m->next);
	m->next = NULL;
	m->nb_segs = 1;
	m->data_len = len;
	m->pkt_len = len;
	m->ol_flags &= ~(RTE_MBUF_F_TX_OFFLOAD_MASK);
	m->tx_offload = 0;
	memcpy(rte_pktmbuf_mtod(m, void *), buf, len);
	return true;
}

struct rte_mbuf *chain_create(struct rte_mempool *pool, const void *buf, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	void *p;

	if (m == NULL)
		return NULL;
	p = rte_pktmbuf_append(m, len);
	if (p == NULL) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(p, buf, len);
	return m;
}

void chain_cursor_init(struct chain_cursor *c, const struct rte_mbuf *m, uint32_t off)
{
	while (m != NULL && off >= m->data_len) {
		off -= m->data_len;
		m = m->next;
	}
	c->seg = m;
	c->off = off;
}

bool chain_append(struct rte_mbuf *m, struct rte_mbuf **last, struct rte_mempool *pool,
	struct chain_cursor *src, uint32_t len)
{
	while (len > 0) {
		uint32_t n, room = rte_pktmbuf_tailroom(*last);
		void *dst;

		while (src->seg != NULL && src->off >= src->seg->data_len) {
			src->seg = src->seg->next;
			src->off = 0;
		}
		if (src->seg == NULL)
			return false;
		if (room == 0) {
			struct rte_mbuf *more;

			if (m->nb_segs == UINT16_MAX || (more = rte_pktmbuf_alloc(pool)) == NULL)
				return false;
			more->data_off = 0; /* only the first segment needs headroom */
			(*last)->next = more;
			*last = more;
			m->nb_segs++;
			continue;
		}
		n = RTE_MIN(len, RTE_MIN(room, (uint32_t)src->seg->data_len - src->off));
		dst = rte_pktmbuf_mtod_offset(*last, void *, (*last)->data_len);
		rte_memcpy(dst, rte_pktmbuf_mtod_offset(src->seg, const void *, src->off), n);
		(*last)->data_len = (uint16_t)((*last)->data_len + n);
		m->pkt_len += n;
		src->off += n;
		len -= n;
	}
	return true;
}
