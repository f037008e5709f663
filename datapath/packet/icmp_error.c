/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/icmp_error.h"

#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/ip6ext.h"

#define IP4_TOTAL_MAX 576
#define IP6_TOTAL_MAX 1280
#define ICMP_HEADER 8
#define ERROR_TTL 64
#define TOS_INTERNETWORK_CONTROL 0xc0

static const struct {
	uint8_t type4, code4, type6, code6;
} wire[ICMP_ERROR_N] = {
	[ICMP_ERROR_TTL_EXCEEDED] = { 11, 0, 3, 0 },
	[ICMP_ERROR_NO_ROUTE] = { 3, 0, 1, 0 },
	[ICMP_ERROR_HOST_UNREACHABLE] = { 3, 1, 1, 3 },
	[ICMP_ERROR_PROTO_UNREACHABLE] = { 3, 2, 4, 1 },
	[ICMP_ERROR_PORT_UNREACHABLE] = { 3, 3, 1, 4 },
	[ICMP_ERROR_TOO_BIG] = { 3, 4, 2, 0 },
	[ICMP_ERROR_PROHIBITED] = { 3, 13, 1, 1 },
};

/* ICMPv4 messages that are known not to be errors. */
static bool is_icmp4_query(uint8_t type)
{
	switch (type) {
	case 0: /* echo reply */
	case 8: /* echo */
	case 9: /* router advertisement, solicitation */
	case 10:
	case 13: /* timestamp */
	case 14:
	case 15: /* information */
	case 16:
	case 17: /* address mask */
	case 18:
	case 42: /* extended echo, RFC 8335 */
	case 43:
		return true;
	default:
		return false;
	}
}

static bool allowed4(const struct rte_mbuf *m, uint16_t l3_off, bool is_l2_group)
{
	struct rte_ipv4_hdr ip;
	uint32_t src, dst;
	uint8_t type, ihl_bytes;

	if (is_l2_group || !chain_read(m, l3_off, &ip, sizeof(ip)))
		return false;
	ihl_bytes = rte_ipv4_hdr_len(&ip);
	if (ihl_bytes < sizeof(ip) || rte_be_to_cpu_16(ip.total_length) < ihl_bytes)
		return false;
	src = rte_be_to_cpu_32(ip.src_addr);
	dst = rte_be_to_cpu_32(ip.dst_addr);
	/* 0/8, 127/8, 224/4 and 240/4 (broadcast among them) are no single host. */
	if (src >> 24 == 0 || src >> 24 == 127 || src >> 28 >= 14 || dst >> 28 == 14 ||
		dst == UINT32_MAX) /* DPDK 22.11 has RTE_IPV4_BROADCAST wrong */
		return false;
	if ((ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) != 0)
		return false;
	if (ip.next_proto_id != IPPROTO_ICMP)
		return true;
	return rte_be_to_cpu_16(ip.total_length) > ihl_bytes &&
		chain_read(m, l3_off + ihl_bytes, &type, 1) && is_icmp4_query(type);
}

static bool allowed6(
	const struct rte_mbuf *m, uint16_t l3_off, enum icmp_error_kind kind, bool is_l2_group)
{
	static const uint8_t zero[15];
	struct rte_ipv6_hdr ip;
	struct ip6ext ext;
	uint8_t type;

	if (!chain_read(m, l3_off, &ip, sizeof(ip)) || !ip6ext_walk(m, l3_off, &ext))
		return false;
	if (kind != ICMP_ERROR_TOO_BIG && (is_l2_group || ip.dst_addr[0] == 0xff))
		return false;
	/* Unspecified, loopback, v4-mapped and multicast sources name no single host on the wire.
	 */
	if (ip.src_addr[0] == 0xff ||
		(memcmp(ip.src_addr, zero, 15) == 0 && ip.src_addr[15] <= 1) ||
		(memcmp(ip.src_addr, zero, 10) == 0 && ip.src_addr[10] == 0xff &&
			ip.src_addr[11] == 0xff))
		return false;
	if (ext.frag_start != 0)
		return false;
	if (ext.proto != IPPROTO_ICMPV6)
		return true;
	/* Errors have the high bit clear; 137 is Redirect. */
	return ext.l4_off < l3_off + sizeof(ip) + rte_be_to_cpu_16(ip.payload_len) &&
		chain_read(m, ext.l4_off, &type, 1) && (type & 0x80) != 0 && type != 137;
}

bool icmp_error_allowed(const struct rte_mbuf *m, uint16_t l3_off, enum icmp_error_kind kind)
{
	uint8_t version, dst_mac0 = 0;

	if ((unsigned int)kind >= ICMP_ERROR_N || !chain_read(m, l3_off, &version, 1))
		return false;
	if (l3_off >= RTE_ETHER_HDR_LEN && !chain_read(m, l3_off - RTE_ETHER_HDR_LEN, &dst_mac0, 1))
		return false;
	switch (version >> 4) {
	case 4:
		return allowed4(m, l3_off, (dst_mac0 & 1) != 0);
	case 6:
		return allowed6(m, l3_off, kind, (dst_mac0 & 1) != 0);
	default:
		return false;
	}
}

/* Fills headers (Ethernet, IP, ICMP) for a quote of quote_len bytes; returns their length. */
static uint16_t headers4(uint8_t *headers, const struct rte_ipv4_hdr *about, rte_be32_t src,
	enum icmp_error_kind kind, uint32_t param, uint32_t quote_len)
{
	struct rte_ether_hdr *eth = (void *)headers;
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.type_of_service = TOS_INTERNETWORK_CONTROL,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(ip) + ICMP_HEADER + quote_len)),
		.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = ERROR_TTL,
		.next_proto_id = IPPROTO_ICMP,
		.src_addr = src,
		.dst_addr = about->src_addr,
	};
	uint8_t *icmp = headers + RTE_ETHER_HDR_LEN + sizeof(ip);

	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	ip.hdr_checksum = csum_ip4_header(&ip, sizeof(ip));
	memcpy(headers + RTE_ETHER_HDR_LEN, &ip, sizeof(ip));
	icmp[0] = wire[kind].type4;
	icmp[1] = wire[kind].code4;
	if (kind == ICMP_ERROR_TOO_BIG) {
		/* RFC 1191 s. 4: the low 16 bits. */
		const uint16_t mtu = rte_cpu_to_be_16(
			(uint16_t)RTE_MIN(param, (uint32_t)UINT16_MAX));

		memcpy(icmp + 6, &mtu, 2);
	}
	return RTE_ETHER_HDR_LEN + sizeof(ip) + ICMP_HEADER;
}

static uint16_t headers6(uint8_t *headers, const struct rte_ipv6_hdr *about,
	const struct ip_addr *src, enum icmp_error_kind kind, uint32_t param, uint32_t quote_len)
{
	struct rte_ether_hdr *eth = (void *)headers;
	struct rte_ipv6_hdr ip = {
		.vtc_flow = RTE_BE32(0x60000000),
		.payload_len = rte_cpu_to_be_16((uint16_t)(ICMP_HEADER + quote_len)),
		.proto = IPPROTO_ICMPV6,
		.hop_limits = ERROR_TTL,
	};
	uint8_t *icmp = headers + RTE_ETHER_HDR_LEN + sizeof(ip);

	eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6);
	memcpy(ip.src_addr, src->b, 16);
	memcpy(ip.dst_addr, about->src_addr, 16);
	memcpy(headers + RTE_ETHER_HDR_LEN, &ip, sizeof(ip));
	icmp[0] = wire[kind].type6;
	icmp[1] = wire[kind].code6;
	if (kind == ICMP_ERROR_TOO_BIG || kind == ICMP_ERROR_PROTO_UNREACHABLE) {
		const uint32_t be = rte_cpu_to_be_32(param);

		memcpy(icmp + 4, &be, 4);
	}
	return RTE_ETHER_HDR_LEN + sizeof(ip) + ICMP_HEADER;
}

struct rte_mbuf *icmp_error_create(const struct rte_mbuf *m, uint16_t l3_off,
	enum icmp_error_kind kind, uint32_t param, const struct ip_addr *src,
	struct rte_mempool *pool)
{
	uint8_t headers[RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv6_hdr) + ICMP_HEADER] = { 0 };
	union {
		struct rte_ipv4_hdr v4;
		struct rte_ipv6_hdr v6;
	} about;
	struct chain_cursor quote;
	struct rte_mbuf *e, *last;
	uint32_t quote_len, l3_len, icmp_off;
	uint64_t sum = 0;
	uint16_t headers_len, csum;
	uint8_t version;

	if (!icmp_error_allowed(m, l3_off, kind) || !chain_read(m, l3_off, &version, 1))
		return NULL;
	const bool is_v4 = version >> 4 == 4;

	if (is_v4 != ip_is_v4(src))
		return NULL;
	if (is_v4) {
		(void)chain_read(m, l3_off, &about.v4, sizeof(about.v4));
		l3_len = sizeof(about.v4);
		quote_len = RTE_MIN((uint32_t)rte_be_to_cpu_16(about.v4.total_length),
			(uint32_t)(IP4_TOTAL_MAX - sizeof(about.v4) - ICMP_HEADER));
	} else {
		(void)chain_read(m, l3_off, &about.v6, sizeof(about.v6));
		l3_len = sizeof(about.v6);
		quote_len = RTE_MIN(
			(uint32_t)sizeof(about.v6) + rte_be_to_cpu_16(about.v6.payload_len),
			(uint32_t)(IP6_TOTAL_MAX - sizeof(about.v6) - ICMP_HEADER));
	}
	quote_len = RTE_MIN(quote_len, m->pkt_len - l3_off);
	headers_len = is_v4 ? headers4(headers, &about.v4, ip_v4(src), kind, param, quote_len)
			    : headers6(headers, &about.v6, src, kind, param, quote_len);
	e = chain_create(pool, headers, headers_len);
	if (e == NULL)
		return NULL;
	last = e;
	chain_cursor_init(&quote, m, l3_off);
	if (!chain_append(e, &last, pool, &quote, quote_len)) {
		rte_pktmbuf_free(e);
		return NULL;
	}
	icmp_off = RTE_ETHER_HDR_LEN + l3_len;
	if (!is_v4)
		sum = csum_pseudo_ip6(
			src->b, about.v6.src_addr, IPPROTO_ICMPV6, ICMP_HEADER + quote_len);
	(void)csum_add_mbuf(&sum, e, icmp_off, ICMP_HEADER + quote_len);
	csum = (uint16_t)~csum_fold(sum);
	chain_write(e, icmp_off + 2, &csum, 2);
	e->l2_len = RTE_ETHER_HDR_LEN;
	e->l3_len = (uint16_t)(l3_len & 0x1ff);
	return e;
}
