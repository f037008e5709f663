/* SPDX-License-Identifier: BSD-3-Clause */
/* All configuration tables of the process, in the order in which they need each other. Control thread, no workers yet or no more. */
#ifndef LEAT_TABLE_TABLES_H
#define LEAT_TABLE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Fragments of datagrams on their way through. Workers. */
extern struct fragtab *tables_fragments;

/* max_routes, lpm_max_bytes: as route_init(), 0 for the defaults. 0, or -errno with *out_what the table that could not be made
 * (static); then nothing is left behind. */
int tables_init(uint32_t max_routes, size_t lpm_max_bytes, const char **out_what);

/* After the last reader has gone. */
void tables_fini(void);

#endif
