/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/csum.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_tcp.h>
#include <rte_udp.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/ip6ext.h"

#define TCP_CSUM_OFF 16
#define UDP_CSUM_OFF 6

uint64_t csum_add(uint64_t sum, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint64_t acc = 0;
	size_t n = len / 4;

	/* 32-bit words into a 64-bit accumulator: no carries up to 2^32 words; the compiler
	 * vectorizes it. */
	for (size_t i = 0; i < n; i++) {
		uint32_t w;

		memcpy(&w, p + 4 * i, 4);
		acc += w;
	}
	p += 4 * n;
	if (len & 2) {
		uint16_t w;

		memcpy(&w, p, 2);
		acc += w;
		p += 2;
	}
	if (len & 1)
		acc += rte_cpu_to_be_16((uint16_t)(*p << 8));
	/* Kept below 2^33, so that any number of pieces can be added. */
	acc = (acc & 0xffffffff) + (acc >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum + acc;
}

bool csum_add_mbuf(uint64_t *sum, const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	bool is_odd = false;

	if (len > m->pkt_len || off > m->pkt_len - len)
		return false;
	while (m != NULL && off >= m->data_len) {
		off -= m->data_len;
		m = m->next;
	}
	for (; len > 0 && m != NULL; m = m->next) {
		uint32_t n = RTE_MIN(len, (uint32_t)m->data_len - off);
		uint16_t part = csum_fold(
			csum_add(0, rte_pktmbuf_mtod_offset(m, const uint8_t *, off), n));

		/* A piece at an odd offset has its bytes swapped (RFC 1071 s. 2 (B)). */
		*sum += is_odd ? rte_bswap16(part) : part;
		is_odd ^= n & 1;
		len -= n;
		off = 0;
	}
	return len == 0;
}

uint16_t csum_ip4_header(const void *header, uint8_t ihl_bytes)
{
	uint16_t field;
	uint64_t sum = csum_add(0, header, ihl_bytes);

	memcpy(&field, (const uint8_t *)header + offsetof(struct rte_ipv4_hdr, hdr_checksum), 2);
	return (uint16_t)~csum_fold(sum + (uint16_t)~field);
}

/* Where an unfinished checksum belongs. */
struct unfinished {
	uint64_t pseudo;
	uint32_t l4_off;
	uint32_t l4_len;
	uint32_t field_off; /* in the packet */
	bool is_udp;
};

static bool unfinished_find(const struct rte_mbuf *m, struct unfinished *out)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	uint32_t l3_off = m->l2_len, l3_len = m->l3_len, end;
	uint8_t buf[sizeof(struct rte_ipv6_hdr)];

	if (l4 == RTE_MBUF_F_TX_TCP_CKSUM || (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0)
		out->is_udp = false;
	else if (l4 == RTE_MBUF_F_TX_UDP_CKSUM || (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0)
		out->is_udp = true;
	else
		return false;
	const uint8_t proto = out->is_udp ? IPPROTO_UDP : IPPROTO_TCP;

	if ((m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0) {
		const struct rte_ipv6_hdr *ip = rte_pktmbuf_read(m, l3_off, sizeof(*ip), buf);

		if (ip == NULL || (*(const uint8_t *)ip >> 4) != 6 || l3_len < sizeof(*ip))
			return false;
		end = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
		if (end < l3_len)
			return false;
		out->l4_len = end - l3_len;
		out->pseudo = csum_pseudo_ip6(ip->src_addr, ip->dst_addr, proto, out->l4_len);
	} else {
		const struct rte_ipv4_hdr *ip = rte_pktmbuf_read(m, l3_off, sizeof(*ip), buf);

		if (ip == NULL || (ip->version_ihl >> 4) != 4 || rte_ipv4_hdr_len(ip) != l3_len ||
			ip->next_proto_id != proto)
			return false;
		end = rte_be_to_cpu_16(ip->total_length);
		if (end < l3_len)
			return false;
		out->l4_len = end - l3_len;
		out->pseudo = csum_pseudo_ip4(
			ip->src_addr, ip->dst_addr, proto, (uint16_t)out->l4_len);
	}
	out->l4_off = l3_off + l3_len;
	out->field_off = out->l4_off + (out->is_udp ? UDP_CSUM_OFF : TCP_CSUM_OFF);
	return out->l4_len >=
		(out->is_udp ? sizeof(struct rte_udp_hdr) : sizeof(struct rte_tcp_hdr)) &&
		out->l4_len <= m->pkt_len && out->l4_off <= m->pkt_len - out->l4_len;
}

int csum_finish(struct rte_mbuf *m)
{
	struct unfinished u;
	uint16_t field, csum;

	if (!csum_is_unfinished(m))
		return 0;
	if (!unfinished_find(m, &u) || !chain_read(m, u.field_off, &field, 2) ||
		!csum_add_mbuf(&u.pseudo, m, u.l4_off, u.l4_len))
		return -EINVAL;
	/* The field was summed too: take it out again. Its offset in the L4 header is even. */
	csum = (uint16_t)~csum_fold(u.pseudo + (uint16_t)~field);
	if (csum == 0 && u.is_udp)
		csum = 0xffff;
	chain_write(m, u.field_off, &csum, 2);
	m->ol_flags &= ~(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG |
		RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	return 0;
}

int csum_prepare(struct rte_mbuf *m)
{
	struct unfinished u;
	uint16_t sum;

	if (!csum_is_unfinished(m))
		return 0;
	if (!unfinished_find(m, &u))
		return -EINVAL;
	sum = csum_fold(u.pseudo);
	return chain_write(m, u.field_off, &sum, 2) ? 0 : -EINVAL;
}

enum csum_verdict csum_verify_ip4(const struct rte_mbuf *m, uint32_t l3_off)
{
	uint8_t buf[60];
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_read(m, l3_off, sizeof(*ip), buf);
	uint8_t ihl_bytes;

	if (ip == NULL || (ip->version_ihl >> 4) != 4)
		return CSUM_BAD;
	ihl_bytes = rte_ipv4_hdr_len(ip);
	if (ihl_bytes < sizeof(*ip))
		return CSUM_BAD;
	ip = rte_pktmbuf_read(m, l3_off, ihl_bytes, buf);
	return ip != NULL && csum_fold(csum_add(0, ip, ihl_bytes)) == 0xffff ? CSUM_OK : CSUM_BAD;
}

static enum csum_verdict verify_sum(
	const struct rte_mbuf *m, uint32_t l4_off, uint32_t l4_len, uint8_t proto, uint64_t pseudo)
{
	uint16_t field;

	switch (proto) {
	case IPPROTO_TCP:
		if (l4_len < sizeof(struct rte_tcp_hdr))
			return CSUM_BAD;
		break;
	case IPPROTO_UDP: {
		struct rte_udp_hdr udp;
		uint16_t len;

		if (l4_len < sizeof(udp) || !chain_read(m, l4_off, &udp, sizeof(udp)))
			return CSUM_BAD;
		len = rte_be_to_cpu_16(udp.dgram_len);
		if (len < sizeof(udp) || len > l4_len)
			return CSUM_BAD;
		field = udp.dgram_cksum;
		if (field == 0)
			return CSUM_ABSENT;
		/* The datagram may end before the packet does; its own length counts (RFC 768). */
		pseudo += (uint64_t)rte_cpu_to_be_16(len) +
			(uint16_t)~rte_cpu_to_be_16((uint16_t)l4_len);
		l4_len = len;
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (l4_len < 4)
			return CSUM_BAD;
		break;
	default:
		return CSUM_UNVERIFIABLE;
	}
	if (!csum_add_mbuf(&pseudo, m, l4_off, l4_len))
		return CSUM_BAD;
	return csum_fold(pseudo) == 0xffff ? CSUM_OK : CSUM_BAD;
}

static enum csum_verdict verify_l4_ip4(const struct rte_mbuf *m, uint32_t l3_off)
{
	struct rte_ipv4_hdr ip;
	uint32_t total, ihl_bytes, l4_len;
	uint64_t pseudo = 0;

	if (!chain_read(m, l3_off, &ip, sizeof(ip)))
		return CSUM_BAD;
	total = rte_be_to_cpu_16(ip.total_length);
	ihl_bytes = rte_ipv4_hdr_len(&ip);
	if (ihl_bytes < sizeof(ip) || total < ihl_bytes || total > m->pkt_len - l3_off)
		return CSUM_BAD;
	if ((ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0 ||
		ip.next_proto_id == IPPROTO_ICMPV6)
		return CSUM_UNVERIFIABLE;
	l4_len = total - ihl_bytes;
	if (ip.next_proto_id != IPPROTO_ICMP)
		pseudo = csum_pseudo_ip4(
			ip.src_addr, ip.dst_addr, ip.next_proto_id, (uint16_t)l4_len);
	return verify_sum(m, l3_off + ihl_bytes, l4_len, ip.next_proto_id, pseudo);
}

static enum csum_verdict verify_l4_ip6(const struct rte_mbuf *m, uint32_t l3_off)
{
	struct rte_ipv6_hdr ip;
	struct ip6ext ext;
	uint32_t end, l4_len;

	if (!chain_read(m, l3_off, &ip, sizeof(ip)) || !ip6ext_walk(m, l3_off, &ext))
		return CSUM_BAD;
	end = (uint32_t)sizeof(ip) + rte_be_to_cpu_16(ip.payload_len);
	if (end > m->pkt_len - l3_off || ext.l4_off > l3_off + end)
		return CSUM_BAD;
	if (ext.is_fragment || ext.proto == IPPROTO_ICMP)
		return CSUM_UNVERIFIABLE;
	l4_len = l3_off + end - ext.l4_off;
	return verify_sum(m, ext.l4_off, l4_len, ext.proto,
		csum_pseudo_ip6(ip.src_addr, ip.dst_addr, ext.proto, l4_len));
}

enum csum_verdict csum_verify_l4(const struct rte_mbuf *m, uint32_t l3_off)
{
	uint8_t version;

	if (!chain_read(m, l3_off, &version, 1))
		return CSUM_BAD;
	switch (version >> 4) {
	case 4:
		return verify_l4_ip4(m, l3_off);
	case 6:
		return verify_l4_ip6(m, l3_off);
	default:
		return CSUM_BAD;
	}
}
