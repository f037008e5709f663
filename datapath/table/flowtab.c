/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/flowtab.h"

#include <stddef.h>

#include <rte_pause.h>

#include "datapath/base/race.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/flowtab_layout.h"
#include "datapath/table/usage.h"

#define SWEEP_CHUNK 64u
#define CACHE_REFILL 64u

_Atomic bool flowtab_early_drop = true;

/* --- allocation ------------------------------------------------------------------------------------------------- */

static void cache_refill(struct flowtab *t, struct flowtab_cache *c)
{
	uint32_t n_free, n_touched;

	while (atomic_exchange_explicit(&t->free_lock, 1, memory_order_acquire) != 0)
		rte_pause();
	n_free = atomic_load_explicit(&t->n_free, memory_order_relaxed);
	n_touched = flowtab_n_touched(t);
	for (unsigned int i = 0; i < CACHE_REFILL; i++) {
		uint32_t conn;

		if (t->free_head != FLOW_NONE) {
			conn = t->free_head;
			t->free_head = t->conns[conn].next;
			n_free--;
		} else if (n_touched < t->n_conns) {
			conn = n_touched++;
		} else {
			break;
		}
		t->conns[conn].next = c->free_head;
		c->free_head = conn;
		c->n_free++;
	}
	atomic_store_explicit(&t->n_free, n_free, memory_order_relaxed);
	atomic_store_explicit(&t->n_touched, n_touched, memory_order_relaxed);
	/* The next process looks at no more than these. */
	atomic_store_explicit(&t->header->n_touched, n_touched, memory_order_relaxed);
	atomic_store_explicit(&t->free_lock, 0, memory_order_release);
}

/* Gives half of an over-full cache back, so that one worker's closings feed another's openings. */
static void cache_spill(struct flowtab *t, struct flowtab_cache *c)
{
	uint32_t n_free;

	while (atomic_exchange_explicit(&t->free_lock, 1, memory_order_acquire) != 0)
		rte_pause();
	n_free = atomic_load_explicit(&t->n_free, memory_order_relaxed);
	while (c->n_free > CACHE_REFILL) {
		uint32_t conn = c->free_head;

		c->free_head = t->conns[conn].next;
		c->n_free--;
		t->conns[conn].next = t->free_head;
		t->free_head = conn;
		n_free++;
	}
	atomic_store_explicit(&t->n_free, n_free, memory_order_relaxed);
	atomic_store_explicit(&t->free_lock, 0, memory_order_release);
}

uint32_t flowtab_alloc(struct flowtab *t, unsigned int worker)
{
	struct flowtab_cache *c = &t->cache[worker];
	size_t flow_size = t->is_v6 ? sizeof(struct flow6) : sizeof(struct flow4);
	struct conn_window *windows;
	uint32_t conn;

	if (c->n_free == 0)
		cache_refill(t, c);
	if (c->n_free == 0) {
		c->n_full++;
		return FLOW_NONE;
	}
	conn = c->free_head;
	c->free_head = t->conns[conn].next;
	c->n_free--;
	/* A free record's state and link are 0; its sweeper may be looking at them. */
	t->conns[conn].proto = 0;
	atomic_store_explicit(&t->conns[conn].flags, 0, memory_order_relaxed);
	memset((uint8_t *)&t->conns[conn] + offsetof(struct conn, route), 0,
		sizeof(t->conns[conn]) - offsetof(struct conn, route));
	atomic_store_explicit(&t->conns[conn].opener, ENDPOINT_NONE, memory_order_relaxed);
	t->conns[conn].service = t->conns[conn].backend = SLOT_NONE;
	t->conns[conn].rule[0] = t->conns[conn].rule[1] = SLOT_NONE;
	memset(t->flows + 2 * (size_t)conn * flow_size, 0, 2 * flow_size);
	/* acquire: pairs with the release in flowtab_windows_open() */
	windows = atomic_load_explicit(&t->windows, memory_order_acquire);
	if (unlikely(windows != NULL))
		memset(&windows[conn], 0, sizeof(windows[conn]));
	return conn;
}

static void cache_give(struct flowtab *t, unsigned int worker, uint32_t conn)
{
	struct flowtab_cache *c = &t->cache[worker];

	atomic_store_explicit(&t->conns[conn].state, CONN_FREE, memory_order_relaxed);
	t->conns[conn].next = c->free_head;
	c->free_head = conn;
	c->n_free++;
}

void flowtab_abort(struct flowtab *t, unsigned int worker, uint32_t conn)
{
	cache_give(t, worker, conn);
}

/* Its zone and its endpoint count the connection no more; once, whoever comes first. */
static void conn_uncount(struct flowtab *t, uint32_t conn)
{
	struct conn *c = &t->conns[conn];

	if ((atomic_fetch_or_explicit(&c->flags, CONN_F_UNCOUNTED, memory_order_relaxed) &
		    CONN_F_UNCOUNTED) != 0)
		return;
	atomic_fetch_sub_explicit(&t->zone_n_conns[c->zone], 1, memory_order_relaxed);
	endpoint_conn_put(
		atomic_exchange_explicit(&c->opener, CONN_OPENER_GONE, memory_order_relaxed));
}

bool flowtab_unlink(struct flowtab *t, uint32_t conn)
{
	struct conn *c = &t->conns[conn];
	uint8_t state = atomic_load_explicit(&c->state, memory_order_relaxed);

	/* Not published it stays: a key that came after this would never go. */
	if (atomic_load_explicit(&c->is_linked, memory_order_acquire) == 0)
		return false;
	do {
		if (state == CONN_FREE || state == CONN_DEAD)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&c->state, &state, CONN_DEAD, memory_order_relaxed, memory_order_relaxed));
	/* release: the state before; pairs with the acquire of who stores a verdict in between */
	for (uint32_t flow = 2 * conn; flow <= 2 * conn + 1; flow++)
		atomic_fetch_or_explicit(
			&flowtab_prog(t, flow)->flags, FLOW_F_UNJUDGED, memory_order_release);
	conn_uncount(t, conn);
	return true;
}

void flowtab_remove(struct flowtab *t, unsigned int worker, uint32_t conn)
{
	struct flowtab_cache *c = &t->cache[worker];

	atomic_store_explicit(&t->conns[conn].is_linked, 0, memory_order_relaxed);
	flowtab_index_delete(t, 2 * conn);
	flowtab_index_delete(t, 2 * conn + 1);
	t->conns[conn].next = FLOW_NONE;
	if (c->n_retired++ == 0)
		c->retired_head = conn;
	else
		t->conns[c->retired_tail].next = conn;
	c->retired_tail = conn;
	c->n_expired++;
	conn_uncount(t, conn);
}

static void side_clear(struct flowtab *t, uint32_t conn)
{
	for (uint32_t flow = 2 * conn; flow <= 2 * conn + 1; flow++) {
		uint16_t flags = atomic_load_explicit(
			&flowtab_prog(t, flow)->flags, memory_order_relaxed);

		if ((flags & FLOW_F_FOREIGN) == 0)
			continue;
		for (unsigned int w = 0; w < RCU_MAX_READERS; w++) {
			struct flow_count *side = atomic_load_explicit(
				&t->side[w], memory_order_acquire);

			if (side != NULL)
				side[flow] = (struct flow_count){ 0 };
		}
	}
}

void flowtab_reclaim(struct flowtab *t, unsigned int worker)
{
	struct flowtab_cache *c = &t->cache[worker];

	if (c->n_waiting > 0 && rcu_token_done(c->token)) {
		uint32_t conn = c->waiting_head;

		for (uint32_t i = 0; i < c->n_waiting; i++) {
			uint32_t next = t->conns[conn].next;

			side_clear(t, conn);
			cache_give(t, worker, conn);
			conn = next;
		}
		c->n_waiting = 0;
		if (c->n_free > 4 * CACHE_REFILL)
			cache_spill(t, c);
	}
	if (c->n_waiting == 0 && c->n_retired > 0) {
		c->waiting_head = c->retired_head;
		c->n_waiting = c->n_retired;
		c->n_retired = 0;
		c->token = rcu_token();
	}
}

/* --- ageing ----------------------------------------------------------------------------------------------------- */

static uint32_t conn_last_seen_s(const struct flowtab *t, uint32_t conn)
{
	uint32_t a = atomic_load_explicit(
		&flowtab_prog(t, 2 * conn)->last_seen_s, memory_order_relaxed);
	uint32_t b = atomic_load_explicit(
		&flowtab_prog(t, 2 * conn + 1)->last_seen_s, memory_order_relaxed);

	return a > b ? a : b;
}

/* What workers hold in their caches counts as used. */
static uint32_t n_taken(const struct flowtab *t)
{
	/* acquire: before n_touched, which only grows, so that there are never more free than touched */
	uint32_t n_free = atomic_load_explicit(&t->n_free, memory_order_acquire);

	return flowtab_n_touched(t) - n_free;
}

uint32_t flowtab_pressure(const struct flowtab *t)
{
	uint32_t n_used = n_taken(t), share = t->n_conns / FLOWTAB_PRESSURE_SHARE;
	uint32_t n_calm = t->n_conns - share;

	if (n_used <= n_calm || !atomic_load_explicit(&flowtab_early_drop, memory_order_relaxed))
		return 0;
	return (uint32_t)((uint64_t)(n_used - n_calm) * 1024 / share);
}

static uint32_t timeout_under(uint32_t pressure, uint8_t proto, enum conn_state state)
{
	uint32_t s = conn_timeout_s(proto, state);

	if (likely(pressure == 0) || !conn_is_expendable(state))
		return s;
	s = (uint32_t)((uint64_t)s * (1024 - pressure) / 1024);
	return s > 0 ? s : 1;
}

/* Whether its packets go to another address than they were sent to. */
static bool has_other_target(const struct flowtab *t, uint32_t conn)
{
	if ((atomic_load_explicit(&flowtab_prog(t, 2 * conn)->flags, memory_order_relaxed) &
		    FLOW_F_NAT) == 0)
		return false;
	if (!t->is_v6) {
		const struct flow4 *f = flowtab_flow4(t, 2 * conn);

		return f->new_dst != f->key.dst || f->new_dport != f->key.dport;
	}
	const struct flow6 *f = flowtab_flow6(t, 2 * conn);

	return memcmp(f->new_dst, f->key.dst, 16) != 0 || f->new_dport != f->key.dport;
}

/* A UDP flow to a service is over when nobody has spoken for its time-out, but its server may answer late: for one time-out more that is
 * still the service's answer, then a flow of the server's own. It counts nowhere any more. False: the connection is to go. */
static bool conn_lapse(struct flowtab *t, uint32_t conn, enum conn_state state, uint32_t now_s)
{
	struct conn *c = &t->conns[conn];
	uint8_t expected = (uint8_t)state;

	if (c->proto != IPPROTO_UDP || (state != CONN_NEW && state != CONN_REPLIED) ||
		!has_other_target(t, conn))
		return false;
	c->created_s = now_s;
	if (state == CONN_NEW)
		atomic_fetch_or_explicit(&c->flags, CONN_F_UNREPLIED, memory_order_relaxed);
	/* What another worker made of it meanwhile wins; it is looked at again. */
	if (!atomic_compare_exchange_strong_explicit(
		    &c->state, &expected, CONN_LAPSED, memory_order_relaxed, memory_order_relaxed))
		return true;
	/* release: the state before; pairs with the acquire in verdict_store() */
	for (uint32_t flow = 2 * conn; flow <= 2 * conn + 1; flow++)
		atomic_fetch_or_explicit(
			&flowtab_prog(t, flow)->flags, FLOW_F_UNJUDGED, memory_order_release);
	conn_uncount(t, conn);
	return true;
}

/* Whether the connection has been idle for its time-out. */
static bool conn_is_idle(const struct flowtab *t, uint32_t conn, enum conn_state state,
	uint32_t pressure, uint32_t now_s)
{
	const struct conn *c = &t->conns[conn];
	uint32_t since_s = conn_last_seen_s(t, conn);

	if (state == CONN_LAPSED) {
		bool is_new = (atomic_load_explicit(&c->flags, memory_order_relaxed) &
				      CONN_F_UNREPLIED) != 0;

		since_s = c->created_s;
		state = is_new ? CONN_NEW : CONN_REPLIED;
		if (pressure > 0)
			return true;
	}
	return (int32_t)(now_s - since_s - timeout_under(pressure, c->proto, state)) >= 0;
}

unsigned int flowtab_sweep(struct flowtab *t, unsigned int worker, unsigned int max, uint32_t now_s)
{
	struct flowtab_cache *c = &t->cache[worker];
	uint32_t conn = c->sweep_next, pressure = flowtab_pressure(t);
	uint32_t n_touched = flowtab_n_touched(t);
	unsigned int n;

	if (n_touched == 0)
		return 0;
	for (n = 0; n < max; n++, conn++) {
		struct conn *record;
		enum conn_state state;

		/* Chunks go round the workers; behind the last touched one the round begins again. */
		if (conn % SWEEP_CHUNK == 0 && conn / SWEEP_CHUNK % t->n_workers != worker)
			conn += ((worker + t->n_workers - conn / SWEEP_CHUNK % t->n_workers) %
					t->n_workers) *
				SWEEP_CHUNK;
		if (conn >= n_touched) {
			c->sweep_next = worker * SWEEP_CHUNK;
			return n;
		}
		record = &t->conns[conn];
		rte_prefetch0(record + 16);
		state = atomic_load_explicit(&record->state, memory_order_acquire);
		/* What is not published yet is its worker's alone. acquire: pairs with the release in flowtab_publish() */
		if (state == CONN_FREE ||
			atomic_load_explicit(&record->is_linked, memory_order_acquire) == 0)
			continue;
		if (state != CONN_DEAD && !conn_is_idle(t, conn, state, pressure, now_s))
			continue;
		if (pressure > 0 || !conn_lapse(t, conn, state, now_s)) {
			usage_conn_ended(t, conn);
			/* FREE: the next round passes it by; a late packet's conn_track() changes nothing in it. */
			atomic_store_explicit(&record->state, CONN_FREE, memory_order_relaxed);
			RACE_POINT(RACE_SWEEP);
			flowtab_remove(t, worker, conn);
		}
	}
	c->sweep_next = conn;
	return n;
}

/* --- counters --------------------------------------------------------------------------------------------------- */

void flowtab_count_foreign(
	struct flowtab *t, unsigned int worker, uint32_t flow, uint32_t pkts, uint32_t bytes)
{
	struct flow_count *side = atomic_load_explicit(&t->side[worker], memory_order_relaxed);

	if (side ==
		NULL) /* the control thread could not make it: the packets are forwarded, not counted */
		return;
	side[flow].pkts += pkts;
	side[flow].bytes += bytes;
	atomic_fetch_or_explicit(
		&flowtab_prog(t, flow)->flags, FLOW_F_FOREIGN, memory_order_relaxed);
}

struct flow_count flowtab_count(const struct flowtab *t, uint32_t flow)
{
	const struct flow_prog *p = flowtab_prog(t, flow);
	struct flow_count sum = { .pkts = ((uint64_t)p->pkts_hi << 32) | p->pkts_lo,
		.bytes = ((uint64_t)p->bytes_hi << 32) | p->bytes_lo };

	for (unsigned int w = 0; w < t->n_workers; w++) {
		const struct flow_count *side = atomic_load_explicit(
			&t->side[w], memory_order_acquire);

		if (side != NULL) {
			sum.pkts += side[flow].pkts;
			sum.bytes += side[flow].bytes;
		}
	}
	return sum;
}

bool flowtab_is_nearly_full(const struct flowtab *t)
{
	return n_taken(t) > t->n_conns - t->n_conns / FLOWTAB_RESERVE;
}

uint32_t flowtab_n_used(const struct flowtab *t)
{
	uint32_t idle = 0, n = n_taken(t);

	for (unsigned int w = 0; w < t->n_workers; w++)
		idle += t->cache[w].n_free + t->cache[w].n_retired + t->cache[w].n_waiting;
	return n > idle ? n - idle : 0;
}
