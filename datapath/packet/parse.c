/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/parse.h"

#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "datapath/packet/icmp_query.h"

#define IP4_OPTION_END 0
#define IP4_OPTION_NOP 1
#define IP4_OPTION_LSRR 131
#define IP4_OPTION_SSRR 137
#define IP6_EXT_MAX 8
#define ICMP6_DST_UNREACH 1
#define ICMP6_INFO_FIRST 128
#define ICMP6_ND_FIRST 133
#define ICMP6_ND_LAST 137

/* What a parser may look at: contiguous bytes, and how long the packet really is. */
struct view {
	const uint8_t *data;
	uint32_t data_len;
	uint32_t pkt_len;
	bool is_quote;
};

static const void *view_at(const struct view *v, uint32_t off, uint32_t len)
{
	return off + len <= v->data_len ? v->data + off : NULL;
}

static bool icmp4_is_error(uint8_t type)
{
	return type == RTE_IP_ICMP_ECHO_REPLY
		? false
		: type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static enum drop_reason parse_icmp(const struct view *v, bool is_v6, struct parsed *out)
{
	const struct rte_icmp_hdr *icmp = view_at(v, out->l4_off, sizeof(*icmp));

	if (icmp == NULL)
		return DROP_L4_TRUNCATED;
	out->icmp_type = icmp->icmp_type;
	out->icmp_code = icmp->icmp_code;
	out->has_l4 = true;
	if (is_v6) {
		out->is_icmp_error = icmp->icmp_type < ICMP6_INFO_FIRST;
		out->is_nd = icmp->icmp_type >= ICMP6_ND_FIRST && icmp->icmp_type <= ICMP6_ND_LAST;
	} else {
		out->is_icmp_error = icmp4_is_error(icmp->icmp_type);
	}
	if (icmp_message_has_ident(icmp_message_of(is_v6, icmp->icmp_type)))
		out->sport = out->dport = icmp->icmp_ident;
	return DROP_NONE;
}

static enum drop_reason parse_tcp(const struct view *v, struct parsed *out, uint32_t l4_len)
{
	const struct rte_tcp_hdr *tcp = view_at(v, out->l4_off, v->is_quote ? 8 : sizeof(*tcp));

	if (tcp == NULL)
		return DROP_L4_TRUNCATED;
	out->sport = tcp->src_port;
	out->dport = tcp->dst_port;
	out->has_l4 = true;
	if (v->is_quote)
		return DROP_NONE;
	if ((tcp->data_off >> 4) < 5 || (uint32_t)(tcp->data_off >> 4) * 4 > l4_len)
		return DROP_L4_TRUNCATED;
	out->tcp_flags = tcp->tcp_flags;
	return DROP_NONE;
}

/* What an SCTP packet's first chunk (RFC 9260 s. 3.2) means in TCP's flags: an INIT opens, an ABORT or SHUTDOWN COMPLETE ends. */
static uint8_t sctp_flags(const uint8_t *chunk)
{
	switch (chunk != NULL ? *chunk : 0) {
	case 1: /* INIT */
		return RTE_TCP_SYN_FLAG;
	case 2: /* INIT ACK */
		return RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG;
	case 6:	 /* ABORT */
	case 14: /* SHUTDOWN COMPLETE */
		return RTE_TCP_RST_FLAG;
	case 7: /* SHUTDOWN */
	case 8: /* SHUTDOWN ACK */
		return RTE_TCP_FIN_FLAG | RTE_TCP_ACK_FLAG;
	default:
		return RTE_TCP_ACK_FLAG;
	}
}

static enum drop_reason parse_l4(const struct view *v, struct parsed *out)
{
	uint32_t l4_len = out->l3_off + out->l3_len - out->l4_off;
	const struct rte_udp_hdr *udp;

	switch (out->proto) {
	case IPPROTO_TCP:
		return parse_tcp(v, out, l4_len);
	case IPPROTO_UDP:
		udp = view_at(v, out->l4_off, sizeof(*udp));
		if (udp == NULL || l4_len < sizeof(*udp))
			return DROP_L4_TRUNCATED;
		if (!v->is_quote && !out->is_frag &&
			(rte_be_to_cpu_16(udp->dgram_len) < sizeof(*udp) ||
				rte_be_to_cpu_16(udp->dgram_len) > l4_len))
			return DROP_L4_TRUNCATED;
		out->sport = udp->src_port;
		out->dport = udp->dst_port;
		out->has_l4 = true;
		return DROP_NONE;
	case IPPROTO_SCTP: {
		const rte_be16_t *ports = view_at(v, out->l4_off, 4);

		if (ports == NULL || l4_len < (v->is_quote ? 4 : 12))
			return DROP_L4_TRUNCATED;
		out->sport = ports[0];
		out->dport = ports[1];
		out->has_l4 = true;
		out->tcp_flags = sctp_flags(l4_len > 12 ? view_at(v, out->l4_off + 12, 1) : NULL);
		return DROP_NONE;
	}
	case IPPROTO_ICMP:
		return out->l3 == PARSED_IP4 ? parse_icmp(v, false, out) : DROP_NONE;
	case IPPROTO_ICMPV6:
		return out->l3 == PARSED_IP6 ? parse_icmp(v, true, out) : DROP_NONE;
	default:
		return DROP_NONE;
	}
}

/* Source routes are refused (RFC 7126 s. 4.3, 4.4); other options pass. */
static enum drop_reason ip4_options(const uint8_t *opt, uint32_t len)
{
	for (uint32_t i = 0; i < len;) {
		if (opt[i] == IP4_OPTION_END)
			return DROP_NONE;
		if (opt[i] == IP4_OPTION_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= len || opt[i + 1] < 2 || i + opt[i + 1] > len)
			return DROP_IP4_HEADER;
		if (opt[i] == IP4_OPTION_LSRR || opt[i] == IP4_OPTION_SSRR)
			return DROP_IP4_OPTIONS;
		i += opt[i + 1];
	}
	return DROP_NONE;
}

static enum drop_reason parse_ip4(const struct view *v, struct parsed *out)
{
	const struct rte_ipv4_hdr *ip = view_at(v, out->l3_off, sizeof(*ip));
	enum drop_reason reason;
	uint16_t frag;
	uint32_t ihl;

	if (ip == NULL || ip->version_ihl >> 4 != 4)
		return DROP_IP4_HEADER;
	ihl = rte_ipv4_hdr_len(ip);
	out->l3_len = rte_be_to_cpu_16(ip->total_length);
	if (ihl < sizeof(*ip) || view_at(v, out->l3_off, ihl) == NULL || out->l3_len < ihl ||
		(!v->is_quote && out->l3_off + out->l3_len > v->pkt_len))
		return DROP_IP4_HEADER;
	if (!v->is_quote && rte_raw_cksum(ip, ihl) != 0xffff)
		return DROP_IP4_CHECKSUM;
	out->src = ip_from_v4(ip->src_addr);
	out->dst = ip_from_v4(ip->dst_addr);
	out->ttl = ip->time_to_live;
	out->proto = ip->next_proto_id;
	out->is_ipsec = out->proto == IPPROTO_AH || out->proto == IPPROTO_ESP;
	out->l4_off = (uint16_t)(out->l3_off + ihl);
	frag = rte_be_to_cpu_16(ip->fragment_offset);
	out->may_fragment = (frag & RTE_IPV4_HDR_DF_FLAG) == 0;
	out->is_frag = (frag & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) != 0;
	out->is_first_frag = out->is_frag && (frag & RTE_IPV4_HDR_OFFSET_MASK) == 0;
	reason = ip4_options((const uint8_t *)(ip + 1), ihl - (uint32_t)sizeof(*ip));
	if (reason != DROP_NONE)
		return reason;
	if (out->is_frag) {
		uint32_t start = (uint32_t)(frag & RTE_IPV4_HDR_OFFSET_MASK) * 8,
			 len = out->l3_len - ihl;

		/* A datagram beyond 64 KiB, a middle part that is no multiple of 8, a first part too small to show its
		 * ports (RFC 1858, RFC 3128). */
		if (len == 0 || start + len > UINT16_MAX ||
			((frag & RTE_IPV4_HDR_MF_FLAG) != 0 && len % 8 != 0) ||
			(out->is_first_frag && out->proto == IPPROTO_TCP && len < 20) ||
			(start == 8 && out->proto == IPPROTO_TCP))
			return v->is_quote ? DROP_NONE : DROP_FRAG_BAD;
		if (!out->is_first_frag)
			return DROP_NONE;
	}
	return parse_l4(v, out);
}

/* A datagram beyond 64 KiB, an empty part, a middle part that is no multiple of 8 (RFC 8200 s. 4.5). */
static bool ip6_fragment_bad(const struct parsed *out, uint16_t frag)
{
	uint32_t end = out->l3_off + out->l3_len;
	uint32_t len = end > out->l4_off ? end - out->l4_off : 0;

	return len == 0 || (frag & 0xfff8u) + len > UINT16_MAX || ((frag & 1) != 0 && len % 8 != 0);
}

/* Extension headers a router may see (RFC 8200 s. 4.1); routing header type 0 is refused (RFC 5095). */
static enum drop_reason ip6_extensions(const struct view *v, struct parsed *out)
{
	uint8_t next = out->proto;

	for (unsigned int i = 0; i <= IP6_EXT_MAX; i++) {
		const uint8_t *ext;
		uint16_t frag;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
			next != IPPROTO_FRAGMENT && next != IPPROTO_AH) {
			out->proto = next;
			out->is_ipsec |= next == IPPROTO_ESP;
			return DROP_NONE;
		}
		out->is_ipsec |= next == IPPROTO_AH;
		ext = view_at(v, out->l4_off, 8);
		if (ext == NULL || i == IP6_EXT_MAX || (next == IPPROTO_HOPOPTS && i != 0) ||
			(next == IPPROTO_ROUTING && ext[2] == 0))
			return DROP_IP6_EXTENSION;
		if (next == IPPROTO_FRAGMENT) {
			frag = rte_be_to_cpu_16(*(const rte_be16_t *)&ext[2]);
			out->is_frag = true;
			out->is_first_frag = frag >> 3 == 0;
			out->l4_off += 8;
			if (!v->is_quote && ip6_fragment_bad(out, frag))
				return DROP_FRAG_BAD;
			out->proto = ext[0];
			if (!out->is_first_frag)
				return DROP_NONE;
		} else {
			out->l4_off = (uint16_t)(out->l4_off +
				(next == IPPROTO_AH ? (ext[1] + 2u) * 4 : (ext[1] + 1u) * 8));
		}
		if (out->l4_off > out->l3_off + out->l3_len || out->l4_off > v->data_len)
			return DROP_IP6_EXTENSION;
		next = ext[0];
	}
	return DROP_IP6_EXTENSION;
}

static enum drop_reason parse_ip6(const struct view *v, struct parsed *out)
{
	const struct rte_ipv6_hdr *ip = view_at(v, out->l3_off, sizeof(*ip));
	enum drop_reason reason;

	if (ip == NULL || (rte_be_to_cpu_32(ip->vtc_flow) >> 28) != 6)
		return DROP_IP6_HEADER;
	out->l3_len = (uint32_t)sizeof(*ip) + rte_be_to_cpu_16(ip->payload_len);
	if (!v->is_quote && out->l3_off + out->l3_len > v->pkt_len)
		return DROP_IP6_HEADER;
	memcpy(out->src.b, ip->src_addr, 16);
	memcpy(out->dst.b, ip->dst_addr, 16);
	/* A v4-mapped address never appears on a wire (RFC 4291), and in leat it would be taken for IPv4. */
	if (ip_is_v4(&out->src) || ip_is_v4(&out->dst))
		return DROP_IP_MARTIAN;
	out->ttl = ip->hop_limits;
	out->proto = ip->proto;
	out->l4_off = (uint16_t)(out->l3_off + sizeof(*ip));
	reason = ip6_extensions(v, out);
	if (reason != DROP_NONE || (out->is_frag && !out->is_first_frag))
		return reason;
	/* A first part too small to show its ports and flags (RFC 7112). */
	if (out->is_frag && !v->is_quote && out->proto == IPPROTO_TCP &&
		out->l3_off + out->l3_len < out->l4_off + sizeof(struct rte_tcp_hdr))
		return DROP_FRAG_BAD;
	return parse_l4(v, out);
}

enum drop_reason parse_l3(const uint8_t *data, uint32_t data_len, uint32_t pkt_len, uint16_t l3_off,
	enum parsed_l3 l3, bool is_quote, struct parsed *out)
{
	struct view v = {
		.data = data, .data_len = data_len, .pkt_len = pkt_len, .is_quote = is_quote
	};

	*out = (struct parsed){ .l3 = (uint8_t)l3, .l3_off = l3_off };
	return l3 == PARSED_IP4 ? parse_ip4(&v, out) : parse_ip6(&v, out);
}

enum drop_reason parse_frame(const struct rte_mbuf *m, struct parsed *out)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_ether_hdr *eth = (const struct rte_ether_hdr *)data;
	uint32_t data_len = rte_pktmbuf_data_len(m), pkt_len = rte_pktmbuf_pkt_len(m);

	*out = (struct parsed){ .l3_off = RTE_ETHER_HDR_LEN };
	if (data_len < RTE_ETHER_HDR_LEN)
		return DROP_ETH_TRUNCATED;
	switch (rte_be_to_cpu_16(eth->ether_type)) {
	case RTE_ETHER_TYPE_IPV4:
		return parse_l3(data, data_len, pkt_len, RTE_ETHER_HDR_LEN, PARSED_IP4, false, out);
	case RTE_ETHER_TYPE_IPV6:
		return parse_l3(data, data_len, pkt_len, RTE_ETHER_HDR_LEN, PARSED_IP6, false, out);
	case RTE_ETHER_TYPE_ARP:
		out->l3 = PARSED_ARP;
		return DROP_NONE;
	case RTE_ETHER_TYPE_VLAN:
	case RTE_ETHER_TYPE_QINQ:
		return DROP_ETH_VLAN;
	default:
		return DROP_ETH_TYPE_UNKNOWN;
	}
}
