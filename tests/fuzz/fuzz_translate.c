/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation of packets and ICMP errors, and TCP resets, on arbitrary frames in arbitrary chains.
 *
 * Input: byte 0 the function, 1 the first segment's length, 2 the step of the others, 3 bit 0: buffers of exactly the segment's size
 * on the heap, bits 1 and 2: an unfinished TCP, UDP checksum; then the new tuple: 16 bytes source, 16 destination (IPv4: the last
 * four), 2 and 2 ports; then the frame.
 *
 * A right checksum stays right and a wrong one wrong; only the named fields change; the old tuple brings the old packet back.
 */
#include <netinet/in.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/tcp_reset.h"
#include "datapath/packet/translate.h"
#include "tests/common/chain.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/segments.h"

#define L3_OFF 14
#define PARAMS_LEN 40
#define FRAME_MAX 4000
#define PROTO_OSPF 89

static uint8_t before[FRAME_MAX], after[FRAME_MAX];
static bool may_change[FRAME_MAX];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	pool_init();
	return 0;
}

static void allow(uint32_t off, uint32_t len)
{
	for (uint32_t i = off; i < off + len && i < FRAME_MAX; i++)
		may_change[i] = true;
}

/* The fields that a translation of this packet, or quoted packet, may write. */
static void allow_fields(const struct parsed *pkt)
{
	uint32_t l4 = pkt->l4_off;

	if (pkt->l3 == PARSED_IP6)
		allow(pkt->l3_off + 8u, 32);
	else
		allow(pkt->l3_off + 10u, 10);
	if (pkt->is_frag && !pkt->is_first_frag)
		return;
	switch (pkt->proto) {
	case IPPROTO_TCP:
		allow(l4, 4);
		allow(l4 + 16, 2);
		break;
	case IPPROTO_UDP:
		allow(l4, 4);
		allow(l4 + 6, 2);
		break;
	case IPPROTO_SCTP:
		allow(l4, 4);
		allow(l4 + 8, 4);
		break;
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		allow(l4 + 6, 2);
		break;
	case PROTO_OSPF:
		if (pkt->l3 == PARSED_IP6)
			allow(l4 + 12, 2);
		break;
	case IPPROTO_PIM:
		if (pkt->l3 == PARSED_IP6)
			allow(l4 + 2, 2);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		allow(l4 + 2, 2);
		if (!pkt->is_icmp_error)
			allow(l4 + 4, 2);
		break;
	default:
		break;
	}
}

static void check_changes(const struct rte_mbuf *m)
{
	check_chain(m);
	CHECK(chain_read(m, 0, after, m->pkt_len));
	for (uint32_t i = 0; i < m->pkt_len; i++)
		CHECK(before[i] == after[i] || may_change[i]);
}

/* As it was before; a checksum may have taken its other form of zero. */
static void check_restored(const struct rte_mbuf *m)
{
	CHECK(chain_read(m, 0, after, m->pkt_len));
	for (uint32_t i = 0; i < m->pkt_len; i++)
		CHECK(before[i] == after[i] ||
			(may_change[i] && (before[i] == 0 || before[i] == 0xff) &&
				(before[i] ^ after[i]) == 0xff));
}

static bool parse(const struct rte_mbuf *m, struct parsed *pkt)
{
	struct rte_mbuf *flat;
	bool is_good;

	CHECK(chain_read(m, 0, after, m->pkt_len));
	flat = chain_cut(after, m->pkt_len, SEGMENT_MAX, SEGMENT_MAX, chain_pool_segment, pool);
	CHECK(flat != NULL);
	is_good = parse_frame(flat, pkt) == DROP_NONE;
	rte_pktmbuf_free(flat);
	return is_good && (pkt->l3 == PARSED_IP4 || pkt->l3 == PARSED_IP6);
}

/* ICMPv4 messages of zeros only: the one sum that has a checksum's two zeros told apart (csum.h). */
static bool is_zero_message(const uint8_t *frame, const struct parsed *pkt)
{
	uint32_t off = pkt->l4_off;

	while (off < pkt->l3_off + pkt->l3_len && frame[off] == 0)
		off++;
	return pkt->l3 == PARSED_IP4 && pkt->proto == IPPROTO_ICMP &&
		off == pkt->l3_off + pkt->l3_len;
}

static void run_packet(struct rte_mbuf *m, const struct translation *to)
{
	enum csum_verdict verdict = csum_verify_l4(m, L3_OFF);
	struct parsed pkt, now;
	struct translation back;

	if (!parse(m, &pkt))
		return;
	allow_fields(&pkt);
	if (!translate_packet(m, L3_OFF, &pkt, to)) {
		memset(may_change, 0, sizeof(may_change));
		check_changes(m);
		return;
	}
	check_changes(m);
	CHECK(parse(m, &now));
	CHECK(ip_eq(&now.src, &to->src) && ip_eq(&now.dst, &to->dst));
	CHECK(now.l3_len == pkt.l3_len && now.l4_off == pkt.l4_off && now.proto == pkt.proto &&
		now.has_l4 == pkt.has_l4 && now.tcp_flags == pkt.tcp_flags);
	if (now.proto == IPPROTO_TCP || now.proto == IPPROTO_UDP || now.proto == IPPROTO_SCTP)
		CHECK(!now.has_l4 || (now.sport == to->sport && now.dport == to->dport));
	if ((!csum_is_unfinished(m) || now.proto == IPPROTO_ICMP || now.proto == IPPROTO_ICMPV6) &&
		!is_zero_message(before, &pkt) && !is_zero_message(after, &now))
		CHECK(csum_verify_l4(m, L3_OFF) == verdict);
	back = (struct translation){ pkt.src, pkt.dst, pkt.sport, pkt.dport };
	CHECK(translate_packet(m, L3_OFF, &now, &back));
	check_restored(m);
}

static void run_icmp_error(struct rte_mbuf *m, const struct translation *to)
{
	enum csum_verdict verdict = csum_verify_l4(m, L3_OFF);
	struct parsed pkt, now, quote;
	struct translation back;

	if (!parse(m, &pkt))
		return;
	if (!translate_icmp_error(m, L3_OFF, &pkt, &to->dst, &to->src, to)) {
		check_changes(m);
		return;
	}
	CHECK(parse_l3(before, m->pkt_len, m->pkt_len, (uint16_t)(pkt.l4_off + 8),
		      (enum parsed_l3)pkt.l3, true, &quote) == DROP_NONE);
	allow_fields(&pkt);
	allow_fields(&quote);
	check_changes(m);
	CHECK(parse(m, &now));
	CHECK(ip_eq(&now.src, &to->dst) && ip_eq(&now.dst, &to->src));
	CHECK(now.is_icmp_error && now.l3_len == pkt.l3_len && now.l4_off == pkt.l4_off);
	CHECK(csum_verify_l4(m, L3_OFF) == verdict);
	back = (struct translation){ quote.src, quote.dst, quote.sport, quote.dport };
	CHECK(translate_icmp_error(m, L3_OFF, &now, &pkt.src, &pkt.dst, &back));
	check_restored(m);
}

static void run_reset(const struct rte_mbuf *m)
{
	struct rte_mbuf *resets[2] = { tcp_reset_create(m, L3_OFF, pool),
		tcp_reset_for(m, L3_OFF, pool) };
	struct parsed pkt, reset;

	check_changes(m);
	for (int i = 0; i < 2; i++) {
		if (resets[i] == NULL)
			continue;
		check_chain(resets[i]);
		CHECK(parse(resets[i], &reset));
		CHECK((reset.tcp_flags & ~0x10) == 0x04 &&
			csum_verify_l4(resets[i], 14) == CSUM_OK);
		/* The answer goes back, the other goes on; none is answered again. */
		if (parse(m, &pkt))
			CHECK(ip_eq(&reset.src, i == 0 ? &pkt.dst : &pkt.src) &&
				ip_eq(&reset.dst, i == 0 ? &pkt.src : &pkt.dst) &&
				reset.sport == (i == 0 ? pkt.dport : pkt.sport) &&
				reset.dport == (i == 0 ? pkt.sport : pkt.dport));
		CHECK(tcp_reset_create(resets[i], 14, pool) == NULL &&
			tcp_reset_for(resets[i], 14, pool) == NULL);
		rte_pktmbuf_free(resets[i]);
	}
}

static struct ip_addr address(const uint8_t *p, bool is_v4)
{
	struct ip_addr a = { 0 };

	memcpy(a.b, p, 16);
	if (is_v4) {
		rte_be32_t v4;

		memcpy(&v4, p + 12, 4);
		a = ip_from_v4(v4);
	}
	return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *frame = data + PARAMS_LEN;
	uint32_t len = (uint32_t)size - PARAMS_LEN;
	struct translation to;
	struct rte_mbuf *m;
	bool is_v4, is_exact;

	if (size <= PARAMS_LEN + L3_OFF || size > PARAMS_LEN + FRAME_MAX)
		return 0;
	is_exact = (data[3] & 1) != 0;
	m = chain_cut(frame, len, data[1], chain_len(data[2], SEGMENT_MAX), segment, &is_exact);
	if (m == NULL)
		return 0;
	m->l2_len = L3_OFF;
	m->ol_flags |= (data[3] & 2) != 0 ? RTE_MBUF_F_TX_TCP_CKSUM : 0;
	m->ol_flags |= (data[3] & 4) != 0 ? RTE_MBUF_F_TX_UDP_CKSUM : 0;
	is_v4 = frame[L3_OFF] >> 4 == 4;
	to.src = address(data + 4, is_v4);
	to.dst = address(data + 20, is_v4);
	memcpy(&to.sport, data + 36, 2);
	memcpy(&to.dport, data + 38, 2);
	memcpy(before, frame, len);
	memset(may_change, 0, sizeof(may_change));
	switch (data[0] % 3) {
	case 0:
		run_packet(m, &to);
		break;
	case 1:
		run_icmp_error(m, &to);
		break;
	default:
		run_reset(m);
		break;
	}
	rte_pktmbuf_free(m);
	CHECK(rte_mempool_in_use_count(pool) == 0);
	return 0;
}
