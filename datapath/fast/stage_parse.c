/* SPDX-License-Identifier: BSD-3-Clause */
/* Recognises the common shapes and builds their keys; everything else is left to the slow path's parser. */
#include <netinet/in.h>

#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "datapath/fast/stages.h"
#include "datapath/packet/chain.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u
#define PREFETCH_AHEAD 4

/* What the first 12 bytes of a frame must be on this port: for us, and (pods) from the pod's own MAC. */
struct eth_match {
	uint64_t value_lo, mask_lo;
	uint32_t value_hi, mask_hi;
};

static struct eth_match eth_match_of(const struct port *p)
{
	struct eth_match match = { .mask_lo = UINT64_MAX, .mask_hi = UINT32_MAX };
	uint8_t head[12];

	memcpy(head, p->role == PORT_ROLE_UPLINK ? &p->mac : &p->gw_mac, 6);
	memcpy(head + 6, &p->mac, 6);
	memcpy(&match.value_lo, head, 8);
	memcpy(&match.value_hi, head + 8, 4);
	/* Behind a shared port the slow path checks each flow's MAC with its address. */
	if (p->role == PORT_ROLE_UPLINK ||
		atomic_load_explicit(&p->is_shared, memory_order_relaxed) != 0) {
		match.mask_lo = rte_cpu_to_le_64(0x0000ffffffffffffull);
		match.mask_hi = 0;
	}
	return match;
}

static inline bool eth_matches(const struct eth_match *match, const uint8_t *data)
{
	uint64_t lo;
	uint32_t hi;

	memcpy(&lo, data, 8);
	memcpy(&hi, data + 8, 4);
	return (((lo ^ match->value_lo) & match->mask_lo) |
		       ((hi ^ match->value_hi) & match->mask_hi)) == 0;
}

/* Sum of a 20-byte IPv4 header is all ones (RFC 1071): a multiple of 0xffff, which the 64-bit sum with its carries
 * brought back is too, and never 0 because the header is not. */
static inline bool ip4_sum_ok(const uint8_t *ip)
{
	uint64_t a, b, sum;
	uint32_t c;

	memcpy(&a, ip, 8);
	memcpy(&b, ip + 8, 8);
	memcpy(&c, ip + 16, 4);
	sum = a + b;
	sum += sum < a;
	sum += c;
	sum += sum < c;
	return sum % 0xffff == 0;
}

/* Transport header of the common kinds: ports into *out_ports (source first), flags into *out_flags; false: not common. */
static inline bool l4_common(const uint8_t *l4, uint32_t l4_len, uint32_t avail, uint8_t proto,
	bool is_v6, uint32_t *out_ports, uint8_t *out_flags, uint8_t *out_kind)
{
	*out_flags = 0;
	*out_kind = FLOW_KEY_L4;
	if (proto == IPPROTO_TCP) {
		if (unlikely(l4_len < 20 || avail < 20 || l4[12] >> 4 < 5 ||
			    (l4[12] >> 4) * 4u > l4_len || conn_tcp_flags_bad(l4[13])))
			return false;
		*out_flags = l4[13];
	} else if (proto == IPPROTO_UDP) {
		rte_be16_t dgram;

		if (unlikely(l4_len < 8 || avail < 8))
			return false;
		memcpy(&dgram, l4 + 4, 2);
		if (unlikely(rte_be_to_cpu_16(dgram) > l4_len || rte_be_to_cpu_16(dgram) < 8))
			return false;
	} else {
		uint16_t ident;
		bool is_echo = is_v6 ? proto == IPPROTO_ICMPV6 : proto == IPPROTO_ICMP;

		if (!is_echo || l4_len < 8 || avail < 8)
			return false;
		is_echo = is_v6
			? (l4[0] == 128 || l4[0] == 129)
			: (l4[0] == RTE_IP_ICMP_ECHO_REQUEST || l4[0] == RTE_IP_ICMP_ECHO_REPLY);
		if (!is_echo || l4[1] != 0)
			return false;
		memcpy(&ident, l4 + 4, 2);
		*out_ports = ident | (uint32_t)ident << 16;
		*out_kind = FLOW_KEY_ECHO + (l4[0] == (is_v6 ? 129 : RTE_IP_ICMP_ECHO_REPLY));
		return true;
	}
	memcpy(out_ports, l4, 4);
	return true;
}

/* Cuts what a link or a sender has put behind the L3 packet; false: the frame is shorter than it should be. */
static __rte_noinline bool frame_trim(struct rte_mbuf *m, uint32_t len)
{
	if (len > m->pkt_len)
		return false;
	chain_truncate(m, len);
	return true;
}

/* Whether the frame is common IPv4; then its key, length and flags stand in the batch. */
static inline bool parse_common4(const struct flowtab *t, struct batch *b, uint64_t i,
	const uint8_t *data, struct rte_mbuf *m)
{
	const uint8_t *ip = data + L3_OFF;
	uint32_t avail = m->data_len, l3_len, ports;
	struct flow_key4 *key = &b->key[i].k4;
	uint64_t words[2];
	rte_be16_t be;
	uint8_t kind;

	if (unlikely(avail < L3_OFF + 28))
		return false;
	memcpy(&be, ip + 2, 2);
	l3_len = rte_be_to_cpu_16(be);
	memcpy(&be, ip + 6, 2);
	if (unlikely((be & RTE_BE16(0x3fff)) != 0 || l3_len < 28 || ip[8] <= 1 || !ip4_sum_ok(ip)))
		return false;
	if (unlikely(L3_OFF + l3_len != m->pkt_len) && !frame_trim(m, L3_OFF + l3_len))
		return false;
	if (unlikely(!l4_common(ip + 20, l3_len - 20, avail - L3_OFF - 20, ip[9], false, &ports,
		    &b->tcp_flags[i], &kind)))
		return false;
	/* The key as two words, hashed while it is in registers; its bucket comes while the others are parsed. */
	memcpy(&words[0], ip + 12, 8);
	words[1] = rte_cpu_to_le_64((uint64_t)rte_le_to_cpu_32(ports) |
		(uint64_t)rte_le_to_cpu_16(b->zone[i]) << 32 | (uint64_t)ip[9] << 48 |
		(uint64_t)kind << 56);
	memcpy(key, words, sizeof(words));
	b->hash[i] = flowtab_hash4_words(t, words[0], words[1]);
	rte_prefetch0(&t->buckets[flowtab_bucket1(t, b->hash[i])]);
	b->len[i] = l3_len;
	return true;
}

static inline bool parse_common6(
	struct batch *b, uint64_t i, const uint8_t *data, struct rte_mbuf *m)
{
	const uint8_t *ip = data + L3_OFF;
	uint32_t avail = m->data_len, payload_len, ports;
	struct flow_key6 *key = &b->key[i].k6;
	uint64_t mapped[2];
	rte_be16_t be;
	uint8_t kind;

	if (unlikely(avail < L3_OFF + 48 || ip[0] >> 4 != 6))
		return false;
	memcpy(&be, ip + 4, 2);
	payload_len = rte_be_to_cpu_16(be);
	if (unlikely(ip[7] <= 1))
		return false;
	if (unlikely(L3_OFF + 40 + payload_len != m->pkt_len) &&
		!frame_trim(m, L3_OFF + 40 + payload_len))
		return false;
	/* link-local, multicast and unspecified addresses are the slow path's */
	memcpy(mapped, ip + 8, 8);
	memcpy(mapped + 1, ip + 24, 8);
	if (unlikely(mapped[0] == 0 || mapped[1] == 0 || ip[8] >= 0xfe || ip[24] >= 0xfe))
		return false;
	if (unlikely(!l4_common(ip + 40, payload_len, avail - L3_OFF - 40, ip[6], true, &ports,
		    &b->tcp_flags[i], &kind)))
		return false;
	memcpy(key->src, ip + 8, 32);
	memcpy(&key->sport, &ports, 4);
	key->zone = b->zone[i];
	key->proto = ip[6];
	key->kind = kind;
	b->len[i] = payload_len + 40;
	return true;
}

void stage_parse(struct worker *w, struct batch *b)
{
	struct eth_match match = eth_match_of(b->port);
	const struct flowtab *t = w->ft4;
	uint64_t v4 = 0, v6 = 0;

	MASK_FOREACH(i, b->live)
	{
		struct rte_mbuf *m = b->m[i];
		const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
		/* The inner frame's MACs were checked with the tunnel's header. */
		bool is_from_wire = (b->in[i] & FLOW_IN_TUNNEL) == 0;
		uint32_t type;

		if (i + PREFETCH_AHEAD < b->n)
			rte_prefetch0(rte_pktmbuf_mtod(b->m[i + PREFETCH_AHEAD], const uint8_t *));
		if (unlikely(m->data_len < L3_OFF + 20 ||
			    (is_from_wire && !eth_matches(&match, data))))
			continue;
		memcpy(&type, data + 12, 4);
		if (likely((type & RTE_BE32(0xffffff00)) == RTE_BE32(0x08004500)))
			v4 |= (uint64_t)parse_common4(t, b, i, data, m) << i;
		else if ((type & RTE_BE32(0xffff0000)) == RTE_BE32(0x86dd0000))
			v6 |= (uint64_t)parse_common6(b, i, data, m) << i;
	}
	b->v4 = v4;
	b->v6 = v6;
	b->slow = b->live & ~(v4 | v6);
}
