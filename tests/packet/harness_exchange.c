/* SPDX-License-Identifier: BSD-3-Clause */
/* Many packets, one after the other, in one command: what each of them led to. */
#include <stdlib.h>

#include "datapath/pipeline/explain.h"
#include "datapath/table/tunnel.h"
#include "pmd/kind_ring.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"
#include "tests/common/chain.h"
#include "tests/packet/harness.h"

#define PORTS_MAX 64

/* The frame of a list [port, bytes, …], whose bytes are at `at`; its port in *out_port. NULL: no such list, or no mbuf. */
static struct rte_mbuf *frame_of(const cJSON *frame, int at, struct port **out_port)
{
	static uint8_t bytes[HARNESS_FRAME_MAX];
	const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(frame, 0)),
		   *text = cJSON_GetStringValue(cJSON_GetArrayItem(frame, at));
	struct port *p = name != NULL ? port_by_name(name) : NULL;
	int len = text != NULL ? harness_from_hex(text, bytes) : -1;

	*out_port = p;
	if (p == NULL || len <= 0)
		return NULL;
	return chain_cut(bytes, (uint32_t)len, MEMPOOL_DATA_ROOM_BYTES, MEMPOOL_DATA_ROOM_BYTES,
		chain_pool_segment, mempool_get(0));
}

static const char *send_one(const cJSON *frame)
{
	struct port *p;
	struct rte_mbuf *m = frame_of(frame, 1, &p);

	if (m == NULL || ring_port_inject(p, 0, &m, 1) != 1) {
		rte_pktmbuf_free(m);
		return "frames: not a pair of port and hexadecimal bytes, no mbuf, or the port is "
		       "full";
	}
	return NULL;
}

/* What explain says of the frame before it is sent: {"verdict", "reason", "port", "frame"}. */
static void add_explanation(cJSON *item, const cJSON *frame)
{
	cJSON *out = cJSON_AddObjectToObject(item, "explain");
	struct explain_result res;
	const char *tunnel = cJSON_GetStringValue(cJSON_GetArrayItem(frame, 2));
	struct port *p;
	struct rte_mbuf *m = frame_of(frame, tunnel != NULL ? 3 : 1, &p);
	uint16_t in;

	if (m == NULL)
		return;
	in = tunnel != NULL ? (uint16_t)(FLOW_IN_TUNNEL | tunnel_by_name(tunnel)) : p->id;
	explain_packet(p, in, m, &harness_ft4, &harness_ft6, mempool_get(0), &res);
	cJSON_AddStringToObject(out, "verdict", explain_verdict_name(res.verdict));
	cJSON_AddStringToObject(out, "reason", drop_name(res.reason));
	if (res.out != NULL) {
		char *text = harness_to_hex(res.out);

		cJSON_AddStringToObject(out, "port", port_by_id(res.out_port)->name);
		cJSON_AddStringToObject(out, "frame", text);
		free(text);
	}
	rte_pktmbuf_free(res.out);
	rte_pktmbuf_free(m);
}

static void add_frames(cJSON *list, struct port *p)
{
	struct rte_mbuf *m;

	while (ring_port_drain(p, &m, 1) == 1) {
		cJSON *pair = cJSON_CreateArray();
		char *text = harness_to_hex(m);

		cJSON_AddItemToArray(pair, cJSON_CreateString(p->name));
		cJSON_AddItemToArray(pair, cJSON_CreateString(text));
		cJSON_AddItemToArray(list, pair);
		free(text);
		rte_pktmbuf_free(m);
	}
}

/* What the port's drop counters have gained since *before, which is brought up to date. */
static void add_drops(cJSON *list, const struct port *p, struct port_stats *before)
{
	struct port_stats now;

	port_stats_sum(p, &now);
	for (int i = 0; i < DROP_N; i++) {
		cJSON *item;

		if (now.drops[i] == before->drops[i])
			continue;
		item = cJSON_CreateArray();
		cJSON_AddItemToArray(item, cJSON_CreateString(p->name));
		cJSON_AddItemToArray(item, cJSON_CreateString(drop_name((enum drop_reason)i)));
		cJSON_AddItemToArray(
			item, cJSON_CreateNumber((double)(now.drops[i] - before->drops[i])));
		cJSON_AddItemToArray(list, item);
	}
	*before = now;
}

/* "frames": [[port, bytes], …], or [port, bytes, tunnel, inner bytes] for what comes through a tunnel, → "results": [{"out": [[port, bytes], …], "drops": [[port, reason, n], …]}, …], with "explain": 1 also
 * what explain says of each before it is sent */
static const char *exchange(const cJSON *params, cJSON *result)
{
	static struct port_stats before[PORTS_MAX];
	const cJSON *frame, *frames = cJSON_GetObjectItemCaseSensitive(params, "frames");
	cJSON *results = cJSON_AddArrayToObject(result, "results");
	struct port *p = NULL;
	unsigned int n = 0;

	for (p = port_next(NULL); p != NULL && n < PORTS_MAX; p = port_next(p))
		port_stats_sum(p, &before[n++]);
	if (p != NULL)
		return "too many ports";
	cJSON_ArrayForEach(frame, frames) {
		cJSON *item = cJSON_CreateObject(), *out = cJSON_AddArrayToObject(item, "out"),
		      *drops = cJSON_AddArrayToObject(item, "drops");
		const char *error;

		if (harness_num(params, "explain", 0) != 0)
			add_explanation(item, frame);
		error = send_one(frame);
		cJSON_AddItemToArray(results, item);
		if (error != NULL)
			return error;
		harness_round();
		n = 0;
		for (p = port_next(NULL); p != NULL; p = port_next(p)) {
			add_frames(out, p);
			add_drops(drops, p, &before[n++]);
		}
	}
	return NULL;
}

const struct harness_command harness_exchange_commands[] = {
	{ "exchange", exchange },
	{ NULL, NULL },
};
