/* SPDX-License-Identifier: BSD-3-Clause */
/* In-memory port: one ring a receive queue, one for everything sent. */
#include "pmd/kind_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ring.h>

#include "pmd/err.h"
#include "pmd/kinds.h"

#define DEFAULT_DESC 1024

struct ring_queue {
	struct rte_ring *ring;
	int event_fd;
	_Atomic bool is_armed; /* the worker sleeps on event_fd */
} __rte_cache_aligned;

struct ring_port {
	struct rte_ring *tx;
	_Atomic bool is_up;
	uint16_t n_queues;
	struct ring_queue queues[PORT_QUEUES_MAX];
};

static struct rte_ring *ring_new(unsigned int n_desc, unsigned int flags)
{
	unsigned int size = rte_align32pow2(n_desc + 1);
	ssize_t bytes = rte_ring_get_memsize(size);
	struct rte_ring *ring;

	if (bytes < 0)
		return NULL;
	ring = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL((size_t)bytes, RTE_CACHE_LINE_SIZE));
	if (ring != NULL && rte_ring_init(ring, "port", size, flags) != 0) {
		free(ring);
		ring = NULL;
	}
	return ring;
}

static void ring_drop(struct rte_ring *ring)
{
	void *pkt;

	if (ring == NULL)
		return;
	while (rte_ring_dequeue(ring, &pkt) == 0)
		rte_pktmbuf_free(pkt);
	free(ring);
}

static void ring_close(struct port *p, bool keep)
{
	struct ring_port *r = p->priv;

	(void)keep;
	for (unsigned int q = 0; q < r->n_queues; q++) {
		ring_drop(r->queues[q].ring);
		if (r->queues[q].event_fd >= 0)
			close(r->queues[q].event_fd);
	}
	ring_drop(r->tx);
	free(r);
	p->priv = NULL;
}

static int ring_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	unsigned int n_desc = cfg->n_desc != 0 ? cfg->n_desc : DEFAULT_DESC;
	struct ring_port *r = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*r));

	if (r == NULL)
		return err_set(errbuf, errlen, -ENOMEM, "no memory for a ring port");
	memset(r, 0, sizeof(*r));
	p->priv = r;
	r->n_queues = p->n_rxq;
	atomic_store_explicit(&r->is_up, true, memory_order_relaxed);
	r->tx = ring_new(n_desc, RING_F_SC_DEQ);
	for (unsigned int q = 0; q < r->n_queues; q++) {
		r->queues[q].ring = ring_new(n_desc, RING_F_SP_ENQ | RING_F_SC_DEQ);
		r->queues[q].event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	for (unsigned int q = 0; q < r->n_queues; q++) {
		if (r->tx == NULL || r->queues[q].ring == NULL || r->queues[q].event_fd < 0) {
			ring_close(p, false);
			return err_set(errbuf, errlen, -ENOMEM,
				"no memory or descriptors for a ring port");
		}
	}
	if (rte_is_zero_ether_addr(&p->mac))
		rte_eth_random_addr(p->mac.addr_bytes);
	return 0;
}

static uint16_t ring_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct ring_port *r = p->priv;

	(void)worker;
	return (uint16_t)rte_ring_sc_dequeue_burst(r->queues[queue].ring, (void **)pkts, max, NULL);
}

static uint16_t ring_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct ring_port *r = p->priv;

	(void)worker;
	if (!atomic_load_explicit(&r->is_up, memory_order_relaxed))
		return 0;
	return (uint16_t)rte_ring_mp_enqueue_burst(r->tx, (void **)pkts, n, NULL);
}

static int ring_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	struct ring_port *r = p->priv;
	struct ring_queue *q = &r->queues[queue];

	*out_fd_gen = 0;
	atomic_store_explicit(&q->is_armed, true, memory_order_relaxed);
	/* Either the injector sees is_armed or we see its packet; pairs with the fence in ring_port_inject(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (!rte_ring_empty(q->ring)) {
		atomic_store_explicit(&q->is_armed, false, memory_order_relaxed);
		return -EAGAIN;
	}
	return q->event_fd;
}

static void ring_rx_disarm(struct port *p, uint16_t queue)
{
	struct ring_port *r = p->priv;
	eventfd_t v;

	atomic_store_explicit(&r->queues[queue].is_armed, false, memory_order_relaxed);
	(void)eventfd_read(r->queues[queue].event_fd, &v);
}

static bool ring_is_up(const struct port *p)
{
	const struct ring_port *r = p->priv;

	return atomic_load_explicit(&r->is_up, memory_order_relaxed);
}

unsigned int ring_port_inject(
	struct port *p, uint16_t queue, struct rte_mbuf **pkts, unsigned int n)
{
	struct ring_port *r = p->priv;
	struct ring_queue *q = &r->queues[queue];

	n = rte_ring_sp_enqueue_burst(q->ring, (void **)pkts, n, NULL);
	/* pairs with the fence in ring_rx_arm() */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&q->is_armed, memory_order_relaxed) &&
		atomic_exchange_explicit(&q->is_armed, false, memory_order_relaxed))
		(void)eventfd_write(q->event_fd, 1);
	return n;
}

unsigned int ring_port_drain(struct port *p, struct rte_mbuf **pkts, unsigned int n)
{
	struct ring_port *r = p->priv;

	return rte_ring_sc_dequeue_burst(r->tx, (void **)pkts, n, NULL);
}

void ring_port_set_up(struct port *p, bool is_up)
{
	struct ring_port *r = p->priv;

	atomic_store_explicit(&r->is_up, is_up, memory_order_relaxed);
}

void ring_port_set_tx_offloads(struct port *p, uint32_t tx_offloads)
{
	atomic_store_explicit(&p->tx_offloads, tx_offloads, memory_order_relaxed);
}

const struct port_ops kind_ring_ops = {
	.kind = "ring",
	.open = ring_open,
	.close = ring_close,
	.rx = ring_rx,
	.tx = ring_tx,
	.rx_arm = ring_rx_arm,
	.rx_disarm = ring_rx_disarm,
	.is_up = ring_is_up,
};
