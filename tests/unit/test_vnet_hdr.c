/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "pmd/vnet_hdr.h"

static uint8_t frame[RTE_PKTMBUF_HEADROOM + 65600];
static struct rte_mbuf mbuf;

static uint8_t *frame_data(void)
{
	return &frame[RTE_PKTMBUF_HEADROOM];
}

/* A frame of payload bytes behind its headers; ext: bytes of IPv6 destination options (multiple of 8). */
static struct rte_mbuf *frame_make(
	bool is_v6, uint8_t proto, uint32_t payload, uint32_t ext, bool is_vlan)
{
	uint32_t l4 = proto == IPPROTO_TCP ? 20 : 8, off = 12;
	uint8_t *p = frame_data();

	memset(frame, 0, sizeof(frame));
	if (is_vlan) {
		p[off] = 0x81;
		off += 4;
	}
	p[off] = is_v6 ? 0x86 : 0x08;
	p[off + 1] = is_v6 ? 0xdd : 0x00;
	off += 2;
	if (is_v6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(p + off);

		ip->vtc_flow = RTE_BE32(6u << 28);
		ip->payload_len = rte_cpu_to_be_16((uint16_t)(ext + l4 + payload));
		ip->proto = ext != 0 ? IPPROTO_DSTOPTS : proto;
		off += sizeof(*ip);
		if (ext != 0) {
			p[off] = proto;
			p[off + 1] = (uint8_t)(ext / 8 - 1);
			off += ext;
		}
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(p + off);

		ip->version_ihl = 0x45;
		ip->total_length = rte_cpu_to_be_16((uint16_t)(20 + l4 + payload));
		ip->next_proto_id = proto;
		off += sizeof(*ip);
	}
	if (proto == IPPROTO_TCP)
		p[off + 12] = 0x50;
	off += l4 + payload;
	mbuf = (struct rte_mbuf){ .buf_addr = frame,
		.data_off = RTE_PKTMBUF_HEADROOM,
		.data_len = (uint16_t)off,
		.pkt_len = off,
		.nb_segs = 1,
		.refcnt = 1 };
	return &mbuf;
}

static struct virtio_net_hdr hdr_csum(uint16_t start, uint16_t offset)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = start, .csum_offset = offset
	};
}

static struct virtio_net_hdr hdr_gso(uint16_t start, uint16_t offset, uint8_t type, uint16_t size)
{
	struct virtio_net_hdr hdr = hdr_csum(start, offset);

	hdr.gso_type = type;
	hdr.gso_size = size;
	return hdr;
}

static void assert_refused(const struct virtio_net_hdr *hdr, struct rte_mbuf *m)
{
	assert_false(vnet_hdr_to_mbuf(hdr, m));
	assert_int_equal(m->ol_flags, 0);
	assert_int_equal(m->tx_offload, 0);
}

static void test_vnet_hdr_plain_sets_nothing(void **state)
{
	struct rte_mbuf *m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_DATA_VALID, .csum_start = 9999 };

	(void)state;
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG;
	assert_true(vnet_hdr_is_plain(&hdr));
	assert_true(vnet_hdr_to_mbuf(&hdr, m));
	assert_int_equal(m->ol_flags, 0);
}

static void test_vnet_hdr_csum_of_each_kind_sets_lengths(void **state)
{
	static const struct {
		bool is_v6, is_vlan;
		uint8_t proto;
		uint32_t ext;
	} cases[] = { { false, false, IPPROTO_TCP, 0 }, { false, true, IPPROTO_UDP, 0 },
		{ true, false, IPPROTO_TCP, 0 }, { true, false, IPPROTO_UDP, 16 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rte_mbuf *m = frame_make(
			cases[i].is_v6, cases[i].proto, 50, cases[i].ext, cases[i].is_vlan);
		uint32_t l2 = cases[i].is_vlan ? 18 : 14;
		uint32_t l3 = (cases[i].is_v6 ? 40u : 20u) + cases[i].ext;
		bool is_tcp = cases[i].proto == IPPROTO_TCP;
		struct virtio_net_hdr hdr = hdr_csum((uint16_t)(l2 + l3), is_tcp ? 16 : 6), back;

		assert_true(vnet_hdr_to_mbuf(&hdr, m));
		assert_int_equal(m->l2_len, l2);
		assert_int_equal(m->l3_len, l3);
		assert_int_equal(m->l4_len, is_tcp ? 20 : 8);
		assert_int_equal(m->ol_flags,
			(cases[i].is_v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
				(is_tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM));
		vnet_hdr_from_mbuf(m, &back);
		assert_memory_equal(&back, &hdr, sizeof(hdr));
	}
}

static void test_vnet_hdr_csum_elsewhere_is_refused(void **state)
{
	static const uint16_t bad[][2] = { { 33, 16 }, { 35, 16 }, { 0, 0 }, { 34, 6 }, { 34, 17 },
		{ 65535, 65535 }, { 34, 65535 }, { 1000, 16 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct virtio_net_hdr hdr = hdr_csum(bad[i][0], bad[i][1]);

		assert_refused(&hdr, frame_make(false, IPPROTO_TCP, 100, 0, false));
	}
}

static void test_vnet_hdr_csum_on_what_has_none_is_refused(void **state)
{
	struct virtio_net_hdr hdr = hdr_csum(34, 16);
	struct rte_mbuf *m;
	uint8_t *p = frame_data();

	(void)state;
	assert_refused(&hdr, frame_make(false, IPPROTO_ICMP, 100, 0, false));
	assert_refused(&hdr, frame_make(false, IPPROTO_SCTP, 100, 0, false));
	m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	p[20] = 0x20; /* a fragment */
	assert_refused(&hdr, m);
	m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	p[14] = 0x44; /* header of 16 bytes */
	assert_refused(&hdr, m);
	m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	p[34 + 12] = 0x40; /* TCP header of 16 bytes */
	assert_refused(&hdr, m);
	m = frame_make(false, IPPROTO_TCP, 0, 0, false);
	p[34 + 12] = 0xf0; /* TCP header longer than the packet */
	assert_refused(&hdr, m);
	m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	p[16] = 0xff; /* IP says more than there is */
	assert_refused(&hdr, m);
	m = frame_make(false, IPPROTO_TCP, 100, 0, false);
	p[12] = 0x12; /* no IP */
	assert_refused(&hdr, m);
}

static void test_vnet_hdr_short_frame_of_any_length_is_refused(void **state)
{
	struct virtio_net_hdr hdr4 = hdr_csum(34, 16), hdr6 = hdr_csum(54 + 16, 16);

	(void)state;
	for (uint16_t len = 0; len < 54; len++) {
		struct rte_mbuf *m = frame_make(false, IPPROTO_TCP, 0, 0, false);

		m->data_len = len;
		m->pkt_len = len;
		assert_refused(&hdr4, m);
	}
	for (uint16_t len = 0; len < 90; len++) {
		struct rte_mbuf *m = frame_make(true, IPPROTO_TCP, 0, 16, false);

		m->data_len = len;
		m->pkt_len = len;
		assert_refused(&hdr6, m);
	}
}

static void test_vnet_hdr_gso_sets_segment_size(void **state)
{
	struct rte_mbuf *m = frame_make(false, IPPROTO_TCP, 60000, 0, false);
	struct virtio_net_hdr hdr = hdr_gso(34, 16,
				      VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1448),
			      back;

	(void)state;
	assert_true(vnet_hdr_to_mbuf(&hdr, m));
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	assert_int_equal(m->tso_segsz, 1448);
	vnet_hdr_from_mbuf(m, &back);
	assert_int_equal(back.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(back.gso_size, 1448);
	assert_int_equal(back.hdr_len, 54);
	m = frame_make(true, IPPROTO_TCP, 60000, 0, false);
	hdr = hdr_gso(54, 16, VIRTIO_NET_HDR_GSO_TCPV6, 1428);
	assert_true(vnet_hdr_to_mbuf(&hdr, m));
	vnet_hdr_from_mbuf(m, &back);
	assert_int_equal(back.gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
	m = frame_make(true, IPPROTO_UDP, 60000, 0, false);
	hdr = hdr_gso(54, 6, VIRTIO_NET_HDR_GSO_UDP_L4, 1400);
	assert_true(vnet_hdr_to_mbuf(&hdr, m));
	assert_true(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG);
	vnet_hdr_from_mbuf(m, &back);
	assert_int_equal(back.gso_type, VIRTIO_NET_HDR_GSO_UDP_L4);
}

static void test_vnet_hdr_gso_that_fits_one_segment_is_plain_csum(void **state)
{
	struct rte_mbuf *m = frame_make(false, IPPROTO_TCP, 1000, 0, false);
	struct virtio_net_hdr hdr = hdr_gso(34, 16, VIRTIO_NET_HDR_GSO_TCPV4, 1448);

	(void)state;
	assert_true(vnet_hdr_to_mbuf(&hdr, m));
	assert_int_equal(m->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM);
	assert_int_equal(m->tso_segsz, 0);
}

static void test_vnet_hdr_gso_nonsense_is_refused(void **state)
{
	static const struct {
		uint8_t type;
		uint16_t size;
	} bad[] = { { VIRTIO_NET_HDR_GSO_TCPV4, 0 },
		{ VIRTIO_NET_HDR_GSO_TCPV4, VNET_GSO_SIZE_MIN - 1 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, 1448 }, { VIRTIO_NET_HDR_GSO_UDP, 1448 },
		{ VIRTIO_NET_HDR_GSO_UDP_L4, 1448 }, { 2, 1448 }, { 0x7f, 1448 }, { 0xff, 1448 },
		{ VIRTIO_NET_HDR_GSO_ECN, 1448 } };
	struct virtio_net_hdr hdr;
	struct rte_mbuf *m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		hdr = hdr_gso(34, 16, bad[i].type, bad[i].size);
		assert_refused(&hdr, frame_make(false, IPPROTO_TCP, 60000, 0, false));
	}
	/* no NEEDS_CSUM */
	hdr = hdr_gso(34, 16, VIRTIO_NET_HDR_GSO_TCPV4, 1448);
	hdr.flags = 0;
	assert_refused(&hdr, frame_make(false, IPPROTO_TCP, 60000, 0, false));
	/* IP length says less than the frame holds */
	hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	m = frame_make(false, IPPROTO_TCP, 60000, 0, false);
	m->pkt_len--;
	m->data_len--;
	assert_refused(&hdr, m);
}

static void test_vnet_mbuf_check_accepts_only_what_the_frame_shows(void **state)
{
	struct rte_mbuf *m = frame_make(false, IPPROTO_TCP, 3000, 0, false);

	(void)state;
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 20;
	m->tso_segsz = 1000;
	assert_true(vnet_mbuf_check(m, false));
	assert_int_equal(m->tso_segsz, 1000);
	/* lengths that are not the frame's */
	m->l3_len = 24;
	assert_false(vnet_mbuf_check(m, false));
	assert_int_equal(m->ol_flags, 0);
	/* SCTP, and UDP segmentation that was not negotiated */
	m = frame_make(false, IPPROTO_SCTP, 100, 0, false);
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_SCTP_CKSUM;
	m->l2_len = 14;
	m->l3_len = 20;
	assert_false(vnet_mbuf_check(m, false));
	for (int is_uso = 0; is_uso < 2; is_uso++) {
		m = frame_make(false, IPPROTO_UDP, 3000, 0, false);
		m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG;
		m->l2_len = 14;
		m->l3_len = 20;
		m->tso_segsz = 1000;
		assert_int_equal(vnet_mbuf_check(m, is_uso), is_uso);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vnet_hdr_plain_sets_nothing),
		cmocka_unit_test(test_vnet_hdr_csum_of_each_kind_sets_lengths),
		cmocka_unit_test(test_vnet_hdr_csum_elsewhere_is_refused),
		cmocka_unit_test(test_vnet_hdr_csum_on_what_has_none_is_refused),
		cmocka_unit_test(test_vnet_hdr_short_frame_of_any_length_is_refused),
		cmocka_unit_test(test_vnet_hdr_gso_sets_segment_size),
		cmocka_unit_test(test_vnet_hdr_gso_that_fits_one_segment_is_plain_csum),
		cmocka_unit_test(test_vnet_hdr_gso_nonsense_is_refused),
		cmocka_unit_test(test_vnet_mbuf_check_accepts_only_what_the_frame_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
