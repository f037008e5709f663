/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/packet/harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/route.h"
#include "datapath/table/tables.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

#define N_MBUFS 8192

struct worker *harness_worker;
struct flowtab harness_ft4, harness_ft6;
char harness_error[256];

const char *harness_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(harness_error, sizeof(harness_error), fmt, ap);
	va_end(ap);
	return harness_error;
}

const char *harness_str(const cJSON *params, const char *name, const char *def)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, name);

	return cJSON_IsString(v) ? v->valuestring : def;
}

double harness_num(const cJSON *params, const char *name, double def)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(params, name);

	return cJSON_IsNumber(v) ? v->valuedouble : cJSON_IsBool(v) ? cJSON_IsTrue(v) : def;
}

static void must(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "harness: %s: %s\n", what, strerror(-rc));
		exit(2);
	}
}

void node_start(const char *instance)
{
	static const unsigned int cores[1];
	const struct eal_config eal = { .instance = instance,
		.worker_cores = cores,
		.n_workers = 0,
		.mem_mb = 256,
		.no_huge = true };
	const struct mempool_config pools = { .n_mbufs = N_MBUFS, .n_nodes = 1 };
	char err[256] = "";
	int rc = eal_start(&eal, err, sizeof(err));

	if (rc == 0)
		rc = mempool_init(&pools, err, sizeof(err));
	must(err, rc);
	clock_init();
	/* The TSC does not count: only clock_warp_ns() moves time. */
	clock_tsc_mult = 0;
	clock_warp_ns(3600 * CLOCK_NS_PER_S);
}

void node_init(uint32_t n_conns)
{
	node_init_workers(n_conns, 1);
	rcu_reader_register(0);
}

void node_init_workers(uint32_t n_conns, unsigned int n_workers)
{
	const struct portmgr_config ports = { .n_workers = n_workers };
	const char *cold, *what;

	must("tables", tables_init(1u << 16, 256u << 20, &what));
	must("mailboxes", punt_init());
	must("observers", observe_init());
	must("ports", portmgr_init(&ports));
	atomic_store(&conn_tcp_strict, false);
	atomic_store(&flowtab_early_drop, true);
	memset(conn_zone_max, 0, sizeof(conn_zone_max));
	conn_timeout_set(CONN_UDP, CONN_NEW, 0);
	conn_timeout_set(CONN_UDP, CONN_REPLIED, 0);
	must("IPv4 flows", flowtab_open(&harness_ft4, NULL, false, n_conns, n_workers, 0, &cold));
	must("IPv6 flows", flowtab_open(&harness_ft6, NULL, true, n_conns, n_workers, 0, &cold));
	for (unsigned int i = 0; i < n_workers; i++)
		must("worker",
			worker_create(i, &harness_ft4, &harness_ft6, mempool_get(0)) != NULL
				? 0
				: -ENOMEM);
	harness_worker = worker_table[0];
	harness_policy_reset();
}

void node_fini(void)
{
	rcu_reader_unregister(0); /* if it was */
	portmgr_fini(false);
	for (unsigned int i = 0; i < worker_count; i++)
		worker_destroy(worker_table[i]);
	worker_count = 0;
	flowtab_close(&harness_ft4, false);
	flowtab_close(&harness_ft6, false);
	observe_fini();
	punt_fini();
	tables_fini();
}

harness_fn *harness_find(const struct harness_command *table, const cJSON *params)
{
	const char *name = harness_str(params, "cmd", "");

	for (; table->name != NULL; table++)
		if (strcmp(table->name, name) == 0)
			return table->fn;
	return NULL;
}

const char *node_command(const cJSON *params, cJSON *result)
{
	static const struct harness_command *const tables[] = { harness_config_commands,
		harness_service_commands, harness_group_commands, harness_policy_commands,
		harness_snat_commands, harness_io_commands, harness_exchange_commands };
	harness_fn *fn = NULL;

	for (size_t i = 0; i < RTE_DIM(tables) && fn == NULL; i++)
		fn = harness_find(tables[i], params);
	return fn != NULL ? fn(params, result) : "no such command";
}

void node_stop(void)
{
	mempool_fini();
	eal_stop();
}
