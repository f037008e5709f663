/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Places where another thread may come in between: nothing in a normal build. With -DLEAT_RACE_POINTS (meson -Drace_points=true, and
 * the tests that compile a few files for themselves so) race_hook is called there: a test lets something happen at that very
 * place, a daemon gives its core away now and then (race_yield()).
 */
#ifndef LEAT_BASE_RACE_H
#define LEAT_BASE_RACE_H

enum race_point {
	RACE_COMMIT,  /* a first packet is judged, its connection is not published yet */
	RACE_PUBLISH, /* locked: one of the connection's keys can be found, the other cannot */
	RACE_VERDICT, /* of the verdict on a published flow a part is stored */
	RACE_SWEEP,   /* a connection is free, its keys are still in the index */
	RACE_MAILBOX, /* a message is in the box, its reader is not woken yet */
	RACE_N
};

#ifdef LEAT_RACE_POINTS
/* NULL: nothing. Any thread, more than one at once. Set before the threads start. */
extern void (*race_hook)(enum race_point point);

/* Yields the core, now and then for longer, at random. For race_hook. */
void race_yield(enum race_point point);

#define RACE_POINT(point) (race_hook != NULL ? race_hook(point) : (void)0)
#else
#define RACE_POINT(point) ((void)0)
#endif

#endif
