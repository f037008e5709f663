/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices under ports that port.add made: followed by name when they go, come and are made again, with a line in the log,
 * an event and a count for every change. A port without its device stays, and what stands on it; the node is degraded
 * meanwhile. Also keeps the drop rule of uplinks in place, whatever else is done to the node's nftables. Control thread.
 */
#ifndef LEAT_DEVICES_H
#define LEAT_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/pipeline/port.h"

int devices_init(void);
void devices_fini(void);

/* Whether a port that could not open its device with this error may go without until it appears: at start, and not when the
 * request itself is wrong. */
bool devices_may_wait(const struct port_config *cfg, bool is_replay, int rc);

/* A port came up; the configuration is copied. reason: why it is without its device, "" if it is not. */
void devices_port_came(struct port *port, const struct port_config *cfg, const char *reason);
void devices_port_gone(const struct port *port);

/* Times that the port's link or device has changed. */
uint64_t devices_n_changes(const struct port *port);

/* Why the port is without its device, or NULL. */
const char *devices_missing(const struct port *port);
/* Ports without their device. */
unsigned int devices_n_missing(void);

#endif
