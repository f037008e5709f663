/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding a pod's network namespace again after a restart. Control thread. */
#ifndef LEAT_NETNS_H
#define LEAT_NETNS_H

#include <stdbool.h>
#include <stdint.h>

struct netns_ref {
	int fd;
	uint64_t inode; /* the namespace's identity while it lives */
	char path[256]; /* where it is bound, or "" */
};

/* Opens a namespace: fd (taken over) if ≥ 0, else path, else (or when what lies there is another one than `inode`) by
 * looking for the inode among bound namespaces and processes. inode 0: any. 0 or -errno. */
int netns_ref_open(struct netns_ref *ref, int fd, const char *path, uint64_t inode);
/* Whether it is the namespace that leatd itself lives in. */
bool netns_is_own(const struct netns_ref *ref);

void netns_ref_close(struct netns_ref *ref);

#endif
