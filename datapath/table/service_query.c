/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking at one service: what flows ask about theirs, and listing. */
#include <rte_common.h>

#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service_impl.h"

/* --- any thread --- */

int service_backend_cmp(
	const struct ip_addr *a, uint16_t a_port, const struct ip_addr *b, uint16_t b_port)
{
	int order = memcmp(a, b, sizeof(*a));

	return order != 0 ? order : (int)a_port - (int)b_port;
}

/* Position of the first backend that does not come before (addr, port). */
static uint32_t block_position(
	const struct service_block *block, const struct ip_addr *addr, uint16_t port)
{
	uint32_t low = 0, high = block != NULL ? block->n_backends : 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		const struct backend *b = backend_at(block->ids[middle]);

		if (service_backend_cmp(addr, port, &b->addr, rte_be_to_cpu_16(b->port)) <= 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool is_at(const struct service_block *block, uint32_t position, const struct ip_addr *addr)
{
	return block != NULL && position < block->n_backends &&
		ip_eq(&backend_at(block->ids[position])->addr, addr);
}

uint32_t service_block_find(
	const struct service_block *block, const struct ip_addr *addr, uint16_t port)
{
	uint32_t at = block_position(block, addr, port);

	return is_at(block, at, addr) && rte_be_to_cpu_16(backend_at(block->ids[at])->port) == port
		? block->ids[at]
		: BACKEND_NONE;
}

bool service_source_allowed(uint32_t service, const struct ip_addr *src)
{
	const struct service_block *block = rcu_deref(service_at(service)->block);

	if (block == NULL || block->n_source_sets == 0)
		return true;
	for (uint32_t i = 0; i < block->n_source_sets; i++)
		if (ipset_contains(block->ids[block->n_backends + i], src))
			return true;
	return false;
}

bool service_binding_holds(uint32_t service, uint32_t backend)
{
	const struct backend *b = backend_at(backend);
	/* acquire: pairs with the release in backend_enter() */
	uint8_t flags = atomic_load_explicit(&b->flags, memory_order_acquire);

	return (flags & (BACKEND_F_SERVING | BACKEND_F_REMOVED)) == BACKEND_F_SERVING &&
		b->service == service;
}

bool service_does_reset(uint32_t service)
{
	return (atomic_load_explicit(&service_at(service)->flags, memory_order_relaxed) &
		       SERVICE_F_RESET) != 0;
}

uint32_t service_backend_find(uint32_t service, const struct ip_addr *addr, rte_be16_t port)
{
	return service_block_find(
		rcu_deref(service_at(service)->block), addr, rte_be_to_cpu_16(port));
}

uint32_t service_backend_of_addr(uint32_t service, const struct ip_addr *addr)
{
	const struct service_block *block = rcu_deref(service_at(service)->block);

	for (uint32_t at = block_position(block, addr, 0); is_at(block, at, addr); at++)
		if (service_binding_holds(service, block->ids[at]))
			return block->ids[at];
	return BACKEND_NONE;
}

/* --- control thread --- */

uint32_t service_next(uint32_t idx)
{
	return slots_next(&service_slots, idx);
}

const char *service_name(uint32_t idx)
{
	return service_at(idx)->name;
}

unsigned int service_frontends(uint32_t idx, struct frontend_config *out, unsigned int max)
{
	const struct service *svc = service_at(idx);

	for (unsigned int i = 0; i < svc->n_frontends && i < max; i++)
		out[i] = svc->frontends[i];
	return svc->n_frontends;
}

static unsigned int ids_list(const uint32_t *ids, unsigned int n, uint32_t *out, unsigned int max)
{
	for (unsigned int i = 0; i < n && i < max; i++)
		out[i] = ids[i];
	return n;
}

unsigned int service_backends(uint32_t idx, uint32_t *out_backends, unsigned int max)
{
	const struct service_block *block = service_at(idx)->block;

	return ids_list(block->ids, block->n_backends, out_backends, max);
}

unsigned int service_source_sets(uint32_t idx, uint32_t *out_sets, unsigned int max)
{
	const struct service_block *block = service_at(idx)->block;

	return ids_list(&block->ids[block->n_backends], block->n_source_sets, out_sets, max);
}

unsigned int service_n_local_ready(uint32_t idx)
{
	const struct service_block *block = service_at(idx)->block;
	const uint8_t needed = BACKEND_F_READY | BACKEND_F_LOCAL;
	unsigned int n = 0;

	for (uint32_t i = 0; i < block->n_backends; i++) {
		const struct backend *b = backend_at(block->ids[i]);

		n += (atomic_load_explicit(&b->flags, memory_order_relaxed) & needed) == needed &&
			atomic_load_explicit(&b->weight, memory_order_relaxed) > 0;
	}
	return n;
}
