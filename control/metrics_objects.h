/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics of services and rules, of METRICS_OBJECTS_MAX each at most: a scrape has to stay small. Control thread. */
#ifndef LEAT_METRICS_OBJECTS_H
#define LEAT_METRICS_OBJECTS_H

#include <event2/buffer.h>

#define METRICS_OBJECTS_MAX 1000u

void metrics_objects_write(struct evbuffer *out);

/* Gives the memory back. */
void metrics_objects_fini(void);

#endif
