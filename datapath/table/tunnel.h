/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tunnel ends: one object a remote end and VNI. A route sends packets into it (path_idx), and only packets from a known
 * (outer source, VNI) are decapsulated, into its zone.
 * The path depends on the underlay's route and neighbour; the control thread (control/neighd.c) resolves it and keeps it fresh.
 * Writer: control thread. Readers: workers.
 */
#ifndef LEAT_TABLE_TUNNEL_H
#define LEAT_TABLE_TUNNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>

#include "datapath/base/addr.h"
#include "datapath/base/slots.h"

#define TUNNEL_NONE SLOT_NONE
#define TUNNEL_TABLE_MAX (1u << 14)
#define TUNNEL_NAME_LEN 64
#define TUNNEL_VXLAN_PORT 4789

enum tunnel_type { TUNNEL_VXLAN };

struct tunnel {
	_Atomic uint32_t gen;
	uint8_t type;	      /* enum tunnel_type */
	bool is_transit;      /* what comes out may leave by an uplink */
	bool is_dscp_uniform; /* outer and inner DSCP are one (RFC 2983) */
	bool has_udp_csum;    /* in the outer UDP header of what is sent */
	uint16_t zone;
	uint16_t udp_port; /* host order */
	uint16_t mtu;	   /* largest inner packet, bytes; 0: what the underlay takes */
	uint32_t vni;
	struct ip_addr remote, local;
	struct rte_ether_addr remote_mac; /* inner destination */
	_Atomic uint32_t path_idx;	  /* PATH_NONE until the underlay is resolved */
	uint32_t resolved_epoch;	  /* gen_now() when path_idx was made; control thread */
	uint32_t underlay_route, underlay_neigh; /* what the path was made from; control thread */
	uint16_t underlay_mtu; /* learned from ICMP "too big" (RFC 1191), 0: none; control thread */
	uint64_t underlay_mtu_ns; /* when, clock_ns() */
	char name[TUNNEL_NAME_LEN];
};

extern struct slots tunnel_slots;

/* This node's inner MAC, the same for every tunnel; set once before tunnels are added (sys.local state). */
extern struct rte_ether_addr tunnel_local_mac;

/* UDP ports on which any tunnel listens, by bit: workers test it before they parse further. Host order. */
extern uint64_t tunnel_udp_ports[65536 / 64];

int tunnel_table_init(void);
void tunnel_table_fini(void);

/* Adds *proto (gen, path_idx ignored). -EEXIST: the name or (remote, VNI) is taken; -ENOSPC. Control thread. */
int tunnel_add(const struct tunnel *proto, uint32_t *out_idx);
void tunnel_del(uint32_t idx);
uint32_t tunnel_by_name(const char *name);
uint32_t tunnel_next(uint32_t idx);

/* Known end by outer source and VNI, or TUNNEL_NONE. Any thread. */
uint32_t tunnel_lookup(const struct ip_addr *remote, uint32_t vni);

/* Whether any tunnel has that remote end (to tell an unknown end from an unknown VNI). Any thread. */
bool tunnel_remote_known(const struct ip_addr *remote);

/* Makes or replaces the path: outer Ethernet header from next_hop_path (a resolved neighbour's), MTU from it (or
 * underlay_mtu, if that is less) less the headers, at most the tunnel's own.
 * next_hop_path PATH_NONE: back to unresolved. 0, -ENOSPC, -EINVAL (families of local and remote differ). Control thread. */
int tunnel_resolve(uint32_t idx, uint32_t next_hop_path);

static inline struct tunnel *tunnel_at(uint32_t idx)
{
	return slots_at(&tunnel_slots, idx);
}

static inline bool tunnel_listens(uint16_t udp_port)
{
	return (tunnel_udp_ports[udp_port / 64] >> (udp_port % 64)) & 1;
}

#endif
