/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread's event loop (libevent). Work with a budget: clients that used little come first (LOOP_PRIO_LIGHT),
 * floods and long transactions after them (LOOP_PRIO_HEAVY). Control thread only.
 */
#ifndef LEAT_LOOP_H
#define LEAT_LOOP_H

#include <stdint.h>

#include <event2/event.h>

enum { LOOP_PRIO_URGENT, LOOP_PRIO_LIGHT, LOOP_PRIO_HEAVY, LOOP_N_PRIO };

#define LOOP_SLICE_NS 1000000ull /* what one turn of one client or transaction may take */

extern struct event_base *loop_base;

int loop_init(void);
void loop_fini(void);

/* Runs until loop_stop(). */
void loop_run(void);
void loop_stop(void);

/* fn is called on every tick: each millisecond while one of them returns non-zero (work is waiting), else every 50 ms.
 * For housekeeping with bounded work. At most 16. */
typedef unsigned int loop_tick_fn(void);
void loop_add_tick(loop_tick_fn *fn);

/* Makes the next tick come within a millisecond. */
void loop_wake_tick(void);

/* Monotonic nanoseconds of the real clock, for budgets (never warped). */
uint64_t loop_now_ns(void);

/* A persistent readable event on fd. NULL when memory ran out. */
struct event *loop_watch(int fd, event_callback_fn fn, void *arg);

#endif
