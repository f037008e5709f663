/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the API's objects have in common: who refers to whom (so that nothing in use is removed), the host port, and what
 * follows from an object (routes of the node's kernel, connected routes, endpoints of uplinks). Control thread only.
 */
#ifndef LEAT_OBJECTS_H
#define LEAT_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/pipeline/port.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/tunnel.h"

/* Configured objects that stand on a port or a tunnel. */
extern uint32_t object_port_refs[PORT_MAX];
extern uint32_t object_tunnel_refs[TUNNEL_TABLE_MAX];

/* Endpoints, connected routes and kernel routes that a new uplink or host port brings; undone by object_port_down().
 * 0, or -errno with a sentence. */
int object_port_up(struct port *port, char *errbuf, size_t errlen);
void object_port_down(struct port *port);

/* An uplink has another MAC: its device was made again. */
void object_port_mac_changed(const struct port *port);
/* The port has its device or its link again: what the kernel forgot meanwhile (routes) comes back. */
void object_port_resumed(const struct port *port);

/* Adds an endpoint behind the port, touches what the address was reached by before, and routes it in the node's kernel.
 * As endpoint_add(); errbuf has a sentence. */
int object_endpoint_add(
	struct port *port, const struct endpoint_config *cfg, char *errbuf, size_t errlen);
void object_endpoint_del(uint32_t idx);

/* Whether the port's MAC was configured. */
bool object_port_has_mac(const char *name);

/* The host port, or NULL. */
struct port *object_host_port(void);

/* First address of the family on an uplink, NULL if there is none. */
const struct ip_addr *object_uplink_addr(bool is_v4);
/* The uplink that has the address, or NULL. */
struct port *object_uplink_of(const struct ip_addr *addr);

#endif
