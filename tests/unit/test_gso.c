/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include <errno.h>

#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"

#define MAX 256

static uint8_t frame[70000], flat[70000], want[70000];

static const struct util_packet kinds[] = {
	{ .proto = 6 },
	{ .proto = 6, .tcp_opts = 12, .ip_opts = 4 },
	{ .is_v6 = true, .proto = 6, .tcp_opts = 12 },
	{ .proto = 17 },
	{ .is_v6 = true, .proto = 17 },
};

/* Segment i of a flat super-frame, made the obvious way. Returns its length. */
static uint32_t reference_segment(
	const struct util_packet *k, uint32_t segsz, uint32_t i, uint32_t n)
{
	const uint32_t l3 = k->is_v6 ? 40u : 20u + k->ip_opts;
	const uint32_t l4 = k->proto == 6 ? 20u + k->tcp_opts : 8u, hdr = 14 + l3 + l4;
	uint32_t off = i * segsz, len = k->payload - off < segsz ? k->payload - off : segsz;
	uint8_t *ip = want + 14, *t = ip + l3;

	memcpy(want, frame, hdr);
	memcpy(want + hdr, frame + hdr + off, len);
	if (k->is_v6) {
		util_put16(ip + 4, l4 + len);
	} else {
		util_put16(ip + 2, l3 + l4 + len);
		util_put16(ip + 4, util_get16(ip + 4) + i);
	}
	if (k->proto == 17) {
		util_put16(t + 4, 8 + len);
	} else {
		util_put32(t + 4, util_get32(t + 4) + off);
		if (i != n - 1)
			t[13] &= 0xf6; /* FIN, PSH */
		if (i != 0)
			t[13] &= 0x7f; /* CWR */
	}
	util_csums_fill(ip);
	return hdr + len;
}

static struct rte_mbuf *superframe(struct util_packet *k, uint32_t payload, uint16_t segsz,
	uint32_t first, uint32_t step, uint32_t pad)
{
	uint32_t len, field;
	struct rte_mbuf *m;

	k->payload = payload;
	len = util_packet_make(frame, k);
	if (k->proto == 6)
		frame[14 + (k->is_v6 ? 40 : 20 + k->ip_opts) + 13] = 0xff;
	field = (k->is_v6 ? 54u : 34u + k->ip_opts) + util_csum_off(k->proto);
	util_put16(frame + field, 0x1234);
	memset(frame + len, 0xdd, pad);
	m = util_chain(frame, len + pad, first, step);
	util_meta(m, k, segsz);
	return m;
}

static void check_segments(
	const struct util_packet *k, uint32_t segsz, struct rte_mbuf **out, int n)
{
	assert_int_equal(n, (k->payload + segsz - 1) / segsz);
	for (int i = 0; i < n; i++) {
		uint32_t len = reference_segment(k, segsz, (uint32_t)i, (uint32_t)n);

		assert_int_equal(util_flat(out[i], flat, sizeof(flat)), len);
		assert_memory_equal(flat, want, len);
		assert_int_equal(out[i]->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK, 0);
		assert_true(rte_pktmbuf_headroom(out[i]) >= RTE_PKTMBUF_HEADROOM);
		rte_pktmbuf_free(out[i]);
	}
}

static void test_gso_segment_all_kinds_sizes_and_splits_match_reference(void **state)
{
	struct rte_mbuf *out[MAX];

	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++)
		for (uint32_t payload = 101; payload < 1200; payload += 13)
			for (uint32_t segsz = 8; segsz <= 100; segsz += 23) {
				struct util_packet k = kinds[i];
				struct rte_mbuf *m = superframe(&k, payload, (uint16_t)segsz,
					1 + payload % 90, 1 + payload % 31, payload % 7);
				int n = gso_n_segments(m);

				/* The padding may count for one more. */
				assert_true(n >= (int)((payload + segsz - 1) / segsz));
				n = gso_segment(m, util_pool, 0, out, MAX);
				check_segments(&k, segsz, out, n);
			}
}

static void test_gso_segment_64k_frames_match_reference(void **state)
{
	struct rte_mbuf *out[MAX];

	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++)
		for (uint16_t segsz = 1400; segsz < 9000; segsz = (uint16_t)(segsz + 1517)) {
			struct util_packet k = kinds[i];
			struct rte_mbuf *m = superframe(&k, 65000, segsz, 200, 1999, 0);

			check_segments(&k, segsz, out, gso_segment(m, util_pool, 0, out, MAX));
		}
}

static void test_gso_segment_mtu_makes_tcp_segments_smaller(void **state)
{
	struct util_packet k = { .is_v6 = true, .proto = 6, .tcp_opts = 12 };
	struct rte_mbuf *out[MAX], *m = superframe(&k, 20000, 1440, 500, 1000, 0);

	(void)state;
	check_segments(&k, 1450 - 72, out, gso_segment(m, util_pool, 1450, out, MAX));
	m = superframe(&k, 20000, 1440, 500, 1000, 0);
	check_segments(&k, 1440, out, gso_segment(m, util_pool, 1440 + 72, out, MAX));
	m = superframe(&k, 20000, 1440, 500, 1000, 0);
	assert_int_equal(gso_segment(m, util_pool, 72, out, MAX), -EMSGSIZE);
	check_segments(&k, 100, out, gso_segment(m, util_pool, 172, out, MAX));
}

static void test_gso_segment_udp_above_mtu_is_refused(void **state)
{
	struct util_packet k = { .proto = 17 };
	struct rte_mbuf *out[MAX], *m = superframe(&k, 5000, 1473, 500, 1000, 0);

	(void)state;
	assert_int_equal(gso_segment(m, util_pool, 1500, out, MAX), -EMSGSIZE);
	check_segments(&k, 1473, out, gso_segment(m, util_pool, 1501, out, MAX));
}

static void test_gso_segment_one_segment_is_finished_in_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++)
		for (uint32_t payload = 0; payload <= 100; payload += 50) {
			struct util_packet k = kinds[i];
			struct rte_mbuf *out[1], *m = superframe(&k, payload, 100, 60, 7, 0);
			uint32_t len;

			assert_int_equal(gso_segment(m, util_pool, 0, out, 1), 1);
			assert_ptr_equal(out[0], m);
			len = util_flat(m, flat, sizeof(flat));
			util_csums_fill(frame + 14);
			assert_memory_equal(flat, frame, len);
			assert_false(gso_is_superframe(m));
			rte_pktmbuf_free(m);
		}
}

static void test_gso_segment_plain_packet_passes_and_unfinished_is_finished(void **state)
{
	struct util_packet k = { .proto = 6, .payload = 77 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *out[1], *m = util_chain(frame, len, 0, 0);

	(void)state;
	assert_int_equal(gso_segment(m, util_pool, 0, out, 1), 1);
	assert_ptr_equal(out[0], m);
	util_put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 50), 0);
	util_meta(m, &k, 0);
	assert_int_equal(gso_segment(m, util_pool, 0, out, 1), 1);
	util_flat(m, flat, sizeof(flat));
	assert_memory_equal(flat, frame, len);
	rte_pktmbuf_free(m);
}

static void test_gso_segment_too_many_segments_keeps_the_packet(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX], *m = superframe(&k, 1000, 100, 500, 1000, 0);

	(void)state;
	assert_int_equal(gso_segment(m, util_pool, 0, out, 0), -E2BIG);
	assert_int_equal(gso_segment(m, util_pool, 0, out, 9), -E2BIG);
	check_segments(&k, 100, out, gso_segment(m, util_pool, 0, out, 10));
}

static void test_gso_segment_empty_pool_leaks_nothing(void **state)
{
	struct rte_mempool *small = rte_pktmbuf_pool_create(
		"small", 31, 0, 0, RTE_PKTMBUF_HEADROOM + 512, 0);
	struct rte_mbuf *out[MAX], *m;
	struct util_packet k = { .proto = 6 };

	(void)state;
	assert_non_null(small);
	/* 40 single buffers are not there; 13 segments of four buffers each fail halfway; 7 of them
	 * fit. */
	m = superframe(&k, 4000, 100, 500, 1000, 0);
	assert_int_equal(gso_segment(m, small, 0, out, MAX), -ENOMEM);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	rte_pktmbuf_free(m);
	m = superframe(&k, 26000, 2000, 500, 1000, 0);
	assert_int_equal(gso_segment(m, small, 0, out, MAX), -ENOMEM);
	assert_int_equal(rte_mempool_in_use_count(small), 0);
	assert_int_equal(m->pkt_len, 26054);
	rte_pktmbuf_free(m);
	m = superframe(&k, 14000, 2000, 500, 1000, 0);
	check_segments(&k, 2000, out, gso_segment(m, small, 0, out, MAX));
	rte_mempool_free(small);
}

static void test_gso_segment_hostile_metadata_are_refused(void **state)
{
	struct rte_mbuf *out[MAX];

	(void)state;
	for (int broken = 0; broken < 15; broken++) {
		struct util_packet k = { .is_v6 = broken >= 11, .proto = 6 };
		struct rte_mbuf *m = superframe(&k, 1000, 100, 300, 100, 0);
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		switch (broken) {
		case 0:
			m->tso_segsz = 0;
			break;
		case 1:
			m->l4_len = 19;
			break;
		case 2:
			m->l4_len = 24;
			break;
		case 3:
			m->l3_len = 24;
			break;
		case 4:
			m->l3_len = 16;
			break;
		case 5:
			m->l2_len = 127;
			break;
		case 6:
			p[14 + 9] = 17;
			break;
		case 7:
			util_put16(p + 20, 0x2000); /* a fragment */
			break;
		case 8:
			util_put16(p + 16, 1041); /* past the end */
			break;
		case 9:
			util_put16(p + 16, 39);
			break;
		case 10:
			m->ol_flags |= RTE_MBUF_F_TX_IPV6;
			break;
		case 11:
			p[14] = 0x45;
			break;
		case 12:
			p[20] = 44;
			break;
		case 13:
			util_put16(p + 18, 1021);
			break;
		default:
			m->l3_len = 300;
			m->l4_len = 255;
			break;
		}
		assert_int_equal(gso_segment(m, util_pool, 0, out, MAX), -EINVAL);
		assert_int_equal(m->pkt_len, k.is_v6 ? 1074 : 1054);
		rte_pktmbuf_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_gso_segment_all_kinds_sizes_and_splits_match_reference),
		UTIL_TEST(test_gso_segment_64k_frames_match_reference),
		UTIL_TEST(test_gso_segment_mtu_makes_tcp_segments_smaller),
		UTIL_TEST(test_gso_segment_udp_above_mtu_is_refused),
		UTIL_TEST(test_gso_segment_one_segment_is_finished_in_place),
		UTIL_TEST(test_gso_segment_plain_packet_passes_and_unfinished_is_finished),
		UTIL_TEST(test_gso_segment_too_many_segments_keeps_the_packet),
		UTIL_TEST(test_gso_segment_empty_pool_leaks_nothing),
		UTIL_TEST(test_gso_segment_hostile_metadata_are_refused),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
