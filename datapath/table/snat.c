/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/snat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bsd/string.h>

#include "datapath/table/chainmap.h"
#include "datapath/table/classifier.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/ours.h"

#define ZONES 65536u

struct slots snat_pool_slots, snat_pair_slots;
static struct chainmap by_internal, by_external;
static _Atomic uint32_t *lists; /* by zone: index + 1 */
static struct snat_range node_range = { .port_lo = SNAT_PORT_LO, .port_hi = SNAT_PORT_HI };

int snat_table_init(void)
{
	uint32_t node;

	if (slots_init(&snat_pool_slots, sizeof(struct snat_pool), SNAT_POOL_MAX) < 0 ||
		slots_init(&snat_pair_slots, sizeof(struct snat_pair), SNAT_PAIR_MAX) < 0 ||
		chainmap_init(&by_internal, &snat_pair_slots,
			offsetof(struct snat_pair, internal_link),
			offsetof(struct snat_pair, internal), sizeof(struct snat_key)) < 0 ||
		chainmap_init(&by_external, &snat_pair_slots,
			offsetof(struct snat_pair, external_link),
			offsetof(struct snat_pair, external), sizeof(struct snat_key)) < 0)
		goto err;
	lists = mmap(NULL, ZONES * sizeof(*lists), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (lists == MAP_FAILED) {
		lists = NULL;
		goto err;
	}
	node = slots_alloc(&snat_pool_slots);
	rcu_assign(snat_pool_at(node)->range, &node_range);
	strlcpy(snat_pool_at(node)->name, "node", SNAT_POOL_NAME_LEN);
	return 0;

err:
	snat_table_fini();
	return -ENOMEM;
}

void snat_table_fini(void)
{
	for (uint32_t i = snat_pool_next(0); i != SNAT_POOL_NONE; i = snat_pool_next(i + 1))
		if (i != SNAT_POOL_NODE)
			free(snat_pool_at(i)->range);
	if (lists != NULL)
		munmap((void *)lists, ZONES * sizeof(*lists));
	lists = NULL;
	chainmap_fini(&by_internal);
	chainmap_fini(&by_external);
	slots_fini(&snat_pool_slots);
	slots_fini(&snat_pair_slots);
}

uint32_t snat_pool_by_name(const char *name)
{
	for (uint32_t i = snat_pool_next(0); i != SNAT_POOL_NONE; i = snat_pool_next(i + 1))
		if (strcmp(snat_pool_at(i)->name, name) == 0)
			return i;
	return SNAT_POOL_NONE;
}

uint32_t snat_pool_next(uint32_t idx)
{
	return slots_next(&snat_pool_slots, idx);
}

/* -EINVAL, -ENOMEM. */
static int range_create(const struct ip_addr *addrs, unsigned int n, uint16_t port_lo,
	uint16_t port_hi, struct snat_range **out)
{
	struct snat_range *range;

	if (n == 0 || n > SNAT_POOL_ADDRS_MAX || port_lo == 0 || port_lo > port_hi)
		return -EINVAL;
	range = calloc(1, sizeof(*range));
	if (range == NULL)
		return -ENOMEM;
	range->port_lo = port_lo;
	range->port_hi = port_hi;
	for (unsigned int i = 0; i < n; i++) {
		if (ip_is_v4(&addrs[i]))
			range->v4[range->n_v4++] = addrs[i];
		else
			range->v6[range->n_v6++] = addrs[i];
	}
	*out = range;
	return 0;
}

static void range_disown(const struct snat_range *range)
{
	for (unsigned int i = 0; i < range->n_v4; i++)
		ours_del(OURS_POOL, OURS_ZONE_POOLS, &range->v4[i]);
	for (unsigned int i = 0; i < range->n_v6; i++)
		ours_del(OURS_POOL, OURS_ZONE_POOLS, &range->v6[i]);
}

/* 0 or -ENOSPC, nothing changed. */
static int addrs_own(const struct ip_addr *addrs, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (ours_add(OURS_POOL, OURS_ZONE_POOLS, &addrs[i]) == 0)
			continue;
		while (i-- > 0)
			ours_del(OURS_POOL, OURS_ZONE_POOLS, &addrs[i]);
		return -ENOSPC;
	}
	return 0;
}

int snat_pool_add(const char *name, const struct ip_addr *addrs, unsigned int n, uint16_t port_lo,
	uint16_t port_hi, uint32_t *out_idx)
{
	struct snat_range *range;
	uint32_t idx;
	int rc;

	if (snat_pool_by_name(name) != SNAT_POOL_NONE)
		return -EEXIST;
	rc = range_create(addrs, n, port_lo, port_hi, &range);
	if (rc < 0)
		return rc;
	idx = slots_alloc(&snat_pool_slots);
	if (idx == SLOT_NONE) {
		free(range);
		return -ENOSPC;
	}
	if (addrs_own(addrs, n) < 0) {
		slots_free(&snat_pool_slots, idx);
		free(range);
		return -ENOSPC;
	}
	rcu_assign(snat_pool_at(idx)->range, range);
	strlcpy(snat_pool_at(idx)->name, name, SNAT_POOL_NAME_LEN);
	*out_idx = idx;
	return 0;
}

int snat_pool_set(uint32_t idx, const struct ip_addr *addrs, unsigned int n, uint16_t port_lo,
	uint16_t port_hi)
{
	struct snat_pool *pool = snat_pool_at(idx);
	struct snat_range *range, *old = pool->range;
	int rc;

	if (idx == SNAT_POOL_NODE)
		return -EBUSY;
	rc = range_create(addrs, n, port_lo, port_hi, &range);
	if (rc < 0)
		return rc;
	if (addrs_own(addrs, n) < 0) {
		free(range);
		return -ENOSPC;
	}
	rcu_assign(pool->range, range);
	range_disown(old);
	rcu_defer(free, old);
	return 0;
}

int snat_pool_del(uint32_t idx)
{
	if (idx == SNAT_POOL_NODE || snat_pool_at(idx)->n_rules > 0)
		return -EBUSY;
	range_disown(snat_pool_at(idx)->range);
	rcu_defer(free, snat_pool_at(idx)->range);
	slots_free(&snat_pool_slots, idx);
	return 0;
}

struct ip_addr snat_pool_addr(uint32_t idx, const struct ip_addr *client)
{
	const struct snat_range *range = snat_pool_range(snat_pool_at(idx));
	bool is_v4 = ip_is_v4(client);
	uint32_t n = is_v4 ? range->n_v4 : range->n_v6;
	uint64_t hash = (client->q[1] ^ client->q[0]) * 0x9e3779b97f4a7c15ull;

	if (idx == SNAT_POOL_NODE)
		return endpoint_node_addr(!is_v4);
	if (n == 0)
		return (struct ip_addr){ 0 };
	return (is_v4 ? range->v4 : range->v6)[(hash >> 32) * n >> 32];
}

uint32_t snat_list(uint16_t zone)
{
	/* acquire: pairs with the release in snat_list_get() */
	return atomic_load_explicit(&lists[zone], memory_order_acquire) - 1;
}

uint32_t snat_list_get(uint16_t zone)
{
	uint32_t list = snat_list(zone);

	if (list != RULELIST_NONE)
		return list;
	list = rulelist_create(zone);
	if (list != RULELIST_NONE)
		atomic_store_explicit(&lists[zone], list + 1, memory_order_release);
	return list;
}

static struct snat_key key_of(uint16_t zone, const struct ip_addr *addr)
{
	return (struct snat_key){ .addr = *addr, .zone = zone };
}

uint32_t snat_pair_of_internal(uint16_t zone, const struct ip_addr *addr)
{
	const struct snat_key key = key_of(zone, addr);

	return chainmap_find(&by_internal, &key);
}

uint32_t snat_pair_of_external(uint16_t zone, const struct ip_addr *addr)
{
	const struct snat_key key = key_of(zone, addr);

	return chainmap_find(&by_external, &key);
}

/* 0 or -ENOSPC, nothing changed. */
static int pair_own(uint16_t zone, const struct ip_addr *internal, const struct ip_addr *external)
{
	if (ours_add(OURS_PAIR_INTERNAL, zone, internal) < 0)
		return -ENOSPC;
	if (ours_add(OURS_PAIR_EXTERNAL, zone, external) == 0)
		return 0;
	ours_del(OURS_PAIR_INTERNAL, zone, internal);
	return -ENOSPC;
}

int snat_pair_add(uint16_t zone, const struct ip_addr *internal, const struct ip_addr *external)
{
	struct snat_pair *pair;
	uint32_t idx;

	if (ip_is_v4(internal) != ip_is_v4(external))
		return -EINVAL;
	if (snat_pair_of_internal(zone, internal) != SLOT_NONE ||
		snat_pair_of_external(zone, external) != SLOT_NONE)
		return -EEXIST;
	idx = slots_alloc(&snat_pair_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	if (pair_own(zone, internal, external) < 0) {
		slots_free(&snat_pair_slots, idx);
		return -ENOSPC;
	}
	pair = snat_pair_at(idx);
	pair->internal = key_of(zone, internal);
	pair->external = key_of(zone, external);
	chainmap_insert(&by_internal, idx);
	chainmap_insert(&by_external, idx);
	return 0;
}

int snat_pair_del(uint16_t zone, const struct ip_addr *internal)
{
	uint32_t idx = snat_pair_of_internal(zone, internal);

	if (idx == SLOT_NONE)
		return -ENOENT;
	chainmap_remove(&by_internal, idx);
	chainmap_remove(&by_external, idx);
	ours_del(OURS_PAIR_INTERNAL, zone, internal);
	ours_del(OURS_PAIR_EXTERNAL, zone, &snat_pair_at(idx)->external.addr);
	slots_free(&snat_pair_slots, idx);
	return 0;
}

uint32_t snat_pair_next(uint32_t idx)
{
	return slots_next(&snat_pair_slots, idx);
}
