/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP errors, translated: compared, byte by byte, with one about the translated packet, all checksums computed anew. */
#include "tests/unit/packet_util.h"

#include "datapath/packet/csum.h"
#include "datapath/packet/translate.h"

enum { ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58, SCTP = 132 };

static uint8_t frame[4096], want[4096], flat[4096], about[4096];
static const struct translation tuples[2] = {
	{ .src = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 77 } },
		.dst = { .b = { [10] = 0xff, 0xff, 203, 0, 113, 255 } },
		.sport = RTE_BE16(0xfffe),
		.dport = RTE_BE16(8443) },
	{ .src = { .b = { 0x20, 1, 0xd, 0xb8, 0xff, 0xff, [15] = 1 } },
		.dst = { .b = { 0xfd, 0, 1, 2, 3, [14] = 0xff, 0xfe } },
		.sport = RTE_BE16(1),
		.dport = RTE_BE16(0xffff) },
};
static const struct ip_addr outer_src[2] = { { .b = { [10] = 0xff, 0xff, 198, 51, 100, 1 } },
	{ .b = { 0x20, 1, 0xd, 0xb8, [15] = 9 } } };
static const struct ip_addr outer_dst[2] = { { .b = { [10] = 0xff, 0xff, 100, 64, 0, 0 } },
	{ .b = { 0xfc, [15] = 0xff } } };

static uint32_t l3(bool is_v6)
{
	return is_v6 ? 40 : 20;
}

/* The packet that the error is about, in about + 14, all of it; its length. */
static uint32_t make_about(bool is_v6, uint8_t proto, uint32_t payload)
{
	const struct util_packet k = { .is_v6 = is_v6, .proto = proto, .payload = payload };

	return util_packet_make(about, &k) - 14;
}

static void translate_about(bool is_v6)
{
	const struct translation *t = &tuples[is_v6];
	uint8_t *ip = about + 14, *l4 = ip + l3(is_v6), proto = ip[is_v6 ? 6 : 9];

	memcpy(ip + (is_v6 ? 8 : 12), t->src.b + (is_v6 ? 0 : 12), is_v6 ? 16 : 4);
	memcpy(ip + (is_v6 ? 24 : 16), t->dst.b + (is_v6 ? 0 : 12), is_v6 ? 16 : 4);
	if (proto == ICMP || proto == ICMP6) {
		memcpy(l4 + 4, &t->sport, 2);
	} else {
		memcpy(l4, &t->sport, 2);
		memcpy(l4 + 2, &t->dport, 2);
	}
	util_csums_fill(ip);
}

/* An error at p that quotes quote_len bytes of `about`, with tail_len bytes of extensions. Its length. */
static uint32_t make_error(
	uint8_t *p, bool is_v6, uint8_t type, uint32_t quote_len, uint32_t tail_len)
{
	uint8_t *ip = p + 14, *icmp = ip + l3(is_v6);
	uint32_t icmp_len = 8 + quote_len + tail_len;

	memset(p, 0, 14 + l3(is_v6) + icmp_len);
	util_put16(p + 12, is_v6 ? 0x86dd : 0x0800);
	if (is_v6) {
		ip[0] = 0x60;
		util_put16(ip + 4, icmp_len);
		ip[6] = ICMP6;
		ip[7] = 60;
		util_put16(ip + 8, 0x2001);
		util_put16(ip + 24, 0x2002);
	} else {
		ip[0] = 0x45;
		util_put16(ip + 2, 20 + icmp_len);
		ip[8] = 60;
		ip[9] = ICMP;
		util_put32(ip + 12, 0x0a000001);
		util_put32(ip + 16, 0x0a000002);
	}
	icmp[0] = type;
	icmp[1] = 1;
	if (tail_len != 0)
		icmp[is_v6 ? 4 : 5] = (uint8_t)(quote_len / (is_v6 ? 8 : 4));
	memcpy(icmp + 8, about + 14, quote_len);
	memset(icmp + 8 + quote_len, 0xa5, tail_len);
	util_csums_fill(ip);
	return 14 + l3(is_v6) + icmp_len;
}

/* The outer addresses that want is to have. */
static void set_outer(uint8_t *p, bool is_v6)
{
	uint8_t *ip = p + 14;

	memcpy(ip + (is_v6 ? 8 : 12), outer_src[is_v6].b + (is_v6 ? 0 : 12), is_v6 ? 16 : 4);
	memcpy(ip + (is_v6 ? 24 : 16), outer_dst[is_v6].b + (is_v6 ? 0 : 12), is_v6 ? 16 : 4);
	util_csums_fill(ip);
}

/* Translates frame; whether it could. The result is in flat; unchanged if it could not. */
static bool translate(uint32_t len, bool is_v6, uint32_t first)
{
	struct rte_mbuf *whole = util_chain(frame, len, 0, 0),
			*m = util_chain(frame, len, first, 50);
	struct parsed pkt;
	bool is_done = parse_frame(whole, &pkt) == DROP_NONE &&
		translate_icmp_error(
			m, 14, &pkt, &outer_src[is_v6], &outer_dst[is_v6], &tuples[is_v6]);

	util_flat(m, flat, sizeof(flat));
	if (!is_done)
		assert_memory_equal(flat, frame, len);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(whole);
	return is_done;
}

static void check(uint32_t len, bool is_v6)
{
	for (uint32_t first = 128; first < 1000; first += 400) {
		assert_true(translate(len, is_v6, first));
		assert_memory_equal(flat, want, len);
	}
}

static void test_translate_icmp_error_quotes_of_any_length_equal_full_computation(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		for (uint32_t l4_len = 8; l4_len < 600; l4_len += l4_len < 40 ? 1 : 97) {
			bool is_v6 = i % 2;
			uint8_t proto = i < 2 ? TCP : i < 4 ? UDP : is_v6 ? ICMP6 : ICMP;
			uint32_t quote = l3(is_v6) + l4_len, len;
			uint8_t *half = about + 14 + l3(is_v6) + 16, old_half;

			make_about(is_v6, proto, 700);
			len = make_error(frame, is_v6, is_v6 ? 1 : 3, quote, 0);
			old_half = *half;
			translate_about(is_v6);
			if (proto == TCP && l4_len == 17) /* half a checksum stays */
				*half = old_half;
			make_error(want, is_v6, is_v6 ? 1 : 3, quote, 0);
			set_outer(want, is_v6);
			check(len, is_v6);
		}
}

static void test_translate_icmp_error_every_error_type(void **state)
{
	static const uint8_t types[2][5] = { { 3, 4, 5, 11, 12 }, { 1, 2, 3, 4, 127 } };

	(void)state;
	for (int i = 0; i < 10; i++) {
		bool is_v6 = i % 2;
		uint8_t type = types[i % 2][i / 2];
		uint32_t about_len = make_about(is_v6, UDP, 20);
		uint32_t len = make_error(frame, is_v6, type, about_len, 0);

		translate_about(is_v6);
		make_error(want, is_v6, type, about_len, 0);
		set_outer(want, is_v6);
		check(len, is_v6);
	}
}

static void test_translate_icmp_error_wrong_checksum_stays_wrong(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		bool is_v6 = i % 2, is_quote = i >= 2;
		uint32_t about_len = make_about(is_v6, TCP, 60);
		uint32_t len = make_error(frame, is_v6, is_v6 ? 3 : 11, about_len, 0);
		/* In the quote's TCP checksum, or in the payload: both are under the ICMP checksum. */
		uint32_t at = is_quote ? 14 + l3(is_v6) + 8 + l3(is_v6) + 19 : len - 1;

		translate_about(is_v6);
		make_error(want, is_v6, is_v6 ? 3 : 11, about_len, 0);
		set_outer(want, is_v6);
		frame[at] ^= 0x10;
		want[at] ^= 0x10;
		check(len, is_v6);
		assert_int_not_equal(util_ref_l4_sum(flat + 14), 0xffff);
	}
}

static void test_translate_icmp_error_extensions_stay(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t about_len = make_about(is_v6, UDP, 8), len;

		/* Padded with zeros to 128 bytes (RFC 4884 s. 4), then 16 bytes of extensions. */
		memset(about + 14 + about_len, 0, 128);
		len = make_error(frame, is_v6, is_v6 ? 3 : 11, 128, 16);
		translate_about(is_v6);
		make_error(want, is_v6, is_v6 ? 3 : 11, 128, 16);
		set_outer(want, is_v6);
		check(len, is_v6);
	}
}

static void test_translate_icmp_error_extensions_are_not_taken_for_the_quote(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t quote = l3(is_v6) + (is_v6 ? 16 : 12), len;

		/* The TCP checksum would lie in the extensions. */
		make_about(is_v6, TCP, 8);
		len = make_error(frame, is_v6, is_v6 ? 3 : 11, quote, 16);
		translate_about(is_v6);
		make_error(want, is_v6, is_v6 ? 3 : 11, quote, 16);
		set_outer(want, is_v6);
		check(len, is_v6);
	}
}

static void test_translate_icmp_error_quoted_udp_without_checksum_stays_without(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t about_len = make_about(is_v6, UDP, 20), len;

		util_put16(about + 14 + l3(is_v6) + 6, 0);
		len = make_error(frame, is_v6, is_v6 ? 1 : 3, about_len, 0);
		translate_about(is_v6);
		util_put16(about + 14 + l3(is_v6) + 6, 0);
		make_error(want, is_v6, is_v6 ? 1 : 3, about_len, 0);
		set_outer(want, is_v6);
		check(len, is_v6);
	}
}

static void test_translate_icmp_error_quoted_sctp_crc_is_that_of_the_whole_packet(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t about_len = make_about(is_v6, UDP, 300), quote = l3(is_v6) + 20, len;
		uint8_t *ip = about + 14, *l4 = ip + l3(is_v6);

		translate_about(is_v6);
		for (int i = 0; i < 2; i++) {
			uint8_t *p = i == 0 ? want : frame;

			ip[is_v6 ? 6 : 9] = SCTP;
			if (i == 1) {
				util_put32(ip + (is_v6 ? 8 : 12), 0x0a010203);
				util_put32(l4, 0x12345678);
			}
			util_sctp_crc_fill(l4, about_len - l3(is_v6));
			if (!is_v6) {
				util_put16(ip + 10, 0);
				util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 20));
			}
			len = make_error(p, is_v6, is_v6 ? 1 : 3, quote, 0);
		}
		set_outer(want, is_v6);
		check(len, is_v6);
	}
}

static void test_translate_icmp_error_about_a_later_fragment_changes_addresses(void **state)
{
	uint32_t about_len = make_about(false, UDP, 100), len;
	uint8_t payload[8];

	(void)state;
	util_put16(about + 20, 100);
	util_csums_fill(about + 14);
	memcpy(payload, about + 34, 8);
	len = make_error(frame, false, 11, about_len, 0);
	translate_about(false);
	memcpy(about + 34, payload, 8);
	make_error(want, false, 11, about_len, 0);
	set_outer(want, false);
	check(len, false);
}

static void test_translate_icmp_error_in_a_fragment_keeps_the_datagrams_checksum(void **state)
{
	uint32_t about_len = make_about(false, UDP, 300), len, cut = 34 + 8 + 64;

	(void)state;
	len = make_error(frame, false, 11, about_len, 0);
	translate_about(false);
	make_error(want, false, 11, about_len, 0);
	set_outer(want, false);
	assert_true(len > cut);
	/* Only its first 72 bytes of ICMP: the checksum is that of the whole. */
	for (int i = 0; i < 2; i++) {
		uint8_t *ip = (i == 0 ? frame : want) + 14;

		util_put16(ip + 2, cut - 14);
		util_put16(ip + 6, 0x2000);
		util_put16(ip + 10, 0);
		util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 20));
	}
	check(cut, false);
}

static void test_translate_icmp_error_refuses_what_it_cannot(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t about_len = make_about(is_v6, UDP, 20);
		uint8_t type = is_v6 ? 1 : 3;

		/* Cut before the quoted ports are there. */
		for (uint32_t quote = 0; quote < l3(is_v6) + 8; quote++)
			assert_false(
				translate(make_error(frame, is_v6, type, quote, 0), is_v6, 128));
		/* The quoted packet ends, by its own header, before its ports. */
		util_put16(about + (is_v6 ? 18 : 16), is_v6 ? 3 : 23);
		assert_false(translate(make_error(frame, is_v6, type, about_len, 0), is_v6, 128));
		/* No error; another family. */
		about_len = make_about(is_v6, UDP, 20);
		assert_false(translate(
			make_error(frame, is_v6, is_v6 ? 129 : 0, about_len, 0), is_v6, 128));
		assert_false(translate(make_error(frame, is_v6, type, about_len, 0), !is_v6, 128));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_translate_icmp_error_quotes_of_any_length_equal_full_computation),
		UTIL_TEST(test_translate_icmp_error_every_error_type),
		UTIL_TEST(test_translate_icmp_error_wrong_checksum_stays_wrong),
		UTIL_TEST(test_translate_icmp_error_extensions_stay),
		UTIL_TEST(test_translate_icmp_error_extensions_are_not_taken_for_the_quote),
		UTIL_TEST(test_translate_icmp_error_quoted_udp_without_checksum_stays_without),
		UTIL_TEST(test_translate_icmp_error_quoted_sctp_crc_is_that_of_the_whole_packet),
		UTIL_TEST(test_translate_icmp_error_about_a_later_fragment_changes_addresses),
		UTIL_TEST(test_translate_icmp_error_in_a_fragment_keeps_the_datagrams_checksum),
		UTIL_TEST(test_translate_icmp_error_refuses_what_it_cannot),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
