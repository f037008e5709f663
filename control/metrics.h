/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenMetrics over HTTP: GET /metrics, and /healthz. Control thread only. */
#ifndef LEAT_METRICS_H
#define LEAT_METRICS_H

#include <event2/buffer.h>

/* Listens on the Unix socket, and on tcp ("ADDRESS:PORT", "[v6]:PORT") unless it is NULL. 0 or -errno. */
int metrics_start(const char *path, const char *tcp);
void metrics_stop(void);

/* Writes the exposition text (OpenMetrics 1.0, "# EOF" included). */
void metrics_write(struct evbuffer *out);

#endif
