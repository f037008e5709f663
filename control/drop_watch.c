/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/drop_watch.h"

#include <stdio.h>
#include <string.h>

#include "control/event.h"
#include "control/loop.h"
#include "control/names.h"
#include "control/observer.h"
#include "control/observer_text.h"
#include "control/state.h"
#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

#define INTERVAL_NS 1000000000ull

static bool is_drops, is_verdicts; /* somebody wants them */
static uint32_t n_sent;		   /* drops in this second */
static uint64_t n_dropped;	   /* of all ports, when it began */
static uint64_t second_ns;

static uint64_t sum_drops(void)
{
	uint64_t sum = 0;

	for (const struct port *p = port_next(NULL); p != NULL; p = port_next(p)) {
		struct port_stats stats;

		port_stats_sum(p, &stats);
		for (int reason = DROP_NONE + 1; reason < DROP_N; reason++)
			sum += stats.drops[reason];
	}
	return sum;
}

static void refill(void)
{
	struct observe_config *cfg = observe_get();

	for (unsigned int i = 0; cfg != NULL && i < cfg->n_captures; i++)
		if (cfg->captures[i].id == DROP_WATCH_ID)
			atomic_store_explicit(
				&cfg->captures[i].left, DROP_WATCH_PER_S, memory_order_relaxed);
	if (cfg != NULL && is_verdicts)
		atomic_store_explicit(&cfg->verdicts_left, DROP_WATCH_PER_S, memory_order_relaxed);
}

/* What the stream was too narrow for. */
static void tell_suppressed(void)
{
	uint64_t now = sum_drops(), n = now > n_dropped ? now - n_dropped : 0;
	cJSON *object;

	n_dropped = now;
	if (n_sent < DROP_WATCH_PER_S || n <= n_sent)
		return;
	object = cJSON_CreateObject();
	cJSON_AddNumberToObject(object, "packets", (double)(n - n_sent));
	event_emit_object("drop", "suppressed", object);
}

static unsigned int tick(void)
{
	bool wants_drops = event_has_subscribers("drop"),
	     wants_verdicts = event_has_subscribers("verdict");

	if (wants_drops != is_drops || wants_verdicts != is_verdicts) {
		if (!is_drops)
			n_dropped = sum_drops();
		is_drops = wants_drops;
		is_verdicts = wants_verdicts;
		observer_reinstall();
	}
	if ((!is_drops && !is_verdicts) || loop_now_ns() - second_ns < INTERVAL_NS)
		return 0;
	second_ns = loop_now_ns();
	if (is_drops)
		tell_suppressed();
	n_sent = 0;
	refill();
	return 0;
}

void drop_watch_init(void)
{
	is_drops = is_verdicts = false;
	loop_add_tick(tick);
}

void drop_watch_fill(struct observe_config *cfg, struct observe_config *old)
{
	uint32_t left = DROP_WATCH_PER_S, verdicts_left = DROP_WATCH_PER_S;

	for (unsigned int i = 0; old != NULL && i < old->n_captures; i++)
		if (old->captures[i].id == DROP_WATCH_ID)
			left = atomic_load_explicit(&old->captures[i].left, memory_order_relaxed);
	if (old != NULL && (old->flags & OBSERVE_VERDICT) != 0)
		verdicts_left = atomic_load_explicit(&old->verdicts_left, memory_order_relaxed);
	if (is_drops) {
		cfg->flags |= OBSERVE_CAPTURE;
		cfg->captures[cfg->n_captures++] = (struct observe_capture){ .id = DROP_WATCH_ID,
			.points = OBSERVE_DROP,
			.port_id = PORT_ID_NONE,
			.reason = -1,
			.snaplen = OBSERVE_HEAD_BYTES,
			.left = left };
	}
	if (is_verdicts) {
		cfg->flags |= OBSERVE_VERDICT;
		cfg->verdicts_left = verdicts_left;
	}
}

/* "namespace/pod" as its runtime told it, else the id. */
static void add_endpoint(cJSON *object, const char *name, uint32_t idx)
{
	const struct store_item *item;
	const char *id, *pod, *ns;
	char key[STORE_KEY_MAX], text[2 * NAMES_LEN + 2];
	cJSON *params = NULL;

	if (idx == ENDPOINT_NONE)
		return;
	id = endpoint_at(idx)->id;
	snprintf(key, sizeof(key), "endpoint %s", id);
	item = store_find(state_store(), key);
	if (item != NULL && strstr(item->params, "\"pod\":") != NULL)
		params = cJSON_Parse(item->params);
	pod = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(params, "pod"));
	ns = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(params, "namespace"));
	if (pod != NULL)
		snprintf(text, sizeof(text), "%s%s%s", ns != NULL ? ns : "", ns != NULL ? "/" : "",
			pod);
	cJSON_AddStringToObject(object, name, pod != NULL ? text : id);
	cJSON_Delete(params);
}

static void add_drop(const struct observe_msg *msg)
{
	const struct port *p = port_by_id(msg->port_id);
	uint16_t zone = p != NULL ? p->zone : 0;
	cJSON *object = cJSON_CreateObject();
	struct ip_addr src, dst;
	uint8_t head[OBSERVE_HEAD_BYTES];
	uint32_t len = RTE_MIN(msg->m->pkt_len, (uint32_t)sizeof(head));
	const uint8_t *data = rte_pktmbuf_read(msg->m, 0, len, head);

	n_sent++;
	if (p != NULL)
		cJSON_AddStringToObject(object, "port", p->name);
	cJSON_AddStringToObject(object, "reason", drop_name(msg->reason));
	cJSON_AddStringToObject(object, "meaning", drop_help(msg->reason));
	if (observer_add_packet(object, data, len, msg->wire_len, &src, &dst)) {
		add_endpoint(object, "from", endpoint_by_addr(zone, &src));
		add_endpoint(object, "to", endpoint_by_addr(zone, &dst));
	}
	event_emit_object("drop", "drop", object);
}

static void add_verdict(const struct observe_msg *msg)
{
	const struct port *out = port_by_id(msg->port_id);
	cJSON *object = cJSON_CreateObject();
	char text[2 * NAMES_LEN];
	struct ip_addr src, dst;

	observer_in_text(msg->in, text, sizeof(text));
	cJSON_AddStringToObject(object, "in", text);
	if (msg->action == SLOW_DROP)
		cJSON_AddStringToObject(object, "reason", drop_name(msg->reason));
	observer_add_packet(object, msg->head, msg->head_len, msg->wire_len, &src, &dst);
	add_endpoint(object, "from", msg->src_ep);
	add_endpoint(object, "to", msg->dst_ep);
	if (msg->rule != SLOT_NONE)
		cJSON_AddStringToObject(
			object, "rule", rule_name_text(msg->rule, text, sizeof(text)));
	if (msg->route != SLOT_NONE && route_at(msg->route)->kind != ROUTE_NONE) {
		char prefix[IP_PREFIX_STRLEN];

		cJSON_AddStringToObject(
			object, "route", ip_prefix_format(&route_at(msg->route)->prefix, prefix));
	}
	if (msg->tunnel != TUNNEL_NONE)
		cJSON_AddStringToObject(object, "tunnel", tunnel_at(msg->tunnel)->name);
	if (out != NULL)
		cJSON_AddStringToObject(object, "out", out->name);
	event_emit_object("verdict", observer_action_text(msg->action), object);
}

void drop_watch_add(const struct observe_msg *msg)
{
	if (msg->kind == OBSERVE_MSG_VERDICT)
		add_verdict(msg);
	else
		add_drop(msg);
}
