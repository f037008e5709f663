/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments of datagrams on their way through: what the first one shows (ports) is remembered for the later ones, those that come before
 * the first are held until it does. Nothing is reassembled. Overlaps are found, and end the datagram (RFC 5722 for IPv6,
 * here for IPv4 too), so that what was judged is what the receiver puts together.
 *
 * Bounded: datagrams, fragments recorded and held for each, held in all. One source address of a port or tunnel gets an eighth of the
 * datagrams and of the held fragments (addresses that share a counter share the eighth), and whatever comes in by one port or tunnel
 * at most half as much as it leaves free: a third of the room alone, and so many floods never all of it. A datagram leaves the table when it is complete or
 * FRAGTAB_TIMEOUT_NS after its first arrival, whichever comes first. So a repeated fragment of a complete datagram
 * begins a new one, and a sender may use its identifiers again at once.
 *
 * Threads: any worker; a bucket of datagrams is locked for the time of an operation. No allocation after fragtab_create().
 */
#ifndef LEAT_TABLE_FRAGTAB_H
#define LEAT_TABLE_FRAGTAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/addr.h"

#define FRAGTAB_DATAGRAMS 4096u /* default size */
#define FRAGTAB_HELD_MAX 16u	/* of one datagram */
#define FRAGTAB_RANGES_MAX 64u	/* fragments of one datagram; 64 KiB at 1280 bytes are 54 */
#define FRAGTAB_SOURCE_SHARE 8u /* 1 / share for one source */
#define FRAGTAB_FREE_SHARE 2u	/* 1 / share of what is free for one port or tunnel */
#define FRAGTAB_TIMEOUT_NS 30000000000ull /* RFC 791 s. 3.2, RFC 8200 s. 4.5: at most 60 s */

struct fragtab;

/* What makes fragments one datagram. All bytes count: clear before filling. */
struct fragtab_key {
	struct ip_addr src, dst;
	uint32_t id;
	uint16_t zone;
	uint16_t in; /* as in a flow: where they come in */
	uint8_t proto; /* IPv4's; 0 for IPv6, whose fragments need not agree on it (RFC 8200 s. 4.5) */
	uint8_t reserved[7];
};

/* Place in the datagram's payload, bytes. */
struct fragtab_range {
	uint16_t off; /* 0: the first fragment */
	uint16_t len;
	bool is_last;
};

/* What only the first fragment shows. */
struct fragtab_first {
	rte_be16_t sport, dport;
	uint8_t proto; /* of the transport header */
	uint8_t icmp_type, icmp_code;
	uint8_t tcp_flags;
	bool has_l4;
};

enum fragtab_verdict {
	FRAGTAB_FIRST,	   /* the first fragment; held ones, if any, go on behind it */
	FRAGTAB_PORTS,	   /* a later one, out->first is filled */
	FRAGTAB_HELD,	   /* the mbuf is the table's now */
	FRAGTAB_DUPLICATE, /* was there before: to be dropped, alone */
	FRAGTAB_OVERLAP, /* to be dropped with held ones, if any; so will all further ones of the datagram */
	FRAGTAB_FULL, /* no room to remember or hold it: to be dropped */
	FRAGTAB_N
};

struct fragtab_out {
	struct fragtab_first first;
	uint32_t n_held;
	struct rte_mbuf *held[FRAGTAB_HELD_MAX]; /* in order of arrival, the caller's now */
};

struct fragtab_usage {
	uint32_t n_datagrams, n_datagrams_max;
	uint32_t n_held, n_held_max;
};

/* Room for n_datagrams (a power of two, ≥ 16) and half as many held fragments. NULL: no memory, or another number. */
struct fragtab *fragtab_create(uint32_t n_datagrams);

/* Frees held fragments too. No worker may be using it. */
void fragtab_destroy(struct fragtab *t);

/* A fragment arrives. first: what it shows, when range->off is 0; else not looked at. now_ns: clock_ns(). The mbuf stays the caller's
 * unless FRAGTAB_HELD. out->n_held is always set, out->first with FRAGTAB_FIRST and FRAGTAB_PORTS. */
enum fragtab_verdict fragtab_enter(struct fragtab *t, const struct fragtab_key *key,
	const struct fragtab_range *range, const struct fragtab_first *first, struct rte_mbuf *m,
	uint64_t now_ns, struct fragtab_out *out);

/* Forgets datagrams that are too old and hands out their held fragments, up to max (≥ FRAGTAB_HELD_MAX), for dropping. Number of
 * fragments in out; to be called again until it is 0, and once a second. Any worker. */
uint32_t fragtab_expire(struct fragtab *t, uint64_t now_ns, struct rte_mbuf **out, uint32_t max);

struct fragtab_usage fragtab_usage(const struct fragtab *t);

#endif
