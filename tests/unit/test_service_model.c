/* SPDX-License-Identifier: BSD-3-Clause */
/* Random services and changes against a list of configurations: answers, errors, generations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "tests/unit/service_setup.h"
#include "tests/unit/service_util.h"

#define N_SERVICES 8
#define N_ADDRS 4 /* the first one is "any address of the node" */
#define N_PORTS 40
#define N_ROUNDS 4000

struct model {
	bool is_there;
	uint32_t idx;
	struct service_config cfg;
	struct frontend_config frontends[4];
	struct backend_config backends[6];
};

static struct model models[N_SERVICES];
static const char *const addrs[N_ADDRS] = { NULL, "10.96.0.1", "10.96.0.2", "fd00::1" };
static uint32_t rnd_state = 1;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525 + 1013904223;
	return (rnd_state >> 8) % n;
}

static struct frontend_config random_frontend(void)
{
	const char *addr = addrs[rnd(N_ADDRS)];
	enum frontend_kind kind = addr == NULL ? FRONTEND_NODE_PORT + rnd(2) : rnd(FRONTEND_KIND_N);
	uint16_t port = (uint16_t)(1 + rnd(N_PORTS - 1));
	struct frontend_config f = frontend(kind, addr, port, port);

	if (rnd(3) == 0)
		f.port_end = (uint16_t)(port + rnd(N_PORTS - port));
	f.target_port = (uint16_t)rnd(3);
	f.proto = rnd(4) == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	return f;
}

static struct backend_config random_backend(unsigned int n)
{
	static const uint8_t flags[] = { READY, READY, READY, DRAINING, BACKEND_F_SERVING, 0 };
	char text[IP_ADDR_STRLEN];
	struct backend_config b;

	snprintf(text, sizeof(text), n % 3 == 0 ? "fd00:244::%u" : "10.244.0.%u", n + 1);
	b = backend(text, 80, flags[rnd(RTE_DIM(flags))]);
	if (rnd(3) == 0)
		b.flags |= BACKEND_F_LOCAL;
	b.weight = (uint16_t)rnd(4);
	return b;
}

/* A change of what is there, or all anew. */
static struct model random_change(unsigned int n)
{
	static char names[N_SERVICES][16];
	struct model m = models[n];

	snprintf(names[n], sizeof(names[n]), "service-%u", n);
	m.cfg.name = names[n];
	m.cfg.algorithm = (enum service_algorithm)rnd(SERVICE_ALGORITHM_N);
	if (!m.is_there || rnd(2) == 0) {
		m.cfg.n_frontends = rnd(RTE_DIM(m.frontends) + 1);
		for (unsigned int i = 0; i < m.cfg.n_frontends; i++)
			m.frontends[i] = random_frontend();
	}
	if (!m.is_there || rnd(2) == 0) {
		m.cfg.n_backends = 0;
		for (unsigned int i = 0; i < RTE_DIM(m.backends); i++)
			if (rnd(3) != 0)
				m.backends[m.cfg.n_backends++] = random_backend(i);
	}
	return m;
}

static bool overlaps(const struct frontend_config *a, const struct frontend_config *b)
{
	return a->proto == b->proto && ip_eq(&a->addr, &b->addr) && a->port <= b->port_end &&
		b->port <= a->port_end;
}

/* Position of the first frontend that clashes, or n_frontends. */
static unsigned int model_clash(const struct model *m, unsigned int n)
{
	for (unsigned int i = 0; i < m->cfg.n_frontends; i++) {
		for (unsigned int j = 0; j < i; j++)
			if (overlaps(&m->frontends[i], &m->frontends[j]))
				return i;
		for (unsigned int s = 0; s < N_SERVICES; s++)
			for (unsigned int j = 0;
				s != n && models[s].is_there && j < models[s].cfg.n_frontends; j++)
				if (overlaps(&m->frontends[i], &models[s].frontends[j]))
					return i;
	}
	return m->cfg.n_frontends;
}

/* Service that has the frontend, or N_SERVICES. */
static unsigned int model_lookup(
	const char *addr, uint8_t proto, uint16_t port, const struct frontend_config **out)
{
	struct frontend_config wanted = frontend(FRONTEND_CLUSTER, addr, port, port);

	wanted.proto = proto;
	for (unsigned int s = 0; s < N_SERVICES; s++)
		for (unsigned int i = 0; models[s].is_there && i < models[s].cfg.n_frontends; i++)
			if (overlaps(&wanted, &models[s].frontends[i])) {
				*out = &models[s].frontends[i];
				return s;
			}
	return N_SERVICES;
}

static bool model_is_vip(const char *addr)
{
	for (unsigned int s = 0; s < N_SERVICES; s++)
		for (unsigned int i = 0; models[s].is_there && i < models[s].cfg.n_frontends; i++) {
			const struct frontend_config *f = &models[s].frontends[i];
			struct ip_addr a = ip(addr);

			if (f->kind <= FRONTEND_EXTERNAL && ip_eq(&f->addr, &a))
				return true;
		}
	return false;
}

static void lookup_check(const char *addr, uint8_t proto, uint16_t port, bool is_node_addr)
{
	const struct frontend_config *f = NULL;
	unsigned int s = model_lookup(addr, proto, port, &f);
	struct ip_addr a = ip(addr);
	struct service_hit hit;

	if (s == N_SERVICES && is_node_addr)
		s = model_lookup(NULL, proto, port, &f);
	service_lookup(0, &a, proto, port, is_node_addr, &hit);
	if (s == N_SERVICES) {
		assert_int_equal(hit.service, SERVICE_NONE);
		assert_int_equal(hit.is_vip, model_is_vip(addr));
	} else {
		assert_int_equal(hit.service, models[s].idx);
		assert_int_equal(hit.kind, f->kind);
		assert_int_equal(rte_be_to_cpu_16(hit.target_port), f->target_port);
	}
}

static void lookups_check(void)
{
	for (unsigned int a = 1; a < N_ADDRS; a++)
		for (uint16_t port = 1; port <= N_PORTS; port++) {
			bool is_node_addr = rnd(2);

			lookup_check(addrs[a], IPPROTO_TCP, port, is_node_addr);
			lookup_check(addrs[a], IPPROTO_UDP, port, is_node_addr);
		}
}

static bool is_usable(
	const struct backend_config *b, bool is_v6, bool is_local_only, uint8_t needed)
{
	return b->weight > 0 && ip_is_v4(&b->addr) != is_v6 && (b->flags & needed) == needed &&
		(!is_local_only || (b->flags & BACKEND_F_LOCAL) != 0);
}

static void pick_check(const struct model *m, bool is_v6, bool is_local_only)
{
	struct ip_addr src = ip(is_v6 ? "fd00:244::77" : "10.244.0.77"),
		       dst = ip(is_v6 ? "fd00::1" : "10.96.0.1");
	uint8_t needed = DRAINING;
	uint64_t wanted = 0, seen = 0;

	for (unsigned int i = 0; i < m->cfg.n_backends; i++)
		if (is_usable(&m->backends[i], is_v6, is_local_only, BACKEND_F_READY))
			needed = BACKEND_F_READY;
	for (unsigned int i = 0; i < m->cfg.n_backends; i++)
		if (is_usable(&m->backends[i], is_v6, is_local_only, needed))
			wanted |= 1ull << m->backends[i].addr.b[15];
	for (unsigned int i = 0; i < 120; i++) {
		struct service_pick pick = { .src = &src,
			.dst = &dst,
			.sport = rte_cpu_to_be_16((uint16_t)(1024 + i)),
			.proto = IPPROTO_TCP,
			.is_local_only = is_local_only };
		uint32_t b = service_pick(m->idx, &pick);

		if (b == BACKEND_NONE) {
			assert_true(wanted == 0);
			return;
		}
		assert_int_equal(backend_at(b)->service, m->idx);
		seen |= 1ull << backend_at(b)->addr.b[15];
	}
	assert_true(seen == wanted);
}

static const struct backend_config *config_of(const struct model *m, const struct backend *b)
{
	for (unsigned int i = 0; i < m->cfg.n_backends; i++)
		if (ip_eq(&m->backends[i].addr, &b->addr))
			return &m->backends[i];
	return NULL;
}

/* Backends of `before` whose generation moved must be those that went or stopped to serve, and no others. */
static void generations_check(
	const struct model *before, const struct model *now, const uint32_t *ids, uint32_t epoch)
{
	for (unsigned int i = 0; i < before->cfg.n_backends; i++) {
		const struct backend *b = backend_at(ids[i]);
		const struct backend_config *was = config_of(before, b), *is = config_of(now, b);
		bool goes_on = now->is_there && is != NULL && (is->flags & BACKEND_F_SERVING) != 0;
		bool went_on = (was->flags & BACKEND_F_SERVING) != 0;
		bool is_touched = !(now->is_there && is != NULL) || (went_on && !goes_on);

		assert_int_equal(gen_is_newer(&b->gen, epoch), is_touched);
		assert_int_equal(service_binding_holds(before->idx, ids[i]), goes_on);
		if (now->is_there && is != NULL)
			assert_int_equal(backend_of(now->idx, is), ids[i]);
	}
	if (before->is_there)
		assert_int_equal(
			gen_is_newer(&service_at(before->idx)->gen, epoch), !now->is_there);
}

static void change_once(unsigned int n)
{
	struct model before = models[n], now = random_change(n);
	unsigned int clash = model_clash(&now, n), at = 99;
	uint32_t ids[RTE_DIM(before.backends)], epoch = gen_now();
	int ret;

	if (before.is_there)
		assert_int_equal(
			service_backends(before.idx, ids, RTE_DIM(ids)), before.cfg.n_backends);
	else
		before.cfg.n_backends = 0;
	if (before.is_there && rnd(5) == 0) {
		service_del(before.idx);
		models[n].is_there = false;
	} else {
		now.cfg.frontends = now.frontends;
		now.cfg.backends = now.backends;
		ret = service_set(&now.cfg, &now.idx, &at);
		assert_int_equal(ret, clash < now.cfg.n_frontends ? -EEXIST : 0);
		assert_int_equal(at, ret != 0 ? clash : 99);
		now.is_there = true;
		if (ret == 0)
			models[n] = now;
	}
	gen_publish();
	generations_check(&before, &models[n], ids, epoch);
}

static void test_service_random_changes_match_the_model(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < N_ROUNDS; round++) {
		unsigned int n = rnd(N_SERVICES), n_there = 0, n_backends = 0;

		change_once(n);
		for (unsigned int s = 0; s < N_SERVICES; s++) {
			n_there += models[s].is_there;
			n_backends += models[s].is_there ? models[s].cfg.n_backends : 0;
		}
		assert_int_equal(service_slots.n_used, n_there);
		assert_int_equal(backend_slots.n_used, n_backends);
		if (round % 8 == 0)
			lookups_check();
		for (unsigned int i = 0; models[n].is_there && i < 4; i++)
			pick_check(&models[n], i & 1, i & 2);
		rcu_poll();
	}
}

static void test_service_many_services_are_all_found(void **state)
{
	const uint32_t n = 20000;
	struct service_config cfg = simple("", "10.96.0.1", 80);
	struct frontend_config f = cfg.frontends[0];

	(void)state;
	cfg.frontends = &f;
	for (unsigned int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < n; i++) {
			char name[16];
			uint32_t idx;

			snprintf(name, sizeof(name), "many-%u", i);
			cfg.name = name;
			f.addr = ip_from_v4(rte_cpu_to_be_32(0x0b000000 + i));
			assert_int_equal(service_set(&cfg, &idx, NULL), 0);
		}
		for (uint32_t i = 0; i < n; i++) {
			struct ip_addr addr = ip_from_v4(rte_cpu_to_be_32(0x0b000000 + i));
			struct service_hit hit;
			char name[16];

			snprintf(name, sizeof(name), "many-%u", i);
			service_lookup(0, &addr, IPPROTO_TCP, 80, false, &hit);
			assert_int_equal(hit.service, service_by_name(name));
			assert_string_equal(service_name(hit.service), name);
			service_del(hit.service);
		}
		rcu_synchronize();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_random_changes_match_the_model),
		cmocka_unit_test(test_service_many_services_are_all_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
