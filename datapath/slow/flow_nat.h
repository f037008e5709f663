/* SPDX-License-Identifier: BSD-3-Clause */
/* A flow's NAT program applied to a packet with headers of the usual length: TCP, UDP or echo behind 20 or 40 bytes. */
#ifndef LEAT_SLOW_FLOW_NAT_H
#define LEAT_SLOW_FLOW_NAT_H

#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>

#include "datapath/packet/csum.h"
#include "datapath/table/flowtab.h"

#define NAT_L3_OFF 14u

/* The transport checksum's place, and how the program changes it. An unfinished one covers addresses only. */
static inline void nat_l4_apply(
	uint8_t *l4, uint8_t proto, uint16_t l3_delta, uint16_t l4_delta, bool is_unfinished)
{
	unsigned int at = proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2;
	uint16_t csum;

	memcpy(&csum, l4 + at, 2);
	if (unlikely(is_unfinished))
		csum = csum_apply_unfinished(csum, l3_delta);
	else if (proto == IPPROTO_UDP)
		csum = csum_apply_udp(csum, l4_delta);
	else
		csum = csum_apply(csum, l4_delta);
	memcpy(l4 + at, &csum, 2);
}

/* An ICMP query has its identifier behind type, code and checksum. */
static inline void nat_ports_apply(uint8_t *l4, uint8_t kind, rte_be16_t sport, rte_be16_t dport)
{
	if (likely(kind == FLOW_KEY_L4)) {
		memcpy(l4, &sport, 2);
		memcpy(l4 + 2, &dport, 2);
	} else if (flow_key_kind_has_ident(kind)) {
		memcpy(l4 + 4, &sport, 2);
	}
}

static inline void nat4_apply(uint8_t *data, const struct flow4 *f, bool is_unfinished)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + NAT_L3_OFF);
	uint8_t *l4 = (uint8_t *)(ip + 1);

	ip->src_addr = f->new_src;
	ip->dst_addr = f->new_dst;
	ip->hdr_checksum = csum_apply(ip->hdr_checksum, f->l3_delta);
	nat_ports_apply(l4, f->key.kind, f->new_sport, f->new_dport);
	nat_l4_apply(l4, f->key.proto, f->l3_delta, f->l4_delta, is_unfinished);
}

static inline void nat6_apply(uint8_t *data, const struct flow6 *f, bool is_unfinished)
{
	struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(data + NAT_L3_OFF);
	uint8_t *l4 = (uint8_t *)(ip + 1);

	memcpy(ip->src_addr, f->new_src, 16);
	memcpy(ip->dst_addr, f->new_dst, 16);
	nat_ports_apply(l4, f->key.kind, f->new_sport, f->new_dport);
	nat_l4_apply(l4, f->key.proto, f->l3_delta, f->l4_delta, is_unfinished);
}

#endif
