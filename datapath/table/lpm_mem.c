/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/lpm_mem.h"

#include <errno.h>
#include <stdlib.h>

#include <sys/mman.h>

#include <rte_common.h>

#include "datapath/base/rcu.h"

/* Empty batches kept for reuse beyond those reserved. */
#define GRACE_SPARE_MAX 64

int vmem_init(struct vmem *r, size_t max_bytes)
{
	size_t size = RTE_ALIGN_CEIL(max_bytes, VMEM_STEP_BYTES);
	/* one step more, to align the start for huge pages */
	uint8_t *raw = mmap(NULL, size + VMEM_STEP_BYTES, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (raw == MAP_FAILED)
		return -ENOMEM;
	base = RTE_PTR_ALIGN_CEIL(raw, VMEM_STEP_BYTES);
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	if (raw + VMEM_STEP_BYTES > base)
		munmap(base + size, (size_t)(raw + VMEM_STEP_BYTES - base));
	*r = (struct vmem){ .base = base, .max_bytes = size };
	return 0;
}

void vmem_fini(struct vmem *r)
{
	if (r->base != NULL)
		munmap(r->base, r->max_bytes);
	*r = (struct vmem){ 0 };
}

int vmem_grow(struct vmem *r, size_t bytes)
{
	size_t size = RTE_ALIGN_CEIL(bytes, VMEM_STEP_BYTES);

	if (size <= r->mapped_bytes)
		return 0;
	if (size > r->max_bytes)
		return -ENOMEM;
	if (mprotect(r->base + r->mapped_bytes, size - r->mapped_bytes, PROT_READ | PROT_WRITE) !=
		0)
		return -ENOMEM;
	/* a hint; small pages do as well */
	(void)madvise(r->base + r->mapped_bytes, size - r->mapped_bytes, MADV_HUGEPAGE);
	r->mapped_bytes = size;
	return 0;
}

bool vmem_shrink(struct vmem *r, size_t bytes, unsigned int max_steps)
{
	size_t keep = RTE_ALIGN_CEIL(bytes, VMEM_STEP_BYTES);
	size_t to;

	if (r->mapped_bytes <= keep)
		return false;
	to = RTE_MAX(keep, r->mapped_bytes - RTE_MIN(r->mapped_bytes, max_steps * VMEM_STEP_BYTES));
	/* a fresh mapping over the old one frees the pages and their commit charge in one step */
	if (mmap(r->base + to, r->mapped_bytes - to, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	r->mapped_bytes = to;
	return to > keep;
}

void grace_init(struct grace_queue *q)
{
	*q = (struct grace_queue){ 0 };
}

static void batches_free(struct grace_batch *b)
{
	while (b != NULL) {
		struct grace_batch *next = b->next;

		free(b);
		b = next;
	}
}

void grace_fini(struct grace_queue *q)
{
	batches_free(q->head);
	batches_free(q->spare);
	grace_init(q);
}

int grace_reserve(struct grace_queue *q, size_t n)
{
	size_t room = q->n_spare * GRACE_BATCH_LEN;

	if (q->tail != NULL && q->tail->token == 0)
		room += GRACE_BATCH_LEN - q->tail->n_in;
	/* closing a batch early may waste its rest: one more than the count asks for */
	while (room < n + GRACE_BATCH_LEN) {
		struct grace_batch *b = malloc(sizeof(*b));

		if (b == NULL)
			return room >= n ? 0 : -ENOMEM;
		b->next = q->spare;
		q->spare = b;
		q->n_spare++;
		room += GRACE_BATCH_LEN;
	}
	return 0;
}

void grace_push(struct grace_queue *q, uint32_t idx)
{
	struct grace_batch *b = q->tail;

	if (b == NULL || b->token != 0) {
		b = q->spare;
		q->spare = b->next;
		q->n_spare--;
		b->next = NULL;
		b->token = 0;
		b->n_in = b->n_out = 0;
		if (q->tail != NULL)
			q->tail->next = b;
		else
			q->head = b;
		q->tail = b;
	}
	b->idx[b->n_in++] = idx;
	q->n_waiting++;
	if (b->n_in == GRACE_BATCH_LEN)
		grace_close(q);
}

void grace_close(struct grace_queue *q)
{
	if (q->tail != NULL && q->tail->token == 0)
		q->tail->token = rcu_token();
}

bool grace_pop(struct grace_queue *q, uint32_t *out_idx)
{
	struct grace_batch *b = q->head;

	if (b == NULL || b->token == 0)
		return false;
	if (b->n_out == 0 && !rcu_token_done(b->token))
		return false;
	*out_idx = b->idx[b->n_out++];
	q->n_waiting--;
	if (b->n_out == b->n_in) {
		q->head = b->next;
		if (q->head == NULL)
			q->tail = NULL;
		if (q->n_spare < GRACE_SPARE_MAX) {
			b->next = q->spare;
			q->spare = b;
			q->n_spare++;
		} else {
			free(b);
		}
	}
	return true;
}
