/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/frag.h"

#include <errno.h>

#include <rte_ip.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/packet/ip6ext.h"

#define L2_MAX 128
#define IP4_HEADER_MAX 60

struct plan {
	uint8_t l2[L2_MAX];
	union {
		struct rte_ipv4_hdr ip;
		uint8_t bytes[IP4_HEADER_MAX];
	} first, rest; /* headers of the first fragment and of the others */
	uint32_t l2_len;
	uint32_t first_len, rest_len; /* header bytes */
	uint32_t payload_len;
	uint32_t piece_len; /* of every fragment but the last; a multiple of 8 */
	uint32_t base_off;  /* of our payload in the datagram, bytes */
	bool has_more;	    /* the packet is itself a fragment with more to come */
	uint32_t n;
};

/* Header of the later fragments: only options with the copied flag. Malformed options end the list,
 * as they would at any receiver. */
static void rest_header(struct plan *p)
{
	const uint8_t *o = p->first.bytes + sizeof(struct rte_ipv4_hdr);
	const uint8_t *end = p->first.bytes + p->first_len;
	uint8_t *w = p->rest.bytes + sizeof(struct rte_ipv4_hdr);

	p->rest.ip = p->first.ip;
	while (o < end && *o != 0) {
		uint32_t len = 1;

		if (*o != 1) {
			if (end - o < 2 || o[1] < 2 || o[1] > end - o)
				break;
			len = o[1];
		}
		if ((*o & 0x80) != 0) {
			memcpy(w, o, len);
			w += len;
		}
		o += len;
	}
	while (((w - p->rest.bytes) & 3) != 0)
		*w++ = 0;
	p->rest_len = (uint32_t)(w - p->rest.bytes);
	p->rest.ip.version_ihl = (uint8_t)(0x40 | p->rest_len / 4);
}

static int plan_make(const struct rte_mbuf *m, uint16_t l3_off, uint16_t mtu, struct plan *p)
{
	uint32_t total;
	uint16_t frag;

	p->l2_len = l3_off;
	if (l3_off > sizeof(p->l2) || mtu < FRAG_MTU_MIN || gso_is_superframe(m) ||
		!chain_read(m, 0, p->l2, l3_off) ||
		!chain_read(m, l3_off, &p->first.ip, sizeof(p->first.ip)))
		return -EINVAL;
	p->first_len = rte_ipv4_hdr_len(&p->first.ip);
	total = rte_be_to_cpu_16(p->first.ip.total_length);
	if ((p->first.ip.version_ihl >> 4) != 4 || p->first_len < sizeof(p->first.ip) ||
		total < p->first_len || total > m->pkt_len - l3_off ||
		!chain_read(m, l3_off, p->first.bytes, p->first_len))
		return -EINVAL;
	if (total <= mtu) {
		p->n = 1;
		return 0;
	}
	frag = rte_be_to_cpu_16(p->first.ip.fragment_offset);
	if ((frag & RTE_IPV4_HDR_DF_FLAG) != 0)
		return -EMSGSIZE;
	p->base_off = 8u * (frag & RTE_IPV4_HDR_OFFSET_MASK);
	p->has_more = (frag & RTE_IPV4_HDR_MF_FLAG) != 0;
	p->payload_len = total - p->first_len;
	if (p->base_off + p->payload_len > UINT16_MAX)
		return -EINVAL; /* would run past the largest datagram */
	rest_header(p);
	/* One size for all: the first's header is the longest. MTU ≥ 68 leaves 8 bytes at least. */
	p->piece_len = (mtu - p->first_len) & ~7u;
	p->n = (p->payload_len + p->piece_len - 1) / p->piece_len;
	return 0;
}

static bool fragment_fill(const struct rte_mbuf *m, struct rte_mempool *pool, const struct plan *p,
	uint32_t i, struct chain_cursor *src, struct rte_mbuf *f)
{
	uint32_t off = i * p->piece_len, ip_len = i == 0 ? p->first_len : p->rest_len;
	uint32_t len = RTE_MIN(p->piece_len, p->payload_len - off);
	bool has_more = p->has_more || i != p->n - 1;
	struct rte_mbuf *last = f;
	uint8_t *headers = (uint8_t *)rte_pktmbuf_append(f, (uint16_t)(p->l2_len + ip_len));
	struct rte_ipv4_hdr *ip;

	if (headers == NULL)
		return false;
	memcpy(headers, p->l2, p->l2_len);
	memcpy(headers + p->l2_len, i == 0 ? p->first.bytes : p->rest.bytes, ip_len);
	ip = (void *)(headers + p->l2_len);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(ip_len + len));
	ip->fragment_offset = rte_cpu_to_be_16(
		(uint16_t)((p->base_off + off) / 8 | (has_more ? RTE_IPV4_HDR_MF_FLAG : 0)));
	ip->hdr_checksum = csum_ip4_header(ip, (uint8_t)ip_len);
	f->port = m->port;
	f->hash = m->hash;
	return chain_append(f, &last, pool, src, len);
}

int frag_ip4(struct rte_mbuf *m, uint16_t l3_off, struct rte_mempool *pool, uint16_t mtu,
	struct rte_mbuf **out, uint16_t max)
{
	struct chain_cursor src;
	struct plan p;
	int err;

	if (max == 0)
		return -E2BIG;
	err = plan_make(m, l3_off, mtu, &p);
	if (err < 0)
		return err;
	if (p.n == 1) {
		out[0] = m;
		return 1;
	}
	if (p.n > max)
		return -E2BIG;
	if (csum_finish(m) < 0)
		return -EINVAL;
	if (rte_pktmbuf_alloc_bulk(pool, out, p.n) != 0)
		return -ENOMEM;
	chain_cursor_init(&src, m, l3_off + p.first_len);
	for (uint32_t i = 0; i < p.n; i++) {
		if (!fragment_fill(m, pool, &p, i, &src, out[i])) {
			rte_pktmbuf_free_bulk(out, p.n);
			return -ENOMEM;
		}
	}
	rte_pktmbuf_free(m);
	return (int)p.n;
}

bool frag_place(const struct rte_mbuf *m, uint16_t l3_off, struct frag_place *out)
{
	struct rte_ipv4_hdr ip;
	struct rte_ipv6_hdr ip6;
	struct ip6ext ext;
	uint16_t field, total;
	uint32_t payload, id;

	if (chain_read(m, l3_off, &ip, sizeof(ip)) && ip.version_ihl >> 4 == 4) {
		field = rte_be_to_cpu_16(ip.fragment_offset);
		total = rte_be_to_cpu_16(ip.total_length);
		*out = (struct frag_place){
			.id = rte_be_to_cpu_16(ip.packet_id),
			.proto = ip.next_proto_id,
			.off = (uint16_t)((field & RTE_IPV4_HDR_OFFSET_MASK) * 8),
			.len = (uint16_t)(total - rte_ipv4_hdr_len(&ip)),
			.is_last = (field & RTE_IPV4_HDR_MF_FLAG) == 0,
		};
		return total >= rte_ipv4_hdr_len(&ip) && (out->off != 0 || !out->is_last);
	}
	if (!chain_read(m, l3_off, &ip6, sizeof(ip6)) || !ip6ext_walk(m, l3_off, &ext) ||
		!ext.is_fragment || !chain_read(m, ext.frag_off + 2, &field, 2) ||
		!chain_read(m, ext.frag_off + 4, &id, 4))
		return false;
	/* What is cut into pieces begins behind the fragment header. */
	payload = ext.frag_off + 8 - l3_off - (uint32_t)sizeof(ip6);
	*out = (struct frag_place){
		.id = rte_be_to_cpu_32(id),
		.off = ext.frag_start,
		.len = (uint16_t)(rte_be_to_cpu_16(ip6.payload_len) - payload),
		.is_last = (field & RTE_BE16(1)) == 0,
	};
	return true;
}
