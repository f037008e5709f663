/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VXLAN (RFC 7348) as BEHAVIOURS V1-V7 want it: encapsulation from a template made once per tunnel,
 * validation of what arrives. Tables (known peers, VNIs, tunnel MACs) are the caller's. Inline for
 * the fast path; pure, any thread.
 */
#ifndef LEAT_PACKET_VXLAN_H
#define LEAT_PACKET_VXLAN_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include "datapath/base/addr.h"
#include "datapath/base/drop.h"
#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"

#define VXLAN_FLAG_I RTE_BE32(0x08000000)
#define VXLAN_PORT_MIN 49152 /* V4: source ports 49152…65535 */

/* Outer Ethernet + IP + UDP + VXLAN + inner Ethernet. The IPv4 form is one cache line. */
#define VXLAN_HEADERS_LEN4 (14 + 20 + 8 + 8 + 14)
#define VXLAN_HEADERS_LEN6 (14 + 40 + 8 + 8 + 14)

/* What a tunnel takes from the underlay's L3 MTU: a pod's MTU is that much smaller (50 or 70
 * bytes). */
#define VXLAN_OVERHEAD4 (VXLAN_HEADERS_LEN4 - 14)
#define VXLAN_OVERHEAD6 (VXLAN_HEADERS_LEN6 - 14)

#define VXLAN_INNER_CONTIGUOUS                                                                     \
	128 /* bytes of the inner frame in the first segment after vxlan_decap() */

struct vxlan_config {
	struct ip_addr local, remote; /* of one family */
	struct rte_ether_addr local_mac,
		remote_mac; /* outer; remote_mac: next hop on the underlay */
	struct rte_ether_addr inner_src, inner_dst; /* MACs of the two tunnel ends */
	uint32_t vni;				    /* 24 bits */
	uint16_t udp_port;			    /* destination, host order */
	uint8_t ttl;				    /* 0: 64 */
	uint8_t tos;				    /* outer TOS or traffic class, without ECN */
	bool is_dscp_uniform; /* the outer DSCP is the inner one's (RFC 2983), not that of `tos` */
	bool has_udp_csum;    /* fill the outer UDP checksum; else 0 is sent (V3) */
};

/* Immutable once built. */
struct vxlan_template {
	uint8_t headers[VXLAN_HEADERS_LEN6]; /* lengths, id, checksums, source port and inner
						EtherType are 0 */
	uint8_t len;			     /* of headers: VXLAN_HEADERS_LEN4 or 6 */
	bool is_v6;
	bool has_udp_csum;
	/* of an inner header's first two bytes, what the outer one takes over */
	rte_be16_t tos_mask4, tos_mask6;
	uint32_t
		ip_sum; /* IPv4: sum of the header as it stands, to which length and id are added */
	uint32_t udp_sum; /* of pseudo header, UDP, VXLAN and inner Ethernet header as they stand */
} __rte_cache_aligned;

/* Makes a template. False: families differ, VNI above 24 bits, port 0. */
bool vxlan_template_init(struct vxlan_template *t, const struct vxlan_config *cfg);

/*
 * Fills the outer UDP checksum of a freshly encapsulated packet, an unfinished inner one first. What a correct inner TCP, UDP or
 * ICMP checksum says about the bytes that it covers is taken from it, so that the payload is not read; a packet whose own checksum
 * is wrong gets an outer one that is wrong, too. Fragments, UDP without a checksum, options, extension headers and other
 * protocols cost a pass over the packet.
 */
void vxlan_udp_csum_fill(struct rte_mbuf *m, const struct vxlan_template *t);

/* Whether the UDP checksum of a frame (Ethernet, IP without options, UDP, VXLAN) is the one that its headers ask for, given that the inner
 * packet's own is right. Nothing behind the inner L4 header is read; false also where headers alone cannot tell. */
bool vxlan_udp_csum_is_plausible(const struct rte_mbuf *m);

/* Source port for a flow hash: all bits of the hash enter. */
static inline rte_be16_t vxlan_source_port(uint32_t hash)
{
	return rte_cpu_to_be_16((uint16_t)(VXLAN_PORT_MIN | ((hash ^ (hash >> 16)) & 0x3fff)));
}

/* TOS or traffic class of an IP header. */
static inline uint8_t vxlan_tos(const uint8_t *ip, bool is_v6)
{
	rte_be16_t first;

	memcpy(&first, ip, 2);
	return (uint8_t)(rte_be_to_cpu_16(first) >> (is_v6 ? 4 : 0));
}

/* The rare half of vxlan_encap(): what of the inner TOS is not zero goes into the outer header at p + 14. */
void vxlan_tos_copy(uint8_t *p, const struct vxlan_template *t, bool is_inner_v6);

/*
 * Encapsulates a packet that begins with an Ethernet header (its 14 bytes are overwritten by the
 * template's inner one): t->len - 14 bytes are put in front. inner_type: EtherType of what follows.
 * hash: of the inner flow. ip_id: outer IPv4 id; DF is set. The inner ECN field is copied out (RFC 6040 s. 4.1, normal mode), the
 * DSCP too if the template says so. Unfinished inner checksums keep their
 * metadata: l2_len grows accordingly, so that csum_finish() still finds them; a super-frame is
 * segmented before. False, and m unchanged: not enough headroom, or too long for an outer IP
 * packet.
 */
static inline bool vxlan_encap(struct rte_mbuf *m, const struct vxlan_template *t,
	rte_be16_t inner_type, uint32_t hash, uint16_t ip_id)
{
	const uint16_t grow = (uint16_t)(t->len - RTE_ETHER_HDR_LEN);
	const uint32_t outer_len = m->pkt_len + grow - RTE_ETHER_HDR_LEN; /* outer IP packet */
	rte_be16_t first;
	uint8_t *p;

	if (unlikely(rte_pktmbuf_headroom(m) < grow || outer_len > UINT16_MAX ||
		    m->data_len < RTE_ETHER_HDR_LEN + 2))
		return false;
	p = (uint8_t *)rte_pktmbuf_prepend(m, grow);
	if (likely(!t->is_v6)) {
		struct rte_ipv4_hdr *ip = (void *)(p + 14);
		struct rte_udp_hdr *udp = (void *)(p + 34);

		memcpy(p, t->headers, VXLAN_HEADERS_LEN4);
		ip->total_length = rte_cpu_to_be_16((uint16_t)outer_len);
		ip->packet_id = rte_cpu_to_be_16(ip_id);
		ip->hdr_checksum = (uint16_t)~csum_fold(
			(uint64_t)t->ip_sum + ip->total_length + ip->packet_id);
		udp->src_port = vxlan_source_port(hash);
		udp->dgram_len = rte_cpu_to_be_16((uint16_t)(outer_len - 20));
		memcpy(p + VXLAN_HEADERS_LEN4 - 2, &inner_type, 2);
	} else {
		struct rte_ipv6_hdr *ip = (void *)(p + 14);
		struct rte_udp_hdr *udp = (void *)(p + 54);

		memcpy(p, t->headers, VXLAN_HEADERS_LEN6);
		ip->payload_len = rte_cpu_to_be_16((uint16_t)(outer_len - 40));
		udp->src_port = vxlan_source_port(hash);
		udp->dgram_len = ip->payload_len;
		memcpy(p + VXLAN_HEADERS_LEN6 - 2, &inner_type, 2);
	}
	memcpy(&first, p + t->len, 2);
	if (unlikely((first &
			     (inner_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) ? t->tos_mask4
									  : t->tos_mask6)) != 0))
		vxlan_tos_copy(p, t, inner_type != RTE_BE16(RTE_ETHER_TYPE_IPV4));
	m->l2_len = (m->l2_len + grow) & 0x7f;
	if (unlikely(t->has_udp_csum))
		vxlan_udp_csum_fill(m, t);
	return true;
}

struct vxlan_info {
	uint32_t vni;
	uint32_t inner_off; /* of the inner Ethernet header, from the packet's start */
	uint32_t inner_len; /* bytes of the inner frame */
	struct rte_ether_addr inner_dst;
	rte_be16_t inner_type;
	uint8_t tos; /* outer */
};

/* The rare half of vxlan_check(): verifies a non-zero UDP checksum over udp_len bytes. */
bool vxlan_udp_csum_ok(
	const struct rte_mbuf *m, uint32_t l3_off, uint32_t udp_off, uint32_t udp_len);

/*
 * Validates an outer packet whose IP header is at l3_off, of which the caller knows that it is
 * addressed to this tunnel end: version, lengths, UDP as the very next header, no fragment (V5),
 * UDP checksum if there is one (V3), I flag (V1; reserved bits are ignored, V2), an inner Ethernet
 * header without VLAN tag (V6). The port was the caller's to match (V7). Link padding behind the
 * datagram is not part of inner_len. DROP_NONE and *out, or DROP_IP4_CHECKSUM, DROP_TUNNEL_FRAGMENT, _HEADER,
 * _CHECKSUM, _INNER_VLAN. m is not changed: the caller looks up peer, VNI and inner_dst, then calls
 * vxlan_decap().
 */
static inline enum drop_reason vxlan_check(
	const struct rte_mbuf *m, uint32_t l3_off, struct vxlan_info *out)
{
	uint8_t buf[40 + 8 + 8 + 14];
	const uint8_t *ip = rte_pktmbuf_read(m, l3_off, 20, buf);
	uint32_t ip_len, end, udp_len;
	const uint8_t *p;
	struct rte_udp_hdr udp;
	struct rte_vxlan_hdr vx;
	struct rte_ether_hdr inner;

	if (unlikely(ip == NULL))
		return DROP_TUNNEL_HEADER;
	if (likely((ip[0] >> 4) == 4)) {
		ip_len = 4u * (ip[0] & 15);
		out->tos = ip[1];
		end = (uint32_t)ip[2] << 8 | ip[3];
		if (unlikely(ip_len != 20 || ip[9] != 17))
			return DROP_TUNNEL_HEADER;
		if (unlikely(csum_fold(csum_add_ip4_header(ip)) != 0xffff))
			return DROP_IP4_CHECKSUM;
		if (unlikely((ip[6] & 0x3f) != 0 || ip[7] != 0)) /* MF or an offset */
			return DROP_TUNNEL_FRAGMENT;
	} else {
		ip_len = 40;
		out->tos = vxlan_tos(ip, true);
		end = 40 + ((uint32_t)ip[4] << 8 | ip[5]);
		if (unlikely((ip[0] >> 4) == 6 && ip[6] == 44))
			return DROP_TUNNEL_FRAGMENT;
		if (unlikely((ip[0] >> 4) != 6 || ip[6] != 17))
			return DROP_TUNNEL_HEADER;
	}
	if (unlikely(end > m->pkt_len - l3_off || end < ip_len + 8 + 8 + RTE_ETHER_HDR_LEN))
		return DROP_TUNNEL_HEADER;
	p = rte_pktmbuf_read(m, l3_off + ip_len, 8 + 8 + RTE_ETHER_HDR_LEN, buf);
	if (unlikely(p == NULL))
		return DROP_TUNNEL_HEADER;
	memcpy(&udp, p, sizeof(udp));
	memcpy(&vx, p + 8, sizeof(vx));
	memcpy(&inner, p + 16, sizeof(inner));
	udp_len = rte_be_to_cpu_16(udp.dgram_len);
	if (unlikely(udp_len > end - ip_len || udp_len < 8 + 8 + RTE_ETHER_HDR_LEN))
		return DROP_TUNNEL_HEADER;
	if (unlikely(udp.dgram_cksum != 0 &&
		    !vxlan_udp_csum_ok(m, l3_off, l3_off + ip_len, udp_len)))
		return DROP_TUNNEL_CHECKSUM;
	if (unlikely((vx.vx_flags & VXLAN_FLAG_I) == 0))
		return DROP_TUNNEL_HEADER;
	if (unlikely(inner.ether_type == RTE_BE16(RTE_ETHER_TYPE_VLAN) ||
		    inner.ether_type == RTE_BE16(RTE_ETHER_TYPE_QINQ) ||
		    inner.ether_type == RTE_BE16(RTE_ETHER_TYPE_QINQ1)))
		return DROP_TUNNEL_INNER_VLAN;
	out->vni = rte_be_to_cpu_32(vx.vx_vni) >> 8;
	out->inner_off = l3_off + ip_len + 16;
	out->inner_len = udp_len - 16;
	out->inner_dst = inner.dst_addr;
	out->inner_type = inner.ether_type;
	return DROP_NONE;
}

/* Takes the outer headers (and padding behind the datagram) off a packet that vxlan_check() passed.
 * An outer unfinished checksum ends with the outer header: offload metadata are cleared. False, and
 * m unchanged: the headers span segments in a way that rte_pktmbuf_adj() cannot take off. */
static inline bool vxlan_decap(struct rte_mbuf *m, const struct vxlan_info *info)
{
	const uint32_t end = info->inner_off + info->inner_len;

	if (unlikely(m->data_len < info->inner_off))
		return false;
	if (unlikely(m->pkt_len != end))
		chain_truncate(m, end);
	rte_pktmbuf_adj(m, (uint16_t)info->inner_off);
	/* The inner headers must be as contiguous as a received packet's (port.h). */
	if (unlikely(m->next != NULL && m->data_len < VXLAN_INNER_CONTIGUOUS))
		chain_pull_up(m, VXLAN_INNER_CONTIGUOUS);
	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	m->tx_offload = 0;
	return true;
}

/* What an outer TOS says goes into the inner packet of a decapsulated frame: ECN by RFC 6040 s. 4.2, figure 4, and with is_dscp_uniform
 * the DSCP (RFC 2983 s. 3). Checksums follow; what is no IP packet stays. DROP_NONE, or DROP_TUNNEL_ECN: congestion was experienced
 * by a packet that cannot say so. */
enum drop_reason vxlan_tos_apply(struct rte_mbuf *m, uint8_t outer_tos, bool is_dscp_uniform);

#endif
