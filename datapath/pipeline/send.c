/* SPDX-License-Identifier: BSD-3-Clause */
/* From a path to a port's queue: headers, and what the far side does not finish itself. */
#include <errno.h>

#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/pipeline/batch.h"
#include "datapath/pipeline/frame.h"
#include "datapath/pipeline/observe.h"

/* Of the smallest segments that a port hands in (VNET_GSO_SIZE_MIN in pmd/vnet_hdr.h). */
#define SEGMENTS_MAX 1024

void batch_drop(
	struct worker *w, struct port_stats *stats, struct rte_mbuf *m, enum drop_reason reason)
{
	stats->drops[reason]++;
	if (unlikely(w->observe != 0))
		observe_drop(w, m, reason);
	rte_pktmbuf_free(m);
}

void worker_flush_port(struct worker *w, uint16_t port_id)
{
	struct tx_out *out = &w->tx[port_id];
	struct port *p = port_at(port_id);
	uint16_t sent = 0, n = out->n;
	uint64_t bytes = 0;

	out->n = 0;
	if (unlikely(p == NULL)) {
		rte_pktmbuf_free_bulk(out->m, n);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		bytes += out->m[i]->pkt_len;
	if (unlikely(w->observe != 0))
		observe_tx(w, p, out->m, n);
	sent = p->ops->tx(p, w->id, out->m, n);
	for (uint16_t i = sent; i < n; i++) {
		bytes -= out->m[i]->pkt_len;
		batch_drop(w, p->stats[w->id], out->m[i],
			p->ops->is_up(p) ? DROP_TX_FULL : DROP_PORT_DOWN);
	}
	p->stats[w->id]->tx_pkts += sent;
	p->stats[w->id]->tx_bytes += bytes;
}

void worker_flush(struct worker *w)
{
	for (uint16_t i = 0; i < w->n_tx_ports; i++) {
		uint16_t id = w->tx_ports[i];

		w->tx[id].is_listed = false;
		if (w->tx[id].n > 0)
			worker_flush_port(w, id);
	}
	w->n_tx_ports = 0;
}

/* Header in front of the L3 packet, and into the port's queue. */
static inline void frame_and_emit(struct worker *w, struct port *port, const struct path *path,
	struct rte_mbuf *m, bool is_v6, uint64_t hash)
{
	if (unlikely(!path_frame(m, path, is_v6, hash))) {
		batch_drop(w, port->stats[w->id], m, DROP_MTU_EXCEEDED);
		return;
	}
	worker_emit(w, port, m);
}

/* Returns true if the port (or the tunnel in front of it) leaves this packet's checksum or segments to us. */
static bool needs_finish(
	const struct rte_mbuf *m, const struct path *path, const struct port *port, bool is_v6)
{
	uint32_t offloads = atomic_load_explicit(&port->tx_offloads, memory_order_relaxed);
	uint32_t need = PORT_TX_CSUM;

	if (path->kind != PATH_PLAIN)
		return true;
	if ((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0) {
		if (m->tso_segsz < port->tso_min_bytes)
			return true;
		need |= is_v6 ? PORT_TX_TSO6 : PORT_TX_TSO4;
	} else if ((m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) != 0) {
		need |= PORT_TX_USO;
	}
	return (offloads & need) != need;
}

static void finish_and_emit(struct worker *w, struct port *port, const struct path *path,
	struct rte_mbuf *m, bool is_v6, uint64_t hash)
{
	struct rte_mbuf *segments[SEGMENTS_MAX];
	int n;

	if (!needs_finish(m, path, port, is_v6)) {
		frame_and_emit(w, port, path, m, is_v6, hash);
		return;
	}
	if (!gso_is_superframe(m)) {
		if (csum_finish(m) < 0)
			batch_drop(w, port->stats[w->id], m, DROP_GSO_FAILED);
		else
			frame_and_emit(w, port, path, m, is_v6, hash);
		return;
	}
	n = gso_segment(m, w->pool, path->mtu, segments, SEGMENTS_MAX);
	if (n < 0) {
		batch_drop(w, port->stats[w->id], m, n == -ENOMEM ? DROP_NO_MBUF : DROP_GSO_FAILED);
		return;
	}
	for (int i = 0; i < n; i++)
		frame_and_emit(w, port, path, segments[i], is_v6, hash);
}

void worker_send(
	struct worker *w, const struct path *path, struct rte_mbuf *m, bool is_v6, uint64_t hash)
{
	struct port *port = port_at(path->port_id);

	if (unlikely(port == NULL)) {
		batch_drop(w, w->in_stats, m, DROP_PORT_DOWN);
		return;
	}
	if (unlikely(csum_is_unfinished(m)))
		finish_and_emit(w, port, path, m, is_v6, hash);
	else
		frame_and_emit(w, port, path, m, is_v6, hash);
}
