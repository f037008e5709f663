/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling an uplink's neighbours and switches unasked where leatd's addresses are: when a port comes, when its link or device does, when its
 * MAC changes. ARP announcements (RFC 5227 s. 2.3: two, 2 s apart) and unsolicited neighbour advertisements (RFC 4861 s. 7.2.6: at most
 * three, 1 s apart). Timers run on clock_ns(). Control thread only.
 */
#ifndef LEAT_ANNOUNCE_UPLINK_H
#define LEAT_ANNOUNCE_UPLINK_H

#include "datapath/pipeline/port.h"

void announce_uplink_init(void);

/* The port's addresses, and those of the host port that leatd answers for on its link. Uplinks only, for others nothing is done. At most one
 * round a second, however often it is called. */
void announce_uplink(const struct port *port);

/* What an uplink's neighbours know of the zone has changed: the host port came or went. */
void announce_uplink_zone(uint16_t zone);

#endif
