/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/gso.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"

#define META_FLAGS                                                                                 \
	(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG |                   \
		RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6)

/* A super-frame, taken apart. */
struct plan {
	uint8_t headers[GSO_HEADERS_MAX];
	uint32_t headers_len;
	uint32_t l3_off, l4_off;
	uint32_t l4_len; /* header */
	uint32_t payload_len;
	uint32_t segsz;
	uint32_t n;
	bool is_v6;
	bool is_udp;
};

static bool plan_l3(const struct rte_mbuf *m, struct plan *p, uint32_t *out_l3_end)
{
	const uint8_t proto = p->is_udp ? IPPROTO_UDP : IPPROTO_TCP;

	if (p->is_v6) {
		const struct rte_ipv6_hdr *ip = (const void *)(p->headers + p->l3_off);

		/* A fragment cannot be a super-frame; of other extension headers the driver gave
		 * the length. */
		if (m->l3_len < sizeof(*ip) || (p->headers[p->l3_off] >> 4) != 6 ||
			ip->proto == IPPROTO_FRAGMENT ||
			(m->l3_len == sizeof(*ip) && ip->proto != proto))
			return false;
		*out_l3_end = p->l3_off + (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	} else {
		const struct rte_ipv4_hdr *ip = (const void *)(p->headers + p->l3_off);

		if (m->l3_len < sizeof(*ip) || (ip->version_ihl >> 4) != 4 ||
			rte_ipv4_hdr_len(ip) != m->l3_len || ip->next_proto_id != proto ||
			(ip->fragment_offset &
				RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0)
			return false;
		*out_l3_end = p->l3_off + rte_be_to_cpu_16(ip->total_length);
	}
	return *out_l3_end >= p->headers_len && *out_l3_end <= m->pkt_len;
}

static int plan_make(const struct rte_mbuf *m, uint16_t mtu, struct plan *p)
{
	uint32_t l3_end, fixed;

	p->is_udp = (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0;
	p->is_v6 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) != 0;
	p->l3_off = m->l2_len;
	p->l4_off = p->l3_off + m->l3_len;
	p->l4_len = p->is_udp ? (uint32_t)sizeof(struct rte_udp_hdr) : m->l4_len;
	p->headers_len = p->l4_off + p->l4_len;
	p->segsz = m->tso_segsz;
	if (p->segsz == 0 || p->headers_len > sizeof(p->headers) ||
		!chain_read(m, 0, p->headers, p->headers_len) || !plan_l3(m, p, &l3_end))
		return -EINVAL;
	if (!p->is_udp) {
		const struct rte_tcp_hdr *tcp = (const void *)(p->headers + p->l4_off);

		if (p->l4_len < sizeof(*tcp) || (uint32_t)(tcp->data_off >> 4) * 4 != p->l4_len)
			return -EINVAL;
	}
	p->payload_len = l3_end - p->headers_len;
	fixed = p->headers_len - p->l3_off;
	if (mtu != 0 && fixed + RTE_MIN(p->segsz, p->payload_len) > mtu) {
		if (p->is_udp || fixed >= mtu)
			return -EMSGSIZE;
		p->segsz = mtu - fixed;
	}
	p->n = p->payload_len == 0 ? 1 : (p->payload_len + p->segsz - 1) / p->segsz;
	return 0;
}

uint16_t gso_n_segments(const struct rte_mbuf *m)
{
	uint32_t headers_len = (uint32_t)m->l2_len + m->l3_len + m->l4_len, n;

	if (!gso_is_superframe(m) || m->tso_segsz == 0 || m->pkt_len <= headers_len)
		return 1;
	n = (m->pkt_len - headers_len + m->tso_segsz - 1) / m->tso_segsz;
	return (uint16_t)RTE_MIN(n, (uint32_t)UINT16_MAX);
}

static void patch_l3(const struct plan *p, uint8_t *headers, uint32_t i, uint32_t len)
{
	if (p->is_v6) {
		struct rte_ipv6_hdr *ip = (void *)(headers + p->l3_off);

		ip->payload_len = rte_cpu_to_be_16(
			(uint16_t)(p->l4_off - p->l3_off - sizeof(*ip) + p->l4_len + len));
	} else {
		struct rte_ipv4_hdr *ip = (void *)(headers + p->l3_off);
		uint16_t id = rte_be_to_cpu_16(ip->packet_id);

		ip->total_length = rte_cpu_to_be_16((uint16_t)(p->headers_len - p->l3_off + len));
		ip->packet_id = rte_cpu_to_be_16((uint16_t)(id + i));
		ip->hdr_checksum = csum_ip4_header(ip, (uint8_t)(p->l4_off - p->l3_off));
	}
}

static void patch_l4(const struct plan *p, uint8_t *headers, uint32_t i, uint32_t len)
{
	if (p->is_udp) {
		struct rte_udp_hdr *udp = (void *)(headers + p->l4_off);

		udp->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*udp) + len));
	} else {
		struct rte_tcp_hdr *tcp = (void *)(headers + p->l4_off);

		tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + i * p->segsz);
		if (i != p->n - 1)
			tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		if (i != 0)
			tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
	}
}

/* Fills an empty mbuf with segment i and finishes its checksum. */
static bool segment_fill(const struct rte_mbuf *m, struct rte_mempool *pool, const struct plan *p,
	uint32_t i, struct chain_cursor *src, struct rte_mbuf *seg)
{
	uint32_t len = RTE_MIN(p->segsz, p->payload_len - i * p->segsz);
	struct rte_mbuf *last = seg;
	uint8_t *headers = (uint8_t *)rte_pktmbuf_append(seg, (uint16_t)p->headers_len);

	if (headers == NULL)
		return false;
	memcpy(headers, p->headers, p->headers_len);
	patch_l3(p, headers, i, len);
	patch_l4(p, headers, i, len);
	if (!chain_append(seg, &last, pool, src, len))
		return false;
	seg->ol_flags = (m->ol_flags & META_FLAGS) |
		(p->is_udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM);
	seg->l2_len = m->l2_len;
	seg->l3_len = m->l3_len;
	seg->l4_len = (uint8_t)p->l4_len;
	seg->port = m->port;
	seg->hash = m->hash;
	return csum_finish(seg) == 0;
}

int gso_segment(struct rte_mbuf *m, struct rte_mempool *pool, uint16_t mtu, struct rte_mbuf **out,
	uint16_t max)
{
	struct chain_cursor src;
	struct plan p;
	uint32_t i;
	int err;

	if (max == 0)
		return -E2BIG;
	if (!gso_is_superframe(m)) {
		err = csum_finish(m);
		out[0] = m;
		return err < 0 ? err : 1;
	}
	err = plan_make(m, mtu, &p);
	if (err < 0)
		return err;
	if (p.n > max)
		return -E2BIG;
	if (p.n == 1) {
		err = csum_finish(m);
		out[0] = m;
		return err < 0 ? err : 1;
	}
	if (rte_pktmbuf_alloc_bulk(pool, out, p.n) != 0)
		return -ENOMEM;
	chain_cursor_init(&src, m, p.headers_len);
	for (i = 0; i < p.n; i++) {
		if (!segment_fill(m, pool, &p, i, &src, out[i])) {
			rte_pktmbuf_free_bulk(out, p.n);
			return -ENOMEM;
		}
	}
	rte_pktmbuf_free(m);
	return (int)p.n;
}
