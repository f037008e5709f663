/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_jhash.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/table/addrmap.h"
#include "datapath/table/ours.h"
#include "datapath/table/path.h"
#include "datapath/table/policy.h"
#include "datapath/table/route.h"

struct slots endpoint_slots;
static struct addrmap *by_addr;
static struct rte_hash *by_id;

int endpoint_table_init(void)
{
	struct rte_hash_parameters params = {
		.name = "leat_endpoint_id",
		.entries = ENDPOINT_TABLE_MAX,
		.key_len = ENDPOINT_ID_LEN,
		.hash_func = rte_jhash,
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	if (slots_init(&endpoint_slots, RTE_ALIGN_CEIL(sizeof(struct endpoint), 64),
		    ENDPOINT_TABLE_MAX) < 0)
		return -ENOMEM;
	by_addr = addrmap_create("endpoint_addr", 2 * ENDPOINT_TABLE_MAX);
	by_id = rte_hash_create(&params);
	if (by_addr == NULL || by_id == NULL) {
		endpoint_table_fini();
		return -ENOMEM;
	}
	return 0;
}

void endpoint_table_fini(void)
{
	addrmap_destroy(by_addr);
	rte_hash_free(by_id);
	slots_fini(&endpoint_slots);
	by_addr = NULL;
	by_id = NULL;
}

/* By family; the control thread replaces an index, workers read the endpoint behind it. */
static _Atomic uint32_t node_endpoint[2] = { ENDPOINT_NONE, ENDPOINT_NONE };

static const struct ip_addr *first_addr(const struct endpoint *ep, bool is_v6)
{
	for (unsigned int i = 0; i < ep->n_addrs; i++)
		if (ip_is_v4(&ep->addrs[i]) != is_v6)
			return &ep->addrs[i];
	return NULL;
}

struct ip_addr endpoint_node_addr(bool is_v6)
{
	uint32_t idx = atomic_load_explicit(&node_endpoint[is_v6], memory_order_acquire);
	const struct ip_addr *addr = idx != ENDPOINT_NONE ? first_addr(endpoint_at(idx), is_v6)
							  : NULL;

	return addr != NULL ? *addr : (struct ip_addr){ 0 };
}

void endpoint_node_touch(void)
{
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t idx = atomic_load_explicit(&node_endpoint[is_v6], memory_order_relaxed);

		if (idx != ENDPOINT_NONE)
			gen_touch(&endpoint_at(idx)->gen);
	}
}

/* After an endpoint came or went: the first that serves, host before self. */
static void node_endpoint_choose(void)
{
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t best = ENDPOINT_NONE;

		for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1)) {
			const struct endpoint *ep = endpoint_at(i);

			if (ep->kind == ENDPOINT_POD || ep->zone != 0 ||
				first_addr(ep, is_v6) == NULL)
				continue;
			if (best == ENDPOINT_NONE ||
				(ep->kind == ENDPOINT_HOST &&
					endpoint_at(best)->kind != ENDPOINT_HOST))
				best = i;
		}
		atomic_store_explicit(&node_endpoint[is_v6], best, memory_order_release);
	}
}

static void id_key(const char *id, char key[ENDPOINT_ID_LEN])
{
	memset(key, 0, ENDPOINT_ID_LEN);
	memcpy(key, id, strnlen(id, ENDPOINT_ID_LEN - 1));
}

uint32_t endpoint_by_id(const char *id)
{
	char key[ENDPOINT_ID_LEN];
	void *data;

	id_key(id, key);
	return rte_hash_lookup_data(by_id, key, &data) < 0 ? ENDPOINT_NONE
							   : (uint32_t)(uintptr_t)data;
}

uint32_t endpoint_by_addr(uint16_t zone, const struct ip_addr *addr)
{
	return addrmap_get(by_addr, zone, addr);
}

uint32_t endpoint_next(uint32_t idx)
{
	return slots_next(&endpoint_slots, idx);
}

uint32_t endpoint_count(void)
{
	return endpoint_slots.n_used;
}

/* units a second (packets, or bytes) → bucket. A full bucket at the start. */
static void meter_set(struct meter *m, uint64_t rate, uint64_t burst)
{
	if (rate == 0)
		return;
	if (burst == 0)
		burst = rate / 10 + 1;
	m->ns_per_kunit = (1024 * CLOCK_NS_PER_S + rate - 1) / rate;
	m->burst_ns = (uint64_t)(((__uint128_t)burst * m->ns_per_kunit) >> 10);
}

static void meters_set(struct endpoint *ep, const struct endpoint_config *cfg)
{
	for (unsigned int d = 0; d < ENDPOINT_DIR_N; d++) {
		const struct endpoint_limits *l = &cfg->limits[d];

		ep->limits[d] = *l;
		meter_set(&ep->pkts[d], l->rate_pps, l->burst_pkts);
		/* bits a second become bytes; a bucket always holds one 64 KiB super-frame */
		meter_set(&ep->bytes[d], l->rate_bps / 8,
			l->rate_bps != 0 && l->burst_bytes != 0
				? RTE_MAX(l->burst_bytes, 65536u)
				: RTE_MAX(l->rate_bps / 80, 65536u));
		ep->is_metered[d] = l->rate_pps != 0 || l->rate_bps != 0;
	}
}

static void conn_limits_set(struct endpoint *ep, const struct endpoint_config *cfg)
{
	ep->max_conns = cfg->max_conns;
	ep->max_new_conns_per_s = cfg->max_new_conns_per_s;
	meter_set(&ep->new_conns, cfg->max_new_conns_per_s, cfg->max_new_conns_per_s);
}

static void addrs_del(uint16_t zone, const struct ip_addr *addrs, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		addrmap_del(by_addr, zone, &addrs[i]);
}

/* Flows to these addresses were judged by the route that covered them until now: they must look again. */
static void covering_routes_touch(uint16_t zone, const struct ip_addr *addrs, unsigned int n)
{
	for (unsigned int i = 0; i < n && route_base != NULL; i++)
		gen_touch(&route_base[route_lookup(zone, &addrs[i])].gen);
}

/* What still comes for a pod's addresses is not sent away again. */
static void addrs_depart(const struct endpoint *ep)
{
	for (unsigned int i = 0; i < ep->n_addrs && route_base != NULL; i++)
		ours_depart(ep->zone, &ep->addrs[i],
			route_at(route_lookup(ep->zone, &ep->addrs[i]))->prefix.len, clock_s());
}

int endpoint_add(const struct endpoint_config *cfg, uint32_t *out_idx, unsigned int *out_taken)
{
	char key[ENDPOINT_ID_LEN];
	struct endpoint *ep;
	unsigned int n = 0;
	uint32_t idx;
	int ret = -ENOSPC;

	if (endpoint_by_id(cfg->id) != ENDPOINT_NONE)
		return -EEXIST;
	for (unsigned int i = 0; i < cfg->n_addrs; i++) {
		if (endpoint_by_addr(cfg->zone, &cfg->addrs[i]) == ENDPOINT_NONE)
			continue;
		if (out_taken != NULL)
			*out_taken = i;
		return -EADDRINUSE;
	}
	idx = slots_alloc(&endpoint_slots);
	if (idx == SLOT_NONE)
		return -ENOSPC;
	ep = endpoint_at(idx);
	ep->kind = (uint8_t)cfg->kind;
	ep->port_id = cfg->port_id;
	ep->zone = cfg->zone;
	ep->mac = cfg->mac;
	ep->n_addrs = cfg->n_addrs;
	ep->path_idx = PATH_NONE;
	memcpy(ep->addrs, cfg->addrs, cfg->n_addrs * sizeof(ep->addrs[0]));
	snprintf(ep->id, sizeof(ep->id), "%s", cfg->id);
	meters_set(ep, cfg);
	conn_limits_set(ep, cfg);
	if (cfg->kind != ENDPOINT_SELF) {
		ep->path_idx = path_create_plain(cfg->port_id, &cfg->mac, &cfg->gw_mac, cfg->mtu,
			cfg->kind == ENDPOINT_HOST ? PATH_F_LOCAL : 0, idx);
		if (ep->path_idx == PATH_NONE)
			goto err_slot;
	}
	id_key(cfg->id, key);
	if (rte_hash_add_key_data(by_id, key, (void *)(uintptr_t)idx) < 0)
		goto err_path;
	for (; n < cfg->n_addrs; n++)
		if (addrmap_set(by_addr, cfg->zone, &cfg->addrs[n], idx) < 0)
			goto err_addrs;
	if (cfg->kind != ENDPOINT_POD)
		node_endpoint_choose();
	covering_routes_touch(cfg->zone, cfg->addrs, cfg->n_addrs);
	*out_idx = idx;
	return 0;

err_addrs:
	addrs_del(cfg->zone, cfg->addrs, n);
	rte_hash_del_key(by_id, key);
err_path:
	path_destroy(ep->path_idx);
err_slot:
	slots_free(&endpoint_slots, idx);
	return ret;
}

void endpoint_del(uint32_t idx)
{
	struct endpoint *ep = endpoint_at(idx);
	char key[ENDPOINT_ID_LEN];

	addrs_del(ep->zone, ep->addrs, ep->n_addrs);
	if (ep->kind == ENDPOINT_POD)
		addrs_depart(ep);
	id_key(ep->id, key);
	rte_hash_del_key(by_id, key);
	path_destroy(ep->path_idx);
	policy_endpoint_gone(idx);
	slots_free(&endpoint_slots, idx);
	if (ep->kind != ENDPOINT_POD)
		node_endpoint_choose();
}
