/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments: IPv4 fragmentation by a router (RFC 791 s. 3.2, RFC 1812 s. 5.2.6; IPv6 is never fragmented on the way,
 * RFC 8200 s. 5), and where a fragment of either family belongs. No state; worker that owns the packet.
 */
#ifndef LEAT_PACKET_FRAG_H
#define LEAT_PACKET_FRAG_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define FRAG_MTU_MIN 68 /* RFC 791: every link carries that */

/*
 * Cuts the IPv4 packet whose header is at l3_off (what stands in front is copied to each fragment)
 * into fragments of at most mtu bytes of L3 packet. An unfinished L4 checksum is finished first.
 * Fragments of fragments keep their place in the datagram; options that do not have the copied flag
 * stay on the first. Payload is copied; each fragment has RTE_PKTMBUF_HEADROOM free in front. A
 * packet that fits becomes out[0] as it is.
 *
 * Returns the number of packets in out (≤ max); m is then freed or out[0]. On error nothing is
 * leaked and m is still the caller's (its L4 checksum perhaps finished): -EMSGSIZE DF is set
 * (answer with ICMP "fragmentation needed"); -EINVAL malformed, a super-frame, or mtu <
 * FRAG_MTU_MIN; -E2BIG more than max fragments; -ENOMEM pool empty.
 */
int frag_ip4(struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool, uint16_t mtu,
	struct rte_mbuf **out, uint16_t max);

/* Where a fragment belongs, with what table/fragtab.h asks about it. */
struct frag_place {
	uint32_t id;   /* of its datagram */
	uint8_t proto; /* IPv4's; 0 for IPv6, whose fragments need not agree on it */
	uint16_t off;  /* of its piece in the datagram's payload, bytes */
	uint16_t len;  /* of its piece, bytes */
	bool is_last;
};

/* The fragment whose IP header is at l3_off. False: none (an atomic one is none, RFC 6946), or malformed. */
bool frag_place(const struct rte_mbuf *m, uint16_t l3_off, struct frag_place *out);

#endif
