/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internet checksums (RFC 1071, RFC 1624) over flat memory and mbuf chains. Pure functions, any
 * thread.
 *
 * A "sum" is a ones-complement sum of 16-bit words taken as they lie in memory, so that no byte
 * order enters (RFC 1071 s. 2 (B)); an accumulator has 64 bits and csum_fold() makes 16 of it. A
 * "csum" is what stands in a packet: the complement of a sum. Checksum fields are therefore plain
 * uint16_t in memory order (rte_be16_t).
 */
#ifndef LEAT_PACKET_CSUM_H
#define LEAT_PACKET_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

enum csum_verdict {
	CSUM_OK,
	CSUM_BAD,	   /* wrong, or lengths that contradict the packet */
	CSUM_ABSENT,	   /* UDP over IPv4 or IPv6 with checksum 0 */
	CSUM_UNVERIFIABLE, /* another protocol, or a fragment */
	CSUM_N
};

/* 64-bit accumulator → 16-bit sum. */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Adds len bytes to an accumulator; buf counts as starting at an even offset, any alignment. */
uint64_t csum_add(uint64_t sum, const void *buf, size_t len);

/* Sum of a 20-byte IPv4 header, checksum included. */
static inline uint64_t csum_add_ip4_header(const void *header)
{
	uint64_t q[2];
	uint32_t w;

	memcpy(q, header, 16);
	memcpy(&w, (const uint8_t *)header + 16, 4);
	return (q[0] & UINT32_MAX) + (q[0] >> 32) + (q[1] & UINT32_MAX) + (q[1] >> 32) + w;
}

/* Adds bytes [off, off + len) of a chain; off counts as even. False when the packet is shorter. */
bool csum_add_mbuf(uint64_t *sum, const struct rte_mbuf *m, uint32_t off, uint32_t len);

/* Pseudo-header sums (RFC 9293 s. 3.1, RFC 8200 s. 8.1); l4_len in bytes. */
static inline uint64_t csum_pseudo_ip4(
	rte_be32_t src, rte_be32_t dst, uint8_t proto, uint16_t l4_len)
{
	return (uint64_t)src + dst + rte_cpu_to_be_16(proto) + rte_cpu_to_be_16(l4_len);
}

static inline uint64_t csum_pseudo_ip6(
	const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t l4_len)
{
	uint32_t w[8];
	uint64_t sum = (uint64_t)rte_cpu_to_be_32(l4_len) + rte_cpu_to_be_32(proto);

	memcpy(w, src, 16);
	memcpy(w + 4, dst, 16);
	for (int i = 0; i < 8; i++)
		sum += w[i];
	return sum;
}

/* Checksum of an IPv4 header of ihl_bytes (20…60), its checksum field taken as 0. */
uint16_t csum_ip4_header(const void *header, uint8_t ihl_bytes);

/*
 * Incremental update (RFC 1624 eqn. 3). A delta is precomputed per flow, deltas add up with
 * csum_delta_add(), and csum_apply() brings one into a checksum field. The result is never 0x0000
 * where the full computation gives 0xffff or the reverse, except that a checksum over nothing but
 * zeros keeps its form.
 */
static inline uint16_t csum_delta16(uint16_t old_word, uint16_t new_word)
{
	return csum_fold((uint64_t)(uint16_t)~old_word + new_word);
}

static inline uint16_t csum_delta32(uint32_t old_word, uint32_t new_word)
{
	return csum_fold((uint64_t)(uint32_t)~old_word + new_word);
}

static inline uint16_t csum_delta_ip6(const uint8_t old_addr[16], const uint8_t new_addr[16])
{
	uint32_t o[4], n[4];
	uint64_t sum = 0;

	memcpy(o, old_addr, 16);
	memcpy(n, new_addr, 16);
	for (int i = 0; i < 4; i++)
		sum += (uint64_t)(uint32_t)~o[i] + n[i];
	return csum_fold(sum);
}

static inline uint16_t csum_delta_add(uint16_t a, uint16_t b)
{
	return csum_fold((uint64_t)a + b);
}

static inline uint16_t csum_apply(uint16_t csum, uint16_t delta)
{
	return (uint16_t)~csum_fold((uint64_t)(uint16_t)~csum + delta);
}

/* As csum_apply() for a UDP field: 0 means "none" and stays; a result of 0 is sent as 0xffff (RFC
 * 768). */
static inline uint16_t csum_apply_udp(uint16_t csum, uint16_t delta)
{
	uint16_t updated = csum_apply(csum, delta);

	return csum == 0 ? 0 : updated == 0 ? 0xffff : updated;
}

/* For a field that holds an unfinished pseudo-header sum (not complemented). */
static inline uint16_t csum_apply_unfinished(uint16_t sum, uint16_t delta)
{
	return csum_fold((uint64_t)sum + delta);
}

static inline uint16_t csum_update16(uint16_t csum, uint16_t old_word, uint16_t new_word)
{
	return csum_apply(csum, csum_delta16(old_word, new_word));
}

static inline uint16_t csum_update32(uint16_t csum, uint32_t old_word, uint32_t new_word)
{
	return csum_apply(csum, csum_delta32(old_word, new_word));
}

static inline uint16_t csum_update_ip6(
	uint16_t csum, const uint8_t old_addr[16], const uint8_t new_addr[16])
{
	return csum_apply(csum, csum_delta_ip6(old_addr, new_addr));
}

/* TTL − 1 in an IPv4 header: the checksum that belongs to it. */
static inline uint16_t csum_dec_ttl(uint16_t csum)
{
	uint32_t sum = csum + (uint32_t)RTE_BE16(0x0100);

	return (uint16_t)(sum + (sum >= 0xffff));
}

/* The L4 checksum is unfinished (contract: datapath/pipeline/port.h). */
static inline bool csum_is_unfinished(const struct rte_mbuf *m)
{
	return (m->ol_flags &
		       (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) !=
		0;
}

/*
 * Finishes the unfinished TCP or UDP checksum of a packet in software and clears the flags that
 * asked for it. The pseudo header is taken from the IP header at l2_len as it is now (so after any
 * rewrite), not from the field. l2_len may include a tunnel's outer headers. Nothing to do is
 * success. A super-frame is finished as one packet; segments come from gso_segment(). 0; -EINVAL
 * when metadata and packet disagree (nothing changed). Owner of the mbuf; it must not be shared.
 */
int csum_finish(struct rte_mbuf *m);

/*
 * Writes into the checksum field of an unfinished packet the pseudo-header sum that virtio and the
 * kernel expect there (whole L4 length, also in a super-frame). For a port that takes unfinished
 * checksums, after a rewrite or from a sender that is not trusted. 0 or -EINVAL as csum_finish().
 */
int csum_prepare(struct rte_mbuf *m);

/* IPv4 header checksum at offset l3_off, options included. CSUM_BAD also for a header cut short. */
enum csum_verdict csum_verify_ip4(const struct rte_mbuf *m, uint32_t l3_off);

/*
 * TCP, UDP, ICMP or ICMPv6 checksum of the packet whose IP header (either version) is at l3_off;
 * IPv6 extension headers are walked. Lengths come from the IP header: link padding is not summed.
 * The caller decides what an unfinished packet (csum_is_unfinished()) means; here its field is
 * judged as it stands.
 */
enum csum_verdict csum_verify_l4(const struct rte_mbuf *m, uint32_t l3_off);

#endif
