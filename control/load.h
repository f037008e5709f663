/* SPDX-License-Identifier: BSD-3-Clause */
/* The workers' counters as rates over about the last second. Control thread only. */
#ifndef LEAT_LOAD_H
#define LEAT_LOAD_H

#include "datapath/pipeline/batch.h"

struct worker_load {
	struct worker_stats total;  /* since the start */
	struct worker_stats recent; /* difference over the last interval */
	uint64_t recent_ns;	    /* its length, 0.5…1.5 s once leatd has run that long */
	uint64_t recent_cycles;	    /* the same in TSC cycles */
};

/* Takes a sample once a second by a tick; after loop_init(). */
void load_init(void);

/* worker < worker_count. */
void load_read(unsigned int worker, struct worker_load *out);

#endif
