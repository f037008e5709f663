/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/tcp_reset.h"

#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_tcp.h>

#include "datapath/base/addr.h"
#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/ip6ext.h"

#define RESET_TTL 64

/* A segment as it came, or one that is to be sent. */
struct segment {
	struct ip_addr src, dst;
	rte_be16_t sport, dport;
	uint32_t seq, ack;
	uint32_t len; /* SEG.LEN: data, SYN and FIN */
	uint8_t flags;
};

static bool is_one_host(const struct ip_addr *a)
{
	uint8_t first = a->b[12];

	if (ip_is_v4(a)) /* 0/8, 127/8, 224/4, 240/4 */
		return first != 0 && first != 127 && first < 224;
	return a->b[0] != 0xff && !(a->q[0] == 0 && a->w[2] == 0 && a->w[3] <= RTE_BE32(1));
}

/* Addresses, and where the TCP header of a whole packet is; its length with data, 0: no TCP segment. */
static uint32_t find_tcp(
	const struct rte_mbuf *m, uint16_t l3_off, struct segment *seg, uint32_t *out_off)
{
	struct rte_ipv4_hdr ip4;
	struct rte_ipv6_hdr ip6;
	struct ip6ext ext;
	uint32_t end;

	if (chain_read(m, l3_off, &ip4, sizeof(ip4)) && ip4.version_ihl >> 4 == 4) {
		seg->src = ip_from_v4(ip4.src_addr);
		seg->dst = ip_from_v4(ip4.dst_addr);
		*out_off = l3_off + rte_ipv4_hdr_len(&ip4);
		end = l3_off + (uint32_t)rte_be_to_cpu_16(ip4.total_length);
		if (rte_ipv4_hdr_len(&ip4) < sizeof(ip4) || end > m->pkt_len || end < *out_off)
			return 0;
		return ip4.next_proto_id == IPPROTO_TCP ? end - *out_off : 0;
	}
	if (!chain_read(m, l3_off, &ip6, sizeof(ip6)) || !ip6ext_walk(m, l3_off, &ext))
		return 0;
	memcpy(seg->src.b, ip6.src_addr, 16);
	memcpy(seg->dst.b, ip6.dst_addr, 16);
	*out_off = ext.l4_off;
	end = l3_off + (uint32_t)sizeof(ip6) + rte_be_to_cpu_16(ip6.payload_len);
	if (ip_is_v4(&seg->src) || ip_is_v4(&seg->dst)) /* v4-mapped: on no wire */
		return 0;
	return ext.proto == IPPROTO_TCP && end > ext.l4_off ? end - ext.l4_off : 0;
}

static bool segment_read(const struct rte_mbuf *m, uint16_t l3_off, struct segment *out)
{
	/* Fragments are unverifiable. */
	enum csum_verdict verdict = csum_verify_l4(m, l3_off);
	struct rte_tcp_hdr tcp;
	uint32_t off, len, header;

	if (verdict != CSUM_OK && !(verdict == CSUM_BAD && csum_is_unfinished(m)))
		return false;
	len = find_tcp(m, l3_off, out, &off);
	if (len < sizeof(tcp) || !chain_read(m, off, &tcp, sizeof(tcp)))
		return false;
	header = (uint32_t)(tcp.data_off >> 4) * 4;
	if (header < sizeof(tcp) || header > len || (tcp.tcp_flags & RTE_TCP_RST_FLAG) != 0)
		return false;
	out->sport = tcp.src_port;
	out->dport = tcp.dst_port;
	out->seq = rte_be_to_cpu_32(tcp.sent_seq);
	out->ack = rte_be_to_cpu_32(tcp.recv_ack);
	out->flags = tcp.tcp_flags;
	out->len = len - header + ((tcp.tcp_flags & RTE_TCP_SYN_FLAG) != 0) +
		((tcp.tcp_flags & RTE_TCP_FIN_FLAG) != 0);
	return is_one_host(&out->src) && is_one_host(&out->dst);
}

/* Fills the IP header; the sum of the pseudo header. */
static uint64_t write_ip4(struct rte_ipv4_hdr *ip, const struct segment *seg)
{
	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = RTE_BE16(sizeof(*ip) + sizeof(struct rte_tcp_hdr)),
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = RESET_TTL,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = ip_v4(&seg->src),
		.dst_addr = ip_v4(&seg->dst),
	};
	ip->hdr_checksum = csum_ip4_header(ip, sizeof(*ip));
	return csum_pseudo_ip4(ip->src_addr, ip->dst_addr, IPPROTO_TCP, sizeof(struct rte_tcp_hdr));
}

static uint64_t write_ip6(struct rte_ipv6_hdr *ip, const struct segment *seg)
{
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = RTE_BE32(0x60000000),
		.payload_len = RTE_BE16(sizeof(struct rte_tcp_hdr)),
		.proto = IPPROTO_TCP,
		.hop_limits = RESET_TTL,
	};
	memcpy(ip->src_addr, seg->src.b, 16);
	memcpy(ip->dst_addr, seg->dst.b, 16);
	return csum_pseudo_ip6(ip->src_addr, ip->dst_addr, IPPROTO_TCP, sizeof(struct rte_tcp_hdr));
}

static struct rte_mbuf *segment_write(const struct segment *seg, struct rte_mempool *pool)
{
	struct rte_tcp_hdr tcp = {
		.src_port = seg->sport,
		.dst_port = seg->dport,
		.sent_seq = rte_cpu_to_be_32(seg->seq),
		.recv_ack = rte_cpu_to_be_32(seg->ack),
		.data_off = sizeof(tcp) / 4 << 4,
		.tcp_flags = seg->flags,
	};
	bool is_v4 = ip_is_v4(&seg->src);
	uint16_t l3_len = is_v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr);
	struct {
		struct rte_ether_hdr eth;
		uint8_t rest[sizeof(struct rte_ipv6_hdr) + sizeof(tcp)];
	} frame = { .eth.ether_type = is_v4 ? RTE_BE16(RTE_ETHER_TYPE_IPV4)
					    : RTE_BE16(RTE_ETHER_TYPE_IPV6) };
	struct rte_mbuf *m;
	uint64_t sum;

	sum = is_v4 ? write_ip4((void *)frame.rest, seg) : write_ip6((void *)frame.rest, seg);
	tcp.cksum = (uint16_t)~csum_fold(csum_add(sum, &tcp, sizeof(tcp)));
	memcpy(frame.rest + l3_len, &tcp, sizeof(tcp));
	m = chain_create(pool, &frame, (uint16_t)(sizeof(frame.eth) + l3_len + sizeof(tcp)));
	if (m == NULL)
		return NULL;
	m->l2_len = RTE_ETHER_HDR_LEN;
	m->l3_len = l3_len & 0x1ff;
	return m;
}

struct rte_mbuf *tcp_reset_create(
	const struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool)
{
	struct segment seg, reset;

	if (!segment_read(m, l3_off, &seg))
		return NULL;
	reset = (struct segment){
		.src = seg.dst,
		.dst = seg.src,
		.sport = seg.dport,
		.dport = seg.sport,
		.flags = RTE_TCP_RST_FLAG,
	};
	if ((seg.flags & RTE_TCP_ACK_FLAG) != 0) {
		reset.seq = seg.ack;
	} else {
		reset.ack = seg.seq + seg.len;
		reset.flags |= RTE_TCP_ACK_FLAG;
	}
	return segment_write(&reset, pool);
}

struct rte_mbuf *tcp_reset_for(const struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool)
{
	struct segment seg;

	if (!segment_read(m, l3_off, &seg))
		return NULL;
	seg.seq += (seg.flags & RTE_TCP_SYN_FLAG) != 0;
	if ((seg.flags & RTE_TCP_ACK_FLAG) == 0)
		seg.ack = 0;
	seg.flags = RTE_TCP_RST_FLAG | (seg.flags & RTE_TCP_ACK_FLAG);
	return segment_write(&seg, pool);
}
