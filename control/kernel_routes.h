/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Routes that a routing daemon (FRR, BIRD) installs in the node's kernel through the host port, mirrored into leat: pods
 * then follow them too. Origin "kernel", never saved; what is configured here wins. A route counts when its gateway is
 * in a network that is connected to one of leat's own ports. Control thread.
 */
#ifndef LEAT_KERNEL_ROUTES_H
#define LEAT_KERNEL_ROUTES_H

#include "datapath/pipeline/port.h"

/* Follows the routes through the host port's device. 0 or -errno with a sentence. */
int kernel_routes_start(const struct port *host_port, char *errbuf, size_t errlen);

/* Takes the mirrored routes out again. */
void kernel_routes_stop(void);

/* A connected network has come, or a configured route has gone: routes that had no place may have one now. Cheap when
 * there are none. */
void kernel_routes_retry(void);

/* Takes those that wait for a retry now instead of with the next tick. */
void kernel_routes_settle(void);

/* A port is going: its mirrored routes go. */
void kernel_routes_port_gone(const struct port *port);

#endif
