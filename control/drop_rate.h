/* SPDX-License-Identifier: BSD-3-Clause */
/* Events of kind drop-rate: once a second, what each port has discarded since the last one. Control thread only. */
#ifndef LEAT_DROP_RATE_H
#define LEAT_DROP_RATE_H

/* After loop_init() and portmgr_init(). */
void drop_rate_init(void);

#endif
