/* SPDX-License-Identifier: BSD-3-Clause */
/* sys.hello, sys.status, sys.schema, sys.log */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/api/api.h"
#include "control/degraded.h"
#include "control/instance.h"
#include "control/loop.h"
#include "control/server.h"
#include "control/state.h"
#include "control/tables.h"
#include "datapath/base/log.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

static void handle_hello(struct call *call)
{
	const struct req_hello *req = call_req(call);
	cJSON *result = cJSON_CreateObject(), *api;

	log_debug("api", "hello client=\"%s\"", req->client != NULL ? req->client : "?");
	cJSON_AddStringToObject(result, "version", LEAT_VERSION);
	api = cJSON_AddObjectToObject(result, "api");
	cJSON_AddNumberToObject(api, "major", API_MAJOR);
	cJSON_AddNumberToObject(api, "minor", API_MINOR);
	cJSON_AddStringToObject(result, "instance", instance.name);
	cJSON_AddNumberToObject(result, "pid", getpid());
	cJSON_AddNumberToObject(result, "started_s", (double)instance.started_s);
	call_ok(call, result);
}

static void add_memory(cJSON *result)
{
	struct mempool_usage usage;
	struct eal_hugepages huge;
	cJSON *object = cJSON_AddObjectToObject(result, "hugepages");

	if (eal_hugepages_read(&huge) == 0) {
		cJSON_AddNumberToObject(object, "size_bytes", (double)huge.page_size_bytes);
		cJSON_AddNumberToObject(object, "total", (double)huge.n_total);
		cJSON_AddNumberToObject(object, "free", (double)huge.n_free);
	}
	mempool_usage_read(&usage);
	object = cJSON_AddObjectToObject(result, "mbufs");
	cJSON_AddNumberToObject(object, "size", usage.size);
	cJSON_AddNumberToObject(object, "in_use", usage.in_use);
	cJSON_AddNumberToObject(object, "free", usage.free);
	cJSON_AddNumberToObject(object, "reserved", usage.reserved);
	cJSON_AddNumberToObject(object, "reservable", usage.reservable);
	for (unsigned int i = 0; i < MEMPOOL_KINDS; i++) {
		cJSON *kind = cJSON_AddObjectToObject(object, usage.kinds[i].name);

		cJSON_AddNumberToObject(kind, "size", usage.kinds[i].size);
		cJSON_AddNumberToObject(kind, "in_use", usage.kinds[i].in_use);
		cJSON_AddNumberToObject(kind, "reserved", usage.kinds[i].reserved);
		cJSON_AddNumberToObject(kind, "reservable", usage.kinds[i].reservable);
	}
}

static void add_conns(cJSON *conns, const char *family, const struct flowtab *t)
{
	cJSON *object = cJSON_AddObjectToObject(conns, family);

	cJSON_AddNumberToObject(object, "max", t->n_conns);
	cJSON_AddNumberToObject(object, "used", flowtab_n_used(t));
	cJSON_AddBoolToObject(object, "nearly_full", flowtab_is_nearly_full(t));
}

static void add_state(cJSON *result)
{
	const struct state_counts *counts = state_get_counts();
	cJSON *object = cJSON_AddObjectToObject(result, "restored");

	for (int class = OBJECT_NONE + 1; class < OBJECT_N; class ++) {
		char name[24];

		snprintf(name, sizeof(name), "%ss", schema_class_name((enum object_class) class));
		cJSON_AddNumberToObject(object, name, (double)counts->n_restored[class]);
	}
	cJSON_AddNumberToObject(
		object, "flows", 2.0 * (tables_flow4.n_adopted + tables_flow6.n_adopted));
	cJSON_AddNumberToObject(object, "failed", (double)counts->n_failed);
	cJSON_AddNumberToObject(object, "unreadable", (double)counts->n_bad);
	object = cJSON_AddObjectToObject(result, "clients");
	cJSON_AddNumberToObject(object, "connected", (double)server_stats.n_clients);
	cJSON_AddNumberToObject(object, "refused", (double)server_stats.n_refused);
	cJSON_AddNumberToObject(object, "calls", (double)server_stats.n_calls);
	cJSON_AddNumberToObject(object, "errors", (double)server_stats.n_errors);
}

static void add_state_file(cJSON *result)
{
	cJSON *object = cJSON_AddObjectToObject(result, "state_file");
	int rc = state_write_error();

	cJSON_AddBoolToObject(object, "writable", rc == 0);
	if (rc != 0)
		cJSON_AddStringToObject(object, "error", strerror(-rc));
	cJSON_AddNumberToObject(
		object, "write_failures", (double)state_get_counts()->n_write_failed);
}

static void add_sentence(void *list, const char *sentence)
{
	cJSON_AddItemToArray(list, cJSON_CreateString(sentence));
}

static void handle_status(struct call *call)
{
	cJSON *result = cJSON_CreateObject(), *conns;
	struct route_stats routes;

	cJSON_AddStringToObject(result, "version", LEAT_VERSION);
	cJSON_AddStringToObject(result, "instance", instance.name);
	cJSON_AddBoolToObject(result, "ready", instance.is_ready);
	degraded_list(add_sentence, cJSON_AddArrayToObject(result, "degraded"));
	cJSON_AddNumberToObject(result, "uptime_s",
		(double)((loop_now_ns() - instance.started_ns) / 1000000000ull));
	cJSON_AddNumberToObject(result, "workers", eal_n_workers());
	add_memory(result);
	conns = cJSON_AddObjectToObject(result, "conns");
	add_conns(conns, "v4", &tables_flow4);
	add_conns(conns, "v6", &tables_flow6);
	route_get_stats(&routes);
	cJSON_AddNumberToObject(result, "ports", port_count());
	cJSON_AddNumberToObject(result, "ports_max", PORT_MAX);
	cJSON_AddNumberToObject(result, "endpoints", endpoint_count());
	cJSON_AddNumberToObject(result, "routes", routes.n_v4 + routes.n_v6);
	cJSON_AddNumberToObject(
		result, "tunnels", (double)store_count(state_store(), OBJECT_TUNNEL));
	add_state(result);
	add_state_file(result);
	call_ok(call, result);
}

static void handle_schema(struct call *call)
{
	call_ok(call, schema_json());
}

static void handle_log(struct call *call)
{
	const struct req_log *req = call_req(call);

	log_set_level((enum log_level)req->level); /* the choices are in the order of the enum */
	call_ok(call, NULL);
}

static void handle_log_show(struct call *call)
{
	char *text = malloc(LOG_RECENT_BYTES + 1);
	cJSON *result;

	if (text == NULL) {
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
		return;
	}
	text[log_recent(text)] = '\0';
	result = cJSON_CreateObject();
	cJSON_AddStringToObject(result, "text", text);
	free(text);
	call_ok(call, result);
}

const struct api_handler api_sys[] = {
	{ "sys.hello", handle_hello },
	{ "sys.status", handle_status },
	{ "sys.schema", handle_schema },
	{ "sys.log", handle_log },
	{ "sys.log_show", handle_log_show },
	API_HANDLERS_END,
};
