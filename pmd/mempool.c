/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/mempool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_mbuf.h>

#include "datapath/base/log.h"
#include "pmd/eal.h"
#include "pmd/err.h"

#define DEFAULT_MBUFS 65536
#define DEFAULT_JUMBOS 4096
#define HUGES_PER_MBUF_SHIFT 6 /* one huge mbuf to 64 ordinary ones */
#define MIN_HUGES 64
#define MIN_MBUFS 8192
#define CACHE_MBUFS 256

enum pool_kind { POOL_NORMAL, POOL_JUMBO, POOL_HUGE, POOL_N };

struct pool {
	struct rte_mempool *mp;
	uint32_t n_reserved;
};

static struct pool pools[MEMPOOL_NODES_MAX][POOL_N];
static struct mempool_config config;
static const char *const kind_names[POOL_N] = { "ordinary", "jumbo", "huge" };
static const char *const room_names[POOL_N] = { "2 KiB", "10 KiB", "64 KiB" };

static uint32_t kind_room(enum pool_kind kind)
{
	static const uint32_t rooms[POOL_N] = { MEMPOOL_DATA_ROOM_BYTES + RTE_PKTMBUF_HEADROOM,
		MEMPOOL_JUMBO_ROOM_BYTES + RTE_PKTMBUF_HEADROOM, MEMPOOL_HUGE_ROOM_BYTES };

	return rooms[kind];
}

static int pool_create(unsigned int node, enum pool_kind kind, uint32_t n)
{
	/* Cores keep few of the big ones, so that the same warm buffers go round. */
	unsigned int cache = kind == POOL_NORMAL ? CACHE_MBUFS : 16;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "%s%u", kind_names[kind], node);
	pools[node][kind].mp = rte_pktmbuf_pool_create(
		name, n, cache, 0, (uint16_t)kind_room(kind), (int)node);
	if (pools[node][kind].mp == NULL)
		return rte_errno != 0 ? -rte_errno : -ENOMEM;
	return 0;
}

static bool node_is_wanted(unsigned int node)
{
	if (config.n_nodes != 0)
		return node < config.n_nodes;
	if (eal_n_workers() == 0)
		return node == 0;
	for (unsigned int i = 0; i < eal_n_workers(); i++)
		if (eal_worker_node(i) == node)
			return true;
	return false;
}

/* The default size, halved until the pool takes at most half of what hugepages are free. */
static uint32_t mbufs_affordable(void)
{
	struct eal_hugepages huge;
	uint32_t n = DEFAULT_MBUFS;
	uint64_t each = kind_room(POOL_NORMAL) + sizeof(struct rte_mbuf) + 64;

	if (eal_is_no_huge() || eal_hugepages_read(&huge) < 0)
		return MIN_MBUFS;
	while (n > MIN_MBUFS && n * each > huge.n_free * huge.page_size_bytes / 2)
		n /= 2;
	return n;
}

int mempool_init(const struct mempool_config *cfg, char *errbuf, size_t errlen)
{
	bool has_any = false;
	uint32_t n;

	config = *cfg;
	n = cfg->n_mbufs != 0 ? cfg->n_mbufs : mbufs_affordable();
	for (unsigned int node = 0; node < MEMPOOL_NODES_MAX; node++) {
		int ret;

		if (!node_is_wanted(node))
			continue;
		ret = pool_create(node, POOL_NORMAL, n);
		if (ret < 0) {
			mempool_fini();
			return err_set(errbuf, errlen, -ENOMEM,
				"no memory for %u packet buffers (%lu MiB of hugepages) on node "
				"%u: %s",
				n, ((uint64_t)n * (kind_room(POOL_NORMAL) + 192)) >> 20, node,
				rte_strerror(-ret));
		}
		has_any = true;
	}
	if (!has_any)
		return err_set(errbuf, errlen, -EINVAL, "no node for packet buffers");
	/* Making it later would hold up the first tap's request; if memory is short now, it is tried again then. */
	if (!eal_is_no_huge())
		(void)mempool_get_huge(eal_n_workers() != 0 ? eal_worker_node(0) : 0);
	return 0;
}

void mempool_fini(void)
{
	for (unsigned int node = 0; node < MEMPOOL_NODES_MAX; node++)
		for (int kind = 0; kind < POOL_N; kind++)
			rte_mempool_free(pools[node][kind].mp);
	memset(pools, 0, sizeof(pools));
}

static unsigned int node_with_pool(unsigned int node)
{
	if (node < MEMPOOL_NODES_MAX && pools[node][POOL_NORMAL].mp != NULL)
		return node;
	for (node = 0; node < MEMPOOL_NODES_MAX - 1; node++)
		if (pools[node][POOL_NORMAL].mp != NULL)
			break;
	return node;
}

struct rte_mempool *mempool_get(unsigned int node)
{
	return pools[node_with_pool(node)][POOL_NORMAL].mp;
}

static struct rte_mempool *get_lazily(unsigned int node, enum pool_kind kind, uint32_t n)
{
	int ret;

	node = node_with_pool(node);
	if (pools[node][kind].mp == NULL) {
		if (eal_is_no_huge()) /* tests run in little memory */
			n = RTE_MAX(kind == POOL_HUGE ? n / 2 : n / 8, (uint32_t)MIN_HUGES);
		ret = pool_create(node, kind, n);
		if (ret < 0)
			log_err("mempool", "cannot make the %s pool node=%u n=%u: %s",
				kind_names[kind], node, n, rte_strerror(-ret));
	}
	return pools[node][kind].mp;
}

struct rte_mempool *mempool_get_jumbo(unsigned int node)
{
	return get_lazily(
		node, POOL_JUMBO, config.n_jumbos != 0 ? config.n_jumbos : DEFAULT_JUMBOS);
}

struct rte_mempool *mempool_get_huge(unsigned int node)
{
	uint32_t n = config.n_huges;

	if (n == 0)
		n = RTE_MAX(mempool_get(node)->size >> HUGES_PER_MBUF_SHIFT, (uint32_t)MIN_HUGES);
	return get_lazily(node, POOL_HUGE, n);
}

static struct pool *pool_of(const struct rte_mempool *mp)
{
	for (unsigned int node = 0; node < MEMPOOL_NODES_MAX; node++)
		for (int kind = 0; kind < POOL_N; kind++)
			if (pools[node][kind].mp == mp)
				return &pools[node][kind];
	return NULL;
}

static enum pool_kind kind_of(const struct pool *pool)
{
	return (enum pool_kind)((size_t)(pool - &pools[0][0]) % POOL_N);
}

/* An eighth stays for what belongs to no port: packets in flight, hold queues, caches of the cores. */
static uint32_t unreserved(const struct pool *pool)
{
	uint32_t budget = pool->mp->size - pool->mp->size / 8;

	return pool->n_reserved < budget ? budget - pool->n_reserved : 0;
}

/* Taps are opened and closed on helper threads. */
static pthread_mutex_t accounts_lock = PTHREAD_MUTEX_INITIALIZER;

int mempool_reserve(struct rte_mempool *mp, uint32_t n, char *errbuf, size_t errlen)
{
	struct pool *pool = mp != NULL ? pool_of(mp) : NULL;
	uint32_t n_left;

	if (pool == NULL)
		return err_set(errbuf, errlen, -EINVAL, "no such packet buffer pool");
	pthread_mutex_lock(&accounts_lock);
	n_left = unreserved(pool);
	if (n <= n_left)
		pool->n_reserved += n;
	pthread_mutex_unlock(&accounts_lock);
	if (n > n_left)
		return err_set(errbuf, errlen, -ENOBUFS,
			"%u packet buffers of %s are needed, and ports can still have %u of %u "
			"(status: mbufs.%s.reservable): remove ports, ask for fewer queues or "
			"smaller rings, or start leatd with more --mbufs",
			n, room_names[kind_of(pool)], n_left, mp->size, kind_names[kind_of(pool)]);
	return 0;
}

void mempool_release(struct rte_mempool *mp, uint32_t n)
{
	struct pool *pool = mp != NULL ? pool_of(mp) : NULL;

	if (pool == NULL)
		return;
	pthread_mutex_lock(&accounts_lock);
	pool->n_reserved -= n < pool->n_reserved ? n : pool->n_reserved;
	pthread_mutex_unlock(&accounts_lock);
}

void mempool_usage_read(struct mempool_usage *out)
{
	*out = (struct mempool_usage){ 0 };
	for (int kind = 0; kind < POOL_N; kind++) {
		struct mempool_kind_usage *sum = &out->kinds[kind];

		sum->name = kind_names[kind];
		sum->reservable = UINT32_MAX;
		for (unsigned int node = 0; node < MEMPOOL_NODES_MAX; node++) {
			struct pool *pool = &pools[node][kind];
			uint32_t n_free;

			if (pool->mp == NULL)
				continue;
			n_free = rte_mempool_avail_count(pool->mp);
			sum->size += pool->mp->size;
			sum->in_use += pool->mp->size - n_free;
			sum->reserved += pool->n_reserved;
			sum->reservable = RTE_MIN(sum->reservable, unreserved(pool));
			out->free += n_free;
		}
		if (sum->size == 0)
			sum->reservable = 0;
		out->size += sum->size;
		out->in_use += sum->in_use;
		out->reserved += sum->reserved;
	}
	out->reservable = out->kinds[POOL_NORMAL].reservable;
}
