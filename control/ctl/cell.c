/* SPDX-License-Identifier: BSD-3-Clause */
/* Values as a person reads them: 12.3M instead of 12345678, 2h5m instead of 7500, tcp instead of 6, never JSON. */
#include "control/ctl/cell.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);

	return len >= tail && strcmp(text + len - tail, end) == 0;
}

bool cell_is_counter(const char *member)
{
	static const char *const ends[] = { "packets", "bytes", "connections", "hits", "slow",
		"new_conns", "rejudged", "rechecks", "cycles", "sleeps", "slept_ms", "calls",
		"exhausted" };

	if (strncmp(member, "max_", 4) == 0)
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (ends_with(member, ends[i]))
			return true;
	return false;
}

static bool is_amount(const char *member)
{
	return cell_is_counter(member) || ends_with(member, "_per_s") ||
		ends_with(member, "_pps") || ends_with(member, "_bps") ||
		ends_with(member, "conns") || ends_with(member, "_per_packet");
}

static bool is_span(const char *member)
{
	return ends_with(member, "_s") && !ends_with(member, "_per_s") &&
		!ends_with(member, "started_s");
}

char *cell_amount(double value)
{
	static const char units[] = " KMGTPE";
	unsigned int unit = 0;
	char *text = NULL;
	int n;

	while (fabs(value) >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	if (unit == 0)
		n = value == trunc(value) ? asprintf(&text, "%.0f", value)
					  : asprintf(&text, "%.2f", value);
	else
		n = asprintf(&text, "%.*f%c",
			value < 9.995		? 2
				: value < 99.95 ? 1
						: 0,
			value, units[unit]);
	return n >= 0 ? text : NULL;
}

/* "5s", "2h5m", "3d4h": two units say enough. */
static char *span(double value_s)
{
	static const struct {
		const char *name;
		long s;
	} units[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };
	long s = (long)value_s;
	char *text = NULL;
	int n = -1;

	for (size_t i = 0; i < 3 && n < 0; i++)
		if (s >= units[i].s)
			n = s % units[i].s >= units[i + 1].s
				? asprintf(&text, "%ld%s%ld%s", s / units[i].s, units[i].name,
					  s % units[i].s / units[i + 1].s, units[i + 1].name)
				: asprintf(&text, "%ld%s", s / units[i].s, units[i].name);
	if (n < 0)
		n = asprintf(&text, "%lds", s);
	return n >= 0 ? text : NULL;
}

static char *number(const char *member, double value)
{
	char *text = NULL;

	if (strcmp(member, "proto") == 0)
		return strdup(cell_proto((int)value));
	if (is_amount(member))
		return cell_amount(value);
	if (is_span(member))
		return span(value);
	if (value == trunc(value) && fabs(value) < 1e15)
		return asprintf(&text, "%.0f", value) >= 0 ? text : NULL;
	return asprintf(&text, "%.2f", value) >= 0 ? text : NULL;
}

const char *cell_proto(int proto)
{
	static char other[12];

	switch (proto) {
	case 1:
		return "icmp";
	case 6:
		return "tcp";
	case 17:
		return "udp";
	case 58:
		return "icmpv6";
	case 132:
		return "sctp";
	default:
		snprintf(other, sizeof(other), "%d", proto);
		return other;
	}
}

/* Members of an object, or items of a list, between commas. What has no name of its own in a list needs none: "10.0.0.1:80". */
static char *joined(const cJSON *value)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	const cJSON *item;

	if (out == NULL)
		return NULL;
	cJSON_ArrayForEach(item, value) {
		const char *member = item->string != NULL ? item->string : "";
		char *part = cell_text(member, item);

		fprintf(out, "%s%s%s%s", item != value->child ? "," : "",
			cJSON_IsObject(value) ? member : "", cJSON_IsObject(value) ? "=" : "",
			part != NULL ? part : "");
		free(part);
	}
	fclose(out);
	return text;
}

/* An item of a list of objects, by its values. */
static char *values_joined(const cJSON *object)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	const cJSON *item;
	bool is_first = true;

	if (out == NULL)
		return NULL;
	cJSON_ArrayForEach(item, object) {
		char *part = cell_text(item->string, item);

		fprintf(out, "%s%s", is_first ? "" : ":", part != NULL ? part : "");
		is_first = false;
		free(part);
	}
	fclose(out);
	return text;
}

static char *objects_joined(const cJSON *list)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	const cJSON *item;

	if (out == NULL)
		return NULL;
	cJSON_ArrayForEach(item, list) {
		char *part = cJSON_IsObject(item) ? values_joined(item) : cell_text("", item);

		fprintf(out, "%s%s", item != list->child ? "," : "", part != NULL ? part : "");
		free(part);
	}
	fclose(out);
	return text;
}

char *cell_text(const char *member, const cJSON *value)
{
	if (value == NULL || cJSON_IsNull(value))
		return strdup("-");
	if (cJSON_IsString(value))
		return strdup(value->valuestring[0] != '\0' ? value->valuestring : "-");
	if (cJSON_IsBool(value))
		return strdup(cJSON_IsTrue(value) ? "yes" : "no");
	if (cJSON_IsNumber(value))
		return number(member, value->valuedouble);
	if (value->child == NULL)
		return strdup("-");
	return cJSON_IsArray(value) ? objects_joined(value) : joined(value);
}
