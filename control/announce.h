/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After a restart: says unasked where an address is, at ports of the kernel's. A question that was asked while leatd was away is lost, and a
 * kernel asks again only a second later, but takes the answer at any time (RFC 826, RFC 4861 s. 7.2.5). Control thread.
 */
#ifndef LEAT_ANNOUNCE_H
#define LEAT_ANNOUNCE_H

#include "datapath/base/addr.h"
#include "datapath/pipeline/port.h"

/* That addr is behind the port's gateway MAC. Does nothing once the gate is open, and at ports without a kernel at the far side. */
void announce_at(const struct port *port, const struct ip_addr *addr);

/* The same of the gateway that every pod has. */
void announce_gateway(const struct port *port);

#endif
