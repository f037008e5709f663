/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/hold.h"

#include <stdlib.h>
#include <sys/queue.h>

#include <rte_mbuf.h>

#include "control/neighd.h"
#include "datapath/table/neigh.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

struct held {
	STAILQ_ENTRY(held) link;
	struct punt_msg msg;
};
STAILQ_HEAD(held_list, held);

/* An index with waiting packets. */
struct queue {
	LIST_ENTRY(queue) link;
	struct held_list list;
	enum hold_kind kind;
	uint32_t idx;
	unsigned int n;
};

static struct queue *neigh_queues[NEIGH_TABLE_MAX], *tunnel_queues[TUNNEL_TABLE_MAX];
static LIST_HEAD(, queue) queues = LIST_HEAD_INITIALIZER(queues);

static struct queue **slot_of(enum hold_kind kind, uint32_t idx)
{
	return kind == HOLD_NEIGH ? &neigh_queues[idx] : &tunnel_queues[idx];
}

static void count_drop(uint16_t port_id, enum drop_reason reason)
{
	struct port *port = port_by_id(port_id);

	if (port != NULL)
		port->stats[portmgr_n_workers()]->drops[reason]++;
}

static void drop(struct rte_mbuf *m, uint16_t port_id, enum drop_reason reason)
{
	count_drop(port_id, reason);
	rte_pktmbuf_free(m);
}

void hold_add(enum hold_kind kind, uint32_t idx, const struct punt_msg *msg)
{
	struct queue **slot = slot_of(kind, idx), *queue = *slot;
	struct held *held = NULL;

	if (queue == NULL) {
		queue = calloc(1, sizeof(*queue));
		if (queue != NULL) {
			STAILQ_INIT(&queue->list);
			queue->kind = kind;
			queue->idx = idx;
			LIST_INSERT_HEAD(&queues, queue, link);
			*slot = queue;
		}
	}
	if (queue != NULL && queue->n < NEIGHD_HOLD_MAX &&
		neighd_stats.n_holding < NEIGHD_HOLD_TOTAL_MAX)
		held = malloc(sizeof(*held));
	if (held == NULL) {
		neighd_stats.n_hold_full++;
		drop(msg->m, msg->port_id, DROP_NEIGH_PENDING_FULL);
		return;
	}
	held->msg = *msg;
	STAILQ_INSERT_TAIL(&queue->list, held, link);
	queue->n++;
	neighd_stats.n_holding++;
	neighd_stats.n_held++;
}

/* Unlinks the queue, so that what happens to its packets can queue them again. */
static struct queue *queue_take(enum hold_kind kind, uint32_t idx)
{
	struct queue **slot = slot_of(kind, idx), *queue = *slot;

	if (queue != NULL) {
		LIST_REMOVE(queue, link);
		*slot = NULL;
	}
	return queue;
}

void hold_release(enum hold_kind kind, uint32_t idx)
{
	struct queue *queue = queue_take(kind, idx);
	struct held *held;

	if (queue == NULL)
		return;
	while ((held = STAILQ_FIRST(&queue->list)) != NULL) {
		const struct inject_msg msg = { .kind = INJECT_RX,
			.port_id = held->msg.port_id,
			.in = held->msg.in,
			.m = held->msg.m };

		STAILQ_REMOVE_HEAD(&queue->list, link);
		if (!inject_send(held->msg.worker, &msg))
			drop(held->msg.m, held->msg.port_id, DROP_PUNT_FULL);
		neighd_stats.n_holding--;
		free(held);
	}
	free(queue);
}

void hold_drop(enum hold_kind kind, uint32_t idx)
{
	struct queue *queue = queue_take(kind, idx);
	struct held *held;

	if (queue == NULL)
		return;
	while ((held = STAILQ_FIRST(&queue->list)) != NULL) {
		STAILQ_REMOVE_HEAD(&queue->list, link);
		drop(held->msg.m, held->msg.port_id, DROP_NEIGH_FAILED);
		neighd_stats.n_holding--;
		free(held);
	}
	free(queue);
}

void hold_drop_port(uint16_t port_id)
{
	struct queue *queue;

	LIST_FOREACH(queue, &queues, link) {
		struct held *held = STAILQ_FIRST(&queue->list);

		while (held != NULL) {
			struct held *next = STAILQ_NEXT(held, link);

			if (held->msg.port_id == port_id) {
				STAILQ_REMOVE(&queue->list, held, held, link);
				drop(held->msg.m, port_id, DROP_PORT_DOWN);
				queue->n--;
				neighd_stats.n_holding--;
				free(held);
			}
			held = next;
		}
	}
}

void hold_fini(void)
{
	struct queue *queue;

	while ((queue = LIST_FIRST(&queues)) != NULL)
		hold_drop(queue->kind, queue->idx);
}
