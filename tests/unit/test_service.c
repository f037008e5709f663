/* SPDX-License-Identifier: BSD-3-Clause */
/* Services: look-ups, changes by difference, generations, selection, affinity, errors that change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "tests/unit/service_setup.h"
#include "tests/unit/service_util.h"

/* 0: looked up nothing. */
static uint32_t lookup(const char *addr, uint16_t port, bool is_node_addr)
{
	struct ip_addr a = ip(addr);
	struct service_hit hit;

	service_lookup(0, &a, IPPROTO_TCP, port, is_node_addr, &hit);
	return hit.service;
}

static bool is_vip(const char *addr, uint16_t port)
{
	struct ip_addr a = ip(addr);
	struct service_hit hit;

	service_lookup(0, &a, IPPROTO_TCP, port, false, &hit);
	return hit.is_vip;
}

static void test_service_frontend_is_found_by_zone_address_protocol_and_port(void **state)
{
	struct service_config cfg = simple("web", "10.96.0.1", 80);
	struct frontend_config f = frontend(FRONTEND_EXTERNAL, "2001:db8::1", 443, 443);
	struct ip_addr addr = ip("2001:db8::1");
	struct service_hit hit;
	uint32_t idx;

	(void)state;
	f.target_port = 8443;
	cfg.frontends = &f;
	cfg.zone = 3;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	service_lookup(3, &addr, IPPROTO_TCP, 443, false, &hit);
	assert_int_equal(hit.service, idx);
	assert_int_equal(hit.kind, FRONTEND_EXTERNAL);
	assert_int_equal(hit.target_port, RTE_BE16(8443));
	service_lookup(0, &addr, IPPROTO_TCP, 443, false, &hit);
	assert_true(hit.service == SERVICE_NONE && !hit.is_vip);
	service_lookup(3, &addr, IPPROTO_UDP, 443, false, &hit);
	assert_true(hit.service == SERVICE_NONE && hit.is_vip);
	service_lookup(3, &addr, IPPROTO_TCP, 444, false, &hit);
	assert_true(hit.service == SERVICE_NONE && hit.is_vip);
}

static void test_service_node_port_is_found_on_node_addresses_only(void **state)
{
	struct service_config cfg = simple("web", NULL, 30080);
	uint32_t idx;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	assert_int_equal(lookup("192.0.2.1", 30080, true), idx);
	assert_int_equal(lookup("2001:db8::1", 30080, true), idx);
	assert_int_equal(lookup("192.0.2.1", 30080, false), SERVICE_NONE);
	assert_int_equal(lookup("192.0.2.1", 30081, true), SERVICE_NONE);
	assert_false(is_vip("192.0.2.1", 30081));
}

static void test_service_address_goes_before_any_node_address(void **state)
{
	struct service_config any = simple("any", NULL, 8080),
			      own = simple("own", "192.0.2.1", 8080);
	struct frontend_config f = frontend(FRONTEND_HOST_PORT, "192.0.2.1", 8000, 8999);
	uint32_t any_idx, own_idx;

	(void)state;
	own.frontends = &f;
	assert_int_equal(service_set(&any, &any_idx, NULL), 0);
	assert_int_equal(service_set(&own, &own_idx, NULL), 0);
	assert_int_equal(lookup("192.0.2.1", 8080, true), own_idx);
	assert_int_equal(lookup("192.0.2.2", 8080, true), any_idx);
	/* a host port's address is the node's own: other ports of it are not refused */
	assert_false(is_vip("192.0.2.1", 9000));
}

static void test_service_range_covers_exactly_its_ports(void **state)
{
	static const uint16_t ranges[][2] = { { 1, 65535 }, { 1000, 1999 }, { 7, 7 }, { 80, 81 },
		{ 32768, 65535 }, { 1, 2 } };
	struct ip_addr addr = ip("10.96.0.9");

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(ranges); i++) {
		struct service_config cfg = simple("range", "10.96.0.9", 1);
		struct frontend_config f = frontend(
			FRONTEND_CLUSTER, "10.96.0.9", ranges[i][0], ranges[i][1]);
		uint32_t idx;

		cfg.frontends = &f;
		assert_int_equal(service_set(&cfg, &idx, NULL), 0);
		for (uint32_t port = 0; port <= 65535; port++) {
			struct service_hit hit;
			bool is_in = port >= ranges[i][0] && port <= ranges[i][1];

			service_lookup(0, &addr, IPPROTO_TCP, (uint16_t)port, false, &hit);
			assert_int_equal(hit.service, is_in ? idx : SERVICE_NONE);
			assert_int_equal(hit.is_vip, !is_in);
		}
	}
}

static void test_service_overlap_names_the_frontend_and_changes_nothing(void **state)
{
	static const uint16_t taken[][2] = { { 80, 80 }, { 1000, 1999 } };
	static const uint16_t clashes[][2] = { { 80, 80 }, { 1, 65535 }, { 79, 81 }, { 1500, 1500 },
		{ 999, 1000 }, { 1999, 3000 }, { 1024, 1031 }, { 512, 1023 } };
	static const uint16_t fits[][2] = { { 81, 999 }, { 2000, 2000 }, { 1, 79 } };
	struct service_config a = simple("a", "10.96.0.1", 80), b = simple("b", "10.96.0.2", 80);
	struct frontend_config fa[2], fb[3];
	uint32_t a_idx, b_idx;
	unsigned int at;

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		fa[i] = frontend(FRONTEND_CLUSTER, "10.96.0.1", taken[i][0], taken[i][1]);
	a.frontends = fa;
	a.n_frontends = 2;
	assert_int_equal(service_set(&a, &a_idx, &at), 0);
	fb[0] = frontend(FRONTEND_CLUSTER, "10.96.0.2", 80, 80);
	b.frontends = fb;
	b.n_frontends = 2;
	for (unsigned int i = 0; i < RTE_DIM(clashes); i++) {
		fb[1] = frontend(FRONTEND_EXTERNAL, "10.96.0.1", clashes[i][0], clashes[i][1]);
		at = 77;
		assert_int_equal(service_set(&b, &b_idx, &at), -EEXIST);
		assert_int_equal(at, 1);
		assert_int_equal(service_by_name("b"), SERVICE_NONE);
		assert_int_equal(lookup("10.96.0.2", 80, false), SERVICE_NONE);
		assert_false(is_vip("10.96.0.2", 80));
	}
	for (unsigned int i = 0; i < RTE_DIM(fits); i++) {
		fb[1] = frontend(FRONTEND_EXTERNAL, "10.96.0.1", fits[i][0], fits[i][1]);
		assert_int_equal(service_set(&b, &b_idx, &at), 0);
		assert_int_equal(lookup("10.96.0.1", fits[i][1], false), b_idx);
		assert_int_equal(lookup("10.96.0.1", 80, false), a_idx);
	}
	/* within one list too */
	fb[2] = frontend(FRONTEND_CLUSTER, "10.96.0.2", 1, 100);
	b.n_frontends = 3;
	assert_int_equal(service_set(&b, &b_idx, &at), -EEXIST);
	assert_int_equal(at, 2);
}

static void test_service_changed_frontends_replace_the_old(void **state)
{
	struct service_config cfg = simple("a", "10.96.0.1", 80);
	struct frontend_config f = frontend(FRONTEND_CLUSTER, "10.96.0.1", 1000, 1010), out[2];
	uint32_t idx, same;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	cfg.frontends = &f;
	assert_int_equal(service_set(&cfg, &same, NULL), 0);
	assert_int_equal(same, idx);
	assert_int_equal(lookup("10.96.0.1", 80, false), SERVICE_NONE);
	assert_int_equal(lookup("10.96.0.1", 1010, false), idx);
	f.port_end = 1020; /* other blocks, some the same */
	assert_int_equal(service_set(&cfg, &same, NULL), 0);
	assert_int_equal(lookup("10.96.0.1", 1000, false), idx);
	assert_int_equal(lookup("10.96.0.1", 1020, false), idx);
	assert_int_equal(service_frontends(idx, out, 2), 1);
	assert_int_equal(out[0].port_end, 1020);
	assert_true(is_vip("10.96.0.1", 80));
	f.kind = FRONTEND_HOST_PORT; /* in place */
	assert_int_equal(service_set(&cfg, &same, NULL), 0);
	assert_int_equal(lookup("10.96.0.1", 1020, false), idx);
	assert_false(is_vip("10.96.0.1", 80));
	cfg.n_frontends = 0;
	assert_int_equal(service_set(&cfg, &same, NULL), 0);
	assert_int_equal(lookup("10.96.0.1", 1020, false), SERVICE_NONE);
}

static void test_service_bad_configurations_are_refused(void **state)
{
	struct service_config good = simple("a", "10.96.0.1", 80), bad;
	struct frontend_config f = good.frontends[0];
	struct backend_config b[2];
	char long_name[SERVICE_NAME_LEN + 1];
	uint32_t idx;

	(void)state;
	assert_int_equal(service_set(&good, &idx, NULL), 0);
#define refused(field, value)                                                                      \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.field = value;                                                                 \
		assert_int_equal(service_set(&bad, &idx, NULL), -EINVAL);                          \
	} while (0)
	memset(long_name, 'x', sizeof(long_name));
	long_name[SERVICE_NAME_LEN] = '\0';
	refused(name, "");
	refused(name, long_name);
	refused(zone, 1);
	refused(algorithm, SERVICE_ALGORITHM_N);
	refused(n_frontends, SERVICE_FRONTENDS_MAX + 1);
	refused(n_backends, SERVICE_BACKENDS_MAX + 1);
	f.port_end = 79;
	refused(frontends, &f);
	f = good.frontends[0];
	f.port = f.port_end = 0;
	refused(frontends, &f);
	f = good.frontends[0];
	f.has_addr = false;
	refused(frontends, &f);
	f = good.frontends[0];
	f.addr = ip("0.0.0.0");
	refused(frontends, &f);
	b[0] = b[1] = good.backends[0];
	bad = good;
	bad.backends = b;
	bad.n_backends = 2;
	assert_int_equal(service_set(&bad, &idx, NULL), -EINVAL);
	b[1].addr = ip("::");
	assert_int_equal(service_set(&bad, &idx, NULL), -EINVAL);
#undef refused
	assert_int_equal(lookup("10.96.0.1", 80, false), service_by_name("a"));
	assert_int_equal(service_slots.n_used, 1);
	assert_int_equal(backend_slots.n_used, good.n_backends);
}

static void test_service_source_ranges_admit_members_of_any_set(void **state)
{
	struct ip_prefix near = { .addr = ip("10.1.0.0"), .len = 16 },
			 far = { .addr = ip("2001:db8::"), .len = 32 };
	uint32_t sets[2] = { ipset_intern(0, &near, NULL, 0), ipset_intern(0, &far, NULL, 0) },
		 out[2];
	struct service_config cfg = simple("a", "10.96.0.1", 80);
	struct ip_addr in4 = ip("10.1.2.3"), in6 = ip("2001:db8::9"), outside = ip("10.2.0.1");
	uint32_t idx;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	assert_true(service_source_allowed(idx, &outside));
	cfg.source_sets = sets;
	cfg.n_source_sets = 2;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	/* the service's own references keep them */
	ipset_put(sets[0]);
	ipset_put(sets[1]);
	assert_true(service_source_allowed(idx, &in4) && service_source_allowed(idx, &in6));
	assert_false(service_source_allowed(idx, &outside));
	assert_int_equal(service_source_sets(idx, out, 2), 2);
	assert_memory_equal(out, sets, sizeof(out));
	cfg.n_source_sets = 1;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	assert_true(service_source_allowed(idx, &in4));
	assert_false(service_source_allowed(idx, &in6));
	service_del(idx);
}

/* --- backends --- */

static void test_service_unchanged_backends_keep_slot_and_generation(void **state)
{
	struct backend_config b[] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY), backend("10.244.0.3", 80, READY) };
	struct service_config cfg = with_backends("a", b, 3);
	uint32_t idx, first, second, third, fourth, epoch;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	first = backend_of(idx, &b[0]);
	second = backend_of(idx, &b[1]);
	third = backend_of(idx, &b[2]);
	gen_publish();
	epoch = gen_now();
	b[1].weight = 5;
	b[1].flags = BACKEND_F_SERVING | BACKEND_F_TERMINATING; /* drains: goes on */
	b[2] = backend("10.244.0.4", 80, READY);
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	gen_publish();
	fourth = backend_of(idx, &b[2]);
	assert_int_equal(backend_of(idx, &b[0]), first);
	assert_int_equal(backend_of(idx, &b[1]), second);
	assert_int_not_equal(fourth, third);
	assert_false(gen_is_newer(&service_at(idx)->gen, epoch));
	assert_false(gen_is_newer(&backend_at(first)->gen, epoch));
	assert_false(gen_is_newer(&backend_at(second)->gen, epoch));
	assert_true(gen_is_newer(&backend_at(third)->gen, epoch));
	assert_true(service_binding_holds(idx, first) && service_binding_holds(idx, second));
	assert_false(service_binding_holds(idx, third));
	assert_int_equal(backend_at(second)->weight, 5);

	epoch = gen_now();
	b[1].flags = 0; /* stops to serve */
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	gen_publish();
	assert_true(gen_is_newer(&backend_at(second)->gen, epoch));
	assert_false(gen_is_newer(&backend_at(fourth)->gen, epoch));
	assert_false(service_binding_holds(idx, second));
}

static void test_service_same_configuration_again_touches_nothing(void **state)
{
	struct service_config cfg = simple("a", "10.96.0.1", 80);
	struct service_block *block;
	uint32_t idx, epoch;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	gen_publish();
	epoch = gen_now();
	block = service_at(idx)->block;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	gen_publish();
	assert_int_equal(gen_now(), epoch);
	assert_ptr_equal(service_at(idx)->block, block);
}

static void test_service_delete_breaks_bindings_also_after_reuse(void **state)
{
	struct service_config cfg = simple("a", "10.96.0.1", 80),
			      next = simple("b", "10.96.0.2", 80);
	struct backend_config other = backend("10.244.9.9", 80, READY);
	uint32_t idx, again, bound, epoch;

	(void)state;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	bound = backend_of(idx, &cfg.backends[0]);
	gen_publish();
	epoch = gen_now();
	service_del(idx);
	gen_publish();
	assert_true(gen_is_newer(&service_at(idx)->gen, epoch));
	assert_true(gen_is_newer(&backend_at(bound)->gen, epoch));
	assert_false(service_binding_holds(idx, bound));
	assert_int_equal(service_by_name("a"), SERVICE_NONE);
	assert_int_equal(lookup("10.96.0.1", 80, false), SERVICE_NONE);
	assert_false(is_vip("10.96.0.1", 80));
	rcu_synchronize();
	next.backends = &other;
	next.n_backends = 1;
	assert_int_equal(service_set(&next, &again, NULL), 0);
	assert_int_equal(again, idx); /* the slot, for another service */
	assert_true(gen_is_newer(&service_at(idx)->gen, epoch));
	assert_int_equal(
		service_backend_find(idx, &cfg.backends[0].addr, RTE_BE16(8080)), BACKEND_NONE);
	assert_int_not_equal(backend_of(idx, &other), BACKEND_NONE);
}

static void test_service_local_ready_counts_for_the_health_check(void **state)
{
	struct backend_config b[] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY | BACKEND_F_LOCAL),
		backend("10.244.0.3", 80, BACKEND_F_SERVING | BACKEND_F_LOCAL),
		backend("10.244.0.4", 80, READY | BACKEND_F_LOCAL) };
	struct service_config cfg = with_backends("a", b, 4);
	uint32_t idx;

	(void)state;
	b[3].weight = 0;
	assert_int_equal(service_set(&cfg, &idx, NULL), 0);
	assert_int_equal(service_n_local_ready(idx), 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_service_frontend_is_found_by_zone_address_protocol_and_port),
		test(test_service_node_port_is_found_on_node_addresses_only),
		test(test_service_address_goes_before_any_node_address),
		test(test_service_range_covers_exactly_its_ports),
		test(test_service_overlap_names_the_frontend_and_changes_nothing),
		test(test_service_changed_frontends_replace_the_old),
		test(test_service_bad_configurations_are_refused),
		test(test_service_source_ranges_admit_members_of_any_set),
		test(test_service_unchanged_backends_keep_slot_and_generation),
		test(test_service_same_configuration_again_touches_nothing),
		test(test_service_delete_breaks_bindings_also_after_reuse),
		test(test_service_local_ready_counts_for_the_health_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
