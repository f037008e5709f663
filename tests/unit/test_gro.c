/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include <rte_tcp.h>

#include "datapath/packet/csum.h"
#include "datapath/packet/gro.h"
#include "datapath/packet/gso.h"

#define MAX 64

static uint8_t frame[70000], flat[70000];

/* A super-frame with the pseudo-header sum in its checksum field, as a kernel would hand it over. */
static struct rte_mbuf *superframe(struct util_packet *k, uint32_t payload, uint16_t segsz)
{
	struct rte_mbuf *m;
	uint32_t len;

	k->payload = payload;
	len = util_packet_make(frame, k);
	frame[14 + (k->is_v6 ? 40 : 20) + 13] = 0x18; /* PSH, ACK */
	util_csums_fill(frame + 14);
	m = util_chain(frame, len, 2000, 2000);
	util_meta(m, k, segsz);
	assert_int_equal(csum_prepare(m), 0);
	return m;
}

static int cut(struct rte_mbuf *m, struct rte_mbuf **out)
{
	int n = gso_segment(m, util_pool, 0, out, MAX);

	assert_true(n > 1);
	return n;
}

static void test_gro_merges_back_what_gso_cut(void **state)
{
	struct util_packet kinds[] = { { .proto = 6 }, { .proto = 6, .tcp_opts = 12 },
		{ .is_v6 = true, .proto = 6, .tcp_opts = 12 } };
	struct rte_mbuf *out[MAX];

	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		for (uint32_t payload = 14480; payload <= 14480 + 1; payload++) {
			struct rte_mbuf *m = superframe(&kinds[i], payload, 1448), *copy;
			uint32_t len = util_flat(m, frame, sizeof(frame));
			uint64_t flags = m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK;
			uint16_t hdr = (uint16_t)(m->l2_len + m->l3_len + m->l4_len);
			int n = cut(m, out);

			assert_int_equal(gro_merge(out, (uint16_t)n, true, true), 1);
			copy = out[0];
			assert_int_equal(util_flat(copy, flat, sizeof(flat)), len);
			assert_memory_equal(flat, frame, len);
			assert_int_equal(copy->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK &
					~RTE_MBUF_F_TX_IP_CKSUM,
				flags & ~RTE_MBUF_F_TX_IP_CKSUM);
			assert_int_equal(copy->tso_segsz, 1448);
			assert_int_equal(copy->l2_len + copy->l3_len + copy->l4_len, hdr);
			rte_mbuf_sanity_check(copy, 1);
			rte_pktmbuf_free(copy);
		}
	}
}

static void free_all(struct rte_mbuf **pkts, uint16_t n)
{
	rte_pktmbuf_free_bulk(pkts, n);
}

static void test_gro_family_not_wanted_is_left_alone(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];
	uint16_t n = (uint16_t)cut(superframe(&k, 5000, 1000), out);

	(void)state;
	assert_int_equal(gro_merge(out, n, false, true), n);
	free_all(out, n);
}

static void test_gro_bad_checksum_stays_apart(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];
	uint16_t n = (uint16_t)cut(superframe(&k, 5000, 1000), out);

	(void)state;
	assert_int_equal(n, 5);
	*rte_pktmbuf_mtod_offset(out[2], uint8_t *, 100) ^= 1;
	/* 0+1, the bad one, 3+4 */
	assert_int_equal(gro_merge(out, n, true, true), 3);
	assert_int_equal(out[1]->pkt_len, 1054);
	assert_int_equal(out[1]->ol_flags & RTE_MBUF_F_TX_TCP_SEG, 0);
	assert_int_equal(out[0]->pkt_len, 2054);
	assert_int_equal(out[2]->pkt_len, 2054);
	free_all(out, 3);
}

static void test_gro_gap_and_reordering_stay_as_they_are(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX], *m;
	uint16_t n = (uint16_t)cut(superframe(&k, 5000, 1000), out);

	(void)state;
	m = out[1];
	out[1] = out[3];
	out[3] = m;
	/* 0, 3, 2, 1, 4: nothing follows its predecessor */
	assert_int_equal(gro_merge(out, n, true, true), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(out[i]->nb_segs, 1);
	free_all(out, 5);
}

static void test_gro_never_merges_past_a_packet_of_the_connection(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];
	uint16_t n = (uint16_t)cut(superframe(&k, 4000, 1000), out);
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(out[1], struct rte_tcp_hdr *, 34);

	(void)state;
	/* an urgent segment in the middle: its checksum no longer matters */
	tcp->tcp_flags |= RTE_TCP_URG_FLAG;
	assert_int_equal(gro_merge(out, n, true, true), 3);
	assert_int_equal(out[0]->pkt_len, 1054);
	assert_int_equal(out[1]->pkt_len, 1054);
	assert_int_equal(out[2]->pkt_len, 2054);
	free_all(out, 3);
}

static void test_gro_two_connections_interleaved_are_both_merged(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *a[MAX], *b[MAX], *mix[MAX];

	(void)state;
	cut(superframe(&k, 3000, 1000), a);
	cut(superframe(&k, 3000, 1000), b);
	for (int i = 0; i < 3; i++) {
		struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(b[i], struct rte_tcp_hdr *, 34);

		tcp->cksum = csum_update16(tcp->cksum, tcp->src_port, RTE_BE16(7));
		tcp->src_port = RTE_BE16(7);
		mix[2 * i] = a[i];
		mix[2 * i + 1] = b[i];
	}
	assert_int_equal(gro_merge(mix, 6, true, true), 2);
	assert_ptr_equal(mix[0], a[0]);
	assert_ptr_equal(mix[1], b[0]);
	assert_int_equal(mix[0]->pkt_len, 3054);
	assert_int_equal(mix[1]->pkt_len, 3054);
	free_all(mix, 2);
}

static void test_gro_shared_or_unfinished_packets_stay(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];
	uint16_t n = (uint16_t)cut(superframe(&k, 3000, 1000), out);

	(void)state;
	rte_mbuf_refcnt_update(out[1], 1);
	assert_int_equal(gro_merge(out, n, true, true), 3);
	rte_mbuf_refcnt_update(out[1], -1);
	out[1]->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	assert_int_equal(gro_merge(out, n, true, true), 3);
	free_all(out, 3);
}

static void test_gro_short_segment_ends_a_superframe(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];
	uint16_t n;

	(void)state;
	n = (uint16_t)cut(superframe(&k, 2500, 1000), out);
	/* 1000, 1000, 500 | and a copy of the last that follows it */
	out[n] = rte_pktmbuf_copy(out[2], util_pool, 0, UINT32_MAX);
	{
		struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(out[n], struct rte_tcp_hdr *, 34);
		rte_be32_t seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + 500);

		tcp->cksum = csum_update32(tcp->cksum, tcp->sent_seq, seq);
		tcp->sent_seq = seq;
	}
	assert_int_equal(gro_merge(out, (uint16_t)(n + 1), true, true), 2);
	assert_int_equal(out[0]->pkt_len, 2554);
	assert_int_equal(out[1]->pkt_len, 554);
	free_all(out, 2);
}

static void test_gro_any_bytes_neither_crash_nor_leak(void **state)
{
	struct util_packet k = { .proto = 6 };
	struct rte_mbuf *out[MAX];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint16_t n = (uint16_t)cut(superframe(&k, 4000, 1000), out), n_left;
		uint32_t total = 0;

		for (int i = 0; i < 3; i++) {
			struct rte_mbuf *m = out[util_byte() % n];

			*rte_pktmbuf_mtod_offset(m, uint8_t *, util_byte() % 60) = util_byte();
			if (util_byte() < 40)
				rte_pktmbuf_trim(m, (uint16_t)(m->data_len - util_byte() % 60));
		}
		n_left = gro_merge(out, n, true, true);
		for (int i = 0; i < n_left; i++) {
			rte_mbuf_sanity_check(out[i], 1);
			total += out[i]->pkt_len;
		}
		assert_true(n_left >= 1 && total > 0);
		free_all(out, n_left);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_gro_merges_back_what_gso_cut),
		UTIL_TEST(test_gro_family_not_wanted_is_left_alone),
		UTIL_TEST(test_gro_bad_checksum_stays_apart),
		UTIL_TEST(test_gro_gap_and_reordering_stay_as_they_are),
		UTIL_TEST(test_gro_never_merges_past_a_packet_of_the_connection),
		UTIL_TEST(test_gro_two_connections_interleaved_are_both_merged),
		UTIL_TEST(test_gro_shared_or_unfinished_packets_stay),
		UTIL_TEST(test_gro_short_segment_ends_a_superframe),
		UTIL_TEST(test_gro_any_bytes_neither_crash_nor_leak),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
