/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where backends serve TCP and SCTP: (zone, address, protocol, port), counted over all services, so that one look-up tells whether a
 * packet comes from a server. Ports of a range that its backends keep are not entered.
 */
#include <assert.h>
#include <netinet/in.h>

#include <rte_common.h>

#include "datapath/table/chainmap.h"
#include "datapath/table/service_impl.h"

struct server_key {
	struct ip_addr addr;
	uint16_t zone;
	uint16_t port; /* host order */
	uint8_t proto;
	uint8_t zero[3];
};
static_assert(sizeof(struct server_key) == 24, "chainmap: no padding");

struct server {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	struct server_key key;
	uint32_t n; /* frontends and backends that mean it */
};

static struct slots server_slots;
static struct chainmap by_key;

int server_table_init(void)
{
	if (slots_init(&server_slots, RTE_ALIGN_CEIL(sizeof(struct server), 8), BACKEND_TABLE_MAX) <
			0 ||
		chainmap_init(&by_key, &server_slots, offsetof(struct server, link),
			offsetof(struct server, key), sizeof(struct server_key)) < 0)
		return -1;
	return 0;
}

void server_table_fini(void)
{
	chainmap_fini(&by_key);
	slots_fini(&server_slots);
}

/* Without room for it a server is not known: its late segments are judged as anybody's. */
static void server_add(const struct server_key *key)
{
	uint32_t idx = chainmap_find(&by_key, key);
	struct server *s;

	if (idx == SLOT_NONE) {
		idx = slots_alloc(&server_slots);
		if (idx == SLOT_NONE)
			return;
		s = slots_at(&server_slots, idx);
		s->key = *key;
		s->n = 0;
		chainmap_insert(&by_key, idx);
	}
	s = slots_at(&server_slots, idx);
	s->n++;
}

static void server_del(const struct server_key *key)
{
	uint32_t idx = chainmap_find(&by_key, key);
	struct server *s;

	if (idx == SLOT_NONE)
		return;
	s = slots_at(&server_slots, idx);
	if (--s->n > 0)
		return;
	chainmap_remove(&by_key, idx);
	slots_free(&server_slots, idx);
}

/* Port of a backend behind a frontend, host order; 0: whichever of a range. */
static uint16_t port_of(const struct frontend_config *f, const struct backend *b)
{
	if (f->target_port != 0)
		return f->target_port;
	if (b->port != 0)
		return rte_be_to_cpu_16(b->port);
	return f->port == f->port_end ? f->port : 0;
}

/* Whether an earlier frontend means the same ports. */
static bool is_repeated(const struct frontend_config *f, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (f[j].proto == f[i].proto && f[j].target_port == f[i].target_port &&
			f[j].port == f[i].port && f[j].port_end == f[i].port_end)
			return true;
	return false;
}

void servers_count(uint16_t zone, const struct frontend_config *frontends, unsigned int n,
	const struct service_block *block, bool is_add)
{
	for (unsigned int i = 0; block != NULL && i < n; i++) {
		const struct frontend_config *f = &frontends[i];

		if ((f->proto != IPPROTO_TCP && f->proto != IPPROTO_SCTP) ||
			is_repeated(frontends, i))
			continue;
		for (uint32_t k = 0; k < block->n_backends; k++) {
			const struct backend *b = backend_at(block->ids[k]);
			const struct server_key key = { .addr = b->addr,
				.zone = zone,
				.port = port_of(f, b),
				.proto = f->proto };

			if (key.port != 0)
				(is_add ? server_add : server_del)(&key);
		}
	}
}

bool service_is_server(uint16_t zone, const struct ip_addr *addr, uint8_t proto, rte_be16_t port)
{
	const struct server_key key = {
		.addr = *addr, .zone = zone, .port = rte_be_to_cpu_16(port), .proto = proto
	};

	return chainmap_find(&by_key, &key) != SLOT_NONE;
}
