/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tunnel packets that follow each other within one burst, as one UDP super-frame: for ports whose kernel cuts those into datagrams
 * again, or hands them on whole to a neighbour that does. What a system call's packet costs is then paid once for
 * what was one super-frame before it was cut for the tunnel. No state between bursts; worker that owns the packets.
 */
#ifndef LEAT_PACKET_USO_H
#define LEAT_PACKET_USO_H

#include <stdint.h>

#include <rte_mbuf.h>

#define USO_SEGMENTS_MAX                                                                           \
	64 /* datagrams in a super-frame; kernels refuse more of their own sockets, too */

/*
 * Merges within pkts[0…n-1] (untagged frames) and closes the gaps in the array; returns how many packets are left.
 * Merged are neighbours in the array: UDP over IPv4 without options, DF set, or over IPv6 without extension headers, without a
 * checksum or with the one that a tunnel packet of its kind has (vxlan_udp_csum_is_plausible()), equal in TOS, TTL, label,
 * addresses, ports; all but the last of the same size; mbufs unshared. Order stays. The result has the
 * metadata of a super-frame (datapath/pipeline/port.h) and the pseudo-header sum in its checksum field: the datagrams
 * cut from it carry checksums.
 */
uint16_t uso_merge(struct rte_mbuf **pkts, uint16_t n);

#endif
