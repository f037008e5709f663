/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMPv4 and ICMPv6 errors about a packet (RFC 792, RFC 1812 s. 4.3, RFC 1191, RFC 4443). Rate
 * limits and the choice of the source address are the caller's. No state; any worker.
 */
#ifndef LEAT_PACKET_ICMP_ERROR_H
#define LEAT_PACKET_ICMP_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/addr.h"

enum icmp_error_kind {		      /* IPv4 type/code    IPv6 type/code */
	ICMP_ERROR_TTL_EXCEEDED,      /* 11/0              3/0  */
	ICMP_ERROR_NO_ROUTE,	      /* 3/0               1/0  */
	ICMP_ERROR_HOST_UNREACHABLE,  /* 3/1               1/3  address unreachable */
	ICMP_ERROR_PROTO_UNREACHABLE, /* 3/2              4/1  parameter problem, param: pointer */
	ICMP_ERROR_PORT_UNREACHABLE,  /* 3/3               1/4  */
	ICMP_ERROR_TOO_BIG,	      /* 3/4  param: MTU   2/0  param: MTU */
	ICMP_ERROR_PROHIBITED,	      /* 3/13              1/1  */
	ICMP_ERROR_N
};

/*
 * Whether an error about the packet at l3_off may be sent at all: never about an ICMP error (or an
 * ICMP message that cannot be told apart from one), a later fragment, a packet to a multicast or
 * broadcast address on either layer, or from an address that is not one host's (RFC 1122 s. 3.2.2,
 * RFC 1812 s. 4.3.2.7, RFC 4443 s. 2.4 (e), whose exception for "packet too big" about multicast
 * holds). The destination MAC is looked at when l3_off ≥ 14.
 */
bool icmp_error_allowed(const struct rte_mbuf *m, uint16_t l3_off, enum icmp_error_kind kind);

/*
 * A new packet from src (same family as m's packet; else NULL) to the source of the packet at
 * l3_off, quoting it from its IP header on: IPv4 up to 576 bytes in all, IPv6 up to 1280. The quote
 * is what the packet holds now, so call before TTL or addresses are rewritten; an unfinished L4
 * checksum is quoted as it stands.
 *
 * Result: 14 zero bytes for the Ethernet header with only its EtherType set, then the IP header
 * (l2_len = 14, l3_len 20 or 40), checksums finished, RTE_PKTMBUF_HEADROOM bytes free in front. TTL
 * 64, DF set, TOS 0xc0 (RFC 1812 s. 4.3.2.5). m is not changed and stays the caller's. NULL:
 * icmp_error_allowed() says no, malformed, or the pool is empty.
 */
struct rte_mbuf *icmp_error_create(const struct rte_mbuf *m, uint16_t l3_off,
	enum icmp_error_kind kind, uint32_t param, const struct ip_addr *src,
	struct rte_mempool *pool);

#endif
