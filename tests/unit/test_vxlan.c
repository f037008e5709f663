/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/packet_util.h"

#include "datapath/packet/vxlan.h"

static uint8_t frame[70000], flat[70000], inner[70000];

static struct vxlan_config config(bool is_v6)
{
	struct vxlan_config c = {
		.local_mac = { { 2, 0, 0, 0, 0, 1 } },
		.remote_mac = { { 2, 0, 0, 0, 0, 2 } },
		.inner_src = { { 2, 0, 0, 0, 0, 3 } },
		.inner_dst = { { 2, 0, 0, 0, 0, 4 } },
		.vni = 0xabcdef,
		.udp_port = 4789,
		.tos = 0x28,
	};

	assert_int_equal(ip_parse(is_v6 ? "2001:db8::1" : "192.0.2.1", &c.local), 0);
	assert_int_equal(ip_parse(is_v6 ? "2001:db8::2" : "192.0.2.2", &c.remote), 0);
	return c;
}

/* The outer packet around inner (its Ethernet header replaced), by hand. Returns its length. */
static uint32_t reference(
	const struct vxlan_config *c, uint32_t inner_len, uint16_t type, uint16_t port, uint16_t id)
{
	const bool is_v6 = !ip_is_v4(&c->local);
	uint8_t *ip = frame + 14, *u = ip + (is_v6 ? 40 : 20);

	/* ECN is copied out (RFC 6040 s. 4.1), with the DSCP or without it (RFC 2983) */
	const uint8_t inner_tos = type == 0x86dd ? (uint8_t)(util_get16(inner + 14) >> 4)
						 : inner[15];
	const uint8_t tos = c->is_dscp_uniform ? inner_tos : (c->tos & 0xfc) | (inner_tos & 3);

	memset(frame, 0, 100);
	memcpy(frame, &c->remote_mac, 6);
	memcpy(frame + 6, &c->local_mac, 6);
	util_put16(frame + 12, is_v6 ? 0x86dd : 0x0800);
	if (is_v6) {
		util_put32(ip, 0x60000000u | (uint32_t)tos << 20);
		util_put16(ip + 4, 16 + inner_len);
		ip[6] = 17;
		ip[7] = 64;
		memcpy(ip + 8, c->local.b, 16);
		memcpy(ip + 24, c->remote.b, 16);
	} else {
		ip[0] = 0x45;
		ip[1] = tos;
		util_put16(ip + 2, 36 + inner_len);
		util_put16(ip + 4, id);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = 17;
		memcpy(ip + 12, c->local.b + 12, 4);
		memcpy(ip + 16, c->remote.b + 12, 4);
		util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 20));
	}
	util_put16(u, port);
	util_put16(u + 2, c->udp_port);
	util_put16(u + 4, 16 + inner_len);
	u[8] = 8;
	util_put32(u + 12, c->vni << 8);
	memcpy(u + 16, &c->inner_dst, 6);
	memcpy(u + 22, &c->inner_src, 6);
	util_put16(u + 28, type);
	memcpy(u + 30, inner + 14, inner_len - 14);
	if (c->has_udp_csum)
		util_csums_fill(ip);
	return (is_v6 ? 70 : 50) + inner_len;
}

static void test_vxlan_encap_lengths_and_ids_match_reference(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int csum = 0; csum < 2; csum++)
			for (uint32_t payload = 0; payload < 3000; payload += 29) {
				struct vxlan_config c = config(v6);
				struct vxlan_template t;
				struct util_packet k = {
					.is_v6 = payload & 1, .proto = 6, .payload = payload
				};
				uint32_t len = util_packet_make(inner, &k), n;
				uint16_t type = k.is_v6 ? 0x86dd : 0x0800, id = (uint16_t)random(),
					 port;
				struct rte_mbuf *m = util_chain(inner, len, 16 + payload % 99, 333);
				uint32_t hash = (uint32_t)random();

				c.has_udp_csum = csum;
				assert_true(vxlan_template_init(&t, &c));
				assert_true(vxlan_encap(m, &t, rte_cpu_to_be_16(type), hash, id));
				n = util_flat(m, flat, sizeof(flat));
				port = util_get16(flat + (v6 ? 54 : 34));
				assert_true(port >= 49152);
				assert_int_equal(n, reference(&c, len, type, port, id));
				assert_memory_equal(flat, frame, n);
				rte_pktmbuf_free(m);
			}
}

/* Encapsulates what stands in inner with a UDP checksum and compares with the sum over everything. */
static void csum_matches(bool outer_v6, uint32_t len, uint32_t first)
{
	const uint16_t type = util_get16(inner + 12);
	struct vxlan_config c = config(outer_v6);
	struct rte_mbuf *m = util_chain(inner, len, first, 333);
	struct vxlan_template t;
	uint32_t n;

	c.has_udp_csum = true;
	assert_true(vxlan_template_init(&t, &c));
	assert_true(vxlan_encap(m, &t, rte_cpu_to_be_16(type), (uint32_t)random(), 3));
	n = util_flat(m, flat, sizeof(flat));
	assert_int_equal(n, reference(&c, len, type, util_get16(flat + (outer_v6 ? 54 : 34)), 3));
	assert_memory_equal(flat, frame, n);
	rte_pktmbuf_free(m);
}

static void test_vxlan_encap_tos_is_copied_as_the_template_says(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 256 * 8; i++) {
		struct util_packet k = { .is_v6 = i & 1, .proto = 17, .payload = 20 };
		struct vxlan_config c = config(i & 2);
		uint32_t len = util_packet_make(inner, &k), n;
		struct vxlan_template t;
		struct rte_mbuf *m;

		c.is_dscp_uniform = i & 4;
		c.has_udp_csum = i & 8;
		if (k.is_v6)
			util_put16(inner + 14, 0x6000 | i / 8 << 4);
		else
			inner[15] = (uint8_t)(i / 8);
		util_csums_fill(inner + 14);
		m = util_chain(inner, len, 0, 0);
		assert_true(vxlan_template_init(&t, &c));
		assert_true(vxlan_encap(m, &t, rte_cpu_to_be_16(k.is_v6 ? 0x86dd : 0x0800), 1, 3));
		n = util_flat(m, flat, sizeof(flat));
		reference(&c, len, k.is_v6 ? 0x86dd : 0x0800, util_get16(flat + (i & 2 ? 54 : 34)),
			3);
		assert_memory_equal(flat, frame, n);
		rte_pktmbuf_free(m);
	}
}

static void test_vxlan_encap_checksum_is_right_whatever_is_inside(void **state)
{
	const uint8_t protos[] = { 6, 17, 1, 58, 132, 47 };

	(void)state;
	for (unsigned int i = 0; i < 2 * 2 * RTE_DIM(protos) * 4; i++) {
		struct util_packet k = { .is_v6 = i & 1, .proto = protos[i / 4 % RTE_DIM(protos)] };
		const bool outer_v6 = i & 2;
		uint32_t len, l3 = k.is_v6 ? 40 : 20;

		k.payload = (uint32_t)random() % 1400;
		len = util_packet_make(inner, &k);
		csum_matches(outer_v6, len, 0);
		csum_matches(outer_v6, len, 16 + (uint32_t)random() % 80);
		if (k.proto == 17) { /* no checksum; bytes behind the datagram */
			util_put16(inner + 14 + l3 + 6, 0);
			csum_matches(outer_v6, len, 0);
			k.payload += 10;
			len = util_packet_make(inner, &k);
			util_put16(inner + 14 + l3 + 4, 8 + k.payload - 10);
			csum_matches(outer_v6, len, 0);
		}
		if (k.is_v6) {
			inner[14 + 6] = 44; /* a fragment, where the proto was */
			csum_matches(outer_v6, len, 0);
			continue;
		}
		util_packet_make(inner, &k);
		util_put16(inner + 14 + 6, i & 4 ? 0x2000 : 100);
		util_put16(inner + 14 + 10, 0);
		util_put16(inner + 14 + 10, 0xffffu & ~util_ref_sum(0, inner + 14, 20));
		csum_matches(outer_v6, len, 0);
		k.ip_opts = 8;
		csum_matches(outer_v6, util_packet_make(inner, &k), 0);
	}
}

/* What the inner checksum says of the payload is believed: another payload gives the same. */
static void test_vxlan_encap_checksum_does_not_read_the_payload(void **state)
{
	const uint8_t protos[] = { 6, 17 };

	(void)state;
	for (unsigned int i = 0; i < 8; i++) {
		struct util_packet k = {
			.is_v6 = i & 1, .proto = protos[i / 2 & 1], .payload = 500
		};
		struct vxlan_config c = config(i & 4);
		struct vxlan_template t;
		uint32_t len = util_packet_make(inner, &k);
		uint16_t csums[2];

		c.has_udp_csum = true;
		assert_true(vxlan_template_init(&t, &c));
		for (unsigned int j = 0; j < 2; j++) {
			struct rte_mbuf *m = util_chain(inner, len, 0, 0);

			*rte_pktmbuf_mtod_offset(m, uint8_t *, len - 1) ^= (uint8_t)j;
			assert_true(
				vxlan_encap(m, &t, rte_cpu_to_be_16(util_get16(inner + 12)), 1, 1));
			assert_true(j == 1 || vxlan_udp_csum_is_plausible(m));
			csums[j] = util_get16(
				rte_pktmbuf_mtod_offset(m, uint8_t *, (i & 4 ? 54 : 34) + 6));
			*rte_pktmbuf_mtod_offset(m, uint8_t *, (i & 4 ? 54 : 34) + 7) ^= 1;
			assert_false(vxlan_udp_csum_is_plausible(m));
			rte_pktmbuf_free(m);
		}
		assert_int_equal(csums[0], csums[1]);
	}
}

static void test_vxlan_encap_unfinished_inner_checksum_is_found_behind_it(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int csum = 0; csum < 2; csum++) {
			struct vxlan_config c = config(v6);
			struct vxlan_template t;
			struct util_packet k = { .proto = 6, .payload = 100 };
			uint32_t len = util_packet_make(inner, &k), n;
			struct rte_mbuf *m = util_chain(inner, len, 0, 0);

			util_put16(rte_pktmbuf_mtod_offset(m, uint8_t *, 50), 0x5555);
			util_meta(m, &k, 0);
			c.has_udp_csum = csum;
			assert_true(vxlan_template_init(&t, &c));
			assert_true(vxlan_encap(m, &t, RTE_BE16(0x0800), 1, 1));
			assert_int_equal(csum_finish(m), 0);
			n = util_flat(m, flat, sizeof(flat));
			reference(&c, len, 0x0800, util_get16(flat + (v6 ? 54 : 34)), 1);
			assert_memory_equal(flat, frame, n);
			rte_pktmbuf_free(m);
		}
}

static void test_vxlan_encap_without_room_changes_nothing(void **state)
{
	struct vxlan_config c = config(false);
	struct vxlan_template t;
	struct util_packet k = { .proto = 17, .payload = 10 };
	uint32_t len = util_packet_make(inner, &k);
	struct rte_mbuf *m = util_chain(inner, len, 0, 0);

	(void)state;
	assert_true(vxlan_template_init(&t, &c));
	rte_pktmbuf_prepend(m, RTE_PKTMBUF_HEADROOM - 49);
	assert_false(vxlan_encap(m, &t, RTE_BE16(0x0800), 1, 1));
	assert_int_equal(m->pkt_len, len + RTE_PKTMBUF_HEADROOM - 49);
	rte_pktmbuf_free(m);
	m = util_chain(inner, 65500, 0, 0); /* 65500 + 36 does not fit 16 bits */
	assert_false(vxlan_encap(m, &t, RTE_BE16(0x0800), 1, 1));
	rte_pktmbuf_free(m);
	m = util_chain(inner, 65499, 0, 0);
	assert_true(vxlan_encap(m, &t, RTE_BE16(0x0800), 1, 1));
	rte_pktmbuf_free(m);
}

static void test_vxlan_template_init_refuses_bad_configuration(void **state)
{
	struct vxlan_config c = config(false), other = config(true);
	struct vxlan_template t;

	(void)state;
	c.vni = 0x1000000;
	assert_false(vxlan_template_init(&t, &c));
	c = config(false);
	c.udp_port = 0;
	assert_false(vxlan_template_init(&t, &c));
	c = config(false);
	c.remote = other.remote;
	assert_false(vxlan_template_init(&t, &c));
}

static void test_vxlan_source_port_spreads_over_its_range(void **state)
{
	static uint8_t seen[65536];
	unsigned int n = 0;

	(void)state;
	for (uint32_t i = 0; i < 200000; i++) {
		uint16_t port = rte_be_to_cpu_16(vxlan_source_port((uint32_t)random() << 1));

		assert_true(port >= 49152);
		n += seen[port] == 0;
		seen[port] = 1;
	}
	assert_true(n > 16000); /* of 16384 */
	assert_int_not_equal(vxlan_source_port(0x00010000), vxlan_source_port(0x00020000));
}

/* An outer packet in frame with a small inner one; returns its length. */
static uint32_t outer_make(bool is_v6, bool has_csum)
{
	struct vxlan_config c = config(is_v6);
	struct util_packet k = { .proto = 17, .payload = 5 };
	uint32_t len = util_packet_make(inner, &k);

	c.has_udp_csum = has_csum;
	return reference(&c, len, 0x0800, 50000, 7);
}

/* The IPv4 header checksum of frame, after an edit. */
static void outer_fix(void)
{
	util_put16(frame + 24, 0);
	util_put16(frame + 24, 0xffffu & ~util_ref_sum(0, frame + 14, 20));
}

static enum drop_reason check_of(uint32_t len, struct vxlan_info *info)
{
	struct rte_mbuf *m = util_chain(frame, len, 1 + len % 90, 1 + len % 13);
	enum drop_reason why = vxlan_check(m, 14, info);

	rte_pktmbuf_free(m);
	return why;
}

static void test_vxlan_check_reads_valid_packets_at_any_split(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (int csum = 0; csum < 2; csum++) {
			uint32_t len = outer_make(v6, csum);

			for (uint32_t split = 1; split < len; split++) {
				struct rte_mbuf *m = util_chain(frame, len, split, 11);
				struct vxlan_info info;

				assert_int_equal(vxlan_check(m, 14, &info), DROP_NONE);
				assert_int_equal(info.vni, 0xabcdef);
				assert_int_equal(info.inner_off, v6 ? 70 : 50);
				assert_int_equal(info.inner_len, 14 + 28 + 5);
				assert_int_equal(info.inner_dst.addr_bytes[5], 4);
				assert_int_equal(info.inner_type, RTE_BE16(0x0800));
				rte_pktmbuf_free(m);
			}
		}
}

static void test_vxlan_check_v1_v2_flags(void **state)
{
	struct vxlan_info info;

	(void)state;
	for (int flags = 0; flags < 256; flags++) {
		uint32_t len = outer_make(false, false);

		frame[42] = (uint8_t)flags;
		util_fill(frame + 43, 3); /* reserved bits: ignored */
		frame[49] = util_byte();
		assert_int_equal(check_of(len, &info), flags & 8 ? DROP_NONE : DROP_TUNNEL_HEADER);
		if (flags & 8)
			assert_int_equal(info.vni, 0xabcdef);
	}
}

static void test_vxlan_check_v3_checksum_zero_right_and_wrong(void **state)
{
	struct vxlan_info info;

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		uint32_t len = outer_make(v6, true), udp = v6 ? 54 : 34;

		assert_int_equal(check_of(len, &info), DROP_NONE);
		for (uint32_t bit = udp * 8; bit < len * 8; bit++) {
			uint32_t byte = bit / 8;

			if ((byte >= udp + 4 && byte < udp + 8) || byte == udp + 8)
				continue; /* length, checksum, flags: other reasons */
			if (byte >= udp + 28 && byte < udp + 30)
				continue; /* inner EtherType */
			frame[byte] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(check_of(len, &info), DROP_TUNNEL_CHECKSUM);
			frame[byte] ^= (uint8_t)(1 << bit % 8);
		}
		util_put16(frame + udp + 6, 0); /* and 0 is accepted */
		frame[len - 1] ^= 1;
		assert_int_equal(check_of(len, &info), DROP_NONE);
	}
}

static void test_vxlan_check_v5_fragments(void **state)
{
	struct vxlan_info info;
	uint32_t len = outer_make(false, false);

	(void)state;
	util_put16(frame + 20, 0x2000);
	outer_fix();
	assert_int_equal(check_of(len, &info), DROP_TUNNEL_FRAGMENT);
	util_put16(frame + 20, 0x4001);
	outer_fix();
	assert_int_equal(check_of(len, &info), DROP_TUNNEL_FRAGMENT);
	util_put16(frame + 20, 0x0100);
	outer_fix();
	assert_int_equal(check_of(len, &info), DROP_TUNNEL_FRAGMENT);
	util_put16(frame + 20, 0x4000);
	outer_fix();
	assert_int_equal(check_of(len, &info), DROP_NONE);
	len = outer_make(true, false);
	frame[20] = 44;
	assert_int_equal(check_of(len, &info), DROP_TUNNEL_FRAGMENT);
}

static void test_vxlan_check_finds_any_flipped_bit_of_the_ipv4_header(void **state)
{
	struct vxlan_info info;
	uint32_t len = outer_make(false, false);

	(void)state;
	for (uint32_t bit = 14 * 8; bit < 34 * 8; bit++) {
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(check_of(len, &info), DROP_NONE);
		frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	frame[24] ^= 1;
	assert_int_equal(check_of(len, &info), DROP_IP4_CHECKSUM);
}

static void test_vxlan_check_v6_inner_vlan(void **state)
{
	static const uint16_t tags[] = { 0x8100, 0x88a8, 0x9100 };
	struct vxlan_info info;
	uint32_t len = outer_make(false, false);

	(void)state;
	for (size_t i = 0; i < RTE_DIM(tags); i++) {
		util_put16(frame + 62, tags[i]);
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_INNER_VLAN);
	}
}

static void test_vxlan_check_lengths_that_contradict(void **state)
{
	struct vxlan_info info;

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		uint32_t len = outer_make(v6, false), l4 = v6 ? 54 : 34, ip_len = v6 ? 18 : 16;

		for (uint32_t n = 15; n < len; n++)
			assert_int_equal(check_of(n, &info), DROP_TUNNEL_HEADER);
		util_put16(frame + l4 + 4, len - l4 + 1);
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
		util_put16(frame + l4 + 4, 29);
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
		util_put16(frame + l4 + 4, 30);
		assert_int_equal(check_of(len, &info), DROP_NONE);
		assert_int_equal(info.inner_len, 14);
		len = outer_make(v6, false);
		util_put16(frame + ip_len, 0);
		if (!v6)
			outer_fix();
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
		util_put16(frame + ip_len, 0xffff);
		if (!v6)
			outer_fix();
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
		len = outer_make(v6, false);
		frame[v6 ? 20 : 23] = 6;
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
		len = outer_make(v6, false);
		frame[14] = v6 ? 0x50 : 0x44;
		assert_int_equal(check_of(len, &info), DROP_TUNNEL_HEADER);
	}
}

static void test_vxlan_decap_leaves_the_inner_frame_without_padding(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++)
		for (uint32_t pad = 0; pad < 30; pad++) {
			uint32_t len = outer_make(v6, false), off = v6 ? 70 : 50;
			struct vxlan_info info = { 0 };
			struct rte_mbuf *m;

			memset(frame + len, 0xcc, pad);
			m = util_chain(frame, len + pad, off + 1 + pad, 40);
			assert_int_equal(vxlan_check(m, 14, &info), DROP_NONE);
			assert_true(vxlan_decap(m, &info));
			assert_int_equal(m->data_len, len - off); /* less than 128: all in front */
			assert_int_equal(util_flat(m, flat, sizeof(flat)), len - off);
			assert_memory_equal(flat, frame + off, len - off);
			rte_pktmbuf_free(m);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_vxlan_encap_lengths_and_ids_match_reference),
		UTIL_TEST(test_vxlan_encap_tos_is_copied_as_the_template_says),
		UTIL_TEST(test_vxlan_encap_checksum_is_right_whatever_is_inside),
		UTIL_TEST(test_vxlan_encap_checksum_does_not_read_the_payload),
		UTIL_TEST(test_vxlan_encap_unfinished_inner_checksum_is_found_behind_it),
		UTIL_TEST(test_vxlan_encap_without_room_changes_nothing),
		UTIL_TEST(test_vxlan_template_init_refuses_bad_configuration),
		UTIL_TEST(test_vxlan_source_port_spreads_over_its_range),
		UTIL_TEST(test_vxlan_check_reads_valid_packets_at_any_split),
		UTIL_TEST(test_vxlan_check_v1_v2_flags),
		UTIL_TEST(test_vxlan_check_v3_checksum_zero_right_and_wrong),
		UTIL_TEST(test_vxlan_check_v5_fragments),
		UTIL_TEST(test_vxlan_check_finds_any_flipped_bit_of_the_ipv4_header),
		UTIL_TEST(test_vxlan_check_v6_inner_vlan),
		UTIL_TEST(test_vxlan_check_lengths_that_contradict),
		UTIL_TEST(test_vxlan_decap_leaves_the_inner_frame_without_padding),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
