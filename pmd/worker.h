/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers: one poll-mode thread each on a core of its own, an RCU list of receive queues each, adaptive idle. A worker that
 * receives nothing for WORKER_SPIN_NS arms its queues' wake-ups and sleeps on their descriptors; queues that cannot
 * wake it (net_af_packet …) bound the sleep to WORKER_POLL_NS.
 */
#ifndef LEAT_PMD_WORKER_H
#define LEAT_PMD_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/pipeline/batch.h"

#define WORKER_SPIN_NS 50000u
#define WORKER_POLL_NS 500000u
#define WORKER_SLEEP_MAX_NS 100000000u

/* Makes n workers (one per EAL worker, eal_n_workers()) over the two flow tables and starts their threads. The tables were opened with
 * n sweepers. busy_poll: never sleep (benchmarks). After eal_start(), mempool_init(), rcu_init(), punt_init(),
 * observe_init(). 0 or -errno. Control thread, as everything here. */
int workers_start(struct flowtab *ft4, struct flowtab *ft6, bool is_busy_poll);

/* Ends the threads and waits for them; queues are forgotten. The worker objects stay until workers_fini(). */
void workers_stop(void);
void workers_fini(void);

/* Wakes those that sleep: something other than packets has come. */
void workers_wake(void);

/* portmgr's hooks: spread the port's receive queues over the workers with the fewest; take them away again. */
int workers_attach(struct port *p, char *errbuf, size_t errlen);
void workers_detach(struct port *p);

/* One receive queue's place, for worker.show: fills up to max of worker id's. Number filled. */
struct worker_queue {
	uint16_t port_id;
	uint16_t queue;
	uint64_t n_pkts; /* received here since it was placed */
};
unsigned int workers_queues(unsigned int worker, struct worker_queue *out, unsigned int max);

#endif
