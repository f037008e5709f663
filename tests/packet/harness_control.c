/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread's part that packets depend on: neighbour resolution with its hold queues, run by commands. */
#include <event2/event.h>

#include "control/announce_uplink.h"
#include "control/loop.h"
#include "control/neighd.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"
#include "tests/packet/harness.h"

static unsigned int n_ticks;
static bool is_started;

static unsigned int count_tick(void)
{
	n_ticks++;
	return 0;
}

void harness_control_stop(void)
{
	if (!is_started)
		return;
	neighd_fini();
	loop_fini();
	is_started = false;
}

static const char *control_start(const cJSON *params, cJSON *result)
{
	(void)params;
	(void)result;
	if (loop_init() < 0 || neighd_init() < 0)
		return "neighd";
	announce_uplink_init();
	loop_add_tick(count_tick);
	is_started = true;
	return NULL;
}

/* What waits is handled, and the timers look at the (warped) clock once. */
static const char *control_run(const cJSON *params, cJSON *result)
{
	unsigned int before = n_ticks;

	(void)params;
	if (!is_started)
		return "not started";
	event_base_loop(loop_base, EVLOOP_NONBLOCK);
	loop_wake_tick();
	while (n_ticks == before)
		event_base_loop(loop_base, EVLOOP_ONCE);
	cJSON_AddNumberToObject(result, "requests", (double)neighd_stats.n_requests);
	cJSON_AddNumberToObject(result, "holding", neighd_stats.n_holding);
	return NULL;
}

static const char *control_tunnel(const cJSON *params, cJSON *result)
{
	uint32_t idx = tunnel_by_name(harness_str(params, "name", ""));

	(void)result;
	if (idx == TUNNEL_NONE)
		return "no such tunnel";
	neighd_tunnel_added(idx);
	return NULL;
}

static const char *control_announce(const cJSON *params, cJSON *result)
{
	const struct port *port = port_by_name(harness_str(params, "port", ""));

	(void)result;
	if (port == NULL)
		return "no such port";
	announce_uplink(port);
	return NULL;
}

const struct harness_command harness_control_commands[] = {
	{ "control.start", control_start },
	{ "control.run", control_run },
	{ "control.tunnel", control_tunnel },
	{ "control.announce", control_announce },
	{ NULL, NULL },
};
