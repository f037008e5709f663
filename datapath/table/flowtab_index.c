/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow table's index: keys are looked up without a lock, put in (both of a connection at once) and taken out under the locks of
 * their buckets. */
#include <errno.h>

#include <rte_pause.h>

#include "datapath/base/race.h"
#include "datapath/table/flowtab.h"
#include "datapath/table/flowtab_layout.h"

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

/* The buckets of two keys, in order, so that two inserts never wait for each other; the same one may be there more than once. */
#define SET_LEN 4u

struct bucket_set {
	uint32_t bucket[SET_LEN];
};

static inline void set_order(struct bucket_set *set, unsigned int i, unsigned int j)
{
	uint32_t lo = RTE_MIN(set->bucket[i], set->bucket[j]);

	set->bucket[j] = RTE_MAX(set->bucket[i], set->bucket[j]);
	set->bucket[i] = lo;
}

static inline void set_sort(struct bucket_set *set)
{
	set_order(set, 0, 1);
	set_order(set, 2, 3);
	set_order(set, 0, 2);
	set_order(set, 1, 3);
	set_order(set, 1, 2);
}

static inline void set_lock(struct flowtab *t, const struct bucket_set *set)
{
	bucket_lock(&t->buckets[set->bucket[0]]);
	for (unsigned int i = 1; i < SET_LEN; i++)
		if (set->bucket[i] != set->bucket[i - 1])
			bucket_lock(&t->buckets[set->bucket[i]]);
}

static inline void set_unlock(struct flowtab *t, const struct bucket_set *set)
{
	for (unsigned int i = 1; i < SET_LEN; i++)
		if (set->bucket[i] != set->bucket[i - 1])
			bucket_unlock(&t->buckets[set->bucket[i - 1]]);
	bucket_unlock(&t->buckets[set->bucket[SET_LEN - 1]]);
}

/* Where a flow's key belongs, and the slot that was found for it. */
struct place {
	uint32_t flow, bucket1, bucket2;
	uint16_t tag;
	uint32_t bucket;
	int slot;
};

static inline void place_init(const struct flowtab *t, uint32_t flow, struct place *out)
{
	uint64_t hash = key_hash(t, flow_key(t, flow));
	uint16_t tag = flowtab_tag(hash);
	uint32_t bucket1 = flowtab_bucket1(t, hash);

	*out = (struct place){ .flow = flow,
		.bucket1 = bucket1,
		.bucket2 = flowtab_alt(t, bucket1, tag),
		.tag = tag,
		.slot = -1 };
	/* All that will be locked at once: else each lock waits for its own line. */
	__builtin_prefetch(&t->buckets[out->bucket1], 1);
	__builtin_prefetch(&t->buckets[out->bucket2], 1);
}

/* Slots of the bucket that the other key has been promised, as flowtab_match(). */
static uint32_t promised(const struct place *other, uint32_t bucket)
{
	return other != NULL && other->bucket == bucket ? 1u << (2 * other->slot) : 0;
}

static int bucket_free_slot(const struct flowtab *t, uint32_t bucket, uint32_t except)
{
	uint32_t m = flowtab_match(&t->buckets[bucket], 0) & ~except;

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
static int bucket_displace(struct flowtab *t, uint32_t from, uint32_t except)
{
	struct flowtab_bucket *b = &t->buckets[from];

	for (int slot = 0; slot < FLOWTAB_BUCKET_LEN; slot++) {
		uint16_t tag = atomic_load_explicit(&b->tag[slot], memory_order_relaxed);
		uint32_t to = flowtab_alt(t, from, tag);
		struct flowtab_bucket *alt = &t->buckets[to];
		int room;

		/* trylock: out of order; those that are locked already are no help */
		if ((except >> (2 * slot) & 1) != 0 || !bucket_trylock(alt))
			continue;
		room = bucket_free_slot(t, to, 0);
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

/* A slot for a key that is in neither of its buckets. */
static bool place_find_room(struct flowtab *t, struct place *p, const struct place *other)
{
	const uint32_t buckets[2] = { p->bucket1, p->bucket2 };

	for (int i = 0; i < 2 && p->slot < 0; i++) {
		p->bucket = buckets[i];
		p->slot = bucket_free_slot(t, p->bucket, promised(other, p->bucket));
	}
	for (int i = 1; i >= 0 && p->slot < 0; i--) {
		p->bucket = buckets[i];
		p->slot = bucket_displace(t, p->bucket, promised(other, p->bucket));
	}
	return p->slot >= 0;
}

/* Finds the key's slot: that of a dead connection's same key, which it takes over, or a free one. All its buckets are locked. 0,
 * -EEXIST (*out_taken: the flow), -ENOSPC. */
static int place_find(
	struct flowtab *t, struct place *p, const struct place *other, uint32_t *out_taken)
{
	const uint32_t buckets[2] = { p->bucket1, p->bucket2 };
	const void *key = flow_key(t, p->flow);

	for (int i = 0; i < 2; i++) {
		unsigned int slot;
		uint32_t old = bucket_find(t, buckets[i], p->tag, key, &slot);

		if (old == FLOW_NONE)
			continue;
		if (!is_dead(t, old)) {
			*out_taken = old;
			return -EEXIST;
		}
		p->bucket = buckets[i];
		p->slot = (int)slot;
		return 0;
	}
	return place_find_room(t, p, other) ? 0 : -ENOSPC;
}

static void place_put(struct flowtab *t, const struct place *p)
{
	bucket_put(&t->buckets[p->bucket], p->slot, p->tag, p->flow);
}

void flowtab_index_delete(struct flowtab *t, uint32_t flow)
{
	struct bucket_set set;
	struct place p;

	place_init(t, flow, &p);
	set = (struct bucket_set){ { p.bucket1, p.bucket1, p.bucket2, p.bucket2 } };
	set_order(&set, 1, 2);
	set_order(&set, 0, 3);
	set_lock(t, &set);
	for (uint32_t i = 0; i < SET_LEN; i += 3) {
		struct flowtab_bucket *bucket = &t->buckets[set.bucket[i]];

		for (uint32_t m = flowtab_match(bucket, p.tag); m != 0; m &= m - 1) {
			unsigned int slot = (unsigned int)__builtin_ctz(m) / 2;

			if (atomic_load_explicit(&bucket->flow[slot], memory_order_relaxed) == flow)
				atomic_store_explicit(&bucket->tag[slot], 0, memory_order_release);
		}
	}
	set_unlock(t, &set);
}

/* --- publication -------------------------------------------------------------------------------------------------- */

/* Slots for both keys; the reply's stays -1 of a packet to oneself, which has one key for both directions. */
static int places_find(
	struct flowtab *t, struct place *orig, struct place *reply, uint32_t *out_taken)
{
	int ret = place_find(t, orig, NULL, out_taken);
	uint32_t taken;

	if (ret < 0)
		return ret;
	if (key_eq(t, orig->flow, flow_key(t, reply->flow)))
		return 0;
	ret = place_find(t, reply, orig, &taken);
	return ret == -EEXIST ? -EADDRINUSE : ret;
}

int flowtab_publish(struct flowtab *t, uint32_t conn, uint32_t *out_taken)
{
	struct conn *c = &t->conns[conn];
	struct place orig, reply;
	struct bucket_set set;
	uint32_t taken;
	int ret;

	place_init(t, 2 * conn, &orig);
	place_init(t, 2 * conn + 1, &reply);
	set = (struct bucket_set){ { orig.bucket1, orig.bucket2, reply.bucket1, reply.bucket2 } };
	set_sort(&set);
	set_lock(t, &set);
	ret = places_find(t, &orig, &reply, out_taken != NULL ? out_taken : &taken);
	if (ret == 0) {
		atomic_fetch_add_explicit(&t->zone_n_conns[c->zone], 1, memory_order_relaxed);
		/* Before the keys: whoever finds one may unlink it. Who removes them meanwhile waits for the locks.
		 * release: the record before; pairs with the acquire in flowtab_unlink() and flowtab_sweep() */
		atomic_store_explicit(&c->is_linked, 1, memory_order_release);
		if (reply.slot >= 0)
			place_put(t, &reply);
		RACE_POINT(RACE_PUBLISH);
		place_put(t, &orig);
	}
	set_unlock(t, &set);
	return ret;
}
