/* SPDX-License-Identifier: BSD-3-Clause */
/* A rule's description in a request → what the classifier takes. Control thread. */
#ifndef LEAT_API_RULE_CONFIG_H
#define LEAT_API_RULE_CONFIG_H

#include "control/api/api.h"
#include "control/names.h"

/* Fills cfg but for action and arg, takes references of its sets, and notes the groups in `name`. False: the call has been
 * failed. In both cases rule_config_fini() when the rule has been added or not. */
bool rule_config_init(struct call *call, const struct req_rule *req, uint16_t zone,
	struct rule_config *cfg, struct rule_name *name);
void rule_config_fini(const struct rule_config *cfg);

/* Counts the rule at the groups that it names. */
void rule_groups_count(const struct rule_name *name, int step);

#endif
