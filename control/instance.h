/* SPDX-License-Identifier: BSD-3-Clause */
/* The running instance: its name, folders and lock. Set up once before the loop runs. */
#ifndef LEAT_INSTANCE_H
#define LEAT_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define INSTANCE_NAME_MAX 32 /* fits into socket paths and hugepage names */

struct instance {
	char name[INSTANCE_NAME_MAX + 1];
	char run_dir[64];   /* /run/leat/NAME */
	char state_dir[64]; /* /var/lib/leat/NAME */
	char control_path[96], metrics_path[96];
	int lock_fd;
	time_t started_s;    /* wall clock */
	uint64_t started_ns; /* loop_now_ns() */
	bool is_ready;
};

extern struct instance instance;

/* Fills the names. -EINVAL: not a name of [A-Za-z0-9._-], or too long. */
int instance_set_name(const char *name);

/* Creates the folders and takes the lock. 0; -EBUSY: another leatd of that name runs; -errno. *out_pid: who holds it. */
int instance_lock(int *out_pid);
void instance_unlock(void);

#endif
