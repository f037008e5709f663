/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies: rule lists for each direction, bound to endpoints, judged tier by tier.
 *
 * For one endpoint and direction: tiers in ascending order; in a tier the policies bound to the endpoint, by (order, name);
 * in each the rules by priority. The first matching rule decides: allow, deny and reject are final, pass leaves the tier. A tier in
 * which some policy isolates the direction and no rule decided ends with that policy's default (deny over allow). After the
 * last tier: the endpoint's own default, allow unless set. (Of several defaults in a tier: the first that is not allow.) (Kubernetes NetworkPolicy: one tier, allow rules, default deny;
 * AdminNetworkPolicy: a tier before and one behind; Calico: tiers as they are; an NFV ACL: one policy.)
 *
 * Cost of a judgement: the policies bound to that endpoint, never what else is configured. A change touches the generations
 * of the endpoints that the policy is bound to.
 *
 * Writer: control thread. Readers: workers.
 */
#ifndef LEAT_TABLE_POLICY_H
#define LEAT_TABLE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/slots.h"
#include "datapath/table/classifier.h"
#include "datapath/table/endpoint.h"

#define POLICY_NONE SLOT_NONE
#define POLICY_TABLE_MAX (1u << 16)
#define POLICY_NAME_LEN 128

enum policy_dir { POLICY_EGRESS, POLICY_INGRESS, POLICY_DIR_N }; /* as the endpoint sees it */

/* What a direction of a policy does when none of its tier's rules decided. */
enum policy_default {
	POLICY_NEXT, /* does not isolate: the next tier */
	POLICY_DENY, /* isolates */
	POLICY_REJECT,
	POLICY_ALLOW,
	POLICY_DEFAULT_N
};

struct policy {
	_Atomic uint32_t gen;
	uint16_t zone;
	uint32_t tier, order;
	uint32_t list[POLICY_DIR_N];
	uint8_t def[POLICY_DIR_N]; /* enum policy_default */
	uint32_t n_bound;
	uint32_t first_binding;
	_Atomic uint32_t link; /* of the names */
	char name[POLICY_NAME_LEN];
};

struct policy_config {
	const char *name;
	uint16_t zone;
	uint32_t tier, order;
	enum policy_default def[POLICY_DIR_N];
};

/* What was decided, and by whom. */
struct policy_verdict {
	uint8_t action;	   /* RULE_ALLOW, RULE_DENY or RULE_REJECT */
	uint32_t policy;   /* POLICY_NONE: the endpoint's own default */
	uint32_t rule;	   /* RULE_NONE: a default */
	uint32_t log_rule; /* first matching rule that asked for a log line, RULE_NONE */
};

int policy_table_init(void);
void policy_table_fini(void);

/* 0, -EEXIST, -ENOSPC. */
int policy_add(const struct policy_config *cfg, uint32_t *out_idx);
/* Changes tier, order and defaults, also where it is bound; nothing on an error. 0, -EBUSY (another zone), -ENOMEM. */
int policy_set(uint32_t idx, const struct policy_config *cfg);
/* With its rules and bindings. */
void policy_del(uint32_t idx);
uint32_t policy_by_name(const char *name);
uint32_t policy_next(uint32_t idx);

extern struct slots policy_slots;

static inline struct policy *policy_at(uint32_t idx)
{
	return slots_at(&policy_slots, idx);
}

/* A rule of the policy, action RULE_ALLOW … RULE_LOG; as rule_add(), and touches the endpoints that the policy is bound to. */
int policy_rule_add(
	uint32_t policy, enum policy_dir dir, const struct rule_config *cfg, uint32_t *out_rule);
void policy_rule_del(uint32_t rule);

/* Binds to an endpoint of the same zone. 0, -EEXIST (bind), -ENOENT (unbind), -ENOMEM (bind). */
int policy_bind(uint32_t policy, uint32_t endpoint);
int policy_unbind(uint32_t policy, uint32_t endpoint);
/* Bindings and defaults go with their endpoint: endpoint_del() calls this. */
void policy_endpoint_gone(uint32_t endpoint);

/* Policies bound to an endpoint, in the order of judgement: up to max indexes; their number in all. Control thread. */
unsigned int policy_bound(uint32_t endpoint, uint32_t *out_policies, unsigned int max);

/* What an endpoint does with what no policy decided: RULE_ALLOW (initially), RULE_DENY or RULE_REJECT.
 * 0, -EINVAL, -ENOMEM. */
int policy_endpoint_default(uint32_t endpoint, enum policy_dir dir, enum rule_action action);

/* A member of the set that is not one host changed: touches the endpoints whose policies use the set. Host members need nothing
 * (ipset_addr_gen()). */
void policy_set_changed(uint32_t set);

/* Whether anything is bound to the endpoint in that direction: the plain case costs one load. Any thread. */
bool policy_applies(uint32_t endpoint, enum policy_dir dir);

/* Judges. Any thread. */
void policy_judge(uint32_t endpoint, enum policy_dir dir, const struct rule_packet *pkt,
	struct policy_verdict *out);

#endif
