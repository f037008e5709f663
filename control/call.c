/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/change.h"
#include "control/loop.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"

#define METHODS_MAX 128

static void (*handlers[METHODS_MAX])(struct call *call);
static STAILQ_HEAD(, call) device_calls = STAILQ_HEAD_INITIALIZER(device_calls);
static struct event *device_turn;

static size_t method_index(const struct method *method)
{
	size_t i = 0;

	while (i < schema_n_methods && schema_methods[i] != method)
		i++;
	return i;
}

int call_bind_handlers(void)
{
	for (const struct api_handler *const *table = api_tables; *table != NULL; table++) {
		for (const struct api_handler *handler = *table; handler->method != NULL;
			handler++) {
			const struct method *method = schema_method(handler->method);
			size_t idx = method != NULL ? method_index(method) : METHODS_MAX;

			if (idx >= METHODS_MAX) {
				log_err("api", "handler without a method name=%s", handler->method);
				return -ENOENT;
			}
			handlers[idx] = handler->fn;
		}
	}
	return 0;
}

struct call *call_create(struct rpc_request *rpc, call_done_fn *done, void *done_arg)
{
	struct call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->rpc = *rpc;
	memset(rpc, 0, sizeof(*rpc));
	call->done = done;
	call->done_arg = done_arg;
	return call;
}

void call_destroy(struct call *call)
{
	if (call == NULL)
		return;
	for (unsigned int i = 0; i < call->n_fds; i++)
		if (call->fds[i] >= 0)
			close(call->fds[i]);
	rpc_request_fini(&call->rpc);
	cJSON_Delete(call->result);
	cJSON_Delete(call->object);
	change_destroy(call->change);
	free(call);
}

void call_start(struct call *call)
{
	size_t idx = method_index(call->rpc.method);
	bool is_change = (call->rpc.method->flags & (METHOD_SETS | METHOD_REMOVES)) != 0;
	int rc = is_change && !call->is_replay ? change_prepare(call) : 0;

	if (rc < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "nothing was changed: %s", strerror(-rc));
	else if (idx >= METHODS_MAX || handlers[idx] == NULL)
		call_fail(call, LEAT_ERR_METHOD, "method", "%s is not part of this build",
			call->rpc.method->name);
	else
		handlers[idx](call);
}

static void on_device_turn(evutil_socket_t fd, short what, void *arg)
{
	struct call *call = STAILQ_FIRST(&device_calls);

	(void)fd;
	(void)what;
	(void)arg;
	if (call == NULL)
		return;
	STAILQ_REMOVE_HEAD(&device_calls, link);
	call_start(call);
	if (!STAILQ_EMPTY(&device_calls))
		event_active(device_turn, EV_TIMEOUT, 0);
}

int call_init(void)
{
	device_turn = event_new(loop_base, -1, 0, on_device_turn, NULL);
	if (device_turn == NULL)
		return -ENOMEM;
	event_priority_set(device_turn, LOOP_PRIO_HEAVY);
	return call_bind_handlers();
}

void call_fini(void)
{
	while (!STAILQ_EMPTY(&device_calls)) {
		struct call *call = STAILQ_FIRST(&device_calls);

		STAILQ_REMOVE_HEAD(&device_calls, link);
		call_fail(call, LEAT_ERR_AGAIN, NULL, "leatd is stopping");
	}
	if (device_turn != NULL)
		event_free(device_turn);
	device_turn = NULL;
}

void call_enqueue(struct call *call)
{
	if (!(call->rpc.method->flags & METHOD_DEVICE)) {
		call_start(call);
		return;
	}
	STAILQ_INSERT_TAIL(&device_calls, call, link);
	event_active(device_turn, EV_TIMEOUT, 0);
}

static void finish(struct call *call)
{
	bool is_change = call->rpc.method->flags & (METHOD_SETS | METHOD_REMOVES);

	call->is_finished = true;
	if (call->err.code == LEAT_OK && is_change && !call->is_unchanged)
		change_record(call);
	if (is_change)
		loop_wake_tick(); /* what was replaced goes after a grace period */
	if (call->changes == NULL)
		gen_publish();
	if (call->done != NULL)
		call->done(call, call->done_arg);
}

void call_ok(struct call *call, cJSON *result)
{
	call->result = result != NULL ? result : cJSON_CreateObject();
	finish(call);
}

void call_unchanged(struct call *call, cJSON *result)
{
	call->is_unchanged = true;
	call_ok(call, result);
}

/* Whether the word stands in the sentence, not as a part of another. */
static bool has_word(const char *text, const char *word)
{
	static const char inner[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		if ((at == text || strchr(inner, at[-1]) == NULL) &&
			(at[len] == '\0' || strchr(inner, at[len]) == NULL))
			return true;
	return false;
}

/* Whether the sentence tells the field by its name, or by the value that the call gave it ("there is no port p9"). */
static bool tells_field(const struct call *call, int code, const char *field, const char *reason)
{
	const char *dot = strrchr(field, '.'), *value;

	if (has_word(reason, dot != NULL ? dot + 1 : field))
		return true;
	value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(call->rpc.params, field));
	return code != LEAT_ERR_PARAMS && value != NULL && strstr(reason, value) != NULL;
}

void call_fail(struct call *call, int code, const char *field, const char *fmt, ...)
{
	char reason[sizeof(call->err.reason)];
	bool is_told;
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	is_told = field == NULL || field[0] == '\0' || tells_field(call, code, field, reason);
	schema_error(&call->err, code, field, "%s%s%s", is_told ? "" : field, is_told ? "" : ": ",
		reason);
	finish(call);
}

int call_take_fd(struct call *call)
{
	for (unsigned int i = 0; i < call->n_fds; i++) {
		int fd = call->fds[i];

		if (fd < 0)
			continue;
		call->fds[i] = -1;
		return fd;
	}
	return -1;
}

static void destroy_done(struct call *call, void *arg)
{
	(void)arg;
	call_destroy(call);
}

int call_run_now(
	const struct method *method, const char *params, uint64_t place, struct leat_error *err)
{
	struct rpc_request rpc = { .method = method, .params = cJSON_Parse(params) };
	struct call *call;
	int rc = schema_decode(method, rpc.params, &rpc.req, err);

	call = rc == 0 ? call_create(&rpc, method->flags & METHOD_SLOW ? destroy_done : NULL, NULL)
		       : NULL;
	if (call == NULL) {
		rpc_request_fini(&rpc);
		return rc != 0 ? rc : schema_error(err, LEAT_ERR_RESOURCES, NULL, "out of memory");
	}
	call->is_replay = true;
	call->place = place;
	if (method->flags & METHOD_SLOW) { /* goes on by itself */
		call_start(call);
		return 0;
	}
	call_start(call);
	*err = call->err;
	rc = call->err.code;
	call_destroy(call);
	return rc;
}
