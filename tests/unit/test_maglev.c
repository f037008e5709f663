/* SPDX-License-Identifier: BSD-3-Clause */
/* Maglev tables: evenness, disruption, weights, and a table computed by an independent model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/table/maglev.h"

#define N_MAX 1000

static struct maglev_backend backends[N_MAX];
static uint32_t n_of[N_MAX];

static void backends_make(uint32_t n, uint16_t weight)
{
	for (uint32_t i = 0; i < n; i++) {
		struct ip_addr addr = ip_from_v4(rte_cpu_to_be_32(0x0af40101 + i));

		maglev_backend_init(&backends[i], &addr, RTE_BE16(8080), weight);
	}
}

/* The table, the caller's to free; n_of: positions of each backend. */
static uint16_t *table_of(const struct maglev_backend *of, uint32_t n, uint32_t size)
{
	uint16_t *table = malloc(size * sizeof(*table));

	assert_non_null(table);
	assert_int_equal(maglev_build(of, n, size, table), 0);
	memset(n_of, 0, sizeof(n_of));
	for (uint32_t i = 0; i < size; i++) {
		assert_in_range(table[i], 0, n - 1);
		n_of[table[i]]++;
	}
	return table;
}

static void test_maglev_sizes_are_primes_of_a_hundred_a_backend(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 6553; n++) {
		uint32_t size = maglev_size(n);

		assert_true(size >= 100 * n);
		for (uint32_t d = 2; d * d <= size; d++)
			assert_int_not_equal(size % d, 0);
	}
	assert_int_equal(maglev_size(1), 251);
	assert_int_equal(maglev_size(4), 509);
	assert_int_equal(maglev_size(60000), MAGLEV_SIZE_MAX);
}

static void test_maglev_equal_weights_differ_by_one_position(void **state)
{
	static const uint32_t counts[] = { 1, 2, 3, 4, 7, 50, 100, 999, 1000 };

	(void)state;
	for (unsigned int i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint32_t n = counts[i], size = maglev_size(n);

		backends_make(n, 7);
		free(table_of(backends, n, size));
		for (uint32_t b = 0; b < n; b++)
			assert_in_range(n_of[b], size / n, size / n + 1);
	}
}

static void test_maglev_weights_share_the_table(void **state)
{
	static const uint16_t weights[] = { 1, 2, 3, 10, 84, 65535 };
	const uint32_t n = sizeof(weights) / sizeof(weights[0]);
	uint32_t size = 65537, sum = 0;

	(void)state;
	backends_make(n, 1);
	for (uint32_t i = 0; i < n; i++) {
		backends[i].weight = weights[i];
		sum += weights[i];
	}
	free(table_of(backends, n, size));
	for (uint32_t i = 0; i < n; i++) {
		double ideal = (double)size * weights[i] / sum;

		assert_true(n_of[i] >= 1);
		/* one position each whatever the weight, and one of rounding */
		assert_true(n_of[i] > ideal - n - 1 && n_of[i] < ideal + 2);
	}
}

static void test_maglev_smallest_weight_gets_a_position(void **state)
{
	(void)state;
	backends_make(2, 65535);
	backends[1].weight = 1;
	free(table_of(backends, 2, 251));
	assert_in_range(n_of[1], 1, 2);
	assert_int_equal(n_of[0] + n_of[1], 251);
}

/* The paper (fig. 12): at 100 positions a backend few entries of the others change when one of them goes. */
static void test_maglev_removal_moves_few_positions_of_others(void **state)
{
	const uint32_t n = 100, size = maglev_size(n), gone = 41;
	uint16_t *before, *after;
	uint32_t n_moved = 0;

	(void)state;
	backends_make(n, 1);
	before = table_of(backends, n, size);
	memmove(&backends[gone], &backends[gone + 1], (n - gone - 1) * sizeof(backends[0]));
	after = table_of(backends, n - 1, size);
	for (uint32_t i = 0; i < size; i++) {
		uint32_t now = after[i] < gone ? after[i] : after[i] + 1u;

		n_moved += before[i] != gone && before[i] != now;
	}
	assert_true(n_moved < size * 3 / 100);
	free(before);
	free(after);
}

static void test_maglev_weight_change_moves_few_positions(void **state)
{
	const uint32_t n = 20, size = maglev_size(n);
	uint16_t *before, *after;
	uint32_t n_moved = 0;

	(void)state;
	backends_make(n, 10);
	before = table_of(backends, n, size);
	backends[3].weight = 5;
	after = table_of(backends, n, size);
	for (uint32_t i = 0; i < size; i++)
		n_moved += before[i] != after[i];
	/* half of one in twenty must move */
	assert_in_range(n_moved, size / 45, size * 12 / 100);
	free(before);
	free(after);
}

static void test_maglev_port_makes_another_permutation(void **state)
{
	struct ip_addr addr = ip_from_v4(RTE_BE32(0x0a000001));
	struct maglev_backend a, b;

	(void)state;
	maglev_backend_init(&a, &addr, RTE_BE16(80), 1);
	maglev_backend_init(&b, &addr, RTE_BE16(81), 1);
	assert_true(a.offset_hash != b.offset_hash && a.skip_hash != b.skip_hash);
	assert_true(a.offset_hash != a.skip_hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maglev_sizes_are_primes_of_a_hundred_a_backend),
		cmocka_unit_test(test_maglev_equal_weights_differ_by_one_position),
		cmocka_unit_test(test_maglev_weights_share_the_table),
		cmocka_unit_test(test_maglev_smallest_weight_gets_a_position),
		cmocka_unit_test(test_maglev_removal_moves_few_positions_of_others),
		cmocka_unit_test(test_maglev_weight_change_moves_few_positions),
		cmocka_unit_test(test_maglev_port_makes_another_permutation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
