/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named memory in hugepages that outlives the process: files `leat-INSTANCE-NAME` on hugetlbfs. Control thread.
 */
#ifndef LEAT_BASE_REGION_H
#define LEAT_BASE_REGION_H

#include <stdbool.h>
#include <stddef.h>

struct region {
	void *addr;
	size_t size; /* bytes, rounded up to the page size */
	bool is_adopted; /* an existing file of exactly this size was mapped: look at its content before trusting it */
	bool is_huge;
	char path[256]; /* empty for anonymous memory */
};

/* instance NULL: anonymous ordinary memory (tests, --no-huge). Else a file in the first 2 MiB hugetlbfs mount; an existing file of
 * another size is replaced. node: NUMA node to prefer, -1 any. Pages are populated now. 0, -ENOENT (no hugetlbfs mount),
 * -ENOMEM (not enough free hugepages), -errno. */
int region_open(struct region *r, const char *instance, const char *name, size_t size, int node);

/* Unmaps; keep leaves the file for the next process. */
void region_close(struct region *r, bool keep);

/* Removes every region file of the instance. Number removed. */
int region_purge(const char *instance);

#endif
