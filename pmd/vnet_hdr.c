/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vnet_hdr.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define VNET_FLAGS                                                                                 \
	(RTE_MBUF_F_TX_OFFLOAD_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK |  \
		RTE_MBUF_F_RX_LRO)
#define EXT_HEADERS_MAX 8

/* Where a frame's headers end, by its own bytes. */
struct layout {
	uint32_t l2_len, l3_len, l4_len; /* bytes; l4_len includes TCP options */
	uint32_t l3_total;		 /* bytes the L3 header says the packet has */
	uint8_t proto;
	bool is_v6;
};

static bool layout_v4(const uint8_t *p, uint32_t left, struct layout *l)
{
	struct rte_ipv4_hdr ip;

	if (left < sizeof(ip))
		return false;
	memcpy(&ip, p, sizeof(ip));
	l->l3_len = (ip.version_ihl & 0xfu) * 4u;
	/* A fragment has no checksum of its own to finish. */
	if ((ip.version_ihl >> 4) != 4 || l->l3_len < sizeof(ip) || l->l3_len > left ||
		(ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK)) !=
			0)
		return false;
	l->l3_total = rte_be_to_cpu_16(ip.total_length);
	l->proto = ip.next_proto_id;
	l->is_v6 = false;
	return true;
}

static bool layout_v6(const uint8_t *p, uint32_t left, struct layout *l)
{
	struct rte_ipv6_hdr ip;
	uint32_t off = sizeof(ip);

	if (left < sizeof(ip))
		return false;
	memcpy(&ip, p, sizeof(ip));
	if ((p[0] >> 4) != 6)
		return false;
	l->proto = ip.proto;
	for (unsigned int i = 0; l->proto == IPPROTO_HOPOPTS || l->proto == IPPROTO_ROUTING ||
		l->proto == IPPROTO_DSTOPTS;
		i++) {
		if (i == EXT_HEADERS_MAX || left - off < 8)
			return false;
		l->proto = p[off];
		off += (p[off + 1] + 1u) * 8u;
		if (off > left)
			return false;
	}
	l->l3_len = off;
	l->l3_total = sizeof(ip) + rte_be_to_cpu_16(ip.payload_len);
	l->is_v6 = true;
	/* mbufs have 9 bits for it */
	return off < 512;
}

static bool layout_l4(const uint8_t *p, uint32_t left, struct layout *l)
{
	if (l->proto == IPPROTO_TCP) {
		if (left < sizeof(struct rte_tcp_hdr))
			return false;
		l->l4_len = (p[offsetof(struct rte_tcp_hdr, data_off)] >> 4) * 4u;
		return l->l4_len >= sizeof(struct rte_tcp_hdr) && l->l4_len <= left;
	}
	if (l->proto == IPPROTO_UDP) {
		l->l4_len = sizeof(struct rte_udp_hdr);
		return left >= l->l4_len;
	}
	return false;
}

/* Reads the frame's headers, which must lie in the first segment. */
static bool layout_parse(const struct rte_mbuf *m, struct layout *l)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t left = rte_pktmbuf_data_len(m);
	rte_be16_t type;
	bool is_ok;

	l->l2_len = sizeof(struct rte_ether_hdr);
	if (left < l->l2_len + sizeof(struct rte_vlan_hdr))
		return false;
	memcpy(&type, p + offsetof(struct rte_ether_hdr, ether_type), sizeof(type));
	if (type == RTE_BE16(RTE_ETHER_TYPE_VLAN)) {
		memcpy(&type, p + l->l2_len + offsetof(struct rte_vlan_hdr, eth_proto),
			sizeof(type));
		l->l2_len += sizeof(struct rte_vlan_hdr);
	}
	p += l->l2_len;
	left -= l->l2_len;
	if (type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		is_ok = layout_v4(p, left, l);
	else if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6))
		is_ok = layout_v6(p, left, l);
	else
		is_ok = false;
	return is_ok && l->l3_total <= rte_pktmbuf_pkt_len(m) - l->l2_len &&
		l->l3_total >= l->l3_len && layout_l4(p + l->l3_len, left - l->l3_len, l) &&
		l->l3_total >= l->l3_len + l->l4_len;
}

/* Whether the header's segmentation request fits the frame; *out_flag is the mbuf flag, or 0 for none. */
static bool gso_check(const struct virtio_net_hdr *hdr, const struct rte_mbuf *m,
	const struct layout *l, uint64_t *out_flag)
{
	uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	uint32_t segsz = rte_le_to_cpu_16((rte_le16_t)hdr->gso_size);
	uint32_t payload = l->l3_total - l->l3_len - l->l4_len;
	bool is_tcp = l->proto == IPPROTO_TCP;

	*out_flag = 0;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!((type == VIRTIO_NET_HDR_GSO_TCPV4 && is_tcp && !l->is_v6) ||
		    (type == VIRTIO_NET_HDR_GSO_TCPV6 && is_tcp && l->is_v6) ||
		    (type == VIRTIO_NET_HDR_GSO_UDP_L4 && !is_tcp && hdr->gso_type == type)))
		return false;
	/* Every segment is cut from what the L3 header counts: it must count all of the frame. */
	if (l->l3_total != rte_pktmbuf_pkt_len(m) - l->l2_len || segsz < VNET_GSO_SIZE_MIN)
		return false;
	if (payload > segsz)
		*out_flag = is_tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	return true;
}

bool vnet_hdr_to_mbuf(const struct virtio_net_hdr *hdr, struct rte_mbuf *m)
{
	uint16_t csum_start = rte_le_to_cpu_16((rte_le16_t)hdr->csum_start);
	uint16_t csum_offset = rte_le_to_cpu_16((rte_le16_t)hdr->csum_offset);
	uint64_t seg_flag;
	struct layout l;

	m->ol_flags &= ~VNET_FLAGS;
	m->tx_offload = 0;
	if (vnet_hdr_is_plain(hdr))
		return true;
	/* Virtio 1.2 s. 5.1.6.2: segmentation comes with an unfinished checksum. */
	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 || !layout_parse(m, &l) ||
		csum_start != l.l2_len + l.l3_len ||
		csum_offset !=
			(l.proto == IPPROTO_TCP ? offsetof(struct rte_tcp_hdr, cksum)
						: offsetof(struct rte_udp_hdr, dgram_cksum)) ||
		!gso_check(hdr, m, &l, &seg_flag))
		return false;
	m->l2_len = l.l2_len;
	m->l3_len = l.l3_len;
	m->l4_len = l.l4_len;
	if (seg_flag != 0)
		m->tso_segsz = rte_le_to_cpu_16((rte_le16_t)hdr->gso_size);
	m->ol_flags |= seg_flag | (l.is_v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
		(l.proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
	return true;
}

void vnet_hdr_from_mbuf(const struct rte_mbuf *m, struct virtio_net_hdr *out_hdr)
{
	uint64_t flags = m->ol_flags, l4 = flags & RTE_MBUF_F_TX_L4_MASK;
	uint8_t gso = VIRTIO_NET_HDR_GSO_NONE;
	bool is_tcp;

	memset(out_hdr, 0, sizeof(*out_hdr));
	if (l4 == 0 && (flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) == 0)
		return;
	is_tcp = (flags & RTE_MBUF_F_TX_TCP_SEG) != 0 || l4 == RTE_MBUF_F_TX_TCP_CKSUM;
	out_hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	out_hdr->csum_start = rte_cpu_to_le_16((uint16_t)(m->l2_len + m->l3_len));
	out_hdr->csum_offset = rte_cpu_to_le_16(is_tcp ? offsetof(struct rte_tcp_hdr, cksum)
						       : offsetof(struct rte_udp_hdr, dgram_cksum));
	if (flags & RTE_MBUF_F_TX_TCP_SEG)
		gso = flags & RTE_MBUF_F_TX_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6
						 : VIRTIO_NET_HDR_GSO_TCPV4;
	else if (flags & RTE_MBUF_F_TX_UDP_SEG)
		gso = VIRTIO_NET_HDR_GSO_UDP_L4;
	if (gso != VIRTIO_NET_HDR_GSO_NONE) {
		out_hdr->gso_type = gso;
		out_hdr->gso_size = rte_cpu_to_le_16(m->tso_segsz);
		out_hdr->hdr_len = rte_cpu_to_le_16((uint16_t)(m->l2_len + m->l3_len + m->l4_len));
	}
}

bool vnet_mbuf_check(struct rte_mbuf *m, bool is_uso)
{
	bool is_refused = (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG && !is_uso) ||
		(m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_SCTP_CKSUM;
	struct virtio_net_hdr hdr;

	/* What the library set becomes a header again, and is judged as one that came from outside. */
	vnet_hdr_from_mbuf(m, &hdr);
	if (!is_refused)
		return vnet_hdr_to_mbuf(&hdr, m);
	m->ol_flags &= ~VNET_FLAGS;
	m->tx_offload = 0;
	return false;
}
