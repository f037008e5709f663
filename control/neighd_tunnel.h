/* SPDX-License-Identifier: BSD-3-Clause */
/* The tunnels' side of neighd: which underlay route and neighbour a tunnel stands on. Control thread only. */
#ifndef LEAT_NEIGHD_TUNNEL_H
#define LEAT_NEIGHD_TUNNEL_H

#include <stdint.h>

#include "datapath/pipeline/punt.h"

/* In neighd.c: the entry for a neighbour, asked for when it is new or had failed. NEIGH_NONE: table full. */
uint32_t neighd_want(uint16_t port_id, const struct ip_addr *addr);

/* Holds a packet for an unresolved tunnel. */
void neighd_tunnel_hold(const struct punt_msg *msg);

void neighd_tunnel_neigh_changed(uint32_t neigh_idx);
void neighd_tunnel_neigh_gone(uint32_t neigh_idx);

/* A router between here and the remote end passes mtu bytes at most (RFC 1191, RFC 8201): its tunnels take that over,
 * for NEIGHD_PMTU_NS. Never below what leaves an inner IPv6 packet its 1280 bytes: a forged message shall not stop a tunnel. */
#define NEIGHD_PMTU_NS 600000000000ull
void neighd_tunnel_too_big(const struct ip_addr *remote, uint32_t mtu);

/* Looks at some tunnels: has their underlay route changed, is a learned MTU old? */
void neighd_tunnel_tick(void);

#endif
