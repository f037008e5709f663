/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/packet/ip6ext.h"

#include <netinet/in.h>

#include <rte_ip.h>

#include "datapath/packet/chain.h"

bool ip6ext_walk(const struct rte_mbuf *m, uint32_t l3_off, struct ip6ext *out)
{
	struct rte_ipv6_hdr ip;
	uint32_t end;

	*out = (struct ip6ext){ 0 };
	if (!chain_read(m, l3_off, &ip, sizeof(ip)) || (*(const uint8_t *)&ip >> 4) != 6)
		return false;
	out->proto = ip.proto;
	out->l4_off = l3_off + (uint32_t)sizeof(ip);
	end = out->l4_off + rte_be_to_cpu_16(ip.payload_len);
	if (end > m->pkt_len)
		return false;
	for (int i = 0; i <= IP6EXT_MAX; i++) {
		uint8_t h[8]; /* each extension header has at least 8 bytes */
		uint32_t size;

		switch (out->proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
		case IPPROTO_AH:
			break;
		default:
			return true;
		}
		if (out->l4_off + sizeof(h) > end || !chain_read(m, out->l4_off, h, sizeof(h)))
			return false;
		size = 8 * (1 + (uint32_t)h[1]);
		if (out->proto == IPPROTO_AH)
			size = 4 * (2 + (uint32_t)h[1]);
		if (out->proto == IPPROTO_ROUTING)
			out->has_routing = true;
		if (out->proto == IPPROTO_FRAGMENT) {
			size = 8;
			out->frag_off = out->l4_off;
			out->frag_start = (uint16_t)((h[2] << 8 | h[3]) & 0xfff8);
			if (out->frag_start != 0 || (h[3] & 1) != 0)
				out->is_fragment = true;
		}
		if (size < 8 || out->l4_off + size > end)
			return false;
		out->proto = h[0];
		out->l4_off += size;
		if (out->frag_start != 0)
			return true;
	}
	return false;
}
