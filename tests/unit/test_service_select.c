/* SPDX-License-Identifier: BSD-3-Clause */
/* Which backend a connection gets. The expected values of one test were computed by the model in docs/services.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "datapath/base/clock.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset.h"
#include "datapath/table/maglev.h"
#include "tests/unit/service_setup.h"
#include "tests/unit/service_util.h"

static struct ip_addr src, dst;

/* A connection of the n-th client port of 10.244.1.7 to 10.96.0.1:80. */
static struct service_pick conn(unsigned int n)
{
	src = ip("10.244.1.7");
	dst = ip("10.96.0.1");
	return (struct service_pick){ .src = &src,
		.dst = &dst,
		.sport = rte_cpu_to_be_16((uint16_t)(40000 + n)),
		.dport = RTE_BE16(80),
		.proto = IPPROTO_TCP,
		.now_s = clock_s() };
}

static uint32_t set(const struct service_config *cfg)
{
	uint32_t idx;

	assert_int_equal(service_set(cfg, &idx, NULL), 0);
	return idx;
}

/* Last byte of the chosen address; 0: nobody. */
static unsigned int chosen(uint32_t service, const struct service_pick *pick)
{
	uint32_t b = service_pick(service, pick);

	return b == BACKEND_NONE ? 0 : backend_at(b)->addr.b[15];
}

/* Bit n: the backend whose address ends in n is chosen for some connection. */
static uint32_t chosen_mask(uint32_t service, const char *to, bool is_local_only)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < 500; i++) {
		struct service_pick pick = conn(i);

		dst = ip(to);
		pick.is_local_only = is_local_only;
		mask |= 1u << chosen(service, &pick);
	}
	return mask;
}

static uint32_t chosen_4(uint32_t service, bool is_local_only)
{
	return chosen_mask(service, "10.96.0.1", is_local_only);
}

static void test_service_hash_is_the_documented_one(void **state)
{
	struct ip_addr s4 = ip("10.244.1.7"), d4 = ip("10.96.0.10"), s6 = ip("2001:db8::1"),
		       d6 = ip("fd00::10");
	struct service_pick v4 = { .src = &s4,
		.dst = &d4,
		.sport = RTE_BE16(40000),
		.dport = RTE_BE16(53),
		.proto = IPPROTO_UDP };
	struct service_pick v6 = { .src = &s6,
		.dst = &d6,
		.sport = RTE_BE16(40000),
		.dport = RTE_BE16(443),
		.proto = IPPROTO_TCP };

	(void)state;
	assert_true(service_hash(&v4) == 0xfddf72b3b24a4107);
	assert_true(service_hash(&v6) == 0x8839df99deb5aea1);
	service_hash_seed_set(1);
	assert_true(service_hash(&v4) != 0xfddf72b3b24a4107);
	service_hash_seed_set(SERVICE_HASH_SEED);
}

static void test_service_choice_is_the_documented_one(void **state)
{
	static const uint8_t expected[SERVICE_ALGORITHM_N][24] = {
		[SERVICE_MAGLEV] = { 1, 2, 4, 5, 5, 3, 3, 4, 5, 4, 3, 4, 3, 3, 5, 5, 5, 3, 3, 4, 3,
			5, 1, 4 },
		[SERVICE_HASH] = { 1, 5, 2, 1, 2, 4, 5, 3, 5, 3, 4, 3, 3, 4, 4, 4, 1, 5, 3, 5, 5, 3,
			4, 5 },
	};
	static const uint8_t expected_of_client[SERVICE_ALGORITHM_N] = { 5, 3 };
	struct backend_config b[5];
	struct service_config cfg = with_backends("a", b, 5);

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		char text[IP_ADDR_STRLEN];

		snprintf(text, sizeof(text), "10.244.0.%u", i + 1);
		/* in no order */
		b[(3 * i + 2) % 5] = backend(text, 8080, READY);
		b[(3 * i + 2) % 5].weight = (uint16_t)(i + 1);
	}
	for (unsigned int a = 0; a < SERVICE_ALGORITHM_N; a++) {
		struct service_pick pick = conn(7);
		uint32_t idx;

		cfg.algorithm = (enum service_algorithm)a;
		cfg.affinity_s = 10;
		assert_int_equal(chosen(set(&cfg), &pick), expected_of_client[a]);
		cfg.affinity_s = 0;
		idx = set(&cfg);
		for (unsigned int i = 0; i < 24; i++) {
			pick = conn(i);
			assert_int_equal(chosen(idx, &pick), expected[a][i]);
		}
		service_del(idx);
	}
}

static void test_service_backends_order_does_not_matter(void **state)
{
	struct backend_config b[] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY), backend("10.244.0.3", 80, READY),
		backend("10.244.0.3", 81, READY) };
	struct backend_config turned[] = { b[3], b[1], b[0], b[2] };
	struct service_config cfg = with_backends("a", b, 4), other = with_backends("b", turned, 4);
	uint32_t a = set(&cfg), c = set(&other);

	(void)state;
	for (unsigned int i = 0; i < 500; i++) {
		struct service_pick pick = conn(i);
		const struct backend *x = backend_at(service_pick(a, &pick)),
				     *y = backend_at(service_pick(c, &pick));

		assert_true(ip_eq(&x->addr, &y->addr) && x->port == y->port);
	}
}

static void test_service_only_usable_backends_of_the_family_are_chosen(void **state)
{
	struct backend_config b[] = {
		backend("10.244.0.1", 80, READY | BACKEND_F_LOCAL),
		backend("10.244.0.2", 80, READY),
		backend("10.244.0.3", 80, READY | BACKEND_F_LOCAL), /* weight 0 */
		backend("10.244.0.4", 80, DRAINING | BACKEND_F_LOCAL),
		backend("10.244.0.5", 80, BACKEND_F_LOCAL),
		backend("fd00::6", 80, READY),
		backend("fd00::7", 80, READY | BACKEND_F_LOCAL),
	};
	struct service_config cfg = with_backends("a", b, RTE_DIM(b));
	uint32_t idx;

	(void)state;
	b[2].weight = 0;
	idx = set(&cfg);
	assert_int_equal(chosen_4(idx, false), 1 << 1 | 1 << 2);
	assert_int_equal(chosen_4(idx, true), 1 << 1);
	assert_int_equal(chosen_mask(idx, "fd00::1", false), 1 << 6 | 1 << 7);
	assert_int_equal(chosen_mask(idx, "fd00::1", true), 1 << 7);
}

static void test_service_without_ready_backends_falls_back_to_draining_ones(void **state)
{
	struct backend_config b[] = {
		backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, DRAINING | BACKEND_F_LOCAL),
		backend("10.244.0.3", 80, DRAINING),
		backend("10.244.0.4", 80, BACKEND_F_TERMINATING | BACKEND_F_LOCAL),
		backend("10.244.0.5", 80, BACKEND_F_SERVING | BACKEND_F_LOCAL),
	};
	struct service_config cfg = with_backends("a", b, RTE_DIM(b));
	uint32_t idx = set(&cfg);

	(void)state;
	/* by scope: the node itself has no ready one */
	assert_int_equal(chosen_4(idx, false), 1 << 1);
	assert_int_equal(chosen_4(idx, true), 1 << 2);
	b[0].flags = 0;
	idx = set(&cfg);
	assert_int_equal(chosen_4(idx, false), 1 << 2 | 1 << 3);
	b[1].weight = 0;
	b[2].flags = BACKEND_F_SERVING;
	idx = set(&cfg);
	assert_int_equal(chosen_4(idx, false), 1 << 0);
	assert_int_equal(chosen_4(idx, true), 1 << 0);
}

static void test_service_choice_follows_weights(void **state)
{
	struct backend_config b[] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY), backend("10.244.0.3", 80, READY) };
	struct service_config cfg = with_backends("a", b, 3);
	unsigned int n[2][4] = { 0 };

	(void)state;
	b[1].weight = 3;
	b[2].weight = 6;
	for (unsigned int a = 0; a < SERVICE_ALGORITHM_N; a++) {
		uint32_t idx;

		cfg.algorithm = (enum service_algorithm)a;
		idx = set(&cfg);
		for (unsigned int i = 0; i < 20000; i++) {
			struct service_pick pick = conn(i);

			n[a][chosen(idx, &pick)]++;
		}
		assert_in_range(n[a][1], 1800, 2200);
		assert_in_range(n[a][2], 5700, 6300);
		assert_in_range(n[a][3], 11600, 12400);
	}
}

static void test_service_of_many_backends_uses_them_all(void **state)
{
	static struct backend_config b[SERVICE_BACKENDS_MAX];
	static uint32_t n_chosen[1 << 14];
	struct service_config cfg = with_backends("a", b, 0);
	const unsigned int counts[] = { 256, 257, SERVICE_BACKENDS_MAX };

	(void)state;
	for (unsigned int i = 0; i < SERVICE_BACKENDS_MAX; i++) {
		b[i] = backend("10.244.0.0", 80, READY);
		b[i].addr.b[14] = (uint8_t)(i >> 8);
		b[i].addr.b[15] = (uint8_t)i;
	}
	for (unsigned int c = 0; c < RTE_DIM(counts); c++)
		for (unsigned int a = 0; a < SERVICE_ALGORITHM_N; a++) {
			uint32_t idx;

			cfg.n_backends = counts[c];
			cfg.algorithm = (enum service_algorithm)a;
			idx = set(&cfg);
			memset(n_chosen, 0, sizeof(n_chosen));
			for (unsigned int i = 0; i < 40 * counts[c]; i++) {
				struct service_pick pick = conn(i);

				src.w[3] += i >> 16;
				n_chosen[service_pick(idx, &pick)]++;
			}
			for (unsigned int i = 0; i < counts[c]; i++)
				assert_in_range(n_chosen[backend_of(idx, &b[i])], 5, 100);
		}
}

/* --- affinity --- */

static void test_service_affinity_survives_other_backends_and_ends_with_its_own(void **state)
{
	struct backend_config b[3] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY), backend("10.244.0.3", 80, READY) };
	struct service_config cfg = with_backends("a", b, 1);
	struct service_pick pick = conn(0);
	uint32_t idx;

	(void)state;
	cfg.affinity_s = 100;
	idx = set(&cfg);
	assert_int_equal(chosen(idx, &pick), 1);
	cfg.n_backends = 3;
	set(&cfg);
	for (unsigned int i = 0; i < 100; i++) {
		pick = conn(i);
		assert_int_equal(chosen(idx, &pick), 1);
	}
	b[0].flags = DRAINING; /* no new connections */
	set(&cfg);
	assert_int_not_equal(chosen(idx, &pick), 1);
	b[0].flags = READY;
	set(&cfg);
	assert_int_not_equal(chosen(idx, &pick), 1); /* bound to another one since */
}

static void test_service_affinity_peek_changes_nothing(void **state)
{
	struct backend_config b[2] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY) };
	struct service_config one = with_backends("a", b, 1), both = with_backends("a", b, 2);
	struct service_pick pick = conn(0);
	unsigned int by_hash, other;
	uint32_t idx;

	(void)state;
	one.affinity_s = both.affinity_s = 100;
	idx = set(&both);
	pick.is_peek = true;
	by_hash = chosen(idx, &pick);
	other = 3 - by_hash;
	one.backends = &b[other - 1];
	set(&one);
	assert_int_equal(chosen(idx, &pick), other);
	set(&both);
	assert_int_equal(chosen(idx, &pick), by_hash); /* the peek before has not bound it */
	set(&one);
	pick.is_peek = false;
	assert_int_equal(chosen(idx, &pick), other);
	set(&both);
	assert_int_equal(chosen(idx, &pick), other);
	/* time out: peeking does not renew, nor forget */
	pick.is_peek = true;
	pick.now_s += 100;
	assert_int_equal(chosen(idx, &pick), other);
	pick.now_s += 1;
	assert_int_equal(chosen(idx, &pick), by_hash);
}

static void test_service_affinity_respects_the_local_scope(void **state)
{
	struct backend_config b[2] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY | BACKEND_F_LOCAL) };
	struct service_config cfg = with_backends("a", b, 2);
	struct service_pick pick = conn(0);
	uint32_t idx;

	(void)state;
	cfg.affinity_s = 100;
	cfg.n_backends = 1;
	idx = set(&cfg);
	assert_int_equal(chosen(idx, &pick), 1);
	cfg.n_backends = 2;
	set(&cfg);
	pick.is_local_only = true;
	assert_int_equal(chosen(idx, &pick), 2);
	pick.is_local_only = false;
	assert_int_equal(chosen(idx, &pick), 2);
}

static void test_service_affinity_knows_a_reused_slot(void **state)
{
	struct backend_config b[3] = { backend("10.244.0.1", 80, READY),
		backend("10.244.0.2", 80, READY), backend("10.244.0.3", 80, READY) };
	struct service_config cfg = with_backends("a", b, 2);
	struct service_pick pick = conn(0);
	unsigned int first, last;
	uint32_t idx, slot;

	(void)state;
	cfg.affinity_s = 100;
	idx = set(&cfg);
	first = chosen(idx, &pick);
	slot = service_pick(idx, &pick);
	if (first == 1)
		b[0] = b[1];
	cfg.n_backends = 1; /* the client's goes, its slot is free */
	set(&cfg);
	rcu_synchronize();
	b[1] = b[2];
	cfg.n_backends = 2;
	set(&cfg);
	assert_int_equal(backend_of(idx, &b[2]), slot);
	/* by hash again, whichever that is, as if the client had never been there */
	last = chosen(idx, &pick);
	cfg.affinity_s = 0;
	service_del(idx);
	cfg.affinity_s = 100;
	assert_int_equal(chosen(set(&cfg), &pick), last);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_service_hash_is_the_documented_one),
		test(test_service_choice_is_the_documented_one),
		test(test_service_backends_order_does_not_matter),
		test(test_service_only_usable_backends_of_the_family_are_chosen),
		test(test_service_without_ready_backends_falls_back_to_draining_ones),
		test(test_service_choice_follows_weights),
		test(test_service_of_many_backends_uses_them_all),
		test(test_service_affinity_survives_other_backends_and_ends_with_its_own),
		test(test_service_affinity_peek_changes_nothing),
		test(test_service_affinity_respects_the_local_scope),
		test(test_service_affinity_knows_a_reused_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
