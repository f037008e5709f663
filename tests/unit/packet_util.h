/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of datapath/packet share: an EAL without hugepages, a pool, chains cut at any
 * place, and slow reference implementations written from the RFCs, byte by byte. */
#ifndef LEAT_TESTS_UNIT_PACKET_UTIL_H
#define LEAT_TESTS_UNIT_PACKET_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "tests/common/chain.h"

#define UTIL_POOL_SIZE 8191

static struct rte_mempool *util_pool; /* data room RTE_PKTMBUF_HEADROOM + 2048 */

static inline int util_setup(void **state)
{
	char prefix[64];
	char *argv[] = { (char *)(uintptr_t) "test", (char *)(uintptr_t) "--no-huge",
		(char *)(uintptr_t) "--no-pci", (char *)(uintptr_t) "-m", (char *)(uintptr_t) "64",
		(char *)(uintptr_t) "--no-telemetry", (char *)(uintptr_t) "--no-shconf",
		(char *)(uintptr_t) "--log-level=*:error", (char *)(uintptr_t) "-l",
		(char *)(uintptr_t) "0", prefix, NULL };

	(void)state;
	snprintf(prefix, sizeof(prefix), "--file-prefix=leat-unit-%d", (int)getpid());
	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) < 0)
		return -1;
	util_pool = rte_pktmbuf_pool_create(
		"unit", UTIL_POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	srandom(1);
	return util_pool == NULL ? -1 : 0;
}

static inline int util_teardown(void **state)
{
	(void)state;
	rte_mempool_free(util_pool);
	return 0;
}

/* After each test: every mbuf is back. A test that failed midway is counted once. */
static inline int util_no_leak(void **state)
{
	static unsigned int lost;
	unsigned int in_use = rte_mempool_in_use_count(util_pool);
	int result = in_use == lost ? 0 : -1;

	(void)state;
	lost = in_use;
	return result;
}

#define UTIL_TEST(f) cmocka_unit_test_teardown(f, util_no_leak)

static inline uint8_t util_byte(void)
{
	return (uint8_t)(random() >> 8);
}

static inline void util_fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = util_byte();
}

/* A chain of these bytes; segments of `first` bytes, then of `step` (0: as much as fits), at most
 * 2000 each. */
static inline struct rte_mbuf *util_chain(
	const uint8_t *p, uint32_t len, uint32_t first, uint32_t step)
{
	struct rte_mbuf *m = chain_cut(p, len, chain_len(first, 2000), chain_len(step, 2000),
		chain_pool_segment, util_pool);

	assert_non_null(m);
	return m;
}

/* The packet's bytes, flat; checks that the chain is well-formed. */
static inline uint32_t util_flat(const struct rte_mbuf *m, uint8_t *out, uint32_t size)
{
	uint32_t len = 0;
	unsigned int n = 0;

	for (const struct rte_mbuf *s = m; s != NULL; s = s->next, n++) {
		assert_true(len + s->data_len <= size);
		memcpy(out + len, rte_pktmbuf_mtod(s, const void *), s->data_len);
		len += s->data_len;
	}
	assert_int_equal(len, m->pkt_len);
	assert_int_equal(n, m->nb_segs);
	return len;
}

static inline uint16_t util_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t util_get32(const uint8_t *p)
{
	return (uint32_t)util_get16(p) << 16 | util_get16(p + 2);
}

static inline void util_put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void util_put32(uint8_t *p, uint32_t v)
{
	util_put16(p, v >> 16);
	util_put16(p + 2, v & 0xffff);
}

/* RFC 1071 read literally: big-endian 16-bit words, odd byte padded, carries folded one by one. */
static inline uint16_t util_ref_sum(uint16_t start, const uint8_t *p, size_t len)
{
	uint32_t sum = start;

	for (size_t i = 0; i < len; i += 2) {
		sum += (uint32_t)p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

/* Sum of pseudo header and L4 bytes of a flat IP packet without extension headers, field included:
 * 0xffff when right. */
static inline uint16_t util_ref_l4_sum(const uint8_t *ip)
{
	uint8_t pseudo[40] = { 0 };
	const uint8_t *l4;
	unsigned int len;

	if (ip[0] >> 4 == 4) {
		l4 = ip + 4 * (ip[0] & 15);
		len = util_get16(ip + 2) - 4u * (ip[0] & 15);
		if (ip[9] == 1)
			return util_ref_sum(0, l4, len);
		memcpy(pseudo, ip + 12, 8);
		pseudo[9] = ip[9];
		util_put16(pseudo + 10, len);
		return util_ref_sum(util_ref_sum(0, pseudo, 12), l4, len);
	}
	l4 = ip + 40;
	len = util_get16(ip + 4);
	memcpy(pseudo, ip + 8, 32);
	util_put16(pseudo + 34, len);
	pseudo[39] = ip[6];
	return util_ref_sum(util_ref_sum(0, pseudo, 40), l4, len);
}

/* Field offset of the L4 checksum of TCP, UDP, ICMP, ICMPv6 in its header. */
static inline unsigned int util_csum_off(uint8_t proto)
{
	return proto == 6 ? 16 : proto == 17 ? 6 : 2;
}

/* Writes right checksums (IPv4 header, L4) into a flat IP packet without extension headers. */
static inline void util_csums_fill(uint8_t *ip)
{
	const bool is_v4 = ip[0] >> 4 == 4;
	const uint8_t proto = is_v4 ? ip[9] : ip[6];
	uint8_t *field = ip + (is_v4 ? 4 * (ip[0] & 15) : 40) + util_csum_off(proto);
	uint16_t csum;

	if (is_v4) {
		util_put16(ip + 10, 0);
		util_put16(ip + 10, 0xffffu & ~util_ref_sum(0, ip, 4 * (ip[0] & 15)));
	}
	util_put16(field, 0);
	csum = (uint16_t)~util_ref_l4_sum(ip);
	util_put16(field, csum == 0 && proto == 17 ? 0xffff : csum);
}

/* RFC 9260 app. A, bit by bit; the field as it lies in memory. */
static inline uint32_t util_ref_crc32c(const uint8_t *p, uint32_t len)
{
	uint32_t crc = UINT32_MAX;

	for (uint32_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
	}
	return rte_cpu_to_le_32(~crc);
}

static inline void util_sctp_crc_fill(uint8_t *sctp, uint32_t len)
{
	uint32_t crc;

	memset(sctp + 8, 0, 4);
	crc = util_ref_crc32c(sctp, len);
	memcpy(sctp + 8, &crc, 4);
}

/* Headers of a random-looking packet at p: Ethernet, IP (v4 with ihl_bytes, or v6), TCP (20 bytes +
 * tcp_opts), UDP or ICMP echo, payload; checksums right. Returns the frame's length. */
struct util_packet {
	bool is_v6;
	uint8_t proto;
	uint8_t ip_opts; /* bytes, IPv4 */
	uint8_t tcp_opts;
	uint32_t payload;
};

static inline uint32_t util_packet_make(uint8_t *p, const struct util_packet *k)
{
	const uint32_t l3 = k->is_v6 ? 40u : 20u + k->ip_opts;
	const uint32_t l4 = k->proto == 6 ? 20u + k->tcp_opts : 8u;
	uint8_t *ip = p + 14, *t = ip + l3;

	util_fill(p, 14 + l3 + l4 + k->payload);
	p[0] = 0x02;
	p[6] = 0x02;
	util_put16(p + 12, k->is_v6 ? 0x86dd : 0x0800);
	if (k->is_v6) {
		ip[0] = 0x60;
		util_put16(ip + 4, l4 + k->payload);
		ip[6] = k->proto;
		ip[7] = 64;
		util_put16(ip + 8, 0x2001);
		util_put16(ip + 24, 0x2001);
	} else {
		ip[0] = (uint8_t)(0x40 | l3 / 4);
		util_put16(ip + 2, l3 + l4 + k->payload);
		util_put16(ip + 6, 0);
		ip[8] = 64;
		ip[9] = k->proto;
		ip[12] = 10;
		ip[16] = 10;
		memset(ip + 20, 1, k->ip_opts); /* no-operation */
	}
	if (k->proto == 6)
		t[12] = (uint8_t)(l4 / 4 << 4);
	else if (k->proto == 17)
		util_put16(t + 4, 8 + k->payload);
	else
		t[0] = k->is_v6 ? 128 : 8, t[1] = 0;
	util_csums_fill(ip);
	return 14 + l3 + l4 + k->payload;
}

/* Sets the offload metadata that a driver would, for a frame of util_packet_make(); segsz 0: no
 * super-frame. */
static inline void util_meta(struct rte_mbuf *m, const struct util_packet *k, uint16_t segsz)
{
	m->l2_len = 14;
	m->l3_len = (k->is_v6 ? 40u : 20u + k->ip_opts) & 0x1ff;
	m->l4_len = (uint8_t)(k->proto == 6 ? 20 + k->tcp_opts : 8);
	m->ol_flags |= k->is_v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	m->ol_flags |= k->proto == 6 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (segsz != 0) {
		m->tso_segsz = segsz;
		m->ol_flags |= k->proto == 6 ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	}
}

#endif
