/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv6 neighbour discovery (RFC 4861): parse and validate, answer in place, ask. Whether to answer
 * is the caller's decision; for a pod port: never for the pod's own address (is_dad marks its
 * duplicate address detection, RFC 4862 s. 5.4). Frames are untagged, the Ethernet header is at the
 * packet's start. No state; any worker.
 */
#ifndef LEAT_PACKET_ND_H
#define LEAT_PACKET_ND_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "datapath/base/addr.h"
#include "datapath/base/drop.h"

enum nd_type { ND_RS = 133, ND_RA = 134, ND_NS = 135, ND_NA = 136, ND_REDIRECT = 137 };

/* Flags of a neighbour advertisement, as they stand in its first byte (RFC 4861 s. 4.4). */
#define ND_NA_ROUTER 0x80
#define ND_NA_SOLICITED 0x40
#define ND_NA_OVERRIDE 0x20

struct nd_info {
	struct ip_addr src, dst;
	struct ip_addr target; /* NS, NA, redirect; else zero */
	struct rte_ether_addr eth_src, eth_dst;
	struct rte_ether_addr slla; /* source link-layer address option; valid with has_slla */
	struct rte_ether_addr tlla; /* target link-layer address option; valid with has_tlla */
	uint16_t router_lifetime_s; /* RA */
	uint8_t type;		    /* enum nd_type */
	uint8_t na_flags;	    /* NA: ND_NA_* */
	bool has_slla, has_tlla;
	bool is_dad; /* NS from the unspecified address */
};

/* Whether an ICMPv6 type is neighbour discovery's. */
static inline bool nd_is_type(uint8_t icmp_type)
{
	return icmp_type >= ND_RS && icmp_type <= ND_REDIRECT;
}

/*
 * Checks and reads an ND packet by the rules of RFC 4861 s. 6.1, 7.1, 8.1 and RFC 6980 (no
 * fragments, here no extension headers at all): hop limit 255, checksum, code, lengths, options,
 * which addresses go together. A link-layer option that is no unicast MAC is invalid too. DROP_NONE
 * or DROP_ND_INVALID.
 */
enum drop_reason nd_parse(const struct rte_mbuf *m, struct nd_info *out);

/*
 * Turns the solicitation that info was read from into the advertisement "info->target is at mac"
 * with a target link-layer address option: unicast to the solicitor with the S flag, or, to an
 * unspecified source, to all nodes without it (RFC 4861 s. 7.2.4). flags: ND_NA_ROUTER,
 * ND_NA_OVERRIDE (not for a proxy, s. 7.2.8). False, and m unchanged: no room in the first segment.
 */
bool nd_reply(struct rte_mbuf *m, const struct nd_info *info, const struct rte_ether_addr *mac,
	uint8_t flags);

/* New solicitation for target: to its solicited-node multicast group or, to confirm a neighbour, to
 * the MAC at dst. src :: makes it a DAD probe without a link-layer option. NULL: pool empty.
 * RTE_PKTMBUF_HEADROOM free in front; l2_len = 14, l3_len = 40. */
struct rte_mbuf *nd_solicit_create(struct rte_mempool *pool, const struct rte_ether_addr *src_mac,
	const struct ip_addr *src, const struct ip_addr *target, const struct rte_ether_addr *dst);

/* New unsolicited advertisement "target is at mac" to all nodes, from target itself. As above. */
struct rte_mbuf *nd_announce_create(struct rte_mempool *pool, const struct rte_ether_addr *mac,
	const struct ip_addr *target, uint8_t flags);

/* Solicited-node multicast address (RFC 4291 s. 2.7.1) and the MAC of an IPv6 group (RFC 2464 s.
 * 7). */
struct ip_addr nd_solicited_node(const struct ip_addr *target);
struct rte_ether_addr nd_multicast_mac(const struct ip_addr *group);

#endif
