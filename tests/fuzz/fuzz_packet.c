/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet library on arbitrary bytes in arbitrary chains with arbitrary offload metadata.
 *
 * Input: byte 0 the function, 1 the first segment's length, 2 the step of the others, 3 bit 0:
 * buffers of exactly the segment's size on the heap (an over-read is seen), else from the pool
 * (room to work in place); bits 1…5 offload flags; 4 l2_len, 5 l3_len, 6 l4_len, 7-8 tso_segsz,
 * 9-10 MTU, 11 spare; then the frame.
 */
#include "datapath/packet/arp.h"
#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/frag.h"
#include "datapath/packet/gso.h"
#include "datapath/packet/icmp_error.h"
#include "datapath/packet/ip6ext.h"
#include "datapath/packet/nd.h"
#include "datapath/packet/vxlan.h"
#include "tests/common/chain.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/segments.h"

#define PARAMS_LEN 12
#define OUT_MAX 64
#define FRAME_MAX 20000

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	pool_init();
	return 0;
}

static void run_gso(struct rte_mbuf *m, uint16_t mtu)
{
	struct rte_mbuf *out[OUT_MAX];
	uint32_t before = m->pkt_len, l3_off = m->l2_len;
	bool is_super = gso_is_superframe(m), is_v4 = (m->ol_flags & RTE_MBUF_F_TX_IPV6) == 0;
	int n = gso_segment(m, pool, mtu, out, OUT_MAX);

	if (n < 0) {
		CHECK(m->pkt_len == before);
		check_chain(m);
		rte_pktmbuf_free(m);
		return;
	}
	CHECK(n >= 1 && n <= OUT_MAX);
	for (int i = 0; i < n; i++) {
		check_chain(out[i]);
		CHECK(!csum_is_unfinished(out[i]));
		if (n > 1) {
			CHECK(is_super);
			CHECK(mtu == 0 || out[i]->pkt_len - l3_off <= mtu);
			if (is_v4)
				CHECK(csum_verify_ip4(out[i], l3_off) == CSUM_OK &&
					csum_verify_l4(out[i], l3_off) == CSUM_OK);
		}
		rte_pktmbuf_free(out[i]);
	}
}

static void run_frag(struct rte_mbuf *m, uint16_t l3_off, uint16_t mtu)
{
	struct rte_mbuf *out[OUT_MAX];
	int n = frag_ip4(m, l3_off, pool, mtu, out, OUT_MAX);

	if (n < 0) {
		check_chain(m);
		rte_pktmbuf_free(m);
		return;
	}
	CHECK(n >= 1 && n <= OUT_MAX);
	for (int i = 0; i < n; i++) {
		check_chain(out[i]);
		if (n > 1)
			CHECK(csum_verify_ip4(out[i], l3_off) == CSUM_OK &&
				out[i]->pkt_len - l3_off <= mtu);
		rte_pktmbuf_free(out[i]);
	}
}

static void run_icmp_error(struct rte_mbuf *m, uint16_t l3_off, unsigned int kind, uint32_t param)
{
	static const struct ip_addr src4 = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };
	static const struct ip_addr src6 = { .b = { 0xfe, 0x80, [15] = 1 } };

	for (int v6 = 0; v6 < 2; v6++) {
		struct rte_mbuf *e = icmp_error_create(
			m, l3_off, (enum icmp_error_kind)kind, param, v6 ? &src6 : &src4, pool);

		if (e == NULL)
			continue;
		check_chain(e);
		CHECK(e->pkt_len <= 14 + (v6 ? 1280 : 576));
		CHECK(csum_verify_l4(e, 14) == CSUM_OK);
		CHECK(v6 || csum_verify_ip4(e, 14) == CSUM_OK);
		/* Never an error about an error. */
		CHECK(!icmp_error_allowed(e, 14, ICMP_ERROR_NO_ROUTE));
		rte_pktmbuf_free(e);
	}
	rte_pktmbuf_free(m);
}

static void run_arp_nd(struct rte_mbuf *m)
{
	static const struct rte_ether_addr mac = { { 2, 0, 0, 0, 0, 1 } };
	struct arp_info arp;
	struct nd_info nd;

	if (arp_parse(m, &arp) == DROP_NONE && arp_reply(m, &arp, &mac)) {
		check_chain(m);
		CHECK(arp.is_probe || arp_parse(m, &arp) == DROP_NONE);
	} else if (nd_parse(m, &nd) == DROP_NONE) {
		CHECK(nd_is_type(nd.type));
		if (nd.type == ND_NS && nd_reply(m, &nd, &mac, ND_NA_OVERRIDE)) {
			check_chain(m);
			CHECK(nd_parse(m, &nd) == DROP_NONE && nd.type == ND_NA);
		}
	}
	rte_pktmbuf_free(m);
}

static void run_vxlan(struct rte_mbuf *m, uint16_t l3_off)
{
	struct vxlan_info info;

	if (vxlan_check(m, l3_off, &info) == DROP_NONE) {
		CHECK(info.inner_off + info.inner_len <= m->pkt_len && info.inner_len >= 14);
		CHECK(info.vni <= 0xffffff);
		if (vxlan_decap(m, &info)) {
			check_chain(m);
			CHECK(m->pkt_len == info.inner_len);
		}
	}
	rte_pktmbuf_free(m);
}

static void run_csum(struct rte_mbuf *m, uint16_t l3_off)
{
	struct ip6ext ext;

	(void)csum_verify_ip4(m, l3_off);
	(void)csum_verify_l4(m, l3_off);
	if (ip6ext_walk(m, l3_off, &ext))
		CHECK(ext.l4_off <= m->pkt_len);
	(void)csum_prepare(m);
	if (csum_finish(m) == 0)
		CHECK(!csum_is_unfinished(m));
	check_chain(m);
	rte_pktmbuf_free(m);
}

static void metadata(struct rte_mbuf *m, const uint8_t *d)
{
	static const uint64_t flags[] = { RTE_MBUF_F_TX_TCP_CKSUM, RTE_MBUF_F_TX_UDP_CKSUM,
		RTE_MBUF_F_TX_TCP_SEG, RTE_MBUF_F_TX_UDP_SEG, RTE_MBUF_F_TX_IPV6 };

	for (int i = 0; i < 5; i++)
		if ((d[3] >> (i + 1) & 1) != 0)
			m->ol_flags |= flags[i];
	m->l2_len = d[4] & 0x7f;
	m->l3_len = (uint16_t)(d[5] | (d[4] & 0x80) << 1);
	m->l4_len = d[6];
	m->tso_segsz = (uint16_t)(d[7] << 8 | d[8]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint16_t mtu = size < PARAMS_LEN ? 0 : (uint16_t)(data[9] << 8 | data[10]);
	bool is_exact = size > 3 && (data[3] & 1) != 0;
	struct rte_mbuf *m;

	if (size <= PARAMS_LEN || size > FRAME_MAX)
		return 0;
	m = chain_cut(data + PARAMS_LEN, (uint32_t)size - PARAMS_LEN, data[1],
		chain_len(data[2], SEGMENT_MAX), segment, &is_exact);
	if (m == NULL)
		return 0;
	metadata(m, data);
	switch (data[0] % 6) {
	case 0:
		run_gso(m, mtu);
		break;
	case 1:
		run_frag(m, m->l2_len, mtu);
		break;
	case 2:
		run_icmp_error(m, m->l2_len, data[11], mtu);
		break;
	case 3:
		run_arp_nd(m);
		break;
	case 4:
		run_vxlan(m, m->l2_len);
		break;
	default:
		run_csum(m, m->l2_len);
		break;
	}
	CHECK(rte_mempool_in_use_count(pool) == 0);
	return 0;
}
