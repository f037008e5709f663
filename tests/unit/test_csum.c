/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include <errno.h>

#include "datapath/packet/csum.h"

static uint8_t frame[70000], flat[70000];

static void test_csum_add_any_length_and_alignment_matches_bytewise_sum(void **state)
{
	(void)state;
	util_fill(frame, 4200);
	for (size_t align = 0; align < 8; align++)
		for (size_t len = 0; len < 300; len++) {
			uint16_t ref = util_ref_sum(0, frame + align, len);

			assert_int_equal(
				rte_be_to_cpu_16(csum_fold(csum_add(0, frame + align, len))), ref);
		}
	memset(frame, 0xff, 65536);
	assert_int_equal(csum_fold(csum_add(~0ull, frame, 65536)), 0xffff);
}

static void test_csum_add_mbuf_odd_boundaries_matches_flat_sum(void **state)
{
	static const uint32_t steps[] = { 1, 2, 3, 5, 7, 13, 64, 100, 255, 1999 };

	(void)state;
	util_fill(frame, 1500);
	for (uint32_t first = 0; first < 20; first++)
		for (size_t i = 0; i < RTE_DIM(steps); i++) {
			struct rte_mbuf *m = util_chain(
				frame, 500, first == 0 ? 1 : first, steps[i]);

			for (uint32_t off = 0; off <= 40; off++)
				for (uint32_t len = 0; len <= 460; len += 23) {
					uint64_t sum = 0;

					assert_true(csum_add_mbuf(&sum, m, off, len));
					assert_int_equal(rte_be_to_cpu_16(csum_fold(sum)),
						util_ref_sum(0, frame + off, len));
				}
			uint64_t sum = 0;

			assert_true(csum_add_mbuf(&sum, m, 500, 0));
			assert_false(csum_add_mbuf(&sum, m, 500, 1));
			assert_false(csum_add_mbuf(&sum, m, 0, 501));
			assert_false(csum_add_mbuf(&sum, m, 501, 0));
			rte_pktmbuf_free(m);
		}
}

static const struct util_packet kinds[] = {
	{ .proto = 6 },
	{ .proto = 17 },
	{ .proto = 6, .tcp_opts = 12, .ip_opts = 8 },
	{ .proto = 17, .ip_opts = 40 },
	{ .is_v6 = true, .proto = 6, .tcp_opts = 40 },
	{ .is_v6 = true, .proto = 17 },
};

static void test_csum_finish_all_lengths_and_splits_gives_reference_checksum(void **state)
{
	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++)
		for (uint32_t payload = 0; payload < 200; payload++) {
			struct util_packet k = kinds[i];
			struct rte_mbuf *m;
			uint32_t len, pad = payload % 5, field;

			k.payload = payload;
			len = util_packet_make(frame, &k);
			memcpy(flat, frame, len);
			field = (k.is_v6 ? 54u : 34u + k.ip_opts) + util_csum_off(k.proto);
			util_put16(frame + field, util_byte() << 8 | util_byte());
			memset(frame + len, 0xee, pad); /* link padding is not summed */
			m = util_chain(frame, len + pad, 1 + payload % 61, 1 + payload % 17);
			util_meta(m, &k, 0);
			assert_int_equal(csum_finish(m), 0);
			assert_false(csum_is_unfinished(m));
			util_flat(m, frame, sizeof(frame));
			assert_memory_equal(frame, flat, len);
			assert_int_equal(csum_verify_l4(m, 14), CSUM_OK);
			rte_pktmbuf_free(m);
		}
}

static void test_csum_finish_udp_result_zero_becomes_all_ones(void **state)
{
	struct util_packet k = { .proto = 17, .payload = 2 };
	struct rte_mbuf *m;
	uint32_t len = util_packet_make(frame, &k);
	uint16_t sum;

	(void)state;
	/* Choose the payload so that everything else sums up to its complement. */
	util_put16(frame + 42, 0);
	util_put16(frame + 40, 0);
	sum = util_ref_l4_sum(frame + 14);
	util_put16(frame + 42, 0xffffu & ~sum);
	m = util_chain(frame, len, 0, 0);
	util_meta(m, &k, 0);
	assert_int_equal(csum_finish(m), 0);
	util_flat(m, flat, sizeof(flat));
	assert_int_equal(util_get16(flat + 40), 0xffff);
	rte_pktmbuf_free(m);
}

static void test_csum_finish_behind_outer_headers_finds_inner_checksum(void **state)
{
	struct util_packet k = { .proto = 6, .payload = 33 };
	uint32_t len = util_packet_make(frame + 70, &k);
	struct rte_mbuf *m;

	(void)state;
	memcpy(flat, frame, len + 70);
	util_put16(frame + 70 + 34 + 16, 0);
	m = util_chain(frame, len + 70, 0, 0);
	util_meta(m, &k, 0);
	m->l2_len = 84;
	assert_int_equal(csum_finish(m), 0);
	util_flat(m, frame, sizeof(frame));
	assert_memory_equal(frame, flat, len + 70);
	rte_pktmbuf_free(m);
}

static void test_csum_finish_metadata_that_contradict_are_refused_unchanged(void **state)
{
	for (int broken = 0; broken < 9; broken++) {
		struct util_packet k = { .is_v6 = broken >= 6, .proto = 6, .payload = 10 };
		uint32_t len = util_packet_make(frame, &k);
		struct rte_mbuf *m;

		(void)state;
		if (broken == 0)
			util_put16(frame + 16, 51); /* total length: past the end by one */
		else if (broken == 1)
			util_put16(frame + 16, 39); /* no whole TCP header */
		else if (broken == 2)
			frame[14 + 9] = 17;
		else if (broken == 3)
			frame[14] = 0x46;
		else if (broken == 4)
			frame[14] = 0x65;
		else if (broken == 6)
			util_put16(frame + 18, 31);
		else if (broken == 7)
			frame[14] = 0x40;
		m = util_chain(frame, len, 20, 7);
		util_meta(m, &k, 0);
		if (broken == 5)
			m->l2_len = 100;
		else if (broken == 8)
			m->l3_len = 511;
		assert_int_equal(csum_finish(m), -EINVAL);
		assert_int_equal(csum_prepare(m), -EINVAL);
		util_flat(m, flat, sizeof(flat));
		assert_memory_equal(frame, flat, len);
		assert_true(csum_is_unfinished(m));
		rte_pktmbuf_free(m);
	}
}

static void test_csum_prepare_writes_pseudo_header_sum(void **state)
{
	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		struct util_packet k = kinds[i];
		uint32_t len, off = k.is_v6 ? 54u : 34u + k.ip_opts;
		struct rte_mbuf *m;
		uint16_t finished;

		k.payload = 40000;
		len = util_packet_make(frame, &k);
		finished = util_get16(frame + off + util_csum_off(k.proto));
		m = util_chain(frame, len, 1000, 1999);
		util_meta(m, &k, 1400);
		assert_int_equal(csum_prepare(m), 0);
		util_flat(m, flat, sizeof(flat));
		/* What the kernel does with it: sum from the L4 header on, field included. */
		assert_int_equal((uint16_t)~util_ref_sum(0, flat + off, len - off), finished);
		assert_true(csum_is_unfinished(m));
		rte_pktmbuf_free(m);
	}
}

static void test_csum_incremental_update_equals_recomputation(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct util_packet k = kinds[round % (int)RTE_DIM(kinds)];
		uint8_t old_ip[16], new_ip[16], *ip = frame + 14;
		uint32_t off, alen = k.is_v6 ? 16 : 4, field, o32, n32;
		uint16_t csum, o16, n16, delta;

		k.payload = (uint32_t)random() % 40;
		util_packet_make(frame, &k);
		off = k.is_v6 ? 54u : 34u + k.ip_opts;
		field = off + util_csum_off(k.proto);
		util_fill(new_ip, alen);
		if (round % 7 == 0)
			memset(new_ip, round % 2 ? 0xff : 0, alen);
		memcpy(old_ip, ip + (k.is_v6 ? 24 : 16), alen);
		memcpy(ip + (k.is_v6 ? 24 : 16), new_ip, alen);
		memcpy(&o16, frame + off + 2, 2);
		n16 = round % 5 == 0 ? (uint16_t)(round % 2 ? 0 : 0xffff) : (uint16_t)random();
		memcpy(frame + off + 2, &n16, 2);
		memcpy(&csum, frame + field, 2);
		if (k.is_v6) {
			delta = csum_delta_ip6(old_ip, new_ip);
		} else {
			memcpy(&o32, old_ip, 4);
			memcpy(&n32, new_ip, 4);
			delta = csum_delta32(o32, n32);
		}
		delta = csum_delta_add(delta, csum_delta16(o16, n16));
		csum = k.proto == 17 ? csum_apply_udp(csum, delta) : csum_apply(csum, delta);
		util_csums_fill(ip);
		assert_memory_equal(&csum, frame + field, 2);
	}
	assert_int_equal(csum_apply_udp(0, 0x1234), 0);
}

static void test_csum_dec_ttl_equals_recomputation(void **state)
{
	struct util_packet k = { .proto = 17 };

	(void)state;
	for (int round = 0; round < 70000; round++) {
		uint8_t *ip = frame + 14;
		uint16_t csum;

		if (round % 256 == 0)
			util_packet_make(frame, &k);
		util_put16(ip + 4, (unsigned int)random());
		ip[8] = (uint8_t)(1 + round % 255);
		util_csums_fill(ip);
		memcpy(&csum, ip + 10, 2);
		csum = csum_dec_ttl(csum);
		ip[8]--;
		util_csums_fill(ip);
		assert_memory_equal(&csum, ip + 10, 2);
	}
}

static void test_csum_verify_ip4_finds_any_flipped_bit(void **state)
{
	struct util_packet k = { .proto = 17, .ip_opts = 8, .payload = 8 };
	uint32_t len = util_packet_make(frame, &k);

	(void)state;
	for (uint32_t bit = 0; bit <= 28 * 8; bit++) {
		struct rte_mbuf *m;

		memcpy(flat, frame, len);
		if (bit < 28 * 8)
			flat[14 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		m = util_chain(flat, len, 17, 3);
		assert_int_equal(csum_verify_ip4(m, 14), bit == 28 * 8 ? CSUM_OK : CSUM_BAD);
		rte_pktmbuf_free(m);
	}
}

static void test_csum_verify_l4_finds_any_flipped_bit(void **state)
{
	static const struct util_packet all[] = { { .proto = 6, .payload = 5 },
		{ .proto = 17, .payload = 4 }, { .proto = 1, .payload = 7 },
		{ .is_v6 = true, .proto = 6, .payload = 3 },
		{ .is_v6 = true, .proto = 17, .payload = 9 },
		{ .is_v6 = true, .proto = 58, .payload = 11 } };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(all); i++) {
		uint32_t len = util_packet_make(frame, &all[i]), l4 = all[i].is_v6 ? 54 : 34;

		for (uint32_t bit = 0; bit <= (len - l4) * 8; bit++) {
			struct rte_mbuf *m;

			memcpy(flat, frame, len);
			if (bit < (len - l4) * 8)
				flat[l4 + bit / 8] ^= (uint8_t)(1 << bit % 8);
			m = util_chain(flat, len, 1 + bit % 50, 1 + bit % 11);
			assert_int_equal(
				csum_verify_l4(m, 14), bit == (len - l4) * 8 ? CSUM_OK : CSUM_BAD);
			rte_pktmbuf_free(m);
		}
	}
}

static enum csum_verdict verdict(uint32_t len)
{
	struct rte_mbuf *m = util_chain(frame, len, 0, 0);
	enum csum_verdict v = csum_verify_l4(m, 14);

	rte_pktmbuf_free(m);
	return v;
}

static void test_csum_verify_l4_says_what_it_cannot_judge(void **state)
{
	struct util_packet udp = { .proto = 17, .payload = 4 };
	uint32_t len = util_packet_make(frame, &udp);

	(void)state;
	util_put16(frame + 40, 0);
	assert_int_equal(verdict(len), CSUM_ABSENT);
	frame[14 + 9] = 132;
	assert_int_equal(verdict(len), CSUM_UNVERIFIABLE);
	frame[14 + 9] = 17;
	util_put16(frame + 20, 0x2000);
	assert_int_equal(verdict(len), CSUM_UNVERIFIABLE);
	frame[14] = 0x35;
	assert_int_equal(verdict(len), CSUM_BAD);
	/* UDP longer than its packet; shorter is what RFC 768 allows. */
	len = util_packet_make(frame, &udp);
	util_put16(frame + 38, 13);
	assert_int_equal(verdict(len), CSUM_BAD);
	util_put16(frame + 38, 7);
	assert_int_equal(verdict(len), CSUM_BAD);
	util_put16(frame + 16, 20 + 12 + 6);
	util_put16(frame + 38, 12);
	util_put16(frame + 40, 0);
	uint8_t pseudo[12] = { [9] = 17, [11] = 12 };

	memcpy(pseudo, frame + 26, 8);
	util_put16(
		frame + 40, 0xffffu & ~util_ref_sum(util_ref_sum(0, pseudo, 12), frame + 34, 12));
	assert_int_equal(verdict(len + 6), CSUM_OK);
	/* No byte of the packet at all. */
	assert_int_equal(verdict(14), CSUM_BAD);
}

static void test_csum_verify_l4_walks_ip6_extension_headers(void **state)
{
	struct util_packet k = { .is_v6 = true, .proto = 17, .payload = 20 };
	uint32_t len = util_packet_make(flat, &k);

	(void)state;
	/* Hop-by-hop (8 bytes) and destination options (16) between IPv6 and UDP. */
	memcpy(frame, flat, 54);
	memset(frame + 54, 0, 24);
	frame[20] = 0;
	frame[54] = 60;
	frame[62] = 17;
	frame[63] = 1;
	memcpy(frame + 78, flat + 54, len - 54);
	util_put16(frame + 18, len - 54 + 24);
	assert_int_equal(verdict(len + 24), CSUM_OK);
	frame[80] ^= 1;
	assert_int_equal(verdict(len + 24), CSUM_BAD);
	frame[63] = 200; /* options past the end */
	assert_int_equal(verdict(len + 24), CSUM_BAD);
	frame[63] = 1;
	frame[54] = 44; /* a fragment header of 8, then destination options would be its payload */
	frame[62] = 17;
	util_put16(frame + 64, 8);
	assert_int_equal(verdict(len + 24), CSUM_UNVERIFIABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_csum_add_any_length_and_alignment_matches_bytewise_sum),
		UTIL_TEST(test_csum_add_mbuf_odd_boundaries_matches_flat_sum),
		UTIL_TEST(test_csum_finish_all_lengths_and_splits_gives_reference_checksum),
		UTIL_TEST(test_csum_finish_udp_result_zero_becomes_all_ones),
		UTIL_TEST(test_csum_finish_behind_outer_headers_finds_inner_checksum),
		UTIL_TEST(test_csum_finish_metadata_that_contradict_are_refused_unchanged),
		UTIL_TEST(test_csum_prepare_writes_pseudo_header_sum),
		UTIL_TEST(test_csum_incremental_update_equals_recomputation),
		UTIL_TEST(test_csum_dec_ttl_equals_recomputation),
		UTIL_TEST(test_csum_verify_ip4_finds_any_flipped_bit),
		UTIL_TEST(test_csum_verify_l4_finds_any_flipped_bit),
		UTIL_TEST(test_csum_verify_l4_says_what_it_cannot_judge),
		UTIL_TEST(test_csum_verify_l4_walks_ip6_extension_headers),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
