/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include "datapath/packet/csum.h"
#include "datapath/packet/tcp_reset.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

static uint8_t frame[70000], flat[70000];

static uint8_t *l4(bool is_v6)
{
	return frame + 14 + (is_v6 ? 40 : 20);
}

/* A segment in frame; its length. */
static uint32_t make(bool is_v6, uint8_t flags, uint32_t payload)
{
	struct util_packet k = { .is_v6 = is_v6, .proto = 6, .tcp_opts = 12, .payload = payload };
	uint32_t len = util_packet_make(frame, &k);

	l4(is_v6)[13] = flags;
	util_csums_fill(frame + 14);
	return len;
}

typedef struct rte_mbuf *(*reset_fn)(const struct rte_mbuf *, uint16_t, struct rte_mempool *);

static struct rte_mbuf *reset_of(reset_fn fn, uint32_t len)
{
	struct rte_mbuf *m = util_chain(frame, len, 1 + len % 60, 1 + len % 777), *r;

	r = fn(m, 14, util_pool);
	assert_int_equal(util_flat(m, flat, sizeof(flat)), len);
	assert_memory_equal(flat, frame, len);
	rte_pktmbuf_free(m);
	return r;
}

/* The whole reset against one made by hand. */
static void check(
	struct rte_mbuf *r, bool is_v6, bool is_back, uint32_t seq, uint32_t ack, uint8_t flags)
{
	uint32_t l3 = is_v6 ? 40 : 20, addr = is_v6 ? 16 : 4;
	uint8_t want[74] = { 0 }, *ip = want + 14, *t = ip + l3, *addrs = ip + (is_v6 ? 8 : 12);
	const uint8_t *from = frame + 14 + (is_v6 ? 8 : 12);

	util_put16(want + 12, is_v6 ? 0x86dd : 0x0800);
	if (is_v6) {
		ip[0] = 0x60;
		util_put16(ip + 4, 20);
		ip[6] = 6;
		ip[7] = 64;
	} else {
		ip[0] = 0x45;
		util_put16(ip + 2, 40);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = 6;
	}
	memcpy(addrs, is_back ? from + addr : from, addr);
	memcpy(addrs + addr, is_back ? from : from + addr, addr);
	memcpy(t, l4(is_v6) + (is_back ? 2 : 0), 2);
	memcpy(t + 2, l4(is_v6) + (is_back ? 0 : 2), 2);
	util_put32(t + 4, seq);
	util_put32(t + 8, ack);
	t[12] = 0x50;
	t[13] = flags;
	util_csums_fill(ip);
	assert_non_null(r);
	assert_int_equal(util_flat(r, flat, sizeof(flat)), 14 + l3 + 20);
	assert_memory_equal(flat, want, 14 + l3 + 20);
	assert_int_equal(r->l2_len, 14);
	assert_int_equal(r->l3_len, l3);
	assert_true(rte_pktmbuf_headroom(r) >= RTE_PKTMBUF_HEADROOM);
	rte_pktmbuf_free(r);
}

static void test_tcp_reset_create_every_flag_combination_answers_by_rfc_9293(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		for (unsigned int flags = 0; flags < 256; flags++)
			for (uint32_t payload = 0; payload < 3000; payload += 999) {
				uint32_t len = make(is_v6, (uint8_t)flags, payload);
				struct rte_mbuf *r = reset_of(tcp_reset_create, len);
				uint32_t seq = util_get32(l4(is_v6) + 4),
					 ack = util_get32(l4(is_v6) + 8);
				uint32_t seg_len = payload + ((flags & SYN) != 0) +
					((flags & FIN) != 0);

				if ((flags & RST) != 0)
					assert_null(r);
				else if ((flags & ACK) != 0)
					check(r, is_v6, true, ack, 0, RST);
				else
					check(r, is_v6, true, 0, seq + seg_len, RST | ACK);
			}
}

static void test_tcp_reset_for_keeps_direction_and_stands_at_the_segments_start(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		for (unsigned int flags = 0; flags < 64; flags++) {
			struct rte_mbuf *r = reset_of(
				tcp_reset_for, make(is_v6, (uint8_t)flags, 10));
			uint32_t seq = util_get32(l4(is_v6) + 4), ack = util_get32(l4(is_v6) + 8);

			if ((flags & RST) != 0)
				assert_null(r);
			else
				check(r, is_v6, false, seq + ((flags & SYN) != 0),
					(flags & ACK) != 0 ? ack : 0, RST | (flags & ACK));
		}
}

static void test_tcp_reset_sequence_numbers_wrap(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, SYN, 0);

		util_put32(l4(is_v6) + 4, UINT32_MAX);
		util_csums_fill(frame + 14);
		check(reset_of(tcp_reset_create, len), is_v6, true, 0, 0, RST | ACK);
		check(reset_of(tcp_reset_for, len), is_v6, false, 0, 0, RST);
	}
}

static void test_tcp_reset_link_padding_is_no_data(void **state)
{
	uint32_t len = make(false, SYN, 0);

	(void)state;
	memset(frame + len, 0xaa, 18);
	check(reset_of(tcp_reset_create, len + 18), false, true, 0, util_get32(l4(false) + 4) + 1,
		RST | ACK);
}

static void test_tcp_reset_extension_headers_are_skipped(void **state)
{
	uint32_t len = make(true, SYN, 7);
	uint8_t tcp[100];
	struct rte_mbuf *m, *r;

	(void)state;
	/* Hop-by-hop and an atomic fragment header. */
	memcpy(tcp, frame + 54, len - 54);
	memset(frame + 54, 0, 16);
	memcpy(frame + 70, tcp, len - 54);
	util_put16(frame + 18, len - 54 + 16);
	frame[20] = 0;
	frame[54] = 44;
	frame[56] = 1; /* PadN */
	frame[57] = 4;
	frame[62] = 6;
	m = util_chain(frame, len + 16, 60, 5);
	r = tcp_reset_create(m, 14, util_pool);
	rte_pktmbuf_free(m);
	memcpy(frame + 54, tcp, len - 54);
	check(r, true, true, 0, util_get32(tcp + 4) + 8, RST | ACK);
}

static void test_tcp_reset_fragments_and_other_protocols_are_refused(void **state)
{
	struct util_packet udp = { .proto = 17, .payload = 40 };
	uint32_t len = make(false, ACK, 64);

	(void)state;
	util_put16(frame + 20, 0x2000);
	util_csums_fill(frame + 14);
	assert_null(reset_of(tcp_reset_create, len));
	util_put16(frame + 20, 4);
	util_csums_fill(frame + 14);
	assert_null(reset_of(tcp_reset_for, len));
	assert_null(reset_of(tcp_reset_create, util_packet_make(frame, &udp)));
}

static void test_tcp_reset_wrong_checksum_is_refused_and_unfinished_is_not(void **state)
{
	static const struct util_packet kinds[] = { { .proto = 6, .tcp_opts = 12 },
		{ .is_v6 = true, .proto = 6, .tcp_opts = 12 } };

	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, ACK, 2000);
		struct rte_mbuf *m, *r;

		l4(is_v6)[16] ^= 1;
		assert_null(reset_of(tcp_reset_create, len));
		m = util_chain(frame, len, 0, 0);
		util_meta(m, &kinds[is_v6], 500);
		r = tcp_reset_create(m, 14, util_pool);
		rte_pktmbuf_free(m);
		check(r, is_v6, true, util_get32(l4(is_v6) + 8), 0, RST);
	}
}

static void test_tcp_reset_cut_packets_are_refused(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, ACK, 20);

		for (uint32_t cut = 14; cut < len; cut++) {
			struct rte_mbuf *m = util_chain(frame, cut, 0, 0);

			m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM; /* no checksum stops it */
			assert_null(tcp_reset_create(m, 14, util_pool));
			rte_pktmbuf_free(m);
		}
		l4(is_v6)[12] = 0x40;
		util_csums_fill(frame + 14);
		assert_null(reset_of(tcp_reset_create, len));
		l4(is_v6)[12] = 0xf0; /* 60 bytes of 52 */
		util_csums_fill(frame + 14);
		assert_null(reset_of(tcp_reset_create, len));
	}
}

static void test_tcp_reset_only_between_single_hosts(void **state)
{
	static const uint8_t bad4[][4] = { { 0, 0, 0, 0 }, { 127, 0, 0, 1 }, { 224, 0, 0, 1 },
		{ 255, 255, 255, 255 } };
	static const uint8_t bad6[][16] = { { 0 }, { [15] = 1 }, { 0xff, 2, [15] = 1 },
		{ [10] = 0xff, 0xff, 10, 0, 0, 1 } };

	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		for (uint32_t i = 0; i < 8; i++) {
			uint32_t len = make(is_v6, SYN, 0), addr = is_v6 ? 16 : 4;

			memcpy(frame + (is_v6 ? 22 : 26) + i % 2 * addr,
				is_v6 ? bad6[i / 2] : bad4[i / 2], addr);
			util_csums_fill(frame + 14);
			assert_null(reset_of(tcp_reset_create, len));
		}
}

static void test_tcp_reset_empty_pool_is_no_answer(void **state)
{
	struct rte_mempool *tiny = rte_pktmbuf_pool_create(
		"tiny", 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	struct rte_mbuf *m = util_chain(frame, make(false, SYN, 0), 0, 0), *first, *second;

	(void)state;
	assert_non_null(tiny);
	first = tcp_reset_create(m, 14, tiny);
	second = tcp_reset_create(m, 14, tiny);
	assert_non_null(first);
	assert_null(second);
	rte_pktmbuf_free(first);
	rte_pktmbuf_free(m);
	rte_mempool_free(tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_tcp_reset_create_every_flag_combination_answers_by_rfc_9293),
		UTIL_TEST(test_tcp_reset_for_keeps_direction_and_stands_at_the_segments_start),
		UTIL_TEST(test_tcp_reset_sequence_numbers_wrap),
		UTIL_TEST(test_tcp_reset_link_padding_is_no_data),
		UTIL_TEST(test_tcp_reset_extension_headers_are_skipped),
		UTIL_TEST(test_tcp_reset_fragments_and_other_protocols_are_refused),
		UTIL_TEST(test_tcp_reset_wrong_checksum_is_refused_and_unfinished_is_not),
		UTIL_TEST(test_tcp_reset_cut_packets_are_refused),
		UTIL_TEST(test_tcp_reset_only_between_single_hosts),
		UTIL_TEST(test_tcp_reset_empty_pool_is_no_answer),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
