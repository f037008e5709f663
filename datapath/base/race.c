/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/race.h"

#ifdef LEAT_RACE_POINTS
#include <sched.h>
#include <stdint.h>
#include <time.h>

void (*race_hook)(enum race_point point) = race_yield;

void race_yield(enum race_point point)
{
	static _Thread_local uint32_t seed;
	const struct timespec pause = { .tv_nsec = 20000 };

	if (seed == 0)
		seed = (uint32_t)(uintptr_t)&seed | 1;
	seed = seed * 1664525u + 1013904223u + (uint32_t)point;
	if (seed >> 29 == 0)
		nanosleep(&pause, NULL);
	else if (seed >> 29 < 4)
		sched_yield();
}
#endif
