/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments: the first one's ports decide for all of a datagram, in whatever order they come; those before it wait. */
#include <netinet/in.h>

#include "datapath/packet/frag.h"
#include "datapath/slow/slow.h"
#include "datapath/table/fragtab.h"
#include "datapath/table/tables.h"

#include "datapath/fast/poison.h"

/* A later fragment learns what the first one showed. */
static void learn(struct parsed *pkt, const struct fragtab_first *first)
{
	pkt->proto = first->proto;
	pkt->has_l4 = first->has_l4;
	pkt->sport = first->sport;
	pkt->dport = first->dport;
	pkt->icmp_type = first->icmp_type;
	pkt->icmp_code = first->icmp_code;
	pkt->tcp_flags = first->tcp_flags;
}

/* Fragments that waited for their first, in a batch of their own. */
static void release(struct worker *w, const struct batch *b, uint64_t at,
	const struct fragtab_first *first, struct rte_mbuf *const *held, uint32_t n)
{
	struct batch *side = &w->side_batch;

	side->port = b->port;
	side->n = (uint16_t)n;
	side->live = (1ull << n) - 1;
	side->slow = side->live;
	side->v4 = side->v6 = side->hit = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct parsed pkt;

		side->m[i] = held[i];
		side->in[i] = b->in[at];
		side->zone[i] = b->zone[at];
		if (parse_frame(held[i], &pkt) != DROP_NONE) {
			batch_kill(w, side, i, DROP_FRAG_BAD);
			continue;
		}
		learn(&pkt, first);
		slow_first(w, side, i, &pkt);
	}
	batch_apply(w, side);
}

static void discard(struct worker *w, struct rte_mbuf *const *held, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		batch_drop(w, w->in_stats, held[i], DROP_FRAG_BAD);
}

void slow_fragment(struct worker *w, struct batch *b, uint64_t i, struct parsed *pkt)
{
	struct fragtab_key key = {
		.src = pkt->src, .dst = pkt->dst, .zone = b->zone[i], .in = b->in[i]
	};
	struct fragtab_first first = { .sport = pkt->sport,
		.dport = pkt->dport,
		.proto = pkt->proto,
		.icmp_type = pkt->icmp_type,
		.icmp_code = pkt->icmp_code,
		.tcp_flags = pkt->tcp_flags,
		.has_l4 = pkt->has_l4 };
	struct fragtab_range range;
	struct fragtab_out out;
	struct frag_place place;

	if (!frag_place(b->m[i], pkt->l3_off, &place)) {
		slow_first(w, b, i, pkt); /* whole, with a fragment header (RFC 6946) */
		return;
	}
	key.id = place.id;
	key.proto = place.proto;
	range = (struct fragtab_range){
		.off = place.off, .len = place.len, .is_last = place.is_last
	};
	b->m[i]->port = b->port->id; /* where it is counted if it waits in vain */
	switch (fragtab_enter(tables_fragments, &key, &range, &first, b->m[i], w->now_ns, &out)) {
	case FRAGTAB_FIRST:
		slow_first(w, b, i, pkt);
		if (out.n_held > 0)
			release(w, b, i, &first, out.held, out.n_held);
		break;
	case FRAGTAB_PORTS:
		learn(pkt, &out.first);
		slow_first(w, b, i, pkt);
		break;
	case FRAGTAB_HELD:
		batch_take(b, i);
		break;
	case FRAGTAB_FULL:
		batch_kill(w, b, i, DROP_FRAG_QUEUE);
		break;
	default:
		discard(w, out.held, out.n_held);
		batch_kill(w, b, i, DROP_FRAG_BAD);
		break;
	}
}

/* A fragment that waits for a neighbour does not pass the table twice: it keeps what it knows in a field that only super-frames use. */
union parked {
	struct {
		rte_be16_t sport, dport;
		uint8_t proto, has_l4, type_or_flags, icmp_code;
	};
	uint64_t bits;
};
static_assert(sizeof(union parked) == sizeof(uint64_t), "fits mbuf.tx_offload");

void slow_fragment_park(struct rte_mbuf *m, const struct parsed *pkt)
{
	const union parked parked = { .sport = pkt->sport,
		.dport = pkt->dport,
		.proto = pkt->proto,
		.has_l4 = pkt->has_l4,
		.type_or_flags = conn_has_handshake(pkt->proto) ? pkt->tcp_flags : pkt->icmp_type,
		.icmp_code = pkt->icmp_code };

	m->tx_offload = parked.bits;
}

void slow_fragment_resume(struct rte_mbuf *m, struct parsed *pkt)
{
	const union parked parked = { .bits = m->tx_offload };
	const struct fragtab_first first = { .sport = parked.sport,
		.dport = parked.dport,
		.proto = parked.proto,
		.has_l4 = parked.has_l4,
		.icmp_type = parked.type_or_flags,
		.icmp_code = parked.icmp_code,
		.tcp_flags = parked.type_or_flags };

	m->tx_offload = 0;
	learn(pkt, &first);
}

void slow_fragments_expire(struct worker *w)
{
	struct rte_mbuf *old[FRAGTAB_HELD_MAX];
	uint32_t n;

	while ((n = fragtab_expire(tables_fragments, w->now_ns, old, FRAGTAB_HELD_MAX)) > 0)
		for (uint32_t i = 0; i < n; i++) {
			struct port *p = port_at(old[i]->port);

			if (p != NULL)
				batch_drop(w, p->stats[w->id], old[i], DROP_FRAG_QUEUE);
			else
				rte_pktmbuf_free(old[i]);
		}
}
