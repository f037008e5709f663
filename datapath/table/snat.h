/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose source addresses are translated, and into what: pools of addresses and ports, one list of rules a zone that chooses a pool
 * (or none) for a new connection, and one-to-one pairs of an internal and an external address.
 *
 * A pool keeps no books of its ports. A port is free when the reply that it would bring is in no flow table entry yet, so that one port
 * serves any number of destinations (endpoint-dependent mapping, RFC 4787 s. 4.1 REQ-1 left to those who need it), no lock
 * is shared and nothing can leak: the port is free again when the connection's entry goes.
 *
 * Writer: control thread; counters: workers. Readers: workers.
 */
#ifndef LEAT_TABLE_SNAT_H
#define LEAT_TABLE_SNAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/base/rcu.h"
#include "datapath/base/slots.h"

#define SNAT_POOL_NONE SLOT_NONE
#define SNAT_POOL_NODE 0u /* always there: the address of this node (endpoint_node_addr()) */
#define SNAT_POOL_MAX (1u << 16)
#define SNAT_POOL_ADDRS_MAX 64
#define SNAT_POOL_NAME_LEN 64
#define SNAT_PAIR_MAX (1u << 16)
#define SNAT_PORT_LO 49152u /* dynamic ports, RFC 6335 s. 6: clear of node ports */
#define SNAT_PORT_HI 65535u

/* What a pool hands out; replaced as a whole, through RCU. */
struct snat_range {
	uint16_t port_lo, port_hi; /* host order, inclusive */
	uint8_t n_v4, n_v6;
	struct ip_addr v4[SNAT_POOL_ADDRS_MAX], v6[SNAT_POOL_ADDRS_MAX];
};

struct snat_pool {
	_Atomic uint32_t gen;
	uint32_t n_rules; /* that name it; control thread */
	_Atomic uint64_t n_conns, n_exhausted;
	struct snat_range *_Atomic range;
	char name[SNAT_POOL_NAME_LEN];
};

struct snat_pair {
	_Atomic uint32_t gen;
	_Atomic uint32_t internal_link, external_link;
	struct snat_key {
		struct ip_addr addr;
		uint64_t zone; /* as wide as it is aligned: the key has no padding */
	} internal, external;
	_Atomic uint64_t n_conns;
};

/* Valid until the next quiescent state. */
static inline const struct snat_range *snat_pool_range(const struct snat_pool *pool)
{
	return rcu_deref(pool->range);
}

extern struct slots snat_pool_slots, snat_pair_slots;

static inline struct snat_pool *snat_pool_at(uint32_t idx)
{
	return slots_at(&snat_pool_slots, idx);
}

static inline struct snat_pair *snat_pair_at(uint32_t idx)
{
	return slots_at(&snat_pair_slots, idx);
}

int snat_table_init(void);
void snat_table_fini(void);

/* addrs: n of either family. 0, -EEXIST, -ENOSPC, -ENOMEM, -EINVAL (an empty or inverted range, no address). Control thread. */
int snat_pool_add(const char *name, const struct ip_addr *addrs, unsigned int n, uint16_t port_lo,
	uint16_t port_hi, uint32_t *out_idx);
/* Changes what new connections are given; -EBUSY (the node's), -EINVAL, -ENOMEM, -ENOSPC. Control thread. */
int snat_pool_set(uint32_t idx, const struct ip_addr *addrs, unsigned int n, uint16_t port_lo,
	uint16_t port_hi);
/* -EBUSY while rules name it. */
int snat_pool_del(uint32_t idx);
uint32_t snat_pool_by_name(const char *name);
uint32_t snat_pool_next(uint32_t idx);

/* The pool's address for a client: the same one for the same client; unspecified if it has none of the family. Any thread. */
struct ip_addr snat_pool_addr(uint32_t idx, const struct ip_addr *client);

/* Rule list of the zone (classifier.h, actions RULE_SNAT with a pool as arg and RULE_NO_SNAT), RULELIST_NONE if it has none.
 * Any thread. */
uint32_t snat_list(uint16_t zone);
/* The same, made when needed. Control thread. */
uint32_t snat_list_get(uint16_t zone);

/* Pairs: internal is translated to external when it leaves the node, external to internal when it comes. 0, -EEXIST (either is in a
 * pair), -ENOSPC, -ENOENT, -EINVAL (families differ). Control thread. */
int snat_pair_add(uint16_t zone, const struct ip_addr *internal, const struct ip_addr *external);
int snat_pair_del(uint16_t zone, const struct ip_addr *internal);
uint32_t snat_pair_next(uint32_t idx);

/* The pair, or SLOT_NONE. Any thread. */
uint32_t snat_pair_of_internal(uint16_t zone, const struct ip_addr *addr);
uint32_t snat_pair_of_external(uint16_t zone, const struct ip_addr *addr);

#endif
