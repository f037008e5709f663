/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses and prefixes. An IPv4 address is held v4-mapped (::ffff:a.b.c.d, RFC 4291 s. 2.5.5.2) so that one
 * type serves both families; bytes are always in network order. Pure functions, any thread.
 */
#ifndef LEAT_BASE_ADDR_H
#define LEAT_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>

struct ip_addr {
	union {
		uint8_t b[16];
		rte_be32_t w[4];
		uint64_t q[2];
	};
};

/* A prefix: host bits are zero. len counts in the address's own family: 0…32 or 0…128. */
struct ip_prefix {
	struct ip_addr addr;
	uint8_t len;
};

#define IP4_MTU_MIN 68u	  /* RFC 791: every link carries that */
#define IP6_MTU_MIN 1280u /* RFC 8200 s. 5 */

#define IP_ADDR_STRLEN 48
#define IP_PREFIX_STRLEN 56
#define MAC_STRLEN 18

static inline struct ip_addr ip_from_v4(rte_be32_t v4)
{
	return (struct ip_addr){ .w = { 0, 0, RTE_BE32(0xffff), v4 } };
}

static inline bool ip_is_v4(const struct ip_addr *a)
{
	return a->q[0] == 0 && a->w[2] == RTE_BE32(0xffff);
}

static inline rte_be32_t ip_v4(const struct ip_addr *a)
{
	return a->w[3];
}

static inline bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

static inline bool ip_is_zero(const struct ip_addr *a)
{
	return (a->q[0] == 0 && a->q[1] == 0) || (ip_is_v4(a) && a->w[3] == 0);
}

/* The gateway that every pod sees on its link: leatd itself, 169.254.1.1 or fe80::1. Nobody else's on any port. */
static inline struct ip_addr ip_gateway(bool is_v6)
{
	return is_v6 ? (struct ip_addr){ .b = { 0xfe, 0x80, [15] = 1 } }
		     : ip_from_v4(RTE_BE32(0xa9fe0101));
}

static inline bool ip_is_gateway(const struct ip_addr *a)
{
	struct ip_addr gateway = ip_gateway(!ip_is_v4(a));

	return ip_eq(a, &gateway);
}

static inline bool ip_is_v6_link_local(const struct ip_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* Text forms. Parsers return 0 or -EINVAL and accept nothing but the exact form (no blanks, no port).
 * ip_prefix_parse takes "a/len", and a bare address as a host prefix; with host bits set it is -EINVAL. */
int ip_parse(const char *text, struct ip_addr *out);
int ip_prefix_parse(const char *text, struct ip_prefix *out);
int mac_parse(const char *text, struct rte_ether_addr *out);

/* Formatters write at most the STRLEN above, terminated, and return buf. */
char *ip_format(const struct ip_addr *a, char buf[IP_ADDR_STRLEN]);
char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_PREFIX_STRLEN]);
char *mac_format(const struct rte_ether_addr *mac, char buf[MAC_STRLEN]);

/* Whether the prefix covers the address; families must match. */
bool ip_prefix_covers(const struct ip_prefix *p, const struct ip_addr *a);

/* Zeroes the bits behind len. */
void ip_prefix_mask(struct ip_prefix *p);

/* A pod's MAC: 0a:58 + IPv4 (BEHAVIOURS F10), or 0a:58 + 4 bytes of a hash of the IPv6 address. */
struct rte_ether_addr mac_from_ip(const struct ip_addr *a);

#endif
