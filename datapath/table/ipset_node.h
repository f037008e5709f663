/* SPDX-License-Identifier: BSD-3-Clause */
/* Internals of ipset.h, shared by ipset.c (writer) and ipset_lookup.c (readers). */
#ifndef LEAT_TABLE_IPSET_NODE_H
#define LEAT_TABLE_IPSET_NODE_H

#include <stdatomic.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/table/chainmap.h"
#include "datapath/table/ipset.h"

#define IPSET_LENS_MAX 129 /* lengths of a family: 0…128 */
#define IPSET_ZONES 65536

/* Prefix lengths that occur: a bitmap for readers, how often each does for the writer. IPv4 has word 0 to itself, so that bits are
 * 0…32 there and 64 + 0…128 for IPv6. */
struct ipset_lens {
	_Atomic uint64_t used[4];
	struct ipset_len_count *counts;
	uint8_t n_counts, counts_max;
};

struct ipset_len_count {
	uint32_t n;
	uint8_t bit;
};

struct ipset {
	_Atomic uint32_t gen;
	uint16_t zone;
	bool is_interned;
	uint32_t n_refs;
	uint32_t n_members;
	uint32_t first_member;
	struct ipset_lens lens;
	_Atomic uint32_t intern_link;
	struct ipset_intern_key {
		uint32_t hash[2];
	} intern_key;
};

/* One prefix in one set. */
struct ipset_member {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct ipset_member_key {
		struct ip_addr addr;
		uint32_t set;
		uint32_t len;
	} key;
	bool is_except;
	uint32_t next, prev; /* of the set */
};

/* One prefix in any set of a zone. */
struct ipset_prefix {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct ipset_prefix_key {
		struct ip_addr addr;
		uint32_t zone;
		uint32_t len;
	} key;
	uint32_t n_sharers;
	struct ipset_sharers *_Atomic sharers;
};

#define IPSET_SHARER_NONE UINT32_MAX

/* The sets that have a prefix, in no order, with gaps. The writer fills and makes gaps in place; a full array is replaced. */
struct ipset_sharers {
	uint32_t max;
	_Atomic uint32_t sharer[]; /* set << 1 | is_except, or IPSET_SHARER_NONE */
};

extern struct slots ipset_slots, ipset_member_slots, ipset_prefix_slots;
extern struct chainmap ipset_member_map, ipset_prefix_map;
extern struct ipset_lens *_Atomic ipset_zones[IPSET_ZONES]; /* NULL: never had a member */

static inline struct ipset *ipset_at(uint32_t idx)
{
	return slots_at(&ipset_slots, idx);
}

static inline struct ipset_member *ipset_member_at(uint32_t idx)
{
	return slots_at(&ipset_member_slots, idx);
}

static inline struct ipset_prefix *ipset_prefix_at(uint32_t idx)
{
	return slots_at(&ipset_prefix_slots, idx);
}

static inline unsigned int ipset_len_bit(bool is_v6, unsigned int len)
{
	return (is_v6 ? 64 : 0) + len;
}

#endif
