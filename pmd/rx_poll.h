/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of a worker's kernel descriptors (taps, packet sockets) have packets: one epoll instance a worker, edge
 * triggered, asked every few µs. An idle port then costs no system call of its own, however many there are.
 * Set-up and tear-down: control thread; the rest: the worker that owns the queue.
 */
#ifndef LEAT_PMD_RX_POLL_H
#define LEAT_PMD_RX_POLL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rx_poll {
	int fd;
	int worker;	       /* whose epoll has it; -1: none */
	uint32_t fd_gen;       /* differs from that of any descriptor that had the number before */
	_Atomic bool is_ready; /* may have packets: read until EAGAIN */
};

/* For a freshly opened descriptor; close() ends it. */
void rx_poll_init(struct rx_poll *r, int fd);

/* Asks the worker's epoll if it is time. Whether r has become ready. */
bool rx_poll_look(struct rx_poll *r, unsigned int worker);

/* Whether it is worth reading. */
static inline bool rx_poll_is_ready(struct rx_poll *r, unsigned int worker)
{
	return atomic_load_explicit(&r->is_ready, memory_order_relaxed) || rx_poll_look(r, worker);
}

/* A read has said EAGAIN. */
static inline void rx_poll_set_empty(struct rx_poll *r)
{
	atomic_store_explicit(&r->is_ready, false, memory_order_relaxed);
}

/* For port_ops.rx_arm: descriptor to sleep on, or -EAGAIN. */
int rx_poll_arm(struct rx_poll *r, uint32_t *out_fd_gen);

/* For port_ops.rx_disarm: the next look is not put off. */
void rx_poll_disarm(struct rx_poll *r);

#endif
