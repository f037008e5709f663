/* SPDX-License-Identifier: BSD-3-Clause */
/* What a connection carried, for the objects that decided about it: its backend and the rules of both ends. */
#ifndef LEAT_TABLE_USAGE_H
#define LEAT_TABLE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/table/flowtab.h"

struct usage_conn {
	uint32_t backend, rule[2]; /* SLOT_NONE: none, or gone since the connection was judged */
	uint64_t pkts, bytes;	   /* both directions */
};

/* Reads a live connection; false: it concerns none of these objects. Any thread; not a snapshot. */
bool usage_conn_read(const struct flowtab *t, uint32_t conn, struct usage_conn *out);

/* The connection ends: what it carried is added to its objects. Its sweeper, before the record is retired. */
void usage_conn_ended(const struct flowtab *t, uint32_t conn);

#endif
