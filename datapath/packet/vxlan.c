/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/vxlan.h"

#include <netinet/in.h>

#include "datapath/packet/chain.h"

#define ECN_MASK 3u
#define DSCP_MASK 0xfcu

enum ecn { ECN_NOT_ECT, ECN_ECT1, ECN_ECT0, ECN_CE };

static_assert(VXLAN_HEADERS_LEN4 == RTE_CACHE_LINE_MIN_SIZE, "IPv4 template: one cache line");

static void template_udp(uint8_t *p, const struct vxlan_config *cfg)
{
	const struct rte_udp_hdr udp = { .dst_port = rte_cpu_to_be_16(cfg->udp_port) };
	const struct rte_vxlan_hdr vx = {
		.vx_flags = VXLAN_FLAG_I,
		.vx_vni = rte_cpu_to_be_32(cfg->vni << 8),
	};
	const struct rte_ether_hdr inner = {
		.dst_addr = cfg->inner_dst,
		.src_addr = cfg->inner_src,
	};

	memcpy(p, &udp, sizeof(udp));
	memcpy(p + 8, &vx, sizeof(vx));
	memcpy(p + 16, &inner, sizeof(inner));
}

bool vxlan_template_init(struct vxlan_template *t, const struct vxlan_config *cfg)
{
	const uint8_t ttl = cfg->ttl != 0 ? cfg->ttl : 64,
		      tos = cfg->is_dscp_uniform ? 0 : cfg->tos & DSCP_MASK;
	struct rte_ether_hdr eth = { .dst_addr = cfg->remote_mac, .src_addr = cfg->local_mac };
	uint64_t sum;

	if (ip_is_v4(&cfg->local) != ip_is_v4(&cfg->remote) || cfg->vni > 0xffffff ||
		cfg->udp_port == 0)
		return false;
	memset(t, 0, sizeof(*t));
	t->is_v6 = !ip_is_v4(&cfg->local);
	t->has_udp_csum = cfg->has_udp_csum;
	t->tos_mask4 = rte_cpu_to_be_16(cfg->is_dscp_uniform ? 0xff : ECN_MASK);
	t->tos_mask6 = rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(t->tos_mask4) << 4));
	if (t->is_v6) {
		struct rte_ipv6_hdr ip = {
			.vtc_flow = rte_cpu_to_be_32(0x60000000u | (uint32_t)tos << 20),
			.proto = IPPROTO_UDP,
			.hop_limits = ttl,
		};

		memcpy(ip.src_addr, cfg->local.b, 16);
		memcpy(ip.dst_addr, cfg->remote.b, 16);
		eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6);
		memcpy(t->headers + 14, &ip, sizeof(ip));
		template_udp(t->headers + 54, cfg);
		t->len = VXLAN_HEADERS_LEN6;
	} else {
		const struct rte_ipv4_hdr ip = {
			.version_ihl = RTE_IPV4_VHL_DEF,
			.type_of_service = tos,
			.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
			.time_to_live = ttl,
			.next_proto_id = IPPROTO_UDP,
			.src_addr = ip_v4(&cfg->local),
			.dst_addr = ip_v4(&cfg->remote),
		};

		eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
		memcpy(t->headers + 14, &ip, sizeof(ip));
		template_udp(t->headers + 34, cfg);
		t->len = VXLAN_HEADERS_LEN4;
		t->ip_sum = csum_fold(csum_add(0, &ip, sizeof(ip)));
	}
	memcpy(t->headers, &eth, sizeof(eth));
	sum = t->is_v6 ? csum_pseudo_ip6(cfg->local.b, cfg->remote.b, IPPROTO_UDP, 0)
		       : csum_pseudo_ip4(ip_v4(&cfg->local), ip_v4(&cfg->remote), IPPROTO_UDP, 0);
	t->udp_sum = csum_fold(csum_add(sum, t->headers + t->len - 30, 30));
	return true;
}

/* Sum of an inner L3 packet of len bytes, of which `avail` stand at ip, given that its own checksums are right: the IPv4 header's makes
 * that add up to nothing, and the L4 one makes what it covers the complement of the pseudo header. False: they do not tell. */
static bool inner_sum(const uint8_t *ip, uint32_t avail, uint32_t len, uint64_t *sum)
{
	const bool is_v6 = avail >= 20 && (ip[0] >> 4) == 6;
	const uint32_t l3_len = is_v6 ? 40 : 20, l4_len = len - l3_len;
	const uint8_t proto = is_v6 ? ip[6] : ip[9], *l4 = ip + l3_len;
	uint16_t words[2];

	if (avail < l3_len + 8 || len < l3_len + 8 || (!is_v6 && ip[0] != 0x45))
		return false;
	memcpy(words, ip + (is_v6 ? 4 : 2), 2);
	if (rte_be_to_cpu_16(words[0]) != (is_v6 ? l4_len : len))
		return false;
	memcpy(words, ip + 6, 2);
	if (!is_v6 && (words[0] & RTE_BE16(0x3fff)) != 0) /* part of a datagram */
		return false;
	memcpy(words, l4 + 4, 4); /* UDP: length and checksum */
	if (proto == IPPROTO_UDP && (words[1] == 0 || rte_be_to_cpu_16(words[0]) != l4_len))
		return false;
	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP &&
		proto != (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return false;
	if (is_v6) {
		/* Addresses and length stand in the header and, complemented, in what the pseudo header leaves. */
		uint32_t first;

		memcpy(&first, ip, 4);
		memcpy(words, ip + 6, 2);
		*sum += (uint64_t)first + words[0] + (uint16_t)~rte_cpu_to_be_16(proto);
	} else if (proto != IPPROTO_ICMP) {
		rte_be32_t src, dst;

		memcpy(&src, ip + 12, 4);
		memcpy(&dst, ip + 16, 4);
		*sum += (uint16_t)~csum_fold(csum_pseudo_ip4(src, dst, proto, (uint16_t)l4_len));
	}
	return true;
}

static uint16_t udp_csum_of(uint64_t sum)
{
	uint16_t csum = (uint16_t)~csum_fold(sum);

	return csum == 0 ? 0xffff : csum;
}

void vxlan_tos_copy(uint8_t *p, const struct vxlan_template *t, bool is_inner_v6)
{
	const uint8_t tos = vxlan_tos(p + t->len, is_inner_v6) &
		(uint8_t)rte_be_to_cpu_16(t->tos_mask4);
	uint8_t *ip = p + RTE_ETHER_HDR_LEN;
	rte_be16_t old, first;

	memcpy(&old, ip, 2);
	first = old | rte_cpu_to_be_16((uint16_t)(tos << (t->is_v6 ? 4 : 0)));
	memcpy(ip, &first, 2);
	if (!t->is_v6) {
		struct rte_ipv4_hdr *ip4 = (void *)ip;

		ip4->hdr_checksum = csum_update16(ip4->hdr_checksum, old, first);
	}
}

void vxlan_udp_csum_fill(struct rte_mbuf *m, const struct vxlan_template *t)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	const uint32_t udp_off = (uint32_t)t->len - 30, len = m->pkt_len - udp_off;
	rte_be16_t be_len = rte_cpu_to_be_16((uint16_t)len), sport, type, csum = 0;
	uint64_t sum;

	/* The sum covers the inner packet: that must be whole first. */
	if (unlikely(csum_is_unfinished(m)))
		(void)csum_finish(m);
	memcpy(&sport, p + udp_off, 2);
	memcpy(&type, p + t->len - 2, 2);
	/* the length twice: in the pseudo header, too */
	sum = (uint64_t)t->udp_sum + sport + type + 2u * (uint32_t)be_len;
	if (unlikely(!inner_sum(p + t->len, m->data_len - t->len, m->pkt_len - t->len, &sum)))
		(void)csum_add_mbuf(&sum, m, t->len, m->pkt_len - t->len);
	csum = udp_csum_of(sum);
	memcpy(p + udp_off + 6, &csum, 2);
}

bool vxlan_udp_csum_is_plausible(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip = p + RTE_ETHER_HDR_LEN;
	const bool is_v6 = m->data_len > RTE_ETHER_HDR_LEN && (ip[0] >> 4) == 6;
	const uint32_t headers_len = is_v6 ? VXLAN_HEADERS_LEN6 : VXLAN_HEADERS_LEN4;
	const uint32_t udp_off = headers_len - 30, udp_len = m->pkt_len - udp_off;
	uint64_t sum;
	uint16_t csum;

	if (m->data_len < headers_len)
		return false;
	if (is_v6) {
		sum = csum_pseudo_ip6(ip + 8, ip + 24, IPPROTO_UDP, udp_len);
	} else {
		rte_be32_t src, dst;

		memcpy(&src, ip + 12, 4);
		memcpy(&dst, ip + 16, 4);
		sum = csum_pseudo_ip4(src, dst, IPPROTO_UDP, (uint16_t)udp_len);
	}
	sum = csum_add(csum_add(sum, p + udp_off, 6), p + udp_off + 8, 22);
	memcpy(&csum, p + udp_off + 6, 2);
	return inner_sum(p + headers_len, m->data_len - headers_len, m->pkt_len - headers_len,
		       &sum) &&
		csum == udp_csum_of(sum);
}

bool vxlan_udp_csum_ok(
	const struct rte_mbuf *m, uint32_t l3_off, uint32_t udp_off, uint32_t udp_len)
{
	uint8_t buf[40];
	const uint8_t *ip = rte_pktmbuf_read(m, l3_off, 20, buf);
	uint64_t sum;

	/* An unfinished outer checksum comes from a driver that vouches for the data. */
	if (csum_is_unfinished(m) && (uint32_t)m->l2_len + m->l3_len == udp_off)
		return true;
	if (ip == NULL)
		return false;
	if ((ip[0] >> 4) == 4) {
		rte_be32_t src, dst;

		memcpy(&src, ip + 12, 4);
		memcpy(&dst, ip + 16, 4);
		sum = csum_pseudo_ip4(src, dst, IPPROTO_UDP, (uint16_t)udp_len);
	} else {
		ip = rte_pktmbuf_read(m, l3_off, 40, buf);
		if (ip == NULL)
			return false;
		sum = csum_pseudo_ip6(ip + 8, ip + 24, IPPROTO_UDP, udp_len);
	}
	return csum_add_mbuf(&sum, m, udp_off, udp_len) && csum_fold(sum) == 0xffff;
}

enum drop_reason vxlan_tos_apply(struct rte_mbuf *m, uint8_t outer_tos, bool is_dscp_uniform)
{
	/* Only these change it; the other combinations are the inner one's. */
	static const uint8_t ecn_of[4][4] = {
		[ECN_NOT_ECT] = { ECN_NOT_ECT, ECN_NOT_ECT, ECN_NOT_ECT, ECN_NOT_ECT },
		[ECN_ECT1] = { ECN_ECT1, ECN_ECT1, ECN_ECT1, ECN_CE },
		[ECN_ECT0] = { ECN_ECT0, ECN_ECT1, ECN_ECT0, ECN_CE },
		[ECN_CE] = { ECN_CE, ECN_CE, ECN_CE, ECN_CE },
	};
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *), *ip = p + RTE_ETHER_HDR_LEN, inner, tos;
	rte_be16_t type, first, old;
	bool is_v6;

	if (m->data_len < RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr))
		return DROP_NONE;
	memcpy(&type, p + 12, 2);
	is_v6 = type == RTE_BE16(RTE_ETHER_TYPE_IPV6);
	if (!is_v6 && type != RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return DROP_NONE;
	inner = vxlan_tos(ip, is_v6);
	if ((inner & ECN_MASK) == ECN_NOT_ECT && (outer_tos & ECN_MASK) == ECN_CE)
		return DROP_TUNNEL_ECN;
	tos = (uint8_t)(((is_dscp_uniform ? outer_tos : inner) & DSCP_MASK) |
		ecn_of[inner & ECN_MASK][outer_tos & ECN_MASK]);
	memcpy(&old, ip, 2);
	first = old ^ rte_cpu_to_be_16((uint16_t)((inner ^ tos) << (is_v6 ? 4 : 0)));
	memcpy(ip, &first, 2);
	if (!is_v6) {
		struct rte_ipv4_hdr *ip4 = (void *)ip;

		ip4->hdr_checksum = csum_update16(ip4->hdr_checksum, old, first);
	}
	return DROP_NONE;
}
