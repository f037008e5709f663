/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/lpm.h"
#include "datapath/table/lpm_mem.h"

#define N_ZONES 65536
#define POLL_SLOTS_MAX 4096
#define UPDATE_SLOTS_MAX 4
/* Objects that one update may take: the route, and both "none" of a new zone. */
#define SLOTS_PER_UPDATE 3
/* The object of zones without routes. */
#define IDX_NO_ZONE 0

enum family { FAMILY_V4, FAMILY_V6, FAMILY_N };

/* Immutable while published but for n_routes, which only the control thread looks at. */
struct zone {
	struct lpm *lpm[FAMILY_N];
	uint32_t none_idx[FAMILY_N];
	uint16_t id;
	size_t n_routes;
};

struct route *route_base;

static _Atomic(struct zone *) zones[N_ZONES];
static struct lpm_arena *arena;
static struct vmem slot_vmem;
static struct grace_queue slot_grace;
static uint32_t slot_max, slot_bump, slot_free_head,
	n_slots_free; /* free objects are chained by tunnel_idx */
static uint32_t n_zones;
static size_t n_routes[FAMILY_N];

static enum family family_of(const struct ip_addr *a)
{
	return ip_is_v4(a) ? FAMILY_V4 : FAMILY_V6;
}

static struct zone *zone_get(uint16_t id)
{
	return rcu_deref(zones[id]);
}

static void slots_recycle(unsigned int max)
{
	uint32_t idx;

	while (max-- > 0 && grace_pop(&slot_grace, &idx)) {
		route_base[idx].tunnel_idx = slot_free_head;
		slot_free_head = idx;
		n_slots_free++;
	}
}

/* An object with a fresh generation, or ROUTE_IDX_NONE. */
static uint32_t slot_alloc(const struct route_config *cfg)
{
	struct route *r;
	uint32_t idx;

	if (slot_free_head != 0) {
		idx = slot_free_head;
		slot_free_head = route_base[idx].tunnel_idx;
		n_slots_free--;
	} else {
		if (slot_bump == slot_max ||
			vmem_grow(&slot_vmem, ((size_t)slot_bump + 1) * sizeof(struct route)) != 0)
			return ROUTE_IDX_NONE;
		idx = slot_bump++;
	}
	r = &route_base[idx];
	r->kind = cfg->kind;
	r->origin = cfg->origin;
	r->port_id = cfg->port_id;
	r->tunnel_idx = cfg->tunnel_idx;
	r->mtu = cfg->mtu;
	r->zone = cfg->zone;
	r->via = cfg->via;
	r->prefix = cfg->prefix;
	gen_touch(&r->gen);
	return idx;
}

/* Never published: free at once. */
static void slot_free(uint32_t idx)
{
	route_base[idx].tunnel_idx = slot_free_head;
	slot_free_head = idx;
	n_slots_free++;
}

/* Unreachable from now on: changed for whoever depends on it, free after a grace period. */
static void slot_retire(uint32_t idx)
{
	gen_touch(&route_base[idx].gen);
	grace_push(&slot_grace, idx);
}

static void zone_free(void *arg)
{
	struct zone *z = arg;

	for (int f = 0; f < FAMILY_N; f++)
		lpm_destroy(z->lpm[f]);
	free(z);
}

/* Not yet published. NULL when memory is short. */
static struct zone *zone_create(uint16_t id)
{
	struct route_config none = { .kind = ROUTE_NONE, .zone = id };
	struct zone *z = calloc(1, sizeof(*z));

	if (z == NULL)
		return NULL;
	z->id = id;
	for (int f = 0; f < FAMILY_N; f++) {
		none.prefix.addr = f == FAMILY_V4 ? ip_from_v4(0)
						  : (struct ip_addr){ .q = { 0, 0 } };
		z->none_idx[f] = slot_alloc(&none);
		z->lpm[f] = lpm_create(arena, f == FAMILY_V6);
	}
	if (z->lpm[FAMILY_V4] != NULL && z->lpm[FAMILY_V6] != NULL &&
		z->none_idx[FAMILY_V4] != ROUTE_IDX_NONE &&
		z->none_idx[FAMILY_V6] != ROUTE_IDX_NONE)
		return z;
	for (int f = 0; f < FAMILY_N; f++)
		if (z->none_idx[f] != ROUTE_IDX_NONE)
			slot_free(z->none_idx[f]);
	zone_free(z);
	return NULL;
}

static void zone_publish(struct zone *z)
{
	rcu_assign(zones[z->id], z);
	gen_touch(&route_base[IDX_NO_ZONE].gen);
	n_zones++;
}

static void zone_drop(struct zone *z)
{
	rcu_assign(zones[z->id], NULL);
	for (int f = 0; f < FAMILY_N; f++)
		slot_retire(z->none_idx[f]);
	n_zones--;
	rcu_defer(zone_free, z);
}

int route_init(uint32_t max_routes, size_t lpm_max_bytes)
{
	struct route_config none = { .kind = ROUTE_NONE };

	slot_max = max_routes == 0 ? ROUTE_MAX_DEFAULT : max_routes;
	if (slot_max < SLOTS_PER_UPDATE + 1 || slot_max == UINT32_MAX)
		return -EINVAL;
	arena = lpm_arena_create(lpm_max_bytes == 0 ? ROUTE_LPM_BYTES_DEFAULT : lpm_max_bytes);
	if (arena == NULL)
		return -ENOMEM;
	if (vmem_init(&slot_vmem, (size_t)slot_max * sizeof(struct route)) != 0)
		goto err_arena;
	route_base = (struct route *)slot_vmem.base;
	grace_init(&slot_grace);
	slot_bump = IDX_NO_ZONE;
	slot_free_head = n_slots_free = 0;
	if (slot_alloc(&none) != IDX_NO_ZONE)
		goto err_vmem;
	return 0;
err_vmem:
	vmem_fini(&slot_vmem);
	route_base = NULL;
err_arena:
	lpm_arena_destroy(arena);
	arena = NULL;
	return -ENOMEM;
}

void route_fini(void)
{
	if (arena == NULL)
		return;
	rcu_synchronize(); /* dropped zones still refer to the arena */
	for (unsigned int i = 0; i < N_ZONES; i++) {
		struct zone *z = zone_get((uint16_t)i);

		if (z == NULL)
			continue;
		atomic_store_explicit(&zones[i], NULL, memory_order_relaxed);
		zone_free(z);
	}
	grace_fini(&slot_grace);
	vmem_fini(&slot_vmem);
	route_base = NULL;
	lpm_arena_destroy(arena);
	arena = NULL;
	n_zones = 0;
	memset(n_routes, 0, sizeof(n_routes));
}

/* The prefix is checked by the trie. */
static bool config_is_valid(const struct route_config *cfg)
{
	if (cfg->kind <= ROUTE_NONE || cfg->kind >= ROUTE_KIND_N || cfg->origin >= ROUTE_ORIGIN_N)
		return false;
	return cfg->kind != ROUTE_VIA || !ip_is_zero(&cfg->via);
}

bool route_matches(const struct route *r, const struct route_config *cfg)
{
	return r->kind == cfg->kind && r->origin == cfg->origin && r->port_id == cfg->port_id &&
		r->tunnel_idx == cfg->tunnel_idx && r->mtu == cfg->mtu && r->zone == cfg->zone &&
		ip_eq(&r->via, &cfg->via) && ip_eq(&r->prefix.addr, &cfg->prefix.addr) &&
		r->prefix.len == cfg->prefix.len;
}

/* Room for what this update retires: one route, or with its zone three objects. */
static int update_begin(void)
{
	slots_recycle(UPDATE_SLOTS_MAX);
	return grace_reserve(&slot_grace, SLOTS_PER_UPDATE);
}

static int add(struct zone *z, const struct route_config *cfg, uint32_t *out_idx)
{
	enum family f = family_of(&cfg->prefix.addr);
	bool is_new_zone = z == NULL;
	uint32_t covering, idx;
	int rc = -ENOMEM;

	if (is_new_zone)
		z = zone_create(cfg->zone);
	if (z == NULL)
		return -ENOMEM;
	covering = lpm_covering(z->lpm[f], &cfg->prefix);
	if (covering == LPM_NONE)
		covering = z->none_idx[f];
	idx = slot_alloc(cfg);
	if (idx == ROUTE_IDX_NONE)
		goto err_zone;
	rc = lpm_add(z->lpm[f], &cfg->prefix, idx);
	if (rc != 0)
		goto err_slot;
	/* the trie first: a flow judged between the two has the old epoch and sees the touch */
	gen_touch(&route_base[covering].gen);
	if (is_new_zone)
		zone_publish(z);
	z->n_routes++;
	n_routes[f]++;
	if (out_idx != NULL)
		*out_idx = idx;
	return 0;
err_slot:
	slot_free(idx);
err_zone:
	if (is_new_zone) {
		for (int i = 0; i < FAMILY_N; i++)
			slot_free(z->none_idx[i]);
		zone_free(z);
	}
	grace_close(&slot_grace); /* a retry may find what waits */
	return rc;
}

int route_add(const struct route_config *cfg, uint32_t *out_idx)
{
	struct zone *z = zone_get(cfg->zone);

	if (!config_is_valid(cfg))
		return -EINVAL;
	if (update_begin() != 0)
		return -ENOMEM;
	if (z != NULL) {
		uint32_t idx = lpm_find(z->lpm[family_of(&cfg->prefix.addr)], &cfg->prefix);

		if (idx != LPM_NONE) {
			if (out_idx != NULL)
				*out_idx = idx;
			return -EEXIST;
		}
	}
	return add(z, cfg, out_idx);
}

int route_replace(const struct route_config *cfg, uint32_t *out_idx)
{
	struct zone *z = zone_get(cfg->zone);
	struct lpm *lpm;
	uint32_t old, idx;
	int rc;

	if (!config_is_valid(cfg))
		return -EINVAL;
	if (update_begin() != 0)
		return -ENOMEM;
	lpm = z == NULL ? NULL : z->lpm[family_of(&cfg->prefix.addr)];
	old = lpm == NULL ? LPM_NONE : lpm_find(lpm, &cfg->prefix);
	if (old == LPM_NONE)
		return add(z, cfg, out_idx);
	if (route_matches(&route_base[old], cfg)) {
		idx = old;
	} else {
		idx = slot_alloc(cfg);
		if (idx == ROUTE_IDX_NONE) {
			grace_close(&slot_grace);
			return -ENOMEM;
		}
		rc = lpm_replace(lpm, &cfg->prefix, idx, NULL);
		if (rc != 0) {
			slot_free(idx);
			return rc;
		}
		slot_retire(old);
	}
	if (out_idx != NULL)
		*out_idx = idx;
	return 0;
}

int route_del(uint16_t zone, const struct ip_prefix *prefix)
{
	struct zone *z = zone_get(zone);
	enum family f = family_of(&prefix->addr);
	uint32_t idx;
	int rc;

	if (z == NULL)
		return -ENOENT;
	if (update_begin() != 0)
		return -ENOMEM;
	rc = lpm_del(z->lpm[f], prefix, &idx);
	if (rc != 0)
		return rc;
	slot_retire(idx);
	n_routes[f]--;
	if (--z->n_routes == 0)
		zone_drop(z);
	return 0;
}

int route_reserve(uint32_t n)
{
	uint64_t slots = (uint64_t)n * SLOTS_PER_UPDATE;
	uint64_t end = slot_bump + (slots > n_slots_free ? slots - n_slots_free : 0);
	int rc;

	if (end > slot_max)
		return -ENOMEM;
	rc = vmem_grow(&slot_vmem, end * sizeof(struct route));
	if (rc == 0)
		rc = grace_reserve(&slot_grace, slots);
	return rc == 0 ? lpm_arena_reserve(arena, n) : rc;
}

uint32_t route_find(uint16_t zone, const struct ip_prefix *prefix)
{
	struct zone *z = zone_get(zone);

	static_assert(LPM_NONE == ROUTE_IDX_NONE, "one word for nothing");
	return z == NULL ? ROUTE_IDX_NONE : lpm_find(z->lpm[family_of(&prefix->addr)], prefix);
}

uint32_t route_lookup(uint16_t zone, const struct ip_addr *addr)
{
	const struct zone *z = zone_get(zone);
	enum family f = family_of(addr);
	uint32_t idx;

	if (z == NULL)
		return IDX_NO_ZONE;
	idx = f == FAMILY_V4 ? lpm_lookup4(z->lpm[f], ip_v4(addr)) : lpm_lookup6(z->lpm[f], addr);
	return idx == LPM_NONE ? z->none_idx[f] : idx;
}

void route_lookup_bulk(
	uint16_t zone, const struct ip_addr *const *addrs, unsigned int n, uint32_t *out_idxs)
{
	const struct zone *z = zone_get(zone);
	rte_be32_t v4[LPM_BULK_MAX];
	enum family f;

	if (n == 0)
		return;
	f = family_of(addrs[0]);
	if (z == NULL) {
		for (unsigned int i = 0; i < n; i++)
			out_idxs[i] = IDX_NO_ZONE;
		return;
	}
	if (f == FAMILY_V4) {
		for (unsigned int i = 0; i < n; i++)
			v4[i] = ip_v4(addrs[i]);
		lpm_lookup4_bulk(z->lpm[f], v4, n, out_idxs);
	} else {
		lpm_lookup6_bulk(z->lpm[f], addrs, n, out_idxs);
	}
	for (unsigned int i = 0; i < n; i++)
		if (out_idxs[i] == LPM_NONE)
			out_idxs[i] = z->none_idx[f];
}

/* Next route of this zone after the cursor. */
static uint32_t next_in_zone(const struct zone *z, struct route_cursor *c)
{
	enum family f = c->is_started ? family_of(&c->prefix.addr) : FAMILY_V4;
	const struct ip_prefix *after = c->is_started ? &c->prefix : NULL;
	uint32_t idx;

	for (; f < FAMILY_N; f++, after = NULL) {
		if (lpm_next(z->lpm[f], after, &c->prefix, &idx)) {
			c->is_started = true;
			return idx;
		}
	}
	return ROUTE_IDX_NONE;
}

uint32_t route_next(struct route_cursor *c)
{
	for (;;) {
		const struct zone *z = zone_get(c->zone);
		uint32_t idx = z == NULL ? ROUTE_IDX_NONE : next_in_zone(z, c);

		if (idx != ROUTE_IDX_NONE || c->is_one_zone || c->zone == N_ZONES - 1)
			return idx;
		c->zone++;
		c->is_started = false;
	}
}

void route_poll(void)
{
	grace_close(&slot_grace);
	slots_recycle(POLL_SLOTS_MAX);
	lpm_arena_poll(arena);
}

void route_get_stats(struct route_stats *out)
{
	struct lpm_arena_stats lpm;

	lpm_arena_get_stats(arena, &lpm);
	*out = (struct route_stats){
		.n_v4 = (uint32_t)n_routes[FAMILY_V4],
		.n_v6 = (uint32_t)n_routes[FAMILY_V6],
		.n_zones = n_zones,
		.n_pending = (uint32_t)slot_grace.n_waiting,
		.max_routes = slot_max,
		.object_bytes = slot_vmem.mapped_bytes,
		.lpm_bytes = lpm.mapped_bytes,
		.lpm_used_bytes = lpm.used_bytes,
		.lpm_max_bytes = lpm.max_bytes,
	};
}

size_t route_count(uint16_t zone)
{
	const struct zone *z = zone_get(zone);

	return z == NULL ? 0 : z->n_routes;
}
