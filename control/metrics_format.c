/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/metrics_format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum metrics_format format;

/* One element of the list: its media range and weight, 0 to 1. */
static double weight_of(const char *element, size_t len)
{
	const char *end = element + len, *q = element;

	while ((q = memchr(q, ';', (size_t)(end - q))) != NULL) {
		q++;
		q += strspn(q, " \t");
		if (q + 2 <= end && strncasecmp(q, "q=", 2) == 0)
			return strtod(q + 2, NULL);
	}
	return 1;
}

enum metrics_format metrics_format_of(const char *accept)
{
	static const char open[] = "application/openmetrics-text", text[] = "text/plain";
	double best_open = 0, best_text = 0;

	while (accept != NULL && *accept != '\0') {
		size_t len = strcspn(accept, ","), skip = strspn(accept, " \t");
		const char *element = accept + skip;
		size_t type_len = strcspn(element, "; \t,");
		double weight = weight_of(accept, len);

		if (type_len == sizeof(open) - 1 && strncasecmp(element, open, type_len) == 0 &&
			weight > best_open)
			best_open = weight;
		if (type_len == sizeof(text) - 1 && strncasecmp(element, text, type_len) == 0 &&
			weight > best_text)
			best_text = weight;
		accept += len;
		accept += *accept == ',';
	}
	return best_open > 0 && best_open >= best_text ? METRICS_OPENMETRICS : METRICS_TEXT;
}

const char *metrics_content_type(enum metrics_format of)
{
	return of == METRICS_OPENMETRICS
		? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		: "text/plain; version=0.0.4; charset=utf-8";
}

void metrics_format_set(enum metrics_format to)
{
	format = to;
}

void metrics_family(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	const char *suffix = "";

	if (format == METRICS_TEXT && strcmp(type, "counter") == 0)
		suffix = "_total";
	if (format == METRICS_TEXT && strcmp(type, "info") == 0) {
		suffix = "_info";
		type = "gauge";
	}
	evbuffer_add_printf(
		out, "# TYPE %s%s %s\n# HELP %s%s %s\n", name, suffix, type, name, suffix, help);
}

void metrics_gauge(struct evbuffer *out, const char *name, const char *help, uint64_t value)
{
	metrics_family(out, name, "gauge", help);
	evbuffer_add_printf(out, "%s %" PRIu64 "\n", name, value);
}

void metrics_counter(struct evbuffer *out, const char *name, const char *help, uint64_t value)
{
	metrics_family(out, name, "counter", help);
	evbuffer_add_printf(out, "%s_total %" PRIu64 "\n", name, value);
}

void metrics_end(struct evbuffer *out)
{
	if (format == METRICS_OPENMETRICS)
		evbuffer_add_printf(out, "# EOF\n");
}
