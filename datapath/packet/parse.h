/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers → struct parsed. The whole truth about a packet, for the slow path; the fast path (datapath/fast) recognises the common
 * shapes itself and sends everything else here. Reads at most the first mbuf segment (port.h guarantees 128 bytes or
 * the whole packet there). Pure, any thread.
 */
#ifndef LEAT_PACKET_PARSE_H
#define LEAT_PACKET_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/addr.h"
#include "datapath/base/drop.h"

enum parsed_l3 { PARSED_OTHER, PARSED_IP4, PARSED_IP6, PARSED_ARP };

struct parsed {
	uint8_t l3;	   /* enum parsed_l3 */
	uint8_t proto;	   /* of the transport header, after IPv6 extension headers */
	uint8_t ttl;	   /* TTL or hop limit */
	uint8_t tcp_flags; /* SCTP: what its first chunk means in them */
	uint8_t icmp_type, icmp_code;
	bool has_l4;  /* ports (or ICMP fields) are valid: not a later fragment, not cut short */
	bool is_frag; /* any fragment of a datagram, the first one too */
	bool is_first_frag;
	bool may_fragment; /* IPv4 with DF clear */
	bool is_icmp_error;
	bool is_nd;	 /* ICMPv6 133…137 */
	bool is_ipsec;	 /* AH or ESP, also in front of another transport header */
	uint16_t l3_off; /* bytes from the frame's start */
	uint16_t l4_off;
	uint32_t
		l3_len; /* total length of the L3 packet by its own header; frame padding excluded */
	rte_be16_t sport, dport; /* ICMP query: both the identifier; else 0 without has_l4 */
	struct ip_addr src, dst;
};

/* Parses the frame. DROP_NONE, or why it is not acceptable (malformed; then *out holds what was understood so far).
 * A frame longer than its L3 packet is padding and fine; a shorter one is not. */
enum drop_reason parse_frame(const struct rte_mbuf *m, struct parsed *out);

/* The same from the L3 header at l3_off on; l3: PARSED_IP4 or PARSED_IP6. Used for what is quoted in ICMP errors too:
 * is_quote accepts a packet that is cut off behind 8 bytes of transport header and does not verify the header checksum. */
enum drop_reason parse_l3(const uint8_t *data, uint32_t data_len, uint32_t pkt_len, uint16_t l3_off,
	enum parsed_l3 l3, bool is_quote, struct parsed *out);

#endif
