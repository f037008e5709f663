/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one worker works on: the worker itself and the batch. The contract between the loop (datapath/pipeline), the fast stages
 * and the slow path; per-packet state lives here, never in the mbuf. A batch comes from one receive queue; packets keep
 * their order through all stages.
 *
 * Masks hold one bit a packet: live (still to be sent), slow (needs the layers), v4/v6 (family of the key).
 */
#ifndef LEAT_PIPELINE_BATCH_H
#define LEAT_PIPELINE_BATCH_H

#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/drop.h"
#include "datapath/pipeline/port.h"
#include "datapath/table/flowtab.h"
#include "datapath/table/path.h"

#define BATCH_LEN PORT_BURST_MAX
#define WORKER_TUNNEL_CACHE 256u

#define MASK_FOREACH(i, mask)                                                                      \
	for (uint64_t mask_ = (mask), i;                                                           \
		mask_ != 0 && ((i = (uint64_t)__builtin_ctzll(mask_)), true); mask_ &= mask_ - 1)

struct batch {
	uint64_t live, slow, v4, v6, hit;
	bool is_resumed;   /* waited for a neighbour: fragments know their ports already */
	struct port *port; /* where it came in */
	uint16_t n;
	uint16_t in[BATCH_LEN]; /* port id, or FLOW_IN_TUNNEL | tunnel index */
	uint16_t zone[BATCH_LEN];
	uint8_t tcp_flags[BATCH_LEN]; /* 0 unless TCP */
	uint8_t reason[BATCH_LEN]; /* enum drop_reason that the parser found, for the slow path */
	uint32_t len[BATCH_LEN];   /* L3 length, bytes */
	uint32_t flow[BATCH_LEN];  /* flow index, FLOW_NONE */
	uint64_t hash[BATCH_LEN];
	void *entry
		[BATCH_LEN]; /* struct flow4 or flow6: the program to apply (in the table, or scratch) */
	struct rte_mbuf *m[BATCH_LEN];
	union {
		struct flow_key4 k4;
		struct flow_key6 k6;
	} key[BATCH_LEN];
	/* programs of packets that have no flow (ICMP errors, a full table) */
	union {
		struct flow4 f4;
		struct flow6 f6;
	} scratch[BATCH_LEN];
};

struct tx_out {
	uint16_t n;
	bool is_listed;
	struct rte_mbuf *m[2 * BATCH_LEN];
};

/* Counters of one stage: the loop adds once a batch. */
struct stage_count {
	uint64_t cycles, pkts, calls;
};

enum stage_id {
#define STAGE(name, help) STAGE_##name,
#include "datapath/fast/stages.def"
#undef STAGE
	STAGE_N
};

struct tunnel_cache_entry {
	struct ip_addr remote;
	uint32_t vni;
	uint32_t epoch;
	uint32_t idx;
};

/* A destination for which lately no source port was found (slow/nat.h). */
struct nat_exhausted {
	uint64_t tuple_hash;
	uint64_t until_ns;
};

#define WORKER_NAT_EXHAUSTED 64

/* Packets that wait for the gate (table/restart.h). */
#define WORKER_GATED_MAX 512
#define WORKER_GATED_PORT_MAX 64 /* of one port */

struct gated_box {
	uint16_t n;
	uint16_t in
		[WORKER_GATED_MAX]; /* FLOW_IN_TUNNEL | tunnel index, or 0; mbuf.port says the port */
	struct rte_mbuf *m[WORKER_GATED_MAX];
	uint8_t n_of_port[PORT_MAX];
};

struct worker_stats {
	uint64_t n_loops, n_busy_loops, n_rx_bursts, n_rx_pkts;
	uint64_t busy_cycles, idle_cycles, slept_ns;
	uint64_t n_hits, n_slow, n_rechecks, n_rejudged, n_new_conns, n_sleeps;
	uint64_t n_logs_lost; /* policy log messages over the limit, or that found no room */
	struct stage_count stages[STAGE_N];
};

struct worker {
	uint8_t id;
	bool is_measuring; /* stage cycles on */
	uint32_t epoch;	   /* gen_now() of this burst */
	uint32_t now_s;
	uint64_t now_ns;
	struct flowtab *ft4, *ft6;
	struct rte_mempool *pool;    /* for replies, segments, copies */
	struct port_stats *in_stats; /* of the batch's port */
	uint16_t n_tx_ports;
	uint16_t tx_ports[PORT_MAX]; /* ports with something in tx[] */
	struct tx_out *tx;	     /* PORT_MAX of them, by port id */
	uint32_t
		observe; /* bit set of what looks at packets (observe.h), read once a burst; 0: nothing */
	struct worker_stats stats;
	struct tunnel_cache_entry tunnel_cache[WORKER_TUNNEL_CACHE];
	struct ip_addr self_addr; /* last outer destination seen, and whether it is this node's */
	uint32_t self_epoch;
	uint16_t self_zone;
	bool is_self;
	uint64_t icmp_tat_ns; /* rate limit of ICMP errors, as struct meter */
	uint64_t log_tat_ns;  /* the same of policy log messages */
	uint64_t housekeeping_ns;
	struct nat_exhausted nat_exhausted[WORKER_NAT_EXHAUSTED]; /* by the hash's lowest bits */
	struct gated_box gated;
	uint32_t fragments_s;		/* when old fragments were last looked for */
	struct batch batch, side_batch; /* side: fragments whose first has come */
} __rte_cache_aligned;

/* All workers, set before they start. */
#define WORKER_MAX RCU_MAX_READERS
extern struct worker *worker_table[WORKER_MAX];
extern unsigned int worker_count;

/* All ports, by id: written by the port manager (control thread), read by workers between quiescent states. */
extern _Atomic(struct port *) port_table[PORT_MAX];

static inline struct port *port_at(uint16_t id)
{
	return id < PORT_MAX ? rcu_deref(port_table[id]) : NULL;
}

/* Counts and frees one packet. The reason is counted at the port it came in on, or (TX_*) goes out of. */
void batch_drop(
	struct worker *w, struct port_stats *stats, struct rte_mbuf *m, enum drop_reason reason);

/* Applies the programs that the batch's live packets have: the last part of their way, for a batch that the slow path made. */
void batch_apply(struct worker *w, struct batch *b);

/* Takes packet i out of the batch and drops it. */
static inline void batch_kill(
	struct worker *w, struct batch *b, uint64_t i, enum drop_reason reason)
{
	b->live &= ~(1ull << i);
	batch_drop(w, w->in_stats, b->m[i], reason);
}

/* Takes packet i out of the batch: somebody else owns it now. */
static inline void batch_take(struct batch *b, uint64_t i)
{
	b->live &= ~(1ull << i);
}

/* Sends what is queued for the port; what it does not take is dropped by name. */
void worker_flush_port(struct worker *w, uint16_t port_id);

/* Largest L3 packet that may leave by the program's path and route, bytes. */
static inline uint16_t flow_prog_mtu(const struct flow_prog *p)
{
	uint16_t mtu = path_at(atomic_load_explicit(&p->path, memory_order_relaxed))->mtu;

	if ((atomic_load_explicit(&p->flags, memory_order_relaxed) & FLOW_F_MTU) == 0)
		return mtu;
	return RTE_MIN(mtu, atomic_load_explicit(&p->mtu, memory_order_relaxed));
}

/* Queues a finished frame for a port. Owns m. */
static inline void worker_emit(struct worker *w, const struct port *port, struct rte_mbuf *m)
{
	struct tx_out *out = &w->tx[port->id];

	if (unlikely(!out->is_listed)) {
		out->is_listed = true;
		w->tx_ports[w->n_tx_ports++] = port->id;
	}
	out->m[out->n++] = m;
	if (unlikely(out->n == PORT_BURST_MAX))
		worker_flush_port(w, port->id);
}

/* Writes the path's header in front of the L3 packet at m + 14 (finishing checksums and segments that the far side does not
 * take) and queues it. hash: for the tunnel's source port. Owns m; drops are counted. */
void worker_send(
	struct worker *w, const struct path *path, struct rte_mbuf *m, bool is_v6, uint64_t hash);

/* Flushes every port's queue. */
void worker_flush(struct worker *w);

#endif
