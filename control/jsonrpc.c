/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/jsonrpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *code_message(int code)
{
	switch (code) {
	case LEAT_ERR_PARSE:
		return "parse error";
	case LEAT_ERR_REQUEST:
		return "invalid request";
	case LEAT_ERR_METHOD:
		return "method not found";
	case LEAT_ERR_PARAMS:
		return "invalid params";
	case LEAT_ERR_NOT_FOUND:
		return "not found";
	case LEAT_ERR_EXISTS:
		return "exists";
	case LEAT_ERR_RESOURCES:
		return "out of resources";
	case LEAT_ERR_BUSY:
		return "busy";
	case LEAT_ERR_CONFLICT:
		return "conflict";
	case LEAT_ERR_LIMIT:
		return "limit";
	case LEAT_ERR_PERMISSION:
		return "not permitted";
	case LEAT_ERR_AGAIN:
		return "try again";
	default:
		return "internal error";
	}
}

static int decode_method(cJSON *object, struct rpc_request *out_req, struct leat_error *err)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "method"));

	if (name == NULL)
		return schema_error(err, LEAT_ERR_REQUEST, "method", "method must be a string");
	out_req->method = schema_method(name);
	if (out_req->method == NULL)
		return schema_error(
			err, LEAT_ERR_METHOD, "method", "there is no method \"%.64s\"", name);
	out_req->params = cJSON_DetachItemFromObjectCaseSensitive(object, "params");
	return schema_decode(out_req->method, out_req->params, &out_req->req, err);
}

/* A JSON string may hold an escaped NUL, which would end a C string early: no field may contain one. */
static bool has_escaped_nul(const char *line, size_t len)
{
	return memmem(line, len, "\\u0000", 6) != NULL || memchr(line, '\0', len) != NULL;
}

int rpc_parse(const char *line, size_t len, struct rpc_request *out_req, struct leat_error *err)
{
	const char *end = NULL;
	cJSON *object, *id;
	int rc;

	memset(out_req, 0, sizeof(*out_req));
	if (has_escaped_nul(line, len))
		return schema_error(err, LEAT_ERR_PARSE, NULL, "NUL characters are not accepted");
	object = cJSON_ParseWithLengthOpts(line, len, &end, false);
	while (object != NULL && end < line + len && strchr(" \t\r", *end) != NULL)
		end++;
	if (object == NULL || end != line + len) {
		cJSON_Delete(object);
		return schema_error(err, LEAT_ERR_PARSE, NULL, "the line is not one JSON object");
	}
	if (!cJSON_IsObject(object)) {
		cJSON_Delete(object);
		return schema_error(err, LEAT_ERR_REQUEST, NULL, "a request is one JSON object");
	}
	id = cJSON_GetObjectItemCaseSensitive(object, "id");
	if (cJSON_IsString(id) || cJSON_IsNumber(id) || cJSON_IsNull(id))
		out_req->id = cJSON_DetachItemViaPointer(object, id);
	if (id != NULL && out_req->id == NULL)
		rc = schema_error(err, LEAT_ERR_REQUEST, "id", "id must be a string or a number");
	else
		rc = decode_method(object, out_req, err);
	cJSON_Delete(object);
	return rc;
}

int rpc_parse_call(cJSON *call, struct rpc_request *out_req, struct leat_error *err)
{
	const cJSON *item;

	memset(out_req, 0, sizeof(*out_req));
	if (!cJSON_IsObject(call))
		return schema_error(
			err, LEAT_ERR_PARAMS, NULL, "a call is an object {method, params}");
	cJSON_ArrayForEach(item, call) {
		if (strcmp(item->string, "method") != 0 && strcmp(item->string, "params") != 0)
			return schema_error(err, LEAT_ERR_PARAMS, NULL,
				"a call has \"method\" and \"params\" only, not \"%.64s\"",
				item->string);
	}
	return decode_method(call, out_req, err);
}

void rpc_request_fini(struct rpc_request *req)
{
	schema_req_fini(&req->req);
	cJSON_Delete(req->params);
	cJSON_Delete(req->id);
	memset(req, 0, sizeof(*req));
}

static char *format(const cJSON *id, const char *member, char *body, size_t *out_len)
{
	char *id_text = id != NULL ? cJSON_PrintUnformatted(id) : NULL, *line = NULL;
	int len = -1;

	if (body != NULL && (id == NULL || id_text != NULL))
		len = asprintf(&line, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":%s}\n",
			id_text != NULL ? id_text : "null", member, body);
	cJSON_free(id_text);
	cJSON_free(body);
	*out_len = len < 0 ? 0 : (size_t)len;
	return len < 0 ? NULL : line;
}

char *rpc_format_result(const cJSON *id, const cJSON *result, size_t *out_len)
{
	return format(id, "result", cJSON_PrintUnformatted(result), out_len);
}

char *rpc_format_error(const cJSON *id, const struct leat_error *err, size_t *out_len)
{
	cJSON *error = cJSON_CreateObject(), *data;
	char *body;

	cJSON_AddNumberToObject(error, "code", err->code);
	cJSON_AddStringToObject(error, "message", code_message(err->code));
	data = cJSON_AddObjectToObject(error, "data");
	if (err->field[0] != '\0')
		cJSON_AddStringToObject(data, "field", err->field);
	cJSON_AddStringToObject(data, "reason", err->reason);
	body = cJSON_PrintUnformatted(error);
	cJSON_Delete(error);
	return format(id, "error", body, out_len);
}

char *rpc_format_event(const cJSON *params, size_t *out_len)
{
	char *body = cJSON_PrintUnformatted(params), *line = NULL;
	int len = -1;

	if (body != NULL)
		len = asprintf(
			&line, "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":%s}\n", body);
	cJSON_free(body);
	*out_len = len < 0 ? 0 : (size_t)len;
	return len < 0 ? NULL : line;
}
