/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv6 extension headers (RFC 8200 s. 4) of a packet in a chain, for the library's slow functions.
 * Any thread. */
#ifndef LEAT_PACKET_IP6EXT_H
#define LEAT_PACKET_IP6EXT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define IP6EXT_MAX 8 /* headers walked; more is refused */

struct ip6ext {
	uint32_t l4_off; /* of the first header that is no extension header, from the packet's start
			  */
	uint32_t frag_off;   /* of the fragment header; 0: none */
	uint16_t frag_start; /* fragment offset in bytes */
	uint8_t proto;	     /* of the header at l4_off */
	bool is_fragment; /* a part of a datagram: offset or M set (an atomic fragment, RFC 6946, is
			     none) */
	bool has_routing; /* a routing header is there */
};

/* Walks from the IPv6 header at l3_off. A fragment with an offset ends the walk: proto is then what
 * its fragment header says and l4_off is where its piece begins. False: cut short, too many, or no
 * IPv6. */
bool ip6ext_walk(const struct rte_mbuf *m, uint32_t l3_off, struct ip6ext *out);

#endif
