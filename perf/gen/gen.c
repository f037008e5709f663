/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leat-gen [EAL options, two net_virtio_user ports]: reads commands from standard input, one a line, "verb key=value
 * …", and answers each with one line of JSON. See docs/perf.md; perf/run drives it.
 */
#include "perf/gen/gen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_tcp.h>

#include "datapath/base/addr.h"
#include "perf/gen/opener.h"

#define TX_POOL_LEN 8191
#define RX_POOL_LEN 8191
#define POOL_CACHE_LEN 512

static int port_start(struct gen_side *s, unsigned int side, uint16_t n_desc)
{
	struct rte_eth_conf conf = { 0 };
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "tx%u", side);
	s->tx_pool = rte_pktmbuf_pool_create(name, TX_POOL_LEN, POOL_CACHE_LEN, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	snprintf(name, sizeof(name), "rx%u", side);
	s->rx_pool = rte_pktmbuf_pool_create(name, RX_POOL_LEN, POOL_CACHE_LEN, 0,
		RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	if (!s->tx_pool || !s->rx_pool)
		return -ENOMEM;
	ret = rte_eth_dev_configure(s->port_id, 1, 1, &conf);
	if (!ret)
		ret = rte_eth_rx_queue_setup(
			s->port_id, 0, n_desc, SOCKET_ID_ANY, NULL, s->rx_pool);
	if (!ret)
		ret = rte_eth_tx_queue_setup(s->port_id, 0, n_desc, SOCKET_ID_ANY, NULL);
	if (!ret)
		ret = rte_eth_dev_start(s->port_id);
	return ret;
}

/* Frames that go out keep what an earlier use of the buffer left behind byte 64 or 128: it has to be zero. */
static void clear_buffer(struct rte_mempool *pool, void *arg, void *obj, unsigned int idx)
{
	struct rte_mbuf *m = obj;

	(void)pool;
	(void)arg;
	(void)idx;
	memset(m->buf_addr, 0, m->buf_len);
}

static struct gen_side *side_of(struct gen *g, char name)
{
	return name == 'c' ? &g->flooder : &g->side[name == 'b'];
}

static void cmd_set(struct gen *g, const struct words *w)
{
	bool is_ok = true;

	for (unsigned int i = 1; i < w->n && is_ok; i++) {
		const char *k = w->key[i], *v = w->value[i];
		struct gen_side *s = side_of(g, k[0]);
		bool is_side = k[0] >= 'a' && k[0] <= 'c' && k[1] == '_';
		const char *sub = is_side ? k + 2 : "";

		if (!v)
			is_ok = false;
		else if (!strcmp(sub, "mac"))
			is_ok = !mac_parse(v, &s->mac);
		else if (!strcmp(sub, "gw_mac"))
			is_ok = !mac_parse(v, &s->gw_mac);
		else if (!strcmp(sub, "ip"))
			is_ok = inet_pton(AF_INET, v, &s->ip) == 1;
		else if (!strcmp(sub, "vtep"))
			is_ok = inet_pton(AF_INET, v, &s->vtep) == 1;
		else if (!strcmp(sub, "encap"))
			s->is_vxlan = !strcmp(v, "vxlan");
		else if (!strcmp(k, "vtep_far"))
			is_ok = inet_pton(AF_INET, v, &g->vtep_far) == 1;
		else if (!strcmp(k, "inner_dst_mac"))
			is_ok = !mac_parse(v, &g->inner_dst_mac);
		else if (!strcmp(k, "vni"))
			g->vni = (uint32_t)atoi(v);
		else if (!strcmp(k, "check"))
			g->check = strcmp(v, "count") ? GEN_CHECK_FULL : GEN_CHECK_COUNT;
		else
			is_ok = false;
	}
	if (is_ok)
		printf("{\"event\":\"set\"}\n");
	else
		answer_error("set: unknown key or bad value");
}

/* vips=2^n vip=FIRST vip_stride=N vport=PORT; without vips side B is addressed itself. */
static bool parse_services(struct gen_services *sv, const struct words *w, double n_flows)
{
	uint32_t n = (uint32_t)word_number(w, "vips", 0);
	const char *vip = word(w, "vip");
	rte_be32_t first;

	sv->is_on = n > 0;
	if (!n)
		return true;
	if (!rte_is_power_of_2(n) || !vip || inet_pton(AF_INET, vip, &first) != 1 ||
		n_flows / n > UINT16_MAX - GEN_SERVICE_SPORT_MIN)
		return false;
	sv->shift = (uint8_t)rte_log2_u32(n);
	sv->vip = rte_be_to_cpu_32(first);
	sv->stride = (uint32_t)word_number(w, "vip_stride", 1);
	sv->port = (uint16_t)word_number(w, "vport", 80);
	return true;
}

static void cmd_flows(struct gen *g, const struct words *w)
{
	double n = word_number(w, "n", 1), frame = 64;
	const char *f = word(w, "frame"), *proto = word(w, "proto");

	frame = f && !strcmp(f, "imix") ? 0 : word_number(w, "frame", 64);
	if (n < 1 || n > GEN_FLOWS_MAX ||
		(frame != 0 && (frame < GEN_FRAME_MIN || frame > GEN_FRAME_MAX))) {
		answer_error("flows: n or frame out of range");
		return;
	}
	if (g->has_trial)
		gen_flows_free(g);
	g->has_trial = false;
	if (!parse_services(&g->services, w, n)) {
		answer_error("flows: vips is a power of two, with a vip and source ports enough");
		return;
	}
	g->n_flows = (uint32_t)n;
	g->frame_bytes = (uint32_t)frame;
	g->is_tcp = proto && !strcmp(proto, "tcp");
	g->zipf_s = word_number(w, "zipf", 0);
	g->is_zipf = g->zipf_s > 0;
	g->has_trial = gen_flows_build(g) == 0;
	if (!g->has_trial) {
		answer_error("flows: out of memory");
		return;
	}
	gen_flows_reset(g, RTE_TCP_ACK_FLAG);
	printf("{\"event\":\"flows\",\"flows\":%u,\"frame_bytes\":%u}\n", g->n_flows,
		g->frame_bytes);
}

static void cmd_warm(struct gen *g, const struct words *w)
{
	double pps = word_number(w, "pps", 500000);
	uint32_t seen[3] = { 0 };
	double seconds, rest;

	/* UDP: once each way. TCP: a handshake. */
	seen[0] = gen_warm(g, 0, pps, RTE_TCP_SYN_FLAG, &seconds);
	seen[1] = gen_warm(g, 1, pps, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG, &rest);
	if (g->is_tcp)
		seen[2] = gen_warm(g, 0, pps, RTE_TCP_ACK_FLAG, &rest);
	printf("{\"event\":\"warm\",\"a_to_b\":%u,\"b_to_a\":%u,\"ack\":%u,\"seconds\":%.6f}\n",
		seen[0], seen[1], seen[2], seconds);
}

static void cmd_arp(struct gen *g, const struct words *w)
{
	const char *side = word(w, "side"), *ip = word(w, "ip");
	rte_be32_t target;
	char mac[MAC_STRLEN];

	if (!side || !ip || inet_pton(AF_INET, ip, &target) != 1) {
		answer_error("arp: side=a|b|c ip=ADDRESS");
		return;
	}
	struct gen_side *s = side_of(g, *side);

	if (gen_arp(g, s, target))
		printf("{\"event\":\"arp\",\"mac\":\"%s\"}\n", mac_format(&s->gw_mac, mac));
	else
		answer_error("arp: no answer");
}

/* opener.h over the two guests. */

static bool opener_send(struct opener *o, const struct opener_frame *frame)
{
	struct gen_side *s = &((struct gen *)o->priv)->side[0];
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->tx_pool);

	if (!m)
		return false;
	memcpy(rte_pktmbuf_append(m, sizeof(*frame)), frame, sizeof(*frame));
	if (rte_eth_tx_burst(s->port_id, 0, &m, 1) == 1)
		return true;
	rte_pktmbuf_free(m);
	return false;
}

static bool opener_receive(struct opener *o)
{
	struct gen *g = o->priv;
	struct rte_mbuf *m[GEN_BURST];
	unsigned int total = 0;

	for (unsigned int side = 0; side < GEN_SIDES; side++) {
		unsigned int n = rte_eth_rx_burst(g->side[side].port_id, 0, m, GEN_BURST);
		uint64_t now_ns = opener_now_ns();
		for (unsigned int i = 0; i < n && side; i++)
			opener_arrived(o, rte_pktmbuf_mtod(m[i], void *), m[i]->data_len, now_ns);
		rte_pktmbuf_free_bulk(m, n);
		total += n;
	}
	return total > 0;
}

static bool opener_try(struct gen *g, const struct words *w)
{
	static struct opener o = { .send = opener_send, .receive = opener_receive };

	if (!o.priv) {
		o.priv = g;
		opener_init(&o);
	}
	memcpy(o.head.eth.ether_dhost, &g->side[0].gw_mac, sizeof(g->side[0].gw_mac));
	memcpy(o.head.eth.ether_shost, &g->side[0].mac, sizeof(g->side[0].mac));
	o.head.ip.saddr = g->side[0].ip;
	return opener_command(&o, w);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A loop with a fixed count of dependent operations: its time tells whether the core was ours and at its speed. */
static void cmd_canary(const struct gen *g)
{
	uint64_t took[15], x = 1;

	for (unsigned int k = 0; k < RTE_DIM(took); k++) {
		uint64_t t = rte_rdtsc();
		for (unsigned int i = 0; i < 1000000; i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			__asm__ volatile("" : "+r"(x));
		}
		took[k] = rte_rdtsc() - t;
	}
	qsort(took, RTE_DIM(took), sizeof(took[0]), compare_u64);
	double us = 1e6 / (double)g->tsc_hz;
	printf("{\"event\":\"canary\",\"best_us\":%.2f,\"median_us\":%.2f}\n", (double)took[0] * us,
		(double)took[RTE_DIM(took) / 2] * us);
}

static bool needs_flows(const struct gen *g)
{
	if (!g->has_trial)
		answer_error("no flows yet");
	return g->has_trial;
}

/* false: quit. */
static bool command(struct gen *g, struct words *w)
{
	const char *verb = w->n ? w->key[0] : "";

	if (!strcmp(verb, "quit"))
		return false;
	if (!strcmp(verb, "set")) {
		cmd_set(g, w);
	} else if (!strcmp(verb, "flows")) {
		cmd_flows(g, w);
	} else if (!strcmp(verb, "arp")) {
		cmd_arp(g, w);
	} else if (!strcmp(verb, "canary")) {
		cmd_canary(g);
	} else if (!strcmp(verb, "warm")) {
		if (needs_flows(g))
			cmd_warm(g, w);
	} else if (!strcmp(verb, "run")) {
		if (needs_flows(g)) {
			gen_drain(g);
			gen_flows_reset(g, RTE_TCP_ACK_FLAG);
			memset(&g->flooder.count, 0, sizeof(g->flooder.count));
			g->flood_pps = g->has_flooder ? word_number(w, "flood_pps", 0) : 0;
			gen_run(g, word_number(w, "seconds", 1), word_number(w, "pps", 0), stdout);
		}
	} else if (!strcmp(verb, "latency")) {
		if (g->is_tcp) {
			answer_error("latency: UDP only");
		} else if (needs_flows(g)) {
			gen_drain(g);
			gen_flows_reset(g, RTE_TCP_ACK_FLAG);
			gen_latency(g, word_number(w, "seconds", 1), word_number(w, "pps", 1e5),
				stdout);
		}
	} else if (!w->n || !opener_try(g, w)) {
		answer_error("unknown command");
	}
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	static struct gen g;
	int ret = rte_eal_init(argc, argv);

	if (ret < 0) {
		answer_error("EAL did not start");
		return 1;
	}
	argc -= ret;
	argv += ret;
	uint16_t n_desc = argc > 1 ? (uint16_t)atoi(argv[1]) : 1024;

	g.tsc_hz = rte_get_tsc_hz();
	g.has_flooder = rte_eth_dev_count_avail() > GEN_SIDES;
	unsigned int n_ports = GEN_SIDES + (g.has_flooder ? 1 : 0);

	for (unsigned int i = 0; i < n_ports; i++) {
		struct gen_side *s = side_of(&g, (char)('a' + i));
		s->port_id = (uint16_t)i;
		if (rte_eth_dev_count_avail() < GEN_SIDES || port_start(s, i, n_desc)) {
			answer_error("needs two ports that start");
			return 1;
		}
		rte_mempool_obj_iter(s->tx_pool, clear_buffer, NULL);
		rte_eth_macaddr_get(s->port_id, &s->mac);
	}
	printf("{\"event\":\"ready\",\"tsc_hz\":%" PRIu64 "}\n", g.tsc_hz);
	fflush(stdout);

	char *line = NULL;
	size_t size = 0;
	struct words w;
	bool is_on = true;

	while (is_on && getline(&line, &size, stdin) > 0) {
		words_split(line, &w);
		is_on = command(&g, &w);
	}
	free(line);
	for (unsigned int i = 0; i < n_ports; i++) {
		rte_eth_dev_stop((uint16_t)i);
		rte_eth_dev_close((uint16_t)i);
	}
	rte_eal_cleanup();
	return 0;
}
