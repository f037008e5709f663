/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sending half of kind_packet.c: bursts in as few system calls as they fit, tunnel packets as UDP super-frames where
 * the device takes them. Packet sockets that bypass the queueing discipline lose what the kernel would have to cut, so the
 * device must do it itself; a super-frame that is refused all the same is sent again as the packets it was made of.
 */
#ifndef LEAT_PMD_PACKET_SEND_H
#define LEAT_PMD_PACKET_SEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/pipeline/port.h"

/* Whether the port's device takes UDP super-frames. */
struct packet_uso {
	const char *ifname; /* outlives this */
	int feature;	    /* netdev_feature_find() */
	_Atomic bool is_on; /* off for good once the kernel or the device has refused */
};

/* Control thread, before the port is published. */
void packet_uso_init(struct packet_uso *uso, int fd, const char *ifname);

/* As port_ops.tx. Any worker. */
uint16_t packet_send(struct port *p, struct packet_uso *uso, int fd, struct port_stats *stats,
	struct rte_mbuf **pkts, uint16_t n);

#endif
