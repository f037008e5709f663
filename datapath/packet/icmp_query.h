/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP messages that ask, and those that answer them: which belong together, and which carry an identifier. Pure, any thread. */
#ifndef LEAT_PACKET_ICMP_QUERY_H
#define LEAT_PACKET_ICMP_QUERY_H

#include <stdbool.h>
#include <stdint.h>

/* Types: of IPv4; of IPv6. */
enum icmp_query {
	ICMP_QUERY_ECHO,	  /* 8 and 0 (RFC 792)       128 and 129 (RFC 4443) */
	ICMP_QUERY_TIMESTAMP,	  /* 13 and 14 (RFC 792) */
	ICMP_QUERY_INFO,	  /* 15 and 16 (RFC 792) */
	ICMP_QUERY_MASK,	  /* 17 and 18 (RFC 950) */
	ICMP_QUERY_EXT_ECHO,	  /* 42 and 43 (RFC 8335)    160 and 161 */
	ICMP_QUERY_HOME_AGENT,	  /*                         144 and 145 (RFC 6275 s. 6.5) */
	ICMP_QUERY_MOBILE_PREFIX, /*                         146 and 147 (RFC 6275 s. 6.7) */
	ICMP_QUERY_NODE_INFO, /*                         139 and 140 (RFC 4620); no identifier */
	ICMP_QUERY_NONE,      /* anything else: nothing answers it */
	ICMP_QUERY_N
};

/* A message's query, and whether it is the answer: 2 × enum icmp_query + 1 for an answer. */
static inline uint8_t icmp_message_of(bool is_v6, uint8_t type)
{
	static const uint8_t requests[2][ICMP_QUERY_NONE] = {
		{ 8, 13, 15, 17, 42, 0, 0, 0 },
		{ 128, 0, 0, 0, 160, 144, 146, 139 },
	};

	if (!is_v6 && type == 0)
		return 2 * ICMP_QUERY_ECHO + 1;
	for (uint8_t q = 0; type != 0 && q < ICMP_QUERY_NONE; q++) {
		uint8_t request = requests[is_v6][q];

		if (request != 0 && type == request)
			return (uint8_t)(2 * q);
		if (request != 0 && type == request + 1)
			return (uint8_t)(2 * q + 1);
	}
	return 2 * ICMP_QUERY_NONE;
}

static inline bool icmp_message_is_answer(uint8_t message)
{
	return (message & 1) != 0;
}

/* Whether bytes 4 and 5 are an identifier that the answer repeats. */
static inline bool icmp_message_has_ident(uint8_t message)
{
	return message < 2 * ICMP_QUERY_NODE_INFO;
}

#endif
