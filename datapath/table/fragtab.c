/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/fragtab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_pause.h>
#include <rte_random.h>

#include "datapath/table/flowtab.h"

#define WAYS 16u
#define SPARE 2u	/* ways for one datagram: a full bucket is rare even in a full table */
#define SOURCES 1024u	/* counters */
#define INGRESSES 1024u /* … for ports, and as many for tunnels */
#define DATAGRAM_MAX UINT16_MAX
#define END_UNKNOWN UINT32_MAX

struct range {
	uint16_t off, len;
};

struct datagram {
	struct fragtab_key key;
	struct fragtab_first first;
	uint64_t deadline_ns;
	uint32_t end;	  /* of the last fragment, END_UNKNOWN until that came */
	uint32_t n_bytes; /* that came */
	uint16_t source, ingress;
	uint8_t n_ranges;
	uint8_t n_held;
	bool has_first;
	bool is_poisoned;
	struct range ranges[FRAGTAB_RANGES_MAX];
	struct rte_mbuf *held[FRAGTAB_HELD_MAX];
};

struct bucket {
	_Atomic uint32_t lock;
	uint16_t used; /* bit mask of ways */
	uint16_t tag[WAYS];
} __rte_cache_aligned;

/* What one source, or one port or tunnel, has in the table. Sources are spread over the counters by a secret hash. */
struct share {
	_Atomic uint32_t n_datagrams, n_held;
};

struct fragtab {
	uint64_t seed;
	uint32_t n_buckets;
	uint32_t n_datagrams_max, n_held_max;
	struct bucket *buckets;
	struct datagram *datagrams; /* WAYS a bucket */
	_Atomic uint32_t n_datagrams __rte_cache_aligned;
	_Atomic uint32_t n_held;
	struct share sources[SOURCES], ingresses[2 * INGRESSES];
};

static_assert(sizeof(struct fragtab_key) == 48, "no padding: keys are compared as bytes");
static_assert(sizeof(struct bucket) == RTE_CACHE_LINE_SIZE, "one cache line a bucket");

/* Secret seed, folded multiplications, as in flowtab.h. */
static uint64_t hash_words(uint64_t seed, const void *key, size_t size)
{
	uint64_t hash = seed;

	for (size_t i = 0; i < size; i += 4) {
		__uint128_t product;
		uint32_t word;

		memcpy(&word, (const uint8_t *)key + i, 4);
		product = (__uint128_t)(hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash = (uint64_t)product ^ (uint64_t)(product >> 64);
	}
	return hash;
}

static void bucket_lock(struct bucket *b)
{
	/* acquire: pairs with the release in bucket_unlock() */
	while (atomic_exchange_explicit(&b->lock, 1, memory_order_acquire) != 0)
		rte_pause();
}

static void bucket_unlock(struct bucket *b)
{
	atomic_store_explicit(&b->lock, 0, memory_order_release);
}

/* Takes one of what there are max of; false when none is left. */
static bool take(_Atomic uint32_t *count, uint32_t max)
{
	if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
		return true;
	atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
	return false;
}

static void give_back(_Atomic uint32_t *count, uint32_t n)
{
	atomic_fetch_sub_explicit(count, n, memory_order_relaxed);
}

static bool take_room(_Atomic uint32_t *all, uint32_t all_max, _Atomic uint32_t *of_source,
	_Atomic uint32_t *of_ingress)
{
	uint32_t n_all = atomic_load_explicit(all, memory_order_relaxed);
	uint32_t n_free = all_max - RTE_MIN(n_all, all_max);

	if (!take(of_ingress, n_free / FRAGTAB_FREE_SHARE))
		return false;
	if (!take(of_source, all_max / FRAGTAB_SOURCE_SHARE))
		goto err_ingress;
	if (take(all, all_max))
		return true;
	give_back(of_source, 1);
err_ingress:
	give_back(of_ingress, 1);
	return false;
}

struct fragtab *fragtab_create(uint32_t n_datagrams)
{
	struct fragtab *t;

	if (n_datagrams < WAYS || !rte_is_power_of_2(n_datagrams))
		return NULL;
	t = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*t));
	if (t == NULL)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->seed = rte_rand();
	t->n_buckets = SPARE * n_datagrams / WAYS;
	t->n_datagrams_max = n_datagrams;
	t->n_held_max = n_datagrams / 2;
	t->buckets = aligned_alloc(RTE_CACHE_LINE_SIZE, t->n_buckets * sizeof(*t->buckets));
	t->datagrams = calloc(SPARE * (size_t)n_datagrams, sizeof(*t->datagrams));
	if (t->buckets == NULL || t->datagrams == NULL) {
		free(t->buckets);
		free(t->datagrams);
		free(t);
		return NULL;
	}
	memset(t->buckets, 0, t->n_buckets * sizeof(*t->buckets));
	return t;
}

void fragtab_destroy(struct fragtab *t)
{
	struct rte_mbuf *held[FRAGTAB_HELD_MAX];
	uint32_t n;

	if (t == NULL)
		return;
	while ((n = fragtab_expire(t, UINT64_MAX, held, FRAGTAB_HELD_MAX)) > 0)
		rte_pktmbuf_free_bulk(held, n);
	free(t->buckets);
	free(t->datagrams);
	free(t);
}

/* Hands the held fragments out. Bucket locked. */
static uint32_t release_held(struct fragtab *t, struct datagram *d, struct rte_mbuf **out)
{
	uint32_t n = d->n_held;

	if (n == 0)
		return 0;
	memcpy(out, d->held, n * sizeof(*out));
	d->n_held = 0;
	give_back(&t->n_held, n);
	give_back(&t->sources[d->source].n_held, n);
	give_back(&t->ingresses[d->ingress].n_held, n);
	return n;
}

static struct datagram *find(
	struct fragtab *t, struct bucket *b, uint16_t tag, const struct fragtab_key *key)
{
	struct datagram *ways = &t->datagrams[(size_t)(b - t->buckets) * WAYS];

	for (uint32_t used = b->used; used != 0; used &= used - 1) {
		unsigned int way = (unsigned int)__builtin_ctz(used);

		if (b->tag[way] == tag && memcmp(&ways[way].key, key, sizeof(*key)) == 0)
			return &ways[way];
	}
	return NULL;
}

/* A pod's source is not checked yet: another's address must not count against that one. */
static uint16_t source_of(const struct fragtab *t, const struct fragtab_key *key)
{
	const struct fragtab_key source = { .src = key->src, .zone = key->zone, .in = key->in };

	return (uint16_t)(hash_words(t->seed, &source, sizeof(source)) % SOURCES);
}

static uint16_t ingress_of(const struct fragtab_key *key)
{
	return (uint16_t)(key->in % INGRESSES + ((key->in & FLOW_IN_TUNNEL) != 0 ? INGRESSES : 0));
}

/* A new datagram, or NULL: the bucket, the table or its source's or ingress's part is full. */
static struct datagram *add(struct fragtab *t, struct bucket *b, uint16_t tag,
	const struct fragtab_key *key, uint64_t now_ns)
{
	struct datagram *ways = &t->datagrams[(size_t)(b - t->buckets) * WAYS];
	uint16_t source = source_of(t, key), ingress = ingress_of(key);
	unsigned int way;

	if (b->used == UINT16_MAX ||
		!take_room(&t->n_datagrams, t->n_datagrams_max, &t->sources[source].n_datagrams,
			&t->ingresses[ingress].n_datagrams))
		return NULL;
	way = (unsigned int)__builtin_ctz(~(uint32_t)b->used);
	b->used = (uint16_t)(b->used | 1u << way);
	b->tag[way] = tag;
	ways[way].key = *key;
	ways[way].deadline_ns = now_ns + FRAGTAB_TIMEOUT_NS;
	ways[way].end = END_UNKNOWN;
	ways[way].n_bytes = 0;
	ways[way].source = source;
	ways[way].ingress = ingress;
	ways[way].n_ranges = 0;
	ways[way].n_held = 0;
	ways[way].has_first = false;
	ways[way].is_poisoned = false;
	return &ways[way];
}

/* Holds nothing any more. */
static void del(struct fragtab *t, struct bucket *b, struct datagram *d)
{
	size_t way = (size_t)(d - t->datagrams) % WAYS;

	b->used = (uint16_t)(b->used & ~(1u << way));
	give_back(&t->n_datagrams, 1);
	give_back(&t->sources[d->source].n_datagrams, 1);
	give_back(&t->ingresses[d->ingress].n_datagrams, 1);
}

enum fit { FIT_NEW, FIT_DUPLICATE, FIT_BAD };

/* Whether the range agrees with all that came before it. */
static enum fit fit_of(const struct datagram *d, const struct fragtab_range *r)
{
	uint32_t end = (uint32_t)r->off + r->len;
	bool ends_datagram = d->end == end;

	if (d->is_poisoned || r->len == 0 || r->off % 8 != 0 || (!r->is_last && r->len % 8 != 0) ||
		end > DATAGRAM_MAX)
		return FIT_BAD;
	for (unsigned int i = 0; i < d->n_ranges; i++) {
		const struct range *known = &d->ranges[i];
		uint32_t known_end = (uint32_t)known->off + known->len;

		if (known->off == r->off && known->len == r->len && ends_datagram == r->is_last)
			return FIT_DUPLICATE;
		if (r->off < known_end && known->off < end)
			return FIT_BAD;
		if (r->is_last && known_end > end)
			return FIT_BAD;
	}
	if (d->end != END_UNKNOWN && (r->is_last || end >= d->end))
		return FIT_BAD;
	return d->n_ranges == FRAGTAB_RANGES_MAX ? FIT_BAD : FIT_NEW;
}

static bool hold(struct fragtab *t, struct datagram *d, struct rte_mbuf *m)
{
	if (d->n_held == FRAGTAB_HELD_MAX ||
		!take_room(&t->n_held, t->n_held_max, &t->sources[d->source].n_held,
			&t->ingresses[d->ingress].n_held))
		return false;
	d->held[d->n_held++] = m;
	return true;
}

static void record(struct datagram *d, const struct fragtab_range *r)
{
	d->ranges[d->n_ranges++] = (struct range){ r->off, r->len };
	d->n_bytes += r->len;
	if (r->is_last)
		d->end = (uint32_t)r->off + r->len;
}

/* Bucket locked. */
static enum fragtab_verdict enter(struct fragtab *t, struct datagram *d,
	const struct fragtab_range *range, const struct fragtab_first *first, struct rte_mbuf *m,
	struct fragtab_out *out)
{
	switch (fit_of(d, range)) {
	case FIT_DUPLICATE:
		return FRAGTAB_DUPLICATE;
	case FIT_BAD:
		d->is_poisoned = true;
		out->n_held = release_held(t, d, out->held);
		return FRAGTAB_OVERLAP;
	case FIT_NEW:
		break;
	}
	if (range->off == 0) {
		d->first = *first;
		d->has_first = true;
		out->n_held = release_held(t, d, out->held);
	} else if (!d->has_first && !hold(t, d, m)) {
		return FRAGTAB_FULL;
	}
	record(d, range);
	if (!d->has_first)
		return FRAGTAB_HELD;
	out->first = d->first;
	return range->off == 0 ? FRAGTAB_FIRST : FRAGTAB_PORTS;
}

enum fragtab_verdict fragtab_enter(struct fragtab *t, const struct fragtab_key *key,
	const struct fragtab_range *range, const struct fragtab_first *first, struct rte_mbuf *m,
	uint64_t now_ns, struct fragtab_out *out)
{
	uint64_t hash = hash_words(t->seed, key, sizeof(*key));
	struct bucket *b = &t->buckets[hash % t->n_buckets];
	uint16_t tag = (uint16_t)(hash >> 48);
	enum fragtab_verdict verdict = FRAGTAB_FULL;
	struct datagram *d;

	out->n_held = 0;
	bucket_lock(b);
	d = find(t, b, tag, key);
	if (d == NULL)
		d = add(t, b, tag, key, now_ns);
	if (d != NULL) {
		verdict = enter(t, d, range, first, m, out);
		/* New and without room to hold its fragment, or complete, as nothing overlaps. */
		if (!d->is_poisoned && (d->n_ranges == 0 || d->n_bytes == d->end))
			del(t, b, d);
	}
	bucket_unlock(b);
	return verdict;
}

uint32_t fragtab_expire(struct fragtab *t, uint64_t now_ns, struct rte_mbuf **out, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_buckets; i++) {
		struct bucket *b = &t->buckets[i];

		bucket_lock(b);
		for (uint32_t used = b->used; used != 0; used &= used - 1) {
			struct datagram *d =
				&t->datagrams[i * WAYS + (uint32_t)__builtin_ctz(used)];

			if (now_ns < d->deadline_ns || d->n_held > max - n)
				continue;
			n += release_held(t, d, out + n);
			del(t, b, d);
		}
		bucket_unlock(b);
	}
	return n;
}

struct fragtab_usage fragtab_usage(const struct fragtab *t)
{
	return (struct fragtab_usage){
		.n_datagrams = atomic_load_explicit(&t->n_datagrams, memory_order_relaxed),
		.n_datagrams_max = t->n_datagrams_max,
		.n_held = atomic_load_explicit(&t->n_held, memory_order_relaxed),
		.n_held_max = t->n_held_max,
	};
}
