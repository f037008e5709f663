/* SPDX-License-Identifier: BSD-3-Clause */
/* What a path puts in front of an L3 packet. */
#ifndef LEAT_PIPELINE_FRAME_H
#define LEAT_PIPELINE_FRAME_H

#include <stdbool.h>
#include <string.h>

#include <rte_ether.h>

#include "datapath/packet/vxlan.h"
#include "datapath/table/path.h"

/* Writes the Ethernet header, or puts the tunnel's outer headers in front; m begins with an Ethernet header's room and the inner L3 packet.
 * hash: of the flow, for the outer source port. False: no room (as vxlan_encap()); the packet stays the caller's. */
static inline bool path_frame(
	struct rte_mbuf *m, const struct path *path, bool is_v6, uint64_t hash)
{
	rte_be16_t type = is_v6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);

	if (unlikely(path->kind != PATH_PLAIN))
		return vxlan_encap(m, &path->vxlan, type, (uint32_t)hash, 0);
	memcpy(data, path->macs, sizeof(path->macs));
	memcpy(data + sizeof(path->macs), &type, sizeof(type));
	return true;
}

#endif
