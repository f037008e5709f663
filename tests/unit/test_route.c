/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "datapath/base/gen.h"
#include "datapath/base/rcu.h"
#include "datapath/table/route.h"

static struct route_config blackhole(uint16_t zone, const char *prefix)
{
	struct route_config cfg = { .zone = zone, .kind = ROUTE_BLACKHOLE };

	assert_int_equal(ip_prefix_parse(prefix, &cfg.prefix), 0);
	return cfg;
}

static struct route_config via(
	uint16_t zone, const char *prefix, const char *gateway, uint16_t port_id)
{
	struct route_config cfg = blackhole(zone, prefix);

	cfg.kind = ROUTE_VIA;
	cfg.port_id = port_id;
	assert_int_equal(ip_parse(gateway, &cfg.via), 0);
	return cfg;
}

static uint32_t add(const struct route_config *cfg)
{
	uint32_t idx = ROUTE_IDX_NONE;

	assert_int_equal(route_add(cfg, &idx), 0);
	return idx;
}

static uint32_t lookup(uint16_t zone, const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return route_lookup(zone, &a);
}

/* What a worker does on a hit of a flow that was judged at `epoch`. */
static bool is_changed_since(uint32_t idx, uint32_t epoch)
{
	return gen_is_newer(&route_at(idx)->gen, epoch);
}

static uint32_t settle(void)
{
	gen_publish();
	return gen_now();
}

static void test_route_lookup_returns_what_was_configured(void **state)
{
	struct route_config cfg = via(7, "10.1.0.0/16", "192.0.2.1", 3);
	struct route_config tunnel = {
		.zone = 7, .kind = ROUTE_TUNNEL, .tunnel_idx = 11, .mtu = 1450
	};
	const struct route *r;

	(void)state;
	assert_int_equal(ip_prefix_parse("2001:db8::/48", &tunnel.prefix), 0);
	cfg.mtu = 9000;
	cfg.origin = ROUTE_ORIGIN_KERNEL;
	add(&cfg);
	add(&tunnel);
	r = route_at(lookup(7, "10.1.255.255"));
	assert_int_equal(r->kind, ROUTE_VIA);
	assert_int_equal(r->port_id, 3);
	assert_int_equal(r->mtu, 9000);
	assert_int_equal(r->zone, 7);
	assert_int_equal(r->origin, ROUTE_ORIGIN_KERNEL);
	assert_true(ip_eq(&r->via, &cfg.via));
	assert_int_equal(r->prefix.len, 16);
	r = route_at(lookup(7, "2001:db8::1"));
	assert_int_equal(r->kind, ROUTE_TUNNEL);
	assert_int_equal(r->tunnel_idx, 11);
	assert_int_equal(r->mtu, 1450);
}

static void test_route_no_cover_is_an_object_of_zone_and_family(void **state)
{
	struct route_config a = blackhole(1, "10.0.0.0/8"), b = blackhole(2, "10.0.0.0/8");
	uint32_t none_unused = lookup(9, "192.0.2.1");

	(void)state;
	add(&a);
	add(&b);
	assert_int_equal(route_at(none_unused)->kind, ROUTE_NONE);
	assert_int_equal(route_at(lookup(1, "192.0.2.1"))->kind, ROUTE_NONE);
	assert_int_equal(route_at(lookup(1, "2001:db8::1"))->kind, ROUTE_NONE);
	assert_int_not_equal(lookup(1, "192.0.2.1"), lookup(1, "2001:db8::1"));
	assert_int_not_equal(lookup(1, "192.0.2.1"), lookup(2, "192.0.2.1"));
	assert_int_not_equal(lookup(1, "192.0.2.1"), none_unused);
	assert_int_equal(lookup(9, "2001:db8::1"), none_unused);
}

static void test_route_add_touches_only_the_covering_route(void **state)
{
	struct route_config top = blackhole(0, "10.0.0.0/8"), mid = blackhole(0, "10.1.0.0/16");
	struct route_config other = blackhole(0, "10.2.0.0/16"), leaf = blackhole(0, "10.1.1.0/24");
	uint32_t top_idx = add(&top), mid_idx = add(&mid), other_idx = add(&other);
	uint32_t none_idx = lookup(0, "192.0.2.1"), epoch = settle();

	(void)state;
	add(&leaf);
	settle();
	assert_true(is_changed_since(mid_idx, epoch));
	assert_false(is_changed_since(top_idx, epoch));
	assert_false(is_changed_since(other_idx, epoch));
	assert_false(is_changed_since(none_idx, epoch));
}

static void test_route_add_without_cover_touches_only_that_none(void **state)
{
	struct route_config a = blackhole(0, "10.0.0.0/8"), b = blackhole(5, "10.0.0.0/8"),
			    add4 = blackhole(0, "11.0.0.0/8");
	uint32_t a_idx = add(&a), none4, none6, none_other, epoch;

	(void)state;
	add(&b);
	none4 = lookup(0, "11.0.0.1");
	none6 = lookup(0, "2001:db8::1");
	none_other = lookup(5, "11.0.0.1");
	epoch = settle();
	add(&add4);
	settle();
	assert_true(is_changed_since(none4, epoch));
	assert_false(is_changed_since(a_idx, epoch));
	assert_false(is_changed_since(none6, epoch));
	assert_false(is_changed_since(none_other, epoch));
}

static void test_route_first_and_last_of_zone_touch_its_none(void **state)
{
	struct route_config cfg = blackhole(3, "10.0.0.0/8");
	uint32_t before = lookup(3, "192.0.2.1"), epoch = settle(), none;

	(void)state;
	add(&cfg);
	settle();
	assert_true(is_changed_since(before, epoch));
	none = lookup(3, "192.0.2.1");
	epoch = gen_now();
	assert_int_equal(route_del(3, &cfg.prefix), 0);
	settle();
	assert_true(is_changed_since(none, epoch));
	assert_int_equal(lookup(3, "192.0.2.1"), before);
	assert_int_equal(lookup(3, "10.0.0.1"), before);
}

static void test_route_del_touches_the_deleted_only(void **state)
{
	struct route_config top = blackhole(0, "10.0.0.0/8"), leaf = blackhole(0, "10.1.1.0/24");
	uint32_t top_idx = add(&top), leaf_idx = add(&leaf), epoch = settle();

	(void)state;
	assert_int_equal(route_del(0, &leaf.prefix), 0);
	settle();
	assert_true(is_changed_since(leaf_idx, epoch));
	assert_false(is_changed_since(top_idx, epoch));
	assert_int_equal(lookup(0, "10.1.1.1"), top_idx);
	assert_int_equal(route_del(0, &leaf.prefix), -ENOENT);
	assert_int_equal(route_del(44, &leaf.prefix), -ENOENT);
}

static void test_route_replace_is_a_new_object_and_touches_the_old(void **state)
{
	struct route_config cfg = via(0, "10.1.0.0/16", "192.0.2.1", 1),
			    top = blackhole(0, "0.0.0.0/0");
	uint32_t top_idx = add(&top), old = add(&cfg), idx, epoch = settle();

	(void)state;
	cfg.port_id = 2;
	assert_int_equal(route_replace(&cfg, &idx), 0);
	settle();
	assert_int_not_equal(idx, old);
	assert_int_equal(lookup(0, "10.1.2.3"), idx);
	assert_int_equal(route_at(idx)->port_id, 2);
	assert_true(is_changed_since(old, epoch));
	assert_false(is_changed_since(top_idx, epoch));
	assert_int_equal(route_count(0), 2);
}

static void test_route_replace_of_equal_content_changes_nothing(void **state)
{
	struct route_config cfg = via(0, "10.1.0.0/16", "192.0.2.1", 1);
	uint32_t old = add(&cfg), idx, epoch = settle();

	(void)state;
	assert_int_equal(route_replace(&cfg, &idx), 0);
	assert_int_equal(idx, old);
	assert_int_equal(settle(), epoch);
}

static void test_route_replace_of_nothing_adds(void **state)
{
	struct route_config top = blackhole(0, "10.0.0.0/8"),
			    cfg = via(0, "10.1.0.0/16", "192.0.2.1", 1);
	uint32_t top_idx = add(&top), idx, epoch = settle();

	(void)state;
	assert_int_equal(route_replace(&cfg, &idx), 0);
	settle();
	assert_int_equal(lookup(0, "10.1.2.3"), idx);
	assert_true(is_changed_since(top_idx, epoch));
}

static void test_route_add_of_existing_is_refused_and_named(void **state)
{
	struct route_config cfg = via(0, "10.1.0.0/16", "192.0.2.1", 1);
	uint32_t old = add(&cfg), idx = 0, epoch = settle();

	(void)state;
	cfg.port_id = 2;
	assert_int_equal(route_add(&cfg, &idx), -EEXIST);
	assert_int_equal(idx, old);
	assert_false(route_matches(route_at(idx), &cfg));
	assert_int_equal(route_at(lookup(0, "10.1.2.3"))->port_id, 1);
	assert_int_equal(settle(), epoch);
}

static void test_route_bad_config_is_refused_and_leaves_no_zone(void **state)
{
	struct route_config cfg = blackhole(6, "10.1.0.0/16");
	struct route_stats stats;

	(void)state;
	cfg.kind = ROUTE_NONE;
	assert_int_equal(route_add(&cfg, NULL), -EINVAL);
	cfg.kind = ROUTE_KIND_N;
	assert_int_equal(route_add(&cfg, NULL), -EINVAL);
	cfg.kind = ROUTE_VIA; /* without a gateway */
	assert_int_equal(route_add(&cfg, NULL), -EINVAL);
	cfg.kind = ROUTE_BLACKHOLE;
	cfg.prefix.addr.b[15] = 1;
	assert_int_equal(route_add(&cfg, NULL), -EINVAL);
	assert_int_equal(route_replace(&cfg, NULL), -EINVAL);
	cfg.prefix.addr.b[15] = 0;
	cfg.prefix.len = 33;
	assert_int_equal(route_replace(&cfg, NULL), -EINVAL);
	route_get_stats(&stats);
	assert_int_equal(stats.n_zones, 0);
	assert_int_equal(stats.n_v4 + stats.n_v6, 0);
}

static void test_route_zones_do_not_see_each_other(void **state)
{
	struct route_config a = via(1, "10.0.0.0/8", "192.0.2.1", 1),
			    b = via(65535, "10.0.0.0/8", "192.0.2.2", 2);

	(void)state;
	add(&a);
	add(&b);
	assert_int_equal(route_at(lookup(1, "10.0.0.1"))->port_id, 1);
	assert_int_equal(route_at(lookup(65535, "10.0.0.1"))->port_id, 2);
	assert_int_equal(route_at(lookup(2, "10.0.0.1"))->kind, ROUTE_NONE);
	assert_int_equal(route_del(1, &a.prefix), 0);
	assert_int_equal(route_at(lookup(65535, "10.0.0.1"))->port_id, 2);
}

static void test_route_object_is_reused_only_after_a_grace_period(void **state)
{
	struct route_config cfg = via(0, "10.1.0.0/16", "192.0.2.1", 1),
			    keep = blackhole(0, "11.0.0.0/8");
	struct route_stats stats;
	uint32_t idx, gen;

	(void)state;
	add(&keep);
	idx = add(&cfg);
	rcu_reader_register(1);
	rcu_quiescent(1);
	assert_int_equal(lookup(0, "10.1.2.3"), idx);
	assert_int_equal(route_del(0, &cfg.prefix), 0);
	gen = settle();
	for (int i = 0; i < 10; i++) {
		struct route_config churn = via(0, "10.2.0.0/16", "192.0.2.9", 9);

		route_poll();
		assert_int_not_equal(add(&churn), idx);
		assert_int_equal(route_del(0, &churn.prefix), 0);
		assert_int_equal(route_at(idx)->port_id, 1);
	}
	rcu_quiescent(1);
	rcu_reader_unregister(1);
	route_poll();
	route_poll();
	route_get_stats(&stats);
	assert_int_equal(stats.n_pending, 0);
	/* the slot comes back with a generation that a flow of the old route cannot have */
	for (unsigned int i = 0; i < 20; i++) {
		struct route_config again = via(0, "10.3.0.0/16", "192.0.2.3", 3);

		again.prefix.addr.b[13] = (uint8_t)i;
		if (add(&again) == idx) {
			settle();
			assert_true(is_changed_since(idx, gen));
			return;
		}
	}
	fail_msg("object %u was never reused", idx);
}

static void test_route_next_pages_in_order_over_zones_and_families(void **state)
{
	static const struct {
		uint16_t zone;
		const char *prefix;
	} routes[] = { { 0, "0.0.0.0/0" }, { 0, "10.0.0.0/8" }, { 0, "10.0.0.0/24" }, { 0, "::/0" },
		{ 0, "2001:db8::/32" }, { 4, "192.0.2.0/24" }, { 65535, "2001:db8::1/128" } };
	const unsigned int n = sizeof(routes) / sizeof(routes[0]);
	struct route_cursor all = { .zone = 0 }, one = { .zone = 4, .is_one_zone = true };
	struct route_config cfg;

	(void)state;
	for (unsigned int i = n; i-- > 0;) {
		cfg = blackhole(routes[i].zone, routes[i].prefix);
		add(&cfg);
	}
	for (unsigned int i = 0; i < n; i++) {
		const struct route *r = route_at(route_next(&all));

		cfg = blackhole(routes[i].zone, routes[i].prefix);
		assert_true(route_matches(r, &cfg));
	}
	assert_int_equal(route_next(&all), ROUTE_IDX_NONE);
	assert_int_equal(route_at(route_next(&one))->zone, 4);
	assert_int_equal(route_next(&one), ROUTE_IDX_NONE);
	/* resumes after a route that is gone meanwhile */
	cfg = blackhole(0, "10.0.0.0/8");
	one = (struct route_cursor){
		.prefix = cfg.prefix, .is_started = true, .is_one_zone = true
	};
	assert_int_equal(route_del(0, &cfg.prefix), 0);
	assert_int_equal(route_at(route_next(&one))->prefix.len, 24);
}

static void test_route_lookup_bulk_agrees_with_single(void **state)
{
	static const char *const texts[] = { "10.0.0.1", "10.1.0.1", "192.0.2.1", "10.1.1.1" };
	struct route_config a = blackhole(0, "10.0.0.0/8"), b = blackhole(0, "10.1.0.0/16"),
			    c = blackhole(0, "fd00::/8");
	struct ip_addr addrs[4], v6;
	const struct ip_addr *ptrs[4];
	uint32_t idxs[4];

	(void)state;
	add(&a);
	add(&b);
	add(&c);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(ip_parse(texts[i], &addrs[i]), 0);
		ptrs[i] = &addrs[i];
	}
	route_lookup_bulk(0, ptrs, 4, idxs);
	for (int i = 0; i < 4; i++)
		assert_int_equal(idxs[i], lookup(0, texts[i]));
	route_lookup_bulk(8, ptrs, 4, idxs);
	for (int i = 0; i < 4; i++)
		assert_int_equal(idxs[i], lookup(8, texts[i]));
	assert_int_equal(ip_parse("fd00::1", &v6), 0);
	ptrs[0] = &v6;
	route_lookup_bulk(0, ptrs, 1, idxs);
	assert_int_equal(idxs[0], lookup(0, "fd00::1"));
}

static void test_route_full_table_refuses_and_recovers(void **state)
{
	struct route_config cfg = blackhole(0, "10.0.0.0/32");
	struct route_stats stats;
	uint32_t n = 0;
	int rc;

	(void)state;
	route_fini();
	assert_int_equal(route_init(100, 0), 0);
	for (;; n++) {
		cfg.prefix.addr.b[15] = (uint8_t)n;
		rc = route_add(&cfg, NULL);
		if (rc != 0)
			break;
	}
	assert_int_equal(rc, -ENOMEM);
	assert_int_equal(n, 97); /* three are "no route" objects */
	assert_int_equal(route_reserve(1), -ENOMEM);
	assert_int_equal(route_at(lookup(0, "10.0.0.97"))->kind, ROUTE_NONE);
	cfg.prefix.addr.b[15] = 0;
	assert_int_equal(route_del(0, &cfg.prefix), 0);
	route_poll();
	assert_int_equal(route_add(&cfg, NULL), 0);
	route_get_stats(&stats);
	assert_int_equal(stats.n_v4, 97);
}

static void test_route_delete_of_all_returns_to_baseline(void **state)
{
	struct route_stats before, stats;
	struct route_cursor c = { .zone = 0 };
	uint32_t idx;

	(void)state;
	route_get_stats(&before);
	assert_int_equal(route_reserve(3000), 0);
	for (unsigned int i = 0; i < 3000; i++) {
		struct route_config cfg = blackhole((uint16_t)(i % 5), "10.0.0.0/24");

		cfg.prefix.addr.b[13] = (uint8_t)(i >> 8);
		cfg.prefix.addr.b[14] = (uint8_t)i;
		add(&cfg);
	}
	route_get_stats(&stats);
	assert_int_equal(stats.n_v4, 3000);
	assert_int_equal(stats.n_zones, 5);
	assert_true(stats.lpm_used_bytes > 0);
	while ((idx = route_next(&c)) != ROUTE_IDX_NONE)
		assert_int_equal(route_del(c.zone, &c.prefix), 0);
	rcu_synchronize();
	for (int i = 0; i < 100; i++)
		route_poll();
	route_get_stats(&stats);
	assert_int_equal(stats.n_v4, 0);
	assert_int_equal(stats.n_zones, 0);
	assert_int_equal(stats.n_pending, 0);
	assert_int_equal(stats.lpm_used_bytes, before.lpm_used_bytes);
	assert_true(stats.lpm_bytes <= 2u << 20);
}

static int setup(void **state)
{
	(void)state;
	if (rcu_init() != 0)
		return -1;
	return route_init(0, 0);
}

static int teardown(void **state)
{
	(void)state;
	rcu_reader_unregister(1); /* a failed test may have left it */
	route_fini();
	rcu_fini();
	return 0;
}

#define ROUTE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUTE_TEST(test_route_lookup_returns_what_was_configured),
		ROUTE_TEST(test_route_no_cover_is_an_object_of_zone_and_family),
		ROUTE_TEST(test_route_add_touches_only_the_covering_route),
		ROUTE_TEST(test_route_add_without_cover_touches_only_that_none),
		ROUTE_TEST(test_route_first_and_last_of_zone_touch_its_none),
		ROUTE_TEST(test_route_del_touches_the_deleted_only),
		ROUTE_TEST(test_route_replace_is_a_new_object_and_touches_the_old),
		ROUTE_TEST(test_route_replace_of_equal_content_changes_nothing),
		ROUTE_TEST(test_route_replace_of_nothing_adds),
		ROUTE_TEST(test_route_add_of_existing_is_refused_and_named),
		ROUTE_TEST(test_route_bad_config_is_refused_and_leaves_no_zone),
		ROUTE_TEST(test_route_zones_do_not_see_each_other),
		ROUTE_TEST(test_route_object_is_reused_only_after_a_grace_period),
		ROUTE_TEST(test_route_next_pages_in_order_over_zones_and_families),
		ROUTE_TEST(test_route_lookup_bulk_agrees_with_single),
		ROUTE_TEST(test_route_full_table_refuses_and_recovers),
		ROUTE_TEST(test_route_delete_of_all_returns_to_baseline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
