/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/nd.h"

#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"

#define OPT_SLLA 1
#define OPT_TLLA 2
#define L4_OFF (RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv6_hdr))
#define OPTIONS_MAX 64 /* walked; a longer list is refused */

static const struct ip_addr all_nodes = { .b = { 0xff, 0x02, [15] = 1 } };

struct headers {
	struct rte_ether_hdr eth;
	struct rte_ipv6_hdr ip;
} __rte_packed __rte_aligned(2);

/* NS and NA with one link-layer address option. */
struct message {
	uint8_t type;
	uint8_t code;
	uint16_t csum;
	uint8_t flags;
	uint8_t reserved[3];
	struct ip_addr target;
	uint8_t opt_type;
	uint8_t opt_len8;
	struct rte_ether_addr opt_mac;
} __rte_packed __rte_aligned(2);

struct frame {
	struct headers h;
	struct message msg;
} __rte_packed __rte_aligned(2);

static_assert(sizeof(struct frame) == 14 + 40 + 32, "RFC 4861 s. 4.3, 4.4");

static bool is_multicast(const struct ip_addr *a)
{
	return a->b[0] == 0xff;
}

static bool is_unspecified(const struct ip_addr *a)
{
	return a->q[0] == 0 && a->q[1] == 0;
}

struct ip_addr nd_solicited_node(const struct ip_addr *target)
{
	struct ip_addr a = { .b = { 0xff, 0x02, [11] = 1, [12] = 0xff } };

	memcpy(&a.b[13], &target->b[13], 3);
	return a;
}

struct rte_ether_addr nd_multicast_mac(const struct ip_addr *group)
{
	struct rte_ether_addr mac = { .addr_bytes = { 0x33, 0x33 } };

	memcpy(&mac.addr_bytes[2], &group->b[12], 4);
	return mac;
}

/* Bytes of each message before its options; 0: not ND. */
static uint32_t fixed_len(uint8_t type)
{
	switch (type) {
	case ND_RS:
		return 8;
	case ND_RA:
		return 16;
	case ND_NS:
	case ND_NA:
		return 24;
	case ND_REDIRECT:
		return 40;
	default:
		return 0;
	}
}

static bool options_parse(const struct rte_mbuf *m, uint32_t off, uint32_t end, struct nd_info *out)
{
	for (int i = 0; off < end; i++) {
		uint8_t opt[8];
		uint32_t len;

		if (i == OPTIONS_MAX || end - off < sizeof(opt) ||
			!chain_read(m, off, opt, sizeof(opt)))
			return false;
		len = 8u * opt[1];
		if (len == 0 || len > end - off)
			return false;
		if (opt[0] == OPT_SLLA || opt[0] == OPT_TLLA) {
			struct rte_ether_addr mac;

			memcpy(&mac, opt + 2, sizeof(mac));
			if (len != 8 || !rte_is_valid_assigned_ether_addr(&mac))
				return false;
			if (opt[0] == OPT_SLLA) {
				out->slla = mac;
				out->has_slla = true;
			} else {
				out->tlla = mac;
				out->has_tlla = true;
			}
		}
		off += len;
	}
	return true;
}

/* Which addresses go together, by type. */
static bool addresses_fit(const struct nd_info *nd)
{
	const struct ip_addr group = nd_solicited_node(&nd->target);

	switch (nd->type) {
	case ND_RS:
		return !is_unspecified(&nd->src) || !nd->has_slla;
	case ND_RA:
		return ip_is_v6_link_local(&nd->src);
	case ND_NS:
		if (is_multicast(&nd->target) || is_unspecified(&nd->target))
			return false;
		return !is_unspecified(&nd->src) || (!nd->has_slla && ip_eq(&nd->dst, &group));
	case ND_NA:
		if (is_multicast(&nd->target) || is_unspecified(&nd->target))
			return false;
		return !is_multicast(&nd->dst) || (nd->na_flags & ND_NA_SOLICITED) == 0;
	case ND_REDIRECT:
		return ip_is_v6_link_local(&nd->src);
	default:
		return false;
	}
}

enum drop_reason nd_parse(const struct rte_mbuf *m, struct nd_info *out)
{
	struct headers h;
	uint8_t body[24]; /* the fixed part as far as it is read */
	uint32_t len, fixed;

	if (!chain_read(m, 0, &h, sizeof(h)) || h.eth.ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV6) ||
		(*(const uint8_t *)&h.ip >> 4) != 6 || h.ip.proto != IPPROTO_ICMPV6 ||
		h.ip.hop_limits != 255)
		return DROP_ND_INVALID;
	len = rte_be_to_cpu_16(h.ip.payload_len);
	if (len < 8 || len > m->pkt_len - L4_OFF || !chain_read(m, L4_OFF, body, 8))
		return DROP_ND_INVALID;
	fixed = fixed_len(body[0]);
	if (fixed == 0 || len < fixed || body[1] != 0 ||
		!chain_read(m, L4_OFF, body, RTE_MIN(fixed, (uint32_t)sizeof(body))) ||
		csum_verify_l4(m, RTE_ETHER_HDR_LEN) != CSUM_OK)
		return DROP_ND_INVALID;
	*out = (struct nd_info){
		.eth_src = h.eth.src_addr,
		.eth_dst = h.eth.dst_addr,
		.type = body[0],
	};
	memcpy(&out->src, h.ip.src_addr, 16);
	memcpy(&out->dst, h.ip.dst_addr, 16);
	if (out->type >= ND_NS)
		memcpy(&out->target, body + 8, 16);
	if (out->type == ND_NA)
		out->na_flags = body[4] & (ND_NA_ROUTER | ND_NA_SOLICITED | ND_NA_OVERRIDE);
	if (out->type == ND_RA)
		out->router_lifetime_s = (uint16_t)(body[6] << 8 | body[7]);
	out->is_dad = out->type == ND_NS && is_unspecified(&out->src);
	if (is_multicast(&out->src) || is_unspecified(&out->dst) ||
		(is_unspecified(&out->src) && out->type != ND_NS && out->type != ND_RS) ||
		!options_parse(m, L4_OFF + fixed, L4_OFF + len, out) || !addresses_fit(out))
		return DROP_ND_INVALID;
	return DROP_NONE;
}

/* Fills in everything but the message's own fields; len_msg bytes of the message are sent. */
static void frame_finish(
	struct frame *f, const struct ip_addr *src, const struct ip_addr *dst, uint16_t msg_len)
{
	f->h.eth.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6);
	f->h.ip.vtc_flow = RTE_BE32(0x60000000);
	f->h.ip.payload_len = rte_cpu_to_be_16(msg_len);
	f->h.ip.proto = IPPROTO_ICMPV6;
	f->h.ip.hop_limits = 255;
	memcpy(f->h.ip.src_addr, src->b, 16);
	memcpy(f->h.ip.dst_addr, dst->b, 16);
	f->msg.csum = 0;
	f->msg.csum = (uint16_t)~csum_fold(csum_add(
		csum_pseudo_ip6(src->b, dst->b, IPPROTO_ICMPV6, msg_len), &f->msg, msg_len));
}

static void advert_fill(struct frame *f, const struct ip_addr *target,
	const struct rte_ether_addr *mac, uint8_t flags)
{
	f->h.eth.src_addr = *mac;
	f->msg = (struct message){
		.type = ND_NA,
		.flags = flags,
		.target = *target,
		.opt_type = OPT_TLLA,
		.opt_len8 = 1,
		.opt_mac = *mac,
	};
}

bool nd_reply(struct rte_mbuf *m, const struct nd_info *info, const struct rte_ether_addr *mac,
	uint8_t flags)
{
	const struct ip_addr *dst = info->is_dad ? &all_nodes : &info->src;
	struct frame f;

	flags &= (uint8_t)~ND_NA_SOLICITED;
	advert_fill(&f, &info->target, mac, info->is_dad ? flags : flags | ND_NA_SOLICITED);
	f.h.eth.dst_addr = info->is_dad ? nd_multicast_mac(&all_nodes) : info->eth_src;
	frame_finish(&f, &info->target, dst, sizeof(f.msg));
	return chain_set(m, &f, sizeof(f));
}

static struct rte_mbuf *frame_create(struct rte_mempool *pool, const struct frame *f, uint16_t len)
{
	struct rte_mbuf *m = chain_create(pool, f, len);

	if (m != NULL) {
		m->l2_len = sizeof(f->h.eth);
		m->l3_len = sizeof(f->h.ip);
	}
	return m;
}

struct rte_mbuf *nd_solicit_create(struct rte_mempool *pool, const struct rte_ether_addr *src_mac,
	const struct ip_addr *src, const struct ip_addr *target, const struct rte_ether_addr *dst)
{
	const struct ip_addr group = nd_solicited_node(target);
	const bool is_dad = is_unspecified(src);
	uint16_t msg_len = is_dad ? 24 : sizeof(struct message);
	struct frame f = {
		.h.eth = { .src_addr = *src_mac, .dst_addr = nd_multicast_mac(&group) },
		.msg = {
			.type = ND_NS,
			.target = *target,
			.opt_type = OPT_SLLA,
			.opt_len8 = 1,
			.opt_mac = *src_mac,
		},
	};

	if (dst != NULL)
		f.h.eth.dst_addr = *dst;
	frame_finish(&f, src, dst != NULL ? target : &group, msg_len);
	return frame_create(pool, &f, (uint16_t)(sizeof(f.h) + msg_len));
}

struct rte_mbuf *nd_announce_create(struct rte_mempool *pool, const struct rte_ether_addr *mac,
	const struct ip_addr *target, uint8_t flags)
{
	struct frame f;

	advert_fill(&f, target, mac, flags & (uint8_t)~ND_NA_SOLICITED);
	f.h.eth.dst_addr = nd_multicast_mac(&all_nodes);
	frame_finish(&f, target, &all_nodes, sizeof(f.msg));
	return frame_create(pool, &f, sizeof(f));
}
