/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/tunnel.h"

#include <errno.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include "datapath/base/gen.h"
#include "datapath/table/addrmap.h"
#include "datapath/table/path.h"

struct slots tunnel_slots;
struct rte_ether_addr tunnel_local_mac;
uint64_t tunnel_udp_ports[65536 / 64];

static struct addrmap *by_remote;
static uint32_t port_users[65536];

int tunnel_table_init(void)
{
	if (slots_init(&tunnel_slots, sizeof(struct tunnel), TUNNEL_TABLE_MAX) < 0)
		return -ENOMEM;
	by_remote = addrmap_create("tunnel", TUNNEL_TABLE_MAX);
	if (by_remote == NULL) {
		tunnel_table_fini();
		return -ENOMEM;
	}
	return 0;
}

void tunnel_table_fini(void)
{
	addrmap_destroy(by_remote);
	by_remote = NULL;
	slots_fini(&tunnel_slots);
	memset(tunnel_udp_ports, 0, sizeof(tunnel_udp_ports));
	memset(port_users, 0, sizeof(port_users));
}

uint32_t tunnel_by_name(const char *name)
{
	for (uint32_t i = tunnel_next(0); i != TUNNEL_NONE; i = tunnel_next(i + 1))
		if (strcmp(tunnel_at(i)->name, name) == 0)
			return i;
	return TUNNEL_NONE;
}

uint32_t tunnel_next(uint32_t idx)
{
	return slots_next(&tunnel_slots, idx);
}

uint32_t tunnel_lookup(const struct ip_addr *remote, uint32_t vni)
{
	return addrmap_get(by_remote, vni, remote);
}

bool tunnel_remote_known(const struct ip_addr *remote)
{
	for (uint32_t i = slots_next(&tunnel_slots, 0); i != SLOT_NONE; i = slots_next(&tunnel_slots, i + 1))
		if (ip_eq(&tunnel_at(i)->remote, remote))
			return true;
	return false;
}

int tunnel_add(const struct tunnel *proto, uint32_t *out_idx)
{
	struct tunnel *t;
	uint32_t idx;

	if (tunnel_by_name(proto->name) != TUNNEL_NONE || tunnel_lookup(&proto->remote, proto->vni) != TUNNEL_NONE)
		return -EEXIST;
	idx = slots_alloc(&tunnel_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	t = tunnel_at(idx);
	memcpy((uint8_t *)t + sizeof(uint32_t), (const uint8_t *)proto + sizeof(uint32_t),
		sizeof(*t) - sizeof(uint32_t));
	atomic_store_explicit(&t->path_idx, PATH_NONE, memory_order_relaxed);
	t->underlay_route = t->underlay_neigh = SLOT_NONE;
	t->resolved_epoch = 0;
	if (addrmap_set(by_remote, t->vni, &t->remote, idx) < 0) {
		slots_free(&tunnel_slots, idx);
		return -ENOSPC;
	}
	if (port_users[t->udp_port]++ == 0)
		tunnel_udp_ports[t->udp_port / 64] |= 1ull << (t->udp_port % 64);
	*out_idx = idx;
	return 0;
}

void tunnel_del(uint32_t idx)
{
	struct tunnel *t = tunnel_at(idx);

	addrmap_del(by_remote, t->vni, &t->remote);
	if (--port_users[t->udp_port] == 0)
		tunnel_udp_ports[t->udp_port / 64] &= ~(1ull << (t->udp_port % 64));
	path_destroy(atomic_load_explicit(&t->path_idx, memory_order_relaxed));
	slots_free(&tunnel_slots, idx);
}

/* Outer IPv4 or IPv6, UDP, VXLAN and inner Ethernet behind the outer Ethernet header at p->hdr[0..13] (RFC 7348 s. 5).
 * Lengths, IPv4 id and checksum, and the source port are filled in per packet. */
static void template_build(struct path *p, const struct tunnel *t)
{
	uint8_t *h = p->hdr + RTE_ETHER_HDR_LEN;
	struct rte_udp_hdr *udp;
	struct rte_vxlan_hdr *vxlan;

	if (ip_is_v4(&t->remote)) {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)h;

		p->kind = PATH_VXLAN4;
		*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
			.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
			.time_to_live = 64,
			.next_proto_id = IPPROTO_UDP,
			.src_addr = ip_v4(&t->local),
			.dst_addr = ip_v4(&t->remote) };
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		h += sizeof(*ip);
	} else {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)h;

		p->kind = PATH_VXLAN6;
		*ip = (struct rte_ipv6_hdr){ .vtc_flow = RTE_BE32(6u << 28), .proto = IPPROTO_UDP, .hop_limits = 64 };
		memcpy(ip->src_addr, t->local.b, 16);
		memcpy(ip->dst_addr, t->remote.b, 16);
		h += sizeof(*ip);
	}
	udp = (struct rte_udp_hdr *)h;
	*udp = (struct rte_udp_hdr){ .dst_port = rte_cpu_to_be_16(t->udp_port) };
	vxlan = (struct rte_vxlan_hdr *)(udp + 1);
	vxlan->vx_flags = RTE_BE32(0x08000000);
	vxlan->vx_vni = rte_cpu_to_be_32(t->vni << 8);
	h = (uint8_t *)(vxlan + 1);
	memcpy(h, &t->remote_mac, RTE_ETHER_ADDR_LEN);
	memcpy(h + RTE_ETHER_ADDR_LEN, &tunnel_local_mac, RTE_ETHER_ADDR_LEN);
	p->hdr_len = (uint8_t)(h + RTE_ETHER_HDR_LEN - p->hdr);
}

int tunnel_resolve(uint32_t idx, uint32_t next_hop_path)
{
	struct tunnel *t = tunnel_at(idx);
	uint32_t old = atomic_load_explicit(&t->path_idx, memory_order_relaxed), path = PATH_NONE;
	int ret = 0;

	if (next_hop_path != PATH_NONE) {
		const struct path *hop = path_at(next_hop_path);
		struct path p = { .port_id = hop->port_id, .endpoint_idx = SLOT_NONE, .tunnel_idx = idx };

		memcpy(p.hdr, hop->hdr, RTE_ETHER_HDR_LEN);
		template_build(&p, t);
		memcpy(&p.hdr[12], p.kind == PATH_VXLAN4 ? "\x08\x00" : "\x86\xdd", 2);
		p.mtu = (uint16_t)(hop->mtu - (p.hdr_len - RTE_ETHER_HDR_LEN));
		path = path_create(&p);
		if (path == PATH_NONE)
			ret = -ENOSPC;
	}
	/* release: the path's content before its index; pairs with the acquire in layer_encap */
	atomic_store_explicit(&t->path_idx, path, memory_order_release);
	gen_touch(&t->gen);
	path_destroy(old);
	return ret;
}
