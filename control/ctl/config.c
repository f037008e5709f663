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
		ctl_complain(CTL_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
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
		ctl_complain(CTL_EXIT_USAGE, "%s is not a list of calls", path);
		cJSON_Delete(calls);
		return NULL;
	}
	return calls;
}

/* Class and key of call idx of a file; NULL and a message if it is none. */
static const struct method *key_of(const cJSON *call, size_t idx, char key[KEY_MAX])
{
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(call, "params");
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call, "method"));
	const struct method *method = name != NULL ? schema_method(name) : NULL;
	struct schema_req req = { 0 };
	struct leat_error err = { 0 };

	if (method == NULL || !(method->flags & METHOD_SETS))
		schema_error(&err, LEAT_ERR_PARAMS, "method",
			"a configuration cannot have \"%.60s\"",
			name != NULL ? name : "a call without method");
	else if (schema_decode(method, params, &req, &err) == 0 &&
		schema_key(method, req.data, key, KEY_MAX) < 0)
		schema_error(&err, LEAT_ERR_PARAMS, NULL, "its name is too long");
	schema_req_fini(&req);
	if (err.code == 0)
		return method;
	schema_error_in_call(&err, idx, method, params);
	ctl_fail(CTL_EXIT_USAGE, NULL, NULL, &err);
	return NULL;
}

/* Calls of a list: by position, and by key. */
struct entry {
	char *key; /* NULL: no object */
	const cJSON *call;
};

struct calls {
	struct entry *in_order, *by_key;
	size_t len, n_keys;
};

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static void calls_fini(struct calls *calls)
{
	for (size_t i = 0; i < calls->len; i++)
		free(calls->in_order[i].key);
	free(calls->in_order);
	free(calls->by_key);
}

/* 0 or -1: no memory; calls_fini() in any case. */
static int calls_init(struct calls *calls, const cJSON *list)
{
	size_t size = (size_t)cJSON_GetArraySize(list) + 1;
	const cJSON *call;
	char key[KEY_MAX];

	*calls = (struct calls){ .in_order = calloc(size, sizeof(*calls->in_order)),
		.by_key = calloc(size, sizeof(*calls->by_key)) };
	if (calls->in_order == NULL || calls->by_key == NULL)
		return -1;
	cJSON_ArrayForEach(call, list) {
		struct entry *entry = &calls->in_order[calls->len++];

		entry->call = call;
		if (key_of(call, calls->len - 1, key) == NULL)
			continue;
		entry->key = strdup(key);
		if (entry->key == NULL)
			return -1;
		calls->by_key[calls->n_keys++] = *entry;
	}
	qsort(calls->by_key, calls->n_keys, sizeof(*calls->by_key), compare_keys);
	return 0;
}

static const cJSON *find_call(const struct calls *calls, const char *key)
{
	const struct entry wanted = { .key = (char *)(uintptr_t)key };
	const struct entry *found = bsearch(
		&wanted, calls->by_key, calls->n_keys, sizeof(wanted), compare_keys);

	return found != NULL ? found->call : NULL;
}

static const struct field *field_of(const struct method *method, const char *name)
{
	for (const struct field *field = method->fields; field->name != NULL; field++)
		if (strcmp(field->name, name) == 0)
			return field;
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
		const struct field *field = field_of(method, item->string);

		if (field != NULL && (field->flags & FIELD_FLAG) != 0)
			continue;
		if (!cJSON_Compare(item, cJSON_GetObjectItemCaseSensitive(b, item->string), true))
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

/* The call that makes the object what it is wanted to be; `replace`, where there is such a thing, leaves what stands on it alone. */
static cJSON *change_of(const struct method *method, const cJSON *call, bool is_there)
{
	cJSON *copy = cJSON_Duplicate(call, true);

	if (is_there && field_of(method, "replace") != NULL) {
		cJSON *params = cJSON_GetObjectItemCaseSensitive(copy, "params");

		cJSON_DeleteItemFromObjectCaseSensitive(params, "replace");
		cJSON_AddBoolToObject(params, "replace", true);
	}
	return copy;
}

static const struct method *method_of(const cJSON *call)
{
	return schema_method(cJSON_GetObjectItemCaseSensitive(call, "method")->valuestring);
}

/* Whether the present object has to go before the wanted one can be made. */
static bool must_go(const cJSON *twin, const cJSON *present, bool must_prune)
{
	const struct method *method;

	if (twin == NULL)
		return must_prune;
	method = method_of(twin);
	return !is_same(method, twin, present) && field_of(method, "replace") == NULL;
}

/* Removals (last made first), then additions in the file's order. */
static void fill_plan(
	cJSON *plan, const struct calls *wanted, const struct calls *present, bool must_prune)
{
	for (size_t i = present->len; i-- > 0;) {
		const struct entry *entry = &present->in_order[i];

		if (entry->key != NULL &&
			must_go(find_call(wanted, entry->key), entry->call, must_prune))
			push_removal(plan, method_of(entry->call), entry->call);
	}
	for (size_t i = 0; i < wanted->len; i++) {
		const struct entry *entry = &wanted->in_order[i];
		const struct method *method = method_of(entry->call);
		const cJSON *twin = find_call(present, entry->key);

		if (twin == NULL || !is_same(method, entry->call, twin))
			cJSON_AddItemToArray(plan, change_of(method, entry->call, twin != NULL));
	}
}

/* NULL on a bad file. */
static cJSON *make_plan(const cJSON *wanted, const cJSON *present, bool must_prune)
{
	struct calls w = { 0 }, p = { 0 };
	cJSON *plan = NULL;

	if (calls_init(&w, wanted) == 0 && calls_init(&p, present) == 0 && w.n_keys == w.len) {
		plan = cJSON_CreateArray();
		fill_plan(plan, &w, &p, must_prune);
	}
	calls_fini(&w);
	calls_fini(&p);
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
		if (!err.may_be_applied) {
			struct leat_error whole = err;

			snprintf(whole.reason, sizeof(whole.reason), "nothing was changed: %.480s",
				err.reason);
			return ctl_fail(ctl_exit_code(&err), NULL, NULL, &whole);
		}
		return ctl_fail(ctl_exit_code(&err), NULL, NULL, &err);
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
	return ctl_complain(CTL_EXIT_USAGE,
		"usage: leatctl config dump | diff FILE [--prune] | apply FILE [--prune]");
}
