/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours and tunnel ends: asks (ARP, ND) for what workers want, holds their packets meanwhile, learns from answers,
 * asks again when an answer is old. Timers run on clock_ns(), which tests warp. Control thread only.
 */
#ifndef LEAT_NEIGHD_H
#define LEAT_NEIGHD_H

#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/pipeline/port.h"

#define NEIGHD_HOLD_MAX 16u /* packets a neighbour or tunnel */
#define NEIGHD_HOLD_TOTAL_MAX 4096u
#define NEIGHD_RETRY_NS 1000000000ull	   /* RFC 4861 s. 10: RETRANS_TIMER */
#define NEIGHD_PROBES_MAX 3u		   /* MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT */
#define NEIGHD_REACHABLE_NS 30000000000ull /* REACHABLE_TIME */
#define NEIGHD_FAILED_NS 60000000000ull	   /* forgotten when nobody has asked for so long */

/* After punt_init() and workers_start(). 0 or -errno. */
int neighd_init(void);
void neighd_fini(void);

/* 0 or -ENOSPC. */
int neighd_set_static(
	const struct port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac);

/* Removes an entry; its held packets are dropped. */
void neighd_forget(uint32_t idx);

/* The port's own MAC is a new one, or its device is: paths get it, and who answered before is asked again. */
void neighd_port_changed(const struct port *port);

/* Before the port is destroyed: forgets its neighbours and its packets. */
void neighd_port_gone(const struct port *port);

/* Begins to resolve a new tunnel; forgets one that is about to be removed. */
void neighd_tunnel_added(uint32_t idx);
void neighd_tunnel_changed(uint32_t idx);
void neighd_tunnel_removed(uint32_t idx);

struct neighd_stats {
	uint64_t n_requests, n_learned, n_failed, n_held, n_hold_full;
	uint32_t n_holding;
};
extern struct neighd_stats neighd_stats;

#endif
