/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary frames through the whole pipeline: parser, layers, flow table, rewrite, ICMP, ARP and ND, VXLAN, offloads.
 *
 * Input: up to 16 records of byte 0: bits 0-1 port (a, b, up, host), bit 2 first segment 128 bytes (else 2048), bit 3 the
 * IPv4 header checksum is made right, bits 4-7 offload flags (TCP, UDP, super-frame, IPv6); byte 1: segment step, and
 * tso_segsz / 8; bytes 2-3: length of the frame, which follows. Packets of one input share the node's connections; all are
 * gone before the next input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/packet/parse.h"
#include "datapath/pipeline/punt.h"
#include "pmd/kind_ring.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"
#include "tests/fuzz/fuzz.h"
#include "tests/packet/harness.h"

#define RECORDS_MAX 16
#define HEAD_LEN 4
#define FRAME_MAX 9100

static const char *const ports[] = { "a", "b", "up", "host" };

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "fuzz_pipeline: line %d: %s\n", __LINE__, #x);             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void command(const char *text)
{
	cJSON *params = cJSON_Parse(text), *result = cJSON_CreateObject();
	const char *error = node_command(params, result);

	if (error != NULL)
		fprintf(stderr, "fuzz_pipeline: %s: %s\n", text, error);
	CHECK(error == NULL);
	cJSON_Delete(result);
	cJSON_Delete(params);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char instance[32];

	(void)argc;
	(void)argv;
	snprintf(instance, sizeof(instance), "fuzz%d", (int)getpid());
	node_start(instance);
	node_init(1024);
	command("{\"cmd\":\"port.add\",\"name\":\"a\",\"mac\":\"0a:58:0a:f4:01:02\"}");
	command("{\"cmd\":\"port.add\",\"name\":\"b\",\"mac\":\"0a:58:0a:f4:01:03\"}");
	command("{\"cmd\":\"endpoint.add\",\"id\":\"a\",\"port\":\"a\",\"addresses\":[\"10.244.1."
		"2\",\"fd00:1::2\"]}");
	command("{\"cmd\":\"endpoint.add\",\"id\":\"b\",\"port\":\"b\",\"addresses\":[\"10.244.1."
		"3\",\"fd00:1::3\"]}");
	command("{\"cmd\":\"port.add\",\"name\":\"up\",\"role\":\"uplink\",\"mac\":\"02:00:00:00:"
		"00:10\",\"mtu\":1600,"
		"\"addresses\":[\"192.0.2.1/24\",\"2001:db8:1::1/64\"]}");
	command("{\"cmd\":\"port.add\",\"name\":\"host\",\"role\":\"host\",\"mac\":\"02:00:00:00:"
		"00:20\",\"tso\":true,"
		"\"addresses\":[\"198.51.100.1\",\"2001:db8:9::1\"]}");
	command("{\"cmd\":\"neigh.add\",\"port\":\"up\",\"address\":\"192.0.2.2\",\"mac\":\"02:00:"
		"00:00:00:02\"}");
	command("{\"cmd\":\"neigh.add\",\"port\":\"up\",\"address\":\"2001:db8:1::3\",\"mac\":\"02:"
		"00:00:00:00:03\"}");
	command("{\"cmd\":\"tunnel.add\",\"name\":\"n2\",\"local\":\"192.0.2.1\",\"remote\":\"192."
		"0.2.2\",\"vni\":99,"
		"\"remote_mac\":\"02:1e:a7:00:00:02\",\"port\":\"up\"}");
	command("{\"cmd\":\"tunnel.add\",\"name\":\"n3\",\"local\":\"2001:db8:1::1\",\"remote\":"
		"\"2001:db8:1::3\","
		"\"vni\":98,\"remote_mac\":\"02:1e:a7:00:00:03\",\"port\":\"up\"}");
	command("{\"cmd\":\"route.add\",\"prefix\":\"10.244.2.0/24\",\"tunnel\":\"n2\"}");
	command("{\"cmd\":\"route.add\",\"prefix\":\"fd00:2::/64\",\"tunnel\":\"n3\"}");
	command("{\"cmd\":\"route.add\",\"prefix\":\"0.0.0.0/"
		"0\",\"port\":\"up\",\"via\":\"192.0.2.2\"}");
	command("{\"cmd\":\"route.add\",\"prefix\":\"::/"
		"0\",\"port\":\"up\",\"via\":\"2001:db8:1::3\"}");
	return 0;
}

static void ip4_checksum_fix(uint8_t *frame, uint32_t len)
{
	uint8_t ihl_bytes;
	uint16_t csum;

	if (len < 34 || frame[12] != 0x08 || frame[13] != 0)
		return;
	ihl_bytes = (uint8_t)(4 * (frame[14] & 15));
	if (ihl_bytes < 20 || len < 14u + ihl_bytes)
		return;
	csum = csum_ip4_header(frame + 14, ihl_bytes);
	memcpy(frame + 24, &csum, 2);
}

/* A driver passes only metadata that fit its packet's headers (port.h): so does this. */
static void metadata(struct rte_mbuf *m, const uint8_t *head)
{
	struct parsed pkt;
	bool is_tcp = (head[0] & 0x10) != 0, is_udp = (head[0] & 0x20) != 0;

	if (is_tcp == is_udp || parse_frame(m, &pkt) != DROP_NONE || !pkt.has_l4 || pkt.is_frag ||
		pkt.proto != (is_tcp ? 6 : 17))
		return;
	m->l2_len = pkt.l3_off;
	m->l3_len = (uint16_t)((pkt.l4_off - pkt.l3_off) & 0x1ff);
	m->l4_len = is_tcp ? (uint8_t)(rte_pktmbuf_mtod(m, uint8_t *)[pkt.l4_off + 12] >> 4 << 2)
			   : 8;
	m->ol_flags |= is_tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	m->ol_flags |= pkt.l3 == PARSED_IP6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if ((head[0] & 0x40) == 0)
		return;
	m->tso_segsz = (uint16_t)(8 * head[1] + 8);
	m->ol_flags |= is_tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
}

static void inject(const uint8_t *head, const uint8_t *data, uint32_t len)
{
	static uint8_t frame[FRAME_MAX];
	struct rte_mbuf *m = NULL, *last = NULL;
	struct port *p = port_by_name(ports[head[0] & 3]);
	uint32_t want = (head[0] & 4) != 0 ? 128 : MEMPOOL_DATA_ROOM_BYTES;

	memcpy(frame, data, len);
	if ((head[0] & 8) != 0)
		ip4_checksum_fix(frame, len);
	for (uint32_t off = 0, n; off < len; off += n) {
		struct rte_mbuf *seg = rte_pktmbuf_alloc(mempool_get(0));

		CHECK(seg != NULL);
		n = RTE_MIN(RTE_MIN(want, (uint32_t)MEMPOOL_DATA_ROOM_BYTES), len - off);
		memcpy(rte_pktmbuf_append(seg, (uint16_t)n), frame + off, n);
		if (m == NULL) {
			m = seg;
		} else {
			last->next = seg;
			m->nb_segs++;
			m->pkt_len += n;
		}
		last = seg;
		want = head[1] + 1u;
	}
	metadata(m, head);
	CHECK(ring_port_inject(p, 0, &m, 1) == 1);
}

/* What left a port is well-formed, and finished unless the port takes unfinished packets. */
static void check_output(const struct rte_mbuf *m, bool takes_unfinished)
{
	uint32_t len = 0, n = 0;
	uint8_t type[2];

	for (const struct rte_mbuf *s = m; s != NULL; s = s->next, n++)
		len += s->data_len;
	CHECK(len == m->pkt_len && n == m->nb_segs && len >= 14);
	CHECK(takes_unfinished || !csum_is_unfinished(m));
	memcpy(type, rte_pktmbuf_mtod_offset(m, const uint8_t *, 12), 2);
	if (type[0] == 0x08 && type[1] == 0)
		CHECK(csum_verify_ip4(m, 14) == CSUM_OK);
}

static void drain(void)
{
	struct punt_msg msg;
	struct rte_mbuf *m;

	for (size_t i = 0; i < RTE_DIM(ports); i++) {
		struct port *p = port_by_name(ports[i]);

		while (ring_port_drain(p, &m, 1) == 1) {
			check_output(m, p->role == PORT_ROLE_HOST);
			rte_pktmbuf_free(m);
		}
	}
	while (punt_receive(&msg, 1) == 1)
		rte_pktmbuf_free(msg.m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int i = 0; i < RECORDS_MAX && size > HEAD_LEN; i++) {
		uint32_t len = (uint32_t)data[2] << 8 | data[3];

		len = RTE_MIN(RTE_MIN(len, (uint32_t)(size - HEAD_LEN)), (uint32_t)FRAME_MAX);
		if (len > 0) {
			inject(data, data + HEAD_LEN, len);
			command("{\"cmd\":\"step\"}");
		}
		data += HEAD_LEN + len;
		size -= HEAD_LEN + len;
		drain();
	}
	/* Longer than any time-out: connections go. */
	clock_warp_ns(8000 * CLOCK_NS_PER_S);
	command("{\"cmd\":\"step\",\"rounds\":3}");
	drain();
	CHECK(rte_mempool_in_use_count(mempool_get(0)) == 0);
	return 0;
}
