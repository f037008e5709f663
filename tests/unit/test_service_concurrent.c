/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers choose backends while services come, change and go. A backend's address tells whose it is, so that a slot that was reused
 * under a reader shows; a freed table shows in the sanitizer build.
 */
#include <pthread.h>
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

#define N_SERVICES 8u
#define N_BACKENDS 12u
#define N_CHANGES 30000u
#define N_READERS 2u

static _Atomic bool is_over;

struct reader {
	pthread_t thread;
	unsigned int id;
	uint64_t n_hits, n_wrong;
};

static uint32_t next(uint32_t *rnd_state)
{
	*rnd_state = *rnd_state * 1664525 + 1013904223;
	return *rnd_state >> 8;
}

static struct ip_addr vip_of(uint32_t service)
{
	return ip_from_v4(rte_cpu_to_be_32(0x0a600000 + service));
}

static struct ip_addr backend_addr_of(uint32_t service, uint32_t n)
{
	return ip_from_v4(rte_cpu_to_be_32(0x0af40000 + (service << 8) + n));
}

static void *read_all_the_time(void *arg)
{
	struct reader *r = arg;
	uint32_t rnd_state = r->id;

	rcu_reader_register(r->id);
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		uint32_t n = next(&rnd_state) % N_SERVICES, b;
		struct ip_addr src = backend_addr_of(99, next(&rnd_state) % 256), dst = vip_of(n);
		struct service_pick pick = { .src = &src,
			.dst = &dst,
			.sport = (rte_be16_t)next(&rnd_state),
			.proto = IPPROTO_TCP,
			.is_local_only = next(&rnd_state) % 2 };
		struct service_hit hit;

		service_lookup(0, &dst, IPPROTO_TCP, 80, false, &hit);
		if (hit.service != SERVICE_NONE) {
			b = service_pick(hit.service, &pick);
			if (b != BACKEND_NONE) {
				r->n_hits++;
				r->n_wrong += backend_at(b)->addr.b[14] != n ||
					backend_at(b)->service != hit.service;
			}
			service_source_allowed(hit.service, &src);
			src = backend_addr_of(n, 3);
			b = service_backend_find(hit.service, &src, RTE_BE16(80));
			r->n_wrong += b != BACKEND_NONE && !ip_eq(&backend_at(b)->addr, &src);
		}
		rcu_quiescent(r->id);
	}
	rcu_reader_unregister(r->id);
	return NULL;
}

static void change(uint32_t n, uint32_t *rnd_state)
{
	struct backend_config backends[N_BACKENDS];
	struct frontend_config f = frontend(FRONTEND_CLUSTER, "10.96.0.0", 80, 80);
	char name[16];
	struct service_config cfg = { .name = name,
		.algorithm = (enum service_algorithm)(next(rnd_state) % SERVICE_ALGORITHM_N),
		.affinity_s = next(rnd_state) % 2,
		.frontends = &f,
		.n_frontends = 1,
		.backends = backends };
	uint32_t idx;

	snprintf(name, sizeof(name), "service-%u", n);
	idx = service_by_name(name);
	if (idx != SERVICE_NONE && next(rnd_state) % 4 == 0) {
		service_del(idx);
		return;
	}
	f.addr = vip_of(n);
	for (uint32_t i = 0; i < N_BACKENDS; i++)
		if (next(rnd_state) % 2 == 0)
			backends[cfg.n_backends++] = (struct backend_config){
				.addr = backend_addr_of(n, i),
				.port = 80,
				.weight = 1 + next(rnd_state) % 3,
				.flags = READY | (next(rnd_state) % 2 ? BACKEND_F_LOCAL : 0)
			};
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
}

static void test_service_readers_never_meet_another_services_backend(void **state)
{
	struct reader readers[N_READERS];
	uint32_t rnd_state = 7;

	(void)state;
	for (unsigned int i = 0; i < N_READERS; i++) {
		readers[i] = (struct reader){ .id = i };
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]),
			0);
	}
	for (unsigned int i = 0; i < N_CHANGES; i++) {
		change(next(&rnd_state) % N_SERVICES, &rnd_state);
		gen_publish();
		rcu_poll();
	}
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned int i = 0; i < N_READERS; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		assert_int_equal(readers[i].n_wrong, 0);
		assert_true(readers[i].n_hits > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_readers_never_meet_another_services_backend),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
