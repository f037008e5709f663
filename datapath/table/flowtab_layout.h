/* SPDX-License-Identifier: BSD-3-Clause */
/* What of the flow table lies in the hugepage file, and what its files share: for flowtab*.c only. */
#ifndef LEAT_TABLE_FLOWTAB_LAYOUT_H
#define LEAT_TABLE_FLOWTAB_LAYOUT_H

#include <stdint.h>

#include "datapath/table/flowtab.h"

#define FLOWTAB_MAGIC 0x6c656174666c6f77ull /* "leatflow" */
#define FLOWTAB_VERSION 2u

/* First line of the region; everything up to `checksum` is written once and covered by it. */
struct flowtab_header {
	uint64_t magic;
	uint32_t version;
	uint32_t is_v6;
	uint32_t flow_size, conn_size, bucket_size;
	uint32_t n_conns, n_buckets;
	uint64_t seed[4];
	uint32_t checksum;	    /* CRC32C of the above */
	_Atomic uint32_t now_s;	    /* clock of the process that wrote, once a second */
	_Atomic uint32_t n_touched; /* connections beyond are zero */
};

/* Takes a published flow's key out of the index, unless a successor has its place (flowtab_index.c). */
void flowtab_index_delete(struct flowtab *t, uint32_t flow);

#endif
