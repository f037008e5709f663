/* SPDX-License-Identifier: BSD-3-Clause */
/* What does not work as configured while leatd runs: for status, the health page and a metric alike. Control thread. */
#ifndef LEAT_DEGRADED_H
#define LEAT_DEGRADED_H

/* Calls fn (may be NULL) with a sentence for each; their number. */
unsigned int degraded_list(void (*fn)(void *arg, const char *sentence), void *arg);

#endif
