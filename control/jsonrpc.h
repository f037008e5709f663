/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC 2.0 framing: one line in, one line out. Pure functions on hostile input. */
#ifndef LEAT_JSONRPC_H
#define LEAT_JSONRPC_H

#include <stdbool.h>
#include <stddef.h>

#include "control/client/schema.h"

struct rpc_request {
	const struct method *method; /* NULL: unknown, see err */
	cJSON *params;		     /* owned; NULL when absent */
	cJSON *id;		     /* owned; NULL for a notification */
	struct schema_req req;	     /* decoded params */
};

/* Parses and decodes one line (without its newline). 0, or an error code with *err filled; out_req is to be freed in both
 * cases, and its id is what the answer must carry as far as it could be read. */
int rpc_parse(const char *line, size_t len, struct rpc_request *out_req, struct leat_error *err);

/* Checks one {method, params} object of a transaction or a configuration: method and params only. As rpc_parse(); takes
 * the params out of *call. */
int rpc_parse_call(cJSON *call, struct rpc_request *out_req, struct leat_error *err);

void rpc_request_fini(struct rpc_request *req);

/* One line, newline included; NULL when memory ran out. id NULL: "null". Caller frees with cJSON_free(). */
char *rpc_format_result(const cJSON *id, const cJSON *result, size_t *out_len);
char *rpc_format_error(const cJSON *id, const struct leat_error *err, size_t *out_len);
char *rpc_format_event(const cJSON *params, size_t *out_len);

#endif
