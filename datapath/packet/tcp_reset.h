/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP resets that a router sends in an endpoint's name: the answer to a segment that nobody takes, and the end of a connection
 * whose other side is gone. Rate limits are the caller's. No state; any worker.
 *
 * Results are made as those of icmp_error_create(): 14 zero bytes for the Ethernet header with only its EtherType set, the
 * IP header (l2_len = 14, l3_len 20 or 40; TTL 64, DF set), a TCP header of 20 bytes, checksums finished,
 * RTE_PKTMBUF_HEADROOM bytes free in front. m is not changed and stays the caller's. NULL: not a whole TCP segment in order
 * (a fragment, malformed, a wrong checksum; an unfinished one is fine), itself a RST, an address on either side that is not one
 * host's, or the pool is empty.
 */
#ifndef LEAT_PACKET_TCP_RESET_H
#define LEAT_PACKET_TCP_RESET_H

#include <stdint.h>

#include <rte_mbuf.h>

/* The answer of a closed port to the segment at l3_off, to its sender (RFC 9293 s. 3.10.7.1). */
struct rte_mbuf *tcp_reset_create(
	const struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool);

/* A reset for the receiver of the segment at l3_off, in the name of its sender and in place of the segment: its addresses, ports
 * and acknowledgement, and the first sequence number behind a SYN, which is what a receiver that has
 * all before it takes a RST for (RFC 9293 s. 3.10.7.4, RFC 5961 s. 3.2). */
struct rte_mbuf *tcp_reset_for(const struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool);

#endif
