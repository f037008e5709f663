/* SPDX-License-Identifier: BSD-3-Clause */
/* Internals of classifier.h, shared by classifier.c (writer) and classifier_match.c (readers). */
#ifndef LEAT_TABLE_CLASSIFIER_NODE_H
#define LEAT_TABLE_CLASSIFIER_NODE_H

#include "datapath/table/chainmap.h"
#include "datapath/table/classifier.h"

#define FORK_LISTED 8 /* children whose sets are asked one by one */
#define STEP_MAX (1u << 21)
#define ENTRY_MAX (1u << 22)
#define PORT_LEN_ANY 17 /* beside 0…16: also packets without ports */
#define PORT_PREFIXES_MAX (RULE_PORTS_MAX * 30)

struct port_prefix {
	uint16_t port;
	uint8_t len; /* 0…16, PORT_LEN_ANY */
};

/* Of n ranges (0: any), out: as few prefixes as cover them; their number. */
unsigned int port_prefixes(
	const struct port_range *ranges, unsigned int n, struct port_prefix out[PORT_PREFIXES_MAX]);

/* Where one set is chosen, or any: a list chooses by source, a branch by destination. The children of up to FORK_LISTED sets are
 * in `listed`, and the sets are asked for the address. Of more, the sets of the address are looked up as children; an address
 * in very many sets is asked of each child instead. */
struct fork {
	_Atomic uint64_t listed[FORK_LISTED]; /* set << 32 | child; FORK_EMPTY */
	_Atomic uint32_t n_unlisted;
	_Atomic uint32_t any;	/* the child for any address */
	_Atomic uint32_t first; /* children */
};

#define FORK_EMPTY UINT64_MAX

/* A child of a fork: a branch (chosen by source) or a node (by destination). */
struct step {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct step_key {
		uint32_t parent;
		uint32_t set; /* IPSET_NONE: any */
	} key;
	/* No rule below has a lesser one. Not raised again when rules go: it only saves work. */
	_Atomic uint64_t priority_min;
	_Atomic uint32_t next; /* of the fork */
	/* The writer's. */
	uint32_t prev;
	uint32_t n_refs; /* nodes of a branch; items of a node */
	bool is_listed;
};

struct branch {
	struct step step;
	struct fork dst;
};

/* Which fields an entry has: the "tuple". */
struct shape {
	uint64_t priority_min; /* as above */
	uint32_t n_entries;    /* the writer's; 0: waits to be left out */
	uint8_t slen, dlen;    /* as port_prefix.len */
	bool has_proto;
};

/* Immutable but for n_entries; ascending priority_min. */
struct shapes {
	uint32_t n;
	struct shape shape[];
};

struct node {
	struct step step;
	struct shapes *_Atomic shapes;
};

struct entry_key {
	uint32_t node;
	uint16_t sport, dport; /* masked */
	uint8_t slen, dlen;
	uint8_t has_proto, proto;
};

/* The rules with exactly these fields, first one first. */
struct entry {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct entry_key key;
	_Atomic uint32_t first;
	uint32_t last;
};

/* Order of rules in a list. */
struct rule_rank {
	uint64_t priority;
	uint64_t age; /* less is older; 0: before any rule */
};

/* One rule in one entry. */
struct item {
	_Atomic uint32_t gen;
	_Atomic uint32_t next; /* of the entry */
	uint32_t prev;
	uint32_t rule, entry;
	uint32_t next_of_rule;
	struct rule_rank rank;
};

enum { LEVEL_SRC, LEVEL_DST, LEVEL_N };

/* Whether a list can have a rule for the packet at all: one bit for each set and each destination port that its rules name, shared by others;
 * bit 0 for any. A packet passes whose bits meet those of both sides and of the port. Bits of rules that went stay in long lists: they
 * save work, they decide nothing. */
struct list_filter {
	_Atomic uint64_t set[LEVEL_N][2];
	_Atomic uint64_t port[2];
};

#define FILTER_BITS 128u
#define FILTER_ANY 0u
#define FILTER_PORT_LEN_MIN 12 /* shorter port prefixes count as any */
#define FILTER_REMAKE_MAX 256  /* entries of a list whose filter is made anew when a rule goes */

static inline unsigned int filter_bit(uint32_t value)
{
	return 1 + (unsigned int)((uint64_t)(value * 0x9e3779b1u) * (FILTER_BITS - 1) >> 32);
}

struct rulelist {
	_Atomic uint32_t gen;
	uint16_t zone;
	uint32_t n_items; /* the writer's */
	uint32_t first_rule;
	struct list_filter filter;
	uint32_t n_rules;
	struct fork src;
} __rte_cache_aligned;

static_assert(offsetof(struct rulelist, n_rules) == 64, "a list that is passed over is one line");

/* Branches and nodes. */
struct step_level {
	struct slots slots;
	struct chainmap map;
};

extern struct slots rulelist_slots, entry_slots, item_slots;
extern struct step_level step_levels[LEVEL_N];
extern struct chainmap entry_map;

int fork_tables_init(void);
void fork_tables_fini(void);

/* Whether so many can be made. */
bool fork_tables_have_room(uint32_t n_branches, uint32_t n_nodes);

/* A rule with these fields is about to be in the list; a rule of the list went. */
void filter_add(struct rulelist *list, uint32_t src, uint32_t dst, const struct entry_key *key);
void filter_rule_gone(struct rulelist *list);

void fork_init(struct fork *fork);

/* References to the branch of a source set in a list, to the node of a destination set in a branch; made when needed, gone with
 * the last. Who gets has made sure that there is room. */
uint32_t branch_get(uint32_t list, uint32_t src);
void branch_put(uint32_t idx);
uint32_t node_get(uint32_t branch, uint32_t dst);
void node_put(uint32_t idx);

/* A rule of this priority is about to be in the node. */
void node_priority_lower(uint32_t idx, uint64_t priority);

static inline struct rulelist *rulelist_at(uint32_t idx)
{
	return slots_at(&rulelist_slots, idx);
}

static inline struct step *step_at(const struct step_level *level, uint32_t idx)
{
	return slots_at(&level->slots, idx);
}

static inline struct branch *branch_at(uint32_t idx)
{
	return slots_at(&step_levels[LEVEL_SRC].slots, idx);
}

static inline struct node *node_at(uint32_t idx)
{
	return slots_at(&step_levels[LEVEL_DST].slots, idx);
}

static inline struct entry *entry_at(uint32_t idx)
{
	return slots_at(&entry_slots, idx);
}

static inline struct item *item_at(uint32_t idx)
{
	return slots_at(&item_slots, idx);
}

static inline bool rank_less(struct rule_rank a, struct rule_rank b)
{
	return a.priority != b.priority ? a.priority < b.priority : a.age < b.age;
}

static inline uint16_t port_masked(uint16_t port, unsigned int len)
{
	return len == 0 || len == PORT_LEN_ANY ? 0 : port & (uint16_t)(0xffff << (16 - len));
}

#endif
