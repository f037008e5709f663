/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/event.h"
#include "control/state.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"

void changes_fini(struct changes *changes)
{
	for (size_t i = 0; i < changes->len; i++) {
		free(changes->items[i].key);
		free(changes->items[i].undo_params);
		free(changes->items[i].del_call);
	}
	free(changes->items);
	memset(changes, 0, sizeof(*changes));
}

static struct change *changes_push(struct changes *changes)
{
	if (changes->len == changes->size) {
		size_t size = changes->size > 0 ? changes->size * 2 : 1;
		struct change *items = reallocarray(changes->items, size, sizeof(*items));

		if (items == NULL)
			return NULL;
		changes->items = items;
		changes->size = size;
	}
	memset(&changes->items[changes->len], 0, sizeof(changes->items[0]));
	return &changes->items[changes->len++];
}

static char *call_text(const struct method *method, const char *params)
{
	char *text = NULL;

	return asprintf(&text, "{\"method\":\"%s\",\"params\":%s}", method->name, params) < 0
		? NULL
		: text;
}

static char *print_and_free(cJSON *json)
{
	char *text = json != NULL ? cJSON_PrintUnformatted(json) : NULL;

	cJSON_Delete(json);
	return text;
}

/* Params to save: the handler's resolved ones, or the given ones without switches. */
static char *object_text(struct call *call)
{
	if (call->object != NULL)
		return cJSON_PrintUnformatted(call->object);
	return print_and_free(schema_object_params(call->rpc.method, call->rpc.params));
}

static int record_set(struct call *call, struct change *change)
{
	const struct method *method = call->rpc.method, *inverse = schema_method(method->inverse);
	const struct store_item *old = store_find(state_store(), change->key);
	char *key = print_and_free(schema_key_params(method, call->rpc.params));
	char *text = object_text(call);
	int rc = -ENOMEM;

	/* Replaced (conntrack.set): undone by what was there; a failed one is as good as none. */
	if (old != NULL && !old->is_failed) {
		change->undo_method = old->method;
		change->undo_params = strdup(old->params);
	} else {
		change->undo_method = inverse;
		change->undo_params = key != NULL ? strdup(key) : NULL;
	}
	if (text != NULL && key != NULL && change->undo_params != NULL) {
		change->del_call = call_text(inverse, key);
		if (change->del_call != NULL &&
			store_set(state_store(), change->key, method, text) != NULL)
			rc = 0;
	}
	free(text);
	free(key);
	return rc;
}

static int record_del(struct call *call, struct change *change)
{
	const struct store_item *item = store_find(state_store(), change->key);
	char *params = print_and_free(schema_key_params(call->rpc.method, call->rpc.params));

	change->del_call = params != NULL ? call_text(call->rpc.method, params) : NULL;
	free(params);
	if (item != NULL) {
		change->undo_method = item->method;
		change->undo_params = strdup(item->params);
		change->undo_place = call->place;
		change->undo_seq = item->seq;
		store_del(state_store(), change->key);
	}
	return change->del_call != NULL ? 0 : -ENOMEM;
}

static void emit(const struct call *call)
{
	const struct method *method = call->rpc.method;

	if (!event_has_subscribers(schema_class_name(method->class)))
		return;
	event_emit_object(schema_class_name(method->class),
		method->flags & METHOD_SETS ? "add" : "del",
		schema_object_params(method, call->rpc.params));
}

static void save_failed(struct call *call, struct changes *changes, int rc)
{
	if (call->rpc.method->flags & METHOD_REMOVES && call->rpc.method->flags & METHOD_SLOW) {
		log_warn("state",
			"removal not saved, it will be settled at the next start key=%s error=%s",
			changes->items[0].key, strerror(-rc));
		return;
	}
	changes_undo(changes);
	cJSON_Delete(call->result);
	call->result = NULL;
	schema_error(&call->err, LEAT_ERR_RESOURCES, NULL,
		"nothing was changed: cannot write the state file: %s", strerror(-rc));
	log_err("state", "cannot write: %s", strerror(-rc));
}

void change_record(struct call *call)
{
	struct changes own = { 0 }, *changes = call->changes != NULL ? call->changes : &own;
	struct change *change;
	char key[STORE_KEY_MAX];
	int rc;

	if (call->is_replay)
		return;
	change = changes_push(changes);
	rc = schema_key(call->rpc.method, call_req(call), key, sizeof(key)) == 0 ? 0
										 : -ENAMETOOLONG;
	if (change != NULL && rc == 0) {
		change->key = strdup(key);
		if (change->key == NULL)
			rc = -ENOMEM;
		else
			rc = call->rpc.method->flags & METHOD_SETS ? record_set(call, change)
								   : record_del(call, change);
	} else if (rc == 0) {
		rc = -ENOMEM;
	}
	if (rc == 0 && call->changes == NULL)
		rc = changes_save(changes, &call->ticket);
	if (rc < 0)
		save_failed(call, changes, rc);
	else
		emit(call);
	changes_fini(&own);
}

int changes_save(const struct changes *changes, uint64_t *out_ticket)
{
	char *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&line, &size);
	int rc;

	if (out == NULL)
		return -ENOMEM;
	fputs("{\"calls\":[", out);
	for (size_t i = 0; i < changes->len; i++) {
		const struct change *change = &changes->items[i];
		const struct store_item *item = store_find(state_store(), change->key);

		if (i > 0)
			fputc(',', out);
		/* The object as it is now: others may have touched it since. */
		if (item != NULL)
			fprintf(out, "{\"method\":\"%s\",\"params\":%s}", item->method->name,
				item->params);
		else
			fputs(change->del_call, out);
	}
	fputs("]}", out);
	rc = fclose(out) != 0 ? -ENOMEM : state_append(line, size, out_ticket);
	free(line);
	return rc;
}

void changes_undo(struct changes *changes)
{
	for (size_t i = changes->len; i-- > 0;) {
		struct change *change = &changes->items[i];
		struct leat_error err = { 0 };
		int rc = 0;

		if (change->key == NULL || change->undo_method == NULL)
			continue;
		if (change->undo_params != NULL)
			rc = call_run_now(
				change->undo_method, change->undo_params, change->undo_place, &err);
		if (rc != 0)
			log_err("state", "cannot undo key=\"%s\" reason=\"%s\"", change->key,
				err.reason);
		if (change->undo_method->flags & METHOD_SETS)
			store_restore(state_store(), change->key, change->undo_method,
				change->undo_params != NULL ? change->undo_params : "{}",
				change->undo_seq);
		else
			store_del(state_store(), change->key);
	}
	gen_publish();
}
