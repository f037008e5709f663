/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include "datapath/packet/icmp_error.h"

static uint8_t frame[70000], flat[70000];
static const struct ip_addr router4 = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };
static const struct ip_addr router6 = { .b = { 0xfe, 0x80, [15] = 1 } };

static struct rte_mbuf *error_about(
	uint32_t len, enum icmp_error_kind kind, uint32_t param, bool is_v6)
{
	struct rte_mbuf *m = util_chain(frame, len, 1 + len % 60, 1 + len % 777), *e;

	e = icmp_error_create(m, 14, kind, param, is_v6 ? &router6 : &router4, util_pool);
	assert_int_equal(util_flat(m, flat, sizeof(flat)), len);
	assert_memory_equal(flat, frame, len);
	rte_pktmbuf_free(m);
	return e;
}

/* Builds an error about frame, compares the whole packet with one made by hand. */
static void check_error(uint32_t len, enum icmp_error_kind kind, uint32_t param, bool is_v6,
	uint8_t type, uint8_t code)
{
	uint32_t max = is_v6 ? 1280 - 48 : 576 - 28, quote = len - 14 < max ? len - 14 : max;
	uint32_t want_len = (is_v6 ? 62 : 42) + quote;
	static uint8_t want[2000];
	struct rte_mbuf *e = error_about(len, kind, param, is_v6);
	uint8_t *ip = want + 14, *icmp = ip + (is_v6 ? 40 : 20);

	memset(want, 0, sizeof(want));
	util_put16(want + 12, is_v6 ? 0x86dd : 0x0800);
	icmp[0] = type;
	icmp[1] = code;
	if (is_v6) {
		ip[0] = 0x60;
		util_put16(ip + 4, 8 + quote);
		ip[6] = 58;
		ip[7] = 64;
		memcpy(ip + 8, router6.b, 16);
		memcpy(ip + 24, frame + 22, 16);
		util_put32(icmp + 4, param);
	} else {
		ip[0] = 0x45;
		ip[1] = 0xc0;
		util_put16(ip + 2, 28 + quote);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = 1;
		memcpy(ip + 12, router4.b + 12, 4);
		memcpy(ip + 16, frame + 26, 4);
		util_put16(icmp + 6, param);
	}
	memcpy(icmp + 8, frame + 14, quote);
	util_csums_fill(ip);
	assert_non_null(e);
	assert_int_equal(util_flat(e, flat, sizeof(flat)), want_len);
	assert_memory_equal(flat, want, want_len);
	assert_int_equal(e->l2_len, 14);
	assert_int_equal(e->l3_len, is_v6 ? 40 : 20);
	assert_true(rte_pktmbuf_headroom(e) >= RTE_PKTMBUF_HEADROOM);
	rte_pktmbuf_free(e);
}

static void test_icmp_error_all_kinds_and_lengths_match_reference(void **state)
{
	static const struct {
		uint8_t type4, code4, type6, code6;
		uint32_t param4, param6;
	} kinds[ICMP_ERROR_N] = {
		[ICMP_ERROR_TTL_EXCEEDED] = { 11, 0, 3, 0, 0, 0 },
		[ICMP_ERROR_NO_ROUTE] = { 3, 0, 1, 0, 0, 0 },
		[ICMP_ERROR_HOST_UNREACHABLE] = { 3, 1, 1, 3, 0, 0 },
		[ICMP_ERROR_PROTO_UNREACHABLE] = { 3, 2, 4, 1, 0, 6 },
		[ICMP_ERROR_PORT_UNREACHABLE] = { 3, 3, 1, 4, 0, 0 },
		[ICMP_ERROR_TOO_BIG] = { 3, 4, 2, 0, 1450, 1430 },
		[ICMP_ERROR_PROHIBITED] = { 3, 13, 1, 1, 0, 0 },
	};

	(void)state;
	for (int kind = 0; kind < ICMP_ERROR_N; kind++)
		for (uint32_t payload = 0; payload < 1600; payload += 41)
			for (int is_v6 = 0; is_v6 < 2; is_v6++) {
				struct util_packet k = { .is_v6 = is_v6,
					.proto = 17,
					.payload = payload,
					.ip_opts = is_v6 ? 0 : 8 };
				uint32_t len = util_packet_make(frame, &k);

				check_error(len, (enum icmp_error_kind)kind,
					is_v6 ? kinds[kind].param6 : kinds[kind].param4, is_v6,
					is_v6 ? kinds[kind].type6 : kinds[kind].type4,
					is_v6 ? kinds[kind].code6 : kinds[kind].code4);
			}
}

static void test_icmp_error_quote_ends_with_the_ip_packet(void **state)
{
	struct util_packet k = { .proto = 17, .payload = 2 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *e;

	(void)state;
	memset(frame + len, 0xaa, 18);
	e = error_about(len + 18, ICMP_ERROR_TTL_EXCEEDED, 0, false);
	assert_non_null(e);
	assert_int_equal(e->pkt_len, 42 + 30);
	rte_pktmbuf_free(e);
}

static bool is_answered(uint32_t len, bool is_v6, enum icmp_error_kind kind)
{
	struct rte_mbuf *e = error_about(len, kind, 0, is_v6);

	rte_pktmbuf_free(e);
	return e != NULL;
}

static void test_icmp_error_never_about_icmp_errors(void **state)
{
	(void)state;
	for (int type = 0; type < 256; type++) {
		struct util_packet k4 = { .proto = 1, .payload = 30 };
		struct util_packet k6 = { .is_v6 = true, .proto = 58, .payload = 30 };
		uint32_t len = util_packet_make(frame, &k4);
		static const uint8_t queries[] = { 0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43 };
		bool is_query = false;

		for (size_t i = 0; i < sizeof(queries); i++)
			is_query |= queries[i] == type;
		frame[34] = (uint8_t)type;
		assert_int_equal(is_answered(len, false, ICMP_ERROR_NO_ROUTE), is_query);
		len = util_packet_make(frame, &k6);
		frame[54] = (uint8_t)type;
		assert_int_equal(
			is_answered(len, true, ICMP_ERROR_NO_ROUTE), type >= 128 && type != 137);
	}
}

static void test_icmp_error_never_about_cut_icmp_header(void **state)
{
	struct util_packet k4 = { .proto = 1 }, k6 = { .is_v6 = true, .proto = 58 };

	(void)state;
	util_packet_make(frame, &k4);
	util_put16(frame + 16, 20);
	assert_false(is_answered(34, false, ICMP_ERROR_NO_ROUTE));
	util_packet_make(frame, &k6);
	util_put16(frame + 18, 0);
	assert_false(is_answered(54, true, ICMP_ERROR_NO_ROUTE));
}

static void test_icmp_error_addresses_decide_by_rfc_1122_and_4443(void **state)
{
	static const struct {
		const char *src, *dst;
		bool is_answered;
	} table[] = {
		{ "10.0.0.1", "10.0.0.2", true },
		{ "10.0.0.1", "127.0.0.1", true },
		{ "10.0.0.1", "224.0.0.1", false },
		{ "10.0.0.1", "239.255.255.255", false },
		{ "10.0.0.1", "255.255.255.255", false },
		{ "0.0.0.0", "10.0.0.2", false },
		{ "0.1.2.3", "10.0.0.2", false },
		{ "127.0.0.1", "10.0.0.2", false },
		{ "224.0.0.5", "10.0.0.2", false },
		{ "240.0.0.1", "10.0.0.2", false },
		{ "255.255.255.255", "10.0.0.2", false },
		{ "2001:db8::1", "2001:db8::2", true },
		{ "fe80::5", "2001:db8::2", true },
		{ "2001:db8::1", "ff02::1", false },
		{ "::", "2001:db8::2", false },
		{ "::1", "2001:db8::2", false },
		{ "ff05::2", "2001:db8::2", false },
	};

	(void)state;
	for (size_t i = 0; i < RTE_DIM(table); i++) {
		struct ip_addr src, dst;
		uint32_t len;

		assert_int_equal(ip_parse(table[i].src, &src), 0);
		assert_int_equal(ip_parse(table[i].dst, &dst), 0);
		struct util_packet k = { .is_v6 = !ip_is_v4(&src), .proto = 17, .payload = 9 };

		len = util_packet_make(frame, &k);
		if (k.is_v6) {
			memcpy(frame + 22, src.b, 16);
			memcpy(frame + 38, dst.b, 16);
		} else {
			memcpy(frame + 26, src.b + 12, 4);
			memcpy(frame + 30, dst.b + 12, 4);
		}
		if (is_answered(len, k.is_v6, ICMP_ERROR_NO_ROUTE) != table[i].is_answered)
			fail_msg("%s to %s", table[i].src, table[i].dst);
		/* Link-layer broadcast or multicast: never. */
		frame[0] |= 1;
		assert_false(is_answered(len, k.is_v6, ICMP_ERROR_NO_ROUTE));
	}
}

static void test_icmp_error_too_big_about_ip6_multicast_is_allowed(void **state)
{
	struct util_packet k = { .is_v6 = true, .proto = 17, .payload = 9 };
	uint32_t len = util_packet_make(frame, &k);

	(void)state;
	frame[0] = 0x33;
	frame[38] = 0xff;
	assert_true(is_answered(len, true, ICMP_ERROR_TOO_BIG));
	assert_false(is_answered(len, true, ICMP_ERROR_PROHIBITED));
}

static void test_icmp_error_fragments_only_about_the_first(void **state)
{
	struct util_packet k4 = { .proto = 17, .payload = 40 };
	struct util_packet k6 = { .is_v6 = true, .proto = 44, .payload = 40 };
	uint32_t len = util_packet_make(frame, &k4);

	(void)state;
	util_put16(frame + 20, 0x2000);
	assert_true(is_answered(len, false, ICMP_ERROR_NO_ROUTE));
	util_put16(frame + 20, 0x2001);
	assert_false(is_answered(len, false, ICMP_ERROR_NO_ROUTE));
	len = util_packet_make(frame, &k6);
	frame[54] = 17;
	util_put16(frame + 56, 1);
	assert_true(is_answered(len, true, ICMP_ERROR_NO_ROUTE));
	util_put16(frame + 56, 9);
	assert_false(is_answered(len, true, ICMP_ERROR_NO_ROUTE));
	/* An ICMPv6 error behind a fragment header is still one. */
	frame[54] = 58;
	util_put16(frame + 56, 1);
	frame[62] = 1;
	assert_false(is_answered(len, true, ICMP_ERROR_NO_ROUTE));
	frame[62] = 128;
	assert_true(is_answered(len, true, ICMP_ERROR_NO_ROUTE));
}

static void test_icmp_error_cut_packets_of_any_length_are_refused_or_quoted(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct util_packet k = { .is_v6 = is_v6, .proto = 6, .payload = 20 };
		uint32_t len = util_packet_make(frame, &k);

		for (uint32_t n = 1; n <= len; n++) {
			struct rte_mbuf *m = util_chain(frame, n, 1, 1), *e;

			e = icmp_error_create(m, 14, ICMP_ERROR_NO_ROUTE, 0,
				is_v6 ? &router6 : &router4, util_pool);
			/* IPv6's payload length must be there; an IPv4 packet cut behind its header
			 * is quoted. */
			assert_int_equal(e != NULL, is_v6 ? n == len : n >= 34);
			rte_pktmbuf_free(e);
			rte_pktmbuf_free(m);
		}
	}
}

static void test_icmp_error_source_of_the_other_family_is_refused(void **state)
{
	struct util_packet k = { .proto = 17 };
	uint32_t len = util_packet_make(frame, &k);
	struct rte_mbuf *m = util_chain(frame, len, 0, 0);

	(void)state;
	assert_null(icmp_error_create(m, 14, ICMP_ERROR_NO_ROUTE, 0, &router6, util_pool));
	assert_false(icmp_error_allowed(m, 14, ICMP_ERROR_N));
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_icmp_error_all_kinds_and_lengths_match_reference),
		UTIL_TEST(test_icmp_error_quote_ends_with_the_ip_packet),
		UTIL_TEST(test_icmp_error_never_about_icmp_errors),
		UTIL_TEST(test_icmp_error_never_about_cut_icmp_header),
		UTIL_TEST(test_icmp_error_addresses_decide_by_rfc_1122_and_4443),
		UTIL_TEST(test_icmp_error_too_big_about_ip6_multicast_is_allowed),
		UTIL_TEST(test_icmp_error_fragments_only_about_the_first),
		UTIL_TEST(test_icmp_error_cut_packets_of_any_length_are_refused_or_quoted),
		UTIL_TEST(test_icmp_error_source_of_the_other_family_is_refused),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
