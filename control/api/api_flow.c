/* SPDX-License-Identifier: BSD-3-Clause */
/* flow.list, flow.flush, conn.list */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/api/api.h"
#include "control/loop.h"
#include "control/observer_text.h"
#include "control/tables.h"
#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/path.h"
#include "datapath/table/route.h"
#include "datapath/table/service.h"
#include "pmd/portmgr.h"

#define SCAN_MAX 100000u /* connections looked at in one call: about 2 ms */
#define CURSOR_V6 (1ull << 32)
#define FLUSH_STEP 256u /* connections between two looks at the clock */

struct tuple {
	struct ip_addr src, dst;
	rte_be16_t sport, dport;
	uint16_t zone;
	uint8_t proto, kind;
};

static struct tuple tuple_of(const struct flowtab *t, uint32_t flow)
{
	struct tuple out;

	if (!t->is_v6) {
		const struct flow_key4 *k = &flowtab_flow4(t, flow)->key;

		return (struct tuple){ ip_from_v4(k->src), ip_from_v4(k->dst), k->sport, k->dport,
			k->zone, k->proto, k->kind };
	}
	const struct flow_key6 *k = &flowtab_flow6(t, flow)->key;

	out = (struct tuple){ .sport = k->sport,
		.dport = k->dport,
		.zone = k->zone,
		.proto = k->proto,
		.kind = k->kind };
	memcpy(out.src.b, k->src, 16);
	memcpy(out.dst.b, k->dst, 16);
	return out;
}

static bool in_prefix(const struct schema_prefix *want, const struct ip_addr *addr)
{
	struct ip_prefix prefix = api_prefix(want);

	return !want->is_set || ip_prefix_covers(&prefix, addr);
}

/* A request's filter with its names looked up. */
struct filter {
	const struct req_filter *req;
	uint32_t endpoint; /* ENDPOINT_NONE: any */
	uint16_t port_id;
};

static bool conn_matches(const struct filter *f, const struct conn *c)
{
	uint8_t state = atomic_load_explicit(&c->state, memory_order_relaxed);

	return (f->req->state < 0 || state == CONN_NEW + f->req->state) &&
		(f->endpoint == ENDPOINT_NONE ||
			atomic_load_explicit(&c->endpoint[0], memory_order_relaxed) ==
				f->endpoint ||
			atomic_load_explicit(&c->endpoint[1], memory_order_relaxed) == f->endpoint);
}

static bool flow_matches(const struct filter *filter, const struct flowtab *t, uint32_t flow)
{
	const struct req_filter *f = filter->req;
	struct tuple k = tuple_of(t, flow);
	const struct flow_prog *p = flowtab_prog(t, flow);

	return conn_matches(filter, flowtab_conn(t, flow)) && (f->zone < 0 || f->zone == k.zone) &&
		in_prefix(&f->src, &k.src) && in_prefix(&f->dst, &k.dst) &&
		(f->proto < 0 || f->proto == k.proto) &&
		(f->sport < 0 || f->sport == rte_be_to_cpu_16(k.sport)) &&
		(f->dport < 0 || f->dport == rte_be_to_cpu_16(k.dport)) &&
		(f->port == NULL ||
			atomic_load_explicit(&p->in_port, memory_order_relaxed) == filter->port_id);
}

static void add_tuple(cJSON *item, const struct flowtab *t, uint32_t flow)
{
	struct tuple k = tuple_of(t, flow);

	cJSON_AddNumberToObject(item, "zone", k.zone);
	cJSON_AddNumberToObject(item, "proto", k.proto);
	api_add_ip(item, "src", &k.src);
	api_add_ip(item, "dst", &k.dst);
	if (k.kind == FLOW_KEY_L4 || flow_key_kind_has_ident(k.kind)) {
		cJSON_AddNumberToObject(item, "sport", rte_be_to_cpu_16(k.sport));
		cJSON_AddNumberToObject(item, "dport", rte_be_to_cpu_16(k.dport));
	}
}

/* Whether the path is still the one that the flow was judged by: its slot may be another's meanwhile. */
static bool path_is_own(const struct flow_prog *p, uint32_t path)
{
	return path != PATH_NONE &&
		!gen_is_newer(
			&path_at(path)->gen, atomic_load_explicit(&p->epoch, memory_order_relaxed));
}

static cJSON *flow_json(const struct flowtab *t, uint32_t flow)
{
	const struct flow_prog *p = flowtab_prog(t, flow);
	uint16_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);
	uint32_t path = atomic_load_explicit(&p->path, memory_order_relaxed);
	struct flow_count count = flowtab_count(t, flow);
	cJSON *item = cJSON_CreateObject();
	char in[96];

	add_tuple(item, t, flow);
	cJSON_AddStringToObject(item, "direction", (flow & 1) != 0 ? "reply" : "orig");
	if ((flags & FLOW_F_UNJUDGED) == 0) {
		observer_in_text(
			atomic_load_explicit(&p->in_port, memory_order_relaxed), in, sizeof(in));
		cJSON_AddStringToObject(item, "in", in);
		if (path_is_own(p, path) && port_by_id(path_at(path)->port_id) != NULL)
			cJSON_AddStringToObject(
				item, "out", port_by_id(path_at(path)->port_id)->name);
	}
	cJSON_AddNumberToObject(item, "packets", (double)count.pkts);
	cJSON_AddNumberToObject(item, "bytes", (double)count.bytes);
	cJSON_AddNumberToObject(item, "idle_s",
		clock_s() - atomic_load_explicit(&p->last_seen_s, memory_order_relaxed));
	cJSON_AddStringToObject(item, "state",
		conn_state_name((enum conn_state)atomic_load_explicit(
			&flowtab_conn(t, flow)->state, memory_order_relaxed)));
	return item;
}

/* As the server sees it, and where a service sent it unless that has changed since. */
static void add_destination(cJSON *item, const struct flowtab *t, uint32_t conn)
{
	const struct conn *c = &t->conns[conn];
	uint32_t service = atomic_load_explicit(&c->service, memory_order_relaxed);
	uint32_t backend = atomic_load_explicit(&c->backend, memory_order_relaxed);
	uint32_t epoch = atomic_load_explicit(
		&flowtab_prog(t, 2 * conn)->epoch, memory_order_relaxed);
	struct translation client, final;

	slow_conn_tuples(t, conn, &client, &final);
	api_add_translation(item, "leaves", &final);
	if (service == SERVICE_NONE || gen_is_newer(&service_at(service)->gen, epoch))
		return;
	cJSON_AddStringToObject(item, "service", service_name(service));
	if (backend != BACKEND_NONE && !gen_is_newer(&backend_at(backend)->gen, epoch))
		api_add_ip(item, "backend", &backend_at(backend)->addr);
}

static cJSON *conn_json(const struct flowtab *t, uint32_t conn)
{
	const struct conn *c = &t->conns[conn];
	enum conn_state state = (enum conn_state)atomic_load_explicit(
		&c->state, memory_order_relaxed);
	static const char *const names[CONN_DIR_N] = { "orig", "reply" };
	cJSON *item = cJSON_CreateObject();

	add_tuple(item, t, 2 * conn);
	add_destination(item, t, conn);
	cJSON_AddStringToObject(item, "state", conn_state_name(state));
	cJSON_AddNumberToObject(item, "age_s", clock_s() - c->created_s);
	cJSON_AddNumberToObject(item, "timeout_s", conn_timeout_s(c->proto, state));
	for (unsigned int d = 0; d < CONN_DIR_N; d++) {
		struct flow_count count = flowtab_count(t, 2 * conn + d);
		cJSON *dir = cJSON_AddObjectToObject(item, names[d]);

		cJSON_AddNumberToObject(dir, "packets", (double)count.pkts);
		cJSON_AddNumberToObject(dir, "bytes", (double)count.bytes);
	}
	return item;
}

static bool conn_is_listed(const struct flowtab *t, uint32_t conn)
{
	uint8_t state = atomic_load_explicit(&t->conns[conn].state, memory_order_acquire);

	return state != CONN_FREE && state < CONN_LAPSED;
}

/* Names in the filter; false: the call has been failed. */
static bool filter_make(struct call *call, struct filter *out)
{
	const struct req_filter *f = call_req(call);
	struct port *p = f->port != NULL ? port_by_name(f->port) : NULL;

	if (f->port != NULL && p == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", f->port);
		return false;
	}
	*out = (struct filter){ .req = f,
		.port_id = p != NULL ? p->id : PORT_ID_NONE,
		.endpoint = f->endpoint != NULL ? endpoint_by_id(f->endpoint) : ENDPOINT_NONE };
	if (f->endpoint != NULL && out->endpoint == ENDPOINT_NONE) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "endpoint", "there is no endpoint %s",
			f->endpoint);
		return false;
	}
	return true;
}

/* One table from flow *io_next on. False: the page is full, or the scan was long enough; *io_next: where to go on. Between
 * rcu_control_enter() and _leave(), so that what is listed is not used anew meanwhile. */
static bool list_table(struct api_page *page, const struct filter *f, const struct flowtab *t,
	bool is_flows, uint32_t *io_budget, uint32_t *io_next)
{
	unsigned int step = is_flows ? 1 : CONN_DIR_N;

	for (uint32_t flow = *io_next; flow / CONN_DIR_N < flowtab_n_touched(t); flow += step) {
		bool is_wanted;

		*io_next = flow;
		if ((*io_budget)-- == 0)
			return false;
		if (!conn_is_listed(t, flow / CONN_DIR_N))
			continue;
		is_wanted = flow_matches(f, t, flow) || (!is_flows && flow_matches(f, t, flow + 1));
		if (is_wanted &&
			!api_page_add(page,
				is_flows ? flow_json(t, flow) : conn_json(t, flow / CONN_DIR_N)))
			return false;
	}
	return true;
}

/* Walks both tables from the cursor, which is a flow's number; a page may hold less than its limit when the scan was
 * long. */
static void list(struct call *call, bool is_flows)
{
	const struct req_filter *req = call_req(call);
	uint64_t cursor = api_cursor_number(req->cursor);
	uint32_t budget = SCAN_MAX, next = (uint32_t)cursor;
	struct api_page page;
	struct filter filter;
	char text[24];

	if (!filter_make(call, &filter))
		return;
	if (cursor >= 2 * CURSOR_V6 || (!is_flows && cursor % CONN_DIR_N != 0)) {
		call_fail(call, LEAT_ERR_PARAMS, "cursor", "not a cursor of this list");
		return;
	}
	if (!api_page_begin(call, &page, req->limit, cursor))
		return;
	for (bool is_v6 = cursor >= CURSOR_V6;; is_v6 = true, next = 0) {
		bool is_whole;

		rcu_control_enter();
		is_whole = list_table(&page, &filter, is_v6 ? &tables_flow6 : &tables_flow4,
			is_flows, &budget, &next);
		rcu_control_leave();
		if (!is_whole) {
			snprintf(text, sizeof(text), "%llu",
				(unsigned long long)((is_v6 ? CURSOR_V6 : 0) + next));
			api_page_end(call, &page, text);
			return;
		}
		if (is_v6)
			break;
	}
	api_page_end(call, &page, NULL);
}

static void handle_flow_list(struct call *call)
{
	list(call, true);
}

static void handle_conn_list(struct call *call)
{
	list(call, false);
}

/* A flush under way: a slice of connections at a time. Its names were looked up at its start: what is renamed meanwhile is
 * flushed all the same. */
struct flush {
	struct call *call;
	struct filter filter;
	struct event *work;
	bool is_v6;
	uint32_t next;
	uint64_t n;
};

static void flush_end(struct flush *flush)
{
	cJSON *result = cJSON_CreateObject();

	cJSON_AddNumberToObject(result, "flushed", (double)flush->n);
	call_ok(flush->call, result);
	event_free(flush->work);
	free(flush);
}

/* Whether the table is done. */
static bool flush_slice(struct flush *flush, struct flowtab *t, uint64_t end_ns)
{
	bool is_done;

	rcu_control_enter();
	for (; flush->next < flowtab_n_touched(t); flush->next++) {
		uint32_t conn = flush->next;

		if (conn % FLUSH_STEP == 0 && loop_now_ns() >= end_ns)
			break;
		if (conn_is_listed(t, conn) &&
			(flow_matches(&flush->filter, t, 2 * conn) ||
				flow_matches(&flush->filter, t, 2 * conn + 1)))
			flush->n += flowtab_unlink(t, conn);
	}
	is_done = flush->next >= flowtab_n_touched(t);
	rcu_control_leave();
	return is_done;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct flush *flush = arg;
	uint64_t end_ns = loop_now_ns() + LOOP_SLICE_NS;

	(void)fd;
	(void)what;
	while (flush_slice(flush, flush->is_v6 ? &tables_flow6 : &tables_flow4, end_ns)) {
		if (flush->is_v6) {
			flush_end(flush);
			return;
		}
		flush->is_v6 = true;
		flush->next = 0;
	}
	event_active(flush->work, EV_TIMEOUT, 0);
}

/* Matching connections are dead and unlinked: their next packet opens new ones, their sweepers retire the records. */
static void handle_flow_flush(struct call *call)
{
	struct flush *flush;
	struct filter filter;

	if (!filter_make(call, &filter))
		return;
	flush = calloc(1, sizeof(*flush));
	if (flush != NULL)
		flush->work = event_new(loop_base, -1, 0, on_flush, flush);
	if (flush == NULL || flush->work == NULL) {
		free(flush);
		call_fail(call, LEAT_ERR_RESOURCES, NULL, "out of memory");
		return;
	}
	event_priority_set(flush->work, LOOP_PRIO_HEAVY);
	flush->call = call;
	flush->filter = filter;
	event_active(flush->work, EV_TIMEOUT, 0);
}

const struct api_handler api_flow[] = {
	{ "flow.list", handle_flow_list },
	{ "flow.flush", handle_flow_flush },
	{ "conn.list", handle_conn_list },
	API_HANDLERS_END,
};
