/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <rte_launch.h>
#include <rte_lcore.h>

#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "datapath/pipeline/pipeline.h"
#include "datapath/pipeline/punt.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"

#define EVENTS_MAX 32
#define QUIET_POLLS 64u /* empty polls after which a queue counts as quiet */
#define INJECT_EVENT 1u /* epoll data of the mailbox's descriptor; 0: a queue's */
#define QUIET_EVERY 16u /* a quiet queue is polled every so many rounds */

struct rx_queue {
	struct port *port;
	uint16_t queue;
	uint32_t n_empty; /* polls in a row that found nothing */
	uint64_t n_pkts;
};

/* Immutable but for the counters, which are its worker's. */
struct rx_list {
	uint32_t n;
	struct rx_queue q[];
};

struct poller {
	struct worker *w;
	_Atomic(struct rx_list *) list;
	_Atomic bool is_stopping;
	bool is_busy_poll;
	int epoll_fd;
	uint64_t round;
	/* which wake-up descriptors are in the epoll set, by port and queue */
	struct armed {
		int fd;
		uint32_t gen;
	} * armed;
} __rte_cache_aligned;

static struct poller pollers[WORKER_MAX];
static unsigned int n_pollers;

/* --- sleeping ----------------------------------------------------------------------------------------------------- */

static struct armed *armed_slot(struct poller *p, const struct rx_queue *q)
{
	return &p->armed[q->port->id * PORT_QUEUES_MAX + q->queue];
}

/* Brings the epoll set up to date with the descriptor that the queue woke up on. */
static void watch(struct poller *p, const struct rx_queue *q, int fd, uint32_t gen)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct armed *a = armed_slot(p, q);

	if (a->fd == fd + 1 && a->gen == gen)
		return;
	/* Closed descriptors leave the set by themselves; another one under the old number must not be taken out. */
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 && errno == EEXIST)
		epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
	*a = (struct armed){ .fd = fd + 1, .gen = gen };
}

static void disarm(struct rx_list *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (list->q[i].port->ops->rx_disarm != NULL)
			list->q[i].port->ops->rx_disarm(list->q[i].port, list->q[i].queue);
}

/* Arms every queue. Longest sleep in ns, 0: packets are there already (everything is disarmed again). */
static uint64_t arm(struct poller *p, struct rx_list *list)
{
	uint64_t sleep_ns = WORKER_SLEEP_MAX_NS;

	for (uint32_t i = 0; i < list->n; i++) {
		struct rx_queue *q = &list->q[i];
		uint32_t gen = 0;
		int fd = q->port->ops->rx_arm(q->port, q->queue, &gen);

		if (fd >= 0) {
			watch(p, q, fd, gen);
		} else if (fd == -EAGAIN) {
			disarm(list, i + 1);
			return 0;
		} else if (fd == -ENOTSUP) {
			sleep_ns = WORKER_POLL_NS;
		}
	}
	return sleep_ns;
}

static void poller_sleep(struct poller *p, struct rx_list *list)
{
	struct epoll_event events[EVENTS_MAX];
	struct worker *w = p->w;
	uint64_t sleep_ns = arm(p, list), t0;
	struct timespec ts;
	int n;

	if (sleep_ns == 0)
		return;
	ts = (struct timespec){ .tv_nsec = (long)sleep_ns };
	t0 = clock_ns();
	/* Asleep it holds no reference: the list may be gone when it wakes, and is looked up again. */
	rcu_reader_offline(w->id);
	n = epoll_pwait2(p->epoll_fd, events, EVENTS_MAX, &ts, NULL);
	rcu_reader_online(w->id);
	for (int i = 0; i < n; i++)
		if (events[i].data.u32 == INJECT_EVENT)
			inject_woken(w->id);
	w->stats.n_sleeps++;
	w->stats.slept_ns += clock_ns() - t0;
	list = rcu_deref(p->list);
	disarm(list, list->n);
	p->round = 0; /* something woke it: quiet queues too are polled now */
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static uint32_t poll_queues(struct poller *p, struct rx_list *list)
{
	uint32_t total = 0;
	bool is_quiet_turn = p->round++ % QUIET_EVERY == 0;

	for (uint32_t i = 0; i < list->n; i++) {
		struct rx_queue *q = &list->q[i];
		uint16_t n;

		if (q->n_empty > QUIET_POLLS && !is_quiet_turn)
			continue;
		n = pipeline_poll(p->w, q->port, q->queue);
		q->n_empty = n > 0 ? 0 : q->n_empty + 1;
		q->n_pkts += n;
		total += n;
	}
	return total;
}

static void account(struct worker *w, uint64_t cycles, bool is_busy)
{
	w->stats.n_loops++;
	if (is_busy) {
		w->stats.n_busy_loops++;
		w->stats.busy_cycles += cycles;
	} else {
		w->stats.idle_cycles += cycles;
	}
}

static int poller_main(void *arg)
{
	struct poller *p = arg;
	struct worker *w = p->w;
	uint64_t t0 = rte_rdtsc(), idle_since_ns = 0;

	rcu_reader_register(w->id);
	while (!atomic_load_explicit(&p->is_stopping, memory_order_relaxed)) {
		struct rx_list *list;
		uint64_t t1;
		uint32_t n;
		bool is_more;

		pipeline_round_begin(w);
		list = rcu_deref(p->list);
		n = poll_queues(p, list);
		is_more = pipeline_housekeep(w);
		t1 = rte_rdtsc();
		account(w, t1 - t0, n > 0);
		t0 = t1;
		if (n > 0 || is_more || p->is_busy_poll) {
			idle_since_ns = 0;
		} else if (idle_since_ns == 0) {
			idle_since_ns = w->now_ns;
		} else if (w->now_ns - idle_since_ns > WORKER_SPIN_NS) {
			/* idle_since_ns stays: whoever wakes and finds nothing goes back to sleep at once */
			poller_sleep(p, list);
			t0 = rte_rdtsc();
		}
		rcu_quiescent(w->id);
	}
	rcu_reader_unregister(w->id);
	return 0;
}

/* --- control ------------------------------------------------------------------------------------------------------- */

static struct rx_list *list_make(uint32_t n)
{
	struct rx_list *list = calloc(1, sizeof(*list) + n * sizeof(list->q[0]));

	if (list != NULL)
		list->n = n;
	return list;
}

static void list_swap(struct poller *p, struct rx_list *fresh)
{
	struct rx_list *old = rcu_deref(p->list);
	uint64_t one = 1;

	rcu_assign(p->list, fresh);
	if (old != NULL)
		rcu_defer(free, old);
	/* A sleeper looks at its new queues now. */
	if (write(inject_fd(p->w->id), &one, sizeof(one)) < 0) {
		/* readable already */
	}
}

int workers_attach(struct port *port, char *errbuf, size_t errlen)
{
	for (uint16_t queue = 0; queue < port->n_rxq; queue++) {
		struct poller *best = &pollers[0];
		struct rx_list *old, *fresh;

		for (unsigned int i = 1; i < n_pollers; i++)
			if (rcu_deref(pollers[i].list)->n < rcu_deref(best->list)->n)
				best = &pollers[i];
		old = rcu_deref(best->list);
		fresh = list_make(old->n + 1);
		if (fresh == NULL) {
			workers_detach(port);
			snprintf(errbuf, errlen, "no memory for the worker's queue list");
			return -ENOMEM;
		}
		memcpy(fresh->q, old->q, old->n * sizeof(old->q[0]));
		fresh->q[old->n] = (struct rx_queue){ .port = port, .queue = queue };
		for (uint32_t i = 0; i < old->n; i++)
			fresh->q[i].n_empty = 0;
		memset(&best->armed[port->id * PORT_QUEUES_MAX + queue], 0, sizeof(struct armed));
		list_swap(best, fresh);
	}
	return 0;
}

void workers_detach(struct port *port)
{
	for (unsigned int i = 0; i < n_pollers; i++) {
		struct rx_list *old = rcu_deref(pollers[i].list), *fresh;
		uint32_t n = 0;

		for (uint32_t j = 0; j < old->n; j++)
			n += old->q[j].port != port;
		if (n == old->n)
			continue;
		fresh = list_make(n);
		if (fresh == NULL) {
			/* The port must go, so memory must come: what RCU still holds first. */
			log_err("workers", "no memory to detach port name=%s, retrying",
				port->name);
			while ((fresh = list_make(n)) == NULL)
				rcu_synchronize();
		}
		n = 0;
		for (uint32_t j = 0; j < old->n; j++)
			if (old->q[j].port != port)
				fresh->q[n++] = old->q[j];
		list_swap(&pollers[i], fresh);
	}
}

unsigned int workers_queues(unsigned int worker, struct worker_queue *out, unsigned int max)
{
	struct rx_list *list;
	unsigned int n;

	if (worker >= n_pollers)
		return 0;
	list = rcu_deref(pollers[worker].list);
	for (n = 0; n < list->n && n < max; n++)
		out[n] = (struct worker_queue){ .port_id = list->q[n].port->id,
			.queue = list->q[n].queue,
			.n_pkts = list->q[n].n_pkts };
	return n;
}

static int poller_open(struct poller *p, unsigned int id, struct flowtab *ft4, struct flowtab *ft6,
	bool is_busy_poll)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .u32 = INJECT_EVENT } };
	unsigned int node = eal_worker_node(id);

	*p = (struct poller){ .epoll_fd = -1, .is_busy_poll = is_busy_poll };
	p->w = worker_create(id, ft4, ft6, mempool_get(node));
	p->armed = calloc((size_t)PORT_MAX * PORT_QUEUES_MAX, sizeof(*p->armed));
	rcu_assign(p->list, list_make(0));
	if (p->w == NULL || p->armed == NULL || rcu_deref(p->list) == NULL)
		return -ENOMEM;
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, inject_fd(id), &ev) < 0)
		return -errno;
	return 0;
}

int workers_start(struct flowtab *ft4, struct flowtab *ft6, bool is_busy_poll)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < eal_n_workers(); i++) {
		ret = poller_open(&pollers[i], i, ft4, ft6, is_busy_poll);
		n_pollers = i + 1;
	}
	for (unsigned int i = 0; ret == 0 && i < n_pollers; i++)
		ret = rte_eal_remote_launch(poller_main, &pollers[i], eal_worker_lcore(i));
	if (ret < 0) {
		workers_stop();
		workers_fini();
	}
	return ret;
}

void workers_wake(void)
{
	uint64_t one = 1;

	for (unsigned int i = 0; i < n_pollers; i++)
		if (pollers[i].w != NULL && write(inject_fd(i), &one, sizeof(one)) < 0) {
			/* readable already */
		}
}

void workers_stop(void)
{
	for (unsigned int i = 0; i < n_pollers; i++)
		atomic_store_explicit(&pollers[i].is_stopping, true, memory_order_relaxed);
	workers_wake();
	for (unsigned int i = 0; i < n_pollers; i++)
		rte_eal_wait_lcore(eal_worker_lcore(i));
}

void workers_fini(void)
{
	for (unsigned int i = 0; i < n_pollers; i++) {
		struct poller *p = &pollers[i];

		free(rcu_deref(p->list));
		free(p->armed);
		if (p->epoll_fd >= 0)
			close(p->epoll_fd);
		worker_destroy(p->w);
		*p = (struct poller){ .epoll_fd = -1 };
	}
	n_pollers = 0;
}
