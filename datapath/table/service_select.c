/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Selection: the tables of a service, and the choice of a backend for a new connection. Both algorithms end in one array, position
 * → backend, so that choosing is a hash, a multiplication and two loads whatever the service looks like.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/hash.h"
#include "datapath/base/rcu.h"
#include "datapath/table/affinity.h"
#include "datapath/table/maglev.h"
#include "datapath/table/service_impl.h"

#define NARROW_MAX 256u /* backends that one byte tells apart */
#define HASH_ENTRIES_MAX 65536u

/* Immutable; replaced as a whole. Behind the backends lie n_positions of uint8_t, or of uint16_t with more than NARROW_MAX backends. */
struct service_selection {
	uint32_t n_backends, n_positions;
	uint8_t needed; /* BACKEND_F_* that every backend of this table had when it was built */
	uint32_t backends[];
};

static uint64_t hash_seed = SERVICE_HASH_SEED;

void service_hash_seed_set(uint64_t seed)
{
	hash_seed = seed;
}

/* --- building: control thread --- */

/* The members that a table chooses from: of one family, with a weight, and, for the local table, on this node. */
struct scope {
	bool is_v6, is_local;
};

static bool scope_has(const struct scope *s, const struct service_member *m)
{
	return m->cfg.weight > 0 && ip_is_v4(&m->cfg.addr) != s->is_v6 &&
		(!s->is_local || (m->cfg.flags & BACKEND_F_LOCAL) != 0);
}

static uint32_t scope_count(
	const struct scope *s, const struct service_member *members, unsigned int n, uint8_t needed)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < n; i++)
		count += scope_has(s, &members[i]) && (members[i].cfg.flags & needed) == needed;
	return count;
}

/* Flags of a usable backend: ready ones, and when there is none those that still serve while they terminate. */
static uint8_t scope_needed(
	const struct scope *s, const struct service_member *members, unsigned int n)
{
	uint8_t needed = BACKEND_F_READY;

	if (scope_count(s, members, n, needed) == 0)
		needed = BACKEND_F_SERVING | BACKEND_F_TERMINATING;
	return needed;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Entries of a backend in a plain hash table: its weight, reduced so that all together are about HASH_ENTRIES_MAX at most. */
struct hash_share {
	uint64_t sum;
	uint32_t divisor;
};

static struct hash_share hash_share_of(const struct maglev_backend *backends, uint32_t n)
{
	struct hash_share share = { 0 };

	for (uint32_t i = 0; i < n; i++) {
		share.sum += backends[i].weight;
		share.divisor = gcd(share.divisor, backends[i].weight);
	}
	return share;
}

static uint32_t hash_entries(const struct hash_share *share, uint16_t weight)
{
	if (share->sum / share->divisor <= HASH_ENTRIES_MAX)
		return weight / share->divisor;
	return RTE_MAX(1u, (uint32_t)((uint64_t)weight * HASH_ENTRIES_MAX / share->sum));
}

static uint32_t hash_size(const struct maglev_backend *backends, uint32_t n)
{
	struct hash_share share = hash_share_of(backends, n);
	uint32_t size = 0;

	for (uint32_t i = 0; i < n; i++)
		size += hash_entries(&share, backends[i].weight);
	return size;
}

static void hash_build(const struct maglev_backend *backends, uint32_t n, uint16_t *out_table)
{
	struct hash_share share = hash_share_of(backends, n);

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = hash_entries(&share, backends[i].weight); k > 0; k--)
			*out_table++ = (uint16_t)i;
}

static struct service_selection *selection_create(
	const uint32_t *ids, uint32_t n_backends, const uint16_t *table, uint32_t n_positions)
{
	size_t width = n_backends <= NARROW_MAX ? sizeof(uint8_t) : sizeof(uint16_t);
	struct service_selection *sel = malloc(
		sizeof(*sel) + n_backends * sizeof(*ids) + n_positions * width);
	uint8_t *narrow;

	if (sel == NULL)
		return NULL;
	*sel = (struct service_selection){ .n_backends = n_backends, .n_positions = n_positions };
	memcpy(sel->backends, ids, n_backends * sizeof(*ids));
	narrow = (uint8_t *)&sel->backends[n_backends];
	if (n_backends > NARROW_MAX)
		memcpy(narrow, table, n_positions * width);
	else
		for (uint32_t i = 0; i < n_positions; i++)
			narrow[i] = (uint8_t)table[i];
	return sel;
}

/* What the builders work on. */
struct scratch {
	uint32_t n;
	uint32_t *ids;
	struct maglev_backend *backends;
};

static int table_build(const struct scratch *s, enum service_algorithm algorithm,
	uint32_t n_positions, uint16_t *out_table)
{
	if (s->n == 1)
		out_table[0] = 0;
	else if (algorithm == SERVICE_HASH)
		hash_build(s->backends, s->n, out_table);
	else
		return maglev_build(s->backends, s->n, n_positions, out_table);
	return 0;
}

/* n_configured sizes the table, so that it keeps its size when backends become ready or not. */
static int selection_from(const struct scratch *s, enum service_algorithm algorithm,
	uint32_t n_configured, struct service_selection **out)
{
	uint32_t n_positions = s->n == 1    ? 1
		: algorithm == SERVICE_HASH ? hash_size(s->backends, s->n)
					    : maglev_size(n_configured);
	uint16_t *table = malloc(n_positions * sizeof(*table));

	if (table != NULL && table_build(s, algorithm, n_positions, table) == 0)
		*out = selection_create(s->ids, s->n, table, n_positions);
	free(table);
	return *out != NULL ? 0 : -ENOMEM;
}

static int selection_build(const struct scope *scope, const struct service_member *members,
	unsigned int n, enum service_algorithm algorithm, struct service_selection **out)
{
	uint8_t needed = scope_needed(scope, members, n);
	uint32_t n_usable = scope_count(scope, members, n, needed);
	struct scratch s = { 0 };
	int ret = -ENOMEM;

	if (n_usable == 0)
		return 0;
	s.ids = malloc(n_usable * sizeof(*s.ids));
	s.backends = malloc(n_usable * sizeof(*s.backends));
	if (s.ids == NULL || s.backends == NULL)
		goto out;
	for (unsigned int i = 0; i < n; i++) {
		const struct service_member *m = &members[i];

		if (!scope_has(scope, m) || (m->cfg.flags & needed) != needed)
			continue;
		maglev_backend_init(&s.backends[s.n], &m->cfg.addr, rte_cpu_to_be_16(m->cfg.port),
			m->cfg.weight);
		s.ids[s.n++] = m->idx;
	}
	ret = selection_from(&s, algorithm, scope_count(scope, members, n, 0), out);
	if (ret == 0)
		(*out)->needed = needed | (scope->is_local ? BACKEND_F_LOCAL : 0);
out:
	free(s.backends);
	free(s.ids);
	return ret;
}

int selections_build(const struct service_member *members, unsigned int n,
	enum service_algorithm algorithm, struct service_selection *out[2][2])
{
	memset(out, 0, sizeof(struct service_selection *[2][2]));
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct scope all = { .is_v6 = is_v6 }, local = { .is_v6 = is_v6, .is_local = true };

		if (selection_build(&all, members, n, algorithm, &out[is_v6][0]) < 0)
			goto err;
		if (scope_count(&local, members, n, 0) == scope_count(&all, members, n, 0))
			out[is_v6][1] = out[is_v6][0];
		else if (selection_build(&local, members, n, algorithm, &out[is_v6][1]) < 0)
			goto err;
	}
	return 0;
err:
	selections_free(out);
	return -ENOMEM;
}

void selections_free(struct service_selection *selections[2][2])
{
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		if (selections[is_v6][1] != selections[is_v6][0])
			free(selections[is_v6][1]);
		free(selections[is_v6][0]);
	}
}

/* --- choosing: any thread --- */

uint64_t service_hash(const struct service_pick *pick)
{
	uint64_t ports = (uint64_t)rte_be_to_cpu_16(pick->sport) << 32 |
		(uint64_t)rte_be_to_cpu_16(pick->dport) << 16 | pick->proto;
	uint64_t hash = hash_addr(hash_addr(hash_seed, pick->src), pick->dst);

	return hash_word(hash_word(hash, ports), SERVICE_HASH_SEED);
}

static uint32_t selection_pick(const struct service_selection *sel, uint64_t hash)
{
	const void *table = &sel->backends[sel->n_backends];
	uint32_t pos = hash_scale(hash, sel->n_positions);

	return sel->backends[sel->n_backends <= NARROW_MAX ? ((const uint8_t *)table)[pos]
							   : ((const uint16_t *)table)[pos]];
}

/* Whether the backend that a client is bound to could still be chosen from this table. */
static bool binding_is_usable(
	const struct service_selection *sel, uint32_t service, const struct affinity_binding *bound)
{
	const struct backend *b;
	uint8_t flags;

	if (bound->backend == BACKEND_NONE)
		return false;
	b = backend_at(bound->backend);
	/* acquire: pairs with the release in backend_enter() */
	flags = atomic_load_explicit(&b->flags, memory_order_acquire);
	return (flags & (sel->needed | BACKEND_F_REMOVED)) == sel->needed &&
		b->service == service && b->serial == bound->backend_serial &&
		atomic_load_explicit(&b->weight, memory_order_relaxed) > 0;
}

/* By the client's address alone, so that nodes agree, and a client that is forgotten comes back to the same backend. */
static uint64_t client_hash(const struct service_pick *pick)
{
	static const struct ip_addr any;
	struct service_pick client = { .src = pick->src, .dst = &any };

	return service_hash(&client);
}

static uint32_t pick_for_client(const struct service_selection *sel, uint32_t service,
	uint32_t timeout_s, const struct service_pick *pick)
{
	const struct affinity_client client = {
		.service_serial = service_at(service)->serial,
		.timeout_s = timeout_s,
		.now_s = pick->now_s,
		.addr = pick->src,
	};
	struct affinity_binding seen = affinity_find(&client), bound;
	bool is_usable = binding_is_usable(sel, service, &seen);
	uint32_t chosen = is_usable ? seen.backend : selection_pick(sel, client_hash(pick));

	if (pick->is_peek || (is_usable && seen.last_s == pick->now_s))
		return chosen;
	bound = affinity_bind(&client, &seen, chosen, backend_at(chosen)->serial);
	return binding_is_usable(sel, service, &bound) ? bound.backend : chosen;
}

uint32_t service_pick(uint32_t service, const struct service_pick *pick)
{
	const struct service *svc = service_at(service);
	const struct service_selection *sel = rcu_deref(
		svc->selections[!ip_is_v4(pick->dst)][pick->is_local_only]);
	uint32_t timeout_s = atomic_load_explicit(&svc->affinity_s, memory_order_relaxed);

	if (sel == NULL)
		return BACKEND_NONE;
	if (timeout_s == 0)
		return selection_pick(sel, service_hash(pick));
	return pick_for_client(sel, service, timeout_s, pick);
}
