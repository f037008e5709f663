/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/affinity.h"
#include "datapath/table/chainmap.h"
#include "datapath/table/ipset.h"
#include "datapath/table/service_impl.h"

#define MEMBER_FLAGS                                                                               \
	(BACKEND_F_READY | BACKEND_F_SERVING | BACKEND_F_TERMINATING | BACKEND_F_LOCAL |           \
		BACKEND_F_AUTO_LOCAL)

struct slots service_slots, backend_slots;
static struct chainmap by_name;
static uint32_t last_serial;
static uint16_t last_backend_serial;

int service_table_init(void)
{
	if (slots_init(&service_slots, RTE_ALIGN_CEIL(sizeof(struct service), 64),
		    SERVICE_TABLE_MAX) < 0 ||
		slots_init(&backend_slots, RTE_ALIGN_CEIL(sizeof(struct backend), 64),
			BACKEND_TABLE_MAX) < 0 ||
		chainmap_init(&by_name, &service_slots, offsetof(struct service, name_link),
			offsetof(struct service, name), SERVICE_NAME_LEN) < 0 ||
		frontend_table_init() < 0 || server_table_init() < 0 ||
		affinity_table_init(AFFINITY_ENTRIES) < 0) {
		service_table_fini();
		return -ENOMEM;
	}
	return 0;
}

static void block_free(void *arg)
{
	struct service_block *block = arg;

	selections_free(block->selections);
	free(block);
}

void service_table_fini(void)
{
	for (uint32_t i = service_next(0); i != SERVICE_NONE; i = service_next(i + 1)) {
		free(service_at(i)->frontends);
		block_free(service_at(i)->block);
	}
	affinity_table_fini();
	server_table_fini();
	frontend_table_fini();
	chainmap_fini(&by_name);
	slots_fini(&backend_slots);
	slots_fini(&service_slots);
}

/* --- backends of one service --- */

static int member_cmp(const void *a, const void *b)
{
	const struct backend_config *x = &((const struct service_member *)a)->cfg;
	const struct backend_config *y = &((const struct service_member *)b)->cfg;

	return service_backend_cmp(&x->addr, x->port, &y->addr, y->port);
}

static void backend_enter(struct service_member *m, uint32_t service)
{
	struct backend *b;

	m->idx = slots_alloc(&backend_slots);
	b = backend_at(m->idx);
	b->service = service;
	b->addr = m->cfg.addr;
	b->port = rte_cpu_to_be_16(m->cfg.port);
	b->serial = ++last_backend_serial;
	atomic_store_explicit(&b->weight, m->cfg.weight, memory_order_relaxed);
	/* release: whose backend it is before that it serves; pairs with the acquire in service_binding_holds() */
	atomic_store_explicit(&b->flags, m->cfg.flags, memory_order_release);
}

static void backend_leave(uint32_t idx)
{
	atomic_fetch_or_explicit(&backend_at(idx)->flags, BACKEND_F_REMOVED, memory_order_relaxed);
	slots_free(&backend_slots, idx);
}

static void backend_change(const struct service_member *m)
{
	struct backend *b = backend_at(m->idx);
	uint8_t old = atomic_load_explicit(&b->flags, memory_order_relaxed);

	atomic_store_explicit(&b->weight, m->cfg.weight, memory_order_relaxed);
	atomic_store_explicit(&b->flags, m->cfg.flags, memory_order_release);
	/* who is bound to it must look again only when it may not go on */
	if ((old & ~m->cfg.flags & BACKEND_F_SERVING) != 0)
		gen_touch(&b->gen);
}

static bool member_is_current(const struct service_member *m)
{
	const struct backend *b = backend_at(m->idx);

	return !m->is_new &&
		atomic_load_explicit(&b->flags, memory_order_relaxed) == m->cfg.flags &&
		atomic_load_explicit(&b->weight, memory_order_relaxed) == m->cfg.weight;
}

/* --- one service_set(): everything that can fail, then the change --- */

struct plan {
	const struct service_config *cfg;
	uint32_t idx;		      /* SERVICE_NONE: to be made */
	struct service_block *before; /* NULL: none */
	struct service_block *after;  /* NULL: stays */
	struct service_member *members;
	struct frontend_config *frontends;
	uint32_t n_new; /* backends */
};

static int plan_members(struct plan *p)
{
	const struct service_config *cfg = p->cfg;

	p->members = calloc(cfg->n_backends + 1, sizeof(*p->members));
	if (p->members == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_backends; i++) {
		struct service_member *m = &p->members[i];

		m->cfg = cfg->backends[i];
		m->cfg.flags &= MEMBER_FLAGS;
		if ((m->cfg.flags & BACKEND_F_READY) != 0)
			m->cfg.flags |= BACKEND_F_SERVING;
		m->idx = service_block_find(p->before, &m->cfg.addr, m->cfg.port);
		m->is_new = m->idx == BACKEND_NONE;
		p->n_new += m->is_new;
		if (ip_is_zero(&m->cfg.addr))
			return -EINVAL;
	}
	qsort(p->members, cfg->n_backends, sizeof(*p->members), member_cmp);
	for (unsigned int i = 1; i < cfg->n_backends; i++)
		if (member_cmp(&p->members[i - 1], &p->members[i]) == 0)
			return -EINVAL;
	return p->n_new <= slots_room(&backend_slots) ? 0 : -ENOSPC;
}

static int plan_frontends(struct plan *p, unsigned int *out_frontend)
{
	const struct service_config *cfg = p->cfg;

	p->frontends = malloc((cfg->n_frontends + 1) * sizeof(*p->frontends));
	if (p->frontends == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < cfg->n_frontends; i++)
		if (frontend_normalise(&cfg->frontends[i], &p->frontends[i]) < 0)
			return -EINVAL;
	return frontends_check(p->idx, cfg->zone, p->frontends, cfg->n_frontends, out_frontend);
}

static int plan_make(struct plan *p, unsigned int *out_frontend)
{
	const struct service_config *cfg = p->cfg;
	size_t name_len = strlen(cfg->name);
	int ret;

	if (name_len == 0 || name_len >= SERVICE_NAME_LEN ||
		cfg->algorithm >= SERVICE_ALGORITHM_N || cfg->n_frontends > SERVICE_FRONTENDS_MAX ||
		cfg->n_backends > SERVICE_BACKENDS_MAX ||
		cfg->n_source_sets > SERVICE_SOURCE_SETS_MAX)
		return -EINVAL;
	p->idx = service_by_name(cfg->name);
	if (p->idx != SERVICE_NONE) {
		if (service_at(p->idx)->zone != cfg->zone)
			return -EINVAL;
		p->before = service_at(p->idx)->block;
	} else if (slots_room(&service_slots) == 0) {
		return -ENOSPC;
	}
	ret = plan_members(p);
	return ret != 0 ? ret : plan_frontends(p, out_frontend);
}

/* Whether backends, source sets and algorithm are what they were. */
static bool plan_keeps_block(const struct plan *p)
{
	const struct service_config *cfg = p->cfg;
	const struct service_block *block = p->before;

	if (block == NULL || block->n_backends != cfg->n_backends ||
		block->n_source_sets != cfg->n_source_sets ||
		service_at(p->idx)->algorithm != cfg->algorithm)
		return false;
	for (unsigned int i = 0; i < cfg->n_backends; i++)
		if (!member_is_current(&p->members[i]))
			return false;
	for (unsigned int i = 0; i < cfg->n_source_sets; i++)
		if (block->ids[block->n_backends + i] != cfg->source_sets[i])
			return false;
	return true;
}

static int plan_block(struct plan *p)
{
	const struct service_config *cfg = p->cfg;
	struct service_block *block = malloc(
		sizeof(*block) + (cfg->n_backends + cfg->n_source_sets) * sizeof(block->ids[0]));

	if (block == NULL)
		return -ENOMEM;
	block->n_backends = cfg->n_backends;
	block->n_source_sets = cfg->n_source_sets;
	for (unsigned int i = 0; i < cfg->n_backends; i++)
		block->ids[i] = p->members[i].idx;
	for (unsigned int i = 0; i < cfg->n_source_sets; i++)
		block->ids[cfg->n_backends + i] = cfg->source_sets[i];
	if (selections_build(p->members, cfg->n_backends, cfg->algorithm, block->selections) < 0) {
		free(block);
		return -ENOMEM;
	}
	p->after = block;
	return 0;
}

/* Slots are taken here: the block names them. They are let go again when there is no memory for it. */
static int plan_alloc(struct plan *p, uint32_t service)
{
	unsigned int n = p->cfg->n_backends;

	if (plan_keeps_block(p))
		return 0;
	for (unsigned int i = 0; i < n; i++)
		if (p->members[i].is_new)
			backend_enter(&p->members[i], service);
	if (plan_block(p) == 0)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		if (p->members[i].is_new)
			backend_leave(p->members[i].idx);
	return -ENOMEM;
}

static void block_publish(struct service *svc, struct service_block *block)
{
	for (unsigned int i = 0; i < 4; i++)
		rcu_assign(svc->selections[i / 2][i % 2],
			block != NULL ? block->selections[i / 2][i % 2] : NULL);
	rcu_assign(svc->block, block);
}

/* A block that is not published any more: backends that are not in `after`, and the source sets, go. */
static void block_retire(struct service_block *block, const struct service_block *after)
{
	for (uint32_t i = 0; i < block->n_backends; i++) {
		const struct backend *b = backend_at(block->ids[i]);

		if (service_block_find(after, &b->addr, rte_be_to_cpu_16(b->port)) == BACKEND_NONE)
			backend_leave(block->ids[i]);
	}
	for (uint32_t i = 0; i < block->n_source_sets; i++)
		ipset_put(block->ids[block->n_backends + i]);
	rcu_defer(block_free, block);
}

static void plan_apply(struct plan *p)
{
	const struct service_config *cfg = p->cfg;
	struct service *svc = service_at(p->idx);

	/* First the new ones, then the old: what is in both is always there. */
	servers_count(svc->zone, p->frontends, cfg->n_frontends,
		p->after != NULL ? p->after : p->before, true);
	servers_count(svc->zone, svc->frontends, svc->n_frontends, p->before, false);
	svc->algorithm = (uint8_t)cfg->algorithm;
	atomic_store_explicit(&svc->flags, cfg->flags, memory_order_relaxed);
	atomic_store_explicit(&svc->affinity_s, cfg->affinity_s, memory_order_relaxed);
	if (p->after != NULL) {
		for (unsigned int i = 0; i < cfg->n_source_sets; i++)
			ipset_get(cfg->source_sets[i]);
		for (unsigned int i = 0; i < cfg->n_backends; i++)
			if (!p->members[i].is_new)
				backend_change(&p->members[i]);
		block_publish(svc, p->after);
		if (p->before != NULL)
			block_retire(p->before, p->after);
	}
	frontends_apply(p->idx, svc->zone, svc->frontends, svc->n_frontends, p->frontends,
		cfg->n_frontends);
	free(svc->frontends);
	svc->frontends = p->frontends;
	svc->n_frontends = (uint16_t)cfg->n_frontends;
}

static uint32_t service_create(const struct service_config *cfg)
{
	uint32_t idx = slots_alloc(&service_slots);
	struct service *svc = service_at(idx);

	svc->serial = ++last_serial;
	svc->zone = cfg->zone;
	memcpy(svc->name, cfg->name, strlen(cfg->name));
	return idx;
}

int service_set(const struct service_config *cfg, uint32_t *out_idx, unsigned int *out_frontend)
{
	struct plan p = { .cfg = cfg };
	int ret = plan_make(&p, out_frontend);
	bool is_new = p.idx == SERVICE_NONE;

	if (ret != 0)
		goto err_plan;
	if (is_new)
		p.idx = service_create(cfg);
	ret = plan_alloc(&p, p.idx);
	if (ret != 0)
		goto err_service;
	if (is_new)
		chainmap_insert(&by_name, p.idx);
	plan_apply(&p);
	free(p.members);
	*out_idx = p.idx;
	return 0;

err_service:
	if (is_new)
		slots_free(&service_slots, p.idx);
err_plan:
	free(p.frontends);
	free(p.members);
	return ret;
}

void service_del(uint32_t idx)
{
	struct service *svc = service_at(idx);
	struct service_block *block = svc->block;

	servers_count(svc->zone, svc->frontends, svc->n_frontends, block, false);
	frontends_apply(idx, svc->zone, svc->frontends, svc->n_frontends, NULL, 0);
	free(svc->frontends);
	svc->frontends = NULL;
	block_publish(svc, NULL);
	block_retire(block, NULL);
	chainmap_remove(&by_name, idx);
	slots_free(&service_slots, idx);
}

uint32_t service_by_name(const char *name)
{
	char key[SERVICE_NAME_LEN] = { 0 };
	size_t len = strlen(name);

	if (len >= SERVICE_NAME_LEN)
		return SERVICE_NONE;
	memcpy(key, name, len);
	return chainmap_find(&by_name, key);
}
