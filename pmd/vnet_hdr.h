/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio-net headers, checked: between what a guest or kernel says about a frame and the mbuf metadata of
 * datapath/pipeline/port.h. Nothing the header claims is believed that the frame's own bytes do not show:
 * offsets come from parsing the frame, the header only selects (checksum unfinished, super-frame, segment size).
 * hdr is always the caller's private copy, never guest memory. Pure functions, any thread, no allocation.
 */
#ifndef LEAT_PMD_VNET_HDR_H
#define LEAT_PMD_VNET_HDR_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>
#include <rte_mbuf.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

/* Smallest segment size accepted, bytes of payload: one super-frame makes at most 1024 segments. */
#define VNET_GSO_SIZE_MIN 64
/* Largest L3 packet of a super-frame. */
#define VNET_L3_LEN_MAX 65535
/* Largest frame that a port may hand in: the above behind an Ethernet header and one VLAN tag. */
#define VNET_FRAME_LEN_MAX (VNET_L3_LEN_MAX + 18)

/* Whether the header asks for nothing: the frame is plain, vnet_hdr_to_mbuf() need not be called. */
static inline bool vnet_hdr_is_plain(const struct virtio_net_hdr *hdr)
{
	return ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) | hdr->gso_type) == 0;
}

/*
 * Sets ol_flags (TX_* by port.h), l2_len, l3_len, l4_len and tso_segsz of a received frame from its header
 * (fields little-endian). m holds the frame without the header; its old offload flags are replaced.
 * A super-frame whose payload fits one segment becomes a plain unfinished checksum.
 * True, or false when header and frame do not match: m then has no offload flags, and the caller drops it as
 * DROP_VNET_HDR.
 */
bool vnet_hdr_to_mbuf(const struct virtio_net_hdr *hdr, struct rte_mbuf *m);

/* The header for a frame about to be sent, from the same fields; all zero for a plain one. */
void vnet_hdr_from_mbuf(const struct rte_mbuf *m, struct virtio_net_hdr *out_hdr);

/* Checks again, against the frame itself, what a library put into ol_flags from a guest's header (TX_* flags).
 * is_uso: whether UDP segmentation was negotiated. Result and effect as vnet_hdr_to_mbuf(). */
bool vnet_mbuf_check(struct rte_mbuf *m, bool is_uso);

#endif
