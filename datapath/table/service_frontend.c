/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frontends by (zone, address, protocol, port). A port range is entered as the aligned blocks of ports that make it up (port prefixes),
 * so that a look-up tries one key for the exact port and one for each block size in use.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/gen.h"
#include "datapath/table/chainmap.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service_impl.h"

#define PORT_BITS 16u

struct frontend_key {
	struct ip_addr addr; /* zero: any address of this node */
	uint16_t zone;
	uint16_t port; /* first of the block, host order */
	uint8_t proto;
	uint8_t len; /* PORT_BITS: exactly this port */
	uint8_t zero[2];
};
static_assert(sizeof(struct frontend_key) == 24, "chainmap: no padding");

struct frontend {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct frontend_key key;
	_Atomic uint64_t value; /* value_of(): one word, so that it changes in place */
	uint32_t run;		/* of frontends_apply() that last wanted it */
};

/* An address with frontends. */
struct vip_key {
	struct ip_addr addr;
	uint32_t zone;
	uint32_t zero;
};
static_assert(sizeof(struct vip_key) == 24, "chainmap: no padding");

struct vip {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct vip_key key;
	uint32_t n_frontends;
	_Atomic uint32_t n_virtual; /* of them ClusterIP or external: the address is nobody's own */
};

static struct slots frontend_slots, vip_slots;
static struct chainmap by_key, by_vip;
static uint32_t n_blocks[PORT_BITS]; /* entries of each length below PORT_BITS */
static _Atomic uint32_t lens_used;   /* bit len: n_blocks[len] > 0 */
static uint32_t last_run;

int frontend_table_init(void)
{
	memset(n_blocks, 0, sizeof(n_blocks));
	atomic_store_explicit(&lens_used, 0, memory_order_relaxed);
	if (slots_init(&frontend_slots, RTE_ALIGN_CEIL(sizeof(struct frontend), 64),
		    FRONTEND_TABLE_MAX) < 0 ||
		slots_init(&vip_slots, sizeof(struct vip), FRONTEND_TABLE_MAX) < 0 ||
		chainmap_init(&by_key, &frontend_slots, offsetof(struct frontend, link),
			offsetof(struct frontend, key), sizeof(struct frontend_key)) < 0 ||
		chainmap_init(&by_vip, &vip_slots, offsetof(struct vip, link),
			offsetof(struct vip, key), sizeof(struct vip_key)) < 0)
		return -ENOMEM;
	return 0;
}

void frontend_table_fini(void)
{
	chainmap_fini(&by_vip);
	chainmap_fini(&by_key);
	slots_fini(&vip_slots);
	slots_fini(&frontend_slots);
}

static struct frontend *frontend_at(uint32_t idx)
{
	return slots_at(&frontend_slots, idx);
}

static struct vip *vip_at(uint32_t idx)
{
	return slots_at(&vip_slots, idx);
}

static uint64_t value_of(uint32_t service, const struct frontend_config *f)
{
	return service | (uint64_t)rte_cpu_to_be_16(f->target_port) << 32 | (uint64_t)f->kind << 48;
}

static uint32_t value_service(uint64_t value)
{
	return (uint32_t)value;
}

static uint8_t value_kind(uint64_t value)
{
	return (uint8_t)(value >> 48);
}

static bool kind_is_virtual(uint8_t kind)
{
	return kind == FRONTEND_CLUSTER || kind == FRONTEND_EXTERNAL;
}

static uint64_t frontend_value(uint32_t idx)
{
	return atomic_load_explicit(&frontend_at(idx)->value, memory_order_relaxed);
}

/* --- look-up: any thread --- */

static uint16_t block_port(uint16_t port, unsigned int len)
{
	return (uint16_t)(port & (0xffff0000u >> len));
}

/* Index of the entry that covers key->port with at most key->len, or FRONTEND_NONE. Leaves the key there. */
static uint32_t covering_find(struct frontend_key *key)
{
	uint32_t idx = chainmap_find(&by_key, key);
	uint32_t lens = atomic_load_explicit(&lens_used, memory_order_relaxed) &
		((1u << key->len) - 1);

	for (; idx == SLOT_NONE && lens != 0; lens &= ~(1u << key->len)) {
		key->len = (uint8_t)(31 - __builtin_clz(lens));
		key->port = block_port(key->port, key->len);
		idx = chainmap_find(&by_key, key);
	}
	return idx;
}

static bool is_virtual_addr(uint16_t zone, const struct ip_addr *addr)
{
	struct vip_key key = { .addr = *addr, .zone = zone };
	uint32_t idx = chainmap_find(&by_vip, &key);

	return idx != SLOT_NONE &&
		atomic_load_explicit(&vip_at(idx)->n_virtual, memory_order_relaxed) > 0;
}

void service_lookup(uint16_t zone, const struct ip_addr *addr, uint8_t proto, uint16_t dport,
	bool is_node_addr, struct service_hit *out)
{
	struct frontend_key key = {
		.addr = *addr, .zone = zone, .port = dport, .proto = proto, .len = PORT_BITS
	};
	uint32_t idx = covering_find(&key);
	uint64_t value;

	if (idx == SLOT_NONE && is_node_addr) {
		key = (struct frontend_key){
			.zone = zone, .port = dport, .proto = proto, .len = PORT_BITS
		};
		idx = covering_find(&key);
	}
	if (idx == SLOT_NONE) {
		*out = (struct service_hit){ .service = SERVICE_NONE,
			.is_vip = is_virtual_addr(zone, addr) };
		return;
	}
	value = frontend_value(idx);
	*out = (struct service_hit){
		.service = value_service(value),
		.kind = value_kind(value),
		.target_port = (rte_be16_t)(value >> 32),
	};
}

/* --- changes: control thread --- */

int frontend_normalise(const struct frontend_config *f, struct frontend_config *out)
{
	bool needs_addr = kind_is_virtual(f->kind);
	uint16_t end = f->port_end != 0 ? f->port_end : f->port;

	if (f->kind >= FRONTEND_KIND_N || f->port == 0 || end < f->port ||
		(needs_addr && !f->has_addr) || (f->has_addr && ip_is_zero(&f->addr)))
		return -EINVAL;
	*out = *f;
	out->port_end = end;
	if (!f->has_addr)
		out->addr = (struct ip_addr){ 0 };
	return 0;
}

/* Next block of the frontend's ports, the largest aligned one at *port; false: no more. *port starts at the frontend's. */
static bool block_next(
	const struct frontend_config *f, uint16_t zone, uint32_t *port, struct frontend_key *out)
{
	unsigned int bits;

	if (*port > f->port_end)
		return false;
	bits = (unsigned int)__builtin_ctz(*port | 1u << PORT_BITS);
	while (*port + (1u << bits) - 1 > f->port_end)
		bits--;
	*out = (struct frontend_key){ .addr = f->addr,
		.zone = zone,
		.port = (uint16_t)*port,
		.proto = f->proto,
		.len = (uint8_t)(PORT_BITS - bits) };
	*port += 1u << bits;
	return true;
}

static bool is_foreign(uint32_t idx, uint32_t service)
{
	return idx != SLOT_NONE && value_service(frontend_value(idx)) != service;
}

/* Whether an entry of another service lies inside the block. Tries every key there could be: 2 × 65,535 for the largest block, and
 * none when the address has no frontend. */
static bool block_has_foreign(const struct frontend_key *block, uint32_t service)
{
	struct vip_key vip = { .addr = block->addr, .zone = block->zone };
	uint32_t lens = atomic_load_explicit(&lens_used, memory_order_relaxed) | 1u << PORT_BITS;

	if (chainmap_find(&by_vip, &vip) == SLOT_NONE)
		return false;
	for (unsigned int len = block->len + 1u; len <= PORT_BITS; len++) {
		struct frontend_key key = *block;

		if ((lens & 1u << len) == 0)
			continue;
		key.len = (uint8_t)len;
		for (uint32_t n = 1u << (len - block->len); n > 0; n--) {
			if (is_foreign(chainmap_find(&by_key, &key), service))
				return true;
			key.port = (uint16_t)(key.port + (1u << (PORT_BITS - len)));
		}
	}
	return false;
}

/* *n_new: plus the entries that are not there yet. */
static bool frontend_is_taken(
	uint32_t service, uint16_t zone, const struct frontend_config *f, uint32_t *n_new)
{
	struct frontend_key block;

	for (uint32_t port = f->port; block_next(f, zone, &port, &block);) {
		struct frontend_key key = block;
		uint32_t idx = covering_find(&key);

		if (is_foreign(idx, service))
			return true;
		if (idx != SLOT_NONE && key.len == block.len)
			continue; /* its own: nothing else can be inside */
		if (block_has_foreign(&block, service))
			return true;
		(*n_new)++;
	}
	return false;
}

static bool frontends_overlap(const struct frontend_config *a, const struct frontend_config *b)
{
	return a->proto == b->proto && ip_eq(&a->addr, &b->addr) && a->port <= b->port_end &&
		b->port <= a->port_end;
}

int frontends_check(uint32_t service, uint16_t zone, const struct frontend_config *frontends,
	unsigned int n, unsigned int *out_frontend)
{
	uint32_t n_new = 0;

	for (unsigned int i = 0; i < n; i++) {
		bool is_taken = frontend_is_taken(service, zone, &frontends[i], &n_new);

		for (unsigned int j = 0; j < i && !is_taken; j++)
			is_taken = frontends_overlap(&frontends[i], &frontends[j]);
		if (is_taken) {
			if (out_frontend != NULL)
				*out_frontend = i;
			return -EEXIST;
		}
	}
	return n_new <= slots_room(&frontend_slots) && n <= slots_room(&vip_slots) ? 0 : -ENOSPC;
}

/* Counts an entry of this kind in or out at its address. */
static void vip_count(const struct frontend_key *of, uint8_t kind, int step)
{
	struct vip_key key = { .addr = of->addr, .zone = of->zone };
	uint32_t idx = chainmap_find(&by_vip, &key);
	struct vip *vip;

	if (idx == SLOT_NONE) {
		idx = slots_alloc(&vip_slots);
		vip_at(idx)->key = key;
		chainmap_insert(&by_vip, idx);
	}
	vip = vip_at(idx);
	vip->n_frontends += (uint32_t)step;
	if (kind_is_virtual(kind))
		atomic_fetch_add_explicit(&vip->n_virtual, (uint32_t)step, memory_order_relaxed);
	if (vip->n_frontends == 0) {
		chainmap_remove(&by_vip, idx);
		slots_free(&vip_slots, idx);
	}
}

static void entry_add(const struct frontend_key *key, uint64_t value)
{
	uint32_t idx = slots_alloc(&frontend_slots);
	struct frontend *entry = frontend_at(idx);

	entry->key = *key;
	entry->run = last_run;
	atomic_store_explicit(&entry->value, value, memory_order_relaxed);
	vip_count(key, value_kind(value), 1);
	if (key->len < PORT_BITS && n_blocks[key->len]++ == 0)
		atomic_fetch_or_explicit(&lens_used, 1u << key->len, memory_order_relaxed);
	chainmap_insert(&by_key, idx);
}

static void entry_del(uint32_t idx)
{
	const struct frontend_key *key = &frontend_at(idx)->key;

	chainmap_remove(&by_key, idx);
	if (key->len < PORT_BITS && --n_blocks[key->len] == 0)
		atomic_fetch_and_explicit(&lens_used, ~(1u << key->len), memory_order_relaxed);
	vip_count(key, value_kind(frontend_value(idx)), -1);
	slots_free(&frontend_slots, idx);
}

static void entry_change(uint32_t idx, uint64_t value)
{
	struct frontend *entry = frontend_at(idx);
	uint64_t old = frontend_value(idx);

	entry->run = last_run;
	if (old == value)
		return;
	vip_count(&entry->key, value_kind(value), 1);
	atomic_store_explicit(&entry->value, value, memory_order_relaxed);
	vip_count(&entry->key, value_kind(old), -1);
}

void frontends_apply(uint32_t service, uint16_t zone, const struct frontend_config *old,
	unsigned int n_old, const struct frontend_config *new, unsigned int n_new)
{
	struct frontend_key key;

	last_run++;
	for (unsigned int i = 0; i < n_new; i++)
		for (uint32_t port = new[i].port; block_next(&new[i], zone, &port, &key);) {
			uint32_t idx = chainmap_find(&by_key, &key);

			if (idx == SLOT_NONE) {
				entry_add(&key, value_of(service, &new[i]));
				/* Who went to this address as to any other looks again. */
				if (new[i].has_addr)
					gen_touch(ipset_addr_gen(&key.addr));
				else
					endpoint_node_touch();
			} else {
				entry_change(idx, value_of(service, &new[i]));
			}
		}
	for (unsigned int i = 0; i < n_old; i++)
		for (uint32_t port = old[i].port; block_next(&old[i], zone, &port, &key);) {
			uint32_t idx = chainmap_find(&by_key, &key);

			if (frontend_at(idx)->run != last_run)
				entry_del(idx);
		}
}
