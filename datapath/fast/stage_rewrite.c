/* SPDX-License-Identifier: BSD-3-Clause */
/* Applies each packet's flow: counts, tracks the connection, TTL, addresses; then worker_send() writes the path's header. */
#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/fast/stages.h"
#include "datapath/fast/strict.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/slow/flow_nat.h"
#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u
#define FLOW_F_RARE (FLOW_F_TRACK | FLOW_F_METERED | FLOW_F_MTU)
#define TCP_STATE_FLAGS (CONN_TCP_FIN | CONN_TCP_SYN | CONN_TCP_RST)

static inline struct flow_prog *prog_of(void *entry, bool is_v6)
{
	return is_v6 ? &((struct flow6 *)entry)->prog : &((struct flow4 *)entry)->prog;
}

static void flow_track(struct flow_prog *p)
{
	if ((atomic_load_explicit(&p->flags, memory_order_relaxed) & FLOW_F_TRACK) == 0)
		atomic_fetch_or_explicit(&p->flags, FLOW_F_TRACK, memory_order_relaxed);
}

static void flow_untrack(const struct conn *c, struct flow_prog *p)
{
	atomic_fetch_and_explicit(&p->flags, (uint16_t)~FLOW_F_TRACK, memory_order_acq_rel);
	/* The other direction's worker may have closed it since. */
	if (unlikely(conn_is_tracked(
		    (enum conn_state)atomic_load_explicit(&c->state, memory_order_relaxed))))
		flow_track(p);
}

/* The connection's state; false: strict tracking has dropped the packet. */
static bool track(struct worker *w, struct batch *b, uint64_t i, struct flow_prog *p, bool is_v6)
{
	const struct flowtab *t = is_v6 ? w->ft6 : w->ft4;
	uint32_t flow = b->flow[i];
	enum conn_window_verdict verdict = CONN_WINDOW_OK;
	bool needs_more = false;
	struct conn *c;

	if (flow == FLOW_NONE)
		return true;
	c = flowtab_conn(t, flow);
	if (c->proto == IPPROTO_TCP)
		verdict = strict_check(w, b, i, is_v6, &needs_more);
	if (unlikely(verdict >= CONN_WINDOW_OUT)) {
		batch_kill(w, b, i,
			verdict == CONN_WINDOW_RST ? DROP_TCP_RST_INVALID : DROP_TCP_WINDOW);
		return false;
	}
	/* It ended behind this SYN's back, in the same burst or on another worker: the next one begins anew. */
	if (unlikely(conn_tcp_is_syn(b->tcp_flags[i]) &&
		    conn_is_over((enum conn_state)atomic_load_explicit(
			    &c->state, memory_order_relaxed)))) {
		batch_kill(w, b, i, DROP_NO_CONNECTION);
		return false;
	}
	if (verdict == CONN_WINDOW_OK)
		needs_more |= conn_track(c, (enum conn_dir)(flow & 1), b->tcp_flags[i]);
	/* Both directions: what follows a RST may come from either. */
	if (needs_more)
		for (unsigned int d = 0; d < CONN_DIR_N; d++)
			flow_track(flowtab_prog(t, (flow & ~1u) + d));
	else
		flow_untrack(c, p);
	return true;
}

/* Limits of the endpoint that sends and of the one that receives. */
static bool meters_pass(struct worker *w, const struct batch *b, uint64_t i, bool is_v6)
{
	uint32_t flow = b->flow[i], ep[ENDPOINT_DIR_N];
	const struct conn *c;

	if (flow == FLOW_NONE)
		return true;
	c = flowtab_conn(is_v6 ? w->ft6 : w->ft4, flow);
	ep[ENDPOINT_FROM] = atomic_load_explicit(&c->endpoint[flow & 1], memory_order_relaxed);
	ep[ENDPOINT_TO] = atomic_load_explicit(&c->endpoint[!(flow & 1)], memory_order_relaxed);
	return endpoint_meters_pass(ep, b->len[i], w->now_ns);
}

static inline void ttl_decrement(uint8_t *data, bool is_v6)
{
	if (is_v6) {
		data[L3_OFF + 7]--;
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + L3_OFF);

		ip->time_to_live--;
		ip->hdr_checksum = csum_dec_ttl(ip->hdr_checksum);
	}
}

static inline void count(
	struct worker *w, struct batch *b, uint64_t i, struct flow_prog *p, bool is_v6)
{
	/* Stored only when it changes: the line is dirty anyway, but other workers may read it. */
	if (unlikely(atomic_load_explicit(&p->last_seen_s, memory_order_relaxed) != w->now_s))
		atomic_store_explicit(&p->last_seen_s, w->now_s, memory_order_relaxed);
	if (likely(atomic_load_explicit(&p->owner, memory_order_relaxed) == w->id))
		flow_prog_count(p, b->len[i]);
	else if (b->flow[i] != FLOW_NONE)
		flowtab_count_foreign(is_v6 ? w->ft6 : w->ft4, w->id, b->flow[i], 1, b->len[i]);
}

/* Fragments or an ICMP error; what is limited stays limited. */
static __rte_noinline void oversize(struct worker *w, struct batch *b, uint64_t i,
	struct flow_prog *p, uint16_t flags, bool is_v6)
{
	if (((flags & FLOW_F_TRACK) != 0 || (b->tcp_flags[i] & TCP_STATE_FLAGS) != 0) &&
		!track(w, b, i, p, is_v6))
		return;
	if ((flags & FLOW_F_METERED) != 0 && !meters_pass(w, b, i, is_v6))
		batch_kill(w, b, i, DROP_RATE_LIMIT);
	else
		slow_oversize(w, b, i);
}

/* What most packets do not need; false: the packet is gone. */
static __rte_noinline bool rewrite_rare(struct worker *w, struct batch *b, uint64_t i,
	struct flow_prog *p, uint16_t flags, bool is_v6)
{
	if ((flags & FLOW_F_MTU) != 0 &&
		gso_wire_len(b->m[i], b->len[i]) >
			atomic_load_explicit(&p->mtu, memory_order_relaxed)) {
		oversize(w, b, i, p, flags, is_v6);
		return false;
	}
	if (((flags & FLOW_F_TRACK) != 0 || (b->tcp_flags[i] & TCP_STATE_FLAGS) != 0) &&
		!track(w, b, i, p, is_v6))
		return false;
	if ((flags & FLOW_F_METERED) != 0 && !meters_pass(w, b, i, is_v6)) {
		batch_kill(w, b, i, DROP_RATE_LIMIT);
		return false;
	}
	return true;
}

/* Packets one after the other mostly leave by one path: what that means is looked up once. */
struct way_out {
	uint32_t path_idx;
	bool is_plain; /* only an Ethernet header to write, and the port is there */
	const struct path *path;
	struct port *port;
};

static inline void way_out_choose(struct way_out *way, uint32_t path_idx)
{
	if (likely(way->path_idx == path_idx))
		return;
	way->path_idx = path_idx;
	way->path = path_at(path_idx);
	way->port = port_at(way->path->port_id);
	way->is_plain = way->path->kind == PATH_PLAIN && way->port != NULL;
}

void stage_rewrite(struct worker *w, struct batch *b)
{
	struct way_out way = { .path_idx = UINT32_MAX };
	uint64_t v6 = b->v6;

	MASK_FOREACH(i, b->live)
	{
		bool is_v6 = (v6 >> i) & 1;
		struct flow_prog *p = prog_of(b->entry[i], is_v6);
		uint16_t flags = atomic_load_explicit(&p->flags, memory_order_relaxed);
		struct rte_mbuf *m = b->m[i];
		uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);

		way_out_choose(&way, atomic_load_explicit(&p->path, memory_order_relaxed));
		if (unlikely(gso_wire_len(m, b->len[i]) > way.path->mtu)) {
			oversize(w, b, i, p, flags, is_v6);
			continue;
		}
		if (unlikely(((flags & FLOW_F_RARE) | (b->tcp_flags[i] & TCP_STATE_FLAGS)) != 0) &&
			!rewrite_rare(w, b, i, p, flags, is_v6))
			continue;
		count(w, b, i, p, is_v6);
		if ((flags & FLOW_F_NAT) != 0) {
			if (is_v6)
				nat6_apply(data, b->entry[i], csum_is_unfinished(m));
			else
				nat4_apply(data, b->entry[i], csum_is_unfinished(m));
		}
		if (likely((flags & FLOW_F_KEEP_TTL) == 0))
			ttl_decrement(data, is_v6);
		if (likely(way.is_plain && !csum_is_unfinished(m))) {
			/* The EtherType in front of the L3 header is the right one already. */
			memcpy(data, way.path->macs, sizeof(way.path->macs));
			worker_emit(w, way.port, m);
		} else {
			worker_send(w, way.path, m, is_v6, b->hash[i]);
		}
	}
}
