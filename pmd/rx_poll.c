/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/rx_poll.h"

#include <errno.h>
#include <sys/epoll.h>

#include <rte_common.h>
#include <rte_cycles.h>

#define WORKERS_MAX 64
#define EVENTS_MAX 64
/* How long a worker may go without asking. */
#define INTERVAL_US 5

struct poller {
	int epfd; /* 0: none yet */
	uint64_t next_tsc;
} __rte_cache_aligned;

static struct poller pollers[WORKERS_MAX];
static _Atomic uint32_t next_fd_gen; /* ports are opened on helper threads */

void rx_poll_init(struct rx_poll *r, int fd)
{
	r->fd = fd;
	r->worker = -1;
	r->fd_gen = atomic_fetch_add_explicit(&next_fd_gen, 1, memory_order_relaxed) + 1;
	atomic_store_explicit(&r->is_ready, false, memory_order_relaxed);
}

static void move(struct rx_poll *r, unsigned int worker)
{
	struct poller *pl = &pollers[worker];
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = r };

	if (pl->epfd == 0)
		pl->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (r->worker >= 0)
		(void)epoll_ctl(pollers[r->worker].epfd, EPOLL_CTL_DEL, r->fd, NULL);
	if (pl->epfd > 0 && epoll_ctl(pl->epfd, EPOLL_CTL_ADD, r->fd, &ev) == 0)
		r->worker = (int)worker;
}

bool rx_poll_look(struct rx_poll *r, unsigned int worker)
{
	struct poller *pl = &pollers[worker];
	struct epoll_event events[EVENTS_MAX];
	int n;

	if (unlikely(r->worker != (int)worker)) {
		move(r, worker);
		pl->next_tsc = 0;
	}
	if (rte_rdtsc() < pl->next_tsc)
		return false;
	/* What is reported stays valid here: ports are closed after a grace period, and close() takes them out. */
	n = epoll_wait(pl->epfd, events, EVENTS_MAX, 0);
	for (int i = 0; i < n; i++) {
		struct rx_poll *other = events[i].data.ptr;

		atomic_store_explicit(&other->is_ready, true, memory_order_relaxed);
	}
	if (n < EVENTS_MAX)
		pl->next_tsc = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * INTERVAL_US;
	return atomic_load_explicit(&r->is_ready, memory_order_relaxed);
}

int rx_poll_arm(struct rx_poll *r, uint32_t *out_fd_gen)
{
	*out_fd_gen = r->fd_gen;
	return atomic_load_explicit(&r->is_ready, memory_order_relaxed) ? -EAGAIN : r->fd;
}

void rx_poll_disarm(struct rx_poll *r)
{
	if (r->worker >= 0)
		pollers[r->worker].next_tsc = 0;
}
