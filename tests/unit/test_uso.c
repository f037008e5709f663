/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/packet/uso.h"
#include "datapath/packet/vxlan.h"

#define MAX 64
#define HEADERS_LEN 42u

static uint8_t frames[MAX][4000], flat[70000];

/* Datagram i of one tunnel: DF, no UDP checksum; headers as those of datagram 0, which is made first. */
static struct rte_mbuf *datagram(unsigned int i, uint32_t payload)
{
	struct util_packet k = { .proto = 17, .payload = payload };
	uint32_t len = util_packet_make(frames[i], &k);

	if (i > 0)
		memcpy(frames[i], frames[0], HEADERS_LEN);
	util_put16(frames[i] + 16, len - 14);
	util_put16(frames[i] + 20, 0x4000);
	util_put16(frames[i] + 38, len - 34);
	util_csums_fill(frames[i] + 14);
	util_put16(frames[i] + 40, 0);
	return util_chain(frames[i], len, 2000, 2000);
}

static void test_uso_merged_datagrams_are_cut_into_the_same(void **state)
{
	struct rte_mbuf *m[MAX], *out[MAX];
	const uint32_t payloads[] = { 3000, 3000, 3000, 1200 };
	const uint16_t n = RTE_DIM(payloads);

	(void)state;
	for (uint16_t i = 0; i < n; i++)
		m[i] = datagram(i, payloads[i]);
	assert_int_equal(uso_merge(m, n), 1);
	assert_int_equal(m[0]->pkt_len, HEADERS_LEN + 10200);
	assert_int_equal(m[0]->tso_segsz, 3000);
	rte_mbuf_sanity_check(m[0], 1);
	assert_int_equal(gso_segment(m[0], util_pool, 0, out, MAX), n);
	for (uint16_t i = 0; i < n; i++) {
		assert_int_equal(util_flat(out[i], flat, sizeof(flat)), HEADERS_LEN + payloads[i]);
		assert_memory_equal(flat + HEADERS_LEN, frames[i] + HEADERS_LEN, payloads[i]);
		assert_int_equal(util_ref_l4_sum(flat + 14), 0xffff);
		rte_pktmbuf_free(out[i]);
	}
}

/* A tunnel packet as it leaves over the family, with a checksum or without one: part i of a burst. */
static struct rte_mbuf *tunnelled(unsigned int i, uint32_t payload, bool is_v6, bool has_csum)
{
	const struct util_packet k = { .proto = 6, .payload = payload };
	struct vxlan_config c = { .vni = 7, .udp_port = 4789, .has_udp_csum = has_csum };
	struct vxlan_template t;
	uint32_t len = util_packet_make(frames[i], &k);
	struct rte_mbuf *m;

	frames[i][15] = 0; /* its ECN field is copied out */
	util_csums_fill(frames[i] + 14);
	m = util_chain(frames[i], len, 2000, 2000);
	assert_int_equal(ip_parse(is_v6 ? "2001:db8::1" : "192.0.2.1", &c.local), 0);
	assert_int_equal(ip_parse(is_v6 ? "2001:db8::2" : "192.0.2.2", &c.remote), 0);
	assert_true(vxlan_template_init(&t, &c));
	assert_true(vxlan_encap(m, &t, RTE_BE16(RTE_ETHER_TYPE_IPV4), 99, 0));
	util_flat(m, frames[i], sizeof(frames[i]));
	return m;
}

static void test_uso_tunnel_packets_of_both_families_are_merged(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		const bool is_v6 = kind & 1, has_csum = kind & 2;
		const uint32_t payloads[] = { 1300, 1300, 1300, 700 }, l4_off = is_v6 ? 54 : 34;
		struct rte_mbuf *m[MAX], *out[MAX];

		for (unsigned int i = 0; i < 4; i++)
			m[i] = tunnelled(i, payloads[i], is_v6, has_csum);
		assert_int_equal(uso_merge(m, 4), 1);
		rte_mbuf_sanity_check(m[0], 1);
		assert_int_equal(gso_segment(m[0], util_pool, 0, out, MAX), 4);
		for (unsigned int i = 0; i < 4; i++) {
			uint32_t len = util_flat(out[i], flat, sizeof(flat));

			assert_int_equal(util_ref_l4_sum(flat + 14), 0xffff);
			if (has_csum) /* the same as those that came */
				assert_memory_equal(
					flat + l4_off, frames[i] + l4_off, len - l4_off);
			else
				assert_memory_equal(flat + l4_off + 8, frames[i] + l4_off + 8,
					len - l4_off - 8);
			rte_pktmbuf_free(out[i]);
		}
	}
}

/* Its checksum would be mended when the super-frame is cut. */
static void test_uso_wrong_checksum_is_not_merged(void **state)
{
	(void)state;
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct rte_mbuf *m[2];

		for (unsigned int i = 0; i < 2; i++)
			m[i] = tunnelled(i, 1000, is_v6, true);
		*rte_pktmbuf_mtod_offset(m[1], uint8_t *, (is_v6 ? 54 : 34) + 7) ^= 1;
		assert_int_equal(uso_merge(m, 2), 2);
		rte_pktmbuf_free_bulk(m, 2);
	}
}

static void test_uso_other_ip6_headers_stay_apart(void **state)
{
	const unsigned int offs[] = { 15, 17, 19, 20, 21, 22, 38, 54, 56, 58 };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(offs); i++) {
		struct rte_mbuf *m[2];

		for (unsigned int j = 0; j < 2; j++)
			m[j] = tunnelled(j, 1000, true, false);
		*rte_pktmbuf_mtod_offset(m[1], uint8_t *, offs[i]) ^= 1;
		assert_int_equal(uso_merge(m, 2), 2);
		rte_pktmbuf_free_bulk(m, 2);
	}
}

static void test_uso_short_datagram_ends_a_superframe(void **state)
{
	const uint32_t payloads[] = { 1000, 999, 999 };
	struct rte_mbuf *m[3];

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		m[i] = datagram(i, payloads[i]);
	assert_int_equal(uso_merge(m, 3), 2);
	assert_int_equal(m[0]->pkt_len, HEADERS_LEN + 1999);
	assert_int_equal(m[1]->pkt_len, HEADERS_LEN + 999);
	rte_pktmbuf_free_bulk(m, 2);
}

static void pair(struct rte_mbuf *m[2])
{
	m[0] = datagram(0, 500);
	m[1] = datagram(1, 500);
}

/* Byte off of the second frame differs: nothing is merged. */
static void stays_apart(unsigned int off, uint8_t with)
{
	struct rte_mbuf *m[2];

	pair(m);
	*rte_pktmbuf_mtod_offset(m[1], uint8_t *, off) ^= with;
	assert_int_equal(uso_merge(m, 2), 2);
	assert_int_equal(m[0]->pkt_len, HEADERS_LEN + 500);
	assert_int_equal(m[0]->ol_flags, 0);
	rte_pktmbuf_free_bulk(m, 2);
}

static void test_uso_other_headers_stay_apart(void **state)
{
	const unsigned int offs[] = { 0, 6, 12, 14, 15, 16, 20, 22, 23, 26, 30, 34, 36, 38, 40 };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(offs); i++)
		stays_apart(offs[i], 1);
	stays_apart(20, 0x40); /* no DF: the id would matter */
	stays_apart(20, 0x20); /* a fragment */
}

static void test_uso_shared_or_unfinished_packets_stay(void **state)
{
	struct rte_mbuf *m[2];

	(void)state;
	pair(m);
	rte_mbuf_refcnt_update(m[1], 1);
	assert_int_equal(uso_merge(m, 2), 2);
	rte_mbuf_refcnt_update(m[1], -1);
	m[0]->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM;
	assert_int_equal(uso_merge(m, 2), 2);
	rte_pktmbuf_free_bulk(m, 2);
}

static void test_uso_never_exceeds_an_ip_packet_or_the_segments(void **state)
{
	struct rte_mbuf *m[MAX];

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		m[i] = datagram(i, 1900);
	assert_int_equal(uso_merge(m, 40), 2);
	assert_true(m[0]->pkt_len - 14 <= 65535);
	rte_pktmbuf_free_bulk(m, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_uso_merged_datagrams_are_cut_into_the_same),
		UTIL_TEST(test_uso_tunnel_packets_of_both_families_are_merged),
		UTIL_TEST(test_uso_wrong_checksum_is_not_merged),
		UTIL_TEST(test_uso_other_ip6_headers_stay_apart),
		UTIL_TEST(test_uso_short_datagram_ends_a_superframe),
		UTIL_TEST(test_uso_other_headers_stay_apart),
		UTIL_TEST(test_uso_shared_or_unfinished_packets_stay),
		UTIL_TEST(test_uso_never_exceeds_an_ip_packet_or_the_segments),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
