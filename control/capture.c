/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/capture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/capture_stream.h"
#include "control/observer.h"
#include "control/pcapng.h"
#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "pmd/portmgr.h"

struct capture {
	uint32_t id; /* 0: never used */
	bool is_running, is_new;
	struct capture_config cfg;
	char file[4096];
	struct capture_stream *stream; /* NULL: a file */
	struct pcapng out;
	uint64_t n_lost;	/* copies that the reader of the stream was too slow for */
	uint64_t n_lost_before; /* of all, when it began and ended */
	uint64_t n_lost_after;
	uint32_t iface_of[PORT_MAX]; /* interface id + 1 */
	int64_t clock_offset_ns;     /* clock_ns() → time since 1970 */
};

static struct capture captures[OBSERVE_CAPTURES_MAX];
static uint32_t last_id;

static struct capture *find(uint32_t id)
{
	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++)
		if (captures[i].id == id && id != 0)
			return &captures[i];
	return NULL;
}

/* One that is not running: the one that ended longest ago. */
static struct capture *unused(void)
{
	struct capture *found = NULL;

	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++)
		if (!captures[i].is_running && (found == NULL || captures[i].id < found->id))
			found = &captures[i];
	return found;
}

/* The reader of the stream has gone. */
static void on_stream_gone(void *arg)
{
	struct capture *c = arg;

	if (c->is_running)
		capture_stop(c->id);
}

static int open_output(struct capture *c, const struct capture_config *cfg)
{
	FILE *file = NULL;

	if (cfg->fd < 0)
		return pcapng_open(&c->out, cfg->file, cfg->snaplen);
	c->stream = capture_stream_create(cfg->fd, on_stream_gone, c, &file);
	return c->stream != NULL ? pcapng_begin(&c->out, file, cfg->snaplen) : -ENOMEM;
}

int capture_start(const struct capture_config *cfg, uint32_t *out_id)
{
	struct capture *c = unused();
	struct timespec now;
	int ret;

	if (c == NULL) {
		if (cfg->fd >= 0)
			close(cfg->fd);
		return -EBUSY;
	}
	*c = (struct capture){ .cfg = *cfg };
	ret = open_output(c, cfg);
	if (ret < 0) {
		pcapng_close(&c->out);
		capture_stream_close(c->stream);
		c->stream = NULL;
		return ret;
	}
	snprintf(c->file, sizeof(c->file), "%s", cfg->file != NULL ? cfg->file : "-");
	c->cfg.file = c->file;
	clock_gettime(CLOCK_REALTIME, &now);
	c->clock_offset_ns = (int64_t)now.tv_sec * (int64_t)CLOCK_NS_PER_S + now.tv_nsec -
		(int64_t)clock_ns();
	c->n_lost_before = observe_n_lost();
	c->is_running = c->is_new = true;
	c->id = *out_id = ++last_id;
	observer_reinstall();
	return 0;
}

int capture_stop(uint32_t id)
{
	struct capture *c = find(id);
	int ret;

	if (c == NULL || !c->is_running)
		return -ENOENT;
	c->is_running = false;
	c->n_lost_after = observe_n_lost();
	observer_reinstall();
	ret = pcapng_close(&c->out);
	capture_stream_close(c->stream);
	c->stream = NULL;
	return ret;
}

void capture_stop_all(void)
{
	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++)
		if (captures[i].is_running)
			capture_stop(captures[i].id);
	memset(captures, 0, sizeof(captures));
}

static cJSON *describe(const struct capture *c)
{
	static const char *const points[] = { [OBSERVE_RX] = "rx",
		[OBSERVE_TX] = "tx",
		[OBSERVE_RX | OBSERVE_TX] = "both",
		[OBSERVE_DROP] = "drop",
		[OBSERVE_RX | OBSERVE_TX | OBSERVE_DROP] = "all" };
	const struct port *p = port_at(c->cfg.port_id);
	cJSON *object = cJSON_CreateObject();

	cJSON_AddNumberToObject(object, "id", c->id);
	cJSON_AddStringToObject(object, "file", c->file);
	cJSON_AddStringToObject(object, "point", points[c->cfg.points]);
	if (p != NULL)
		cJSON_AddStringToObject(object, "port", p->name);
	if (c->cfg.reason >= 0)
		cJSON_AddStringToObject(
			object, "reason", drop_name((enum drop_reason)c->cfg.reason));
	cJSON_AddBoolToObject(object, "running", c->is_running);
	cJSON_AddNumberToObject(object, "packets", (double)c->out.n_pkts);
	cJSON_AddNumberToObject(object, "bytes", (double)c->out.n_bytes);
	cJSON_AddNumberToObject(object, "lost",
		(double)(c->n_lost + (c->is_running ? observe_n_lost() : c->n_lost_after) -
			c->n_lost_before));
	return object;
}

cJSON *capture_describe(unsigned int i)
{
	uint32_t below = UINT32_MAX;
	const struct capture *newest = NULL;

	for (unsigned int n = 0; n <= i; n++) {
		newest = NULL;
		for (unsigned int k = 0; k < OBSERVE_CAPTURES_MAX; k++)
			if (captures[k].id != 0 && captures[k].id < below &&
				(newest == NULL || captures[k].id > newest->id))
				newest = &captures[k];
		if (newest == NULL)
			return NULL;
		below = newest->id;
	}
	return describe(newest);
}

cJSON *capture_describe_id(uint32_t id)
{
	const struct capture *c = find(id);

	return c != NULL ? describe(c) : NULL;
}

static uint32_t left_of(const struct capture *c, struct observe_config *old)
{
	for (unsigned int i = 0; old != NULL && !c->is_new && i < old->n_captures; i++)
		if (old->captures[i].id == c->id)
			return atomic_load_explicit(&old->captures[i].left, memory_order_relaxed);
	return c->cfg.count != 0 ? c->cfg.count : UINT32_MAX;
}

void capture_fill(struct observe_config *cfg, struct observe_config *old)
{
	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++) {
		struct capture *c = &captures[i];

		if (!c->is_running)
			continue;
		cfg->flags |= OBSERVE_CAPTURE;
		cfg->captures[cfg->n_captures++] = (struct observe_capture){ .id = c->id,
			.points = c->cfg.points,
			.port_id = c->cfg.port_id,
			.reason = c->cfg.reason,
			.snaplen = c->cfg.snaplen,
			.filter = c->cfg.filter,
			.left = left_of(c, old) };
		c->is_new = false;
	}
}

void capture_add(const struct observe_msg *msg)
{
	struct capture *c = find(msg->trace_id);
	struct port *p = port_at(msg->port_id);
	char comment[160];
	uint8_t flat[65536];
	uint32_t len = RTE_MIN(msg->m->pkt_len, (uint32_t)sizeof(flat)), *iface;

	if (c == NULL || !c->is_running)
		return;
	if (c->stream != NULL && !capture_stream_has_room(c->stream)) {
		c->n_lost++;
		return;
	}
	iface = &c->iface_of[msg->port_id < PORT_MAX ? msg->port_id : 0];
	if (*iface == 0)
		*iface = pcapng_add_iface(&c->out, p != NULL ? p->name : "?") + 1;
	snprintf(comment, sizeof(comment), "drop: %s (%s)", drop_name(msg->reason),
		drop_help(msg->reason));
	if (pcapng_write(&c->out, *iface - 1,
		    (uint64_t)((int64_t)msg->time_ns + c->clock_offset_ns),
		    rte_pktmbuf_read(msg->m, 0, len, flat), len, msg->wire_len,
		    msg->point == OBSERVE_TX, msg->point == OBSERVE_DROP ? comment : NULL) < 0) {
		log_err("capture", "cannot write file=%s, stopped", c->file);
		capture_stop(c->id);
	}
}

void capture_flush(void)
{
	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++) {
		struct capture *c = &captures[i];

		if (!c->is_running)
			continue;
		fflush(c->out.file);
		if (c->stream != NULL)
			capture_stream_flush(c->stream);
		if (c->is_running && c->cfg.count != 0 && c->out.n_pkts >= c->cfg.count)
			capture_stop(c->id);
	}
}

void capture_port_gone(const struct port *port)
{
	for (unsigned int i = 0; i < OBSERVE_CAPTURES_MAX; i++) {
		struct capture *c = &captures[i];

		if (c->is_running && c->cfg.port_id == port->id) {
			log_info("capture", "stopped: its port goes file=%s", c->file);
			capture_stop(c->id);
		}
		c->iface_of[port->id] = 0;
	}
}
