/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/drop_rate.h"

#include <string.h>

#include "control/event.h"
#include "control/loop.h"
#include "pmd/portmgr.h"

#define INTERVAL_NS 1000000000ull

static struct {
	char name[PORT_NAME_LEN]; /* whose counters these are: ids are used again */
	uint64_t drops[DROP_N];
} last[PORT_MAX];
static uint64_t last_ns;
static bool is_watched;

static void look_at(const struct port *port, uint64_t passed_ns)
{
	bool is_known = strcmp(last[port->id].name, port->name) == 0;
	struct port_stats stats;
	cJSON *event = NULL, *drops = NULL;

	port_stats_sum(port, &stats);
	for (int reason = 1; reason < DROP_N; reason++) {
		uint64_t n = stats.drops[reason] - last[port->id].drops[reason];

		last[port->id].drops[reason] = stats.drops[reason];
		if (!is_known || n == 0 || !is_watched)
			continue;
		if (event == NULL) {
			event = cJSON_CreateObject();
			cJSON_AddStringToObject(event, "kind", "drop-rate");
			cJSON_AddStringToObject(event, "port", port->name);
			drops = cJSON_AddObjectToObject(event, "packets_per_s");
		}
		cJSON_AddNumberToObject(drops, drop_name((enum drop_reason)reason),
			(double)n * 1e9 / (double)passed_ns);
	}
	strcpy(last[port->id].name, port->name);
	if (event != NULL)
		event_emit("drop-rate", event);
}

static unsigned int tick(void)
{
	uint64_t now_ns = loop_now_ns(), passed_ns = now_ns - last_ns;
	bool was_watched = is_watched;

	if (passed_ns < INTERVAL_NS)
		return 0;
	last_ns = now_ns;
	is_watched = event_has_subscribers("drop-rate");
	if (!is_watched)
		return 0;
	if (!was_watched) { /* from now on */
		is_watched = false;
		for (const struct port *port = port_next(NULL); port != NULL;
			port = port_next(port))
			look_at(port, passed_ns);
		is_watched = true;
		return 0;
	}
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		look_at(port, passed_ns);
	return 0;
}

void drop_rate_init(void)
{
	memset(last, 0, sizeof(last));
	last_ns = 0;
	is_watched = false;
	loop_add_tick(tick);
}
