/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ARP for IPv4 over Ethernet (RFC 826, RFC 5227): parse, answer in place, ask. Whether to answer is
 * the caller's decision; for a pod port: never for the pod's own address (is_probe and
 * is_announcement mark its duplicate address detection). Frames are untagged, the Ethernet header
 * is at the packet's start. No state; any worker.
 */
#ifndef LEAT_PACKET_ARP_H
#define LEAT_PACKET_ARP_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "datapath/base/drop.h"

struct arp_info {
	rte_be32_t sender_ip;
	rte_be32_t target_ip;
	struct rte_ether_addr sender_mac;
	struct rte_ether_addr target_mac; /* a request's means nothing */
	struct rte_ether_addr eth_src;
	struct rte_ether_addr eth_dst;
	bool is_request;      /* else a reply */
	bool is_probe;	      /* sender 0.0.0.0: "does anybody have the target?" */
	bool is_announcement; /* sender = target: "I have it" (gratuitous, request or reply) */
};

/*
 * Checks and reads an ARP packet. DROP_NONE, or DROP_ARP_INVALID: cut short, not IPv4 over
 * Ethernet, neither request nor reply, a sender MAC that is zero, multicast or not the frame's
 * source, addresses that no host has, a reply from 0.0.0.0.
 */
enum drop_reason arp_parse(const struct rte_mbuf *m, struct arp_info *out);

/* Turns the request that out was read from into the reply "info->target_ip is at mac", unicast to
 * its sender. False, and m unchanged: no room in the first segment. */
bool arp_reply(struct rte_mbuf *m, const struct arp_info *info, const struct rte_ether_addr *mac);

/* New request for target_ip, by broadcast or, to confirm a neighbour, to the MAC at dst. src_ip 0
 * makes a probe, src_ip = target_ip an announcement. NULL: pool empty. RTE_PKTMBUF_HEADROOM free in
 * front; l2_len = 14. */
struct rte_mbuf *arp_request_create(struct rte_mempool *pool, const struct rte_ether_addr *src_mac,
	rte_be32_t src_ip, rte_be32_t target_ip, const struct rte_ether_addr *dst);

#endif
