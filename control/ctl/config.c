/* SPDX-License-Identifier: BSD-3-Clause */
/* config dump, diff, apply: the configuration as a whole, against a file of calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/ctl.h"

#define KEY_MAX 256

static cJSON *read_calls(const char *path)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	cJSON *file, *calls;

	if (in == NULL || getdelim(&text, &size, '\0', in) < 0) {
		fprintf(stderr, "leatctl: cannot read %s: %s\n", path, strerror(errno));
		if (in != NULL && in != stdin)
			fclose(in);
		free(text);
		return NULL;
	}
	if (in != stdin)
		fclose(in);
	file = cJSON_Parse(text);
	free(text);
	calls = cJSON_IsArray(file) ? file : cJSON_DetachItemFromObjectCaseSensitive(file, "calls");
	if (calls != file)
		cJSON_Delete(file);
	if (!cJSON_IsArray(calls)) {
		fprintf(stderr, "leatctl: %s is not a list of calls\n", path);
		cJSON_Delete(calls);
		return NULL;
	}
	return calls;
}

/* Class and key of a call; NULL and a message if it is none. */
static const struct method *key_of(const cJSON *call, char key[KEY_MAX])
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, "method"));
	const struct method *method = name != NULL ? schema_method(name) : NULL;
	struct schema_req req = { 0 };
	struct leat_error err = { 0 };

	if (method == NULL || !(method->flags & METHOD_SETS))
		fprintf(stderr, "leatctl: a configuration cannot have \"%s\"\n",
			name != NULL ? name : "a call without method");
	else if (schema_decode(
			 method, cJSON_GetObjectItemCaseSensitive(call, "params"), &req, &err) != 0)
		fprintf(stderr, "leatctl: %s: %s\n", name, err.reason);
	else if (schema_key(method, req.data, key, KEY_MAX) == 0) {
		schema_req_fini(&req);
		return method;
	}
	schema_req_fini(&req);
	return NULL;
}

static const cJSON *find_call(const cJSON *calls, const char *key)
{
	const cJSON *call;
	char other[KEY_MAX];

	cJSON_ArrayForEach(call, calls)
		if (key_of(call, other) != NULL && strcmp(key, other) == 0)
			return call;
	return NULL;
}

/* Whether the present object is what the wanted call asks for; what that leaves out is as it may be. */
static bool is_same(const struct method *method, const cJSON *wanted, const cJSON *present)
{
	const cJSON *a = cJSON_GetObjectItemCaseSensitive(wanted, "params");
	const cJSON *b = cJSON_GetObjectItemCaseSensitive(present, "params");
	const cJSON *item;

	if (strcmp(cJSON_GetObjectItemCaseSensitive(present, "method")->valuestring,
		    method->name) != 0)
		return false;
	cJSON_ArrayForEach(item, a) {
		if (strcmp(item->string, "exist_ok") != 0 &&
			!cJSON_Compare(
				item, cJSON_GetObjectItemCaseSensitive(b, item->string), true))
			return false;
	}
	return true;
}

static cJSON *call_json(const char *method, cJSON *params)
{
	cJSON *call = cJSON_CreateObject();

	cJSON_AddStringToObject(call, "method", method);
	cJSON_AddItemToObject(call, "params", params);
	return call;
}

static void push_removal(cJSON *plan, const struct method *method, const cJSON *call)
{
	cJSON_AddItemToArray(plan,
		call_json(method->inverse,
			schema_key_params(
				method, cJSON_GetObjectItemCaseSensitive(call, "params"))));
}

/* Removals (last made first), then additions in the file's order. NULL on a bad file. */
static cJSON *make_plan(const cJSON *wanted, const cJSON *present, bool must_prune)
{
	cJSON *plan = cJSON_CreateArray(), *adds = cJSON_CreateArray(), *item;
	const struct method *method;
	const cJSON *call;
	char key[KEY_MAX];

	for (int i = cJSON_GetArraySize(present) - 1; i >= 0; i--) {
		const cJSON *twin;

		call = cJSON_GetArrayItem(present, i);
		method = key_of(call, key);
		if (method == NULL)
			continue;
		twin = find_call(wanted, key);
		if (twin == NULL ? must_prune
				 : !is_same(schema_method(
						    cJSON_GetObjectItemCaseSensitive(twin, "method")
							    ->valuestring),
					   twin, call))
			push_removal(plan, method, call);
	}
	cJSON_ArrayForEach(call, wanted) {
		const cJSON *twin;

		method = key_of(call, key);
		if (method == NULL) {
			cJSON_Delete(plan);
			cJSON_Delete(adds);
			return NULL;
		}
		twin = find_call(present, key);
		if (twin == NULL || !is_same(method, call, twin))
			cJSON_AddItemToArray(adds, cJSON_Duplicate(call, true));
	}
	while ((item = cJSON_DetachItemFromArray(adds, 0)) != NULL)
		cJSON_AddItemToArray(plan, item);
	cJSON_Delete(adds);
	return plan;
}

static void print_plan(const cJSON *plan)
{
	const cJSON *call;

	cJSON_ArrayForEach(call, plan) {
		const struct method *method = schema_method(
			cJSON_GetObjectItemCaseSensitive(call, "method")->valuestring);
		char *params = cJSON_PrintUnformatted(
			cJSON_GetObjectItemCaseSensitive(call, "params"));

		printf("%c %s %s\n", method->flags & METHOD_REMOVES ? '-' : '+', method->name,
			params);
		cJSON_free(params);
	}
}

static bool has_slow_call(const cJSON *plan)
{
	const cJSON *call;

	cJSON_ArrayForEach(call, plan) {
		if (schema_method(cJSON_GetObjectItemCaseSensitive(call, "method")->valuestring)
				->flags &
			METHOD_SLOW)
			return true;
	}
	return false;
}

/* As one transaction, unless there are pods in it, which cannot be part of one. */
static int run_plan(struct ctl *ctl, const cJSON *plan)
{
	struct leat_error err;
	const cJSON *call;

	if (plan->child == NULL)
		return CTL_EXIT_OK;
	if (!has_slow_call(plan)) {
		if (leat_txn(ctl->client, plan, &err) == 0)
			return CTL_EXIT_OK;
		if (!err.may_be_applied)
			fputs("leatctl: nothing was changed\n", stderr);
		fprintf(stderr, "leatctl: %s\n", err.reason);
		return err.code == LEAT_ERR_TRANSPORT ? CTL_EXIT_NO_DAEMON : CTL_EXIT_FAILED;
	}
	cJSON_ArrayForEach(call, plan) {
		int rc = ctl_call(ctl,
			cJSON_GetObjectItemCaseSensitive(call, "method")->valuestring,
			cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(call, "params"), true),
			NULL);

		if (rc != CTL_EXIT_OK)
			return rc;
	}
	return CTL_EXIT_OK;
}

static int diff_or_apply(struct ctl *ctl, const char *path, bool must_apply, bool must_prune)
{
	cJSON *wanted = read_calls(path), *answer = NULL, *plan = NULL;
	int rc = wanted == NULL
		? CTL_EXIT_USAGE
		: ctl_call_paged(ctl, "config.dump", cJSON_CreateObject(), "calls", &answer);

	if (rc == CTL_EXIT_OK) {
		plan = make_plan(
			wanted, cJSON_GetObjectItemCaseSensitive(answer, "calls"), must_prune);
		rc = plan == NULL ? CTL_EXIT_USAGE : CTL_EXIT_OK;
	}
	if (rc == CTL_EXIT_OK) {
		if (ctl->is_json)
			ctl_print_json(plan);
		else
			print_plan(plan);
		if (must_apply)
			rc = run_plan(ctl, plan);
		else
			rc = plan->child != NULL ? CTL_EXIT_FAILED : CTL_EXIT_OK; /* like diff(1) */
	}
	cJSON_Delete(plan);
	cJSON_Delete(answer);
	cJSON_Delete(wanted);
	return rc;
}

int ctl_config(struct ctl *ctl, int argc, char **argv)
{
	bool must_prune = false;
	cJSON *answer = NULL;
	int rc, n = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--prune") == 0)
			must_prune = true;
		else
			argv[n++] = argv[i];
	}
	if (n == 1 && strcmp(argv[0], "dump") == 0) {
		rc = ctl_call_paged(ctl, "config.dump", cJSON_CreateObject(), "calls", &answer);
		if (rc == CTL_EXIT_OK)
			ctl_print_json(cJSON_GetObjectItemCaseSensitive(answer, "calls"));
		cJSON_Delete(answer);
		return rc;
	}
	if (n == 2 && strcmp(argv[0], "diff") == 0)
		return diff_or_apply(ctl, argv[1], false, must_prune);
	if (n == 2 && strcmp(argv[0], "apply") == 0)
		return diff_or_apply(ctl, argv[1], true, must_prune);
	fprintf(stderr,
		"usage: leatctl config dump | diff FILE [--prune] | apply FILE [--prune]\n");
	return CTL_EXIT_USAGE;
}
