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

void change_destroy(struct change *change)
{
	if (change == NULL)
		return;
	free(change->key);
	free(change->key_params);
	free(change->del_call);
	free(change->old_params);
	store_item_free(change->item);
	free(change);
}

static void changes_push(struct changes *changes, struct change *change)
{
	change->prev = changes->last;
	if (changes->last != NULL)
		changes->last->next = change;
	else
		changes->first = change;
	changes->last = change;
	changes->len++;
}

static struct change *changes_pop(struct changes *changes)
{
	struct change *change = changes->last;

	changes->last = change->prev;
	if (changes->last != NULL)
		changes->last->next = NULL;
	else
		changes->first = NULL;
	changes->len--;
	return change;
}

void changes_fini(struct changes *changes)
{
	while (changes->len > 0)
		change_destroy(changes_pop(changes));
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

/* The object as it was given, without switches; what the handler resolves comes later. */
static int prepare_set(struct call *call, struct change *change)
{
	const struct method *method = call->rpc.method;
	char *text = print_and_free(schema_object_params(method, call->rpc.params));

	if (text == NULL)
		return -ENOMEM;
	change->item = store_item_create(change->key, method, text);
	if (change->item == NULL)
		free(text);
	return change->item != NULL ? 0 : -ENOMEM;
}

int change_prepare(struct call *call)
{
	const struct method *method = call->rpc.method, *remove = method;
	struct change *change;
	char key[STORE_KEY_MAX];

	if (schema_key(method, call_req(call), key, sizeof(key)) < 0)
		return -ENAMETOOLONG;
	change = calloc(1, sizeof(*change));
	if (change == NULL)
		return -ENOMEM;
	change->is_set = (method->flags & METHOD_SETS) != 0;
	if (change->is_set)
		remove = change->inverse = schema_method(method->inverse);
	change->key = strdup(key);
	change->key_params = print_and_free(schema_key_params(method, call->rpc.params));
	if (change->key_params != NULL)
		change->del_call = call_text(remove, change->key_params);
	if (change->key == NULL || change->del_call == NULL ||
		(change->is_set && prepare_set(call, change) < 0)) {
		change_destroy(change);
		return -ENOMEM;
	}
	call->change = change;
	return 0;
}

/* Into the store first: undoing needs it there. */
static int record_set(struct call *call, struct change *change)
{
	const struct method *method = call->rpc.method;
	struct store_item *item = store_find(state_store(), change->key), *fresh = change->item;
	char *text;

	if (item == NULL) {
		item = fresh;
		change->item = NULL;
		store_put(state_store(), item);
	} else {
		change->was_failed = item->is_failed;
		change->old_method = item->method;
		change->old_params = store_exchange(state_store(), item, method, fresh->params);
		fresh->params = NULL;
	}
	if (call->is_object_lost)
		return -ENOMEM;
	if (call->object == NULL)
		return 0;
	text = cJSON_PrintUnformatted(call->object);
	if (text == NULL)
		return -ENOMEM;
	free(store_exchange(state_store(), item, method, text));
	return 0;
}

static void record_del(struct call *call, struct change *change)
{
	change->place = call->place;
	change->item = store_take(state_store(), change->key);
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

void changes_tell(struct leat_error *err, size_t n_left, const char *reason)
{
	if (n_left == 0)
		schema_error(err, LEAT_ERR_RESOURCES, NULL, "nothing was changed: %s", reason);
	else
		schema_error(err, LEAT_ERR_RESOURCES, NULL,
			"%s; %zu changes could not be undone: they are in effect, and not saved",
			reason, n_left);
}

/* Tables as before the call: what it did before is the transaction's to undo. */
static size_t undo_last(struct changes *changes)
{
	struct changes last = { 0 };

	changes_push(&last, changes_pop(changes));
	return changes_undo(&last);
}

static void save_failed(struct call *call, struct changes *changes, int rc)
{
	char reason[128];

	if (call->rpc.method->flags & METHOD_REMOVES && call->rpc.method->flags & METHOD_SLOW) {
		log_warn("state",
			"removal not saved, it will be settled at the next start key=%s error=%s",
			changes->last->key, strerror(-rc));
		return;
	}
	snprintf(reason, sizeof(reason), "cannot write the state file: %s", strerror(-rc));
	changes_tell(&call->err, undo_last(changes), reason);
	cJSON_Delete(call->result);
	call->result = NULL;
	log_err("state", "cannot write: %s", strerror(-rc));
}

void change_record(struct call *call)
{
	struct changes own = { 0 }, *changes = call->changes != NULL ? call->changes : &own;
	struct change *change = call->change;
	int rc = 0;

	if (call->is_replay)
		return;
	call->change = NULL;
	changes_push(changes, change);
	if (change->is_set)
		rc = record_set(call, change);
	else
		record_del(call, change);
	if (rc == 0 && call->changes == NULL)
		rc = changes_save(changes, &call->ticket);
	if (rc < 0)
		save_failed(call, changes, rc);
	else
		emit(call);
	changes_fini(&own);
}

/* Text that is only measured (at NULL), then written: a stream in memory may lose some of it unseen when memory runs out. */
struct text {
	char *at;
	size_t len;
};

static void text_add(struct text *text, const char *piece)
{
	size_t len = strlen(piece);

	if (text->at != NULL)
		memcpy(text->at + text->len, piece, len);
	text->len += len;
}

/* The object as it is now, since others may have touched it meanwhile. One that was removed and made again has a new place in the order. */
static void add_change(struct text *text, const struct change *change)
{
	const struct store_item *item = store_find(state_store(), change->key);

	if (!change->is_set || item == NULL)
		text_add(text, change->del_call);
	if (item == NULL || (!change->is_set && item->is_in_line))
		return;
	text_add(text, change->is_set ? "{\"method\":\"" : ",{\"method\":\"");
	text_add(text, item->method->name);
	text_add(text, "\",\"params\":");
	text_add(text, item->params);
	text_add(text, "}");
}

static void add_changes(struct text *text, const struct changes *changes)
{
	text_add(text, "{\"calls\":[");
	for (const struct change *change = changes->first; change != NULL; change = change->next) {
		if (change != changes->first)
			text_add(text, ",");
		add_change(text, change);
	}
	text_add(text, "]}");
}

/* Which objects the line brings by a set of its own. */
static void mark_sets(const struct changes *changes, bool is_in_line)
{
	for (const struct change *change = changes->first; change != NULL; change = change->next) {
		struct store_item *item = change->is_set ? store_find(state_store(), change->key)
							 : NULL;

		if (item != NULL)
			item->is_in_line = is_in_line;
	}
}

int changes_save(const struct changes *changes, uint64_t *out_ticket)
{
	struct text text = { 0 };
	int rc = -ENOMEM;

	mark_sets(changes, true);
	add_changes(&text, changes);
	text.at = malloc(text.len + 1);
	if (text.at != NULL) {
		text.len = 0;
		add_changes(&text, changes);
		rc = state_append(text.at, text.len, out_ticket);
	}
	mark_sets(changes, false);
	free(text.at);
	return rc;
}

static int undo_set(struct change *change, struct leat_error *err)
{
	bool was_other = change->old_params != NULL && !change->was_failed;
	struct store_item *item;
	int rc = was_other ? call_run_now(change->old_method, change->old_params, 0, err)
			   : call_run_now(change->inverse, change->key_params, 0, err);

	if (rc != 0)
		return rc;
	item = store_find(state_store(), change->key);
	if (item != NULL && change->old_params != NULL) {
		change->old_params = store_exchange(
			state_store(), item, change->old_method, change->old_params);
		item->is_failed = change->was_failed;
	} else {
		store_del(state_store(), change->key);
	}
	return 0;
}

static int undo_del(struct change *change, struct leat_error *err)
{
	struct store_item *item = change->item;
	int rc = 0;

	if (item == NULL)
		return 0;
	if (!item->is_failed) /* else it was not in effect */
		rc = call_run_now(item->method, item->params, change->place, err);
	if (rc == 0) {
		store_put(state_store(), item);
		change->item = NULL;
	}
	return rc;
}

size_t changes_undo(struct changes *changes)
{
	size_t n_left = 0;

	while (changes->len > 0) {
		struct change *change = changes_pop(changes);
		struct leat_error err = { 0 };

		if ((change->is_set ? undo_set(change, &err) : undo_del(change, &err)) != 0) {
			log_err("state", "cannot undo key=\"%s\" reason=\"%s\"", change->key,
				err.reason);
			n_left++;
		}
		change_destroy(change);
	}
	gen_publish();
	return n_left;
}
