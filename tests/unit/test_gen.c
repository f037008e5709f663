/* SPDX-License-Identifier: BSD-3-Clause */
/* What leat-gen concludes from sequence numbers, and its histogram. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf/gen/check.h"
#include "perf/gen/hist.h"

static struct gen_counts judge(struct gen_flow *f, const uint16_t *seq, size_t n)
{
	struct gen_counts c = { 0 };

	for (size_t i = 0; i < n; i++)
		gen_judge_seq(&c, f, seq[i]);
	return c;
}

#define JUDGE(f, ...)                                                                              \
	judge(f, (const uint16_t[]){ __VA_ARGS__ }, sizeof((uint16_t[]){ __VA_ARGS__ }) / 2)

static void test_seq_in_order_counts_nothing(void **state)
{
	struct gen_flow f = { 0 };
	struct gen_counts c = JUDGE(&f, 0, 1, 2, 3);

	(void)state;
	assert_int_equal(c.lost + c.reordered + c.duplicate, 0);
	assert_int_equal(f.next, 4);
}

static void test_seq_hole_counts_lost(void **state)
{
	struct gen_flow f = { 0 };
	struct gen_counts c = JUDGE(&f, 0, 1, 5, 6);

	(void)state;
	assert_int_equal(c.lost, 3);
	assert_int_equal(f.lost, 3);
	assert_int_equal(c.reordered + c.duplicate, 0);
}

static void test_seq_late_is_reordered_not_lost(void **state)
{
	struct gen_flow f = { 0 };
	struct gen_counts c = JUDGE(&f, 0, 2, 3, 1, 4);

	(void)state;
	assert_int_equal(c.lost, 0);
	assert_int_equal(c.reordered, 1);
	assert_int_equal(c.duplicate, 0);
}

static void test_seq_twice_is_duplicate(void **state)
{
	struct gen_flow f = { 0 };
	struct gen_counts c = JUDGE(&f, 0, 1, 1, 3, 2, 2);

	(void)state;
	assert_int_equal(c.duplicate, 2);
	assert_int_equal(c.reordered, 1);
	assert_int_equal(c.lost, 0);
}

static void test_seq_wraps(void **state)
{
	struct gen_flow f = { .next = 0xfffe, .window = UINT32_MAX };
	struct gen_counts c = JUDGE(&f, 0xfffe, 0xffff, 0, 1);

	(void)state;
	assert_int_equal(c.lost + c.reordered + c.duplicate, 0);
}

static void test_hist_quantiles_are_within_a_bucket(void **state)
{
	static struct hist h;

	(void)state;
	memset(&h, 0, sizeof(h));
	for (uint64_t v = 1; v <= 100000; v++)
		hist_add(&h, v);
	for (double q = 0.1; q < 1; q += 0.1) {
		double got = (double)hist_quantile(&h, q), want = q * 100000;

		assert_true(got >= want && got <= want * (1 + 2.0 / HIST_SUB));
	}
	assert_int_equal(hist_quantile(&h, 1), 100000);
	assert_int_equal(h.max, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seq_in_order_counts_nothing),
		cmocka_unit_test(test_seq_hole_counts_lost),
		cmocka_unit_test(test_seq_late_is_reordered_not_lost),
		cmocka_unit_test(test_seq_twice_is_duplicate),
		cmocka_unit_test(test_seq_wraps),
		cmocka_unit_test(test_hist_quantiles_are_within_a_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
