/* SPDX-License-Identifier: BSD-3-Clause */
/* The trie against a plain list: every answer is what a linear search for the longest prefix
 * finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

#include "datapath/base/rcu.h"
#include "datapath/table/lpm.h"
#include "datapath/table/lpm_mem.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define ORACLE_MAX 600

struct oracle {
	struct ip_prefix prefix[ORACLE_MAX];
	uint32_t value[ORACLE_MAX];
	unsigned int n;
};

static uint64_t rnd_state;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static struct ip_prefix parse(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(ip_prefix_parse(text, &p), 0);
	return p;
}

static uint32_t lookup(const struct lpm *lpm, const struct ip_addr *a)
{
	return ip_is_v4(a) ? lpm_lookup4(lpm, ip_v4(a)) : lpm_lookup6(lpm, a);
}

static uint32_t lookup_text(const struct lpm *lpm, const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(text, &a), 0);
	return lookup(lpm, &a);
}

static int oracle_find(const struct oracle *o, const struct ip_prefix *p)
{
	for (unsigned int i = 0; i < o->n; i++)
		if (o->prefix[i].len == p->len && ip_eq(&o->prefix[i].addr, &p->addr))
			return (int)i;
	return -1;
}

/* Longest prefix of less than below_len bits that covers the address. */
static uint32_t oracle_lookup(
	const struct oracle *o, const struct ip_addr *a, unsigned int below_len)
{
	int best = -1;

	for (unsigned int i = 0; i < o->n; i++)
		if (o->prefix[i].len < below_len && ip_prefix_covers(&o->prefix[i], a) &&
			(best < 0 || o->prefix[i].len > o->prefix[best].len))
			best = (int)i;
	return best < 0 ? LPM_NONE : o->value[best];
}

static void oracle_del(struct oracle *o, unsigned int i)
{
	o->n--;
	o->prefix[i] = o->prefix[o->n];
	o->value[i] = o->value[o->n];
}

/* An address made of few distinct bytes, so that prefixes nest and collide. */
static struct ip_addr random_addr(bool is_v6)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0x0a, 0x7f, 0x80, 0xa5, 0xfe, 0xff };
	struct ip_addr a = is_v6 ? (struct ip_addr){ .q = { 0, 0 } } : ip_from_v4(0);
	unsigned int n_vary = 1 + rnd() % 16;

	for (unsigned int i = is_v6 ? 0 : 12; i < 16; i++)
		if (!is_v6 || i < n_vary)
			a.b[i] = bytes[rnd() % RTE_DIM(bytes)];
	if (is_v6)
		a.b[0] |= 0x20; /* never v4-mapped */
	return a;
}

static struct ip_prefix random_prefix(bool is_v6)
{
	struct ip_prefix p = { .addr = random_addr(is_v6),
		.len = (uint8_t)(rnd() % (is_v6 ? 129 : 33)) };

	ip_prefix_mask(&p);
	return p;
}

/* First or last address of a prefix, or one beside it: where off-by-ones live. */
static struct ip_addr boundary_addr(const struct ip_prefix *p)
{
	bool is_v6 = !ip_is_v4(&p->addr);
	struct ip_addr a = p->addr;
	unsigned int what = rnd() % 4;
	unsigned int first = is_v6 ? 0 : 96;
	int carry;

	if (what & 1)
		for (unsigned int bit = first + p->len; bit < 128; bit++)
			a.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	if (what & 2) {
		carry = what & 1 ? 1 : -1;
		for (int i = 15; i >= (is_v6 ? 0 : 12) && carry != 0; i--) {
			int v = a.b[i] + carry;

			a.b[i] = (uint8_t)v;
			carry = v > 255 ? 1 : v < 0 ? -1 : 0;
		}
	}
	return !is_v6 || !ip_is_v4(&a) ? a : p->addr;
}

static void check_lookups(const struct lpm *lpm, const struct oracle *o, bool is_v6, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct ip_addr a = random_addr(is_v6);

		if (o->n != 0 && (i & 1) != 0)
			a = boundary_addr(&o->prefix[rnd() % o->n]);
		assert_int_equal(lookup(lpm, &a), oracle_lookup(o, &a, 129));
	}
}

static void check_bulk(const struct lpm *lpm, bool is_v6)
{
	struct ip_addr a[LPM_BULK_MAX];
	const struct ip_addr *ptrs[LPM_BULK_MAX];
	rte_be32_t v4[LPM_BULK_MAX];
	uint32_t values[LPM_BULK_MAX];

	for (unsigned int n = 0; n <= LPM_BULK_MAX; n += 8) {
		for (unsigned int i = 0; i < n; i++) {
			a[i] = random_addr(is_v6);
			ptrs[i] = &a[i];
			v4[i] = ip_v4(&a[i]);
		}
		if (is_v6)
			lpm_lookup6_bulk(lpm, ptrs, n, values);
		else
			lpm_lookup4_bulk(lpm, v4, n, values);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(values[i], lookup(lpm, &a[i]));
	}
}

/* One random update, on both; the error codes must agree as well. */
static void random_update(struct lpm *lpm, struct oracle *o, bool is_v6, uint32_t value)
{
	bool is_known = o->n != 0 && rnd() % 2 == 0;
	struct ip_prefix p = is_known ? o->prefix[rnd() % o->n] : random_prefix(is_v6);
	int at = oracle_find(o, &p);
	uint32_t old = 12345;

	switch (rnd() % 4) {
	case 0:
	case 1:
		if (o->n == ORACLE_MAX)
			return;
		assert_int_equal(lpm_add(lpm, &p, value), at < 0 ? 0 : -EEXIST);
		if (at < 0) {
			o->prefix[o->n] = p;
			o->value[o->n++] = value;
		}
		break;
	case 2:
		assert_int_equal(lpm_replace(lpm, &p, value, &old), at < 0 ? -ENOENT : 0);
		assert_int_equal(old, at < 0 ? 12345 : o->value[at]);
		if (at >= 0)
			o->value[at] = value;
		break;
	default:
		assert_int_equal(lpm_del(lpm, &p, &old), at < 0 ? -ENOENT : 0);
		assert_int_equal(old, at < 0 ? 12345 : o->value[at]);
		if (at >= 0)
			oracle_del(o, (unsigned int)at);
	}
	at = oracle_find(o, &p);
	assert_int_equal(lpm_find(lpm, &p), at < 0 ? LPM_NONE : o->value[at]);
	assert_int_equal(lpm_covering(lpm, &p), oracle_lookup(o, &p.addr, p.len));
}

static void check_against_list(bool is_v6, uint64_t seed)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct lpm *lpm = lpm_create(arena, is_v6);
	struct oracle o = { .n = 0 };

	rnd_state = seed;
	for (uint32_t i = 0; i < 20000; i++) {
		random_update(lpm, &o, is_v6, i);
		check_lookups(lpm, &o, is_v6, 4);
		if (i % 64 == 0) {
			check_bulk(lpm, is_v6);
			lpm_arena_poll(arena);
		}
		assert_int_equal(lpm_count(lpm), o.n);
	}
	lpm_destroy(lpm);
	lpm_arena_destroy(arena);
}

static void test_lpm_random_updates_v4_agree_with_list(void **state)
{
	(void)state;
	check_against_list(false, 1);
}

static void test_lpm_random_updates_v6_agree_with_list(void **state)
{
	(void)state;
	check_against_list(true, 2);
}

/* Every length on the way to one host, added long to short and short to long. */
static void check_nested(const char *host, unsigned int max_len, bool is_ascending)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct ip_prefix full = parse(host);
	struct lpm *lpm = lpm_create(arena, max_len == 128);

	for (unsigned int i = 0; i <= max_len; i++) {
		unsigned int len = is_ascending ? i : max_len - i;
		struct ip_prefix p = { .addr = full.addr, .len = (uint8_t)len };

		ip_prefix_mask(&p);
		assert_int_equal(lpm_add(lpm, &p, len), 0);
		assert_int_equal(lookup(lpm, &full.addr), is_ascending ? len : max_len);
		assert_int_equal(
			lpm_covering(lpm, &p), is_ascending && len > 0 ? len - 1 : LPM_NONE);
	}
	/* an address that leaves the way at bit `len` matches exactly that length */
	for (unsigned int len = 0; len < max_len; len++) {
		unsigned int bit = 128 - max_len + len;
		struct ip_addr a = full.addr;

		a.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		assert_int_equal(lookup(lpm, &a), len);
	}
	lpm_destroy(lpm);
	lpm_arena_destroy(arena);
}

static void test_lpm_all_lengths_nested_longest_wins(void **state)
{
	(void)state;
	for (int is_ascending = 0; is_ascending < 2; is_ascending++) {
		check_nested("10.165.90.195/32", 32, is_ascending);
		check_nested("255.255.255.255/32", 32, is_ascending);
		check_nested("0.0.0.0/32", 32, is_ascending);
		check_nested("2001:db8:a5a5:5a5a:1234:5678:9abc:def0/128", 128, is_ascending);
		check_nested("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 128, is_ascending);
	}
}

static void test_lpm_default_route_covers_all_and_nothing_after_delete(void **state)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct lpm *lpm4 = lpm_create(arena, false), *lpm6 = lpm_create(arena, true);
	struct ip_prefix p4 = parse("0.0.0.0/0"), p6 = parse("::/0");

	(void)state;
	assert_int_equal(lookup_text(lpm4, "192.0.2.1"), LPM_NONE);
	assert_int_equal(lookup_text(lpm6, "::"), LPM_NONE);
	assert_int_equal(lpm_add(lpm4, &p4, 4), 0);
	assert_int_equal(lpm_add(lpm6, &p6, 0), 0);
	assert_int_equal(lookup_text(lpm4, "0.0.0.0"), 4);
	assert_int_equal(lookup_text(lpm4, "255.255.255.255"), 4);
	assert_int_equal(lookup_text(lpm6, "::"), 0);
	assert_int_equal(lookup_text(lpm6, "ffff::1"), 0);
	assert_int_equal(lpm_del(lpm4, &p4, NULL), 0);
	assert_int_equal(lpm_del(lpm6, &p6, NULL), 0);
	assert_int_equal(lookup_text(lpm4, "0.0.0.0"), LPM_NONE);
	assert_int_equal(lookup_text(lpm6, "ffff::1"), LPM_NONE);
	lpm_destroy(lpm4);
	lpm_destroy(lpm6);
	lpm_arena_destroy(arena);
}

static void test_lpm_bad_prefix_is_refused(void **state)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct lpm *lpm4 = lpm_create(arena, false), *lpm6 = lpm_create(arena, true);
	struct ip_prefix host_bits = parse("10.0.0.0/24"), long4 = parse("10.0.0.0/24"),
			 v6 = parse("2001:db8::/32");
	struct ip_prefix long6 = v6, ok = parse("10.0.0.0/24");

	(void)state;
	host_bits.addr.b[15] = 1;
	long4.len = 33;
	long6.len = 129;
	assert_int_equal(lpm_add(lpm4, &host_bits, 1), -EINVAL);
	assert_int_equal(lpm_add(lpm4, &long4, 1), -EINVAL);
	assert_int_equal(lpm_add(lpm4, &v6, 1), -EINVAL);
	assert_int_equal(lpm_add(lpm6, &ok, 1), -EINVAL);
	assert_int_equal(lpm_add(lpm6, &long6, 1), -EINVAL);
	assert_int_equal(lpm_add(lpm4, &ok, LPM_NONE), -EINVAL);
	assert_int_equal(lpm_del(lpm4, &long4, NULL), -EINVAL);
	assert_int_equal(lpm_find(lpm4, &long4), LPM_NONE);
	assert_int_equal(lpm_covering(lpm6, &long6), LPM_NONE);
	assert_int_equal(lpm_count(lpm4) + lpm_count(lpm6), 0);
	lpm_destroy(lpm4);
	lpm_destroy(lpm6);
	lpm_arena_destroy(arena);
}

static int prefix_cmp(const void *a, const void *b)
{
	const struct ip_prefix *p = a, *q = b;
	int c = memcmp(p->addr.b, q->addr.b, 16);

	return c != 0 ? c : p->len - q->len;
}

static void check_iteration(bool is_v6, uint64_t seed)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct lpm *lpm = lpm_create(arena, is_v6);
	struct oracle o = { .n = 0 };
	struct ip_prefix p, cursor;
	unsigned int n = 0;

	rnd_state = seed;
	assert_false(lpm_next(lpm, NULL, &p, NULL));
	for (uint32_t i = 0; i < 1500; i++)
		random_update(lpm, &o, is_v6, i);
	qsort(o.prefix, o.n, sizeof(o.prefix[0]), prefix_cmp);
	assert_true(o.n > 100);
	for (bool more = lpm_next(lpm, NULL, &p, NULL); more; more = lpm_next(lpm, &p, &p, NULL)) {
		assert_true(n < o.n);
		assert_memory_equal(&p.addr, &o.prefix[n].addr, sizeof(p.addr));
		assert_int_equal(p.len, o.prefix[n].len);
		n++;
	}
	assert_int_equal(n, o.n);
	/* from anywhere, also from prefixes that are not there */
	for (unsigned int i = 0; i < 2000; i++) {
		uint32_t value;

		cursor = random_prefix(is_v6);
		for (n = 0; n < o.n && prefix_cmp(&o.prefix[n], &cursor) <= 0; n++)
			;
		assert_int_equal(lpm_next(lpm, &cursor, &p, &value), n < o.n);
		if (n < o.n) {
			assert_int_equal(prefix_cmp(&p, &o.prefix[n]), 0);
			assert_int_equal(value, lpm_find(lpm, &p));
		}
	}
	lpm_destroy(lpm);
	lpm_arena_destroy(arena);
}

static void test_lpm_next_visits_all_in_order_from_any_cursor(void **state)
{
	(void)state;
	check_iteration(false, 3);
	check_iteration(true, 4);
}

static struct ip_prefix numbered_prefix(uint32_t i, bool is_v6)
{
	uint32_t h = i * 2654435761u;
	struct ip_prefix p;

	if (is_v6) {
		p.addr = (struct ip_addr){ .w = { RTE_BE32(0x20010000), rte_cpu_to_be_32(h), 0,
						   rte_cpu_to_be_32(i) } };
		p.len = i % 3 == 0 ? 128 : (uint8_t)(40 + h % 25);
	} else {
		p.addr = ip_from_v4(rte_cpu_to_be_32(h));
		p.len = (uint8_t)(i % 3 == 0 ? 32 : 16 + h % 9);
	}
	ip_prefix_mask(&p);
	return p;
}

static void test_lpm_memory_returns_to_baseline_when_all_is_deleted(void **state)
{
	struct lpm_arena *arena = lpm_arena_create(ARENA_BYTES);
	struct lpm_arena_stats before, full, after;

	(void)state;
	lpm_arena_get_stats(arena, &before);
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct lpm *lpm = lpm_create(arena, is_v6);

		for (uint32_t i = 0; i < 100000; i++) {
			struct ip_prefix p = numbered_prefix(i, is_v6);
			int rc = lpm_add(lpm, &p, i);

			assert_true(rc == 0 || rc == -EEXIST);
		}
		lpm_arena_get_stats(arena, &full);
		assert_true(full.used_bytes > 0 && full.mapped_bytes > VMEM_STEP_BYTES);
		for (uint32_t i = 0; i < 100000; i++) {
			struct ip_prefix p = numbered_prefix(i, is_v6);
			int rc = lpm_del(lpm, &p, NULL);

			assert_true(rc == 0 || rc == -ENOENT);
		}
		assert_int_equal(lpm_count(lpm), 0);
		for (unsigned int i = 0; i < 1000; i++)
			lpm_arena_poll(arena);
		lpm_arena_get_stats(arena, &after);
		assert_int_equal(after.used_bytes, before.used_bytes);
		assert_int_equal(after.pending_bytes, 0);
		assert_int_equal(after.free_bytes, 0);
		assert_int_equal(after.n_nodes, 0);
		assert_true(after.mapped_bytes <= VMEM_STEP_BYTES);
		lpm_destroy(lpm);
	}
	lpm_arena_destroy(arena);
}

static void test_lpm_full_arena_changes_nothing_and_recovers(void **state)
{
	struct lpm_arena *arena = lpm_arena_create((size_t)2 << 20);
	struct lpm *lpm = lpm_create(arena, true);
	uint32_t n = 0;
	struct ip_prefix p;
	int rc;

	(void)state;
	while ((rc = lpm_add(lpm, &(struct ip_prefix){ numbered_prefix(n * 3, true).addr, 128 },
			n)) == 0)
		n++;
	assert_int_equal(rc, -ENOMEM);
	assert_true(n > 1000);
	assert_int_equal(lpm_count(lpm), n);
	p = numbered_prefix(n * 3, true);
	assert_int_equal(lpm_find(lpm, &p), LPM_NONE);
	assert_int_equal(lpm_arena_reserve(arena, 10000), -ENOMEM);
	for (uint32_t i = 0; i < n; i++) {
		p = numbered_prefix(i * 3, true);
		assert_int_equal(lpm_lookup6(lpm, &p.addr), i);
	}
	/* deleting copies nodes, for which there is always room */
	for (uint32_t i = 0; i < n; i++) {
		p = numbered_prefix(i * 3, true);
		assert_int_equal(lpm_del(lpm, &p, NULL), 0);
	}
	lpm_arena_poll(arena);
	p = numbered_prefix(n * 3, true);
	assert_int_equal(lpm_add(lpm, &p, n), 0);
	lpm_destroy(lpm);
	lpm_arena_destroy(arena);
}

static int group_setup(void **state)
{
	(void)state;
	return rcu_init();
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_fini();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lpm_random_updates_v4_agree_with_list),
		cmocka_unit_test(test_lpm_random_updates_v6_agree_with_list),
		cmocka_unit_test(test_lpm_all_lengths_nested_longest_wins),
		cmocka_unit_test(test_lpm_default_route_covers_all_and_nothing_after_delete),
		cmocka_unit_test(test_lpm_bad_prefix_is_refused),
		cmocka_unit_test(test_lpm_next_visits_all_in_order_from_any_cursor),
		cmocka_unit_test(test_lpm_memory_returns_to_baseline_when_all_is_deleted),
		cmocka_unit_test(test_lpm_full_arena_changes_nothing_and_recovers),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
