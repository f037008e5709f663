/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of addresses: against members looked at one by one; sharing, generations, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/ipset_node.h"
#include "tests/unit/policy_model.h"

#define N_SETS 60
#define N_ZONES 3

static const uint16_t zones[N_ZONES] = { 0, 1, 65535 };
static struct model_set sets[N_SETS];

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static struct ip_addr addr_of(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return a;
}

static bool contains(uint32_t set, const char *text)
{
	struct ip_addr a = addr_of(text);

	return ipset_contains(set, &a);
}

static void add(uint32_t set, const char *text, bool is_except)
{
	struct ip_prefix p = prefix_of(text);

	assert_int_equal(ipset_member_add(set, &p, is_except), 0);
}

static void assert_nothing_left(void)
{
	rcu_synchronize();
	assert_int_equal(ipset_slots.n_used, 0);
	assert_int_equal(ipset_member_slots.n_used, 0);
	assert_int_equal(ipset_prefix_slots.n_used, 0);
}

static void set_change(struct model_set *s)
{
	struct ip_prefix p = model_prefix();
	int at = model_set_find(s, &p);
	bool is_except = model_rnd(3) == 0;

	if (at >= 0) {
		assert_int_equal(ipset_member_add(s->idx, &p, is_except), -EEXIST);
		assert_int_equal(ipset_member_del(s->idx, &p), 0);
		s->n--;
		s->prefix[at] = s->prefix[s->n];
		s->is_except[at] = s->is_except[s->n];
		assert_int_equal(ipset_member_del(s->idx, &p), -ENOENT);
	} else if (s->n < MODEL_MEMBERS) {
		assert_int_equal(ipset_member_add(s->idx, &p, is_except), 0);
		s->is_except[s->n] = is_except;
		s->prefix[s->n++] = p;
	}
	assert_int_equal(ipset_n_members(s->idx), s->n);
}

static void set_toggle(struct model_set *s)
{
	if (s->idx != IPSET_NONE && model_rnd(10) == 0) {
		ipset_put(s->idx);
		s->idx = IPSET_NONE;
	} else if (s->idx == IPSET_NONE) {
		s->n = 0;
		s->zone = zones[model_rnd(N_ZONES)];
		s->idx = ipset_create(s->zone);
		assert_int_not_equal(s->idx, IPSET_NONE);
	} else {
		set_change(s);
	}
}

struct found {
	unsigned int n[N_SETS];
};

static bool count(void *arg, uint32_t set)
{
	struct found *found = arg;

	found->n[model_set_at(sets, N_SETS, set) - sets]++;
	return true;
}

static void check_addr(void)
{
	struct ip_addr a = model_addr();

	for (unsigned int z = 0; z < N_ZONES; z++) {
		struct found found = { 0 };

		ipset_foreach(zones[z], &a, count, &found);
		for (unsigned int i = 0; i < N_SETS; i++) {
			bool is_in = sets[i].idx != IPSET_NONE && model_contains(&sets[i], &a);

			if (sets[i].idx != IPSET_NONE)
				assert_int_equal(ipset_contains(sets[i].idx, &a), is_in);
			assert_int_equal(found.n[i], is_in && sets[i].zone == zones[z]);
		}
	}
}

static void check_listing(const struct model_set *s)
{
	uint64_t cursor = 0;
	struct ip_prefix p;
	unsigned int n = 0;
	bool is_except;

	while (ipset_member_next(s->idx, &cursor, &p, &is_except)) {
		int at = model_set_find(s, &p);

		assert_true(at >= 0);
		assert_int_equal(is_except, s->is_except[at]);
		n++;
	}
	assert_int_equal(n, s->n);
}

static void test_ipset_random_changes_match_the_model(void **state)
{
	(void)state;
	srand(1);
	for (unsigned int i = 0; i < N_SETS; i++)
		sets[i].idx = IPSET_NONE;
	for (unsigned int i = 0; i < 6000; i++) {
		struct model_set *s = &sets[model_rnd(N_SETS)];

		set_toggle(s);
		check_addr();
		if (s->idx != IPSET_NONE)
			check_listing(s);
		rcu_poll();
	}
	for (unsigned int i = 0; i < N_SETS; i++)
		ipset_put(sets[i].idx);
	assert_nothing_left();
}

static void test_ipset_longest_member_of_the_set_decides(void **state)
{
	uint32_t set = ipset_create(0), other = ipset_create(0);

	(void)state;
	add(set, "0.0.0.0/0", false);
	add(set, "10.0.0.0/8", true);
	add(set, "10.1.0.0/16", false);
	add(set, "10.1.1.1/32", true);
	add(other, "10.0.0.0/7", true);
	add(other, "10.1.1.1/32", false);
	assert_true(contains(set, "1.1.1.1"));
	assert_false(contains(set, "10.2.0.1"));
	assert_true(contains(set, "10.1.1.2"));
	assert_false(contains(set, "10.1.1.1"));
	assert_false(contains(set, "::1"));
	assert_false(contains(other, "10.2.0.1"));
	assert_true(contains(other, "10.1.1.1"));
	ipset_put(set);
	ipset_put(other);
	assert_nothing_left();
}

static void test_ipset_families_do_not_cover_each_other(void **state)
{
	uint32_t v4 = ipset_create(0), v6 = ipset_create(0);

	(void)state;
	add(v4, "0.0.0.0/0", false);
	add(v6, "::/0", false);
	assert_true(contains(v4, "192.0.2.1"));
	assert_false(contains(v4, "2001:db8::1"));
	assert_false(contains(v6, "192.0.2.1"));
	assert_true(contains(v6, "2001:db8::1"));
	ipset_put(v4);
	ipset_put(v6);
	assert_nothing_left();
}

static void test_ipset_intern_shares_equal_content_only(void **state)
{
	struct ip_prefix all = prefix_of("0.0.0.0/0"), ten = prefix_of("10.0.0.0/8");
	struct ip_prefix except[] = { ten, prefix_of("192.168.0.0/16"), ten };
	struct ip_prefix reversed[] = { except[1], ten };
	uint32_t a = ipset_intern(0, &all, except, 3), plain = ipset_intern(0, &all, NULL, 0);
	uint32_t elsewhere = ipset_intern(1, &all, NULL, 0);

	(void)state;
	assert_int_equal(ipset_intern(0, &all, reversed, 2), a);
	assert_int_equal(ipset_n_members(a), 3);
	assert_int_not_equal(plain, a);
	assert_int_not_equal(elsewhere, plain);
	assert_true(contains(plain, "10.1.1.1"));
	assert_false(contains(a, "10.1.1.1"));
	ipset_put(plain);
	ipset_put(elsewhere);
	ipset_put(a);
	assert_true(contains(a, "8.8.8.8"));
	ipset_put(a);
	assert_nothing_left();
}

static void test_ipset_full_tables_leave_the_set_unchanged(void **state)
{
	struct slots *const tables[] = { &ipset_member_slots, &ipset_prefix_slots };
	uint32_t set = ipset_create(0);
	struct ip_prefix p = prefix_of("10.0.0.0/8");

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(tables); i++) {
		uint32_t max = tables[i]->max, n_free = tables[i]->n_free;

		tables[i]->max = tables[i]->n_touched;
		tables[i]->n_free = 0;
		assert_int_equal(ipset_member_add(set, &p, false), -ENOSPC);
		assert_int_equal(ipset_intern(0, &p, NULL, 0), IPSET_NONE);
		tables[i]->max = max;
		tables[i]->n_free = n_free;
		assert_int_equal(ipset_n_members(set), 0);
		assert_false(contains(set, "10.1.1.1"));
		assert_int_equal(ipset_slots.n_used, 1);
	}
	assert_int_equal(ipset_member_add(set, &p, false), 0);
	ipset_put(set);
	assert_nothing_left();
}

static void test_ipset_create_fails_when_full(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (ipset_create((uint16_t)n) != IPSET_NONE)
		n++;
	assert_int_equal(n, IPSET_MAX);
	for (uint32_t i = 0; i < IPSET_MAX; i++)
		ipset_put(i);
	assert_nothing_left();
}

static bool is_touched(const char *addr, uint32_t epoch)
{
	struct ip_addr a = addr_of(addr);

	return gen_is_newer(ipset_addr_gen(&a), epoch);
}

static void test_ipset_host_members_touch_their_address_only(void **state)
{
	struct ip_prefix host = prefix_of("10.1.1.1");
	uint32_t set = ipset_create(0), epoch;

	(void)state;
	gen_publish();
	epoch = gen_now();
	add(set, "10.1.1.0/24", false);
	assert_false(is_touched("10.1.1.0", epoch));
	add(set, "10.1.1.1/32", false);
	assert_true(is_touched("10.1.1.1", epoch));
	assert_false(is_touched("10.1.1.2", epoch));
	add(set, "2001:db8::1/128", false);
	assert_true(is_touched("2001:db8::1", epoch));
	gen_publish();
	epoch = gen_now();
	assert_int_equal(ipset_member_del(set, &host), 0);
	assert_true(is_touched("10.1.1.1", epoch));
	assert_false(is_touched("2001:db8::1", epoch));
	gen_publish();
	epoch = gen_now();
	ipset_put(set);
	assert_true(is_touched("2001:db8::1", epoch));
}

static int setup(void **state)
{
	(void)state;
	return rcu_init() == 0 && ipset_table_init() == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ipset_table_fini();
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipset_random_changes_match_the_model),
		cmocka_unit_test(test_ipset_longest_member_of_the_set_decides),
		cmocka_unit_test(test_ipset_families_do_not_cover_each_other),
		cmocka_unit_test(test_ipset_intern_shares_equal_content_only),
		cmocka_unit_test(test_ipset_full_tables_leave_the_set_unchanged),
		cmocka_unit_test(test_ipset_create_fails_when_full),
		cmocka_unit_test(test_ipset_host_members_touch_their_address_only),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
