/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The events "drop" (each discarded packet) and "verdict" (what the layers said of a first packet), with names. Only while somebody
 * subscribes; DROP_WATCH_PER_S of each a second at most, the rest is counted. Control thread only.
 */
#ifndef LEAT_DROP_WATCH_H
#define LEAT_DROP_WATCH_H

#include "datapath/pipeline/observe.h"

#define DROP_WATCH_PER_S 200u
#define DROP_WATCH_ID UINT32_MAX /* among the ids of captures */

/* After loop_init(); registers its tick. */
void drop_watch_init(void);

/* For observer.c: what is wanted, into a new configuration; a worker's message. */
void drop_watch_fill(struct observe_config *cfg, struct observe_config *old);
void drop_watch_add(const struct observe_msg *msg);

#endif
