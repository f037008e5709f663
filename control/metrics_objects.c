/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/metrics_objects.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/metrics_format.h"
#include "control/names.h"
#include "control/usage.h"
#include "datapath/table/service.h"

#define LABELS_LEN 320

/* Counters of a scraper must never go back, but a sum over backends does when one is removed, and the live part of bytes may for a moment.
 * So what was told last stands here, by slot. */
struct told {
	char labels[LABELS_LEN]; /* whose it is: a slot may get another owner */
	struct usage base, last; /* base: of parts that are gone */
};

struct history {
	struct told **told;
	uint32_t len;
};

/* One sample's object while a scrape is written. */
struct row {
	const char *labels;
	struct usage usage;
	unsigned int n_ready;
};

static struct history services, rules;

static struct told *told_at(struct history *h, uint32_t idx, const char *labels)
{
	if (idx >= h->len) {
		uint32_t len = idx + 64;
		struct told **more = reallocarray(h->told, len, sizeof(struct told *));

		if (more == NULL)
			return NULL;
		memset(more + h->len, 0, (len - h->len) * sizeof(struct told *));
		h->told = more;
		h->len = len;
	}
	if (h->told[idx] == NULL)
		h->told[idx] = calloc(1, sizeof(struct told));
	if (h->told[idx] != NULL && strcmp(h->told[idx]->labels, labels) != 0) {
		memset(h->told[idx], 0, sizeof(struct told));
		snprintf(h->told[idx]->labels, LABELS_LEN, "%s", labels);
	}
	return h->told[idx];
}

static void history_fini(struct history *h)
{
	for (uint32_t i = 0; i < h->len; i++)
		free(h->told[i]);
	free(h->told);
	memset(h, 0, sizeof(*h));
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What is to be told now. */
static struct usage forward(struct told *t, struct usage now)
{
	/* connections are exact: fewer of them than before are those of a backend that has gone, with all that it carried */
	if (now.n_conns < t->last.n_conns) {
		t->base.n_conns += t->last.n_conns - now.n_conns;
		t->base.pkts += t->last.pkts - (now.pkts < t->last.pkts ? now.pkts : t->last.pkts);
		t->base.bytes += t->last.bytes -
			(now.bytes < t->last.bytes ? now.bytes : t->last.bytes);
		t->last = now;
	}
	t->last.n_conns = now.n_conns;
	t->last.pkts = larger(t->last.pkts, now.pkts);
	t->last.bytes = larger(t->last.bytes, now.bytes);
	return (struct usage){ t->base.n_conns + t->last.n_conns, t->base.pkts + t->last.pkts,
		t->base.bytes + t->last.bytes };
}

static bool add_row(struct row *rows, unsigned int *n, struct history *h, uint32_t idx,
	const char *labels, struct usage usage)
{
	struct told *t;

	if (*n == METRICS_OBJECTS_MAX)
		return false;
	t = told_at(h, idx, labels);
	if (t == NULL)
		return false;
	rows[*n] = (struct row){ .labels = t->labels, .usage = forward(t, usage) };
	(*n)++;
	return true;
}

static void write_counter(struct evbuffer *out, const char *name, const char *help,
	const struct row *rows, unsigned int n, size_t offset)
{
	metrics_family(out, name, "counter", help);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t value;

		memcpy(&value, (const char *)&rows[i].usage + offset, sizeof(value));
		evbuffer_add_printf(out, "%s_total{%s} %" PRIu64 "\n", name, rows[i].labels, value);
	}
}

static struct usage service_usage(uint32_t idx)
{
	static uint32_t backends[SERVICE_BACKENDS_MAX];
	unsigned int n = service_backends(idx, backends, SERVICE_BACKENDS_MAX);
	struct usage sum = { 0 };

	for (unsigned int i = 0; i < n; i++) {
		struct usage usage = usage_of_backend(backends[i]);

		sum.n_conns += usage.n_conns;
		sum.pkts += usage.pkts;
		sum.bytes += usage.bytes;
	}
	return sum;
}

/* Names have letters, digits and ._:- only: nothing to escape. Returns the number of services. */
static unsigned int write_services(struct evbuffer *out, struct row *rows)
{
	unsigned int n = 0, n_all = 0;
	char labels[LABELS_LEN];

	for (uint32_t idx = service_next(0); idx != SERVICE_NONE; idx = service_next(idx + 1)) {
		n_all++;
		if (n == METRICS_OBJECTS_MAX)
			continue;
		snprintf(labels, sizeof(labels), "service=\"%s\",zone=\"%u\"", service_name(idx),
			service_at(idx)->zone);
		if (add_row(rows, &n, &services, idx, labels, service_usage(idx)))
			rows[n - 1].n_ready = service_n_local_ready(idx);
	}
	write_counter(out, "leat_service_connections", "Connections opened to backends.", rows, n,
		offsetof(struct usage, n_conns));
	write_counter(out, "leat_service_packets", "Packets of connections to backends.", rows, n,
		offsetof(struct usage, pkts));
	write_counter(out, "leat_service_bytes", "Bytes of connections to backends.", rows, n,
		offsetof(struct usage, bytes));
	metrics_family(out, "leat_service_local_ready_backends", "gauge",
		"Ready backends with a weight on this node.");
	for (unsigned int i = 0; i < n; i++)
		evbuffer_add_printf(out, "leat_service_local_ready_backends{%s} %u\n",
			rows[i].labels, rows[i].n_ready);
	metrics_gauge(out, "leat_services", "Services.", n_all);
	return n_all - n;
}

static unsigned int write_rules(struct evbuffer *out, struct row *rows)
{
	unsigned int n = 0, n_all = 0;
	char labels[LABELS_LEN];

	for (uint32_t idx = rule_name_next(0); idx != SLOT_NONE; idx = rule_name_next(idx + 1)) {
		const struct rule_name *name = rule_name_at(idx);

		n_all++;
		if (n == METRICS_OBJECTS_MAX)
			continue;
		if ((name->key.owner & RULE_OWNER_ZONE) != 0)
			snprintf(labels, sizeof(labels), "kind=\"snat\",of=\"%u\",rule=\"%s\"",
				name->key.owner & ~RULE_OWNER_ZONE, name->key.name);
		else
			snprintf(labels, sizeof(labels), "kind=\"policy\",of=\"%s\",rule=\"%s\"",
				policy_at(name->key.owner)->name, name->key.name);
		add_row(rows, &n, &rules, idx, labels, usage_of_rule(name->rule));
	}
	write_counter(out, "leat_rule_connections",
		"Connections that the rule decided. of: its policy, or the zone of a snat rule.",
		rows, n, offsetof(struct usage, n_conns));
	write_counter(out, "leat_rule_packets", "Packets that the rule decided.", rows, n,
		offsetof(struct usage, pkts));
	write_counter(out, "leat_rule_bytes", "Bytes that the rule decided.", rows, n,
		offsetof(struct usage, bytes));
	metrics_gauge(out, "leat_rules", "Rules of policies and of source translation.", n_all);
	return n_all - n;
}

void metrics_objects_write(struct evbuffer *out)
{
	static struct row rows[METRICS_OBJECTS_MAX];
	unsigned int n_services = write_services(out, rows), n_rules = write_rules(out, rows);

	metrics_family(out, "leat_metrics_left_out", "gauge",
		"Objects without metrics of their own, being too many.");
	evbuffer_add_printf(out,
		"leat_metrics_left_out{kind=\"service\"} %u\n"
		"leat_metrics_left_out{kind=\"rule\"} %u\n",
		n_services, n_rules);
}

void metrics_objects_fini(void)
{
	history_fini(&services);
	history_fini(&rules);
}
