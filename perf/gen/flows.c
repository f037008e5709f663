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

static void fill_outer(const struct gen *g, const struct gen_side *s, uint32_t flow, uint8_t *p)
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
	udp->src_port = rte_cpu_to_be_16((uint16_t)(0xc000 | (flow & 0x3fff)));
	udp->dst_port = RTE_BE16(RTE_VXLAN_DEFAULT_PORT);
	vx->vx_flags = RTE_BE32(0x08000000);
	vx->vx_vni = rte_cpu_to_be_32(g->vni << 8);
}

static void fill_l4(const struct gen *g, unsigned int sender, uint32_t flow, uint8_t tcp_flags,
	struct rte_ipv4_hdr *ip)
{
	rte_be16_t sport = rte_cpu_to_be_16(gen_flow_sport(flow));
	rte_be16_t dport = rte_cpu_to_be_16(gen_flow_dport(flow));

	if (g->is_tcp) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
		*tcp = (struct rte_tcp_hdr){ .src_port = sender ? dport : sport,
			.dst_port = sender ? sport : dport,
			.sent_seq = RTE_BE32(1),
			.recv_ack = RTE_BE32(1),
			.data_off = 5 << 4,
			.tcp_flags = tcp_flags,
			.rx_win = RTE_BE16(0xffff) };
		/* pseudo-header without its length, header and mark; frames are zero behind that */
		tcp->cksum = fold(raw_sum(&ip->src_addr, 8) + RTE_BE16(IPPROTO_TCP) +
			raw_sum(tcp, GEN_FRAME_MIN - 34));
	} else {
		struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);
		udp->src_port = sender ? dport : sport;
		udp->dst_port = sender ? sport : dport;
	}
}

/* With one frame length the template is the finished frame; for IMIX it holds the sums without the length. */
static void fill_template(
	const struct gen *g, unsigned int sender, uint32_t flow, uint8_t tcp_flags, uint8_t *frame)
{
	uint8_t *p = frame;
	const struct gen_side *s = &g->side[sender], *far = &g->side[!sender];

	if (s->is_vxlan) {
		fill_outer(g, s, flow, p);
		p += GEN_VXLAN_OVERHEAD;
	}
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)p;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

	eth->dst_addr = s->is_vxlan ? g->inner_dst_mac : s->gw_mac;
	eth->src_addr = s->mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = g->is_tcp ? IPPROTO_TCP : IPPROTO_UDP,
		.src_addr = s->ip,
		.dst_addr = far->ip };
	ip->hdr_checksum = fold(raw_sum(ip, sizeof(*ip)));
	struct gen_mark *mark = (struct gen_mark *)(p + GEN_MARK_OFFSET);
	*mark = (struct gen_mark){
		.tag = (uint16_t)(g->trial << 1 | sender), .flow = flow, .seq_inv = 0xffff
	};
	fill_l4(g, sender, flow, tcp_flags, ip);
	if (g->frame_bytes)
		gen_frame_finish(g, &s->classes[0], s->is_vxlan, frame);
}

static void fill_class(
	const struct gen *g, const struct gen_side *s, struct gen_class *c, uint16_t len)
{
	uint16_t ip_len = (uint16_t)(len - sizeof(struct rte_ether_hdr));

	c->frame_len = len;
	c->wire_len = (uint16_t)(len + (s->is_vxlan ? GEN_VXLAN_OVERHEAD : 0));
	c->ip_len = rte_cpu_to_be_16(ip_len);
	c->udp_len = rte_cpu_to_be_16((uint16_t)(ip_len - 20));
	c->outer_ip_len = rte_cpu_to_be_16((uint16_t)(c->wire_len - 14));
	c->outer_udp_len = rte_cpu_to_be_16((uint16_t)(c->wire_len - 34));
	struct rte_ipv4_hdr outer = { .version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = c->outer_ip_len,
		.time_to_live = 64,
		.next_proto_id = IPPROTO_UDP,
		.src_addr = s->vtep,
		.dst_addr = g->vtep_far };
	c->outer_ip_csum = (uint16_t)~fold(raw_sum(&outer, sizeof(outer)));
}

void gen_frame_finish(const struct gen *g, const struct gen_class *c, bool is_vxlan, uint8_t *frame)
{
	if (is_vxlan) {
		struct rte_ipv4_hdr *outer = (struct rte_ipv4_hdr *)(frame + 14);
		outer->total_length = c->outer_ip_len;
		outer->hdr_checksum = c->outer_ip_csum;
		((struct rte_udp_hdr *)(outer + 1))->dgram_len = c->outer_udp_len;
		frame += GEN_VXLAN_OVERHEAD;
	}
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + 14);

	ip->total_length = c->ip_len;
	ip->hdr_checksum = (uint16_t)~fold((uint32_t)ip->hdr_checksum + c->ip_len);
	if (g->is_tcp) {
		struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);
		tcp->cksum = (uint16_t)~fold((uint32_t)tcp->cksum + c->udp_len);
	} else {
		((struct rte_udp_hdr *)(ip + 1))->dgram_len = c->udp_len;
	}
}

void gen_flows_free(struct gen *g)
{
	for (unsigned int i = 0; i < GEN_SIDES; i++) {
		struct gen_side *s = &g->side[i];
		table_free(s->tmpl, (size_t)g->n_flows * s->stride);
		table_free(s->tx_seq, (size_t)g->n_flows * sizeof(*s->tx_seq));
		table_free(s->rx_flow, (size_t)g->n_flows * sizeof(*s->rx_flow));
		s->tmpl = NULL;
		s->tx_seq = NULL;
		s->rx_flow = NULL;
	}
	free(g->order);
	g->order = NULL;
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
		s->stride = s->is_vxlan ? 128 : 64;
		s->tmpl = table_alloc((size_t)g->n_flows * s->stride);
		s->tx_seq = table_alloc((size_t)g->n_flows * sizeof(*s->tx_seq));
		s->rx_flow = table_alloc((size_t)g->n_flows * sizeof(*s->rx_flow));
		if (!s->tmpl || !s->tx_seq || !s->rx_flow)
			goto err_free;
		for (unsigned int c = 0; c < GEN_CLASSES; c++)
			fill_class(g, s, &s->classes[c],
				g->frame_bytes ? (uint16_t)g->frame_bytes : imix[c]);
	}
	if (g->is_zipf && build_order(g))
		goto err_free;
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
		for (uint32_t f = 0; f < g->n_flows; f++)
			fill_template(g, i, f, tcp_flags, s->tmpl + (size_t)f * s->stride);
	}
}
