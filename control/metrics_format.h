/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How metrics are written, and in which of the two exposition formats: OpenMetrics 1.0, or the older text format 0.0.4 (counters are families
 * by their full name, there is no type info and no end mark). Control thread only.
 */
#ifndef LEAT_METRICS_FORMAT_H
#define LEAT_METRICS_FORMAT_H

#include <stdint.h>

#include <event2/buffer.h>

enum metrics_format { METRICS_OPENMETRICS, METRICS_TEXT };

/* Of what a scraper takes, by its Accept header (NULL: anything): OpenMetrics if it asks for it no less than for text. RFC 9110, 12.5.1. */
enum metrics_format metrics_format_of(const char *accept);
const char *metrics_content_type(enum metrics_format format);

/* Of what is written from now on. */
void metrics_format_set(enum metrics_format format);

/* Opens a family; its samples follow. type: "counter" (samples are NAME_total), "gauge", "info" (NAME_info). */
void metrics_family(struct evbuffer *out, const char *name, const char *type, const char *help);

/* A family of one sample without labels. */
void metrics_gauge(struct evbuffer *out, const char *name, const char *help, uint64_t value);
void metrics_counter(struct evbuffer *out, const char *name, const char *help, uint64_t value);

void metrics_end(struct evbuffer *out);

#endif
