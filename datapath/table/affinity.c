/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/affinity.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <rte_common.h>
#include <rte_pause.h>

#include "datapath/base/hash.h"
#include "datapath/base/slots.h"

/* The first line answers which way, the second whether it is really that client. */
struct affinity_set {
	_Atomic uint32_t sequence; /* odd: being written */
	_Atomic uint32_t service_serial[AFFINITY_WAYS];
	_Atomic uint32_t backend[AFFINITY_WAYS];
	_Atomic uint32_t last_s[AFFINITY_WAYS];
	_Atomic uint16_t backend_serial[AFFINITY_WAYS];
	_Atomic uint64_t addr[AFFINITY_WAYS][2] __rte_aligned(64);
};
static_assert(sizeof(struct affinity_set) == 128, "two lines a set");

static struct affinity_set *sets;
static uint32_t n_sets;
static uint64_t seed;
static _Atomic uint64_t n_added, n_evicted;

#define get(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define put(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

int affinity_table_init(uint32_t n_entries)
{
	void *mem;

	n_sets = n_entries / AFFINITY_WAYS;
	put(n_added, 0);
	put(n_evicted, 0);
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -ENOMEM;
	mem = mmap(NULL, n_sets * sizeof(*sets), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;
	sets = mem;
	return 0;
}

void affinity_table_fini(void)
{
	if (sets != NULL)
		munmap(sets, n_sets * sizeof(*sets));
	sets = NULL;
}

static struct affinity_set *set_of(const struct affinity_client *client)
{
	return &sets[hash_scale(
		hash_word(hash_addr(seed, client->addr), client->service_serial), n_sets)];
}

/* The client's way, or AFFINITY_WAYS. */
static unsigned int way_of(struct affinity_set *set, const struct affinity_client *client)
{
	for (unsigned int i = 0; i < AFFINITY_WAYS; i++)
		if (get(set->service_serial[i]) == client->service_serial &&
			get(set->addr[i][0]) == client->addr->q[0] &&
			get(set->addr[i][1]) == client->addr->q[1])
			return i;
	return AFFINITY_WAYS;
}

/* Workers read the clock once a batch: another one's "now" may be a little later. */
static uint32_t age_s(struct affinity_set *set, unsigned int way, uint32_t now_s)
{
	int32_t age = (int32_t)(now_s - get(set->last_s[way]));

	return age > 0 ? (uint32_t)age : 0;
}

static struct affinity_binding binding_at(
	struct affinity_set *set, unsigned int way, const struct affinity_client *client)
{
	if (way == AFFINITY_WAYS || age_s(set, way, client->now_s) > client->timeout_s)
		return (struct affinity_binding){ .backend = SLOT_NONE };
	return (struct affinity_binding){
		.backend = get(set->backend[way]),
		.backend_serial = get(set->backend_serial[way]),
		.last_s = get(set->last_s[way]),
	};
}

struct affinity_binding affinity_find(const struct affinity_client *client)
{
	struct affinity_set *set = set_of(client);
	struct affinity_binding found;
	uint32_t before;

	for (;;) {
		/* acquire: pairs with the release in set_unlock() */
		before = atomic_load_explicit(&set->sequence, memory_order_acquire);
		found = binding_at(set, way_of(set, client), client);
		/* acquire: the loads above before the next; pairs with the release in set_lock() */
		atomic_thread_fence(memory_order_acquire);
		if ((before & 1) == 0 && get(set->sequence) == before)
			return found;
		rte_pause();
	}
}

static void set_lock(struct affinity_set *set)
{
	uint32_t even = get(set->sequence) & ~1u;

	/* acquire: pairs with the release in set_unlock() */
	while (!atomic_compare_exchange_weak_explicit(
		&set->sequence, &even, even + 1, memory_order_acquire, memory_order_relaxed)) {
		even &= ~1u;
		rte_pause();
	}
	/* release: odd before what is written; pairs with the fence in affinity_find() */
	atomic_thread_fence(memory_order_release);
}

static void set_unlock(struct affinity_set *set)
{
	/* release: pairs with the acquire in affinity_find() and set_lock() */
	atomic_store_explicit(&set->sequence, get(set->sequence) + 1, memory_order_release);
}

/* An unused way, else the one that was not used for longest. */
static unsigned int way_for_new(struct affinity_set *set, uint32_t now_s)
{
	unsigned int oldest = 0;

	for (unsigned int i = 0; i < AFFINITY_WAYS; i++) {
		if (get(set->service_serial[i]) == 0)
			return i;
		if (age_s(set, i, now_s) > age_s(set, oldest, now_s))
			oldest = i;
	}
	return oldest;
}

static void way_take(
	struct affinity_set *set, unsigned int way, const struct affinity_client *client)
{
	if (get(set->service_serial[way]) != 0)
		atomic_fetch_add_explicit(&n_evicted, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&n_added, 1, memory_order_relaxed);
	put(set->service_serial[way], client->service_serial);
	put(set->addr[way][0], client->addr->q[0]);
	put(set->addr[way][1], client->addr->q[1]);
}

struct affinity_binding affinity_bind(const struct affinity_client *client,
	const struct affinity_binding *seen, uint32_t backend, uint16_t backend_serial)
{
	struct affinity_set *set = set_of(client);
	struct affinity_binding bound;
	unsigned int way;

	set_lock(set);
	way = way_of(set, client);
	bound = binding_at(set, way, client);
	if (bound.backend == SLOT_NONE ||
		(bound.backend == seen->backend && bound.backend_serial == seen->backend_serial)) {
		bound.backend = backend;
		bound.backend_serial = backend_serial;
		if (way == AFFINITY_WAYS) {
			way = way_for_new(set, client->now_s);
			way_take(set, way, client);
		}
		put(set->backend[way], backend);
		put(set->backend_serial[way], backend_serial);
	}
	bound.last_s = client->now_s;
	put(set->last_s[way], client->now_s);
	set_unlock(set);
	return bound;
}

struct affinity_stats affinity_get_stats(void)
{
	return (struct affinity_stats){ .n_added = get(n_added), .n_evicted = get(n_evicted) };
}
