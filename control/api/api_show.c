/* SPDX-License-Identifier: BSD-3-Clause */
/* drop.show, worker.show, stage.show */
#include <stdio.h>

#include "control/api/api.h"
#include "control/load.h"
#include "control/observer.h"
#include "datapath/base/clock.h"
#include "pmd/eal.h"
#include "pmd/portmgr.h"
#include "pmd/worker.h"

static void drops_of(struct api_page *page, const struct port *p)
{
	struct port_stats sum;

	port_stats_sum(p, &sum);
	for (unsigned int r = DROP_NONE + 1; r < DROP_N; r++) {
		cJSON *item;

		if (sum.drops[r] == 0)
			continue;
		item = cJSON_CreateObject();
		cJSON_AddStringToObject(item, "port", p->name);
		cJSON_AddStringToObject(item, "reason", drop_name((enum drop_reason)r));
		cJSON_AddNumberToObject(item, "packets", (double)sum.drops[r]);
		cJSON_AddStringToObject(item, "meaning", drop_help((enum drop_reason)r));
		api_page_add(page, item);
	}
}

static void handle_drop_show(struct call *call)
{
	const struct req_port_filter *req = call_req(call);
	struct port *p = req->port != NULL ? port_by_name(req->port) : NULL;
	struct api_page page;

	if (req->port != NULL && p == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", req->port);
		return;
	}
	(void)api_page_begin(call, &page, INT64_MAX, 0);
	if (p != NULL)
		drops_of(&page, p);
	else
		for (p = port_next(NULL); p != NULL; p = port_next(p))
			drops_of(&page, p);
	api_page_end(call, &page, NULL);
}

static double ratio(uint64_t a, uint64_t b)
{
	return b != 0 ? (double)((int64_t)((double)a / (double)b * 100)) / 100 : 0;
}

static void add_queues(cJSON *item, unsigned int worker)
{
	struct worker_queue queues[256];
	unsigned int n = workers_queues(worker, queues, 256);
	cJSON *array = cJSON_AddArrayToObject(item, "queues");

	for (unsigned int i = 0; i < n; i++) {
		struct port *p = port_by_id(queues[i].port_id);
		cJSON *queue = cJSON_CreateObject();

		cJSON_AddStringToObject(queue, "port", p != NULL ? p->name : "?");
		cJSON_AddNumberToObject(queue, "queue", queues[i].queue);
		cJSON_AddNumberToObject(queue, "packets", (double)queues[i].n_pkts);
		cJSON_AddItemToArray(array, queue);
	}
}

static void handle_worker_show(struct call *call)
{
	struct api_page page;

	(void)api_page_begin(call, &page, INT64_MAX, 0);
	for (unsigned int i = 0; i < worker_count; i++) {
		struct worker_load load;
		cJSON *item = cJSON_CreateObject();

		load_read(i, &load);
		cJSON_AddNumberToObject(item, "worker", i);
		cJSON_AddNumberToObject(item, "core", eal_worker_cpu(i));
		cJSON_AddNumberToObject(item, "node", eal_worker_node(i));
		cJSON_AddNumberToObject(item, "busy_percent",
			ratio(100 * load.recent.busy_cycles, load.recent_cycles));
		cJSON_AddNumberToObject(item, "packets_per_s",
			ratio(load.recent.n_rx_pkts * CLOCK_NS_PER_S, load.recent_ns));
		cJSON_AddNumberToObject(item, "packets_per_burst",
			ratio(load.recent.n_rx_pkts, load.recent.n_rx_bursts));
		cJSON_AddNumberToObject(item, "cycles_per_packet",
			ratio(load.recent.busy_cycles, load.recent.n_rx_pkts));
		cJSON_AddNumberToObject(item, "packets", (double)load.total.n_rx_pkts);
		cJSON_AddNumberToObject(item, "hits", (double)load.total.n_hits);
		cJSON_AddNumberToObject(item, "slow", (double)load.total.n_slow);
		cJSON_AddNumberToObject(item, "new_conns", (double)load.total.n_new_conns);
		cJSON_AddNumberToObject(item, "rejudged", (double)load.total.n_rejudged);
		cJSON_AddNumberToObject(item, "rechecks", (double)load.total.n_rechecks);
		cJSON_AddNumberToObject(item, "busy_cycles", (double)load.total.busy_cycles);
		cJSON_AddNumberToObject(item, "idle_cycles", (double)load.total.idle_cycles);
		cJSON_AddNumberToObject(item, "sleeps", (double)load.total.n_sleeps);
		cJSON_AddNumberToObject(
			item, "slept_ms", (double)(load.total.slept_ns / CLOCK_NS_PER_MS));
		add_queues(item, i);
		api_page_add(&page, item);
	}
	api_page_end(call, &page, NULL);
}

static void handle_stage_show(struct call *call)
{
	static const char *const names[STAGE_N] = {
#define STAGE(name, help) #name,
#include "datapath/fast/stages.def"
#undef STAGE
	};
	static const char *const helps[STAGE_N] = {
#define STAGE(name, help) help,
#include "datapath/fast/stages.def"
#undef STAGE
	};
	struct api_page page;

	/* Measured from the first question on: before that the loop carries no clocks. */
	observer_measure_stages(true);
	(void)api_page_begin(call, &page, INT64_MAX, 0);
	for (unsigned int s = 0; s < STAGE_N; s++) {
		struct stage_count sum = { 0 };
		cJSON *item = cJSON_CreateObject();

		for (unsigned int i = 0; i < worker_count; i++) {
			sum.cycles += worker_table[i]->stats.stages[s].cycles;
			sum.pkts += worker_table[i]->stats.stages[s].pkts;
			sum.calls += worker_table[i]->stats.stages[s].calls;
		}
		cJSON_AddStringToObject(item, "stage", names[s]);
		cJSON_AddNumberToObject(item, "packets", (double)sum.pkts);
		cJSON_AddNumberToObject(item, "calls", (double)sum.calls);
		cJSON_AddNumberToObject(item, "packets_per_call", ratio(sum.pkts, sum.calls));
		cJSON_AddNumberToObject(item, "cycles_per_packet", ratio(sum.cycles, sum.pkts));
		cJSON_AddStringToObject(item, "meaning", helps[s]);
		api_page_add(&page, item);
	}
	api_page_end(call, &page, NULL);
}

const struct api_handler api_show[] = {
	{ "drop.show", handle_drop_show },
	{ "worker.show", handle_worker_show },
	{ "stage.show", handle_stage_show },
	API_HANDLERS_END,
};
