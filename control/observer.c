/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/observer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/capture.h"
#include "control/drop_watch.h"
#include "control/loop.h"
#include "control/observer_text.h"
#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "pmd/portmgr.h"

#define RECEIVE_BURST 64
#define RECEIVE_MAX 1024 /* messages a tick */
#define TRACE_RECORDS_MAX 16000

static struct {
	uint32_t id; /* 0: none yet */
	uint32_t count;
	struct observe_filter filter;
	struct observe_msg *records;
	size_t n, max;
	uint32_t first_packet;
} trace;

static struct observer_mirror mirrors[OBSERVE_MIRRORS_MAX];
static unsigned int n_mirrors;
static bool is_measuring;
static const struct port *leaving; /* still in the table, but not to be named any more */

/* --- one configuration for the workers ---------------------------------------------------------------------------- */

static const struct port *port_here(const char *name)
{
	const struct port *port = port_by_name(name);

	return port != leaving ? port : NULL;
}

static void add_mirrors(struct observe_config *cfg)
{
	for (unsigned int i = 0; i < n_mirrors; i++) {
		const struct port *from = port_here(mirrors[i].from),
				  *to = port_here(mirrors[i].to);

		if (from != NULL && to != NULL)
			cfg->mirrors[cfg->n_mirrors++] = (struct observe_mirror){
				.from = from->id, .to = to->id, .dirs = mirrors[i].dirs
			};
	}
}

/* Installs what is wanted now; the budgets that are left are carried over. */
static void reinstall(bool is_trace_new)
{
	struct observe_config *old = observe_get(), cfg = { 0 };
	uint32_t trace_left = is_trace_new ? trace.count
		: old != NULL ? atomic_load_explicit(&old->trace_left, memory_order_relaxed)
			      : 0;

	if (trace_left > 0) {
		cfg.flags |= OBSERVE_TRACE;
		cfg.trace = trace.filter;
		cfg.trace_left = trace_left;
	}
	capture_fill(&cfg, old);
	drop_watch_fill(&cfg, old);
	add_mirrors(&cfg);
	cfg.flags |= (cfg.n_mirrors > 0 ? OBSERVE_MIRROR : 0) | (is_measuring ? OBSERVE_STAGES : 0);
	if (observe_set(cfg.flags != 0 ? &cfg : NULL) < 0)
		log_err("observer", "no memory for a new configuration");
}

/* --- collecting ----------------------------------------------------------------------------------------------------- */

static void trace_add(const struct observe_msg *msg)
{
	if (trace.n == trace.max) {
		size_t max = trace.max != 0 ? 2 * trace.max : 256;
		struct observe_msg *grown = max <= TRACE_RECORDS_MAX
			? realloc(trace.records, max * sizeof(*grown))
			: NULL;

		if (grown == NULL)
			return;
		trace.records = grown;
		trace.max = max;
	}
	trace.records[trace.n++] = *msg;
}

static unsigned int observer_tick(void)
{
	struct observe_msg msgs[RECEIVE_BURST];
	unsigned int total = 0, n;

	do {
		n = observe_receive(msgs, RECEIVE_BURST);
		for (unsigned int i = 0; i < n; i++) {
			if (msgs[i].trace_id == DROP_WATCH_ID ||
				msgs[i].kind == OBSERVE_MSG_VERDICT)
				drop_watch_add(&msgs[i]);
			else if (msgs[i].kind == OBSERVE_MSG_CAPTURE)
				capture_add(&msgs[i]);
			else
				trace_add(&msgs[i]);
			rte_pktmbuf_free(msgs[i].m);
		}
		total += n;
	} while (n == RECEIVE_BURST && total < RECEIVE_MAX);
	if (total > 0)
		capture_flush();
	return total;
}

void observer_init(void)
{
	loop_add_tick(observer_tick);
}

void observer_fini(void)
{
	capture_stop_all();
	observe_set(NULL);
	free(trace.records);
	trace.records = NULL;
	trace.n = trace.max = 0;
	n_mirrors = 0;
}

/* --- trace ---------------------------------------------------------------------------------------------------------- */

uint32_t observer_trace_start(const struct observe_filter *filter, uint32_t count)
{
	trace.id++;
	trace.count = count;
	trace.filter = *filter;
	trace.n = 0;
	reinstall(true);
	return trace.id;
}

cJSON *observer_trace_show(uint32_t id)
{
	cJSON *result, *packets;
	struct observe_config *cfg = observe_get();
	uint32_t left;

	if (id != trace.id || id == 0)
		return NULL;
	observer_tick();
	left = cfg != NULL && (cfg->flags & OBSERVE_TRACE) != 0
		? atomic_load_explicit(&cfg->trace_left, memory_order_relaxed)
		: 0;
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "id", id);
	cJSON_AddBoolToObject(result, "done", left == 0);
	packets = cJSON_AddArrayToObject(result, "packets");
	for (size_t i = 0; i < trace.n; i++) {
		cJSON *packet, *steps;

		if (trace.records[i].kind != OBSERVE_MSG_TRACE_IN)
			continue;
		packet = cJSON_CreateObject();
		cJSON_AddNumberToObject(packet, "packet", trace.records[i].trace_id);
		steps = cJSON_AddArrayToObject(packet, "steps");
		for (size_t j = i; j < trace.n; j++)
			if (trace.records[j].trace_id == trace.records[i].trace_id)
				cJSON_AddItemToArray(steps, observer_step_json(&trace.records[j]));
		cJSON_AddItemToArray(packets, packet);
	}
	return result;
}

void observer_reinstall(void)
{
	reinstall(false);
}

/* --- mirrors -------------------------------------------------------------------------------------------------------- */

int observer_mirror_add(const char *name, const char *from, const char *to, uint8_t dirs)
{
	struct observer_mirror *mirror = &mirrors[n_mirrors];

	for (unsigned int i = 0; i < n_mirrors; i++)
		if (strcmp(mirrors[i].name, name) == 0)
			return -EEXIST;
	if (n_mirrors == OBSERVE_MIRRORS_MAX)
		return -ENOSPC;
	snprintf(mirror->name, sizeof(mirror->name), "%s", name);
	snprintf(mirror->from, sizeof(mirror->from), "%s", from);
	snprintf(mirror->to, sizeof(mirror->to), "%s", to);
	mirror->dirs = dirs;
	n_mirrors++;
	reinstall(false);
	return 0;
}

int observer_mirror_del(const char *name)
{
	for (unsigned int i = 0; i < n_mirrors; i++) {
		if (strcmp(mirrors[i].name, name) != 0)
			continue;
		memmove(&mirrors[i], &mirrors[i + 1], (n_mirrors - i - 1) * sizeof(mirrors[0]));
		n_mirrors--;
		reinstall(false);
		return 0;
	}
	return -ENOENT;
}

const struct observer_mirror *observer_mirror_at(unsigned int i)
{
	return i < n_mirrors ? &mirrors[i] : NULL;
}

void observer_port_came(void)
{
	if (n_mirrors > 0)
		reinstall(false);
}

void observer_port_gone(const struct port *port)
{
	struct observe_config *cfg = observe_get();

	if (cfg == NULL)
		return;
	observer_tick(); /* what was taken there is written under its name */
	capture_port_gone(port);
	cfg = observe_get();
	if (cfg != NULL && trace.filter.has_port && trace.filter.port_id == port->id)
		atomic_store_explicit(&cfg->trace_left, 0, memory_order_relaxed);
	leaving = port;
	reinstall(false);
	leaving = NULL;
}

void observer_measure_stages(bool is_on)
{
	if (is_measuring == is_on)
		return;
	is_measuring = is_on;
	reinstall(false);
}
