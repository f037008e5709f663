/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/gro.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "datapath/packet/csum.h"

#define FLOWS_MAX 8
#define L3_LEN_MAX 65535
#define HEAD_MIN_BYTES 128 /* of payload: streams of smaller segments are not worth a checksum */

enum verdict {
	GRO_OTHER,  /* not TCP: of no connection here */
	GRO_CLOSES, /* may belong to a connection, and nothing may be merged past it */
	GRO_SEGMENT
};

struct segment {
	const uint8_t *data;
	uint16_t hdr_len, payload_len;
	uint8_t l4_off;
	bool is_v6, is_push;
	uint32_t seq;
};

struct flow {
	struct rte_mbuf *m, *last;
	struct segment head;
	uint32_t next_seq, payload_len;
	uint16_t n;
	bool is_open, is_push;
};

static const struct rte_tcp_hdr *tcp_of(const struct segment *s)
{
	return (const struct rte_tcp_hdr *)(s->data + s->l4_off);
}

/* L3 length and protocol of a plain header; 0: another shape. */
static uint16_t l3_total(const struct rte_mbuf *m, struct segment *s, uint8_t *proto)
{
	const struct rte_ether_hdr *eth = (const struct rte_ether_hdr *)s->data;

	*proto = IPPROTO_TCP; /* until known better */
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)) {
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(eth + 1);

		*proto = ip->next_proto_id;
		s->l4_off = sizeof(*eth) + sizeof(*ip);
		s->is_v6 = false;
		if (ip->version_ihl != RTE_IPV4_VHL_DEF ||
			(ip->fragment_offset & RTE_BE16(0x3fff)) != 0)
			return 0;
		return rte_be_to_cpu_16(ip->total_length);
	}
	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) &&
		m->data_len >= sizeof(*eth) + sizeof(struct rte_ipv6_hdr)) {
		const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)(eth + 1);
		uint32_t len = rte_be_to_cpu_16(ip->payload_len) + (uint32_t)sizeof(*ip);

		*proto = ip->proto;
		s->l4_off = sizeof(*eth) + sizeof(*ip);
		s->is_v6 = true;
		return len <= L3_LEN_MAX ? (uint16_t)len : 0;
	}
	*proto = 0;
	return 0;
}

static enum verdict classify(const struct rte_mbuf *m, struct segment *s)
{
	const struct rte_tcp_hdr *tcp;
	uint16_t l3_len;
	uint8_t proto;

	s->data = rte_pktmbuf_mtod(m, const uint8_t *);
	if (m->data_len < RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr))
		return GRO_CLOSES;
	l3_len = l3_total(m, s, &proto);
	if (proto == IPPROTO_UDP || proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6 || proto == 0)
		return GRO_OTHER;
	if (proto != IPPROTO_TCP || l3_len == 0 || m->data_len < s->l4_off + sizeof(*tcp) ||
		m->pkt_len != (uint32_t)l3_len + RTE_ETHER_HDR_LEN)
		return GRO_CLOSES;
	if ((m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)) != 0)
		return GRO_CLOSES;
	tcp = tcp_of(s);
	s->hdr_len = (uint16_t)(s->l4_off + (tcp->data_off >> 4) * 4);
	if ((tcp->data_off >> 4) < 5 || s->hdr_len > m->data_len || m->pkt_len <= s->hdr_len)
		return GRO_CLOSES;
	if ((tcp->tcp_flags & (uint8_t)~RTE_TCP_PSH_FLAG) != RTE_TCP_ACK_FLAG)
		return GRO_CLOSES;
	s->payload_len = (uint16_t)(m->pkt_len - s->hdr_len);
	s->is_push = (tcp->tcp_flags & RTE_TCP_PSH_FLAG) != 0;
	s->seq = rte_be_to_cpu_32(tcp->sent_seq);
	return GRO_SEGMENT;
}

/* Same connection: addresses and ports. */
static bool is_same_connection(const struct segment *a, const struct segment *b)
{
	uint8_t addr_off = RTE_ETHER_HDR_LEN + (a->is_v6 ? 8 : 12);

	return a->is_v6 == b->is_v6 &&
		memcmp(a->data + addr_off, b->data + addr_off, a->l4_off + 4u - addr_off) == 0;
}

/* Same headers but for what differs from segment to segment. */
static bool is_same_headers(const struct segment *a, const struct segment *b)
{
	const struct rte_tcp_hdr *ta = tcp_of(a), *tb = tcp_of(b);

	if (a->hdr_len != b->hdr_len || memcmp(a->data, b->data, RTE_ETHER_HDR_LEN + 2) != 0)
		return false;
	if (a->is_v6) { /* class and flow label; next header, hop limit */
		if (memcmp(a->data + 14, b->data + 14, 4) != 0 ||
			memcmp(a->data + 20, b->data + 20, 2) != 0)
			return false;
	} else if (memcmp(a->data + 20, b->data + 20, 4) != 0) { /* DF, TTL, protocol */
		return false;
	}
	return ta->recv_ack == tb->recv_ack && ta->data_off == tb->data_off &&
		ta->rx_win == tb->rx_win &&
		memcmp(ta + 1, tb + 1, a->hdr_len - a->l4_off - sizeof(*ta)) == 0;
}

static bool is_chain_ours(const struct rte_mbuf *m)
{
	for (; m != NULL; m = m->next)
		if (rte_mbuf_refcnt_read(m) != 1 || !RTE_MBUF_DIRECT(m))
			return false;
	return true;
}

static bool is_mergeable(struct flow *f, const struct segment *s, const struct rte_mbuf *m)
{
	if (s->seq != f->next_seq || f->is_push || s->payload_len > f->head.payload_len ||
		f->payload_len + s->payload_len + f->head.hdr_len - RTE_ETHER_HDR_LEN >
			L3_LEN_MAX ||
		f->m->nb_segs + m->nb_segs > GRO_SEGS_MAX || !is_same_headers(&f->head, s) ||
		!is_chain_ours(m))
		return false;
	if (f->n == 1 &&
		(!is_chain_ours(f->m) || csum_verify_l4(f->m, RTE_ETHER_HDR_LEN) != CSUM_OK))
		return false;
	return csum_verify_l4(m, RTE_ETHER_HDR_LEN) == CSUM_OK;
}

static void merge(struct flow *f, const struct segment *s, struct rte_mbuf *m)
{
	bool is_short = s->payload_len < f->head.payload_len;

	rte_pktmbuf_adj(m, s->hdr_len);
	f->last->next = m;
	f->last = rte_pktmbuf_lastseg(m);
	f->m->nb_segs = (uint16_t)(f->m->nb_segs + m->nb_segs);
	f->m->pkt_len += s->payload_len;
	f->payload_len += s->payload_len;
	f->next_seq += s->payload_len;
	f->is_push = s->is_push;
	f->n++;
	/* only the last may be short or pushed */
	f->is_open = !is_short && !s->is_push;
}

static void flow_open(struct flow *f, const struct segment *s, struct rte_mbuf *m)
{
	*f = (struct flow){
		.m = m,
		.last = rte_pktmbuf_lastseg(m),
		.head = *s,
		.next_seq = s->seq + s->payload_len,
		.payload_len = s->payload_len,
		.n = 1,
		.is_push = s->is_push,
		.is_open = !s->is_push,
	};
}

/* Headers and metadata of the super-frame. */
static void flow_finish(struct flow *f)
{
	struct rte_mbuf *m = f->m;
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t l4_len = (uint16_t)(f->head.hdr_len - f->head.l4_off + f->payload_len);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(data + f->head.l4_off);

	if (f->n < 2)
		return;
	if (f->is_push)
		tcp->tcp_flags |= RTE_TCP_PSH_FLAG;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
	if (f->head.is_v6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(data + RTE_ETHER_HDR_LEN);

		ip->payload_len = rte_cpu_to_be_16(l4_len);
		tcp->cksum = csum_fold(
			csum_pseudo_ip6(ip->src_addr, ip->dst_addr, IPPROTO_TCP, l4_len));
		m->ol_flags |= RTE_MBUF_F_TX_IPV6;
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + RTE_ETHER_HDR_LEN);

		ip->total_length = rte_cpu_to_be_16((uint16_t)(l4_len + sizeof(*ip)));
		ip->hdr_checksum = csum_ip4_header(ip, sizeof(*ip));
		tcp->cksum = csum_fold(
			csum_pseudo_ip4(ip->src_addr, ip->dst_addr, IPPROTO_TCP, l4_len));
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	}
	m->l2_len = RTE_ETHER_HDR_LEN;
	m->l3_len = (uint64_t)(f->head.l4_off - RTE_ETHER_HDR_LEN) & 0x1ff;
	m->l4_len = (uint8_t)(f->head.hdr_len - f->head.l4_off);
	m->tso_segsz = f->head.payload_len;
}

uint16_t gro_merge(struct rte_mbuf **pkts, uint16_t n, bool is_v4_wanted, bool is_v6_wanted)
{
	struct flow flows[FLOWS_MAX];
	unsigned int n_flows = 0;
	uint16_t n_left = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct segment s;
		enum verdict v = classify(m, &s);
		struct flow *f = NULL;

		if (v == GRO_SEGMENT && !(s.is_v6 ? is_v6_wanted : is_v4_wanted))
			v = GRO_OTHER;
		/* the newest of a connection is the one that counts */
		for (unsigned int j = n_flows; v == GRO_SEGMENT && j-- > 0;)
			if (is_same_connection(&flows[j].head, &s)) {
				f = &flows[j];
				break;
			}
		if (f != NULL && f->is_open && is_mergeable(f, &s, m)) {
			merge(f, &s, m);
			continue;
		}
		pkts[n_left++] = m;
		if (v == GRO_OTHER)
			continue;
		if (v == GRO_CLOSES || n_flows == FLOWS_MAX) {
			for (unsigned int j = 0; j < n_flows; j++)
				flow_finish(&flows[j]);
			n_flows = 0;
		} else if (f != NULL) {
			f->is_open = false;
		}
		if (v == GRO_SEGMENT && s.payload_len >= HEAD_MIN_BYTES)
			flow_open(&flows[n_flows++], &s, m);
	}
	for (unsigned int j = 0; j < n_flows; j++)
		flow_finish(&flows[j]);
	return n_left;
}
