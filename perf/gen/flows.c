/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/gen/gen.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

static const uint16_t imix[GEN_CLASSES] = { 64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64 };

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static uint32_t raw_sum(const void *p, size_t size)
{
	const uint8_t *b = p;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2) {
		uint16_t w;
		memcpy(&w, b + i, 2);
		sum += w;
	}
	return sum;
}

/* Big tables: transparent huge pages where they are on, so that a miss is a cache miss and not two. */
static void *table_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static void table_free(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

static void fill_outer(const struct gen *g, const struct gen_side *s, uint8_t *p)
{
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)p;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
	struct rte_vxlan_hdr *vx = (struct rte_vxlan_hdr *)(udp + 1);

	eth->dst_addr = s->gw_mac;
	eth->src_addr = s->mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = s->vtep,
		.dst_addr = g->vtep_far };
	udp->dst_port = RTE_BE16(RTE_VXLAN_DEFAULT_PORT);
	vx->vx_flags = RTE_BE32(0x08000000);
	vx->vx_vni = rte_cpu_to_be_32(g->vni << 8);
}

/* Everything of a frame that neither its length nor its flow changes. */
static void fill_head(const struct gen *g, unsigned int sender, uint8_t tcp_flags, uint8_t *p)
{
	const struct gen_side *s = &g->side[sender], *far = &g->side[!sender];

	memset(p, 0, sizeof(s->head));
	if (s->is_vxlan) {
		fill_outer(g, s, p);
		p += GEN_VXLAN_OVERHEAD;
	}
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)p;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct gen_mark *mark = (struct gen_mark *)(p + GEN_MARK_OFFSET);

	eth->dst_addr = s->is_vxlan ? g->inner_dst_mac : s->gw_mac;
	eth->src_addr = s->mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = g->is_tcp ? IPPROTO_TCP : IPPROTO_UDP,
		.src_addr = s->ip,
		.dst_addr = far->ip };
	*mark = (struct gen_mark){ .tag = (uint16_t)(g->trial << 1 | sender), .seq_inv = 0xffff };
	if (g->is_tcp)
		*(struct rte_tcp_hdr *)(ip + 1) = (struct rte_tcp_hdr){ .sent_seq = RTE_BE32(1),
			.recv_ack = RTE_BE32(1),
			.data_off = 5 << 4,
			.tcp_flags = tcp_flags,
			.rx_win = RTE_BE16(0xffff) };
}

static rte_be16_t ip_csum(const void *header, rte_be16_t len)
{
	return (rte_be16_t)~fold(raw_sum(header, sizeof(struct rte_ipv4_hdr)) + len);
}

static void fill_class(
	const struct gen *g, const struct gen_side *s, struct gen_class *c, uint16_t len)
{
	const uint8_t *p = s->head + (s->is_vxlan ? GEN_VXLAN_OVERHEAD : 0);
	uint16_t ip_len = (uint16_t)(len - sizeof(struct rte_ether_hdr));

	c->frame_len = len;
	c->wire_len = (uint16_t)(len + (s->is_vxlan ? GEN_VXLAN_OVERHEAD : 0));
	c->ip_len = rte_cpu_to_be_16(ip_len);
	c->l4_len = rte_cpu_to_be_16((uint16_t)(ip_len - 20));
	c->ip_csum = ip_csum(p + 14, c->ip_len);
	c->outer_ip_len = rte_cpu_to_be_16((uint16_t)(c->wire_len - 14));
	c->outer_udp_len = rte_cpu_to_be_16((uint16_t)(c->wire_len - 34));
	c->outer_ip_csum = ip_csum(s->head + 14, c->outer_ip_len);
	/* pseudo-header, TCP header and mark; frames are zero behind that */
	if (g->is_tcp)
		c->tcp_sum = fold(raw_sum(p + 26, 8) + RTE_BE16(IPPROTO_TCP) + c->l4_len +
			raw_sum(p + 34, GEN_FRAME_MIN - 34));
}

void gen_flows_free(struct gen *g)
{
	for (unsigned int i = 0; i < GEN_SIDES; i++) {
		struct gen_side *s = &g->side[i];
		table_free(s->tx_seq, (size_t)g->n_flows * sizeof(*s->tx_seq));
		table_free(s->rx_flow, (size_t)g->n_flows * sizeof(*s->rx_flow));
		s->tx_seq = NULL;
		s->rx_flow = NULL;
	}
	free(g->order);
	g->order = NULL;
	free(g->services.nat);
	g->services.nat = NULL;
}

static int build_order(struct gen *g)
{
	double *cdf = malloc((size_t)g->n_flows * sizeof(*cdf)), sum = 0;
	uint64_t x = 88172645463325252ull;

	g->order = malloc(GEN_ORDER_LEN * sizeof(*g->order));
	if (!cdf || !g->order) {
		free(cdf);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < g->n_flows; i++)
		cdf[i] = sum += 1.0 / pow(i + 1, g->zipf_s);
	for (uint32_t k = 0; k < GEN_ORDER_LEN; k++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		double want = (double)(x >> 11) / (double)(1ull << 53) * sum;
		uint32_t lo = 0, hi = g->n_flows - 1;
		while (lo < hi) {
			uint32_t mid = lo + (hi - lo) / 2;
			if (cdf[mid] < want)
				lo = mid + 1;
			else
				hi = mid;
		}
		g->order[k] = lo;
	}
	free(cdf);
	return 0;
}

int gen_flows_build(struct gen *g)
{
	for (unsigned int i = 0; i < GEN_SIDES; i++) {
		struct gen_side *s = &g->side[i];
		s->tx_seq = table_alloc((size_t)g->n_flows * sizeof(*s->tx_seq));
		s->rx_flow = table_alloc((size_t)g->n_flows * sizeof(*s->rx_flow));
		if (!s->tx_seq || !s->rx_flow)
			goto err_free;
	}
	if (g->is_zipf && build_order(g))
		goto err_free;
	if (g->services.is_on) {
		g->services.nat = calloc(g->n_flows, sizeof(*g->services.nat));
		if (!g->services.nat)
			goto err_free;
	}
	return 0;

err_free:
	gen_flows_free(g);
	return -ENOMEM;
}

void gen_flows_reset(struct gen *g, uint8_t tcp_flags)
{
	g->trial = (uint16_t)((g->trial + 1) & 0x7fff);
	for (unsigned int i = 0; i < GEN_SIDES; i++) {
		struct gen_side *s = &g->side[i];

		memset(s->tx_seq, 0, (size_t)g->n_flows * sizeof(*s->tx_seq));
		memset(s->rx_flow, 0, (size_t)g->n_flows * sizeof(*s->rx_flow));
		memset(&s->count, 0, sizeof(s->count));
		s->flow_pos = s->class_pos = 0;
		if (s->n_ready) {
			rte_pktmbuf_free_bulk(s->ready, s->n_ready);
			s->n_ready = 0;
		}
		fill_head(g, i, tcp_flags, s->head);
		for (unsigned int c = 0; c < GEN_CLASSES; c++)
			fill_class(g, s, &s->classes[c],
				g->frame_bytes ? (uint16_t)g->frame_bytes : imix[c]);
	}
}
