/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 fragmentation by a router (RFC 791 s. 3.2, RFC 1812 s. 5.2.6). No state; worker that owns
 * the packet. IPv6 is never fragmented on the way (RFC 8200 s. 5).
 */
#ifndef LEAT_PACKET_FRAG_H
#define LEAT_PACKET_FRAG_H

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

#endif
