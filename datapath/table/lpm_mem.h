/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of the route tables: an address range that grows without moving, and a queue of indexes
 * that wait for a grace period in batches. Control thread only; both are private to lpm.c and
 * route.c.
 */
#ifndef LEAT_TABLE_LPM_MEM_H
#define LEAT_TABLE_LPM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages are taken from and given back to the kernel in steps of this size. */
#define VMEM_STEP_BYTES ((size_t)2 << 20)

struct vmem {
	uint8_t *base;	     /* never moves */
	size_t max_bytes;    /* reserved address space, a multiple of the step */
	size_t mapped_bytes; /* readable and writable from base on, zero-filled when new */
};

/* Reserves address space only. 0 or -ENOMEM. */
int vmem_init(struct vmem *r, size_t max_bytes);
void vmem_fini(struct vmem *r);

/* At least `bytes` usable from the start on. 0 or -ENOMEM with nothing changed. */
int vmem_grow(struct vmem *r, size_t bytes);

/* Gives at most max_steps steps behind `bytes` back. Whether there are more. */
bool vmem_shrink(struct vmem *r, size_t bytes, unsigned int max_steps);

#define GRACE_BATCH_LEN 500

struct grace_batch {
	struct grace_batch *next;
	uint64_t token; /* 0: still filling */
	uint32_t n_in, n_out;
	uint32_t idx[GRACE_BATCH_LEN];
};

struct grace_queue {
	struct grace_batch *head, *tail; /* the tail is the one that fills */
	struct grace_batch *spare;
	size_t n_spare;
	size_t n_waiting; /* indexes in the queue */
};

void grace_init(struct grace_queue *q);
void grace_fini(struct grace_queue *q);

/* Makes sure that the next n pushes find room. 0 or -ENOMEM. */
int grace_reserve(struct grace_queue *q, size_t n);

/* Queues an index that readers may still hold but can no longer find. Room must have been
 * reserved. */
void grace_push(struct grace_queue *q, uint32_t idx);

/* Starts the grace period of a batch that is not full. */
void grace_close(struct grace_queue *q);

/* The oldest index, if no reader can hold it any more. */
bool grace_pop(struct grace_queue *q, uint32_t *out_idx);

#endif
