/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/txn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "control/change.h"
#include "control/client/req.h"
#include "control/loop.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"

struct txn {
	TAILQ_ENTRY(txn) link;
	char id[24];
	const struct conn *conn; /* NULL: it has gone */
	struct rpc_request *calls;
	size_t len, size, next;
	struct changes changes;
	bool is_committing;
	struct call *commit; /* answered at the end */
};

static TAILQ_HEAD(, txn) txns = TAILQ_HEAD_INITIALIZER(txns);
static struct event *work;
static uint64_t next_id = 1;

static void txn_destroy(struct txn *txn)
{
	TAILQ_REMOVE(&txns, txn, link);
	for (size_t i = 0; i < txn->len; i++)
		rpc_request_fini(&txn->calls[i]);
	free(txn->calls);
	changes_fini(&txn->changes);
	free(txn);
}

static struct txn *txn_create(const struct conn *conn)
{
	struct txn *txn = calloc(1, sizeof(*txn));

	if (txn == NULL)
		return NULL;
	snprintf(txn->id, sizeof(txn->id), "t%llu", (unsigned long long)next_id++);
	txn->conn = conn;
	TAILQ_INSERT_TAIL(&txns, txn, link);
	return txn;
}

static struct txn *txn_find(const struct call *call, const char *id)
{
	struct txn *txn;

	TAILQ_FOREACH(txn, &txns, link)
		if (txn->conn == call->conn && !txn->is_committing && strcmp(txn->id, id) == 0)
			return txn;
	return NULL;
}

static int txn_add_one(struct txn *txn, cJSON *json, struct leat_error *err)
{
	const struct method *method;
	int rc;

	if (txn->len == txn->size) {
		size_t size = txn->size > 0 ? txn->size * 2 : 64;
		struct rpc_request *calls = reallocarray(txn->calls, size, sizeof(*calls));

		if (calls == NULL)
			return schema_error(err, LEAT_ERR_RESOURCES, NULL, "out of memory");
		txn->calls = calls;
		txn->size = size;
	}
	rc = rpc_parse_call(json, &txn->calls[txn->len], err);
	method = txn->calls[txn->len].method;
	if (rc == 0 && !(method->flags & (METHOD_SETS | METHOD_REMOVES)))
		rc = schema_error(err, LEAT_ERR_PARAMS, NULL, "%s changes nothing", method->name);
	if (rc == 0 && method->flags & METHOD_SLOW)
		rc = schema_error(err, LEAT_ERR_PARAMS, NULL, "%s cannot be part of a transaction",
			method->name);
	if (rc != 0) {
		schema_error_in_call(err, txn->len, method, txn->calls[txn->len].params);
		rpc_request_fini(&txn->calls[txn->len]);
	} else {
		txn->len++;
	}
	return rc;
}

static void txn_finish(struct txn *txn, const struct leat_error *err)
{
	struct call *commit = txn->commit;
	uint64_t ticket = 0;
	struct leat_error own = *err;
	cJSON *result;
	size_t n;
	int rc;

	if (own.code == LEAT_OK && txn->changes.len > 0) {
		rc = changes_save(&txn->changes, &ticket);
		if (rc < 0)
			schema_error(&own, LEAT_ERR_RESOURCES, NULL,
				"nothing was changed: cannot write the state file: %s",
				strerror(-rc));
	}
	if (own.code != LEAT_OK) {
		n = changes_undo(&txn->changes);
		if (n > 0) {
			char reason[sizeof(own.reason)];

			memcpy(reason, own.reason, sizeof(reason));
			changes_tell(&own, n, reason);
		}
	}
	gen_publish();
	n = txn->len;
	txn_destroy(txn);
	if (own.code != LEAT_OK) {
		call_fail(commit, own.code, own.field, "%s", own.reason);
		return;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "applied", (double)n);
	commit->ticket = ticket;
	call_ok(commit, result);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	uint64_t end_ns = loop_now_ns() + LOOP_SLICE_NS;
	struct leat_error err = { 0 };
	struct txn *txn;

	(void)fd;
	(void)what;
	(void)arg;
	TAILQ_FOREACH(txn, &txns, link)
		if (txn->is_committing)
			break;
	if (txn == NULL)
		return;
	while (txn->next < txn->len && err.code == LEAT_OK && loop_now_ns() < end_ns) {
		struct call *call = call_create(&txn->calls[txn->next], NULL, NULL);

		if (call == NULL) {
			schema_error(&err, LEAT_ERR_RESOURCES, NULL, "out of memory");
			break;
		}
		call->changes = &txn->changes;
		call_start(call);
		err = call->err;
		if (err.code != LEAT_OK)
			schema_error_in_call(&err, txn->next, call->rpc.method, call->rpc.params);
		call_destroy(call);
		txn->next++;
	}
	if (err.code != LEAT_OK || txn->next == txn->len)
		txn_finish(txn, &err);
	else
		gen_publish();
	TAILQ_FOREACH(txn, &txns, link)
		if (txn->is_committing) {
			event_active(work, EV_TIMEOUT, 0);
			break;
		}
}

static void txn_commit(struct txn *txn)
{
	txn->is_committing = true;
	event_active(work, EV_TIMEOUT, 0);
}

int txn_init(void)
{
	work = event_new(loop_base, -1, 0, on_work, NULL);
	if (work == NULL)
		return -ENOMEM;
	event_priority_set(work, LOOP_PRIO_HEAVY);
	return 0;
}

void txn_fini(void)
{
	while (!TAILQ_EMPTY(&txns))
		txn_destroy(TAILQ_FIRST(&txns));
	if (work != NULL)
		event_free(work);
	work = NULL;
}

void txn_conn_closed(const struct conn *conn)
{
	struct txn *txn = TAILQ_FIRST(&txns);

	while (txn != NULL) {
		struct txn *next = TAILQ_NEXT(txn, link);

		if (txn->conn == conn) {
			if (txn->is_committing)
				txn->conn = NULL;
			else
				txn_destroy(txn);
		}
		txn = next;
	}
}

static void handle_begin(struct call *call)
{
	cJSON *result = cJSON_CreateObject();
	struct txn *txn;
	unsigned int n = 0;

	TAILQ_FOREACH(txn, &txns, link)
		n += txn->conn == call->conn;
	txn = n < TXN_PER_CONN_MAX ? txn_create(call->conn) : NULL;
	if (txn == NULL) {
		cJSON_Delete(result);
		call_fail(call, LEAT_ERR_LIMIT, NULL, "no more than %u transactions a connection",
			TXN_PER_CONN_MAX);
		return;
	}
	cJSON_AddStringToObject(result, "txn", txn->id);
	call_ok(call, result);
}

static void handle_add(struct call *call)
{
	const struct req_txn *req = call_req(call);
	const cJSON *const *calls = req->calls.items;
	struct txn *txn = txn_find(call, req->txn);
	size_t before;

	if (txn == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "txn", "this connection has no transaction %s",
			req->txn);
		return;
	}
	if (txn->len + req->calls.len > TXN_CALLS_MAX) {
		call_fail(call, LEAT_ERR_LIMIT, "calls", "no more than %u calls a transaction",
			TXN_CALLS_MAX);
		return;
	}
	before = txn->len;
	for (uint32_t i = 0; i < req->calls.len; i++) {
		struct leat_error err;

		/* The parsed calls are this request's own: their params move into the transaction. */
		if (txn_add_one(txn, (cJSON *)(uintptr_t)calls[i], &err) == 0)
			continue;
		while (txn->len > before)
			rpc_request_fini(&txn->calls[--txn->len]);
		call_fail(call, err.code, err.field, "%s", err.reason);
		return;
	}
	call_ok(call, NULL);
}

static void handle_commit(struct call *call)
{
	const struct req_txn *req = call_req(call);
	struct txn *txn = txn_find(call, req->txn);

	if (txn == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "txn", "this connection has no transaction %s",
			req->txn);
		return;
	}
	txn->commit = call;
	txn_commit(txn);
}

static void handle_abort(struct call *call)
{
	const struct req_txn *req = call_req(call);
	struct txn *txn = txn_find(call, req->txn);

	if (txn == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "txn", "this connection has no transaction %s",
			req->txn);
		return;
	}
	txn_destroy(txn);
	call_ok(call, NULL);
}

const struct api_handler api_txn[] = {
	{ "txn.begin", handle_begin },
	{ "txn.add", handle_add },
	{ "txn.commit", handle_commit },
	{ "txn.abort", handle_abort },
	API_HANDLERS_END,
};
