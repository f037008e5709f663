/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest may write: virtio-net headers over arbitrary frames, and vhost-user messages.
 *
 * Input: byte 0 the function (0: header, 1: flags of a library, 2: message), byte 1 the length of the first segment (0: all
 * in one), bytes 2…11 the header (or ol_flags and lengths), then the frame; or, for a message, its bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pmd/vhost_msg.h"
#include "pmd/vnet_hdr.h"
#include "tests/fuzz/fuzz.h"

#define PARAMS_LEN 12

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "fuzz_vnet_hdr: %s:%d: %s\n", __FILE__, __LINE__, #x);     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Buffers of exactly the segments' sizes: an over-read is seen by the sanitizer. */
static void segment_init(struct rte_mbuf *m, const uint8_t *data, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = malloc(len != 0 ? len : 1);
	CHECK(m->buf_addr != NULL);
	memcpy(m->buf_addr, data, len);
	m->data_len = (uint16_t)len;
	m->pkt_len = (uint32_t)len;
	m->nb_segs = 1;
}

/* What the pipeline relies on (datapath/pipeline/port.h). */
static void contract_check(const struct rte_mbuf *m, bool is_good, bool is_uso)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	uint64_t seg = m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	struct virtio_net_hdr hdr;
	uint32_t headers;

	if (!is_good || m->ol_flags == 0) {
		CHECK(m->ol_flags == 0 && m->tx_offload == 0);
		return;
	}
	headers = (uint32_t)(m->l2_len + m->l3_len + m->l4_len);
	CHECK(l4 == RTE_MBUF_F_TX_TCP_CKSUM || l4 == RTE_MBUF_F_TX_UDP_CKSUM);
	CHECK(!(m->ol_flags & RTE_MBUF_F_TX_IPV4) != !(m->ol_flags & RTE_MBUF_F_TX_IPV6));
	CHECK(m->l2_len >= 14 && m->l3_len >= 20 && m->l4_len >= 8 && headers <= m->data_len &&
		headers <= m->pkt_len);
	CHECK(seg == 0 ||
		(m->tso_segsz >= VNET_GSO_SIZE_MIN && m->pkt_len > headers + m->tso_segsz));
	CHECK(seg != RTE_MBUF_F_TX_UDP_SEG || is_uso);
	CHECK(seg != (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG));
	/* what was accepted once is accepted again, and the same */
	vnet_hdr_from_mbuf(m, &hdr);
	struct rte_mbuf again = *m;
	CHECK(vnet_hdr_to_mbuf(&hdr, &again));
	CHECK(again.ol_flags == m->ol_flags && again.tx_offload == m->tx_offload);
}

static void frame_run(const uint8_t *data, size_t size)
{
	size_t len = size - PARAMS_LEN, first = data[1] != 0 && data[1] < len ? data[1] : len;
	struct virtio_net_hdr hdr;
	struct rte_mbuf seg[2];
	bool is_uso = data[0] & 0x80, is_good;

	if (len > UINT16_MAX)
		return;
	memcpy(&hdr, &data[2], sizeof(hdr));
	segment_init(&seg[0], &data[PARAMS_LEN], first);
	segment_init(&seg[1], &data[PARAMS_LEN + first], len - first);
	if (first < len) {
		seg[0].next = &seg[1];
		seg[0].nb_segs = 2;
		seg[0].pkt_len = (uint32_t)len;
	}
	if (data[0] % 3 == 0) {
		is_uso = true;
		is_good = vnet_hdr_to_mbuf(&hdr, &seg[0]);
	} else {
		/* the flags that librte_vhost may set, in any combination */
		seg[0].ol_flags = ((uint64_t)(data[2] & 3) << 52) |
			(data[2] & 4 ? RTE_MBUF_F_TX_TCP_SEG : 0) |
			(data[2] & 8 ? RTE_MBUF_F_TX_UDP_SEG : 0) |
			(data[2] & 16 ? RTE_MBUF_F_TX_IPV4 : 0) |
			(data[2] & 32 ? RTE_MBUF_F_TX_IPV6 : 0);
		seg[0].l2_len = data[3] & 0x7f;
		seg[0].l3_len = data[4];
		seg[0].l4_len = data[5];
		seg[0].tso_segsz = (uint16_t)(data[6] | data[7] << 8);
		is_good = vnet_mbuf_check(&seg[0], is_uso);
	}
	contract_check(&seg[0], is_good, is_uso);
	free(seg[0].buf_addr);
	free(seg[1].buf_addr);
}

static void message_run(const uint8_t *data, size_t size)
{
	const struct vhost_msg_limits limits = { .n_vrings = 2 * (data[1] % 16 + 1),
		.region_max = 1ull << 40,
		.features = 0x1ff00ffffull,
		.protocol_features = 0xffff };
	const char *why = NULL;
	struct vhost_user_msg msg;
	uint64_t sum = 0;
	int payload;

	memset(&msg, 0, sizeof(msg));
	memcpy(&msg, &data[3], size - 3 < sizeof(msg) ? size - 3 : sizeof(msg));
	payload = vhost_msg_header_check(&msg, &why);
	CHECK(payload <= (int)(sizeof(msg) - VHOST_MSG_HDR_BYTES));
	CHECK(payload >= 0 || why != NULL);
	(void)vhost_msg_has_reply(&msg);
	CHECK(vhost_msg_name(msg.request) != NULL);
	if (!vhost_msg_check(&msg, data[2] % 12, &limits, &why)) {
		CHECK(why != NULL);
		return;
	}
	CHECK(payload >= 0);
	if (msg.request != VHOST_REQ_SET_MEM_TABLE)
		return;
	CHECK(msg.mem.n_regions == data[2] % 12 && msg.mem.n_regions <= VHOST_MSG_REGIONS_MAX);
	for (uint32_t i = 0; i < msg.mem.n_regions; i++)
		sum += msg.mem.regions[i].size + msg.mem.regions[i].mmap_offset;
	CHECK(sum <= limits.region_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < PARAMS_LEN)
		return 0;
	if (data[0] % 3 == 2)
		message_run(data, size);
	else
		frame_run(data, size);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
