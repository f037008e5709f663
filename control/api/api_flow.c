/* SPDX-License-Identifier: BSD-3-Clause */
/* flow.list, flow.flush, conn.list */
#include <netinet/in.h>
#include <stdio.h>

#include "control/api/api.h"
#include "control/observer_text.h"
#include "control/tables.h"
#include "datapath/base/clock.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/path.h"
#include "datapath/table/route.h"
#include "pmd/portmgr.h"

#define SCAN_MAX 100000u /* connections looked at in one call: about 2 ms */
#define CURSOR_V6 (1ull << 32)

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

static bool flow_matches(
	const struct req_filter *f, const struct flowtab *t, uint32_t flow, uint16_t port_id)
{
	struct tuple k = tuple_of(t, flow);
	const struct flow_prog *p = flowtab_prog(t, flow);

	return (f->zone < 0 || f->zone == k.zone) && in_prefix(&f->src, &k.src) &&
		in_prefix(&f->dst, &k.dst) && (f->proto < 0 || f->proto == k.proto) &&
		(f->sport < 0 || f->sport == rte_be_to_cpu_16(k.sport)) &&
		(f->dport < 0 || f->dport == rte_be_to_cpu_16(k.dport)) &&
		(f->port == NULL ||
			atomic_load_explicit(&p->in_port, memory_order_relaxed) == port_id);
}

static void add_tuple(cJSON *item, const struct flowtab *t, uint32_t flow)
{
	struct tuple k = tuple_of(t, flow);

	cJSON_AddNumberToObject(item, "zone", k.zone);
	cJSON_AddNumberToObject(item, "proto", k.proto);
	api_add_ip(item, "src", &k.src);
	api_add_ip(item, "dst", &k.dst);
	if (k.kind == FLOW_KEY_L4 || k.kind == FLOW_KEY_ECHO) {
		cJSON_AddNumberToObject(item, "sport", rte_be_to_cpu_16(k.sport));
		cJSON_AddNumberToObject(item, "dport", rte_be_to_cpu_16(k.dport));
	} else if (k.kind == FLOW_KEY_FRAG) {
		cJSON_AddBoolToObject(item, "fragments", true);
	}
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
		if (path != PATH_NONE && port_by_id(path_at(path)->port_id) != NULL)
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

static cJSON *conn_json(const struct flowtab *t, uint32_t conn)
{
	const struct conn *c = &t->conns[conn];
	enum conn_state state = (enum conn_state)atomic_load_explicit(
		&c->state, memory_order_relaxed);
	static const char *const names[CONN_DIR_N] = { "orig", "reply" };
	cJSON *item = cJSON_CreateObject();

	add_tuple(item, t, 2 * conn);
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

	return state != CONN_FREE && state != CONN_DEAD;
}

/* Port named in the filter; false: the call has been failed. */
static bool filter_port(struct call *call, const struct req_filter *f, uint16_t *out_id)
{
	struct port *p = f->port != NULL ? port_by_name(f->port) : NULL;

	if (f->port != NULL && p == NULL) {
		call_fail(call, LEAT_ERR_NOT_FOUND, "port", "there is no port %s", f->port);
		return false;
	}
	*out_id = p != NULL ? p->id : PORT_ID_NONE;
	return true;
}

/* One table from flow `first` on. False: the page is full, or the scan was long enough; *io_next: where to go on. */
static bool list_table(struct api_page *page, const struct req_filter *f, const struct flowtab *t,
	uint16_t port_id, bool is_flows, uint32_t *io_budget, uint32_t *io_next)
{
	unsigned int step = is_flows ? 1 : CONN_DIR_N;

	for (uint32_t flow = *io_next; flow / CONN_DIR_N < t->n_touched; flow += step) {
		bool is_wanted;

		*io_next = flow;
		if ((*io_budget)-- == 0)
			return false;
		if (!conn_is_listed(t, flow / CONN_DIR_N))
			continue;
		is_wanted = flow_matches(f, t, flow, port_id) ||
			(!is_flows && flow_matches(f, t, flow + 1, port_id));
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
	const struct req_filter *f = call_req(call);
	uint64_t cursor = api_cursor_number(f->cursor);
	uint32_t budget = SCAN_MAX, next = (uint32_t)cursor;
	struct api_page page;
	uint16_t port_id;
	char text[24];

	if (!filter_port(call, f, &port_id))
		return;
	if (cursor >= 2 * CURSOR_V6 || (!is_flows && cursor % CONN_DIR_N != 0)) {
		call_fail(call, LEAT_ERR_PARAMS, "cursor", "not a cursor of this list");
		return;
	}
	api_page_begin(&page, f->limit);
	for (bool is_v6 = cursor >= CURSOR_V6;; is_v6 = true, next = 0) {
		if (!list_table(&page, f, is_v6 ? &tables_flow6 : &tables_flow4, port_id, is_flows,
			    &budget, &next)) {
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

/* Marks matching connections dead: their sweepers remove them within a round, and their next packet opens new ones. */
static void handle_flow_flush(struct call *call)
{
	const struct req_filter *f = call_req(call);
	const struct flowtab *tables[] = { &tables_flow4, &tables_flow6 };
	cJSON *result;
	uint64_t n = 0;
	uint16_t port_id;

	if (!filter_port(call, f, &port_id))
		return;
	for (unsigned int i = 0; i < 2; i++) {
		const struct flowtab *t = tables[i];

		for (uint32_t conn = 0; conn < t->n_touched; conn++) {
			if (!conn_is_listed(t, conn) ||
				!(flow_matches(f, t, 2 * conn, port_id) ||
					flow_matches(f, t, 2 * conn + 1, port_id)))
				continue;
			atomic_fetch_or_explicit(&flowtab_prog(t, 2 * conn)->flags, FLOW_F_UNJUDGED,
				memory_order_relaxed);
			atomic_fetch_or_explicit(&flowtab_prog(t, 2 * conn + 1)->flags,
				FLOW_F_UNJUDGED, memory_order_relaxed);
			atomic_store_explicit(
				&t->conns[conn].state, CONN_DEAD, memory_order_release);
			n++;
		}
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "flushed", (double)n);
	call_ok(call, result);
}

const struct api_handler api_flow[] = {
	{ "flow.list", handle_flow_list },
	{ "flow.flush", handle_flow_flush },
	{ "conn.list", handle_conn_list },
	API_HANDLERS_END,
};
