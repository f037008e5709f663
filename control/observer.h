/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traces, captures and mirrors: turns what the API asks for into the workers' one struct observe_config, collects what they send and
 * hands it to who asked. One trace at a time; captures: capture.h. Control thread only.
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

/* What captures and streams want of the workers has changed. */
void observer_reinstall(void);

/* Cycles by stage are measured while on (a few cycles a batch). */
void observer_measure_stages(bool is_on);

#endif
