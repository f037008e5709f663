/* SPDX-License-Identifier: BSD-3-Clause */
/* Transactions over the store, with zones: whole or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>

#include "control/call.h"
#include "control/loop.h"
#include "control/state.h"
#include "control/txn.h"
#include "datapath/base/rcu.h"
#include "datapath/table/route.h"

static int n_done, last_code;
static char last_field[128], txn_id[32];

static void on_done(struct call *call, void *arg)
{
	const char *id = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(call->result, "txn"));

	(void)arg;
	n_done++;
	last_code = call->err.code;
	snprintf(last_field, sizeof(last_field), "%s", call->err.field);
	if (id != NULL)
		snprintf(txn_id, sizeof(txn_id), "%s", id);
	call_destroy(call);
}

/* Runs a request to its end and returns its code. params may have one %s: the transaction. */
__attribute__((format(printf, 2, 0))) static int run(const char *method, const char *params)
{
	char text[4096], line[8192];
	struct rpc_request rpc;
	struct leat_error err;
	int before = n_done;

	snprintf(text, sizeof(text), params, txn_id);
	snprintf(line, sizeof(line), "{\"id\":1,\"method\":\"%s\",\"params\":%s}", method, text);
	if (rpc_parse(line, strlen(line), &rpc, &err) != 0) {
		rpc_request_fini(&rpc);
		return err.code;
	}
	call_start(call_create(&rpc, on_done, NULL));
	while (n_done == before)
		event_base_loop(loop_base, EVLOOP_ONCE);
	return last_code;
}

static size_t n_zones(void)
{
	return store_count(state_store(), OBJECT_ZONE);
}

static void test_commit_applies_all_calls(void **state)
{
	(void)state;
	assert_int_equal(run("txn.begin", "{}"), 0);
	assert_int_equal(run("txn.add",
				 "{\"txn\":\"%s\",\"calls\":[{\"method\":\"zone.add\",\"params\":{"
				 "\"id\":1}},"
				 "{\"method\":\"zone.add\",\"params\":{\"id\":2}}]}"),
		0);
	assert_int_equal(n_zones(), 0);
	assert_int_equal(run("txn.commit", "{\"txn\":\"%s\"}"), 0);
	assert_int_equal(n_zones(), 2);
	assert_int_equal(run("txn.commit", "{\"txn\":\"%s\"}"), LEAT_ERR_NOT_FOUND);
}

static void test_failed_commit_undoes_adds_and_deletes(void **state)
{
	(void)state;
	assert_int_equal(run("zone.add", "{\"id\":3,\"name\":\"kept\"}"), 0);
	assert_int_equal(run("txn.begin", "{}"), 0);
	assert_int_equal(run("txn.add",
				 "{\"txn\":\"%s\",\"calls\":[{\"method\":\"zone.add\",\"params\":{"
				 "\"id\":4}},"
				 "{\"method\":\"zone.del\",\"params\":{\"id\":3}},"
				 "{\"method\":\"zone.add\",\"params\":{\"id\":4}}]}"),
		0);
	assert_int_equal(run("txn.commit", "{\"txn\":\"%s\"}"), LEAT_ERR_EXISTS);
	assert_string_equal(last_field, "calls[2].id");
	assert_null(store_find(state_store(), "zone 4"));
	assert_non_null(store_find(state_store(), "zone 3"));
	assert_string_equal(
		store_find(state_store(), "zone 3")->params, "{\"id\":3,\"name\":\"kept\"}");
}

static void test_bad_call_is_refused_when_it_is_added(void **state)
{
	size_t before = n_zones();

	(void)state;
	assert_int_equal(run("txn.begin", "{}"), 0);
	assert_int_equal(run("txn.add",
				 "{\"txn\":\"%s\",\"calls\":[{\"method\":\"zone.add\",\"params\":{"
				 "\"id\":9}},"
				 "{\"method\":\"zone.add\",\"params\":{\"id\":65536}}]}"),
		LEAT_ERR_PARAMS);
	assert_string_equal(last_field, "calls[1].id");
	assert_int_equal(run("txn.add", "{\"txn\":\"%s\",\"calls\":[{\"method\":\"sys.status\"}]}"),
		LEAT_ERR_PARAMS);
	assert_int_equal(run("txn.commit", "{\"txn\":\"%s\"}"), 0); /* nothing was added */
	assert_int_equal(n_zones(), before);
}

static void test_abort_forgets_and_their_number_is_limited(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < TXN_PER_CONN_MAX; i++)
		assert_int_equal(run("txn.begin", "{}"), 0);
	assert_int_equal(run("txn.begin", "{}"), LEAT_ERR_LIMIT);
	assert_int_equal(run("txn.abort", "{\"txn\":\"%s\"}"), 0);
	assert_int_equal(run("txn.abort", "{\"txn\":\"%s\"}"), LEAT_ERR_NOT_FOUND);
	assert_int_equal(run("txn.begin", "{}"), 0);
	txn_conn_closed(NULL);
}

static int setup(void **state)
{
	char prefix[64], name[] = "test_txn", no_huge[] = "--no-huge", no_pci[] = "--no-pci",
			 m[] = "-m", mb[] = "64", no_telemetry[] = "--no-telemetry";
	char *args[] = { name, no_huge, no_pci, m, mb, no_telemetry, prefix, NULL };

	(void)state;
	snprintf(prefix, sizeof(prefix), "--file-prefix=leat-txn-%d", getpid());
	if (rte_eal_init(7, args) < 0 || rcu_init() < 0 || route_init(0, 0) < 0)
		return -1;
	return loop_init() < 0 || call_init() < 0 || txn_init() < 0 || state_open_memory() < 0 ? -1
											       : 0;
}

static int teardown(void **state)
{
	(void)state;
	txn_fini();
	call_fini();
	state_close();
	loop_fini();
	route_fini();
	rcu_fini();
	rte_eal_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit_applies_all_calls),
		cmocka_unit_test(test_failed_commit_undoes_adds_and_deletes),
		cmocka_unit_test(test_bad_call_is_refused_when_it_is_added),
		cmocka_unit_test(test_abort_forgets_and_their_number_is_limited),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
