/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules as JSON has them, and names for objects that the tables do not name. */
#ifndef LEAT_TESTS_PACKET_HARNESS_RULE_H
#define LEAT_TESTS_PACKET_HARNESS_RULE_H

#include "datapath/table/classifier.h"
#include "tests/packet/harness.h"

#define HARNESS_NAMES_MAX 1024
#define HARNESS_NAME_LEN 64

struct harness_names {
	unsigned int n;
	struct {
		char name[HARNESS_NAME_LEN];
		uint32_t idx;
	} at[HARNESS_NAMES_MAX];
};

const char *harness_name_add(struct harness_names *names, const char *name, uint32_t idx);
/* The index, which has no name any more; SLOT_NONE. */
uint32_t harness_name_take(struct harness_names *names, const char *name);

uint16_t harness_zone(const cJSON *params);

/* "tcp" … or a number. */
bool harness_proto(const char *text, uint8_t *out);

/* Priority and match of a rule, with references to its sets; NULL, or what was wrong. */
const char *harness_rule(const cJSON *params, struct rule_config *cfg);
/* Gives the references back: the rule has its own. */
void harness_rule_fini(const struct rule_config *cfg);

/* Publishes; NULL, or what a table said of its change. */
const char *harness_done(const char *what, int rc);

void harness_groups_reset(void);
void harness_snat_reset(void);

#endif
