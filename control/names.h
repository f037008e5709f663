/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the API calls things that the tables know by index only: groups (sets of addresses), rules of policies and of source translation,
 * and bindings, which stand while their endpoint is away. Control thread.
 */
#ifndef LEAT_NAMES_H
#define LEAT_NAMES_H

#include <stdint.h>

#include "datapath/base/slots.h"
#include "datapath/table/chainmap.h"
#include "datapath/table/classifier.h"
#include "datapath/table/policy.h"

#define NAMES_LEN 128

/* --- groups --- */

struct group {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	char name[NAMES_LEN];
	uint16_t zone;
	uint32_t set;	 /* ipset */
	uint32_t n_refs; /* rules that name it */
};

uint32_t group_by_name(const char *name);
/* Index or SLOT_NONE. */
uint32_t group_create(const char *name, uint16_t zone);
void group_destroy(uint32_t idx);
uint32_t group_next(uint32_t idx);
struct group *group_at(uint32_t idx);

/* --- rules --- */

struct rule_name {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct rule_name_key {
		uint32_t owner; /* policy index, or zone | RULE_OWNER_ZONE of a SNAT rule */
		char name[64];
	} key;
	uint32_t rule;
	uint32_t pool;			    /* of a SNAT rule, SLOT_NONE */
	uint32_t groups[2 * RULE_SETS_MAX]; /* that it names */
	uint8_t n_groups;
	uint8_t dir; /* enum policy_dir */
};

#define RULE_OWNER_ZONE (1u << 31)

uint32_t rule_name_find(uint32_t owner, const char *name);
/* Index or SLOT_NONE. The caller fills the rest, then rule_name_enter(). */
uint32_t rule_name_create(uint32_t owner, const char *name);
void rule_name_enter(uint32_t idx);
void rule_name_destroy(uint32_t idx);
uint32_t rule_name_next(uint32_t idx);
struct rule_name *rule_name_at(uint32_t idx);

/* Name of a rule of the tables, NULL if it has none. */
const struct rule_name *rule_name_of(uint32_t rule);

/* "policy/rule" or "snat/rule" into buf; "default" for RULE_NONE. Returns buf. */
const char *rule_name_text(uint32_t rule, char *buf, size_t size);

/* --- bindings and defaults of endpoints, by their ids --- */

/* 0, -EEXIST, -ENOMEM. */
int binding_add(const char *endpoint, uint32_t policy);
int binding_del(const char *endpoint, uint32_t policy); /* -ENOENT */
unsigned int binding_count(uint32_t policy);
/* Calls fn for each endpoint id bound to the policy. */
void binding_foreach(uint32_t policy, void (*fn)(void *arg, const char *endpoint), void *arg);

/* enum rule_action each. 0, -ENOMEM. */
int binding_default_set(const char *endpoint, enum rule_action ingress, enum rule_action egress);
bool binding_default_del(const char *endpoint);

/* An endpoint has come, before it can send or receive. */
void binding_endpoint_added(uint32_t endpoint);

int names_init(void);
void names_fini(void);

#endif
