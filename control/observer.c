/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/observer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/loop.h"
#include "control/observer_text.h"
#include "control/pcapng.h"
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

static struct {
	uint32_t id;
	bool is_running;
	struct capture_config cfg;
	char file[4096];
	struct pcapng out;
	uint32_t iface_of[PORT_MAX]; /* interface id + 1 */
	int64_t clock_offset_ns;     /* clock_ns() → time since 1970 */
} cap;

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
static void reinstall(bool is_trace_new, bool is_capture_new)
{
	struct observe_config *old = observe_get(),
			      cfg = { .capture_port = PORT_ID_NONE, .capture_reason = -1 };
	uint32_t trace_left = is_trace_new ? trace.count
		: old != NULL ? atomic_load_explicit(&old->trace_left, memory_order_relaxed)
			      : 0;
	uint32_t capture_left = is_capture_new ? (cap.cfg.count != 0 ? cap.cfg.count : UINT32_MAX)
		: old != NULL ? atomic_load_explicit(&old->capture_left, memory_order_relaxed)
			      : 0;

	if (trace_left > 0) {
		cfg.flags |= OBSERVE_TRACE;
		cfg.trace = trace.filter;
		cfg.trace_left = trace_left;
	}
	if (cap.is_running) {
		cfg.flags |= OBSERVE_CAPTURE;
		cfg.capture_points = cap.cfg.point;
		cfg.capture_port = cap.cfg.port_id;
		cfg.capture_reason = cap.cfg.reason;
		cfg.snaplen = cap.cfg.snaplen;
		cfg.capture_left = capture_left;
	}
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

static void capture_add(const struct observe_msg *msg)
{
	struct port *p = port_at(msg->port_id);
	char comment[160];
	uint8_t flat[65536];
	uint32_t len = msg->m->pkt_len < sizeof(flat) ? msg->m->pkt_len : (uint32_t)sizeof(flat);
	uint32_t *iface = &cap.iface_of[msg->port_id < PORT_MAX ? msg->port_id : 0];

	if (cap.is_running) {
		if (*iface == 0)
			*iface = pcapng_add_iface(&cap.out, p != NULL ? p->name : "?") + 1;
		snprintf(comment, sizeof(comment), "drop: %s (%s)", drop_name(msg->reason),
			drop_help(msg->reason));
		if (pcapng_write(&cap.out, *iface - 1,
			    (uint64_t)((int64_t)msg->time_ns + cap.clock_offset_ns),
			    rte_pktmbuf_read(msg->m, 0, len, flat), len, msg->wire_len,
			    msg->point == OBSERVE_TX,
			    msg->point == OBSERVE_DROP ? comment : NULL) < 0) {
			log_err("capture", "cannot write file=%s, stopped", cap.file);
			observer_capture_stop(cap.id);
		}
	}
	rte_pktmbuf_free(msg->m);
}

static unsigned int observer_tick(void)
{
	struct observe_msg msgs[RECEIVE_BURST];
	unsigned int total = 0, n;

	do {
		n = observe_receive(msgs, RECEIVE_BURST);
		for (unsigned int i = 0; i < n; i++) {
			if (msgs[i].kind == OBSERVE_MSG_CAPTURE)
				capture_add(&msgs[i]);
			else
				trace_add(&msgs[i]);
		}
		total += n;
	} while (n == RECEIVE_BURST && total < RECEIVE_MAX);
	if (total > 0 && cap.is_running) {
		fflush(cap.out.file);
		if (cap.cfg.count != 0 && cap.out.n_pkts >= cap.cfg.count)
			observer_capture_stop(cap.id);
	}
	return total;
}

void observer_init(void)
{
	loop_add_tick(observer_tick);
}

void observer_fini(void)
{
	if (cap.is_running)
		observer_capture_stop(cap.id);
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
	reinstall(true, false);
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

/* --- capture -------------------------------------------------------------------------------------------------------- */

int observer_capture_start(const struct capture_config *cfg, uint32_t *out_id)
{
	struct timespec now;
	int ret;

	if (cap.is_running)
		return -EBUSY;
	ret = pcapng_open(&cap.out, cfg->file, cfg->snaplen);
	if (ret < 0) {
		pcapng_close(&cap.out);
		return ret;
	}
	cap.cfg = *cfg;
	snprintf(cap.file, sizeof(cap.file), "%s", cfg->file);
	cap.cfg.file = cap.file;
	memset(cap.iface_of, 0, sizeof(cap.iface_of));
	clock_gettime(CLOCK_REALTIME, &now);
	cap.clock_offset_ns = (int64_t)now.tv_sec * (int64_t)CLOCK_NS_PER_S + now.tv_nsec -
		(int64_t)clock_ns();
	cap.is_running = true;
	*out_id = ++cap.id;
	reinstall(false, true);
	return 0;
}

int observer_capture_stop(uint32_t id)
{
	if (!cap.is_running || id != cap.id)
		return -ENOENT;
	cap.is_running = false;
	reinstall(false, false);
	return pcapng_close(&cap.out);
}

cJSON *observer_capture_describe(void)
{
	cJSON *object;
	struct port *p;

	if (cap.id == 0)
		return NULL;
	object = cJSON_CreateObject();
	p = port_at(cap.cfg.port_id);
	cJSON_AddNumberToObject(object, "id", cap.id);
	cJSON_AddStringToObject(object, "file", cap.file);
	cJSON_AddStringToObject(object, "point",
		cap.cfg.point == OBSERVE_DROP	      ? "drop"
			: cap.cfg.point == OBSERVE_TX ? "tx"
						      : "rx");
	if (p != NULL)
		cJSON_AddStringToObject(object, "port", p->name);
	if (cap.cfg.reason >= 0)
		cJSON_AddStringToObject(
			object, "reason", drop_name((enum drop_reason)cap.cfg.reason));
	cJSON_AddBoolToObject(object, "running", cap.is_running);
	cJSON_AddNumberToObject(object, "packets", (double)cap.out.n_pkts);
	cJSON_AddNumberToObject(object, "bytes", (double)cap.out.n_bytes);
	cJSON_AddNumberToObject(object, "lost", (double)observe_n_lost());
	return object;
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
	reinstall(false, false);
	return 0;
}

int observer_mirror_del(const char *name)
{
	for (unsigned int i = 0; i < n_mirrors; i++) {
		if (strcmp(mirrors[i].name, name) != 0)
			continue;
		memmove(&mirrors[i], &mirrors[i + 1], (n_mirrors - i - 1) * sizeof(mirrors[0]));
		n_mirrors--;
		reinstall(false, false);
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
		reinstall(false, false);
}

void observer_port_gone(const struct port *port)
{
	struct observe_config *cfg = observe_get();

	if (cfg == NULL)
		return;
	observer_tick(); /* what was taken there is written under its name */
	if (cap.is_running && cap.cfg.port_id == port->id) {
		log_info("capture", "stopped: its port goes file=%s", cap.file);
		observer_capture_stop(cap.id);
	}
	cap.iface_of[port->id] = 0;
	cfg = observe_get();
	if (cfg != NULL && trace.filter.has_port && trace.filter.port_id == port->id)
		atomic_store_explicit(&cfg->trace_left, 0, memory_order_relaxed);
	leaving = port;
	reinstall(false, false);
	leaving = NULL;
}

void observer_measure_stages(bool is_on)
{
	if (is_measuring == is_on)
		return;
	is_measuring = is_on;
	reinstall(false, false);
}
