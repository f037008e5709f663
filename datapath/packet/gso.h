/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Software segmentation of TCP (IPv4, IPv6) and UDP (USO) super-frames for ports that do not take
 * them. Metadata contract: datapath/pipeline/port.h. No state; worker that owns the packet.
 */
#ifndef LEAT_PACKET_GSO_H
#define LEAT_PACKET_GSO_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define GSO_HEADERS_MAX 256 /* bytes of l2 + l3 + l4 headers that a super-frame may have */

static inline bool gso_is_superframe(const struct rte_mbuf *m)
{
	return (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) != 0;
}

/* Bytes of the largest L3 packet that one of l3_len bytes becomes: a super-frame travels as segments. */
static inline uint32_t gso_wire_len(const struct rte_mbuf *m, uint32_t l3_len)
{
	if (__builtin_expect(!gso_is_superframe(m), 1))
		return l3_len;
	return (uint32_t)m->l3_len + m->l4_len + m->tso_segsz;
}

/* Segments that gso_segment() would make of a super-frame without an MTU, or 1. */
uint16_t gso_n_segments(const struct rte_mbuf *m);

/*
 * Cuts a super-frame into packets with finished checksums. The headers (l2_len, which may include a
 * tunnel's outer headers that the caller patches afterwards; l3_len; l4_len) are copied in front of
 * each, IPv4 ids count up, TCP sequence numbers advance, FIN and PSH stay on the last segment and
 * CWR on the first (RFC 3168 s. 6.1.2), UDP lengths are set. Payload is copied, so that ports
 * see one linear buffer (64,000 bytes, freed behind a copying port, best of 400: 591 cycles a segment
 * against 734 with indirect mbufs at 1400 bytes, 2648 against 2091 at 8900); each segment has
 * RTE_PKTMBUF_HEADROOM free in front. A packet that needs no cutting is finished in place and
 * becomes out[0].
 *
 * mtu: bytes of the largest L3 packet, 0: as tso_segsz says. TCP segments are made smaller to fit;
 * a UDP datagram cannot be. Returns the number of packets in out (≤ max); m is then freed or
 * out[0]. On error nothing was taken or leaked and m is unchanged and still the caller's: -EINVAL
 * metadata contradict the packet; -EMSGSIZE UDP datagrams exceed mtu, or mtu leaves no room for
 * payload; -E2BIG more than max segments; -ENOMEM pool empty.
 */
int gso_segment(struct rte_mbuf *m, struct rte_mempool *pool, uint16_t mtu, struct rte_mbuf **out,
	uint16_t max);

#endif
