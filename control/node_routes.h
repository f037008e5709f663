/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes of the node's kernel towards leatd, through the host port: to pods, to what tunnels lead to, and to the addresses that
 * leatd translates or answers for itself (services, pools, pairs, uplinks). What is wanted is counted by prefix; a change costs one
 * message to the kernel, and many of them (a start, a new host port) are worked off in slices. Control thread only.
 */
#ifndef LEAT_NODE_ROUTES_H
#define LEAT_NODE_ROUTES_H

#include <stddef.h>
#include <stdint.h>

#include "datapath/base/addr.h"

void node_routes_init(void);
void node_routes_fini(void);

/* One more user of the route; the kernel gets it with the first, if there is a host port of this zone. mtu: 0: the device's. What
 * cannot be done is logged and tried again with the next host port. */
void node_route_get(uint16_t zone, const struct ip_prefix *prefix, uint16_t mtu);
/* One less. */
void node_route_put(uint16_t zone, const struct ip_prefix *prefix);

/* The same for a single address that is not a pod's: another's route to it is left in place. */
void node_route_get_addr(uint16_t zone, const struct ip_addr *addr);
void node_route_put_addr(uint16_t zone, const struct ip_addr *addr);

/* A host port came, or its device is a new one: everything of its zone is wanted. */
void node_routes_host_came(void);
/* The host port goes: its routes go from the kernel. */
void node_routes_host_gone(void);

size_t node_routes_n_installed(void);
size_t node_routes_n_waiting(void);

#endif
