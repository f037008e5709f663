/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client of leatd's control socket: JSON-RPC 2.0, one object a line. Blocking, one call at a time; a client belongs to
 * one thread at a time. Needs cJSON only.
 */
#ifndef LEAT_CLIENT_H
#define LEAT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#define LEAT_RUN_DIR "/run/leat"
#define LEAT_STATE_DIR "/var/lib/leat"
#define LEAT_INSTANCE_DEFAULT "default"
#define LEAT_LINE_MAX (1u << 20) /* bytes of one request line, newline included */
#define LEAT_CLIENT_FDS_MAX 4	 /* descriptors that may go along with one request */
#define LEAT_TIMEOUT_DEFAULT_MS 30000

/* Codes of error.code: JSON-RPC's own and leat's. */
enum leat_error_code {
	LEAT_ERR_PARSE = -32700,
	LEAT_ERR_REQUEST = -32600,
	LEAT_ERR_METHOD = -32601,
	LEAT_ERR_PARAMS = -32602,
	LEAT_ERR_TRANSPORT = -1, /* made by the client library: daemon away, time-out, garbage */
	LEAT_OK = 0,
	LEAT_ERR_NOT_FOUND = 1,
	LEAT_ERR_EXISTS = 2,
	LEAT_ERR_RESOURCES = 3,
	LEAT_ERR_BUSY = 4,
	LEAT_ERR_CONFLICT = 5,
	LEAT_ERR_INTERNAL = 6,
	LEAT_ERR_LIMIT = 7,
	LEAT_ERR_PERMISSION = 8,
	LEAT_ERR_AGAIN = 9,
};

struct leat_error {
	int code;	     /* enum leat_error_code */
	int sys_errno;	     /* of a transport error: ECONNREFUSED, ENOENT, ETIMEDOUT …; else 0 */
	bool may_be_applied; /* a change was asked for and no answer came: leatd may still make it */
	char field[128];     /* offending field, or "" */
	char reason[512];    /* sentence for a person */
};

struct leat_client;

/* Connects to an instance (NULL: default), or to a socket path when `instance` contains a '/'.
 * timeout_ms: for the connection and later for each call; 0: LEAT_TIMEOUT_DEFAULT_MS.
 * 0 or -errno (err, may be NULL, says more). */
int leat_open(const char *instance, int timeout_ms, struct leat_client **out_client,
	struct leat_error *err);
void leat_close(struct leat_client *client);

/* Calls a method. params: object, borrowed, may be NULL. fds: n_fds ≤ LEAT_CLIENT_FDS_MAX descriptors sent along,
 * still the caller's. out_result (may be NULL): the result, to be freed with cJSON_Delete().
 * 0, or the error's code (also in err->code; err may be NULL). After LEAT_ERR_TRANSPORT the client is of no more use. */
int leat_call_fds(struct leat_client *client, const char *method, const cJSON *params,
	const int *fds, size_t n_fds, cJSON **out_result, struct leat_error *err);
int leat_call(struct leat_client *client, const char *method, const cJSON *params,
	cJSON **out_result, struct leat_error *err);

/* Sends calls (array of {method, params}) as one transaction: whole or nothing. As leat_call(). */
int leat_txn(struct leat_client *client, const cJSON *calls, struct leat_error *err);

/* Waits for the next notification after event.subscribe; out_event is its params. timeout_ms < 0: forever.
 * 0, or LEAT_ERR_TRANSPORT (err->sys_errno ETIMEDOUT: nothing came, the client is still good). */
int leat_event_next(
	struct leat_client *client, int timeout_ms, cJSON **out_event, struct leat_error *err);

#endif
