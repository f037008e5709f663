/* SPDX-License-Identifier: BSD-3-Clause */
/* Internals of policy.h, shared by policy.c (writer) and policy_judge.c (readers). */
#ifndef LEAT_TABLE_POLICY_NODE_H
#define LEAT_TABLE_POLICY_NODE_H

#include "datapath/table/policy.h"

/* A policy as one endpoint and direction sees it. */
struct policy_bound {
	uint32_t tier;
	uint32_t policy;
	_Atomic uint32_t list; /* RULELIST_NONE: was unbound */
	uint32_t binding;      /* the writer's */
	uint8_t def;	       /* enum policy_default */
};

/* What an endpoint's direction is judged by, in order. Immutable but for `list`, which the writer may take away. */
struct policy_chain {
	uint8_t action; /* what no policy decided: RULE_ALLOW, RULE_DENY, RULE_REJECT */
	uint32_t n;
	struct policy_bound bound[];
};

/* NULL: nothing bound, allow. */
extern struct policy_chain *_Atomic policy_chains[POLICY_DIR_N][ENDPOINT_TABLE_MAX];

#endif
