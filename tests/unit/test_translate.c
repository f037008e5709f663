/* SPDX-License-Identifier: BSD-3-Clause */
/* Every result is compared, byte by byte, with a packet in which the fields are set and all checksums computed anew. */
#include "tests/unit/packet_util.h"

#include "datapath/packet/csum.h"
#include "datapath/packet/translate.h"

enum {
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	DCCP = 33,
	ICMP6 = 58,
	SCTP = 132,
	UDPLITE = 136,
	OSPF = 89,
	PIM = 103
};

static uint8_t frame[70000], want[70000], flat[70000];
static const struct translation to4 = { .src = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 77 } },
	.dst = { .b = { [10] = 0xff, 0xff, 203, 0, 113, 255 } },
	.sport = RTE_BE16(0xfffe),
	.dport = RTE_BE16(8443) };
static const struct translation to6 = {
	.src = { .b = { 0x20, 1, 0xd, 0xb8, 0xff, 0xff, [15] = 1 } },
	.dst = { .b = { 0xfd, 0, 1, 2, 3, [14] = 0xff, 0xfe } },
	.sport = RTE_BE16(1),
	.dport = RTE_BE16(0xffff)
};

static const struct translation *to(bool is_v6)
{
	return is_v6 ? &to6 : &to4;
}

/* Place of the checksum in protocols that have no shape of their own here; 0: none. */
static uint32_t csum_off(uint8_t proto)
{
	switch (proto) {
	case DCCP:
	case UDPLITE:
		return 6;
	case OSPF:
		return 12;
	case PIM:
		return 2;
	default:
		return 0;
	}
}

/* A right packet of any protocol in frame: header fields are random where the protocol has no shape of its own here. */
static uint32_t make(bool is_v6, uint8_t proto, uint32_t payload)
{
	const struct util_packet k = { .is_v6 = is_v6,
		.proto = proto == SCTP || csum_off(proto) != 0 ? UDP : proto,
		.ip_opts = is_v6 ? 0 : 8,
		.payload = payload };
	uint32_t len = util_packet_make(frame, &k), l4 = 14 + (is_v6 ? 40 : 28);
	uint8_t *ip = frame + 14;

	ip[is_v6 ? 6 : 9] = proto;
	if (csum_off(proto) != 0) {
		/* The reference takes the place of the field from the protocol: sum as UDP of a pseudo header of its own. */
		uint32_t pseudo_off = is_v6 ? 8 : 12, n = is_v6 ? 32 : 8;
		uint8_t pseudo[4] = { 0, proto };
		uint16_t sum;

		util_put16(pseudo + 2, len - l4);
		util_put16(frame + l4 + csum_off(proto), 0);
		sum = util_ref_sum(0, ip + pseudo_off, n);
		sum = util_ref_sum(sum, pseudo, 4);
		sum = util_ref_sum(sum, frame + l4, len - l4);
		util_put16(frame + l4 + csum_off(proto), sum == 0xffff ? 0xffff : 0xffffu & ~sum);
	}
	if (proto == SCTP)
		util_sctp_crc_fill(frame + l4, len - l4);
	if (!is_v6) {
		util_put16(ip + 10, 0);
		util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 28));
	}
	return len;
}

static void set_addresses(uint8_t *ip, const struct translation *t)
{
	if (ip[0] >> 4 == 4) {
		memcpy(ip + 12, t->src.b + 12, 4);
		memcpy(ip + 16, t->dst.b + 12, 4);
		util_put16(ip + 10, 0);
		util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 4 * (ip[0] & 15)));
	} else {
		memcpy(ip + 8, t->src.b, 16);
		memcpy(ip + 24, t->dst.b, 16);
	}
}

static void set_ports(uint8_t *l4, const struct translation *t)
{
	memcpy(l4, &t->sport, 2);
	memcpy(l4 + 2, &t->dport, 2);
}

/* Translates frame, cut at many places, and compares with want. Metadata for an unfinished packet: k, or NULL. */
static void check_as(uint32_t len, const struct translation *t, const struct util_packet *k)
{
	static const uint32_t first[] = { 0, 128, 100, 55, 35, 15 };

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		struct rte_mbuf *m = util_chain(frame, len, 0, 0), *cut;
		struct parsed pkt;

		assert_int_equal(parse_frame(m, &pkt), DROP_NONE);
		cut = util_chain(frame, len, first[i], i > 3 ? 3 + len / 500 : 0);
		if (k != NULL)
			util_meta(cut, k, 1000);
		assert_true(translate_packet(cut, 14, &pkt, t));
		assert_int_equal(util_flat(cut, flat, sizeof(flat)), len);
		assert_memory_equal(flat, want, len);
		rte_pktmbuf_free(cut);
		rte_pktmbuf_free(m);
	}
}

static void check(uint32_t len, const struct translation *t)
{
	check_as(len, t, NULL);
}

static bool translates(uint32_t len, const struct translation *t)
{
	struct rte_mbuf *m = util_chain(frame, len, 0, 0);
	struct parsed pkt;
	bool is_done = parse_frame(m, &pkt) == DROP_NONE && translate_packet(m, 14, &pkt, t);

	if (!is_done) {
		util_flat(m, flat, sizeof(flat));
		assert_memory_equal(flat, frame, len);
	}
	rte_pktmbuf_free(m);
	return is_done;
}

static void test_translate_packet_tcp_udp_echo_equals_full_computation(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		for (uint32_t payload = 0; payload < 4000; payload = payload * 3 + 1) {
			bool is_v6 = i % 2;
			uint8_t proto = i < 2 ? TCP : i < 4 ? UDP : is_v6 ? ICMP6 : ICMP;
			uint32_t len = make(is_v6, proto, payload), l4 = is_v6 ? 54 : 42;

			memcpy(want, frame, len);
			set_addresses(want + 14, to(is_v6));
			if (i < 4)
				set_ports(want + l4, to(is_v6));
			else
				memcpy(want + l4 + 4, &to(is_v6)->sport, 2);
			util_csums_fill(want + 14);
			check(len, to(is_v6));
		}
}

static void test_translate_packet_wrong_checksum_stays_wrong(void **state)
{
	static const uint8_t protos[] = { TCP, UDP, SCTP };

	(void)state;
	for (int i = 0; i < 6; i++) {
		bool is_v6 = i % 2;
		uint8_t proto = protos[i / 2];
		uint32_t len = make(is_v6, proto, 100), l4 = is_v6 ? 54 : 42;

		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		set_ports(want + l4, to(is_v6));
		if (proto == SCTP)
			util_sctp_crc_fill(want + l4, len - l4);
		else
			util_csums_fill(want + 14);
		frame[len - 1] ^= 0x40;
		want[len - 1] ^= 0x40;
		check(len, to(is_v6));
	}
}

static void test_translate_packet_udp_without_checksum_stays_without(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, UDP, 33), l4 = is_v6 ? 54 : 42;

		util_put16(frame + l4 + 6, 0);
		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		set_ports(want + l4, to(is_v6));
		check(len, to(is_v6));
	}
}

static void test_translate_packet_udp_checksum_that_becomes_zero_is_sent_as_ffff(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, UDP, 2), l4 = is_v6 ? 54 : 42;

		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		set_ports(want + l4, to(is_v6));
		/* The payload word that makes the sum 0xffff: the checksum of what is there without it. */
		util_put16(want + l4 + 8, 0);
		util_csums_fill(want + 14);
		util_put16(want + l4 + 8, util_get16(want + l4 + 6));
		util_csums_fill(want + 14);
		assert_int_equal(util_get16(want + l4 + 6), 0xffff);
		memcpy(frame + l4 + 8, want + l4 + 8, 2);
		util_csums_fill(frame + 14);
		check(len, to(is_v6));
	}
}

static void test_translate_packet_sctp_crc_equals_full_computation(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		for (uint32_t payload = 4; payload < 65000; payload = payload * 2 + 1) {
			uint32_t len = make(is_v6, SCTP, payload), l4 = is_v6 ? 54 : 42;

			memcpy(want, frame, len);
			set_addresses(want + 14, to(is_v6));
			set_ports(want + l4, to(is_v6));
			util_sctp_crc_fill(want + l4, len - l4);
			check(len, to(is_v6));
		}
}

static void test_translate_packet_odd_protocols_change_addresses_and_checksum(void **state)
{
	static const struct {
		uint8_t proto;
		bool is_v6;
	} kinds[] = { { UDPLITE, false }, { UDPLITE, true }, { DCCP, false }, { DCCP, true },
		{ OSPF, true }, { PIM, true } };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		bool is_v6 = kinds[i].is_v6;
		uint8_t proto = kinds[i].proto;
		uint32_t len = make(is_v6, proto, 50), l4 = is_v6 ? 54 : 42;
		struct rte_mbuf *m = util_chain(frame, len, 70, 0);
		struct parsed pkt;
		uint8_t *ip = flat + 14, pseudo[4] = { 0, proto };
		uint16_t sum;

		assert_int_equal(parse_frame(m, &pkt), DROP_NONE);
		assert_true(translate_packet(m, 14, &pkt, to(is_v6)));
		util_flat(m, flat, sizeof(flat));
		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		memcpy(want + l4 + csum_off(proto), flat + l4 + csum_off(proto), 2);
		assert_memory_equal(flat, want, len);
		util_put16(pseudo + 2, len - l4);
		sum = util_ref_sum(0, ip + (is_v6 ? 8 : 12), is_v6 ? 32 : 8);
		sum = util_ref_sum(util_ref_sum(sum, pseudo, 4), flat + l4, len - l4);
		assert_int_equal(sum, 0xffff);
		rte_pktmbuf_free(m);
	}
}

static void test_translate_packet_of_unknown_protocol_changes_addresses_only(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, 47, 50); /* GRE */

		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		check(len, to(is_v6));
	}
}

static void test_translate_packet_icmp_without_identifier_changes_no_identifier(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make(is_v6, is_v6 ? ICMP6 : ICMP, 12), l4 = is_v6 ? 54 : 42;

		frame[l4] = is_v6 ? 143 : 40; /* MLDv2 report; Photuris */
		util_csums_fill(frame + 14);
		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		util_csums_fill(want + 14);
		check(len, to(is_v6));
	}
}

/* frame becomes a piece of its datagram; a fragment header is put in for IPv6. Its new length. */
static uint32_t make_fragment(bool is_v6, uint32_t len, uint16_t off, bool has_more)
{
	uint16_t field = is_v6 ? (uint16_t)(off | has_more) : (uint16_t)(off / 8 | has_more << 13);

	if (!is_v6) {
		util_put16(frame + 20, field);
		util_put16(frame + 24, 0);
		util_put16(frame + 24, 0xffffu & ~util_ref_sum(0, frame + 14, 28));
		return len;
	}
	memmove(frame + 62, frame + 54, len - 54);
	util_put16(frame + 18, len - 54 + 8);
	frame[54] = frame[20];
	frame[55] = 0;
	util_put16(frame + 56, field);
	frame[20] = 44;
	return len + 8;
}

static void test_translate_packet_later_fragment_changes_addresses_only(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make_fragment(is_v6, make(is_v6, UDP, 80), 800, true);

		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		check(len, to(is_v6));
	}
}

static void test_translate_packet_first_fragment_updates_the_datagrams_checksum(void **state)
{
	static const uint8_t protos[] = { TCP, UDP };

	(void)state;
	for (int i = 0; i < 4; i++) {
		bool is_v6 = i % 2;
		uint32_t len = make(is_v6, protos[i / 2], 200), l4 = is_v6 ? 54 : 42;
		uint8_t head[64];

		/* The whole datagram's translation shows what stands in the first 64 bytes of it. */
		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		set_ports(want + l4, to(is_v6));
		util_csums_fill(want + 14);
		memcpy(head, want + l4, 64);

		len = l4 + 64;
		util_put16(frame + (is_v6 ? 18 : 16), len - (is_v6 ? 54 : 14));
		len = make_fragment(is_v6, len, 0, true);
		memcpy(want, frame, len);
		set_addresses(want + 14, to(is_v6));
		memcpy(want + len - 64, head, 64);
		check(len, to(is_v6));
	}
}

static void test_translate_packet_sctp_first_fragment_needs_its_ports_kept(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t len = make_fragment(is_v6, make(is_v6, SCTP, 200), 0, true);
		struct translation same = *to(is_v6);

		assert_false(translates(len, &same));
		memcpy(&same.sport, frame + (is_v6 ? 62 : 42), 2);
		memcpy(&same.dport, frame + (is_v6 ? 64 : 44), 2);
		memcpy(want, frame, len);
		set_addresses(want + 14, &same);
		check(len, &same);
	}
}

static void test_translate_packet_atomic_fragment_is_whole(void **state)
{
	uint32_t len = make_fragment(true, make(true, SCTP, 200), 0, false);

	(void)state;
	memcpy(want, frame, len);
	set_addresses(want + 14, &to6);
	set_ports(want + 62, &to6);
	util_sctp_crc_fill(want + 62, len - 62);
	check(len, &to6);
}

static void test_translate_packet_unfinished_stays_a_pseudo_header_sum(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct util_packet k = { .is_v6 = i % 2,
			.proto = i < 2 ? TCP : UDP,
			.ip_opts = i % 2 ? 0 : 8,
			.payload = 9000 };
		uint32_t len = util_packet_make(frame, &k), l4 = k.is_v6 ? 54 : 42;
		struct rte_mbuf *m = util_chain(frame, len, 0, 0);

		util_meta(m, &k, 1000);
		assert_int_equal(csum_prepare(m), 0);
		util_flat(m, frame, sizeof(frame));
		rte_pktmbuf_free(m);

		memcpy(want, frame, len);
		set_addresses(want + 14, to(k.is_v6));
		set_ports(want + l4, to(k.is_v6));
		m = util_chain(want, len, 0, 0);
		util_meta(m, &k, 1000);
		assert_int_equal(csum_prepare(m), 0);
		util_flat(m, want, sizeof(want));
		rte_pktmbuf_free(m);
		check_as(len, to(k.is_v6), &k);
	}
}

static void test_translate_packet_after_decapsulation_uses_the_new_place(void **state)
{
	uint32_t len = make(false, TCP, 20);
	struct rte_mbuf *m = util_chain(frame, len, 0, 0);
	struct parsed pkt;

	(void)state;
	memcpy(want, frame, len);
	set_addresses(want + 14, &to4);
	set_ports(want + 42, &to4);
	util_csums_fill(want + 14);
	assert_int_equal(parse_frame(m, &pkt), DROP_NONE);
	assert_non_null(rte_pktmbuf_adj(m, 14));
	assert_true(translate_packet(m, 0, &pkt, &to4));
	util_flat(m, flat, sizeof(flat));
	assert_memory_equal(flat, want + 14, len - 14);
	rte_pktmbuf_free(m);
}

static void test_translate_packet_refuses_what_it_cannot(void **state)
{
	uint32_t len = make(false, TCP, 20);

	(void)state;
	assert_false(translates(len, &to6));
	assert_false(translates(make(true, TCP, 20), &to4));
	/* An ICMP error. */
	len = make(false, ICMP, 60);
	frame[42] = 3;
	assert_false(translates(len, &to4));
	/* A routing header (type 2, one segment left). */
	len = make(true, UDP, 60);
	memmove(frame + 78, frame + 54, len - 54);
	memset(frame + 54, 0, 24);
	frame[54] = UDP;
	frame[55] = 2;
	frame[56] = 2;
	frame[57] = 1;
	frame[20] = 43;
	util_put16(frame + 18, len - 54 + 24);
	assert_false(translates(len + 24, &to6));
	/* An echo whose identifier is link padding. */
	len = make(false, ICMP, 20);
	util_put16(frame + 16, 32);
	util_csums_fill(frame + 14);
	assert_false(translates(len, &to4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_translate_packet_tcp_udp_echo_equals_full_computation),
		UTIL_TEST(test_translate_packet_wrong_checksum_stays_wrong),
		UTIL_TEST(test_translate_packet_udp_without_checksum_stays_without),
		UTIL_TEST(test_translate_packet_udp_checksum_that_becomes_zero_is_sent_as_ffff),
		UTIL_TEST(test_translate_packet_sctp_crc_equals_full_computation),
		UTIL_TEST(test_translate_packet_odd_protocols_change_addresses_and_checksum),
		UTIL_TEST(test_translate_packet_of_unknown_protocol_changes_addresses_only),
		UTIL_TEST(test_translate_packet_icmp_without_identifier_changes_no_identifier),
		UTIL_TEST(test_translate_packet_later_fragment_changes_addresses_only),
		UTIL_TEST(test_translate_packet_first_fragment_updates_the_datagrams_checksum),
		UTIL_TEST(test_translate_packet_sctp_first_fragment_needs_its_ports_kept),
		UTIL_TEST(test_translate_packet_atomic_fragment_is_whole),
		UTIL_TEST(test_translate_packet_unfinished_stays_a_pseudo_header_sum),
		UTIL_TEST(test_translate_packet_after_decapsulation_uses_the_new_place),
		UTIL_TEST(test_translate_packet_refuses_what_it_cannot),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
