/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/gen/gen.h"

#include <netinet/in.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>

/* SYN number k of the flood: every one a new connection, ports in turn. */
static void fill_syn(const struct gen *g, uint64_t k, uint8_t *p)
{
	const struct gen_side *s = &g->flooder;
	struct rte_ether_hdr *eth = (struct rte_ether_hdr *)p;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + 1);

	memset(p, 0, GEN_FRAME_MIN);
	eth->dst_addr = s->gw_mac;
	eth->src_addr = s->mac;
	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(sizeof(*ip) + sizeof(*tcp)),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = s->ip,
		.dst_addr = g->side[1].ip };
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*tcp = (struct rte_tcp_hdr){ .src_port = (rte_be16_t)k,
		.dst_port = (rte_be16_t)(k >> 16 | 0x8000),
		.sent_seq = RTE_BE32(1),
		.data_off = 5 << 4,
		.tcp_flags = RTE_TCP_SYN_FLAG,
		.rx_win = RTE_BE16(0xffff) };
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
}

static void drain(const struct gen_side *s)
{
	struct rte_mbuf *m[GEN_BURST];
	unsigned int n = rte_eth_rx_burst(s->port_id, 0, m, GEN_BURST);

	rte_pktmbuf_free_bulk(m, n);
}

void gen_flood(struct gen *g, uint64_t due)
{
	struct gen_side *s = &g->flooder;
	struct rte_mbuf *m[GEN_BURST];
	uint64_t wanted = due - s->count.offered;
	unsigned int n = (unsigned int)RTE_MIN(wanted, (uint64_t)GEN_BURST);

	drain(s);
	if (n == 0 || rte_pktmbuf_alloc_bulk(s->tx_pool, m, n))
		return;
	for (unsigned int i = 0; i < n; i++)
		fill_syn(g, g->n_flooded + i, (uint8_t *)rte_pktmbuf_append(m[i], GEN_FRAME_MIN));
	unsigned int sent = rte_eth_tx_burst(s->port_id, 0, m, (uint16_t)n);

	rte_pktmbuf_free_bulk(m + sent, n - sent);
	g->n_flooded += n;
	s->count.offered += n;
	s->count.accepted += sent;
}
