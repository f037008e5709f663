/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node in one process for measuring the pipeline without a port driver: two pods, an uplink and a VXLAN tunnel, one
 * worker that the calling thread plays itself. A bench port hands over frames that were laid out beforehand and takes
 * what is sent without looking at it, so that the time between is the pipeline's. Single thread.
 */
#ifndef LEAT_PERF_PIPELINE_WORLD_H
#define LEAT_PERF_PIPELINE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/pipeline/pipeline.h"

#define WORLD_PORTS 3
#define WORLD_MBUFS 512 /* frames go round in these, as in a real ring: L2, not L1 */

enum world_port { WORLD_A, WORLD_B, WORLD_UPLINK };

/* What a measured packet does. */
enum world_kind {
	WORLD_UDP4, /* pod to pod, both directions */
	WORLD_TCP4, /* the same, ACKs of established connections */
	WORLD_UDP6,
	WORLD_ENCAP, /* pod to a remote pod: into the tunnel */
	WORLD_DECAP, /* the way back: out of the tunnel */
	WORLD_KIND_N
};

struct world {
	struct worker *w;
	struct flowtab ft4, ft6;
	struct port ports[WORLD_PORTS];
	struct rte_mempool *pool;
	struct rte_mbuf *mbufs[WORLD_MBUFS];
	uint32_t mbuf_pos;
	uint64_t n_sent;     /* frames that came out */
	uint8_t tcp_flags;   /* of the TCP segments that are laid out */
	uint32_t n_services; /* 0: A sends to B itself, else to the services in turn */
};

/* Everything up. n_conns: size of the IPv4 table (IPv6: the same when is_v6, else small). Hugepages unless no_huge.
 * 0 or -errno, with a line on standard error. */
int world_open(struct world *world, uint32_t n_conns, bool is_v6, bool no_huge);
void world_close(struct world *world);

/* Puts n services in front of pod B and n rules, the last of which lets A in, in n policies before it; 0: none. IPv4. 0 or -errno,
 * with a line on standard error. */
int world_serve(struct world *world, uint32_t n_services, uint32_t n_rules, uint32_t n_policies);

/* Lays out one frame of `kind` and flow `id` in direction dir (0: A sends; 1: the answer) on the port it comes in on, to be
 * received by the next round. */
void world_stage(struct world *world, enum world_kind kind, uint32_t id, unsigned int dir);

/* One round of a worker's loop over the staged ports: polls, housekeeping, quiescent state. Packets received. */
unsigned int world_round(struct world *world);

/* Drops by all reasons on all ports since the start: 0 in a sound measurement. */
uint64_t world_drops(const struct world *world);

#endif
