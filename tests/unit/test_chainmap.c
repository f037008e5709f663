/* SPDX-License-Identifier: BSD-3-Clause */
/* Exact-match maps: against an obvious array, with colliding heads, and reuse of slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "datapath/base/rcu.h"
#include "datapath/table/chainmap.h"

struct object {
	_Atomic uint32_t gen;
	_Atomic uint32_t link;
	uint32_t key[3];
};

static struct slots slots;
static struct chainmap map;

static int setup(void **state)
{
	(void)state;
	return rcu_init() == 0 && slots_init(&slots, sizeof(struct object), 4096) == 0 &&
			chainmap_init(&map, &slots, offsetof(struct object, link),
				offsetof(struct object, key), sizeof(uint32_t[3])) == 0
		? 0
		: -1;
}

static int teardown(void **state)
{
	(void)state;
	chainmap_fini(&map);
	rcu_synchronize();
	slots_fini(&slots);
	return 0;
}

static uint32_t add(uint32_t n)
{
	uint32_t idx = slots_alloc(&slots);
	struct object *o = slots_at(&slots, idx);

	o->key[0] = n;
	o->key[2] = n / 7;
	chainmap_insert(&map, idx);
	return idx;
}

static uint32_t find(uint32_t n)
{
	uint32_t key[3] = { n, 0, n / 7 };

	return chainmap_find(&map, key);
}

static void test_chainmap_random_changes_match_an_array(void **state)
{
	static uint32_t where[2048];

	(void)state;
	memset(where, 0xff, sizeof(where));
	srand(1);
	for (unsigned int i = 0; i < 100000; i++) {
		uint32_t n = (uint32_t)rand() % 2048;

		assert_int_equal(find(n), where[n]);
		if (where[n] == SLOT_NONE) {
			where[n] = add(n);
		} else {
			chainmap_remove(&map, where[n]);
			slots_free(&slots, where[n]);
			where[n] = SLOT_NONE;
			rcu_poll();
		}
	}
}

static void test_chainmap_reader_on_removed_object_reaches_the_rest(void **state)
{
	/* All in one chain: a map of one head. */
	uint32_t a, b, c;

	(void)state;
	map.mask = 0;
	a = add(10000);
	b = add(10001);
	c = add(10002);
	chainmap_remove(&map, b);
	/* A reader that stood on b still gets to a; those that come now skip b. */
	assert_int_equal(((struct object *)slots_at(&slots, b))->link, a + 1);
	assert_int_equal(find(10000), a);
	assert_int_equal(find(10001), SLOT_NONE);
	assert_int_equal(find(10002), c);
	map.mask = 4095;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chainmap_random_changes_match_an_array),
		cmocka_unit_test(test_chainmap_reader_on_removed_object_reaches_the_rest),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
