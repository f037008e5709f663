/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/addrmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_lcore.h>

#include "datapath/base/rcu.h"

struct addrmap {
	struct rte_hash *hash;
};

struct addrmap_key {
	struct ip_addr addr;
	uint32_t scope;
} __rte_packed;

static struct addrmap_key key_of(uint32_t scope, const struct ip_addr *addr)
{
	return (struct addrmap_key){ .addr = *addr, .scope = scope };
}

struct addrmap *addrmap_create(const char *name, uint32_t max)
{
	struct addrmap *map = calloc(1, sizeof(*map));
	char unique[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters params = {
		.name = unique,
		.entries = max,
		.key_len = sizeof(struct addrmap_key),
		.hash_func = rte_hash_crc,
		.socket_id = (int)rte_socket_id(),
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF |
			RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash_rcu_config rcu = { .v = rcu_qsbr, .mode = RTE_HASH_QSBR_MODE_DQ };

	if (map == NULL)
		return NULL;
	snprintf(unique, sizeof(unique), "leat_%s", name);
	if (params.socket_id < 0 || params.socket_id >= RTE_MAX_NUMA_NODES)
		params.socket_id = SOCKET_ID_ANY;
	map->hash = rte_hash_create(&params);
	if (map->hash == NULL || rte_hash_rcu_qsbr_add(map->hash, &rcu) != 0) {
		addrmap_destroy(map);
		return NULL;
	}
	return map;
}

void addrmap_destroy(struct addrmap *map)
{
	if (map == NULL)
		return;
	rte_hash_free(map->hash);
	free(map);
}

int addrmap_set(struct addrmap *map, uint32_t scope, const struct ip_addr *addr, uint32_t value)
{
	struct addrmap_key key = key_of(scope, addr);

	return rte_hash_add_key_data(map->hash, &key, (void *)(uintptr_t)value) == 0 ? 0 : -ENOSPC;
}

int addrmap_del(struct addrmap *map, uint32_t scope, const struct ip_addr *addr)
{
	struct addrmap_key key = key_of(scope, addr);

	return rte_hash_del_key(map->hash, &key) >= 0 ? 0 : -ENOENT;
}

uint32_t addrmap_get(const struct addrmap *map, uint32_t scope, const struct ip_addr *addr)
{
	struct addrmap_key key = key_of(scope, addr);
	void *data;

	if (rte_hash_lookup_data(map->hash, &key, &data) < 0)
		return ADDRMAP_NONE;
	return (uint32_t)(uintptr_t)data;
}
