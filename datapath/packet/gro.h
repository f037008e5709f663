/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reverse of gso.h for ports that take super-frames: consecutive TCP segments of a connection within one burst
 * become one. What a kernel behind a tap would do per packet (and what one system call per packet costs) is then done
 * per super-frame. Checksums are verified before merging, since a super-frame tells its receiver that they are right.
 * No state between bursts; worker that owns the packets.
 */
#ifndef LEAT_PACKET_GRO_H
#define LEAT_PACKET_GRO_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define GRO_SEGS_MAX 96 /* mbufs in a merged chain */

/*
 * Merges within pkts[0…n-1] (frames without VLAN tag) and closes the gaps in the array; returns how many packets are
 * left. Merged are segments of the same connection that follow each other without a gap, with the same headers but for
 * lengths, sequence number, checksums, IPv4 id and PSH; all but the last of the same size; checksums finished and right;
 * mbufs unshared. Packets of one connection keep their order; everything else stays as it is. The result has the
 * metadata of a super-frame (datapath/pipeline/port.h) and the pseudo-header sum in its checksum field.
 */
uint16_t gro_merge(struct rte_mbuf **pkts, uint16_t n, bool is_v4_wanted, bool is_v6_wanted);

#endif
