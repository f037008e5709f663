/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/tunnel.h"

#include <errno.h>
#include <string.h>

#include "datapath/base/gen.h"
#include "datapath/table/addrmap.h"
#include "datapath/table/path.h"
#include "datapath/table/restart.h"

struct slots tunnel_slots;
struct rte_ether_addr tunnel_local_mac;
uint64_t tunnel_udp_ports[65536 / 64];

#define SCOPE_REMOTE UINT32_MAX /* no VNI: how many tunnels the remote end has */

/* (VNI, remote) → index, and (SCOPE_REMOTE, remote) → count. */
static struct addrmap *by_remote;
static uint32_t port_users[65536];

int tunnel_table_init(void)
{
	if (slots_init(&tunnel_slots, sizeof(struct tunnel), TUNNEL_TABLE_MAX) < 0)
		return -ENOMEM;
	by_remote = addrmap_create("tunnel", 2 * TUNNEL_TABLE_MAX);
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
	return addrmap_get(by_remote, SCOPE_REMOTE, remote) != ADDRMAP_NONE;
}

/* One more or one less tunnel to the remote end. 0 or -ENOSPC. */
static int remote_count(const struct ip_addr *remote, int diff)
{
	uint32_t n = addrmap_get(by_remote, SCOPE_REMOTE, remote);

	n = (n != ADDRMAP_NONE ? n : 0) + (uint32_t)diff;
	return n != 0 ? addrmap_set(by_remote, SCOPE_REMOTE, remote, n)
		      : addrmap_del(by_remote, SCOPE_REMOTE, remote);
}

int tunnel_add(const struct tunnel *proto, uint32_t *out_idx)
{
	struct tunnel *t;
	uint32_t idx;

	if (tunnel_by_name(proto->name) != TUNNEL_NONE ||
		tunnel_lookup(&proto->remote, proto->vni) != TUNNEL_NONE)
		return -EEXIST;
	idx = restart_tunnel_find(&proto->remote, proto->vni, proto->zone);
	if (idx != SLOT_NONE)
		slots_alloc_at(&tunnel_slots, idx);
	else
		idx = slots_alloc(&tunnel_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	t = tunnel_at(idx);
	memcpy((uint8_t *)t + sizeof(uint32_t), (const uint8_t *)proto + sizeof(uint32_t),
		sizeof(*t) - sizeof(uint32_t));
	atomic_store_explicit(&t->path_idx, PATH_NONE, memory_order_relaxed);
	t->underlay_route = t->underlay_neigh = SLOT_NONE;
	t->resolved_epoch = 0;
	t->underlay_mtu = 0;
	if (remote_count(&t->remote, 1) < 0)
		goto err_slot;
	if (addrmap_set(by_remote, t->vni, &t->remote, idx) < 0)
		goto err_remote;
	if (port_users[t->udp_port]++ == 0)
		tunnel_udp_ports[t->udp_port / 64] |= 1ull << (t->udp_port % 64);
	restart_tunnel_save(idx, &t->remote, t->vni, t->zone);
	*out_idx = idx;
	return 0;

err_remote:
	remote_count(&t->remote, -1);
err_slot:
	slots_free(&tunnel_slots, idx);
	return -ENOSPC;
}

void tunnel_del(uint32_t idx)
{
	struct tunnel *t = tunnel_at(idx);

	addrmap_del(by_remote, t->vni, &t->remote);
	remote_count(&t->remote, -1);
	if (--port_users[t->udp_port] == 0)
		tunnel_udp_ports[t->udp_port / 64] &= ~(1ull << (t->udp_port % 64));
	path_destroy(atomic_load_explicit(&t->path_idx, memory_order_relaxed));
	restart_tunnel_forget(idx);
	slots_free(&tunnel_slots, idx);
}

/* Largest inner packet over a next hop that takes hop_mtu bytes. */
static uint16_t path_mtu(const struct tunnel *t, uint16_t hop_mtu)
{
	uint16_t outer = t->underlay_mtu != 0 ? RTE_MIN(t->underlay_mtu, hop_mtu) : hop_mtu;
	uint16_t inner =
		(uint16_t)(outer - (ip_is_v4(&t->remote) ? VXLAN_OVERHEAD4 : VXLAN_OVERHEAD6));

	return t->mtu != 0 ? RTE_MIN(t->mtu, inner) : inner;
}

int tunnel_resolve(uint32_t idx, uint32_t next_hop_path)
{
	struct tunnel *t = tunnel_at(idx);
	uint32_t old = atomic_load_explicit(&t->path_idx, memory_order_relaxed), path = PATH_NONE;
	int ret = 0;

	if (next_hop_path != PATH_NONE) {
		const struct path *hop = path_at(next_hop_path);
		struct vxlan_config cfg = { .local = t->local,
			.remote = t->remote,
			.inner_src = tunnel_local_mac,
			.inner_dst = t->remote_mac,
			.vni = t->vni,
			.udp_port = t->udp_port,
			.is_dscp_uniform = t->is_dscp_uniform,
			.has_udp_csum = t->has_udp_csum };
		struct path p = { .port_id = hop->port_id,
			.kind = PATH_VXLAN,
			.endpoint_idx = SLOT_NONE,
			.tunnel_idx = idx };

		memcpy(&cfg.remote_mac, &hop->macs[0], RTE_ETHER_ADDR_LEN);
		memcpy(&cfg.local_mac, &hop->macs[RTE_ETHER_ADDR_LEN], RTE_ETHER_ADDR_LEN);
		if (!vxlan_template_init(&p.vxlan, &cfg))
			return -EINVAL;
		p.mtu = path_mtu(t, hop->mtu);
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
