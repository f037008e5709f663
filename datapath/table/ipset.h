/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of addresses: groups of pods (host prefixes), prefixes, prefixes with exceptions. Peers of policy rules, sources of
 * SNAT rules and source ranges of services are all sets.
 *
 * A set's members are prefixes, each plain or an exception; an address is in the set when the longest member that covers it is
 * plain. Two questions are answered, both lock-free and in a time that grows neither with the number of sets nor of members,
 * only with the number of distinct prefix lengths in use (and of sets in the answer): "is the address in this set?" and "which
 * sets hold this address?".
 * Adding or removing one member costs in proportion to the sets that share that very prefix.
 *
 * What flows depend on: a member change of a host prefix touches one of IPSET_GENS generations, chosen by the address
 * (ipset_addr_gen(), which new frontends of services touch too); the caller touches the users of the set for other members (policy.h).
 *
 * Writer: control thread. Readers: workers.
 */
#ifndef LEAT_TABLE_IPSET_H
#define LEAT_TABLE_IPSET_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/base/gen.h"
#include "datapath/base/slots.h"

#define IPSET_NONE SLOT_NONE
#define IPSET_MAX (1u << 18)
#define IPSET_MEMBERS_MAX (1u << 21)
#define IPSET_GENS 4096u

int ipset_table_init(void);
void ipset_table_fini(void);

/* An empty set of a zone with one reference, or IPSET_NONE when full. */
uint32_t ipset_create(uint16_t zone);

/* The shared set of exactly this prefix but these exceptions (host bits zero), made when needed; a reference is taken. except may be
 * NULL with n 0. IPSET_NONE when full. Equal content gives the same set, so that a prefix that ten thousand rules name is one set. */
uint32_t ipset_intern(uint16_t zone, const struct ip_prefix *prefix, const struct ip_prefix *except,
	unsigned int n);

/* References; the last put removes every member and frees the set. put accepts IPSET_NONE. */
void ipset_get(uint32_t set);
void ipset_put(uint32_t set);

/* Whether there is such a set in the zone: for checks of input. Control thread. */
bool ipset_is_in_zone(uint32_t set, uint16_t zone);

/* Members of a set from ipset_create(). 0, -EEXIST (same prefix is in it), -ENOENT, -ENOSPC. */
int ipset_member_add(uint32_t set, const struct ip_prefix *prefix, bool is_except);
int ipset_member_del(uint32_t set, const struct ip_prefix *prefix);
uint32_t ipset_n_members(uint32_t set);

/* Next member after *cursor (zeroed: from the start; order arbitrary but stable while nothing changes); false: no more. For listing. */
bool ipset_member_next(
	uint32_t set, uint64_t *cursor, struct ip_prefix *out_prefix, bool *out_is_except);

/* Whether the address is in the set. Any thread. */
bool ipset_contains(uint32_t set, const struct ip_addr *addr);

/* Calls fn(arg, set) for each set of the zone that holds the address, in no particular order, each once, until fn returns false.
 * Any thread. */
void ipset_foreach(
	uint16_t zone, const struct ip_addr *addr, bool (*fn)(void *arg, uint32_t set), void *arg);

/* Generation of host members with this address (shared by 1/IPSET_GENS of all addresses): a flow whose peers' generations are no newer
 * than its epoch has the same groups as when it was judged. */
extern _Atomic uint32_t ipset_gens[IPSET_GENS];

static inline _Atomic uint32_t *ipset_addr_gen(const struct ip_addr *addr)
{
	return &ipset_gens[(addr->q[1] ^ addr->q[0]) * 0x9e3779b97f4a7c15ull >> 52];
}

#endif
