/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/flowtab.h"

#include <errno.h>

#include <rte_pause.h>

#include "datapath/table/endpoint.h"
#include "datapath/table/flowtab_layout.h"
#include "datapath/table/usage.h"

#define SWEEP_CHUNK 64u
#define CACHE_REFILL 64u

_Atomic bool flowtab_early_drop = true;

/* --- lookup --------------------------------------------------------------------------------------------------- */

static bool key_eq(const struct flowtab *t, uint32_t flow, const void *key)
{
	return t->is_v6 ? flow_key6_eq(&flowtab_flow6(t, flow)->key, key)
			: flow_key4_eq(&flowtab_flow4(t, flow)->key, key);
}

static uint64_t key_hash(const struct flowtab *t, const void *key)
{
	return t->is_v6 ? flowtab_hash6(t, key) : flowtab_hash4(t, key);
}

static void *flow_key(const struct flowtab *t, uint32_t flow)
{
	return t->is_v6 ? (void *)&flowtab_flow6(t, flow)->key
			: (void *)&flowtab_flow4(t, flow)->key;
}

static uint32_t bucket_find(const struct flowtab *t, uint32_t bucket, uint16_t tag, const void *key,
	unsigned int *out_slot)
{
	const struct flowtab_bucket *b = &t->buckets[bucket];

	for (uint32_t m = flowtab_match(b, tag); m != 0; m &= m - 1) {
		unsigned int slot = (unsigned int)__builtin_ctz(m) / 2;
		/* acquire: pairs with the release in bucket_put() */
		uint32_t flow = atomic_load_explicit(&b->flow[slot], memory_order_acquire);

		if (flow < 2 * t->n_conns && key_eq(t, flow, key)) {
			if (out_slot != NULL)
				*out_slot = slot;
			return flow;
		}
	}
	return FLOW_NONE;
}

/* Unlinked, or about to be removed: its entries stay in the index until its sweeper comes, or its keys are used again. */
static bool is_dead(const struct flowtab *t, uint32_t flow)
{
	uint8_t state = atomic_load_explicit(&t->conns[flow >> 1].state, memory_order_relaxed);

	return state == CONN_DEAD || state == CONN_FREE;
}

static uint32_t find(const struct flowtab *t, const void *key)
{
	uint64_t hash = key_hash(t, key);
	uint16_t tag = flowtab_tag(hash);
	uint32_t b1 = flowtab_bucket1(t, hash);
	uint32_t flow = bucket_find(t, b1, tag, key, NULL);

	if (flow == FLOW_NONE)
		flow = bucket_find(t, flowtab_alt(t, b1, tag), tag, key, NULL);
	return flow != FLOW_NONE && is_dead(t, flow) ? FLOW_NONE : flow;
}

uint32_t flowtab_find4(const struct flowtab *t, const struct flow_key4 *key)
{
	return find(t, key);
}

uint32_t flowtab_find6(const struct flowtab *t, const struct flow_key6 *key)
{
	return find(t, key);
}

/* --- the index -------------------------------------------------------------------------------------------------- */

static void bucket_lock(struct flowtab_bucket *b)
{
	while (atomic_exchange_explicit(&b->lock, 1, memory_order_acquire) != 0)
		rte_pause();
}

static bool bucket_trylock(struct flowtab_bucket *b)
{
	return atomic_exchange_explicit(&b->lock, 1, memory_order_acquire) == 0;
}

static void bucket_unlock(struct flowtab_bucket *b)
{
	atomic_store_explicit(&b->lock, 0, memory_order_release);
}

/* Both buckets of a key, in address order so that two inserts never wait for each other. */
static void pair_lock(struct flowtab *t, uint32_t b1, uint32_t b2)
{
	bucket_lock(&t->buckets[b1 < b2 ? b1 : b2]);
	if (b1 != b2)
		bucket_lock(&t->buckets[b1 < b2 ? b2 : b1]);
}

static void pair_unlock(struct flowtab *t, uint32_t b1, uint32_t b2)
{
	bucket_unlock(&t->buckets[b1]);
	if (b1 != b2)
		bucket_unlock(&t->buckets[b2]);
}

static int bucket_free_slot(const struct flowtab_bucket *b)
{
	uint32_t m = flowtab_match(b, 0);

	return m != 0 ? __builtin_ctz(m) / 2 : -1;
}

static void bucket_put(struct flowtab_bucket *b, int slot, uint16_t tag, uint32_t flow)
{
	/* release: the entry before its index, the index before its tag; pairs with the acquire in bucket_find() */
	atomic_store_explicit(&b->flow[slot], flow, memory_order_release);
	atomic_store_explicit(&b->tag[slot], tag, memory_order_release);
}

/* Makes room in bucket `from` (locked) by moving one of its keys to that key's other bucket. A reader may miss the moving key once
 * and takes the slow path, where the lookup is repeated. Slot freed, or -1. */
static int bucket_displace(struct flowtab *t, uint32_t from, uint32_t other)
{
	struct flowtab_bucket *b = &t->buckets[from];

	for (int slot = 0; slot < FLOWTAB_BUCKET_LEN; slot++) {
		uint16_t tag = atomic_load_explicit(&b->tag[slot], memory_order_relaxed);
		uint32_t to = flowtab_alt(t, from, tag);
		struct flowtab_bucket *alt = &t->buckets[to];
		int room;

		/* trylock: a third bucket, out of order */
		if (to == from || to == other || !bucket_trylock(alt))
			continue;
		room = bucket_free_slot(alt);
		if (room >= 0) {
			bucket_put(alt, room, tag,
				atomic_load_explicit(&b->flow[slot], memory_order_relaxed));
			atomic_store_explicit(&b->tag[slot], 0, memory_order_release);
		}
		bucket_unlock(alt);
		if (room >= 0)
			return slot;
	}
	return -1;
}

/* Looks for the key in a locked bucket; an entry of a dead connection becomes the flow's. 1: that, 0: not there, -EEXIST. */
static int bucket_take_over(
	struct flowtab *t, uint32_t bucket, uint16_t tag, const void *key, uint32_t flow)
{
	unsigned int slot;
	uint32_t old = bucket_find(t, bucket, tag, key, &slot);

	if (old == FLOW_NONE)
		return 0;
	if (!is_dead(t, old))
		return -EEXIST;
	bucket_put(&t->buckets[bucket], (int)slot, tag, flow);
	return 1;
}

static int index_insert(struct flowtab *t, uint32_t flow)
{
	const void *key = flow_key(t, flow);
	uint64_t hash = key_hash(t, key);
	uint16_t tag = flowtab_tag(hash);
	uint32_t b1 = flowtab_bucket1(t, hash), b2 = flowtab_alt(t, b1, tag), into = b1;
	int slot, ret;

	pair_lock(t, b1, b2);
	ret = bucket_take_over(t, b1, tag, key, flow);
	if (ret == 0)
		ret = bucket_take_over(t, b2, tag, key, flow);
	if (ret != 0)
		goto out;
	slot = bucket_free_slot(&t->buckets[b1]);
	if (slot < 0) {
		into = b2;
		slot = bucket_free_slot(&t->buckets[b2]);
	}
	if (slot < 0)
		slot = bucket_displace(t, b2, b1);
	if (slot < 0) {
		into = b1;
		slot = bucket_displace(t, b1, b2);
	}
	if (slot < 0)
		ret = -ENOSPC;
	else
		bucket_put(&t->buckets[into], slot, tag, flow);
out:
	pair_unlock(t, b1, b2);
	return RTE_MIN(ret, 0);
}

static void index_delete(struct flowtab *t, uint32_t flow)
{
	uint64_t hash = key_hash(t, flow_key(t, flow));
	uint16_t tag = flowtab_tag(hash);
	uint32_t b[2] = { flowtab_bucket1(t, hash) };

	b[1] = flowtab_alt(t, b[0], tag);
	pair_lock(t, b[0], b[1]);
	for (int i = 0; i < 2; i++) {
		struct flowtab_bucket *bucket = &t->buckets[b[i]];

		for (uint32_t m = flowtab_match(bucket, tag); m != 0; m &= m - 1) {
			unsigned int slot = (unsigned int)__builtin_ctz(m) / 2;

			if (atomic_load_explicit(&bucket->flow[slot], memory_order_relaxed) == flow)
				atomic_store_explicit(&bucket->tag[slot], 0, memory_order_release);
		}
	}
	pair_unlock(t, b[0], b[1]);
}

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
	memset(&t->conns[conn], 0, sizeof(t->conns[conn]));
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

int flowtab_publish(struct flowtab *t, uint32_t conn)
{
	int ret = index_insert(t, 2 * conn);

	if (ret < 0)
		return ret;
	ret = index_insert(t, 2 * conn + 1);
	/* A packet to oneself has one key for both directions. */
	if (ret == -EEXIST && key_eq(t, 2 * conn, flow_key(t, 2 * conn + 1)))
		ret = 0;
	if (ret < 0) {
		index_delete(t, 2 * conn);
		return ret == -EEXIST ? -EADDRINUSE : ret;
	}
	atomic_fetch_add_explicit(&t->zone_n_conns[t->conns[conn].zone], 1, memory_order_relaxed);
	/* release: both keys before; pairs with the acquire in flowtab_unlink() */
	atomic_store_explicit(&t->conns[conn].is_linked, 1, memory_order_release);
	return 0;
}

bool flowtab_unlink(struct flowtab *t, uint32_t conn)
{
	struct conn *c = &t->conns[conn];
	uint8_t state = atomic_load_explicit(&c->state, memory_order_relaxed);

	/* Half published it stays: a key that came after this would never go. */
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
	return true;
}

void flowtab_remove(struct flowtab *t, unsigned int worker, uint32_t conn)
{
	struct flowtab_cache *c = &t->cache[worker];

	atomic_store_explicit(&t->conns[conn].is_linked, 0, memory_order_relaxed);
	index_delete(t, 2 * conn);
	index_delete(t, 2 * conn + 1);
	t->conns[conn].next = FLOW_NONE;
	if (c->n_retired++ == 0)
		c->retired_head = conn;
	else
		t->conns[c->retired_tail].next = conn;
	c->retired_tail = conn;
	c->n_expired++;
	atomic_fetch_sub_explicit(&t->zone_n_conns[t->conns[conn].zone], 1, memory_order_relaxed);
	endpoint_conn_put(atomic_exchange_explicit(
		&t->conns[conn].opener, CONN_OPENER_GONE, memory_order_relaxed));
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
		if (state == CONN_FREE)
			continue;
		if (state == CONN_DEAD ||
			(int32_t)(now_s - conn_last_seen_s(t, conn) -
				timeout_under(pressure, record->proto, state)) >= 0) {
			usage_conn_ended(t, conn);
			/* FREE: the next round passes it by; a late packet's conn_track() changes nothing in it. */
			atomic_store_explicit(&record->state, CONN_FREE, memory_order_relaxed);
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
