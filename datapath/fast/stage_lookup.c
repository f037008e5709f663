/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys → flows, in passes so that the batch's cache misses overlap: bucket, entry, compare; then the same for second buckets. */
#include "datapath/base/gen.h"
#include "datapath/fast/stages.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/ipset.h"
#include "datapath/table/restart.h"
#include "datapath/table/route.h"
#include "datapath/table/service.h"

#include "datapath/fast/poison.h"

/* Whether something about the addresses of the connection's two ends has changed, as the layers see them: their groups, or that one is a
 * service's now. A flow comes with the one and leaves with the other, translated. */
static bool peers_changed(const struct flowtab *t, uint32_t flow, uint32_t epoch)
{
	bool is_nat = (atomic_load_explicit(&flowtab_prog(t, flow)->flags, memory_order_relaxed) &
			      FLOW_F_NAT) != 0;
	struct ip_addr src, dst;

	if (t->is_v6) {
		const struct flow6 *f = flowtab_flow6(t, flow);

		memcpy(src.b, f->key.src, 16);
		memcpy(dst.b, is_nat ? f->new_dst : f->key.dst, 16);
	} else {
		const struct flow4 *f = flowtab_flow4(t, flow);

		src = ip_from_v4(f->key.src);
		dst = ip_from_v4(is_nat ? f->new_dst : f->key.dst);
	}
	return gen_is_newer(ipset_addr_gen(&src), epoch) ||
		gen_is_newer(ipset_addr_gen(&dst), epoch);
}

/* Whether service or backend of the connection have changed. */
static bool binding_changed(const struct conn *c, uint32_t epoch)
{
	uint32_t service = atomic_load_explicit(&c->service, memory_order_relaxed);
	uint32_t backend = atomic_load_explicit(&c->backend, memory_order_relaxed);

	return (service != SLOT_NONE && gen_is_newer(&service_at(service)->gen, epoch)) ||
		(backend != SLOT_NONE && gen_is_newer(&backend_at(backend)->gen, epoch));
}

/* Whether nothing that the flow was judged by has changed since: its path, both ways' routes, endpoints, their groups, its backend. */
static bool flow_is_current(const struct flowtab *t, uint32_t flow, const struct flow_prog *p)
{
	uint32_t epoch = atomic_load_explicit(&p->epoch, memory_order_relaxed);
	uint32_t path = atomic_load_explicit(&p->path, memory_order_relaxed);
	const struct conn *c = flowtab_conn(t, flow);
	bool is_stale = path != PATH_NONE && gen_is_newer(&path_at(path)->gen, epoch);

	for (unsigned int d = 0; d < CONN_DIR_N; d++) {
		uint32_t route = atomic_load_explicit(&c->route[d], memory_order_relaxed);
		uint32_t ep = atomic_load_explicit(&c->endpoint[d], memory_order_relaxed);

		is_stale |= route != SLOT_NONE && gen_is_newer(&route_at(route)->gen, epoch);
		is_stale |= ep != SLOT_NONE && gen_is_newer(&endpoint_at(ep)->gen, epoch);
	}
	is_stale |= binding_changed(c, epoch);
	is_stale |= peers_changed(t, flow, epoch);
	return !is_stale;
}

/* A hit that may be used: right ingress, judged, and by what still stands. */
static inline bool flow_is_good(
	struct worker *w, const struct flowtab *t, uint32_t flow, struct flow_prog *p, uint16_t in)
{
	if (unlikely(atomic_load_explicit(&p->in_port, memory_order_relaxed) != in ||
		    (atomic_load_explicit(&p->flags, memory_order_relaxed) & FLOW_F_UNJUDGED) != 0))
		return false;
	if (likely(atomic_load_explicit(&p->epoch, memory_order_relaxed) == w->epoch))
		return true;
	w->stats.n_rechecks++;
	/* What it was judged by is not back yet; never restamped, so that it comes by here again. */
	if (unlikely((atomic_load_explicit(&p->flags, memory_order_relaxed) & FLOW_F_ADOPTED) != 0))
		return restart_is_gated();
	if (!flow_is_current(t, flow, p))
		return false;
	atomic_store_explicit(&p->epoch, w->epoch, memory_order_relaxed);
	return true;
}

/* The first flow in the bucket whose tag matches, prefetched; most often the only one. */
static inline uint32_t candidate(
	const struct flowtab *t, uint32_t bucket, uint16_t tag, size_t flow_size)
{
	const struct flowtab_bucket *b = &t->buckets[bucket];
	uint32_t m = flowtab_match(b, tag), flow;

	if (unlikely(m == 0))
		return FLOW_NONE;
	flow = atomic_load_explicit(&b->flow[__builtin_ctz(m) / 2], memory_order_acquire);
	rte_prefetch0(t->flows + (size_t)flow * flow_size);
	if (flow_size > RTE_CACHE_LINE_SIZE)
		rte_prefetch0(t->flows + (size_t)flow * flow_size + RTE_CACHE_LINE_SIZE);
	return flow;
}

static inline __rte_always_inline bool key_eq(
	const struct batch *b, uint64_t i, const void *entry, bool is_v6)
{
	return is_v6 ? flow_key6_eq(&((const struct flow6 *)entry)->key, &b->key[i].k6)
		     : flow_key4_eq(&((const struct flow4 *)entry)->key, &b->key[i].k4);
}

/* Compares the candidates' keys; the batch's hit and slow masks say what came of it. */
static inline __rte_always_inline void compare(
	struct worker *w, struct batch *b, const struct flowtab *t, uint64_t mask, bool is_v6)
{
	const size_t flow_size = is_v6 ? sizeof(struct flow6) : sizeof(struct flow4);

	MASK_FOREACH(i, mask)
	{
		uint32_t flow = b->flow[i];
		struct flow_prog *p;
		void *entry;

		if (unlikely(flow == FLOW_NONE ||
			    !key_eq(b, i, t->flows + (size_t)flow * flow_size, is_v6))) {
			/* None, or another flow with the same tag: the whole lookup decides. */
			flow = is_v6 ? flowtab_find6(t, &b->key[i].k6)
				     : flowtab_find4(t, &b->key[i].k4);
			b->flow[i] = flow;
			if (flow == FLOW_NONE) {
				b->slow |= 1ull << i;
				continue;
			}
		}
		entry = t->flows + (size_t)flow * flow_size;
		b->entry[i] = entry;
		p = is_v6 ? &((struct flow6 *)entry)->prog : &((struct flow4 *)entry)->prog;
		/* A SYN may open anew what has ended: the layers know where that may go now. */
		if (unlikely(conn_tcp_is_syn(b->tcp_flags[i]) ||
			    !flow_is_good(w, t, flow, p, b->in[i])))
			b->slow |= 1ull << i;
		else
			b->hit |= 1ull << i;
	}
}

static inline __rte_always_inline void lookup(
	struct worker *w, struct batch *b, const struct flowtab *t, uint64_t mask, bool is_v6)
{
	const size_t flow_size = is_v6 ? sizeof(struct flow6) : sizeof(struct flow4);
	uint64_t second = 0; /* not in their first bucket: a tenth of a table at 80 % */

	if (is_v6) { /* IPv4 was hashed by the parser */
		MASK_FOREACH(i, mask)
		{
			b->hash[i] = flowtab_hash6(t, &b->key[i].k6);
			rte_prefetch0(&t->buckets[flowtab_bucket1(t, b->hash[i])]);
		}
	}
	MASK_FOREACH(i, mask)
	{
		uint16_t tag = flowtab_tag(b->hash[i]);
		uint32_t bucket = flowtab_bucket1(t, b->hash[i]);

		b->flow[i] = candidate(t, bucket, tag, flow_size);
		if (unlikely(b->flow[i] == FLOW_NONE)) {
			second |= 1ull << i;
			rte_prefetch0(&t->buckets[flowtab_alt(t, bucket, tag)]);
		}
	}
	compare(w, b, t, mask & ~second, is_v6);
	if (likely(second == 0))
		return;
	MASK_FOREACH(i, second)
	{
		uint16_t tag = flowtab_tag(b->hash[i]);

		b->flow[i] = candidate(
			t, flowtab_alt(t, flowtab_bucket1(t, b->hash[i]), tag), tag, flow_size);
	}
	compare(w, b, t, second, is_v6);
}

/* Behind a shared port a flow belongs to the endpoint with its MAC: another's frame is for the layers to judge. */
static void shared_port_check(const struct worker *w, struct batch *b)
{
	uint64_t hit = b->hit;

	MASK_FOREACH(i, hit)
	{
		const struct flowtab *t = (b->v6 >> i & 1) != 0 ? w->ft6 : w->ft4;
		const struct conn *c = flowtab_conn(t, b->flow[i]);
		uint32_t ep = atomic_load_explicit(
			&c->endpoint[b->flow[i] & 1], memory_order_relaxed);
		const struct rte_ether_addr *src = rte_pktmbuf_mtod_offset(
			b->m[i], const struct rte_ether_addr *, RTE_ETHER_ADDR_LEN);

		if (ep == ENDPOINT_NONE || rte_is_same_ether_addr(src, &endpoint_at(ep)->mac))
			continue;
		b->hit &= ~(1ull << i);
		b->slow |= 1ull << i;
	}
}

void stage_lookup(struct worker *w, struct batch *b)
{
	b->hit = 0;
	if (b->v4 != 0)
		lookup(w, b, w->ft4, b->v4, false);
	if (b->v6 != 0)
		lookup(w, b, w->ft6, b->v6, true);
	if (unlikely(atomic_load_explicit(&b->port->is_shared, memory_order_relaxed) != 0))
		shared_port_check(w, b);
	w->stats.n_hits += (uint64_t)__builtin_popcountll(b->hit);
}
