/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/retry.h"

#include <stdbool.h>
#include <string.h>

#include "control/call.h"
#include "control/loop.h"
#include "control/state.h"
#include "datapath/base/clock.h"
#include "datapath/base/log.h"

#define INTERVAL_NS (1000 * CLOCK_NS_PER_MS)

static uint64_t tried_ns, at_seq; /* the item tried last */
static bool is_started, is_running;

/* The next pod that failed, in turn; NULL: there is none. */
static struct store_item *next_failed(void)
{
	struct store_item *item = store_next(state_store(), OBJECT_ENDPOINT, at_seq);
	bool is_second_round = false;

	for (;; item = store_next(state_store(), OBJECT_ENDPOINT, item->seq)) {
		if (item == NULL || item->method->class != OBJECT_ENDPOINT) {
			if (is_second_round)
				return NULL;
			is_second_round = true;
			item = store_next(state_store(), OBJECT_ENDPOINT, 0);
			if (item == NULL || item->method->class != OBJECT_ENDPOINT)
				return NULL;
		}
		if (item->is_failed && strcmp(item->method->name, "endpoint.attach") == 0)
			return item;
	}
}

static void tried(struct call *call, void *arg)
{
	char key[STORE_KEY_MAX];
	struct store_item *item = NULL;

	(void)arg;
	is_running = false;
	if (call->err.code == LEAT_OK &&
		schema_key(call->rpc.method, call_req(call), key, sizeof(key)) == 0)
		item = store_find(state_store(), key);
	if (item != NULL) {
		item->is_failed = false;
		log_info("state", "restored after all object=\"%s\"", key);
	}
	call_destroy(call);
}

static unsigned int tick(void)
{
	struct store_item *item;
	struct rpc_request rpc;
	struct leat_error err;
	struct call *call = NULL;

	if (is_running || loop_now_ns() - tried_ns < INTERVAL_NS)
		return 0;
	tried_ns = loop_now_ns();
	item = next_failed();
	if (item == NULL)
		return 0;
	at_seq = item->seq;
	rpc = (struct rpc_request){ .method = item->method, .params = cJSON_Parse(item->params) };
	if (schema_decode(item->method, rpc.params, &rpc.req, &err) == 0)
		call = call_create(&rpc, tried, NULL);
	if (call == NULL) {
		rpc_request_fini(&rpc);
		return 0;
	}
	call->is_replay = true;
	is_running = true;
	call_start(call);
	return 0;
}

void retry_start(void)
{
	if (state_get_counts()->n_failed == 0 || is_started)
		return;
	is_started = true;
	tried_ns = loop_now_ns();
	loop_add_tick(tick);
}
