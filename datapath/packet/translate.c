/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/translate.h"

#include <netinet/in.h>

#include <rte_hash_crc.h>
#include <rte_ip.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/icmp_query.h"
#include "datapath/packet/ip6ext.h"

#define ICMP_HEADER 8
#define FIELD_MAX 16
#define PROTO_OSPF 89

/* What a transport header has to translate; offsets in it, 0: no such field (ports: when n_ports is 0). */
struct layout {
	uint8_t n_ports; /* 16-bit words; 1: an identifier */
	uint8_t ports_off;
	uint8_t csum_off;
	uint8_t crc_off;
	bool has_pseudo;   /* the checksum covers the addresses */
	bool zero_is_none; /* a checksum of 0 is no checksum */
	bool is_offloaded; /* the checksum may be unfinished */
};

/* A packet, or a packet quoted in one, with the places of its fields. */
struct target {
	struct rte_mbuf *m;
	uint32_t l3_off;
	uint32_t l4_off;
	uint32_t end; /* of what is there of the packet */
	uint32_t l4_len;
	bool is_v6;
	bool is_whole; /* no fragment */
	bool is_unfinished;
	const struct layout *layout;
};

static const struct layout tcp = {
	.n_ports = 2, .csum_off = 16, .has_pseudo = true, .is_offloaded = true
};
static const struct layout udp = {
	.n_ports = 2, .csum_off = 6, .has_pseudo = true, .zero_is_none = true, .is_offloaded = true
};
static const struct layout udplite = { .csum_off = 6, .has_pseudo = true, .zero_is_none = true };
static const struct layout dccp = { .csum_off = 6, .has_pseudo = true };
static const struct layout sctp = { .n_ports = 2, .crc_off = 8 };
static const struct layout icmp4 = { .csum_off = 2 };
static const struct layout icmp4_query = { .n_ports = 1, .ports_off = 4, .csum_off = 2 };
static const struct layout icmp6 = { .csum_off = 2, .has_pseudo = true };
static const struct layout icmp6_query = {
	.n_ports = 1, .ports_off = 4, .csum_off = 2, .has_pseudo = true
};
/* RFC 5340 s. A.3.1 (0 with an authentication trailer, RFC 7166 s. 4.1), RFC 7761 s. 4.9; over IPv4 without pseudo-header */
static const struct layout ospf6 = { .csum_off = 12, .has_pseudo = true, .zero_is_none = true };
static const struct layout pim6 = { .csum_off = 2, .has_pseudo = true };
static const struct layout opaque;

static const struct layout *layout_of(const struct parsed *pkt)
{
	bool is_v6 = pkt->l3 == PARSED_IP6;
	bool has_ident = icmp_message_has_ident(icmp_message_of(is_v6, pkt->icmp_type));

	if (pkt->is_frag && !pkt->is_first_frag)
		return &opaque;
	switch (pkt->proto) {
	case IPPROTO_TCP:
		return &tcp;
	case IPPROTO_UDP:
		return &udp;
	case IPPROTO_UDPLITE:
		return &udplite;
	case IPPROTO_DCCP:
		return &dccp;
	case IPPROTO_SCTP:
		return &sctp;
	case IPPROTO_ICMP:
		if (is_v6)
			return &opaque;
		return has_ident ? &icmp4_query : &icmp4;
	case IPPROTO_ICMPV6:
		if (!is_v6)
			return &opaque;
		return has_ident ? &icmp6_query : &icmp6;
	case PROTO_OSPF:
		return is_v6 ? &ospf6 : &opaque;
	case IPPROTO_PIM:
		return is_v6 ? &pim6 : &opaque;
	default:
		return &opaque;
	}
}

/* The packet at l3_off, of which bytes up to end (in the chain) are there. False: its ports are not
 * among them, or the parser does not trust them. */
static bool target_init(struct target *t, struct rte_mbuf *m, uint32_t l3_off,
	const struct parsed *pkt, uint32_t end, bool is_quote)
{
	uint32_t l3_end = l3_off + pkt->l3_len;

	*t = (struct target){ .m = m,
		.l3_off = l3_off,
		.l4_off = l3_off + pkt->l4_off - pkt->l3_off,
		.end = RTE_MIN(end, l3_end),
		.is_v6 = pkt->l3 == PARSED_IP6,
		.is_whole = !pkt->is_frag,
		.is_unfinished = !is_quote && csum_is_unfinished(m),
		.layout = layout_of(pkt) };
	t->l4_len = l3_end - t->l4_off;
	return t->end <= m->pkt_len && (pkt->has_l4 || t->layout->n_ports == 0) &&
		t->l4_off + t->layout->ports_off + 2u * t->layout->n_ports <= t->end;
}

/* Writes a field of len bytes (even) and brings the change into the sum of changes. The field is there. */
static void field_set(
	struct rte_mbuf *m, uint32_t off, const void *value, uint32_t len, uint16_t *delta)
{
	uint8_t old[FIELD_MAX];
	uint64_t sum = *delta;

	(void)chain_read(m, off, old, len);
	(void)chain_write(m, off, value, len);
	for (uint32_t i = 0; i < len; i += 2) {
		uint16_t old_word, new_word;

		memcpy(&old_word, old + i, 2);
		memcpy(&new_word, (const uint8_t *)value + i, 2);
		sum += csum_delta16(old_word, new_word);
	}
	*delta = csum_fold(sum);
}

/* Both addresses, and the IPv4 header's checksum. Returns the change of the addresses, and adds that of all to *total. */
static uint16_t set_addresses(const struct target *t, const struct ip_addr *src,
	const struct ip_addr *dst, uint16_t *total)
{
	uint32_t len = t->is_v6 ? 16 : 4, off = t->l3_off + (t->is_v6 ? 8 : 12);
	uint32_t csum_off = t->l3_off + (uint32_t)offsetof(struct rte_ipv4_hdr, hdr_checksum);
	uint16_t delta = 0, csum;

	field_set(t->m, off, src->b + (16 - len), len, &delta);
	field_set(t->m, off + len, dst->b + (16 - len), len, &delta);
	*total = csum_delta_add(*total, delta);
	if (!t->is_v6) {
		(void)chain_read(t->m, csum_off, &csum, 2);
		csum = csum_apply(csum, delta);
		field_set(t->m, csum_off, &csum, 2, total);
	}
	return delta;
}

/* CRC32c is linear: a change of the first word changes the CRC by the CRC of that change and as many zeros as bytes follow
 * (RFC 9260 app. A; the field itself counts as zeros). So the payload need not be read, and what was wrong stays wrong. */
static uint32_t crc_change(uint32_t changed_bits, uint32_t n_behind)
{
	uint32_t crc = rte_hash_crc_4byte(changed_bits, 0);

	for (; n_behind >= 8; n_behind -= 8)
		crc = rte_hash_crc_8byte(0, crc);
	for (; n_behind > 0; n_behind--)
		crc = rte_hash_crc_1byte(0, crc);
	return crc;
}

static void set_crc(const struct target *t, uint32_t old_ports, uint32_t new_ports, uint16_t *total)
{
	uint32_t off = t->l4_off + t->layout->crc_off, crc;

	if (!t->is_whole || t->is_unfinished || off + 4 > t->end)
		return;
	(void)chain_read(t->m, off, &crc, 4);
	crc ^= rte_cpu_to_le_32(crc_change(old_ports ^ new_ports, t->l4_len - 4));
	field_set(t->m, off, &crc, 4, total);
}

static void set_csum(const struct target *t, uint16_t addrs, uint16_t ports, uint16_t *total)
{
	const struct layout *l = t->layout;
	uint32_t off = t->l4_off + l->csum_off;
	uint16_t csum, delta = csum_delta_add(l->has_pseudo ? addrs : 0, ports);

	if (off + 2 > t->end)
		return;
	(void)chain_read(t->m, off, &csum, 2);
	if (t->is_unfinished && l->is_offloaded)
		csum = csum_apply_unfinished(csum, addrs);
	else
		csum = l->zero_is_none ? csum_apply_udp(csum, delta) : csum_apply(csum, delta);
	field_set(t->m, off, &csum, 2, total);
}

/* Writes the tuple; the change of all words written is added to *total. The ports are there. */
static void set_tuple(const struct target *t, const struct translation *to, uint16_t *total)
{
	const struct layout *l = t->layout;
	const rte_be16_t ports[2] = { to->sport, to->dport };
	uint16_t addrs = set_addresses(t, &to->src, &to->dst, total), delta = 0;
	uint32_t old_ports = 0, new_ports;

	if (l->n_ports != 0) {
		(void)chain_read(t->m, t->l4_off + l->ports_off, &old_ports, 2u * l->n_ports);
		field_set(t->m, t->l4_off + l->ports_off, ports, 2u * l->n_ports, &delta);
		*total = csum_delta_add(*total, delta);
	}
	memcpy(&new_ports, ports, sizeof(new_ports));
	if (l->csum_off != 0)
		set_csum(t, addrs, delta, total);
	else if (l->crc_off != 0 && old_ports != new_ports)
		set_crc(t, old_ports, new_ports, total);
}

static bool is_family(const struct parsed *pkt, const struct ip_addr *a, const struct ip_addr *b)
{
	bool is_v4 = pkt->l3 == PARSED_IP4;

	return (is_v4 || pkt->l3 == PARSED_IP6) && ip_is_v4(a) == is_v4 && ip_is_v4(b) == is_v4;
}

bool translate_packet(
	struct rte_mbuf *m, uint16_t l3_off, const struct parsed *pkt, const struct translation *to)
{
	struct ip6ext ext;
	struct target t;
	uint16_t total = 0;

	if (!is_family(pkt, &to->src, &to->dst) || pkt->is_icmp_error ||
		!target_init(&t, m, l3_off, pkt, m->pkt_len, false))
		return false;
	if (t.is_v6) {
		if (!ip6ext_walk(m, l3_off, &ext) || ext.has_routing)
			return false;
		t.is_whole = !ext.is_fragment; /* an atomic fragment is whole */
	}
	if (t.layout->csum_off != 0 && t.l4_off + t.layout->csum_off + 2u > t.end)
		return false;
	if (t.layout->crc_off != 0) {
		if (t.l4_off + t.layout->crc_off + 4u > t.end)
			return false;
		if (!t.is_whole && (to->sport != pkt->sport || to->dport != pkt->dport))
			return false;
	}
	set_tuple(&t, to, &total);
	return true;
}

/* Where the quote ends: with the message, or before the extensions that follow it (RFC 4884 s. 3). */
static uint32_t quote_end(const struct target *outer, uint8_t type)
{
	bool is_extensible = outer->is_v6 ? type == 1 || type == 3
					  : type == 3 || type == 11 || type == 12;
	uint8_t n_words = 0;
	uint32_t end;

	if (!is_extensible)
		return outer->end;
	(void)chain_read(outer->m, outer->l4_off + (outer->is_v6 ? 4 : 5), &n_words, 1);
	end = outer->l4_off + ICMP_HEADER + n_words * (outer->is_v6 ? 8u : 4u);
	return n_words != 0 ? RTE_MIN(end, outer->end) : outer->end;
}

bool translate_icmp_error(struct rte_mbuf *m, uint16_t l3_off, const struct parsed *pkt,
	const struct ip_addr *src, const struct ip_addr *dst, const struct translation *quoted)
{
	struct target outer, quote;
	struct parsed inner;
	uint16_t total = 0, ignored = 0, addrs;
	uint32_t quote_off, end;
	struct ip6ext ext;

	if (!is_family(pkt, src, dst) || !is_family(pkt, &quoted->src, &quoted->dst) ||
		!pkt->is_icmp_error || !target_init(&outer, m, l3_off, pkt, m->pkt_len, false))
		return false;
	quote_off = outer.l4_off + ICMP_HEADER;
	if (quote_off > outer.end ||
		(outer.is_v6 && (!ip6ext_walk(m, l3_off, &ext) || ext.has_routing)))
		return false;
	end = quote_end(&outer, pkt->icmp_type);
	if (parse_l3(rte_pktmbuf_mtod(m, const uint8_t *), RTE_MIN(end, (uint32_t)m->data_len),
		    m->pkt_len, (uint16_t)quote_off, (enum parsed_l3)pkt->l3, true,
		    &inner) != DROP_NONE ||
		!target_init(&quote, m, quote_off, &inner, end, true))
		return false;
	set_tuple(&quote, quoted, &total);
	addrs = set_addresses(&outer, src, dst, &ignored);
	set_csum(&outer, addrs, total, &ignored);
	return true;
}
