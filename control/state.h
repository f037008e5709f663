/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved configuration: store + journal. Loaded at start and replayed as calls; every later change is appended before
 * it is answered. Hostile or damaged files: what is readable is restored, the rest is reported. Control thread only.
 */
#ifndef LEAT_STATE_H
#define LEAT_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "control/store.h"

struct state_counts {
	size_t n_restored[OBJECT_N];
	size_t n_failed;       /* objects that could not be brought back */
	size_t n_bad;	       /* unreadable lines and calls */
	size_t n_write_failed; /* appends and syncs since the start */
};

struct store *state_store(void);
const struct state_counts *state_get_counts(void);

/* Reads dir (which must exist); of what it says only the first classes are in the store then, up to endpoints, so that many services do not
 * keep ports waiting. The loop must be there. 0 or -errno; -EIO etc. only if the file cannot be opened. */
int state_open(const char *dir);
void state_close(void);

/* Loads the rest until end_ns (loop_now_ns()). -EAGAIN: there is more; 0, or -ENOMEM: then leatd must not go on, it would lose objects.
 * state_replay() calls it itself. */
int state_load(uint64_t end_ns);

/* A store without a file, for --check and tests. */
int state_open_memory(void);

/* Brings all objects back, class by class, in slices; then done(), with 0 or why the state could not be loaded. */
void state_replay(void (*done)(int rc));

/* As journal_append(). */
int state_append(const char *line, size_t len, uint64_t *out_ticket);

/* Objects that are still not in effect since the start. */
size_t state_n_failed(void);

/* -errno of the last write to the file if it failed, else 0. */
int state_write_error(void);

/* What is on disk so far; fn is called whenever it has advanced (rc: -errno of a sync that failed). */
uint64_t state_synced(void);
void state_on_synced(void (*fn)(int rc));

#endif
