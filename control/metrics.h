/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics over HTTP, as OpenMetrics or in the older text format, by what is asked for: GET /metrics, and /healthz. Control thread only. */
#ifndef LEAT_METRICS_H
#define LEAT_METRICS_H

#include <stdbool.h>

#include <event2/buffer.h>

#include "control/metrics_format.h"

/* "ADDRESS:PORT", "[v6]:PORT": whether it has that form, with a port from 1 to 65535. */
bool metrics_address_is_valid(const char *text);

/* Takes the TCP address, so that what is wrong with it is known before anything else is started; nobody is let in yet.
 * Descriptor for metrics_start(), or -errno. */
int metrics_bind(const char *text);

/* Listens on the Unix socket, and on tcp_fd (taken over) unless it is negative. The loop must be there. 0 or -errno. */
int metrics_start(const char *path, int tcp_fd);
void metrics_stop(void);

/* Writes the exposition text, in OpenMetrics "# EOF" included. */
void metrics_write(struct evbuffer *out, enum metrics_format format);

#endif
