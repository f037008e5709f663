/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/uso.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "datapath/packet/csum.h"
#include "datapath/packet/gro.h"

#define L3_OFF RTE_ETHER_HDR_LEN
#define L4_OFF (L3_OFF + sizeof(struct rte_ipv4_hdr))
#define HEADERS_LEN (L4_OFF + sizeof(struct rte_udp_hdr))
#define L3_LEN_MAX 65535u
#define UNFINISHED (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

static const struct rte_ipv4_hdr *ip_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, L3_OFF);
}

static const struct rte_udp_hdr *udp_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, L4_OFF);
}

static bool is_candidate(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	if ((m->ol_flags & UNFINISHED) != 0 || m->data_len <= HEADERS_LEN ||
		eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		ip_of(m)->version_ihl != RTE_IPV4_VHL_DEF ||
		ip_of(m)->fragment_offset != RTE_BE16(RTE_IPV4_HDR_DF_FLAG) ||
		ip_of(m)->next_proto_id != IPPROTO_UDP || udp_of(m)->dgram_cksum != 0 ||
		rte_be_to_cpu_16(ip_of(m)->total_length) != m->pkt_len - L3_OFF ||
		rte_be_to_cpu_16(udp_of(m)->dgram_len) != m->pkt_len - L4_OFF)
		return false;
	for (; m != NULL; m = m->next)
		if (rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m))
			return false;
	return true;
}

/* Equal but for lengths, IPv4 id and header checksum. */
static bool is_same_headers(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	const struct rte_ipv4_hdr *ia = ip_of(a), *ib = ip_of(b);

	return memcmp(rte_pktmbuf_mtod(a, void *), rte_pktmbuf_mtod(b, void *), L3_OFF) == 0 &&
		ia->type_of_service == ib->type_of_service &&
		ia->time_to_live == ib->time_to_live && ia->src_addr == ib->src_addr &&
		ia->dst_addr == ib->dst_addr && memcmp(udp_of(a), udp_of(b), 4) == 0;
}

/* Headers and metadata of a chain whose datagrams have segsz bytes of payload. */
static void finish(struct rte_mbuf *m, uint16_t segsz)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, L3_OFF);
	struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(m, struct rte_udp_hdr *, L4_OFF);
	uint16_t udp_len = (uint16_t)(m->pkt_len - L4_OFF);

	ip->total_length = rte_cpu_to_be_16((uint16_t)(m->pkt_len - L3_OFF));
	ip->hdr_checksum = csum_ip4_header(ip, sizeof(*ip));
	udp->dgram_len = rte_cpu_to_be_16(udp_len);
	udp->dgram_cksum = csum_fold(
		csum_pseudo_ip4(ip->src_addr, ip->dst_addr, IPPROTO_UDP, udp_len));
	m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
	m->l2_len = L3_OFF;
	m->l3_len = sizeof(*ip);
	m->l4_len = sizeof(*udp);
	m->tso_segsz = segsz;
}

uint16_t uso_merge(struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t n_left = 0, i = 0;

	while (i < n) {
		struct rte_mbuf *m = pkts[i++], *last;
		uint32_t segsz = m->pkt_len - (uint32_t)HEADERS_LEN, payload = segsz;
		uint16_t n_merged = 1;

		pkts[n_left++] = m;
		if (i == n || !is_candidate(m))
			continue;
		/* only the last may be shorter */
		for (last = rte_pktmbuf_lastseg(m);
			i < n && payload == segsz && n_merged < USO_SEGMENTS_MAX; i++) {
			struct rte_mbuf *next = pkts[i];

			if (!is_candidate(next) || !is_same_headers(m, next) ||
				next->pkt_len - HEADERS_LEN > segsz ||
				m->pkt_len + next->pkt_len > L3_LEN_MAX ||
				m->nb_segs + next->nb_segs > GRO_SEGS_MAX)
				break;
			rte_pktmbuf_adj(next, HEADERS_LEN);
			payload = next->pkt_len;
			last->next = next;
			last = rte_pktmbuf_lastseg(next);
			m->nb_segs = (uint16_t)(m->nb_segs + next->nb_segs);
			m->pkt_len += payload;
			n_merged++;
		}
		if (n_merged > 1)
			finish(m, (uint16_t)segsz);
	}
	return n_left;
}
