/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/arp.h"

#include <rte_arp.h>
#include <rte_ip.h>

#include "datapath/packet/chain.h"

struct frame {
	struct rte_ether_hdr eth;
	struct rte_arp_hdr arp;
} __rte_packed __rte_aligned(2);

static_assert(sizeof(struct frame) == 42, "RFC 826 over Ethernet");

/* An address that a host may have: not loopback, multicast, reserved or broadcast. 0.0.0.0/8
 * likewise, except where the caller allows zero itself. */
static bool is_host_ip(rte_be32_t be)
{
	uint32_t ip = rte_be_to_cpu_32(be);

	return ip >> 24 != 0 && ip >> 24 != 127 && ip >> 28 < 14;
}

enum drop_reason arp_parse(const struct rte_mbuf *m, struct arp_info *out)
{
	struct frame f;
	const struct rte_arp_ipv4 *d = &f.arp.arp_data;
	uint16_t op;

	if (!chain_read(m, 0, &f, sizeof(f)))
		return DROP_ARP_INVALID;
	op = rte_be_to_cpu_16(f.arp.arp_opcode);
	if (f.eth.ether_type != RTE_BE16(RTE_ETHER_TYPE_ARP) ||
		f.arp.arp_hardware != RTE_BE16(RTE_ARP_HRD_ETHER) ||
		f.arp.arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) ||
		f.arp.arp_hlen != RTE_ETHER_ADDR_LEN || f.arp.arp_plen != 4 ||
		(op != RTE_ARP_OP_REQUEST && op != RTE_ARP_OP_REPLY))
		return DROP_ARP_INVALID;
	if (!rte_is_valid_assigned_ether_addr(&d->arp_sha) ||
		!rte_is_same_ether_addr(&d->arp_sha, &f.eth.src_addr))
		return DROP_ARP_INVALID;
	if (!is_host_ip(d->arp_tip) || (d->arp_sip != 0 && !is_host_ip(d->arp_sip)) ||
		(d->arp_sip == 0 && op == RTE_ARP_OP_REPLY))
		return DROP_ARP_INVALID;
	*out = (struct arp_info){
		.sender_ip = d->arp_sip,
		.target_ip = d->arp_tip,
		.sender_mac = d->arp_sha,
		.target_mac = d->arp_tha,
		.eth_src = f.eth.src_addr,
		.eth_dst = f.eth.dst_addr,
		.is_request = op == RTE_ARP_OP_REQUEST,
		.is_probe = d->arp_sip == 0,
		.is_announcement = d->arp_sip == d->arp_tip,
	};
	return DROP_NONE;
}

static void frame_fill(struct frame *f, uint16_t op)
{
	f->eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP);
	f->arp.arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER);
	f->arp.arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	f->arp.arp_hlen = RTE_ETHER_ADDR_LEN;
	f->arp.arp_plen = 4;
	f->arp.arp_opcode = rte_cpu_to_be_16(op);
}

bool arp_reply(struct rte_mbuf *m, const struct arp_info *info, const struct rte_ether_addr *mac)
{
	struct frame f = {
		.eth = { .dst_addr = info->sender_mac, .src_addr = *mac },
		.arp.arp_data = {
			.arp_sha = *mac,
			.arp_sip = info->target_ip,
			.arp_tha = info->sender_mac,
			.arp_tip = info->sender_ip,
		},
	};

	frame_fill(&f, RTE_ARP_OP_REPLY);
	return chain_set(m, &f, sizeof(f));
}

struct rte_mbuf *arp_request_create(struct rte_mempool *pool, const struct rte_ether_addr *src_mac,
	rte_be32_t src_ip, rte_be32_t target_ip, const struct rte_ether_addr *dst)
{
	struct frame f = {
		.eth = { .src_addr = *src_mac },
		.arp.arp_data = { .arp_sha = *src_mac, .arp_sip = src_ip, .arp_tip = target_ip },
	};
	struct rte_mbuf *m;

	if (dst != NULL)
		f.eth.dst_addr = *dst;
	else
		memset(&f.eth.dst_addr, 0xff, sizeof(f.eth.dst_addr));
	frame_fill(&f, RTE_ARP_OP_REQUEST);
	m = chain_create(pool, &f, sizeof(f));
	if (m != NULL)
		m->l2_len = sizeof(f.eth);
	return m;
}
