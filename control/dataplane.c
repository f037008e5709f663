/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/dataplane.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "control/announce_uplink.h"
#include "control/core_claim.h"
#include "control/devices.h"
#include "control/drop_rate.h"
#include "control/drop_watch.h"
#include "control/instance.h"
#include "control/job.h"
#include "control/kernel_routes.h"
#include "control/load.h"
#include "control/locality.h"
#include "control/loop.h"
#include "control/names.h"
#include "control/neighd.h"
#include "control/node_routes.h"
#include "control/observer.h"
#include "control/tables.h"
#include "control/usage.h"
#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/restart.h"
#include "datapath/table/route.h"
#include "datapath/table/tables.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"
#include "pmd/worker.h"

#define CONNS_DEFAULT (1u << 20) /* IPv4: 192 MiB */
#define CONNS6_SHARE 4		 /* IPv6 gets a fourth as many; its flows are twice as large */

struct flowtab tables_flow4, tables_flow6;

static unsigned int tick(void)
{
	static uint32_t beat_s;
	uint32_t now_s = clock_s();

	if (beat_s != now_s) {
		beat_s = now_s;
		flowtab_heartbeat(&tables_flow4, now_s);
		flowtab_heartbeat(&tables_flow6, now_s);
	}
	route_poll();
	return rcu_poll() > 0;
}

static void tables_stop(void)
{
	usage_fini();
	names_fini();
	observe_fini();
	punt_fini();
	tables_fini();
}

static int tables_start(char *errbuf, size_t errlen)
{
	const char *what = "mailboxes";
	int rc = tables_init(0, 0, &what);

	if (rc == 0) {
		rc = punt_init();
		if (rc == 0)
			rc = observe_init();
		if (rc == 0)
			rc = names_init();
		if (rc == 0)
			rc = usage_init();
		if (rc < 0)
			tables_stop();
	}
	if (rc < 0)
		snprintf(errbuf, errlen, "no memory for %s: %s", what, strerror(-rc));
	return rc;
}

static int flow_table_open(
	struct flowtab *t, const struct options *opts, bool is_v6, char *errbuf, size_t errlen)
{
	uint32_t n_conns = opts->n_flows != 0 ? opts->n_flows : CONNS_DEFAULT;
	const char *cold_reason, *name = is_v6 ? "flows6" : "flows4";
	int rc;

	if (opts->no_huge && opts->n_flows == 0)
		n_conns = 1u << 16;
	n_conns = is_v6 ? RTE_MAX(n_conns / CONNS6_SHARE, 1024u) : RTE_MAX(n_conns, 1024u);
	rc = flowtab_open(t, opts->no_huge ? NULL : instance.name, is_v6, n_conns, opts->n_cores,
		(int)eal_worker_node(0), &cold_reason);
	if (rc < 0) {
		snprintf(errbuf, errlen,
			"cannot take %zu MiB of hugepages for %u connections (%s): %s",
			flowtab_size_bytes(is_v6, n_conns) >> 20, n_conns, name, strerror(-rc));
		return rc;
	}
	if (cold_reason != NULL)
		log_warn(name, "cold start: the saved table does not fit reason=\"%s\"",
			cold_reason);
	else
		log_info(name, "connections max=%u adopted=%u", n_conns, t->n_adopted);
	return 0;
}

static int flow_tables_open(const struct options *opts, char *errbuf, size_t errlen)
{
	int rc = restart_open(opts->no_huge ? NULL : instance.name, (int)eal_worker_node(0));

	if (rc < 0) {
		snprintf(errbuf, errlen, "cannot take hugepages for what outlives a restart: %s",
			strerror(-rc));
		return rc;
	}
	rc = flow_table_open(&tables_flow4, opts, false, errbuf, errlen);
	if (rc < 0)
		goto err_restart;
	rc = flow_table_open(&tables_flow6, opts, true, errbuf, errlen);
	if (rc < 0)
		goto err_flow4;
	restart_adopted();
	return 0;
err_flow4:
	flowtab_close(&tables_flow4, true);
err_restart:
	restart_close(true);
	return rc;
}

static void flow_tables_close(void)
{
	flowtab_close(&tables_flow4, true);
	flowtab_close(&tables_flow6, true);
	restart_close(true);
}

void dataplane_open_gate(void)
{
	kernel_routes_settle();
	gen_publish();
	restart_gate_open();
	flowtab_settle(&tables_flow4);
	flowtab_settle(&tables_flow6);
	restart_settle();
	workers_wake();
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
	const struct portmgr_config ports = {
		.n_workers = opts->n_cores,
		.attach = workers_attach,
		.detach = workers_detach,
		.slow = job_submit,
		.drain = job_drain,
	};
	int rc;

	rc = eal_up(opts, errbuf, errlen);
	if (rc < 0)
		return rc;
	core_claim(opts->cores, opts->n_cores);
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
	rc = flow_tables_open(opts, errbuf, errlen);
	if (rc < 0)
		goto err_tables;
	rc = workers_start(&tables_flow4, &tables_flow6, false);
	if (rc < 0) {
		snprintf(errbuf, errlen, "cannot start the workers: %s", strerror(-rc));
		goto err_flows;
	}
	rc = neighd_init();
	if (rc < 0) {
		snprintf(errbuf, errlen, "cannot watch the workers' mailbox: %s", strerror(-rc));
		goto err_workers;
	}
	rc = devices_init();
	if (rc < 0) {
		snprintf(errbuf, errlen, "cannot follow the kernel's links: %s", strerror(-rc));
		goto err_workers;
	}
	observer_init();
	load_init();
	drop_rate_init();
	drop_watch_init();
	loop_add_tick(tick);
	loop_add_tick(locality_tick);
	node_routes_init();
	announce_uplink_init();
	return 0;
err_workers:
	workers_stop();
	workers_fini();
err_flows:
	flow_tables_close();
err_tables:
	tables_stop();
err_pools:
	mempool_fini();
err_eal:
	eal_stop();
	return rc;
}

void dataplane_stop(void)
{
	/* What changes from here on is not the configuration: flows stay current. */
	gen_mirror(NULL);
	workers_stop();
	devices_fini();
	kernel_routes_stop();
	observer_fini();
	neighd_fini();
	portmgr_fini(true);
	node_routes_fini();
	workers_fini();
	flow_tables_close();
	tables_stop();
	mempool_fini();
	eal_stop();
}
