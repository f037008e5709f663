/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user port on librte_vhost. The packet path is here; who may talk to librte_vhost and with what is the front's
 * (vhost_front.h). docs/vhost.md tells what a guest can and cannot do.
 *
 * librte_vhost runs in its older offload mode, which turns a guest's header into TX_* flags, the contract of port.h.
 * The flags are then judged again against the copied frame (vnet_mbuf_check), so what a guest changes under us while
 * librte_vhost reads it has no effect beyond its own packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_log.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>
#include <rte_vhost.h>

#include "datapath/base/log.h"
#include "pmd/err.h"
#include "pmd/kinds.h"
#include "pmd/vhost_dev.h"
#include "pmd/vhost_front.h"
#include "pmd/vnet_hdr.h"

#define CHUNK 32 /* librte_vhost 22.11 moves no more in a call */
#define PLAIN_FRAME_MAX                                                                            \
	(9216 + 18)	 /* bytes of the largest frame that is no super-frame: the largest MTU */
#define STUCK_POLLS 1024 /* empty polls between two looks at a ring that should not be empty */
#define STUCK_LOOKS 16
#define BAD_DESCS_MAX 8 /* of one ring, before the guest is cut off */

static inline void drop_add(
	struct port *p, unsigned int worker, enum drop_reason reason, unsigned int n)
{
	p->stats[worker]->drops[reason] += n;
}

/* The ring is a new one: begins with what librte_vhost knows of it. */
static __rte_noinline void rxq_renew(
	struct vhost_port *vp, struct vhost_rxq *q, int vid, uint16_t vring)
{
	uint16_t last_avail = 0, last_used;

	atomic_store_explicit(&q->is_stale, false, memory_order_relaxed);
	(void)vp;
	(void)rte_vhost_get_vring_base(vid, vring, &last_avail, &last_used);
	q->last_avail = last_avail;
	q->notify = VHOST_NOTIFY_UNKNOWN;
	q->n_empty = q->n_stuck = q->n_bad_descs = 0;
}

static void notify_set(struct vhost_rxq *q, int vid, uint16_t vring, bool is_on)
{
	if (rte_vhost_enable_guest_notification(vid, vring, is_on) == 0)
		q->notify = is_on ? VHOST_NOTIFY_UNPOLLED : VHOST_NOTIFY_OFF;
}

/* After n packets of a burst that was not full: librte_vhost skips a chain that it cannot read without a word; the
 * ring's index tells. */
static void bad_descs_count(struct port *p, struct vhost_rxq *q, unsigned int worker, int vid,
	uint16_t vring, uint16_t n)
{
	struct vhost_port *vp = p->priv;
	uint16_t last_avail, last_used, n_bad;
	uint32_t enabled = atomic_load_explicit(&vp->rx_enabled, memory_order_acquire);

	if ((enabled >> vring / 2 & 1) == 0 ||
		rte_vhost_get_vring_base(vid, vring, &last_avail, &last_used) != 0)
		return;
	/* Stopped, moved, started again meanwhile? acquire: pairs with the releases in on_vring_state() */
	if (unlikely(atomic_load_explicit(&q->is_stale, memory_order_acquire)))
		return;
	n_bad = (uint16_t)(last_avail - q->last_avail - n);
	q->last_avail = last_avail;
	if (unlikely((int16_t)n_bad < 0))
		return; /* the guest set the index back, and has only itself to blame */
	if (likely(n_bad == 0))
		return;
	if (rte_mempool_avail_count(p->pool) < 2 * CHUNK) {
		drop_add(p, worker, DROP_NO_MBUF, n_bad);
		return;
	}
	drop_add(p, worker, DROP_GUEST_DESC, n_bad);
	q->n_bad_descs += n_bad;
	if (q->n_bad_descs >= BAD_DESCS_MAX)
		vhost_front_fault(vp, VHOST_FAULT_DESC);
}

/* A poll gave nothing. Now and then: does the ring have entries all the same, for so long that its next chain must be
 * one that librte_vhost refuses to step over? */
static __rte_noinline void stuck_look(
	struct port *p, struct vhost_rxq *q, unsigned int worker, int vid, uint16_t vring)
{
	struct vhost_port *vp = p->priv;

	if (rte_vhost_rx_queue_count(vid, vring) == 0 ||
		rte_mempool_avail_count(p->pool) < 2 * CHUNK) {
		q->n_stuck = 0;
		return;
	}
	if (++q->n_stuck < STUCK_LOOKS)
		return;
	q->n_stuck = 0;
	drop_add(p, worker, DROP_GUEST_DESC, 1);
	vhost_front_fault(vp, VHOST_FAULT_DESC);
}

/* Some packet of the burst has flags, or is long: judges each. Keeps order; number of packets left. */
static __rte_noinline uint16_t burst_check(
	struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct vhost_port *vp = p->priv;
	uint16_t n_good = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		bool is_good = m->ol_flags == 0 || vnet_mbuf_check(m, false);

		if (rte_pktmbuf_pkt_len(m) > VNET_FRAME_LEN_MAX) {
			/* No virtio driver sends this: it is there to hold up the worker and to eat the pool. */
			drop_add(p, worker, DROP_GUEST_DESC, 1);
			rte_pktmbuf_free(m);
			vhost_front_fault(vp, VHOST_FAULT_FRAME);
			continue;
		}
		if (is_good && rte_pktmbuf_pkt_len(m) > PLAIN_FRAME_MAX)
			is_good = (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) !=
				0;
		if (is_good) {
			pkts[n_good++] = m;
		} else {
			drop_add(p, worker, DROP_VNET_HDR, 1);
			rte_pktmbuf_free(m);
		}
	}
	return n_good;
}

static uint16_t vhost_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct vhost_port *vp = p->priv;
	/* acquire: pairs with the release in vhost_dev_up() */
	int vid = atomic_load_explicit(&vp->vid, memory_order_acquire);
	struct vhost_rxq *q = &vp->rxq[queue];
	uint16_t vring = (uint16_t)(2 * queue + 1), n;
	uint64_t flags = 0;
	uint32_t len_max = 0;

	if (unlikely(vid < 0))
		return 0;
	if (unlikely(atomic_load_explicit(&q->is_stale, memory_order_relaxed)))
		rxq_renew(vp, q, vid, vring);
	n = rte_vhost_dequeue_burst(vid, vring, p->pool, pkts, RTE_MIN(max, CHUNK));
	if (n == CHUNK && max > CHUNK)
		n += rte_vhost_dequeue_burst(
			vid, vring, p->pool, &pkts[CHUNK], RTE_MIN(max - CHUNK, CHUNK));
	if (n < max)
		bad_descs_count(p, q, worker, vid, vring, n);
	else
		q->last_avail = (uint16_t)(q->last_avail + n);
	if (n == 0) {
		if (unlikely(++q->n_empty % STUCK_POLLS == 0))
			stuck_look(p, q, worker, vid, vring);
		return 0;
	}
	q->n_empty = q->n_stuck = 0;
	if (unlikely(q->notify != VHOST_NOTIFY_OFF))
		notify_set(q, vid, vring, false);
	for (uint16_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
		flags |= pkts[i]->ol_flags;
		len_max |= rte_pktmbuf_pkt_len(pkts[i]);
	}
	/* len_max is at least the longest: one compare for the usual burst */
	if (likely(flags == 0 && len_max < PLAIN_FRAME_MAX))
		return n;
	return burst_check(p, worker, pkts, n);
}

/* Frees what was copied. Most bursts are plain mbufs of one pool with no other reference: those go back in one call. */
static inline void copied_free(struct rte_mbuf **pkts, uint16_t n)
{
	const uint64_t indirect = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	struct rte_mempool *pool = n > 0 ? pkts[0]->pool : NULL;
	bool is_plain = true;

	for (uint16_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = pkts[i];

		is_plain &= m->pool == pool && m->nb_segs == 1 && rte_mbuf_refcnt_read(m) == 1 &&
			(m->ol_flags & indirect) == 0;
	}
	if (likely(is_plain && n > 0))
		rte_mempool_put_bulk(pool, (void **)pkts, n);
	else
		rte_pktmbuf_free_bulk(pkts, n);
}

static uint16_t vhost_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct vhost_port *vp = p->priv;
	int vid = atomic_load_explicit(&vp->vid, memory_order_acquire);
	uint8_t pair = atomic_load_explicit(&vp->tx_queue[worker], memory_order_relaxed);
	uint16_t n_sent = 0, got;

	if (unlikely(vid < 0 || pair == VHOST_TX_NONE))
		return 0;
	/* Workers that share a ring meet at librte_vhost's own lock, taken once a call. */
	do {
		uint16_t want = RTE_MIN(n - n_sent, CHUNK);

		got = rte_vhost_enqueue_burst(vid, (uint16_t)(2 * pair), &pkts[n_sent], want);
		n_sent += got;
	} while (got == CHUNK && n_sent < n);
	copied_free(pkts, n_sent);
	return n_sent;
}

/*
 * Notification stays on across rx_disarm() until packets come: with many queues, a worker that gives up falling asleep
 * because one queue was busy must not have to start again with all others.
 */
static int vhost_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	struct vhost_port *vp = p->priv;
	struct vhost_rxq *q = &vp->rxq[queue];
	uint16_t vring = (uint16_t)(2 * queue + 1);
	struct epoll_event evs[2];
	int vid;

	*out_fd_gen = vp->gen_fd; /* the same descriptor for the port's life */
	/* Takes back what came before; edge-triggered, so this never touches the guest's descriptor. */
	if (epoll_wait(q->epoll_fd, evs, 2, 0) > 0 && q->notify == VHOST_NOTIFY_ON)
		q->notify = VHOST_NOTIFY_UNPOLLED;
	/* Only now: an event taken back may have said that the port is up. */
	vid = atomic_load_explicit(&vp->vid, memory_order_acquire);
	if (vid < 0)
		return q->epoll_fd; /* the port's own wake descriptor is in there */
	if (atomic_load_explicit(&q->is_stale, memory_order_relaxed))
		return -EAGAIN;
	if (!atomic_load_explicit(&q->has_kick, memory_order_relaxed))
		return -ENOTSUP;
	if (q->notify == VHOST_NOTIFY_ON)
		return q->epoll_fd;
	if (q->notify != VHOST_NOTIFY_UNPOLLED)
		notify_set(q, vid, vring, true);
	if (q->notify != VHOST_NOTIFY_UNPOLLED)
		return -ENOTSUP;		       /* the ring is not there (yet) */
	if (rte_vhost_rx_queue_count(vid, vring) != 0) /* something came in between */
		return -EAGAIN;
	q->notify = VHOST_NOTIFY_ON;
	return q->epoll_fd;
}

static bool vhost_is_up(const struct port *p)
{
	const struct vhost_port *vp = p->priv;

	return atomic_load_explicit(&vp->vid, memory_order_relaxed) >= 0;
}

static size_t vhost_describe(const struct port *p, char *buf, size_t size)
{
	const struct vhost_port *vp = p->priv;
	uint64_t features = atomic_load_explicit(&vp->features, memory_order_relaxed);
	uint32_t offloads = atomic_load_explicit(&p->tx_offloads, memory_order_relaxed);
	bool is_up = vhost_is_up(p);
	unsigned int n_queues = is_up ? (unsigned int)__builtin_popcount(atomic_load_explicit(
						&vp->rx_enabled, memory_order_relaxed))
				      : 0;
	int n = snprintf(buf, size,
		"socket=%s role=%s connected=%s up=%s queues=%u/%u features=0x%llx "
		"mergeable=%s indirect=%s "
		"csum=%s tso4=%s tso6=%s guest_mtu=%u quarantined=%s quarantines=%u "
		"last_fault=\"%s\" refused=%u connects=%u",
		vp->path, vp->is_client ? "client" : "server",
		atomic_load_explicit(&vp->is_connected, memory_order_relaxed) ? "yes" : "no",
		is_up ? "yes" : "no", n_queues, vp->n_queues, (unsigned long long)features,
		features >> VIRTIO_NET_F_MRG_RXBUF & 1 ? "yes" : "no",
		features >> VIRTIO_RING_F_INDIRECT_DESC & 1 ? "yes" : "no",
		offloads & PORT_TX_CSUM ? "yes" : "no", offloads & PORT_TX_TSO4 ? "yes" : "no",
		offloads & PORT_TX_TSO6 ? "yes" : "no",
		atomic_load_explicit(&vp->guest_mtu, memory_order_relaxed),
		atomic_load_explicit(&vp->is_quarantined, memory_order_relaxed) ? "yes" : "no",
		atomic_load_explicit(&vp->n_quarantines, memory_order_relaxed),
		vhost_fault_name(atomic_load_explicit(&vp->last_fault, memory_order_relaxed)),
		atomic_load_explicit(&vp->n_refused, memory_order_relaxed),
		atomic_load_explicit(&vp->n_connects, memory_order_relaxed));

	return n > 0 && (size_t)n < size ? (size_t)n : size != 0 ? size - 1 : 0;
}

const struct port_ops kind_vhost_ops = {
	.kind = "vhost",
	.open = vhost_dev_open,
	.close = vhost_dev_close,
	.rx = vhost_rx,
	.tx = vhost_tx,
	.rx_arm = vhost_rx_arm,
	.is_up = vhost_is_up,
	.describe = vhost_describe,
};
