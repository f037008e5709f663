/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One call of an API method, from a client, a transaction, a configuration file or the saved state. A handler
 * (control/api/) finishes it with call_ok(), call_unchanged() or call_fail(), exactly once: before it returns, or later if the method
 * is METHOD_SLOW. Control thread only.
 */
#ifndef LEAT_CALL_H
#define LEAT_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "control/client/schema.h"
#include "control/jsonrpc.h"

struct call;
struct conn;
struct change;
struct changes;

typedef void call_done_fn(struct call *call, void *arg);

struct call {
	struct rpc_request rpc; /* method, params, decoded request */
	struct leat_error err;	/* code LEAT_OK: success */
	cJSON *result;
	cJSON *object; /* params to save instead of the given ones (resolved defaults); may be NULL */
	int fds[LEAT_CLIENT_FDS_MAX]; /* descriptors that came along; those left ≥ 0 are closed with the call */
	unsigned int n_fds;
	bool is_finished, is_unchanged;
	bool is_object_lost; /* there was no memory for `object`: the call cannot be saved as it is */
	bool is_replay;	     /* from the saved state: not written again */
	struct change *change;	 /* prepared before the handler runs; NULL: nothing to record */
	struct changes *changes; /* where changes are collected; NULL: saved at once */
	uint64_t
		place; /* among objects whose order counts: a handler that removes one says where it stood, and finds it here
			   when it is to bring it back there; 0: last */
	uint64_t ticket; /* durable when journal_synced() has reached it; 0: nothing to wait for */
	struct conn *conn;	 /* NULL: not from a client, or it has gone */
	STAILQ_ENTRY(call) link; /* in the queue of calls on devices */
	call_done_fn *done;
	void *done_arg;
};

/* Takes the request over. */
struct call *call_create(struct rpc_request *rpc, call_done_fn *done, void *done_arg);
void call_destroy(struct call *call);

/* Runs the handler. The call may be gone when this returns. */
void call_start(struct call *call);

/* The same, for a client's call: methods on devices take their turn after everything else, one at a time. */
int call_init(void);
void call_fini(void);
void call_enqueue(struct call *call);

/* Decoded request of the call. */
static inline const void *call_req(const struct call *call)
{
	return call->rpc.req.data;
}

/* Finishing. result is taken; NULL: {}. */
void call_ok(struct call *call, cJSON *result);
/* Nothing had to be done (exist_ok, missing_ok): nothing is saved, no event. */
void call_unchanged(struct call *call, cJSON *result);
/* field: the one that is wrong, "vhost.mode" or "sources[2]", NULL if it is none. A sentence that does not tell the field
 * gets its name in front. */
__attribute__((format(printf, 4, 5))) void call_fail(
	struct call *call, int code, const char *field, const char *fmt, ...);

/* Takes the first descriptor of the call, or -1. */
int call_take_fd(struct call *call);

/* Runs a method with params as JSON text, for undo; nothing is saved. 0 or an error code; a METHOD_SLOW one is only
 * started. */
int call_run_now(
	const struct method *method, const char *params, uint64_t place, struct leat_error *err);

/* Handlers, one table an object (control/api/). */
struct api_handler {
	const char *method;
	void (*fn)(struct call *call);
};
#define API_HANDLERS_END                                                                           \
	{                                                                                          \
		NULL, NULL                                                                         \
	}

/* All tables, ends with NULL (control/api/api.c). */
extern const struct api_handler *const api_tables[];

/* Binds the tables to the schema; -ENOENT (logged) if a handler has no method. Methods without a handler answer
 * LEAT_ERR_METHOD. */
int call_bind_handlers(void);

#endif
