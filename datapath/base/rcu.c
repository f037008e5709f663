/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/rcu.h"

#include <errno.h>
#include <stdlib.h>

struct deferred {
	struct deferred *next;
	void (*fn)(void *arg);
	void *arg;
	uint64_t token;
};

struct rte_rcu_qsbr *rcu_qsbr;
static struct deferred *queue_head;
static struct deferred **queue_tail = &queue_head;
static size_t queue_len;

int rcu_init(void)
{
	if (rcu_qsbr != NULL)
		return 0;
	rcu_qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE,
		RTE_ALIGN_CEIL(rte_rcu_qsbr_get_memsize(RCU_MAX_READERS + 1), RTE_CACHE_LINE_SIZE));
	if (rcu_qsbr == NULL)
		return -ENOMEM;
	rte_rcu_qsbr_init(rcu_qsbr, RCU_MAX_READERS + 1);
	rte_rcu_qsbr_thread_register(rcu_qsbr, RCU_READER_CONTROL);
	return 0;
}

void rcu_fini(void)
{
	if (rcu_qsbr == NULL)
		return;
	rcu_synchronize();
	free(rcu_qsbr);
	rcu_qsbr = NULL;
}

void rcu_reader_register(unsigned int id)
{
	rte_rcu_qsbr_thread_register(rcu_qsbr, id);
	rte_rcu_qsbr_thread_online(rcu_qsbr, id);
}

void rcu_reader_unregister(unsigned int id)
{
	rte_rcu_qsbr_thread_offline(rcu_qsbr, id);
	rte_rcu_qsbr_thread_unregister(rcu_qsbr, id);
}

void rcu_control_enter(void)
{
	rcu_reader_online(RCU_READER_CONTROL);
}

void rcu_control_leave(void)
{
	rcu_reader_offline(RCU_READER_CONTROL);
}

void rcu_defer(void (*fn)(void *arg), void *arg)
{
	struct deferred *d = malloc(sizeof(*d));

	if (d == NULL) {
		/* No memory to remember it: wait here instead of leaking. */
		rcu_synchronize();
		fn(arg);
		return;
	}
	*d = (struct deferred){ .fn = fn, .arg = arg, .token = rcu_token() };
	*queue_tail = d;
	queue_tail = &d->next;
	queue_len++;
}

size_t rcu_poll(void)
{
	while (queue_head != NULL && rcu_token_done(queue_head->token)) {
		struct deferred *d = queue_head;

		queue_head = d->next;
		if (queue_head == NULL)
			queue_tail = &queue_head;
		queue_len--;
		d->fn(d->arg);
		free(d);
	}
	return queue_len;
}

void rcu_synchronize(void)
{
	rte_rcu_qsbr_synchronize(rcu_qsbr, RTE_QSBR_THRID_INVALID);
	while (rcu_poll() != 0)
		rte_rcu_qsbr_synchronize(rcu_qsbr, RTE_QSBR_THRID_INVALID);
}
