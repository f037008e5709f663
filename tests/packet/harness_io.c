/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets in and out, and what can be read: counters, connections, buffers. */
#include <stdlib.h>
#include <string.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/policy.h"
#include "datapath/table/route.h"
#include "pmd/kind_ring.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"
#include "tests/common/chain.h"
#include "tests/packet/harness.h"

#define DRAIN_MAX 256

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int harness_from_hex(const char *text, uint8_t *out)
{
	int n = 0;

	for (; text[0] != '\0'; text += 2, n++) {
		int hi = hex_digit(text[0]), lo = hi < 0 ? -1 : hex_digit(text[1]);

		if (lo < 0 || n == HARNESS_FRAME_MAX)
			return -1;
		out[n] = (uint8_t)(hi << 4 | lo);
	}
	return n;
}

char *harness_to_hex(const struct rte_mbuf *m)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * (size_t)m->pkt_len + 1), *w = text;

	for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
		for (unsigned int i = 0; i < s->data_len; i++) {
			uint8_t byte = rte_pktmbuf_mtod(s, const uint8_t *)[i];

			*w++ = digits[byte >> 4];
			*w++ = digits[byte & 15];
		}
	*w = '\0';
	return text;
}

/* Offload metadata: "l4" tcp|udp (unfinished checksum), "segsz" (super-frame), l2_len, l3_len, l4_len, is_v6. */
static void metadata(struct rte_mbuf *m, const cJSON *meta)
{
	const char *l4 = harness_str(meta, "l4", "");
	uint16_t segsz = (uint16_t)harness_num(meta, "segsz", 0);
	bool is_udp = strcmp(l4, "udp") == 0;

	if (*l4 == '\0')
		return;
	m->l2_len = (unsigned int)harness_num(meta, "l2_len", 14) & 0x7f;
	m->l3_len = (unsigned int)harness_num(meta, "l3_len", 20) & 0x1ff;
	m->l4_len = (unsigned int)harness_num(meta, "l4_len", is_udp ? 8 : 20) & 0xff;
	m->tso_segsz = segsz;
	m->ol_flags |= is_udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM;
	m->ol_flags |= harness_num(meta, "is_v6", 0) != 0 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (segsz != 0)
		m->ol_flags |= is_udp ? RTE_MBUF_F_TX_UDP_SEG : RTE_MBUF_F_TX_TCP_SEG;
}

/* Of the first segment, or of the others; 0: what fits. */
static uint32_t segment_len(const cJSON *params, const char *name)
{
	return chain_len((uint32_t)harness_num(params, name, 0), MEMPOOL_DATA_ROOM_BYTES);
}

static const char *inject(const cJSON *params, cJSON *result)
{
	static uint8_t bytes[HARNESS_FRAME_MAX];
	struct port *p = port_by_name(harness_str(params, "port", ""));
	const cJSON *frame, *frames = cJSON_GetObjectItemCaseSensitive(params, "frames");
	const cJSON *meta = cJSON_GetObjectItemCaseSensitive(params, "meta");
	int n_taken = 0;

	if (p == NULL)
		return "no such port";
	cJSON_ArrayForEach(frame, frames) {
		int len = harness_from_hex(frame->valuestring, bytes);
		struct rte_mbuf *m;

		if (len <= 0)
			return "frames: not hexadecimal";
		m = chain_cut(bytes, (uint32_t)len, segment_len(params, "first"),
			segment_len(params, "step"), chain_pool_segment, mempool_get(0));
		if (m == NULL)
			return "no mbuf";
		metadata(m, meta);
		if (ring_port_inject(p, 0, &m, 1) == 1)
			n_taken++;
		else
			rte_pktmbuf_free(m);
	}
	cJSON_AddNumberToObject(result, "taken", n_taken);
	return NULL;
}

unsigned int harness_round(void)
{
	unsigned int n_pkts = 0, n;

	do {
		struct port *p = NULL;

		n = 0;
		pipeline_round_begin(harness_worker);
		while ((p = port_next(p)) != NULL)
			n += pipeline_poll(harness_worker, p, 0);
		pipeline_housekeep(harness_worker);
		rcu_quiescent(0);
		n_pkts += n;
	} while (n > 0);
	rcu_poll();
	route_poll();
	clock_warp_ns(CLOCK_NS_PER_MS);
	return n_pkts;
}

static const char *step(const cJSON *params, cJSON *result)
{
	unsigned int rounds = (unsigned int)harness_num(params, "rounds", 1), n_pkts = 0;

	for (unsigned int i = 0; i < rounds; i++)
		n_pkts += harness_round();
	cJSON_AddNumberToObject(result, "packets", n_pkts);
	return NULL;
}

static void add_frame(cJSON *list, struct rte_mbuf *m)
{
	cJSON *item = cJSON_CreateObject();
	char *text = harness_to_hex(m);

	cJSON_AddStringToObject(item, "data", text);
	if ((m->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0) {
		cJSON_AddStringToObject(item, "l4",
			(m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM ? "udp"
											 : "tcp");
		cJSON_AddNumberToObject(item, "l2_len", m->l2_len);
		cJSON_AddNumberToObject(item, "l3_len", m->l3_len);
		cJSON_AddNumberToObject(item, "l4_len", m->l4_len);
		if ((m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) != 0)
			cJSON_AddNumberToObject(item, "segsz", m->tso_segsz);
	}
	cJSON_AddItemToArray(list, item);
	free(text);
	rte_pktmbuf_free(m);
}

static const char *drain(const cJSON *params, cJSON *result)
{
	struct port *p = port_by_name(harness_str(params, "port", ""));
	cJSON *frames = cJSON_AddArrayToObject(result, "frames");
	struct rte_mbuf *m;

	if (p == NULL)
		return "no such port";
	for (int i = 0; i < DRAIN_MAX && ring_port_drain(p, &m, 1) == 1; i++)
		add_frame(frames, m);
	return NULL;
}

static void add_log(cJSON *item, const struct punt_msg *msg)
{
	char text[IP_ADDR_STRLEN];

	cJSON_AddNumberToObject(item, "rule", msg->idx);
	cJSON_AddStringToObject(item, "src", ip_format(&msg->src, text));
	cJSON_AddNumberToObject(item, "sport", msg->sport);
	cJSON_AddNumberToObject(item, "dport", msg->dport);
	cJSON_AddNumberToObject(item, "proto", msg->proto);
	cJSON_AddNumberToObject(item, "verdict", msg->verdict);
	cJSON_AddStringToObject(item, "dir", msg->dir == POLICY_EGRESS ? "egress" : "ingress");
}

/* What waits for the control thread; "give_back" hands held packets to the pipeline again. */
static const char *punts(const cJSON *params, cJSON *result)
{
	static const char *const kinds[] = { "neigh", "resolve", "tunnel", "probe", "pmtu", "log" };
	bool is_given_back = harness_num(params, "give_back", 0) != 0;
	cJSON *list = cJSON_AddArrayToObject(result, "punts");
	char text[IP_ADDR_STRLEN];
	struct punt_msg msg;

	while (punt_receive(&msg, 1) == 1) {
		const struct port *in = port_by_id(msg.port_id), *out = port_by_id(msg.out_port_id);
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "kind", kinds[msg.kind]);
		cJSON_AddStringToObject(item, "port", in != NULL ? in->name : "");
		cJSON_AddStringToObject(item, "out_port", out != NULL ? out->name : "");
		cJSON_AddStringToObject(item, "target", ip_format(&msg.target, text));
		cJSON_AddBoolToObject(item, "from_tunnel", (msg.in & FLOW_IN_TUNNEL) != 0);
		if (msg.kind == PUNT_LOG)
			add_log(item, &msg);
		cJSON_AddItemToArray(list, item);
		if (msg.m == NULL)
			continue;
		if (is_given_back && msg.kind != PUNT_NEIGH) {
			const struct inject_msg back = {
				.kind = INJECT_RX, .port_id = msg.port_id, .in = msg.in, .m = msg.m
			};

			if (inject_send(0, &back))
				continue;
		}
		rte_pktmbuf_free(msg.m);
	}
	return NULL;
}

static const char *stats(const cJSON *params, cJSON *result)
{
	struct mempool_usage usage;
	struct port *p = NULL;
	cJSON *ports = cJSON_AddObjectToObject(result, "ports");

	(void)params;
	while ((p = port_next(p)) != NULL) {
		cJSON *item = cJSON_AddObjectToObject(ports, p->name), *drops;
		struct port_stats s;

		port_stats_sum(p, &s);
		cJSON_AddNumberToObject(item, "rx_pkts", (double)s.rx_pkts);
		cJSON_AddNumberToObject(item, "rx_bytes", (double)s.rx_bytes);
		cJSON_AddNumberToObject(item, "tx_pkts", (double)s.tx_pkts);
		cJSON_AddNumberToObject(item, "tx_bytes", (double)s.tx_bytes);
		drops = cJSON_AddObjectToObject(item, "drops");
		for (int i = 0; i < DROP_N; i++)
			if (s.drops[i] != 0)
				cJSON_AddNumberToObject(
					drops, drop_name((enum drop_reason)i), (double)s.drops[i]);
	}
	mempool_usage_read(&usage);
	cJSON_AddNumberToObject(result, "mbufs_in_use", rte_mempool_in_use_count(mempool_get(0)));
	cJSON_AddNumberToObject(result, "hits", (double)harness_worker->stats.n_hits);
	cJSON_AddNumberToObject(result, "slow", (double)harness_worker->stats.n_slow);
	cJSON_AddNumberToObject(result, "rejudged", (double)harness_worker->stats.n_rejudged);
	cJSON_AddNumberToObject(result, "new_conns", (double)harness_worker->stats.n_new_conns);
	return NULL;
}

static void add_tuple(cJSON *item, const struct flowtab *t, uint32_t flow)
{
	struct ip_addr src, dst;
	char text[IP_ADDR_STRLEN];
	rte_be16_t sport, dport;

	if (t->is_v6) {
		const struct flow_key6 *k = &flowtab_flow6(t, flow)->key;

		memcpy(src.b, k->src, 16);
		memcpy(dst.b, k->dst, 16);
		sport = k->sport;
		dport = k->dport;
	} else {
		const struct flow_key4 *k = &flowtab_flow4(t, flow)->key;

		src = ip_from_v4(k->src);
		dst = ip_from_v4(k->dst);
		sport = k->sport;
		dport = k->dport;
	}
	cJSON_AddStringToObject(item, "src", ip_format(&src, text));
	cJSON_AddStringToObject(item, "dst", ip_format(&dst, text));
	cJSON_AddNumberToObject(item, "sport", rte_be_to_cpu_16(sport));
	cJSON_AddNumberToObject(item, "dport", rte_be_to_cpu_16(dport));
}

static const char *conns(const cJSON *params, cJSON *result)
{
	const struct flowtab *tables[] = { &harness_ft4, &harness_ft6 };
	cJSON *list = cJSON_AddArrayToObject(result, "conns");

	(void)params;
	for (size_t t = 0; t < RTE_DIM(tables); t++)
		for (uint32_t i = 0; i < tables[t]->n_conns; i++) {
			const struct conn *c = &tables[t]->conns[i];
			uint8_t state = atomic_load_explicit(&c->state, memory_order_relaxed);
			struct flow_count orig, reply;
			cJSON *item;

			if (state == CONN_FREE)
				continue;
			item = cJSON_CreateObject();
			orig = flowtab_count(tables[t], 2 * i);
			reply = flowtab_count(tables[t], 2 * i + 1);
			cJSON_AddStringToObject(
				item, "state", conn_state_name((enum conn_state)state));
			cJSON_AddNumberToObject(item, "proto", c->proto);
			cJSON_AddNumberToObject(item, "zone", c->zone);
			cJSON_AddNumberToObject(item, "orig_pkts", (double)orig.pkts);
			cJSON_AddNumberToObject(item, "orig_bytes", (double)orig.bytes);
			cJSON_AddNumberToObject(item, "reply_pkts", (double)reply.pkts);
			cJSON_AddNumberToObject(item, "reply_bytes", (double)reply.bytes);
			add_tuple(item, tables[t], 2 * i);
			cJSON_AddItemToArray(list, item);
		}
	return NULL;
}

/* Takes mbufs away until only `leave` are in the pool; a negative number gives all back. */
static const char *hog(const cJSON *params, cJSON *result)
{
	static struct rte_mbuf *taken[1u << 16];
	static unsigned int n;
	int leave = (int)harness_num(params, "leave", -1);
	struct rte_mempool *pool = mempool_get(0);

	if (leave < 0) {
		rte_pktmbuf_free_bulk(taken, n);
		n = 0;
		return NULL;
	}
	while (n < RTE_DIM(taken) && rte_mempool_avail_count(pool) > (unsigned int)leave) {
		taken[n] = rte_pktmbuf_alloc(pool);
		if (taken[n] == NULL)
			break;
		n++;
	}
	cJSON_AddNumberToObject(result, "taken", n);
	return NULL;
}

const struct harness_command harness_io_commands[] = {
	{ "hog", hog },
	{ "inject", inject },
	{ "step", step },
	{ "drain", drain },
	{ "punts", punts },
	{ "stats", stats },
	{ "conns", conns },
	{ NULL, NULL },
};
