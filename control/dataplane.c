/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/dataplane.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "control/instance.h"
#include "control/loop.h"
#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/neigh.h"
#include "datapath/table/path.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

static unsigned int tick(void)
{
	route_poll();
	return rcu_poll() > 0;
}

struct step {
	const char *what;
	int (*start)(void);
	void (*stop)(void);
};

static int start_route(void)
{
	return route_init(0, 0);
}

/* In order of start; stopped backwards. */
static const struct step tables[] = {
	{ "RCU", rcu_init, rcu_fini },
	{ "paths", path_table_init, path_table_fini },
	{ "endpoints", endpoint_table_init, endpoint_table_fini },
	{ "neighbours", neigh_table_init, neigh_table_fini },
	{ "tunnels", tunnel_table_init, tunnel_table_fini },
	{ "routes", start_route, route_fini },
	{ "mailboxes", punt_init, punt_fini },
};
#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

static void tables_stop(size_t n)
{
	while (n-- > 0)
		tables[n].stop();
}

static int tables_start(char *errbuf, size_t errlen)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		int rc = tables[i].start();

		if (rc == 0)
			continue;
		snprintf(errbuf, errlen, "no memory for %s: %s", tables[i].what, strerror(-rc));
		tables_stop(i);
		return rc;
	}
	return 0;
}

static int eal_up(const struct options *opts, char *errbuf, size_t errlen)
{
	const struct eal_config cfg = {
		.instance = instance.name,
		.worker_cores = opts->cores,
		.n_workers = opts->n_cores,
		.mem_mb = opts->mem_mb,
		.no_huge = opts->no_huge,
		.pci_devices = opts->pci_devices,
		.n_pci_devices = opts->n_pci_devices,
		.extra_args = opts->eal_args,
		.n_extra_args = opts->n_eal_args,
	};

	return eal_start(&cfg, errbuf, errlen);
}

int dataplane_start(const struct options *opts, char *errbuf, size_t errlen)
{
	const struct mempool_config pools = { .n_mbufs = opts->n_mbufs };
	const struct portmgr_config ports = { .n_workers = opts->n_cores };
	int rc;

	rc = eal_up(opts, errbuf, errlen);
	if (rc < 0)
		return rc;
	clock_init();
	rc = mempool_init(&pools, errbuf, errlen);
	if (rc < 0)
		goto err_eal;
	rc = tables_start(errbuf, errlen);
	if (rc < 0)
		goto err_pools;
	rc = portmgr_init(&ports);
	if (rc < 0) {
		snprintf(errbuf, errlen, "cannot set up the port table: %s", strerror(-rc));
		goto err_tables;
	}
	loop_add_tick(tick);
	return 0;
err_tables:
	tables_stop(N_TABLES);
err_pools:
	mempool_fini();
err_eal:
	eal_stop();
	return rc;
}

void dataplane_stop(void)
{
	portmgr_fini(true);
	tables_stop(N_TABLES);
	mempool_fini();
	eal_stop();
}
