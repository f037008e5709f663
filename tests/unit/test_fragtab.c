/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include <pthread.h>

#include "datapath/table/flowtab.h"
#include "datapath/table/fragtab.h"

#define S 1000000000ull

static struct fragtab *t;
static struct fragtab_out out;
static const struct fragtab_first ports = {
	.sport = RTE_BE16(53), .dport = RTE_BE16(40000), .proto = 17, .has_l4 = true
};

static int setup(void **state)
{
	(void)state;
	t = fragtab_create(FRAGTAB_DATAGRAMS);
	return t == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	fragtab_destroy(t);
	return util_no_leak(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static struct fragtab_key key_of(uint32_t src, uint32_t id)
{
	return (struct fragtab_key){ .src = ip_from_v4(rte_cpu_to_be_32(0x0a000000 + src)),
		.dst = ip_from_v4(RTE_BE32(0xc0000201)),
		.id = id,
		.zone = 1,
		.in = 3,
		.proto = 17 };
}

/* A packet that carries a number. */
static struct rte_mbuf *packet(uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(util_pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, 4), &number, 4);
	return m;
}

static uint32_t number_of(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint32_t *);
}

/* A fragment arrives; its packet is freed unless held, what comes out is the caller's. */
static enum fragtab_verdict enter_at(const struct fragtab_key *key, uint16_t off, uint16_t len,
	bool is_last, uint32_t number, uint64_t now_ns)
{
	struct rte_mbuf *m = packet(number);
	enum fragtab_verdict verdict = fragtab_enter(t, key,
		&(struct fragtab_range){ off, len, is_last }, off == 0 ? &ports : NULL, m, now_ns,
		&out);

	if (verdict != FRAGTAB_HELD)
		rte_pktmbuf_free(m);
	if (verdict == FRAGTAB_FIRST || verdict == FRAGTAB_PORTS)
		assert_memory_equal(&out.first, &ports, sizeof(ports));
	return verdict;
}

static enum fragtab_verdict enter(
	const struct fragtab_key *key, uint16_t off, uint16_t len, bool is_last)
{
	return enter_at(key, off, len, is_last, 0, S);
}

static void free_out(void)
{
	rte_pktmbuf_free_bulk(out.held, out.n_held);
}

static void assert_usage(uint32_t n_datagrams, uint32_t n_held)
{
	struct fragtab_usage usage = fragtab_usage(t);

	assert_int_equal(usage.n_datagrams, n_datagrams);
	assert_int_equal(usage.n_held, n_held);
}

static bool next_permutation(uint8_t *p, int n)
{
	int i = n - 2, j = n - 1;

	while (i >= 0 && p[i] > p[i + 1])
		i--;
	if (i < 0)
		return false;
	while (p[j] < p[i])
		j--;
	RTE_SWAP(p[i], p[j]);
	for (i++, j = n - 1; i < j; i++, j--)
		RTE_SWAP(p[i], p[j]);
	return true;
}

static void test_fragtab_any_order_delivers_each_fragment_once(void **state)
{
	enum { N = 6 };
	uint8_t order[N] = { 0, 1, 2, 3, 4, 5 };
	uint32_t id = 0;

	(void)state;
	do {
		struct fragtab_key key = key_of(1, id++);
		uint32_t before_first[N], n_before = 0;
		bool has_first = false;

		for (int i = 0; i < N; i++) {
			uint32_t k = order[i];
			enum fragtab_verdict verdict = enter_at(&key, (uint16_t)(k * 1480),
				k == N - 1 ? 99 : 1480, k == N - 1, k, S);

			if (k == 0) {
				assert_int_equal(verdict, FRAGTAB_FIRST);
				assert_int_equal(out.n_held, n_before);
				for (uint32_t h = 0; h < n_before; h++)
					assert_int_equal(number_of(out.held[h]), before_first[h]);
				free_out();
				has_first = true;
				continue;
			}
			assert_int_equal(verdict, has_first ? FRAGTAB_PORTS : FRAGTAB_HELD);
			assert_int_equal(out.n_held, 0);
			if (!has_first)
				before_first[n_before++] = k;
		}
		assert_usage(0, 0);
	} while (next_permutation(order, N));
	assert_int_equal(id, 720);
}

/* What RFC 5722 and common sense say of two fragments. */
static enum fragtab_verdict second_of(
	const struct fragtab_range *a, const struct fragtab_range *b, bool has_first)
{
	uint32_t a_end = (uint32_t)a->off + a->len, b_end = (uint32_t)b->off + b->len;

	if (a->off == b->off && a->len == b->len && a->is_last == b->is_last)
		return FRAGTAB_DUPLICATE;
	for (uint32_t byte = a->off; byte < a_end; byte++)
		if (byte >= b->off && byte < b_end)
			return FRAGTAB_OVERLAP;
	if ((a->is_last && (b->is_last || b_end > a_end)) || (b->is_last && a_end > b_end))
		return FRAGTAB_OVERLAP;
	return b->off == 0 ? FRAGTAB_FIRST : has_first ? FRAGTAB_PORTS : FRAGTAB_HELD;
}

static void test_fragtab_every_pair_of_fragments_is_judged_by_its_bytes(void **state)
{
	struct fragtab_range pieces[80];
	unsigned int n = 0;

	(void)state;
	for (uint16_t off = 0; off < 40; off = (uint16_t)(off + 8))
		for (uint16_t len = 8; len <= 32; len = (uint16_t)(len + 8))
			for (int is_last = off == 0 ? 0 : 1; is_last >= 0; is_last--)
				pieces[n++] = (struct fragtab_range){ off, len, is_last };
	for (unsigned int i = 0; i < n * n; i++) {
		const struct fragtab_range *a = &pieces[i / n], *b = &pieces[i % n];
		struct fragtab_key key = key_of(i, i);
		enum fragtab_verdict first = enter(&key, a->off, a->len, a->is_last), second;
		uint32_t n_held = first == FRAGTAB_HELD;

		assert_int_equal(first, a->off == 0 ? FRAGTAB_FIRST : FRAGTAB_HELD);
		second = enter(&key, b->off, b->len, b->is_last);
		assert_int_equal(second, second_of(a, b, a->off == 0));
		assert_int_equal(out.n_held,
			second == FRAGTAB_OVERLAP || second == FRAGTAB_FIRST ? n_held : 0);
		free_out();
		/* Once bad, all is bad: also what would have fitted. */
		if (second == FRAGTAB_OVERLAP) {
			assert_int_equal(enter(&key, 800, 8, false), FRAGTAB_OVERLAP);
			assert_int_equal(enter(&key, a->off, a->len, a->is_last), FRAGTAB_OVERLAP);
			assert_int_equal(out.n_held, 0);
		}
		while ((out.n_held = fragtab_expire(
				t, S + FRAGTAB_TIMEOUT_NS, out.held, FRAGTAB_HELD_MAX)) > 0)
			free_out();
		assert_usage(0, 0);
	}
}

static void test_fragtab_overlap_gives_held_fragments_back_in_order(void **state)
{
	struct fragtab_key key = key_of(1, 1);

	(void)state;
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(enter_at(&key, (uint16_t)(80 * i), 80, false, i, S), FRAGTAB_HELD);
	assert_int_equal(enter(&key, 88, 8, false), FRAGTAB_OVERLAP);
	assert_int_equal(out.n_held, 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(number_of(out.held[i]), i + 1);
	free_out();
	assert_int_equal(enter(&key, 0, 80, false), FRAGTAB_OVERLAP);
	assert_int_equal(out.n_held, 0);
	assert_usage(1, 0);
}

static void test_fragtab_duplicate_leaves_the_datagram_alone(void **state)
{
	struct fragtab_key key = key_of(1, 1);

	(void)state;
	assert_int_equal(enter(&key, 80, 80, false), FRAGTAB_HELD);
	assert_int_equal(enter(&key, 80, 80, false), FRAGTAB_DUPLICATE);
	assert_int_equal(enter(&key, 0, 80, false), FRAGTAB_FIRST);
	assert_int_equal(out.n_held, 1);
	free_out();
	assert_int_equal(enter(&key, 0, 80, false), FRAGTAB_DUPLICATE);
	assert_int_equal(out.n_held, 0);
	assert_int_equal(enter(&key, 160, 1, true), FRAGTAB_PORTS);
	assert_usage(0, 0);
}

static void test_fragtab_impossible_places_poison(void **state)
{
	static const struct fragtab_range bad[] = { { 8, 0, true }, { 8, 7, false },
		{ 4, 8, false }, { 65528, 8, true }, { 65528, 16, false } };

	(void)state;
	for (uint32_t i = 0; i < RTE_DIM(bad); i++) {
		struct fragtab_key key = key_of(1, i);

		assert_int_equal(
			enter(&key, bad[i].off, bad[i].len, bad[i].is_last), FRAGTAB_OVERLAP);
		assert_int_equal(enter(&key, 0, 8, false), FRAGTAB_OVERLAP);
	}
	/* The largest datagram there is. */
	assert_int_equal(enter(&(struct fragtab_key){ .id = 99 }, 65528, 7, true), FRAGTAB_HELD);
}

static void test_fragtab_more_fragments_than_recorded_poison(void **state)
{
	struct fragtab_key key = key_of(1, 1);

	(void)state;
	for (uint16_t i = 0; i < FRAGTAB_RANGES_MAX; i++)
		assert_int_equal(enter(&key, (uint16_t)(i * 8), 8, false),
			i == 0 ? FRAGTAB_FIRST : FRAGTAB_PORTS);
	assert_int_equal(enter(&key, FRAGTAB_RANGES_MAX * 8, 8, true), FRAGTAB_OVERLAP);
}

static void test_fragtab_each_part_of_the_key_tells_datagrams_apart(void **state)
{
	struct fragtab_key key = key_of(1, 1);

	(void)state;
	assert_int_equal(enter(&key, 0, 8, false), FRAGTAB_FIRST);
	for (size_t byte = 0; byte < offsetof(struct fragtab_key, reserved); byte++) {
		struct fragtab_key other = key;

		((uint8_t *)&other)[byte] ^= 0x80;
		assert_int_equal(enter(&other, 8, 8, false), FRAGTAB_HELD);
	}
	assert_int_equal(enter(&key, 8, 8, true), FRAGTAB_PORTS);
}

static void test_fragtab_holds_so_many_of_one_datagram(void **state)
{
	struct fragtab_key key = key_of(1, 1);

	(void)state;
	for (uint16_t i = 1; i <= FRAGTAB_HELD_MAX; i++)
		assert_int_equal(enter(&key, (uint16_t)(i * 8), 8, false), FRAGTAB_HELD);
	assert_int_equal(enter(&key, 800, 8, false), FRAGTAB_FULL);
	assert_int_equal(out.n_held, 0);
	assert_int_equal(enter(&key, 0, 8, false), FRAGTAB_FIRST);
	assert_int_equal(out.n_held, FRAGTAB_HELD_MAX);
	free_out();
	/* What had no room was not recorded: it may come again. */
	assert_int_equal(enter(&key, 800, 8, false), FRAGTAB_PORTS);
}

static void test_fragtab_flood_of_one_source_leaves_room_for_others(void **state)
{
	const struct fragtab_usage max = fragtab_usage(t);
	uint32_t n_held = 0, n_first = 0, src = 2;

	(void)state;
	for (uint32_t id = 0; id < 5000; id++) {
		struct fragtab_key key = key_of(1, id);

		n_held += enter(&key, 80, 80, false) == FRAGTAB_HELD;
	}
	assert_int_equal(n_held, max.n_held_max / FRAGTAB_SOURCE_SHARE);
	assert_usage(n_held, n_held);
	for (uint32_t id = 5000; id < 15000; id++) {
		struct fragtab_key key = key_of(1, id);

		n_first += enter(&key, 0, 80, false) == FRAGTAB_FIRST;
	}
	assert_int_equal(n_held + n_first, max.n_datagrams_max / FRAGTAB_SOURCE_SHARE);
	/* Some other address (not every one: a few share the flooder's counter) has all its room. */
	for (uint32_t id = 0; id < 100; id++) {
		struct fragtab_key key = key_of(src, id);

		if (id == 0 && enter(&key, 80, 80, true) == FRAGTAB_FULL) {
			key = key_of(++src, id);
			assert_int_equal(enter(&key, 80, 80, true), FRAGTAB_HELD);
		} else if (id != 0) {
			assert_int_equal(enter(&key, 80, 80, true), FRAGTAB_HELD);
		}
		assert_int_equal(enter(&key, 0, 80, false), FRAGTAB_FIRST);
		assert_int_equal(out.n_held, 1);
		free_out();
	}
}

/* Fragments from ever other sources that wait for their first, and firsts that wait for the others; what was held. */
static uint32_t flood(uint16_t in, uint32_t n)
{
	uint32_t n_taken = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct fragtab_key held = key_of(i, i), first = key_of(i, n + i);

		held.in = first.in = in;
		n_taken += enter(&held, 8, 8, false) == FRAGTAB_HELD;
		n_taken += enter(&held, 16, 8, false) == FRAGTAB_HELD;
		enter(&first, 0, 8, false);
	}
	return n_taken;
}

static void assert_third(uint32_t n, uint32_t all)
{
	assert_in_range(n, all / 3, all / 3 + 1);
}

static void test_fragtab_many_sources_of_one_port_get_a_third(void **state)
{
	const struct fragtab_usage max = fragtab_usage(t);
	struct fragtab_usage usage;
	uint32_t n_held = flood(3, 4 * max.n_datagrams_max);

	(void)state;
	usage = fragtab_usage(t);
	assert_int_equal(usage.n_held, n_held);
	assert_third(usage.n_held, max.n_held_max);
	assert_third(usage.n_datagrams, max.n_datagrams_max);
	/* What another one gets does not depend on whose addresses were used. */
	assert_third(flood(FLOW_IN_TUNNEL | 3, 4 * max.n_datagrams_max), max.n_held_max - n_held);
}

static void test_fragtab_floods_of_eight_ports_leave_room_for_a_ninth(void **state)
{
	const struct fragtab_usage max = fragtab_usage(t);
	uint32_t n_whole = 0;

	(void)state;
	for (uint16_t in = 10; in < 18; in++)
		flood(in, max.n_datagrams_max);
	for (uint32_t id = 0; id < 20; id++) {
		struct fragtab_key key = key_of(1, id);

		if (enter(&key, 80, 80, true) != FRAGTAB_HELD)
			continue;
		assert_int_equal(enter(&key, 0, 80, false), FRAGTAB_FIRST);
		assert_int_equal(out.n_held, 1);
		free_out();
		n_whole++;
	}
	/* nearly all: their buckets may be full */
	assert_true(n_whole > 10);
	assert_true(fragtab_usage(t).n_held < max.n_held_max);
	assert_true(fragtab_usage(t).n_datagrams < max.n_datagrams_max);
}

static void test_fragtab_expiry_gives_back_what_is_too_old_and_nothing_else(void **state)
{
	struct rte_mbuf *old[40];
	uint32_t n, n_all = 0;

	(void)state;
	for (uint32_t i = 0; i < 60; i++) {
		struct fragtab_key key = key_of(i, i);

		enter_at(&key, 8, 8, false, i, i * S);
		enter_at(&key, 16, 8, false, i, i * S + S / 2);
	}
	assert_int_equal(fragtab_expire(t, FRAGTAB_TIMEOUT_NS - 1, old, 40), 0);
	assert_usage(60, 120);
	/* Datagrams 0…19 began at 0…19 s. */
	while ((n = fragtab_expire(t, FRAGTAB_TIMEOUT_NS + 19 * S, old, 17)) > 0) {
		assert_true(n <= 17);
		for (uint32_t i = 0; i < n; i++)
			assert_true(number_of(old[i]) < 20);
		rte_pktmbuf_free_bulk(old, n);
		n_all += n;
	}
	assert_int_equal(n_all, 40);
	assert_usage(40, 80);
	/* The place is free again: the same datagram begins anew. */
	assert_int_equal(
		enter_at(&(struct fragtab_key){ .id = 1 }, 8, 8, true, 0, 60 * S), FRAGTAB_HELD);
}

static void test_fragtab_expiry_ends_poison_and_the_memory_of_ports(void **state)
{
	struct fragtab_key a = key_of(1, 1), b = key_of(1, 2);
	struct rte_mbuf *old[FRAGTAB_HELD_MAX];

	(void)state;
	assert_int_equal(enter_at(&a, 0, 8, false, 0, S), FRAGTAB_FIRST);
	assert_int_equal(enter_at(&b, 4, 8, false, 0, S), FRAGTAB_OVERLAP);
	assert_int_equal(fragtab_expire(t, S + FRAGTAB_TIMEOUT_NS, old, FRAGTAB_HELD_MAX), 0);
	assert_usage(0, 0);
	assert_int_equal(enter_at(&a, 8, 8, true, 0, 32 * S), FRAGTAB_HELD);
	assert_int_equal(enter_at(&b, 0, 8, false, 0, 32 * S), FRAGTAB_FIRST);
}

static void test_fragtab_create_refuses_other_sizes(void **state)
{
	(void)state;
	assert_null(fragtab_create(0));
	assert_null(fragtab_create(8));
	assert_null(fragtab_create(1000));
	fragtab_destroy(NULL);
}

#define HAMMER_DATAGRAMS 1000u
#define HAMMER_FRAGMENTS 7u
#define HAMMER_ALL (HAMMER_DATAGRAMS * HAMMER_FRAGMENTS)
#define HAMMER_WINDOW 350u /* fragments that change places; divides all */
#define HAMMER_ROUNDS 10

/* Packets are made before and freed after: a pool's ring stands still while one of its users is not running. */
static struct rte_mbuf *hammer_packets[HAMMER_ALL];
static uint32_t hammer_order[HAMMER_ALL];
static _Atomic uint32_t hammer_next;
static _Atomic uint32_t hammer_seen[HAMMER_ALL];
static _Atomic uint32_t hammer_bad;

static void *hammer(void *arg)
{
	struct fragtab_out mine;
	uint32_t i;

	(void)arg;
	while ((i = atomic_fetch_add(&hammer_next, 1)) < HAMMER_ALL) {
		uint32_t number = hammer_order[i], k = number % HAMMER_FRAGMENTS;
		uint32_t id = number / HAMMER_FRAGMENTS;
		struct fragtab_key key = key_of(id % 100, id);
		struct fragtab_range range = { (uint16_t)(k * 8), 8, k == HAMMER_FRAGMENTS - 1 };
		enum fragtab_verdict verdict = fragtab_enter(
			t, &key, &range, k == 0 ? &ports : NULL, hammer_packets[number], S, &mine);

		if (verdict == (k == 0 ? FRAGTAB_FIRST : FRAGTAB_PORTS))
			atomic_fetch_add(&hammer_seen[number], 1);
		else if (verdict != FRAGTAB_HELD || k == 0)
			atomic_fetch_add(&hammer_bad, 1);
		for (uint32_t h = 0; h < mine.n_held; h++)
			atomic_fetch_add(&hammer_seen[number_of(mine.held[h])], 1);
		if (i % 500 == 0 && fragtab_expire(t, S, mine.held, FRAGTAB_HELD_MAX) != 0)
			atomic_fetch_add(&hammer_bad, 1);
	}
	return NULL;
}

static void test_fragtab_workers_lose_nothing_and_deliver_nothing_twice(void **state)
{
	pthread_t threads[3];

	(void)state;
	for (uint32_t i = 0; i < HAMMER_ALL; i++) {
		hammer_order[i] = i;
		hammer_packets[i] = packet(i);
	}
	for (uint32_t round = 1; round <= HAMMER_ROUNDS; round++) {
		for (uint32_t i = 0; i < HAMMER_ALL; i++) {
			uint32_t room = HAMMER_WINDOW - i % HAMMER_WINDOW;
			uint32_t j = i + (uint32_t)random() % room;

			RTE_SWAP(hammer_order[i], hammer_order[j]);
		}
		atomic_store(&hammer_next, 0);
		for (size_t i = 0; i < RTE_DIM(threads); i++)
			assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
		for (size_t i = 0; i < RTE_DIM(threads); i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(hammer_bad, 0);
		for (uint32_t i = 0; i < HAMMER_ALL; i++)
			assert_int_equal(hammer_seen[i], round);
		assert_usage(0, 0);
	}
	rte_pktmbuf_free_bulk(hammer_packets, HAMMER_ALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fragtab_any_order_delivers_each_fragment_once),
		TEST(test_fragtab_every_pair_of_fragments_is_judged_by_its_bytes),
		TEST(test_fragtab_overlap_gives_held_fragments_back_in_order),
		TEST(test_fragtab_duplicate_leaves_the_datagram_alone),
		TEST(test_fragtab_impossible_places_poison),
		TEST(test_fragtab_more_fragments_than_recorded_poison),
		TEST(test_fragtab_each_part_of_the_key_tells_datagrams_apart),
		TEST(test_fragtab_holds_so_many_of_one_datagram),
		TEST(test_fragtab_flood_of_one_source_leaves_room_for_others),
		TEST(test_fragtab_many_sources_of_one_port_get_a_third),
		TEST(test_fragtab_floods_of_eight_ports_leave_room_for_a_ninth),
		TEST(test_fragtab_expiry_gives_back_what_is_too_old_and_nothing_else),
		TEST(test_fragtab_expiry_ends_poison_and_the_memory_of_ports),
		TEST(test_fragtab_create_refuses_other_sizes),
		TEST(test_fragtab_workers_lose_nothing_and_deliver_nothing_twice),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
