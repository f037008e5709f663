/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include <errno.h>

#include "datapath/packet/frag.h"

#define MAX 1024

static uint8_t frame[70000], flat[70000], again[70000];

/* Puts the fragments together and checks each: sizes, header, order. Returns bytes of payload. */
static uint32_t reassemble(struct rte_mbuf **out, int n, uint16_t mtu, uint32_t base, bool has_more)
{
	uint32_t done = 0;

	for (int i = 0; i < n; i++) {
		uint32_t len = util_flat(out[i], flat, sizeof(flat));
		const uint8_t *ip = flat + 14;
		uint32_t ihl = 4u * (ip[0] & 15), total = util_get16(ip + 2),
			 frag = util_get16(ip + 6);

		assert_memory_equal(flat, frame, 14);
		assert_int_equal(len, 14 + total);
		assert_true(total <= mtu);
		assert_int_equal(util_ref_sum(0, ip, ihl), 0xffff);
		assert_int_equal(util_get16(ip + 4), util_get16(frame + 18));
		assert_memory_equal(ip + 8, frame + 22, 2);
		assert_memory_equal(ip + 12, frame + 26, 8);
		assert_int_equal(8 * (frag & 0x1fff), base + done);
		assert_int_equal(frag & 0xe000, i == n - 1 && !has_more ? 0 : 0x2000);
		if (i != n - 1) {
			assert_int_equal((total - ihl) % 8, 0);
			assert_true(total + 8 > mtu || i > 0); /* no smaller than needed */
		}
		memcpy(again + done, ip + ihl, total - ihl);
		done += total - ihl;
		assert_true(rte_pktmbuf_headroom(out[i]) >= RTE_PKTMBUF_HEADROOM);
		rte_pktmbuf_free(out[i]);
	}
	return done;
}

static void test_frag_ip4_lengths_and_mtus_reassemble_to_the_packet(void **state)
{
	static const uint16_t mtus[] = { 68, 69, 75, 76, 576, 1280, 1450, 1500 };
	struct rte_mbuf *out[MAX];

	(void)state;
	for (size_t i = 0; i < RTE_DIM(mtus); i++)
		for (uint32_t payload = 1; payload < 4000; payload += 37) {
			struct util_packet k = { .proto = 17, .payload = payload };
			uint32_t len = util_packet_make(frame, &k);
			struct rte_mbuf *m;
			int n;

			memset(frame + len, 0xee, 9);
			m = util_chain(
				frame, len + payload % 9, 1 + payload % 80, 1 + payload % 999);
			n = frag_ip4(m, 14, util_pool, mtus[i], out, MAX);
			if (payload + 28 <= mtus[i]) {
				assert_int_equal(n, 1);
				assert_ptr_equal(out[0], m);
				rte_pktmbuf_free(m);
				continue;
			}
			assert_true(n > 1);
			assert_int_equal(reassemble(out, n, mtus[i], 0, false), payload + 8);
			assert_memory_equal(again, frame + 34, payload + 8);
		}
}

static void test_frag_ip4_jumbo_fragments_span_buffers(void **state)
{
	struct util_packet k = { .proto = 17, .payload = 65507 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *out[MAX], *m = util_chain(frame, len, 128, 1999);
	int n = frag_ip4(m, 14, util_pool, 9000, out, MAX);

	(void)state;
	assert_int_equal(n, 8);
	assert_int_equal(reassemble(out, n, 9000, 0, false), 65515);
	assert_memory_equal(again, frame + 34, 65515);
}

static void test_frag_ip4_fragment_of_fragment_keeps_its_place(void **state)
{
	for (int more = 0; more < 2; more++) {
		struct util_packet k = { .proto = 17, .payload = 992 };
		uint32_t len = util_packet_make(frame, &k);
		struct rte_mbuf *out[MAX], *m;
		int n;

		(void)state;
		util_put16(frame + 20, (more ? 0x2000 : 0) | 125);
		m = util_chain(frame, len, 0, 0);
		n = frag_ip4(m, 14, util_pool, 300, out, MAX);
		assert_int_equal(n, 4);
		assert_int_equal(reassemble(out, n, 300, 1000, more), 1000);
		assert_memory_equal(again, frame + 34, 1000);
	}
}

static void test_frag_ip4_options_only_copied_ones_on_later_fragments(void **state)
{
	/* record route (not copied), router alert (copied), end */
	static const uint8_t opts[12] = { 7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0 };
	struct util_packet k = { .proto = 17, .ip_opts = 12, .payload = 500 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *out[MAX], *m;
	int n;

	(void)state;
	memcpy(frame + 34, opts, 12);
	m = util_chain(frame, len, 40, 100);
	n = frag_ip4(m, 14, util_pool, 276, out, MAX);
	assert_int_equal(n, 3);
	util_flat(out[0], flat, sizeof(flat));
	assert_int_equal(flat[14], 0x48);
	assert_memory_equal(flat + 34, opts, 12);
	util_flat(out[1], flat, sizeof(flat));
	assert_int_equal(flat[14], 0x46);
	assert_memory_equal(flat + 34, opts + 7, 4);
	assert_int_equal(reassemble(out, n, 276, 0, false), 508);
	assert_memory_equal(again, frame + 46, 508);
}

static void test_frag_ip4_malformed_options_end_the_list(void **state)
{
	static const uint8_t bad[][4] = { { 0x94, 0, 0, 0 }, { 0x94, 1, 0, 0 }, { 0x94, 5, 0, 0 },
		{ 1, 1, 1, 0x94 } };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(bad); i++) {
		struct util_packet k = { .proto = 17, .ip_opts = 4, .payload = 500 };
		uint32_t len = util_packet_make(frame, &k);
		struct rte_mbuf *out[MAX], *m;
		int n;

		memcpy(frame + 34, bad[i], 4);
		m = util_chain(frame, len, 0, 0);
		n = frag_ip4(m, 14, util_pool, 300, out, MAX);
		assert_int_equal(n, 2);
		util_flat(out[1], flat, sizeof(flat));
		assert_int_equal(flat[14], 0x45);
		assert_int_equal(reassemble(out, n, 300, 0, false), 508);
	}
}

static void test_frag_ip4_unfinished_checksum_is_finished_first(void **state)
{
	struct util_packet k = { .proto = 6, .payload = 2000 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *out[MAX], *m = util_chain(frame, len, 1000, 100);
	int n;

	(void)state;
	util_put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 50), 0xbeef);
	util_meta(m, &k, 0);
	n = frag_ip4(m, 14, util_pool, 1500, out, MAX);
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++)
		assert_int_equal(out[i]->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK, 0);
	reassemble(out, n, 1500, 0, false);
	assert_memory_equal(again, frame + 34, 2020);
}

static void test_frag_ip4_refusals_keep_the_packet(void **state)
{
	for (int broken = 0; broken < 9; broken++) {
		static const int errors[] = { -EMSGSIZE, -EINVAL, -EINVAL, -EINVAL, -EINVAL,
			-EINVAL, -E2BIG, -EINVAL, -EINVAL };
		struct util_packet k = { .proto = 17, .payload = 1000 };
		uint32_t len = util_packet_make(frame, &k);
		struct rte_mbuf *out[MAX], *m;

		(void)state;
		if (broken == 0)
			util_put16(frame + 20, 0x4000);
		else if (broken == 1)
			frame[14] = 0x44;
		else if (broken == 2)
			frame[14] = 0x65;
		else if (broken == 3)
			util_put16(frame + 16, 1029);
		else if (broken == 7)
			util_put16(frame + 20, 8191); /* ends past 65535 */
		else if (broken == 8)
			util_put16(frame + 16, 19);
		m = util_chain(frame, len, 33, 100);
		if (broken == 4)
			util_meta(m, &k, 100);
		assert_int_equal(frag_ip4(m, 14, util_pool, broken == 5 ? 67 : 200, out,
					 broken == 6 ? 5 : MAX),
			errors[broken]);
		assert_int_equal(util_flat(m, flat, sizeof(flat)), len);
		assert_memory_equal(flat, frame, len);
		rte_pktmbuf_free(m);
	}
}

static void test_frag_ip4_empty_pool_leaks_nothing(void **state)
{
	struct rte_mempool *small = rte_pktmbuf_pool_create(
		"small", 15, 0, 0, RTE_PKTMBUF_HEADROOM + 512, 0);
	struct util_packet k = { .proto = 17, .payload = 9000 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *out[MAX], *m = util_chain(frame, len, 0, 0);

	(void)state;
	assert_non_null(small);
	assert_int_equal(frag_ip4(m, 14, small, 1500, out, MAX), -ENOMEM);
	assert_int_equal(frag_ip4(m, 14, small, 500, out, MAX), -ENOMEM);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	rte_pktmbuf_free(m);
	rte_mempool_free(small);
}

static bool place_of(const uint8_t *bytes, uint32_t len, struct frag_place *out)
{
	struct rte_mbuf *m = util_chain(bytes, len, 17, 5);
	bool is_fragment = frag_place(m, 14, out);

	rte_pktmbuf_free(m);
	return is_fragment;
}

static void test_frag_place_of_ip4_fragments_and_whole_packets(void **state)
{
	struct util_packet k = { .proto = 17, .ip_opts = 8, .payload = 92 };
	uint8_t p[200];
	uint32_t len = util_packet_make(p, &k);
	struct frag_place place;

	(void)state;
	util_put16(p + 18, 0xabcd);
	assert_false(place_of(p, len, &place));
	util_put16(p + 20, 0x4000);
	assert_false(place_of(p, len, &place));
	util_put16(p + 20, 0x2000);
	assert_true(place_of(p, len, &place));
	assert_true(place.id == 0xabcd && place.proto == 17 && place.off == 0 && place.len == 100 &&
		!place.is_last);
	util_put16(p + 20, 0x1fff);
	assert_true(place_of(p, len + 5, &place)); /* link padding */
	assert_true(place.off == 65528 && place.len == 100 && place.is_last);
}

static void test_frag_place_of_ip6_fragments_begins_behind_the_fragment_header(void **state)
{
	static const uint8_t dstopts[8] = { 17, 0, 1, 4 };
	struct util_packet k = { .is_v6 = true, .proto = 17, .payload = 80 };
	uint8_t p[200];
	uint32_t len = util_packet_make(p, &k);
	struct frag_place place;

	(void)state;
	assert_false(place_of(p, len, &place));
	/* Fragment header, then destination options: part of what is cut. */
	memmove(p + 70, p + 54, len - 54);
	memset(p + 54, 0, 8);
	memcpy(p + 62, dstopts, 8);
	p[20] = 44;
	p[54] = 60;
	util_put32(p + 58, 0x89abcdef);
	util_put16(p + 18, len - 54 + 16);
	assert_false(place_of(p, len + 16, &place)); /* atomic */
	util_put16(p + 56, 1);
	assert_true(place_of(p, len + 16, &place));
	assert_true(place.id == 0x89abcdef && place.proto == 0 && place.off == 0 &&
		place.len == 96 && !place.is_last);
	util_put16(p + 56, 0x0100);
	assert_true(place_of(p, len + 16, &place));
	assert_true(place.off == 256 && place.len == 96 && place.is_last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_frag_ip4_lengths_and_mtus_reassemble_to_the_packet),
		UTIL_TEST(test_frag_ip4_jumbo_fragments_span_buffers),
		UTIL_TEST(test_frag_ip4_fragment_of_fragment_keeps_its_place),
		UTIL_TEST(test_frag_ip4_options_only_copied_ones_on_later_fragments),
		UTIL_TEST(test_frag_ip4_malformed_options_end_the_list),
		UTIL_TEST(test_frag_ip4_unfinished_checksum_is_finished_first),
		UTIL_TEST(test_frag_ip4_refusals_keep_the_packet),
		UTIL_TEST(test_frag_ip4_empty_pool_leaks_nothing),
		UTIL_TEST(test_frag_place_of_ip4_fragments_and_whole_packets),
		UTIL_TEST(test_frag_place_of_ip6_fragments_begins_behind_the_fragment_header),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
