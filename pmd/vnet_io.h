/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames behind virtio-net headers between mbufs and a file descriptor's iovecs: shared by taps and packet sockets. A
 * frame is received into an ordinary mbuf (first 2 KiB, the header in its headroom) and a huge one (the rest). Worker.
 */
#ifndef LEAT_PMD_VNET_IO_H
#define LEAT_PMD_VNET_IO_H

#include <string.h>
#include <sys/uio.h>

#include <rte_mbuf.h>

#include "datapath/base/drop.h"
#include "pmd/mempool.h"
#include "pmd/vnet_hdr.h"

#define VNET_HDR_LEN sizeof(struct virtio_net_hdr)
#define VNET_IOV_MAX 129 /* for vnet_tx_iov(): header apart and 128 segments */

/* Buffers of one receive. */
struct vnet_rx_slot {
	struct rte_mbuf *first, *rest;
};

/* Completes the slot. False: no buffers. */
static inline bool vnet_slot_fill(
	struct vnet_rx_slot *s, struct rte_mempool *pool, struct rte_mempool *huge_pool)
{
	if (s->first == NULL)
		s->first = rte_pktmbuf_alloc(pool);
	if (s->rest == NULL) {
		s->rest = rte_pktmbuf_alloc(huge_pool);
		if (s->rest != NULL)
			s->rest->data_off = 0;
	}
	return s->first != NULL && s->rest != NULL;
}

static inline void vnet_slot_free(struct vnet_rx_slot *s)
{
	rte_pktmbuf_free(s->first);
	rte_pktmbuf_free(s->rest);
	s->first = s->rest = NULL;
}

static inline void vnet_slot_iov(const struct vnet_rx_slot *s, struct iovec iov[2])
{
	iov[0].iov_base = rte_pktmbuf_mtod(s->first, uint8_t *) - VNET_HDR_LEN;
	iov[0].iov_len = VNET_HDR_LEN + MEMPOOL_DATA_ROOM_BYTES;
	iov[1].iov_base = s->rest->buf_addr;
	iov[1].iov_len = s->rest->buf_len;
}

/* Cuts the slot's buffers into the frame of a receive of len bytes, header included; the header is copied to *hdr. NULL
 * and *why when the length is impossible; the slot then keeps its buffers. */
static inline struct rte_mbuf *vnet_slot_take(
	struct vnet_rx_slot *s, size_t len, struct virtio_net_hdr *hdr, enum drop_reason *why)
{
	struct rte_mbuf *m = s->first;

	if (unlikely(len < VNET_HDR_LEN + RTE_ETHER_HDR_LEN)) {
		*why = DROP_ETH_TRUNCATED;
		return NULL;
	}
	len -= VNET_HDR_LEN;
	if (unlikely(len > VNET_FRAME_LEN_MAX)) {
		*why = DROP_RX_TRUNCATED;
		return NULL;
	}
	memcpy(hdr, rte_pktmbuf_mtod(m, uint8_t *) - VNET_HDR_LEN, VNET_HDR_LEN);
	s->first = NULL;
	m->pkt_len = (uint32_t)len;
	m->data_len = (uint16_t)RTE_MIN(len, (size_t)MEMPOOL_DATA_ROOM_BYTES);
	if (len > MEMPOOL_DATA_ROOM_BYTES) {
		s->rest->data_len = (uint16_t)(len - MEMPOOL_DATA_ROOM_BYTES);
		m->next = s->rest;
		m->nb_segs = 2;
		s->rest = NULL;
	}
	return m;
}

/* iovecs of a frame to be sent. The header goes in front of the data where the buffer is ours alone, else into *hdr,
 * which must live until the frame is sent. Number of iovecs, 0: more than max. */
static inline int vnet_tx_iov(
	struct rte_mbuf *m, struct virtio_net_hdr *hdr, struct iovec *iov, int max)
{
	int n = 0;

	if (unlikely(m->nb_segs + 1 > max))
		return 0;
	vnet_hdr_from_mbuf(m, hdr);
	if (likely(rte_pktmbuf_headroom(m) >= VNET_HDR_LEN && RTE_MBUF_DIRECT(m) &&
		    rte_mbuf_refcnt_read(m) == 1)) {
		iov[n].iov_base = rte_pktmbuf_mtod(m, uint8_t *) - VNET_HDR_LEN;
		iov[n].iov_len = m->data_len + VNET_HDR_LEN;
		memcpy(iov[n++].iov_base, hdr, VNET_HDR_LEN);
		m = m->next;
	} else {
		iov[n].iov_base = hdr;
		iov[n++].iov_len = VNET_HDR_LEN;
	}
	for (; m != NULL; m = m->next) {
		if (m->data_len == 0)
			continue;
		iov[n].iov_base = rte_pktmbuf_mtod(m, void *);
		iov[n++].iov_len = m->data_len;
	}
	return n;
}

#endif
