/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/vxlan.h"

#include <netinet/in.h>

#include "datapath/packet/chain.h"

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
	const uint8_t ttl = cfg->ttl != 0 ? cfg->ttl : 64;
	struct rte_ether_hdr eth = { .dst_addr = cfg->remote_mac, .src_addr = cfg->local_mac };

	if (ip_is_v4(&cfg->local) != ip_is_v4(&cfg->remote) || cfg->vni > 0xffffff ||
		cfg->udp_port == 0)
		return false;
	memset(t, 0, sizeof(*t));
	t->is_v6 = !ip_is_v4(&cfg->local);
	t->has_udp_csum = cfg->has_udp_csum;
	if (t->is_v6) {
		struct rte_ipv6_hdr ip = {
			.vtc_flow = rte_cpu_to_be_32(0x60000000u | (uint32_t)cfg->tos << 20),
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
			.type_of_service = cfg->tos,
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
	return true;
}

void vxlan_udp_csum_fill(struct rte_mbuf *m, const struct vxlan_template *t)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint32_t udp_off = t->is_v6 ? 54 : 34, len = m->pkt_len - udp_off;
	uint64_t sum;
	uint16_t csum;

	/* The sum covers the inner packet: that must be whole first. */
	(void)csum_finish(m);
	if (t->is_v6) {
		sum = csum_pseudo_ip6(p + 14 + 8, p + 14 + 24, IPPROTO_UDP, len);
	} else {
		const struct rte_ipv4_hdr *ip = (const void *)(p + 14);

		sum = csum_pseudo_ip4(ip->src_addr, ip->dst_addr, IPPROTO_UDP, (uint16_t)len);
	}
	(void)csum_add_mbuf(&sum, m, udp_off, len);
	csum = (uint16_t)~csum_fold(sum);
	if (csum == 0)
		csum = 0xffff;
	chain_write(m, udp_off + 6, &csum, 2);
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
