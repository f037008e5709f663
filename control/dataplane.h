/* SPDX-License-Identifier: BSD-3-Clause */
/* Start and stop of everything below the control thread: EAL, memory, tables, ports, workers. Main thread. */
#ifndef LEAT_DATAPLANE_H
#define LEAT_DATAPLANE_H

#include <stddef.h>

#include "control/options.h"

/* 0, or -errno with a sentence. On error nothing is left running. The loop must be there. */
int dataplane_start(const struct options *opts, char *errbuf, size_t errlen);

/* The saved configuration is back: from now on packets are judged, adopted flows again. */
void dataplane_open_gate(void);

/* Ports are kept for the next start (persistent taps, vhost sockets). */
void dataplane_stop(void);

#endif
