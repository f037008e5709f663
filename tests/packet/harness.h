/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node for tests: the real pipeline, tables and ring ports in one process without hugepages, for the packet harness
 * (harness.c) and the pipeline's fuzz target. One thread: it is worker 0 and the control thread at once. Time stands still
 * but for clock_warp_ns() and 1 ms a round of the "step" command.
 */
#ifndef LEAT_TESTS_PACKET_HARNESS_H
#define LEAT_TESTS_PACKET_HARNESS_H

#include <cjson/cJSON.h>

#include "datapath/pipeline/pipeline.h"

#define HARNESS_CONNS 4096

/* EAL and buffers, once a process; ends the process with a message if that fails. */
void node_start(const char *instance);
void node_stop(void);

/* A node without configuration, and back: everything is freed, so that a sanitizer can tell what leaked. */
void node_init(uint32_t n_conns);
/* The same with n_workers of them, each to be run on a thread of its own, which registers it as an RCU reader. */
void node_init_workers(uint32_t n_conns, unsigned int n_workers);
void node_fini(void);

/* Runs the command in params ("cmd" and its members). NULL, or what was wrong. */
const char *node_command(const cJSON *params, cJSON *result);

/* A command's handler: fills result; NULL, or what was wrong (static or in harness_error). */
typedef const char *harness_fn(const cJSON *params, cJSON *result);

struct harness_command {
	const char *name;
	harness_fn *fn;
};

/* The command's handler in a table, or NULL. */
harness_fn *harness_find(const struct harness_command *table, const cJSON *params);

extern struct worker *harness_worker;
extern struct flowtab harness_ft4, harness_ft6;

extern char harness_error[256];

/* Sets harness_error and returns it. */
__attribute__((format(printf, 1, 2))) const char *harness_fail(const char *fmt, ...);

/* Members of params; a missing one is the default. */
const char *harness_str(const cJSON *params, const char *name, const char *def);
double harness_num(const cJSON *params, const char *name, double def);

#define HARNESS_FRAME_MAX 70000

/* Bytes of a lower-case hex text; -1: not one, or more than HARNESS_FRAME_MAX. */
int harness_from_hex(const char *text, uint8_t *out);
/* The caller frees it. */
char *harness_to_hex(const struct rte_mbuf *m);

/* The worker's loop until nothing moves any more, the control thread's share, and 1 ms passes; packets that moved. */
unsigned int harness_round(void);

/* Forgets names of groups and rules, and the policies' mode. */
void harness_policy_reset(void);

/* Configuration (harness_config.c, harness_service.c, harness_rule.c, harness_policy.c, harness_snat.c), packets (harness_io.c,
 * harness_exchange.c); in the harness only, the control thread (harness_control.c). All end with { NULL, NULL }. */
extern const struct harness_command harness_config_commands[];
extern const struct harness_command harness_service_commands[];
extern const struct harness_command harness_group_commands[];
extern const struct harness_command harness_policy_commands[];
extern const struct harness_command harness_snat_commands[];
extern const struct harness_command harness_io_commands[];
extern const struct harness_command harness_exchange_commands[];
extern const struct harness_command harness_control_commands[];

/* Before node_fini(). Nothing if not started. */
void harness_control_stop(void);

#endif
