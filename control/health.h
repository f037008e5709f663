/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Health check ports of services: TCP ports of the node on which a load balancer asks, over HTTP and under any path, whether this node
 * has ready backends of a service. Services may share a port; then the one with the fewest answers. Control thread only.
 */
#ifndef LEAT_HEALTH_H
#define LEAT_HEALTH_H

#include <stdint.h>

/* Listens on the port, IPv4 and IPv6, unless somebody's get() does already: a reference. 0, also for port 0, or -errno. */
int health_get(uint16_t port);
void health_put(uint16_t port);

/* The port answers for the service from now on, instead of the one that did; takes over the caller's reference. 0: none. */
void health_bind(uint32_t service, uint16_t port);

/* 0: none. */
uint16_t health_port(uint32_t service);

/* Closes all. */
void health_stop(void);

#endif
