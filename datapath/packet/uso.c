/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/uso.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "datapath/packet/csum.h"
#include "datapath/packet/gro.h"
#include "datapath/packet/vxlan.h"

#define L3_OFF RTE_ETHER_HDR_LEN
#define L3_LEN_MAX 65535u
#define UNFINISHED (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

static bool is_v6(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, const struct rte_ether_hdr *)->ether_type ==
		RTE_BE16(RTE_ETHER_TYPE_IPV6);
}

static uint32_t headers_len_of(const struct rte_mbuf *m)
{
	return L3_OFF + (is_v6(m) ? 40 : 20) + (uint32_t)sizeof(struct rte_udp_hdr);
}

static const struct rte_udp_hdr *udp_of(const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod_offset(
		m, const struct rte_udp_hdr *, headers_len_of(m) - sizeof(struct rte_udp_hdr));
}

/* Whether the IP header is the plain one of a whole UDP datagram that fills the frame. */
static bool is_udp_packet(const struct rte_mbuf *m)
{
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, const uint8_t *, L3_OFF);
	const struct rte_ipv4_hdr *ip4 = (const void *)l3;
	const struct rte_ipv6_hdr *ip6 = (const void *)l3;

	if (is_v6(m))
		return (l3[0] >> 4) == 6 && ip6->proto == IPPROTO_UDP &&
			rte_be_to_cpu_16(ip6->payload_len) == m->pkt_len - L3_OFF - sizeof(*ip6);
	return rte_pktmbuf_mtod(m, const struct rte_ether_hdr *)->ether_type ==
		RTE_BE16(RTE_ETHER_TYPE_IPV4) &&
		ip4->version_ihl == RTE_IPV4_VHL_DEF &&
		ip4->fragment_offset == RTE_BE16(RTE_IPV4_HDR_DF_FLAG) &&
		ip4->next_proto_id == IPPROTO_UDP &&
		rte_be_to_cpu_16(ip4->total_length) == m->pkt_len - L3_OFF;
}

static bool is_candidate(const struct rte_mbuf *m)
{
	uint32_t headers_len = headers_len_of(m);

	if ((m->ol_flags & UNFINISHED) != 0 || m->data_len <= headers_len || !is_udp_packet(m) ||
		rte_be_to_cpu_16(udp_of(m)->dgram_len) !=
			m->pkt_len - headers_len + sizeof(struct rte_udp_hdr))
		return false;
	/* Its checksum is made anew when it is cut: of what might be wrong, none is. */
	if (udp_of(m)->dgram_cksum != 0 && !vxlan_udp_csum_is_plausible(m))
		return false;
	for (; m != NULL; m = m->next)
		if (rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m))
			return false;
	return true;
}

/* Equal but for lengths, checksums and IPv4 id. */
static bool is_same_headers(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
	const uint8_t *fa = rte_pktmbuf_mtod(a, const uint8_t *);
	const uint8_t *fb = rte_pktmbuf_mtod(b, const uint8_t *);
	const struct rte_ipv4_hdr *ia = (const void *)(fa + L3_OFF),
				  *ib = (const void *)(fb + L3_OFF);

	if (memcmp(fa, fb, L3_OFF) != 0 || memcmp(udp_of(a), udp_of(b), 4) != 0 ||
		(udp_of(a)->dgram_cksum == 0) != (udp_of(b)->dgram_cksum == 0))
		return false;
	if (is_v6(a)) /* version, class, label; next header, hop limit, addresses */
		return memcmp(ia, ib, 4) == 0 && memcmp(fa + L3_OFF + 6, fb + L3_OFF + 6, 34) == 0;
	return ia->type_of_service == ib->type_of_service && ia->time_to_live == ib->time_to_live &&
		ia->src_addr == ib->src_addr && ia->dst_addr == ib->dst_addr;
}

/* Headers and metadata of a chain whose datagrams have segsz bytes of payload. */
static void finish(struct rte_mbuf *m, uint16_t segsz)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, L3_OFF);
	struct rte_ipv4_hdr *ip4 = (void *)l3;
	struct rte_ipv6_hdr *ip6 = (void *)l3;
	uint16_t l3_len = is_v6(m) ? sizeof(*ip6) : sizeof(*ip4);
	uint16_t udp_len = (uint16_t)(m->pkt_len - L3_OFF - l3_len);
	struct rte_udp_hdr *udp = (void *)(l3 + l3_len);

	if (is_v6(m)) {
		ip6->payload_len = rte_cpu_to_be_16(udp_len);
		udp->dgram_cksum = csum_fold(
			csum_pseudo_ip6(l3 + 8, l3 + 24, IPPROTO_UDP, udp_len));
		m->ol_flags |= RTE_MBUF_F_TX_IPV6;
	} else {
		ip4->total_length = rte_cpu_to_be_16((uint16_t)(udp_len + l3_len));
		ip4->hdr_checksum = csum_ip4_header(ip4, sizeof(*ip4));
		udp->dgram_cksum = csum_fold(
			csum_pseudo_ip4(ip4->src_addr, ip4->dst_addr, IPPROTO_UDP, udp_len));
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	}
	udp->dgram_len = rte_cpu_to_be_16(udp_len);
	m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_UDP_CKSUM;
	m->l2_len = L3_OFF;
	m->l3_len = l3_len & 0x1ff;
	m->l4_len = sizeof(*udp);
	m->tso_segsz = segsz;
}

uint16_t uso_merge(struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t n_left = 0, i = 0;

	while (i < n) {
		struct rte_mbuf *m = pkts[i++], *last;
		uint32_t headers_len = headers_len_of(m), segsz = m->pkt_len - headers_len;
		uint32_t payload = segsz;
		uint16_t n_merged = 1;

		pkts[n_left++] = m;
		if (i == n || !is_candidate(m))
			continue;
		/* only the last may be shorter */
		for (last = rte_pktmbuf_lastseg(m);
			i < n && payload == segsz && n_merged < USO_SEGMENTS_MAX; i++) {
			struct rte_mbuf *next = pkts[i];

			if (!is_candidate(next) || !is_same_headers(m, next) ||
				next->pkt_len - headers_len > segsz ||
				m->pkt_len + next->pkt_len > L3_LEN_MAX ||
				m->nb_segs + next->nb_segs > GRO_SEGS_MAX)
				break;
			rte_pktmbuf_adj(next, (uint16_t)headers_len);
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
