/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/pipeline/world.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/neigh.h"
#include "datapath/table/route.h"
#include "datapath/table/tables.h"
#include "datapath/table/tunnel.h"
#include "perf/pipeline/rules.h"

#define FRAME_LEN 64
#define FRAME_LEN6 66
#define VNI 1
#define V4(a, b, c, d) RTE_BE32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static const rte_be32_t pod_a = V4(10, 244, 1, 2), pod_b = V4(10, 244, 1, 3),
			pod_far = V4(10, 244, 2, 2);
static const rte_be32_t self = V4(172, 31, 251, 1), far_node = V4(172, 31, 251, 2);
static const struct rte_ether_addr gw_mac = { { 2, 0, 0, 0, 0, 1 } },
				   far_mac = { { 2, 0, 0, 0, 1, 2 } };
static const struct rte_ether_addr far_tunnel_mac = { { 2, 0, 0, 0, 2, 2 } };

/* --- the bench port ------------------------------------------------------------------------------------------- */

struct staged {
	uint16_t n;
	struct rte_mbuf *m[BATCH_LEN];
};

static struct staged staged[WORLD_PORTS];
static uint64_t n_taken;

static uint16_t bench_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct staged *s = p->priv;
	uint16_t n = s->n;

	(void)queue;
	(void)worker;
	(void)max;
	memcpy(pkts, s->m, n * sizeof(pkts[0]));
	s->n = 0;
	return n;
}

static uint16_t bench_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	(void)p;
	(void)worker;
	(void)pkts;
	n_taken += n;
	return n;
}

static bool bench_is_up(const struct port *p)
{
	(void)p;
	return true;
}

static const struct port_ops bench_ops = {
	.kind = "bench", .rx = bench_rx, .tx = bench_tx, .is_up = bench_is_up
};

/* --- set-up --------------------------------------------------------------------------------------------------- */

static struct ip_addr v6_of(rte_be32_t v4)
{
	return (struct ip_addr){ .w = { RTE_BE32(0xfd000000), 0, 0, v4 } };
}

static int port_setup(
	struct world *world, unsigned int id, enum port_role role, struct rte_ether_addr mac)
{
	struct port *p = &world->ports[id];

	p->ops = &bench_ops;
	p->priv = &staged[id];
	p->id = (uint16_t)id;
	p->n_rxq = 1;
	p->role = (uint8_t)role;
	p->endpoint_idx = ENDPOINT_NONE;
	p->mtu = 1500;
	p->mac = mac;
	p->gw_mac = gw_mac;
	p->pool = world->pool;
	p->stats[0] = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(struct port_stats), 64));
	if (!p->stats[0])
		return -ENOMEM;
	memset(p->stats[0], 0, sizeof(struct port_stats));
	snprintf(p->name, sizeof(p->name), "bench%u", id);
	rcu_assign(port_table[id], p);
	return 0;
}

static int endpoint_setup(
	struct world *world, unsigned int port, enum endpoint_kind kind, rte_be32_t ip)
{
	struct port *p = &world->ports[port];
	struct endpoint_config cfg = { .id = p->name,
		.kind = kind,
		.port_id = p->id,
		.mac = p->mac,
		.gw_mac = p->gw_mac,
		.mtu = p->mtu,
		.n_addrs = 2,
		.addrs = { ip_from_v4(ip), v6_of(ip) } };

	return endpoint_add(&cfg, &p->endpoint_idx, NULL);
}

static int tunnel_setup(struct world *world)
{
	struct ip_addr hop = ip_from_v4(far_node);
	struct port *up = &world->ports[WORLD_UPLINK];
	uint32_t neigh = neigh_get(up->id, &hop), idx;
	struct tunnel proto = { .type = TUNNEL_VXLAN,
		.udp_port = TUNNEL_VXLAN_PORT,
		.vni = VNI,
		.remote = hop,
		.local = ip_from_v4(self),
		.remote_mac = far_tunnel_mac,
		.name = "far" };
	struct route_config route = { .prefix = { ip_from_v4(V4(10, 244, 2, 0)), 24 },
		.kind = ROUTE_TUNNEL };
	int ret;

	tunnel_local_mac = (struct rte_ether_addr){ { 2, 0, 0, 0, 2, 1 } };
	if (neigh == NEIGH_NONE)
		return -ENOSPC;
	ret = neigh_set(neigh, NEIGH_STATIC, &far_mac, &up->mac, up->mtu);
	if (!ret)
		ret = tunnel_add(&proto, &idx);
	if (!ret)
		ret = tunnel_resolve(idx, neigh_at(neigh)->path_idx);
	route.tunnel_idx = idx;
	return ret ? ret : route_add(&route, NULL);
}

static int tables_setup(void)
{
	const char *what;
	int ret;

	clock_init();
	ret = tables_init(1u << 16, 1ull << 28, &what);
	if (!ret)
		ret = punt_init();
	return ret ? ret : observe_init();
}

static int flow_tables_setup(struct world *world, uint32_t n_conns, bool is_v6, bool no_huge)
{
	char instance[32];
	const char *why = NULL;
	int ret;

	snprintf(instance, sizeof(instance), "bench%d", (int)getpid());
	ret = flowtab_open(
		&world->ft4, no_huge ? NULL : instance, false, is_v6 ? 64 : n_conns, 1, -1, &why);
	if (!ret)
		ret = flowtab_open(&world->ft6, no_huge ? NULL : instance, true,
			is_v6 ? n_conns : 64, 1, -1, &why);
	return ret;
}

static int mbufs_setup(struct world *world)
{
	world->pool = rte_pktmbuf_pool_create(
		"bench", 2 * WORLD_MBUFS - 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!world->pool || rte_pktmbuf_alloc_bulk(world->pool, world->mbufs, WORLD_MBUFS))
		return -ENOMEM;
	return 0;
}

int world_open(struct world *world, uint32_t n_conns, bool is_v6, bool no_huge)
{
	const struct rte_ether_addr macs[WORLD_PORTS] = { { { 0x0a, 0x58, 10, 244, 1, 2 } },
		{ { 0x0a, 0x58, 10, 244, 1, 3 } }, { { 2, 0, 0, 0, 1, 1 } } };
	int ret = tables_setup();

	memset(world, 0, sizeof(*world));
	world->tcp_flags = RTE_TCP_ACK_FLAG;
	if (!ret)
		ret = mbufs_setup(world);
	if (!ret)
		ret = flow_tables_setup(world, n_conns, is_v6, no_huge);
	for (unsigned int i = 0; !ret && i < WORLD_PORTS; i++)
		ret = port_setup(
			world, i, i == WORLD_UPLINK ? PORT_ROLE_UPLINK : PORT_ROLE_POD, macs[i]);
	if (!ret)
		ret = endpoint_setup(world, WORLD_A, ENDPOINT_POD, pod_a);
	if (!ret)
		ret = endpoint_setup(world, WORLD_B, ENDPOINT_POD, pod_b);
	if (!ret)
		ret = endpoint_setup(world, WORLD_UPLINK, ENDPOINT_SELF, self);
	if (!ret)
		ret = tunnel_setup(world);
	if (ret) {
		fprintf(stderr, "bench: set-up failed: %s\n", strerror(-ret));
		return ret;
	}
	gen_publish();
	world->w = worker_create(0, &world->ft4, &world->ft6, world->pool);
	if (!world->w)
		return -ENOMEM;
	rcu_reader_register(0);
	return 0;
}

int world_serve(struct world *world, uint32_t n_services, uint32_t n_rules, uint32_t n_policies)
{
	int ret = services_fill(n_services, ip_from_v4(pod_b));

	if (!ret && n_rules)
		ret = rules_fill(
			n_rules, n_policies, world->ports[WORLD_B].endpoint_idx, ip_from_v4(pod_a));
	if (ret)
		fprintf(stderr, "bench: services or rules: %s\n", strerror(-ret));
	world->n_services = n_services;
	gen_publish();
	return ret;
}

void world_close(struct world *world)
{
	rcu_reader_unregister(0);
	worker_destroy(world->w);
	for (unsigned int i = 0; i < WORLD_PORTS; i++) {
		rcu_assign(port_table[i], NULL);
		free(world->ports[i].stats[0]);
	}
	flowtab_close(&world->ft4, false);
	flowtab_close(&world->ft6, false);
	rte_pktmbuf_free_bulk(world->mbufs, WORLD_MBUFS);
	rte_mempool_free(world->pool);
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static void fill_ip4(
	struct rte_ipv4_hdr *ip, rte_be32_t src, rte_be32_t dst, uint8_t proto, uint16_t len)
{
	*ip = (struct rte_ipv4_hdr){ .version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(len),
		.time_to_live = 64,
		.next_proto_id = proto,
		.src_addr = src,
		.dst_addr = dst };
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

/* A segment of a connection whose numbers began at 0: valid in every window. */
static void fill_tcp(struct rte_tcp_hdr *tcp, uint8_t flags)
{
	tcp->sent_seq = rte_cpu_to_be_32((flags & RTE_TCP_SYN_FLAG) == 0);
	tcp->recv_ack = rte_cpu_to_be_32((flags & RTE_TCP_ACK_FLAG) != 0);
	tcp->data_off = 5 << 4;
	tcp->tcp_flags = flags;
	tcp->rx_win = RTE_BE16(0xffff);
}

/* tcp_flags 0: UDP. */
static void fill_l4(uint8_t *l4, uint8_t tcp_flags, uint32_t id, unsigned int dir, uint16_t len)
{
	rte_be16_t sport = rte_cpu_to_be_16((uint16_t)(0x4000 + (id & 0x3fff)));
	rte_be16_t dport = rte_cpu_to_be_16((uint16_t)(0x2000 + (id >> 14)));

	memset(l4, 0, len);
	memcpy(l4, dir ? &dport : &sport, 2);
	memcpy(l4 + 2, dir ? &sport : &dport, 2);
	if (tcp_flags != 0) {
		fill_tcp((struct rte_tcp_hdr *)l4, tcp_flags);
	} else {
		rte_be16_t be = rte_cpu_to_be_16(len);
		memcpy(l4 + 4, &be, 2);
	}
}

static void fill_eth(struct rte_ether_hdr *eth, struct rte_ether_addr dst,
	struct rte_ether_addr src, uint16_t type)
{
	eth->dst_addr = dst;
	eth->src_addr = src;
	eth->ether_type = rte_cpu_to_be_16(type);
}

/* Outer headers of what the far node sends; the inner frame comes behind. */
static uint8_t *fill_outer(const struct world *world, uint8_t *p, uint32_t id)
{
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(p + 34);
	struct rte_vxlan_hdr *vx = (struct rte_vxlan_hdr *)(udp + 1);

	fill_eth((struct rte_ether_hdr *)p, world->ports[WORLD_UPLINK].mac, far_mac,
		RTE_ETHER_TYPE_IPV4);
	fill_ip4((struct rte_ipv4_hdr *)(p + 14), far_node, self, IPPROTO_UDP, FRAME_LEN + 36);
	*udp = (struct rte_udp_hdr){ .src_port = rte_cpu_to_be_16(
					     (uint16_t)(0xc000 | (id & 0x3fff))),
		.dst_port = RTE_BE16(TUNNEL_VXLAN_PORT),
		.dgram_len = RTE_BE16(FRAME_LEN + 16) };
	*vx = (struct rte_vxlan_hdr){ .vx_flags = RTE_BE32(0x08000000),
		.vx_vni = RTE_BE32(VNI << 8) };
	return p + 50;
}

void world_stage(struct world *world, enum world_kind kind, uint32_t id, unsigned int dir)
{
	bool is_far = kind == WORLD_ENCAP || kind == WORLD_DECAP, is_wrapped = is_far && dir;
	unsigned int port = is_wrapped ? WORLD_UPLINK : dir ? WORLD_B : WORLD_A;
	uint16_t len = kind == WORLD_UDP6 ? FRAME_LEN6 : FRAME_LEN;
	struct rte_mbuf *m = world->mbufs[world->mbuf_pos++ % WORLD_MBUFS];
	rte_be32_t far = is_far ? pod_far : pod_b, src = dir ? far : pod_a, dst = dir ? pod_a : far;
	uint8_t *p;

	if (world->n_services && !dir)
		dst = rte_cpu_to_be_32(RULES_VIP_FIRST + (id >> 3) % world->n_services);
	rte_pktmbuf_reset(m);
	p = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = (uint16_t)(len + (is_wrapped ? 50 : 0));
	m->pkt_len = m->data_len;
	if (is_wrapped) {
		p = fill_outer(world, p, id);
		fill_eth((struct rte_ether_hdr *)p, tunnel_local_mac, far_tunnel_mac,
			RTE_ETHER_TYPE_IPV4);
	} else {
		fill_eth((struct rte_ether_hdr *)p, gw_mac, world->ports[port].mac,
			kind == WORLD_UDP6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	}
	if (kind == WORLD_UDP6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(p + 14);
		struct ip_addr a = v6_of(src), b = v6_of(dst);

		*ip = (struct rte_ipv6_hdr){ .vtc_flow = RTE_BE32(6u << 28),
			.payload_len = RTE_BE16(FRAME_LEN6 - 54),
			.proto = IPPROTO_UDP,
			.hop_limits = 64 };
		memcpy(ip->src_addr, a.b, 16);
		memcpy(ip->dst_addr, b.b, 16);
		fill_l4(p + 54, 0, id, dir, FRAME_LEN6 - 54);
	} else {
		bool is_tcp = kind == WORLD_TCP4;

		fill_ip4((struct rte_ipv4_hdr *)(p + 14), src, dst,
			is_tcp ? IPPROTO_TCP : IPPROTO_UDP, FRAME_LEN - 14);
		fill_l4(p + 34, is_tcp ? world->tcp_flags : 0, id, dir, FRAME_LEN - 34);
	}
	staged[port].m[staged[port].n++] = m;
}

/* Not inlined: callgrind collects inside this function. */
__attribute__((noinline)) unsigned int world_round(struct world *world)
{
	struct worker *w = world->w;
	unsigned int n = 0;

	pipeline_round_begin(w);
	for (unsigned int i = 0; i < WORLD_PORTS; i++)
		n += pipeline_poll(w, &world->ports[i], 0);
	pipeline_housekeep(w);
	rcu_quiescent(w->id);
	world->n_sent = n_taken;
	return n;
}

uint64_t world_drops(const struct world *world)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < WORLD_PORTS; i++)
		for (unsigned int r = 0; r < DROP_N; r++)
			n += world->ports[i].stats[0]->drops[r];
	return n;
}
