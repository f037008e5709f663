/* SPDX-License-Identifier: BSD-3-Clause */
/* The body of a worker's loop: one receive queue's burst through all stages, and what a worker does beside packets. */
#ifndef LEAT_PIPELINE_PIPELINE_H
#define LEAT_PIPELINE_PIPELINE_H

#include "datapath/pipeline/batch.h"

/* Makes worker `id` (cache-aligned, its queues empty) and enters it in worker_table. ft4, ft6: shared by all workers. pool: for
 * packets that the worker makes. NULL when memory ran out. Control thread, before the worker starts. */
struct worker *worker_create(
	unsigned int id, struct flowtab *ft4, struct flowtab *ft6, struct rte_mempool *pool);
void worker_destroy(struct worker *w);

/* Once before each round over the queues: time, epoch, observers. */
void pipeline_round_begin(struct worker *w);

/* Receives one burst from the queue and carries it through. Number received. */
uint16_t pipeline_poll(struct worker *w, struct port *p, uint16_t queue);

/* Carries n packets that came in on p through. in: FLOW_IN_TUNNEL | index for packets that were decapsulated already, else 0. */
void pipeline_run(
	struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n, uint16_t in);

/* Mailbox, sweeping, reclaiming: at most a few µs a call, each job when it is due. Once a round. Whether something was done that may
 * want to be repeated at once. */
bool pipeline_housekeep(struct worker *w);

#endif
