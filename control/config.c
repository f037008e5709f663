/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/call.h"
#include "control/loop.h"
#include "control/store.h"

#define FILE_MAX (256l << 20)

static struct {
	cJSON *calls;
	size_t idx;
	struct event *work;
	void (*done)(const struct leat_error *err);
} apply;

static char *read_text(const char *path, struct leat_error *err)
{
	FILE *in = fopen(path, "re");
	char *text = NULL;
	long size;

	if (in == NULL) {
		schema_error(
			err, LEAT_ERR_NOT_FOUND, NULL, "cannot open %s: %s", path, strerror(errno));
		return NULL;
	}
	if (fseek(in, 0, SEEK_END) == 0 && (size = ftell(in)) >= 0 && size <= FILE_MAX &&
		fseek(in, 0, SEEK_SET) == 0)
		text = malloc((size_t)size + 1);
	if (text != NULL)
		text[fread(text, 1, (size_t)size, in)] = '\0';
	else
		schema_error(err, LEAT_ERR_RESOURCES, NULL, "cannot read %s", path);
	fclose(in);
	return text;
}

cJSON *config_read(const char *path, struct leat_error *err)
{
	char *text = read_text(path, err);
	const char *end = NULL;
	cJSON *file, *calls;

	if (text == NULL)
		return NULL;
	file = cJSON_ParseWithOpts(text, &end, true);
	if (file == NULL) {
		unsigned int line = 1;

		for (const char *at = text; end != NULL && at < end && *at != '\0'; at++)
			line += *at == '\n';
		schema_error(err, LEAT_ERR_PARSE, NULL, "%s is not JSON, see line %u", path, line);
		free(text);
		return NULL;
	}
	free(text);
	if (cJSON_IsArray(file))
		return file;
	calls = cJSON_DetachItemFromObjectCaseSensitive(file, "calls");
	cJSON_Delete(file);
	if (!cJSON_IsArray(calls)) {
		cJSON_Delete(calls);
		schema_error(err, LEAT_ERR_PARSE, NULL,
			"%s must be a list of calls {method, params}", path);
		return NULL;
	}
	return calls;
}

/* Whether an object that a call refers to by name is made by an earlier call. */
static int check_reference(struct store *store, const cJSON *params, const char *name,
	const char *class, struct leat_error *err)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(params, name));
	char key[STORE_KEY_MAX];

	if (value == NULL)
		return 0;
	snprintf(key, sizeof(key), "%s %s", class, value);
	if (store_find(store, key) != NULL)
		return 0;
	return schema_error(
		err, LEAT_ERR_NOT_FOUND, name, "no %s %s before this call", class, value);
}

static int check_references(
	struct store *store, const struct rpc_request *rpc, struct leat_error *err)
{
	enum object_class class = rpc->method->class;
	int rc = 0;

	if (class == OBJECT_ENDPOINT || class == OBJECT_NEIGH || class == OBJECT_ROUTE)
		rc = check_reference(store, rpc->params, "port", "port", err);
	if (rc == 0 && class == OBJECT_ROUTE)
		rc = check_reference(store, rpc->params, "tunnel", "tunnel", err);
	if (rc == 0 && class == OBJECT_MIRROR)
		rc = check_reference(store, rpc->params, "from", "port", err);
	if (rc == 0 && class == OBJECT_MIRROR)
		rc = check_reference(store, rpc->params, "to", "port", err);
	return rc;
}

/* The method and the fields; *out_rpc is to be freed in any case. */
static int check_alone(const cJSON *call, struct rpc_request *out_rpc, struct leat_error *err)
{
	cJSON *copy = cJSON_Duplicate(call, true);
	int rc = rpc_parse_call(copy, out_rpc, err);

	cJSON_Delete(copy);
	if (rc == 0 && !(out_rpc->method->flags & (METHOD_SETS | METHOD_REMOVES)))
		rc = schema_error(
			err, LEAT_ERR_PARAMS, NULL, "%s changes nothing", out_rpc->method->name);
	return rc;
}

static int check_one(struct store *store, const cJSON *call, size_t idx, struct leat_error *err)
{
	struct rpc_request rpc;
	char key[STORE_KEY_MAX];
	int rc = check_alone(call, &rpc, err);

	if (rc == 0 && schema_key(rpc.method, rpc.req.data, key, sizeof(key)) < 0)
		rc = schema_error(err, LEAT_ERR_PARAMS, NULL, "name too long");
	if (rc == 0 && rpc.method->flags & METHOD_SETS) {
		rc = check_references(store, &rpc, err);
		if (rc == 0 && store_find(store, key) != NULL)
			rc = schema_error(err, LEAT_ERR_EXISTS, NULL, "\"%s\" is made twice", key);
		if (rc == 0 && store_set(store, key, rpc.method, "{}") == NULL)
			rc = schema_error(err, LEAT_ERR_RESOURCES, NULL, "out of memory");
	} else if (rc == 0) {
		store_del(store, key);
	}
	if (rc != 0)
		schema_error_in_call(err, idx, rpc.method, rpc.params);
	rpc_request_fini(&rpc);
	return rc;
}

int config_check(const cJSON *calls, struct leat_error *err)
{
	struct store *store = store_create();
	const cJSON *call;
	size_t idx = 0;
	int rc = store != NULL ? 0 : schema_error(err, LEAT_ERR_RESOURCES, NULL, "out of memory");

	for (call = calls->child; rc == 0 && call != NULL; call = call->next)
		rc = check_one(store, call, idx++, err);
	store_destroy(store);
	return rc;
}

int config_check_calls(const cJSON *calls, struct leat_error *err)
{
	const cJSON *call;
	size_t idx = 0;
	int rc = 0;

	for (call = calls->child; rc == 0 && call != NULL; call = call->next) {
		struct rpc_request rpc;

		rc = check_alone(call, &rpc, err);
		if (rc != 0)
			schema_error_in_call(err, idx, rpc.method, rpc.params);
		rpc_request_fini(&rpc);
		idx++;
	}
	return rc;
}

static void finish(const struct leat_error *err)
{
	void (*done)(const struct leat_error *err) = apply.done;

	event_free(apply.work);
	cJSON_Delete(apply.calls);
	memset(&apply, 0, sizeof(apply));
	done(err);
}

static void on_done(struct call *call, void *arg)
{
	struct leat_error err = call->err;

	(void)arg;
	if (err.code != LEAT_OK)
		schema_error_in_call(&err, apply.idx, call->rpc.method, call->rpc.params);
	call_destroy(call);
	if (err.code != LEAT_OK) {
		finish(&err);
		return;
	}
	apply.idx++;
	event_active(apply.work, EV_TIMEOUT, 0);
}

/* The state may have brought the object back already. */
static void allow_existing(const struct method *method, cJSON *params)
{
	for (const struct field *field = method->fields; field->name != NULL; field++)
		if ((strcmp(field->name, "exist_ok") == 0 ||
			    strcmp(field->name, "missing_ok") == 0) &&
			cJSON_GetObjectItemCaseSensitive(params, field->name) == NULL)
			cJSON_AddTrueToObject(params, field->name);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	cJSON *json = cJSON_DetachItemFromArray(apply.calls, 0);
	struct leat_error err = { 0 };
	struct rpc_request rpc;
	struct call *call;

	(void)fd;
	(void)what;
	(void)arg;
	if (json == NULL) {
		finish(&err);
		return;
	}
	if (rpc_parse_call(json, &rpc, &err) == 0) {
		if (rpc.params == NULL)
			rpc.params = cJSON_CreateObject();
		allow_existing(rpc.method, rpc.params);
		schema_req_fini(&rpc.req);
		schema_decode(rpc.method, rpc.params, &rpc.req, &err);
	}
	cJSON_Delete(json);
	call = err.code == LEAT_OK ? call_create(&rpc, on_done, NULL) : NULL;
	if (call == NULL) {
		if (err.code == LEAT_OK)
			schema_error(&err, LEAT_ERR_RESOURCES, NULL, "out of memory");
		schema_error_in_call(&err, apply.idx, rpc.method, rpc.params);
		rpc_request_fini(&rpc);
		finish(&err);
		return;
	}
	call_start(call);
}

void config_apply(cJSON *calls, void (*done)(const struct leat_error *err))
{
	apply.calls = calls;
	apply.done = done;
	apply.work = event_new(loop_base, -1, 0, on_work, NULL);
	event_priority_set(apply.work, LOOP_PRIO_LIGHT);
	event_active(apply.work, EV_TIMEOUT, 0);
}
