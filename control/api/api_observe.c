/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.*, capture.*, mirror.* */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/api/api.h"
#include "control/capture.h"
#include "control/observer.h"
#include "pmd/portmgr.h"

/* Port by name; NULL name: *out_id stays. False: the call has been failed. */
static bool port_named(struct call *call, const char *field, const char *name, uint16_t *out_id)
{
	struct port *p;

	if (name == NULL)
		return true;
	p = port_by_name(name);
	if (p == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, field, "there is no port %s", name);
		return false;
	}
	*out_id = p->id;
	return true;
}

static cJSON *id_result(uint32_t id)
{
	cJSON *result = cJSON_CreateObject();

	cJSON_AddNumberToObject(result, "id", id);
	return result;
}

/* What both kinds of request have. */
#define FILTER(req)                                                                                \
	{                                                                                          \
		.both_ways = (req)->both_ways, .has_src = (req)->src.is_set,                       \
		.has_dst = (req)->dst.is_set, .has_proto = (req)->proto >= 0,                      \
		.has_sport = (req)->sport >= 0, .has_dport = (req)->dport >= 0,                    \
		.src = api_prefix(&(req)->src), .dst = api_prefix(&(req)->dst),                    \
		.proto = (uint8_t)(req)->proto, .sport = rte_cpu_to_be_16((uint16_t)(req)->sport), \
		.dport = rte_cpu_to_be_16((uint16_t)(req)->dport)                                  \
	}

static void handle_trace_start(struct call *call)
{
	const struct req_trace *req = call_req(call);
	struct observe_filter f = FILTER(req);

	f.has_port = req->port != NULL;
	if (port_named(call, "port", req->port, &f.port_id))
		call_ok(call, id_result(observer_trace_start(&f, (uint32_t)req->count)));
}

static void handle_trace_show(struct call *call)
{
	const struct req_id *req = call_req(call);
	cJSON *result = observer_trace_show((uint32_t)req->id);

	if (result == NULL)
		call_fail(call, LEAT_ERR_NOT_FOUND, "id",
			"only the last trace is kept, and it is not %u", (uint32_t)req->id);
	else
		call_ok(call, result);
}

/* The reason asked for; false: the call has been failed. */
static bool capture_reason(struct call *call, const struct req_capture *req, int16_t *out)
{
	*out = -1;
	if (req->reason == NULL)
		return true;
	*out = (int16_t)drop_by_name(req->reason);
	if (*out >= 0 && (req->point == REQ_POINT_DROP || req->point == REQ_POINT_ALL))
		return true;
	call_fail(call, LEAT_ERR_PARAMS, "reason",
		*out < 0 ? "there is no drop reason %s" : "reason %s needs point drop or all",
		req->reason);
	return false;
}

static void handle_capture_start(struct call *call)
{
	static const uint8_t points[] = { [REQ_POINT_RX] = OBSERVE_RX,
		[REQ_POINT_TX] = OBSERVE_TX,
		[REQ_POINT_DROP] = OBSERVE_DROP,
		[REQ_POINT_BOTH] = OBSERVE_RX | OBSERVE_TX,
		[REQ_POINT_ALL] = OBSERVE_RX | OBSERVE_TX | OBSERVE_DROP };
	const struct req_capture *req = call_req(call);
	struct capture_config cfg = { .file = req->file,
		.fd = -1,
		.points = points[req->point],
		.port_id = PORT_ID_NONE,
		.count = (uint32_t)req->count,
		.snaplen = (uint32_t)req->snaplen,
		.filter = FILTER(req) };
	uint32_t id;
	int ret;

	if (!port_named(call, "port", req->port, &cfg.port_id) ||
		!capture_reason(call, req, &cfg.reason))
		return;
	if (req->file == NULL)
		cfg.fd = call_take_fd(call);
	if (req->file == NULL && cfg.fd < 0) {
		call_fail(call, LEAT_ERR_PARAMS, "file",
			"file is required, or a descriptor sent along");
		return;
	}
	ret = capture_start(&cfg, &id);
	if (ret == -EBUSY)
		call_fail(call, LEAT_ERR_BUSY, NULL, "%d captures are running: stop one first",
			OBSERVE_CAPTURES_MAX);
	else if (ret < 0)
		call_fail(call, LEAT_ERR_PARAMS, "file", "cannot write %s: %s",
			req->file != NULL ? req->file : "to the descriptor", strerror(-ret));
	else
		call_ok(call, id_result(id));
}

static void handle_capture_stop(struct call *call)
{
	const struct req_id *req = call_req(call);
	int ret = capture_stop((uint32_t)req->id);

	if (ret == -ENOENT)
		call_fail(call, LEAT_ERR_NOT_FOUND, "id", "no capture %u is running",
			(uint32_t)req->id);
	else if (ret < 0)
		call_fail(call, LEAT_ERR_INTERNAL, NULL, "not everything could be written: %s",
			strerror(-ret));
	else
		call_ok(call, capture_describe_id((uint32_t)req->id));
}

static void handle_capture_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	unsigned int i = (unsigned int)RTE_MIN(from, (uint64_t)OBSERVE_CAPTURES_MAX);
	struct api_page page;
	char cursor[24];
	cJSON *item = NULL;

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	while ((item = capture_describe(i)) != NULL && api_page_add(&page, item))
		i++;
	snprintf(cursor, sizeof(cursor), "%u", i);
	api_page_end(call, &page, item != NULL ? cursor : NULL);
}

static bool mirror_is_there(const char *name)
{
	const struct observer_mirror *m;

	for (unsigned int i = 0; (m = observer_mirror_at(i)) != NULL; i++)
		if (strcmp(m->name, name) == 0)
			return true;
	return false;
}

static void handle_mirror_add(struct call *call)
{
	static const uint8_t dirs[] = { [REQ_DIR_IN] = OBSERVE_RX,
		[REQ_DIR_OUT] = OBSERVE_TX,
		[REQ_DIR_BOTH] = OBSERVE_RX | OBSERVE_TX };
	const struct req_mirror *req = call_req(call);
	uint16_t ignored;
	int ret;

	if (!api_add_may_go_on(
		    call, mirror_is_there(req->name), req->exist_ok, "mirror", req->name))
		return;
	/* a saved mirror may rest: its port went before it */
	if (!call->is_replay &&
		(!port_named(call, "from", req->from, &ignored) ||
			!port_named(call, "to", req->to, &ignored)))
		return;
	if (strcmp(req->from, req->to) == 0) {
		call_fail(call, LEAT_ERR_PARAMS, "to", "a port cannot mirror to itself");
		return;
	}
	ret = observer_mirror_add(req->name, req->from, req->to, dirs[req->direction]);
	if (ret < 0)
		call_fail(call, LEAT_ERR_RESOURCES, NULL,
			"no room for another mirror (%d are possible)", OBSERVE_MIRRORS_MAX);
	else
		call_ok(call, NULL);
}

static void handle_mirror_del(struct call *call)
{
	const struct req_name *req = call_req(call);

	if (observer_mirror_del(req->name) == 0)
		call_ok(call, NULL);
	else if (req->missing_ok)
		call_unchanged(call, NULL);
	else
		call_fail(call, LEAT_ERR_NOT_FOUND, "name", "there is no mirror %s", req->name);
}

static void handle_mirror_list(struct call *call)
{
	const struct req_page *req = call_req(call);
	uint64_t from = api_cursor_number(req->cursor);
	const struct observer_mirror *m;
	struct api_page page;
	char cursor[24];
	unsigned int i = (unsigned int)RTE_MIN(from, (uint64_t)OBSERVE_MIRRORS_MAX);

	if (!api_page_begin(call, &page, req->limit, from))
		return;
	for (; (m = observer_mirror_at(i)) != NULL && page.left > 0; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "name", m->name);
		cJSON_AddStringToObject(item, "from", m->from);
		cJSON_AddStringToObject(item, "to", m->to);
		cJSON_AddStringToObject(item, "direction",
			m->dirs == OBSERVE_RX		? "in"
				: m->dirs == OBSERVE_TX ? "out"
							: "both");
		cJSON_AddBoolToObject(item, "active",
			port_by_name(m->from) != NULL && port_by_name(m->to) != NULL);
		api_page_add(&page, item);
	}
	snprintf(cursor, sizeof(cursor), "%u", i);
	api_page_end(call, &page, m != NULL ? cursor : NULL);
}

const struct api_handler api_observe[] = {
	{ "trace.start", handle_trace_start },
	{ "trace.show", handle_trace_show },
	{ "capture.start", handle_capture_start },
	{ "capture.stop", handle_capture_stop },
	{ "capture.list", handle_capture_list },
	{ "mirror.add", handle_mirror_add },
	{ "mirror.del", handle_mirror_del },
	{ "mirror.list", handle_mirror_list },
	API_HANDLERS_END,
};
