/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define TICKS_MAX 16

struct event_base *loop_base;

static struct event *tick_event;
static loop_tick_fn *ticks[TICKS_MAX];
static unsigned int n_ticks;
static bool is_busy;

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void tick_arm(void)
{
	const struct timeval delay = { .tv_usec = is_busy ? 1000 : 50000 };

	evtimer_add(tick_event, &delay);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	unsigned int waiting = 0;

	(void)fd;
	(void)what;
	(void)arg;
	for (unsigned int i = 0; i < n_ticks; i++)
		waiting += ticks[i]() != 0;
	is_busy = waiting > 0;
	tick_arm();
}

int loop_init(void)
{
	struct event_config *config = event_config_new();

	if (config == NULL)
		return -ENOMEM;
	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK);
	/* An event that makes itself active again would otherwise keep the kernel from being asked for others'. */
	event_config_set_max_dispatch_interval(config, NULL, 1, LOOP_PRIO_LIGHT);
	loop_base = event_base_new_with_config(config);
	event_config_free(config);
	if (loop_base == NULL || event_base_priority_init(loop_base, LOOP_N_PRIO) < 0)
		return -ENOMEM;
	tick_event = evtimer_new(loop_base, on_tick, NULL);
	if (tick_event == NULL)
		return -ENOMEM;
	event_priority_set(tick_event, LOOP_PRIO_URGENT);
	n_ticks = 0;
	is_busy = false;
	tick_arm();
	return 0;
}

void loop_fini(void)
{
	if (tick_event != NULL)
		event_free(tick_event);
	if (loop_base != NULL)
		event_base_free(loop_base);
	tick_event = NULL;
	loop_base = NULL;
}

void loop_run(void)
{
	event_base_dispatch(loop_base);
}

void loop_stop(void)
{
	event_base_loopbreak(loop_base);
}

void loop_add_tick(loop_tick_fn *fn)
{
	if (n_ticks < TICKS_MAX)
		ticks[n_ticks++] = fn;
}

void loop_wake_tick(void)
{
	if (is_busy || tick_event == NULL)
		return;
	is_busy = true;
	tick_arm();
}

struct event *loop_watch(int fd, event_callback_fn fn, void *arg)
{
	struct event *event = event_new(loop_base, fd, EV_READ | EV_PERSIST, fn, arg);

	if (event == NULL)
		return NULL;
	event_priority_set(event, LOOP_PRIO_URGENT);
	event_add(event, NULL);
	return event;
}
