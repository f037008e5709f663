/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ordered rule lists and the question that they answer: "which is the first rule of this list that matches the packet?"
 * Policies, ACLs and SNAT rules are such lists.
 *
 * A tuple space in three exact-match steps, so that neither a look-up nor an update grows with the number of rules: a list and a source
 * set (or any) give a branch; branch and destination set give a node; a node knows which shapes (protocol or not, source
 * port prefix length, destination port prefix length) occur in it, best priority first, and each shape is one look-up.
 * A port range is a few port prefixes. What grows: the sets that hold the packet's addresses or those that this list names, whichever
 * are fewer, and the distinct shapes in a node. Of several lists asked for one packet, those that name none of its sets or ports cost one
 * cache line. docs/policy.md.
 *
 * A look-up that overlaps changes may see each of them made or not made, in any combination; every answer is a rule of the list that
 * matches the packet. Flows judged by it are older than these changes and are judged again.
 *
 * Writer: control thread. Readers: workers.
 */
#ifndef LEAT_TABLE_CLASSIFIER_H
#define LEAT_TABLE_CLASSIFIER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"
#include "datapath/table/ipset.h"

#define RULELIST_NONE SLOT_NONE
#define RULE_NONE SLOT_NONE
#define RULELIST_MAX (1u << 17)
#define RULE_MAX (1u << 20)
#define RULE_SETS_MAX 64       /* alternatives a side */
#define RULE_PORTS_MAX 64      /* port ranges a side */
#define RULE_ENTRIES_MAX 8192u /* of one rule, sources × destinations × port prefixes */

enum rule_action {
	RULE_ALLOW,
	RULE_DENY,   /* silently */
	RULE_REJECT, /* TCP RST, else ICMP administratively prohibited */
	RULE_PASS,   /* goes on in the next tier */
	RULE_LOG,    /* logs and goes on with the next rule */
	RULE_SNAT,   /* SNAT lists: use pool `arg` */
	RULE_NO_SNAT,
	RULE_ACTION_N
};

#define RULE_F_LOG (1u << 0) /* log the packet beside the action */

/* Host order, inclusive. For ICMP and ICMPv6: a type alone is {type << 8, type << 8 | 255}, with code {type << 8 | code, same}; given as
 * destination ports. */
struct port_range {
	uint16_t lo, hi;
};

struct rule_config {
	uint64_t priority; /* less is first; equal: the older rule */
	uint64_t age;	   /* of a rule that was removed and comes back; 0: younger than all */
	uint8_t action;	   /* enum rule_action */
	uint8_t flags;	   /* RULE_F_* */
	bool has_proto;
	uint8_t proto;
	uint32_t arg; /* the caller's */
	uint32_t src[RULE_SETS_MAX], dst[RULE_SETS_MAX];
	uint8_t n_src, n_dst; /* alternatives; 0: any */
	struct port_range sport[RULE_PORTS_MAX], dport[RULE_PORTS_MAX];
	uint8_t n_sport, n_dport; /* 0: any, also packets without ports */
};

/* The published rule. */
struct rule {
	/* Immutable but for gen. */
	_Atomic uint32_t gen;
	uint32_t list;
	uint64_t priority;
	uint64_t age; /* less is older */
	uint32_t arg;
	uint8_t action, flags;
	/* The writer's. */
	uint32_t first_item;
	uint32_t next, prev; /* of the list */

	/* Written by workers. What connections carried is added when they end (control/usage.h). */
	_Atomic uint64_t n_conns __rte_cache_aligned; /* connections that the rule decided */
	_Atomic uint64_t pkts, bytes; /* of those that ended, and of packets denied */
};

static_assert(sizeof(struct rule) == 128, "a line that is read, a line that is counted");

/* What is asked: addresses and ports as the policy sees them. */
struct rule_packet {
	uint16_t zone;
	uint8_t proto;
	bool has_ports; /* false: later fragment, unknown protocol; matches rules without ports only */
	struct ip_addr src, dst;
	uint16_t sport, dport; /* host order; ICMP: dport = type << 8 | code */
};

#define QUERY_SETS_MAX 128 /* of an address; in more, its sets are asked one by one */

/* A packet asked of one or more lists, and what was found out about it for all of them. */
struct rule_query {
	const struct rule_packet *pkt;
	uint64_t port_sign[2]; /* bits of the destination port, as the lists' filters have them */
	struct rule_query_side {
		const struct ip_addr *addr;
		bool is_asked; /* a list wanted to know the address's sets */
		bool is_known; /* they were looked up, once for all lists */
		bool is_cut;   /* there are more than QUERY_SETS_MAX */
		uint32_t n;
		uint64_t sign[2]; /* bits of the sets */
		uint32_t set[QUERY_SETS_MAX];
	} side[2]; /* source, destination */
};

extern struct slots rule_slots;

static inline struct rule *rule_at(uint32_t idx)
{
	return slots_at(&rule_slots, idx);
}

int classifier_init(void);
void classifier_fini(void);

/* An empty list of a zone, or RULELIST_NONE. destroy removes its rules; flows that were decided by them see their gen. */
uint32_t rulelist_create(uint16_t zone);
void rulelist_destroy(uint32_t list);
uint32_t rulelist_n_rules(uint32_t list);

/* Calls fn(arg, list) for each list with a rule that names the set; it must not change lists. Control thread. */
void rulelist_foreach_of_set(uint32_t set, void (*fn)(void *arg, uint32_t list), void *arg);

/* Adds a rule; the sets are referenced by it. *out_rule: its index. 0, -ENOSPC, -E2BIG (more than RULE_ENTRIES_MAX combinations),
 * -EINVAL (counts, action, a range with lo > hi, a set that is not of the list's zone). On error nothing changed. */
int rule_add(uint32_t list, const struct rule_config *cfg, uint32_t *out_rule);
void rule_del(uint32_t rule);

/* pkt must outlive the query, and a query must not outlive a quiescent state. Any thread. */
void rule_query_init(struct rule_query *out_query, const struct rule_packet *pkt);

/* First rule that matches, or RULE_NONE. To go on after a RULE_LOG rule pass its index as after_rule, else RULE_NONE. Any
 * thread. */
uint32_t rulelist_match(uint32_t list, struct rule_query *query, uint32_t after_rule);

#endif
