/* SPDX-License-Identifier: BSD-3-Clause */
/* Tunnel packets for this node lose their outer headers here, so that everything behind sees the inner frame only. */
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "datapath/fast/stages.h"
#include "datapath/packet/vxlan.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u

/* Outer addresses of a UDP packet to a port that a tunnel listens on; false: something else. IPv4 options and IPv6 extension
 * headers never come before VXLAN. */
static inline bool outer_parse(
	const struct rte_mbuf *m, struct ip_addr *src, struct ip_addr *dst, uint16_t *udp_port)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t udp_off;
	rte_be16_t type, be;

	memcpy(&type, data + 12, 2);
	if (likely(type == RTE_BE16(RTE_ETHER_TYPE_IPV4))) {
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(data + L3_OFF);

		udp_off = L3_OFF + sizeof(*ip);
		/* A later fragment shows no ports: it is the slow path's. */
		if (m->data_len < udp_off + 8 || ip->version_ihl != 0x45 ||
			ip->next_proto_id != IPPROTO_UDP ||
			(ip->fragment_offset & RTE_BE16(0x1fff)) != 0)
			return false;
		*src = ip_from_v4(ip->src_addr);
		*dst = ip_from_v4(ip->dst_addr);
	} else if (type == RTE_BE16(RTE_ETHER_TYPE_IPV6)) {
		const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)(data + L3_OFF);

		udp_off = L3_OFF + sizeof(*ip);
		if (m->data_len < udp_off + 8 || ip->proto != IPPROTO_UDP)
			return false;
		memcpy(src->b, ip->src_addr, 16);
		memcpy(dst->b, ip->dst_addr, 16);
	} else {
		return false;
	}
	memcpy(&be, data + udp_off + 2, 2);
	*udp_port = rte_be_to_cpu_16(be);
	return tunnel_listens(*udp_port);
}

/* Tunnel of the outer source and VNI, through a small cache per worker. */
static inline uint32_t tunnel_find(struct worker *w, const struct ip_addr *remote, uint32_t vni)
{
	uint32_t slot = (uint32_t)((remote->q[1] ^ remote->q[0] ^ vni) * 0x9e3779b97f4a7c15ull >>
		56);
	struct tunnel_cache_entry *e = &w->tunnel_cache[slot % WORKER_TUNNEL_CACHE];

	if (unlikely(e->epoch != w->epoch || e->vni != vni || !ip_eq(&e->remote, remote)))
		*e = (struct tunnel_cache_entry){ .remote = *remote,
			.vni = vni,
			.epoch = w->epoch,
			.idx = tunnel_lookup(remote, vni) };
	return e->idx;
}

/* Whether the address is this node's; most packets have the one of the packet before. */
static inline bool is_ours(struct worker *w, uint16_t zone, const struct ip_addr *dst)
{
	if (unlikely(w->self_epoch != w->epoch || w->self_zone != zone ||
		    !ip_eq(&w->self_addr, dst))) {
		uint32_t ep = endpoint_by_addr(zone, dst);

		w->self_epoch = w->epoch;
		w->self_zone = zone;
		w->self_addr = *dst;
		w->is_self = ep != ENDPOINT_NONE && endpoint_at(ep)->kind != ENDPOINT_POD;
	}
	return w->is_self;
}

static enum drop_reason decap_one(
	struct worker *w, struct batch *b, uint64_t i, const struct ip_addr *src, uint16_t udp_port)
{
	const struct tunnel *tunnel;
	struct vxlan_info info;
	enum drop_reason reason = vxlan_check(b->m[i], L3_OFF, &info);
	uint32_t idx;

	if (unlikely(reason != DROP_NONE))
		return reason;
	idx = tunnel_find(w, src, info.vni);
	if (unlikely(idx == TUNNEL_NONE))
		return tunnel_remote_known(src) ? DROP_TUNNEL_UNKNOWN_VNI
						: DROP_TUNNEL_UNKNOWN_PEER;
	tunnel = tunnel_at(idx);
	if (unlikely(udp_port != tunnel->udp_port))
		return DROP_TUNNEL_UNKNOWN_PEER;
	if (unlikely(!rte_is_same_ether_addr(&info.inner_dst, &tunnel_local_mac)))
		return DROP_TUNNEL_INNER_MAC;
	if (unlikely(!vxlan_decap(b->m[i], &info)))
		return DROP_TUNNEL_HEADER;
	b->in[i] = (uint16_t)(FLOW_IN_TUNNEL | idx);
	b->zone[i] = tunnel->zone;
	if (likely(((info.tos & 3) | tunnel->is_dscp_uniform) == 0))
		return DROP_NONE;
	return vxlan_tos_apply(b->m[i], info.tos, tunnel->is_dscp_uniform);
}

void stage_decap(struct worker *w, struct batch *b)
{
	const struct port *p = b->port;

	if (p->role != PORT_ROLE_UPLINK)
		return;
	MASK_FOREACH(i, b->live)
	{
		struct ip_addr src, dst;
		enum drop_reason reason;
		uint16_t udp_port;

		if ((b->in[i] & FLOW_IN_TUNNEL) != 0 || b->m[i]->data_len < L3_OFF + 20 ||
			!rte_is_same_ether_addr(
				rte_pktmbuf_mtod(b->m[i], const struct rte_ether_addr *),
				&p->mac) ||
			!outer_parse(b->m[i], &src, &dst, &udp_port) || !is_ours(w, p->zone, &dst))
			continue;
		reason = decap_one(w, b, i, &src, udp_port);
		if (reason != DROP_NONE)
			batch_kill(w, b, i, reason);
	}
}
