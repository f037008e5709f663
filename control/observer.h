/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traces, captures and mirrors: turns what the API asks for into the workers' one struct observe_config, collects what they send and
 * writes it out. One trace and one capture at a time. Control thread only.
 */
#ifndef LEAT_OBSERVER_H
#define LEAT_OBSERVER_H

#include <cjson/cJSON.h>

#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/port.h"

/* After loop_init() and observe_init(); registers its tick. */
void observer_init(void);
void observer_fini(void);

/* Traces the next count packets that match; the last trace is forgotten. Id of the trace. */
uint32_t observer_trace_start(const struct observe_filter *filter, uint32_t count);

/* {id, done, packets:[{packet, steps:[{time_us, what, text …}]}]}, or NULL for another id than the last. */
cJSON *observer_trace_show(uint32_t id);

struct capture_config {
	const char *file; /* created, 0600; what exists is never overwritten */
	uint8_t point;	  /* enum observe_dir */
	uint16_t port_id; /* PORT_ID_NONE: all */
	int16_t reason;	  /* -1: all */
	uint32_t count;	  /* 0: no limit */
	uint32_t snaplen; /* bytes */
};

/* 0 with *out_id, -EBUSY when one runs, or -errno of opening the file. */
int observer_capture_start(const struct capture_config *cfg, uint32_t *out_id);

/* -ENOENT. Flushes and closes the file. */
int observer_capture_stop(uint32_t id);

/* The running or last capture as an object, or NULL. */
cJSON *observer_capture_describe(void);

/* A mirror is between ports by name: it rests while one of them is not there, and goes on when it is back. */
struct observer_mirror {
	char name[PORT_NAME_LEN], from[PORT_NAME_LEN], to[PORT_NAME_LEN];
	uint8_t dirs; /* enum observe_dir */
};

/* 0, -EEXIST (name), -ENOSPC (OBSERVE_MIRRORS_MAX). */
int observer_mirror_add(const char *name, const char *from, const char *to, uint8_t dirs);
int observer_mirror_del(const char *name);
/* Mirror i in order of adding; NULL at the end. */
const struct observer_mirror *observer_mirror_at(unsigned int i);

/* A port is there; a port is about to go: nothing here means it any more, as its id may be used again. */
void observer_port_came(void);
void observer_port_gone(const struct port *port);

/* Cycles by stage are measured while on (a few cycles a batch). */
void observer_measure_stages(bool is_on);

#endif
