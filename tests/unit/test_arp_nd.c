/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include "datapath/packet/arp.h"
#include "datapath/packet/nd.h"

static uint8_t frame[2000], flat[2000];
static const struct rte_ether_addr pod = { { 0x0a, 0x58, 10, 0, 0, 1 } };
static const struct rte_ether_addr gw = { { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee } };

/* ARP request of 10.0.0.1 for 169.254.1.1, as its bytes stand on the wire. */
static const uint8_t arp_request[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0a, 0x58, 10, 0, 0,
	1, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1, 0x0a, 0x58, 10, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0,
	0, 0, 169, 254, 1, 1 };
static const uint8_t arp_reply_want[42] = { 0x0a, 0x58, 10, 0, 0, 1, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xee, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 169, 254,
	1, 1, 0x0a, 0x58, 10, 0, 0, 1, 10, 0, 0, 1 };

static struct rte_mbuf *chain_of(const uint8_t *p, uint32_t len, uint32_t split)
{
	return util_chain(p, len, split == 0 ? 0 : split, split == 0 ? 0 : 1 + split % 5);
}

static enum drop_reason arp_of(const uint8_t *p, uint32_t len, struct arp_info *info)
{
	struct rte_mbuf *m = chain_of(p, len, 3);
	enum drop_reason why = arp_parse(m, info);

	rte_pktmbuf_free(m);
	return why;
}

static void test_arp_parse_reads_request_at_any_split(void **state)
{
	(void)state;
	for (uint32_t split = 0; split < 42; split++) {
		struct rte_mbuf *m = chain_of(arp_request, 42, split);
		struct arp_info a;

		assert_int_equal(arp_parse(m, &a), DROP_NONE);
		assert_true(a.is_request && !a.is_probe && !a.is_announcement);
		assert_int_equal(a.sender_ip, RTE_BE32(0x0a000001));
		assert_int_equal(a.target_ip, RTE_BE32(0xa9fe0101));
		assert_memory_equal(&a.sender_mac, &pod, 6);
		rte_pktmbuf_free(m);
	}
}

static void test_arp_parse_cut_at_any_length_is_invalid(void **state)
{
	struct arp_info a;

	(void)state;
	for (uint32_t len = 1; len < 42; len++)
		assert_int_equal(arp_of(arp_request, len, &a), DROP_ARP_INVALID);
}

static void test_arp_parse_wrong_bytes_are_invalid(void **state)
{
	static const struct {
		uint8_t off, value;
	} wrong[] = { { 13, 0 }, { 15, 6 }, { 16, 0x86 }, { 18, 8 }, { 19, 16 }, { 21, 0 },
		{ 21, 3 }, { 21, 8 }, { 22, 0x0b }, { 27, 2 }, { 28, 127 }, { 28, 224 },
		{ 28, 255 }, { 38, 0 }, { 38, 127 }, { 38, 239 }, { 38, 240 } };
	struct arp_info a;

	(void)state;
	for (size_t i = 0; i < RTE_DIM(wrong); i++) {
		memcpy(frame, arp_request, 42);
		frame[wrong[i].off] = wrong[i].value;
		assert_int_equal(arp_of(frame, 42, &a), DROP_ARP_INVALID);
	}
	memcpy(frame, arp_request, 42); /* a group MAC as sender, also in the Ethernet header */
	frame[6] |= 1;
	frame[22] |= 1;
	assert_int_equal(arp_of(frame, 42, &a), DROP_ARP_INVALID);
	memcpy(frame, arp_request, 42);
	memset(frame + 6, 0, 6);
	memset(frame + 22, 0, 6);
	assert_int_equal(arp_of(frame, 42, &a), DROP_ARP_INVALID);
	memcpy(frame, arp_reply_want, 42); /* a reply from nobody */
	memset(frame + 28, 0, 4);
	assert_int_equal(arp_of(frame, 42, &a), DROP_ARP_INVALID);
}

static void test_arp_parse_tells_probe_announcement_and_reply(void **state)
{
	struct arp_info a;

	(void)state;
	memcpy(frame, arp_request, 42);
	memset(frame + 28, 0, 4);
	assert_int_equal(arp_of(frame, 42, &a), DROP_NONE);
	assert_true(a.is_probe && a.is_request && !a.is_announcement);
	memcpy(frame, arp_request, 42);
	memcpy(frame + 38, frame + 28, 4);
	assert_int_equal(arp_of(frame, 42, &a), DROP_NONE);
	assert_true(a.is_announcement && !a.is_probe);
	assert_int_equal(arp_of(arp_reply_want, 42, &a), DROP_NONE);
	assert_false(a.is_request);
}

static void test_arp_reply_in_place_is_the_whole_expected_frame(void **state)
{
	(void)state;
	for (uint32_t split = 0; split < 42; split++) {
		struct rte_mbuf *m = chain_of(arp_request, 42, split);
		struct arp_info a;

		assert_int_equal(arp_parse(m, &a), DROP_NONE);
		assert_true(arp_reply(m, &a, &gw));
		assert_int_equal(util_flat(m, flat, sizeof(flat)), 42);
		assert_memory_equal(flat, arp_reply_want, 42);
		rte_pktmbuf_free(m);
	}
}

static void test_arp_request_create_is_the_whole_expected_frame(void **state)
{
	struct rte_mbuf *m = arp_request_create(
		util_pool, &pod, RTE_BE32(0x0a000001), RTE_BE32(0xa9fe0101), NULL);

	(void)state;
	assert_non_null(m);
	assert_int_equal(util_flat(m, flat, sizeof(flat)), 42);
	assert_memory_equal(flat, arp_request, 42);
	rte_pktmbuf_free(m);
	m = arp_request_create(util_pool, &pod, RTE_BE32(0x0a000001), RTE_BE32(0xa9fe0101), &gw);
	util_flat(m, flat, sizeof(flat));
	assert_memory_equal(flat, &gw, 6);
	assert_memory_equal(flat + 6, arp_request + 6, 36);
	rte_pktmbuf_free(m);
}

/* fe80::1's solicitor 2001:db8::7, an ND message of `type` with the given fixed part and options,
 * at frame. */
static uint32_t nd_make(uint8_t type, uint32_t fixed, const uint8_t *opts, uint32_t opts_len)
{
	static const uint8_t src[16] = { 0x20, 1, 0x0d, 0xb8, [15] = 7 };
	static const uint8_t gateway[16] = { 0xfe, 0x80, [15] = 1 };
	static const uint8_t group[16] = { 0xff, 2, [11] = 1, 0xff, 0, 0, 1 };
	uint8_t *ip = frame + 14;

	memset(frame, 0, 14 + 40 + fixed);
	memcpy(frame, "\x33\x33\xff\x00\x00\x01", 6);
	memcpy(frame + 6, &pod, 6);
	util_put16(frame + 12, 0x86dd);
	ip[0] = 0x60;
	util_put16(ip + 4, fixed + opts_len);
	ip[6] = 58;
	ip[7] = 255;
	memcpy(ip + 8, type == ND_RA || type == ND_REDIRECT ? gateway : src, 16);
	memcpy(ip + 24, group, 16);
	ip[40] = type;
	if (type >= ND_NS)
		memcpy(ip + 48, gateway, 16);
	if (opts_len > 0)
		memcpy(ip + 40 + fixed, opts, opts_len);
	util_csums_fill(ip);
	return 54 + fixed + opts_len;
}

static const uint8_t slla_pod[8] = { 1, 1, 0x0a, 0x58, 10, 0, 0, 1 };
static const uint8_t tlla_pod[8] = { 2, 1, 0x0a, 0x58, 10, 0, 0, 1 };

static enum drop_reason nd_of(uint32_t len, struct nd_info *info)
{
	struct rte_mbuf *m = chain_of(frame, len, 1 + len % 50);
	enum drop_reason why = nd_parse(m, info);

	rte_pktmbuf_free(m);
	return why;
}

static void test_nd_parse_reads_each_type(void **state)
{
	static const struct {
		uint8_t type, fixed;
	} types[] = { { ND_RS, 8 }, { ND_RA, 16 }, { ND_NS, 24 }, { ND_NA, 24 },
		{ ND_REDIRECT, 40 } };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(types); i++) {
		struct nd_info nd;
		uint32_t len = nd_make(types[i].type, types[i].fixed, slla_pod, 8);

		assert_int_equal(nd_of(len, &nd), DROP_NONE);
		assert_int_equal(nd.type, types[i].type);
		assert_true(nd.has_slla && !nd.has_tlla && !nd.is_dad);
		assert_memory_equal(&nd.slla, &pod, 6);
		assert_memory_equal(nd.src.b, frame + 22, 16);
		if (types[i].type >= ND_NS)
			assert_memory_equal(nd.target.b, frame + 62, 16);
		/* link padding behind the packet is not looked at */
		memset(frame + len, 0xff, 10);
		assert_int_equal(nd_of(len + 10, &nd), DROP_NONE);
		len = nd_make(types[i].type, types[i].fixed, NULL, 0);
		assert_int_equal(nd_of(len, &nd), DROP_NONE);
		assert_false(nd.has_slla);
		/* the fixed part must be whole */
		util_put16(frame + 18, types[i].fixed - 1);
		util_csums_fill(frame + 14);
		assert_int_equal(nd_of(len, &nd), DROP_ND_INVALID);
	}
}

static void test_nd_parse_cut_at_any_length_is_invalid(void **state)
{
	uint32_t len = nd_make(ND_NS, 24, slla_pod, 8);
	struct nd_info nd;

	(void)state;
	for (uint32_t n = 1; n < len; n++)
		assert_int_equal(nd_of(n, &nd), DROP_ND_INVALID);
}

static void test_nd_parse_any_flipped_bit_of_message_is_invalid(void **state)
{
	uint32_t len = nd_make(ND_NS, 24, slla_pod, 8);
	struct nd_info nd;

	(void)state;
	for (uint32_t bit = 22 * 8; bit < len * 8; bit++) {
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(nd_of(len, &nd), DROP_ND_INVALID);
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_nd_parse_rules_of_rfc_4861(void **state)
{
	struct nd_info nd;
	uint32_t len;

	(void)state;
#define EXPECT(why)                                                                                \
	do {                                                                                       \
		util_csums_fill(frame + 14);                                                       \
		assert_int_equal(nd_of(len, &nd), why);                                            \
	} while (0)
	len = nd_make(ND_NS, 24, slla_pod, 8);
	frame[21] = 254; /* hop limit */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_NS, 24, slla_pod, 8);
	frame[55] = 1; /* code */
	EXPECT(DROP_ND_INVALID);
	frame[55] = 0;
	frame[62] = 0xff; /* multicast target */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_NS, 24, slla_pod, 8);
	memset(frame + 22, 0, 16); /* unspecified source with a link-layer option */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_NS, 24, NULL, 0);
	memset(frame + 22, 0, 16);
	EXPECT(DROP_NONE);
	assert_true(nd.is_dad);
	frame[53] = 2; /* … to another group than the target's */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_NS, 24, NULL, 0);
	frame[22] = 0xff; /* multicast source */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_NA, 24, tlla_pod, 8);
	frame[58] = 0x20;
	EXPECT(DROP_NONE);
	assert_true(nd.has_tlla && nd.na_flags == ND_NA_OVERRIDE);
	frame[58] = 0x60; /* solicited, to a group */
	EXPECT(DROP_ND_INVALID);
	memcpy(frame + 38, frame + 22, 16);
	EXPECT(DROP_NONE);
	memset(frame + 22, 0, 16); /* advertised by nobody */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_RA, 16, NULL, 0);
	util_put16(frame + 60, 1800);
	EXPECT(DROP_NONE);
	assert_int_equal(nd.router_lifetime_s, 1800);
	frame[22] = 0x20; /* not from a link-local address */
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_RS, 8, slla_pod, 8);
	memset(frame + 22, 0, 16);
	EXPECT(DROP_ND_INVALID);
	len = nd_make(ND_RS, 8, NULL, 0);
	memset(frame + 22, 0, 16);
	EXPECT(DROP_NONE);
	len = nd_make(ND_NS, 24, NULL, 0);
	frame[54] = 128; /* an echo is no ND */
	EXPECT(DROP_ND_INVALID);
#undef EXPECT
}

static void test_nd_parse_options_are_bounded(void **state)
{
	static const uint8_t bad[][16] = {
		{ 1, 0, 1, 2, 3, 4, 5, 6, 1, 1 },	 /* length 0 */
		{ 14, 3, 0, 0, 0, 0, 0, 0 },		 /* past the end */
		{ 1, 1, 0x01, 0, 0x5e, 0, 0, 1, 14, 1 }, /* a group's MAC */
		{ 2, 1, 0, 0, 0, 0, 0, 0, 14, 1 },	 /* zero */
		{ 1, 2, 2, 0, 0, 0, 0, 0 },		 /* no Ethernet address */
	};
	static const uint8_t good[16] = { 14, 1, 9, 9, 9, 9, 9, 9, 2, 1, 2, 0, 0, 0, 0, 5 };
	static const uint8_t nonces[8 * 66] = { 0 };
	uint8_t many[8 * 66];
	struct nd_info nd;

	(void)state;
	for (size_t i = 0; i < RTE_DIM(bad); i++)
		assert_int_equal(nd_of(nd_make(ND_NS, 24, bad[i], 16), &nd), DROP_ND_INVALID);
	for (uint32_t cut = 1; cut < 8; cut++)
		assert_int_equal(nd_of(nd_make(ND_NS, 24, good, 8 + cut), &nd), DROP_ND_INVALID);
	assert_int_equal(nd_of(nd_make(ND_NS, 24, good, 16), &nd), DROP_NONE);
	assert_int_equal(nd.tlla.addr_bytes[5], 5);
	memcpy(many, nonces, sizeof(many));
	for (int i = 0; i < 66; i++) {
		many[8 * i] = 14;
		many[8 * i + 1] = 1;
	}
	assert_int_equal(nd_of(nd_make(ND_NS, 24, many, 8 * 64), &nd), DROP_NONE);
	assert_int_equal(nd_of(nd_make(ND_NS, 24, many, 8 * 65), &nd), DROP_ND_INVALID);
}

/* The advertisement of fe80::1 at gw's MAC by hand. */
static void advert_want(uint8_t *want, const uint8_t *eth_dst, const uint8_t *dst, uint8_t flags)
{
	memset(want, 0, 86);
	memcpy(want, eth_dst, 6);
	memcpy(want + 6, &gw, 6);
	util_put16(want + 12, 0x86dd);
	want[14] = 0x60;
	util_put16(want + 18, 32);
	want[20] = 58;
	want[21] = 255;
	want[22] = 0xfe;
	want[23] = 0x80;
	want[37] = 1;
	memcpy(want + 38, dst, 16);
	want[54] = 136;
	want[58] = flags;
	memcpy(want + 62, want + 22, 16);
	want[78] = 2;
	want[79] = 1;
	memcpy(want + 80, &gw, 6);
	util_csums_fill(want + 14);
}

static void test_nd_reply_in_place_is_the_whole_expected_frame(void **state)
{
	static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };
	static const uint8_t all_nodes_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };

	(void)state;
	for (int dad = 0; dad < 2; dad++)
		for (uint32_t split = 0; split < 78; split++) {
			uint32_t len = nd_make(ND_NS, 24, slla_pod, dad ? 0 : 8);
			uint8_t want[86], src[16];
			struct rte_mbuf *m;
			struct nd_info nd;

			memcpy(src, frame + 22, 16);
			if (dad) {
				memset(frame + 22, 0, 16);
				util_csums_fill(frame + 14);
			}
			m = chain_of(frame, len, split);
			assert_int_equal(nd_parse(m, &nd), DROP_NONE);
			assert_true(nd_reply(m, &nd, &gw, ND_NA_ROUTER | ND_NA_OVERRIDE));
			if (dad)
				advert_want(want, all_nodes_mac, all_nodes, 0xa0);
			else
				advert_want(want, (const uint8_t *)&pod, src, 0xe0);
			assert_int_equal(util_flat(m, flat, sizeof(flat)), 86);
			assert_memory_equal(flat, want, 86);
			assert_int_equal(nd_parse(m, &nd), DROP_NONE);
			rte_pktmbuf_free(m);
		}
}

static void test_nd_solicit_create_parses_back(void **state)
{
	struct ip_addr src, target, none = { 0 };
	struct rte_mbuf *m;
	struct nd_info nd;

	(void)state;
	assert_int_equal(ip_parse("2001:db8::7", &src), 0);
	assert_int_equal(ip_parse("2001:db8::a1b2:c3d4", &target), 0);
	m = nd_solicit_create(util_pool, &pod, &src, &target, NULL);
	assert_non_null(m);
	assert_int_equal(util_flat(m, flat, sizeof(flat)), 86);
	assert_memory_equal(flat, "\x33\x33\xff\xb2\xc3\xd4", 6);
	assert_int_equal(util_ref_l4_sum(flat + 14), 0xffff);
	assert_int_equal(nd_parse(m, &nd), DROP_NONE);
	assert_true(nd.type == ND_NS && nd.has_slla && ip_eq(&nd.target, &target));
	assert_memory_equal(nd.dst.b, "\xff\x02\0\0\0\0\0\0\0\0\0\x01\xff\xb2\xc3\xd4", 16);
	rte_pktmbuf_free(m);
	m = nd_solicit_create(util_pool, &pod, &src, &target, &gw);
	assert_int_equal(nd_parse(m, &nd), DROP_NONE);
	assert_true(ip_eq(&nd.dst, &target));
	assert_memory_equal(&nd.eth_dst, &gw, 6);
	rte_pktmbuf_free(m);
	m = nd_solicit_create(util_pool, &pod, &none, &target, NULL);
	assert_int_equal(m->pkt_len, 78);
	assert_int_equal(nd_parse(m, &nd), DROP_NONE);
	assert_true(nd.is_dad && !nd.has_slla);
	rte_pktmbuf_free(m);
}

static void test_nd_announce_create_is_the_whole_expected_frame(void **state)
{
	static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };
	struct ip_addr target = { .b = { 0xfe, 0x80, [15] = 1 } };
	struct rte_mbuf *m = nd_announce_create(
		util_pool, &gw, &target, ND_NA_OVERRIDE | ND_NA_SOLICITED);
	uint8_t want[86];

	(void)state;
	assert_non_null(m);
	advert_want(want, (const uint8_t *)"\x33\x33\0\0\0\x01", all_nodes, 0x20);
	assert_int_equal(util_flat(m, flat, sizeof(flat)), 86);
	assert_memory_equal(flat, want, 86);
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_arp_parse_reads_request_at_any_split),
		UTIL_TEST(test_arp_parse_cut_at_any_length_is_invalid),
		UTIL_TEST(test_arp_parse_wrong_bytes_are_invalid),
		UTIL_TEST(test_arp_parse_tells_probe_announcement_and_reply),
		UTIL_TEST(test_arp_reply_in_place_is_the_whole_expected_frame),
		UTIL_TEST(test_arp_request_create_is_the_whole_expected_frame),
		UTIL_TEST(test_nd_parse_reads_each_type),
		UTIL_TEST(test_nd_parse_cut_at_any_length_is_invalid),
		UTIL_TEST(test_nd_parse_any_flipped_bit_of_message_is_invalid),
		UTIL_TEST(test_nd_parse_rules_of_rfc_4861),
		UTIL_TEST(test_nd_parse_options_are_bounded),
		UTIL_TEST(test_nd_reply_in_place_is_the_whole_expected_frame),
		UTIL_TEST(test_nd_solicit_create_parses_back),
		UTIL_TEST(test_nd_announce_create_is_the_whole_expected_frame),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
