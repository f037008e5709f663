/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/kernel_routes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <linux/rtnetlink.h>

#include "control/loop.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/table/route.h"
#include "pmd/netlink_monitor.h"
#include "pmd/portmgr.h"

static struct nl_route_monitor *monitor;
static struct event *event;
static uint16_t zone;
static bool is_retry_due;

/* The way the kernel's route goes, in leat's terms; false if it has none here. */
static bool translate(const struct nl_route *from, struct route_config *to)
{
	const struct route *way;

	*to = (struct route_config){ .prefix = from->dst,
		.zone = zone,
		.mtu = (uint16_t)from->mtu,
		.origin = ROUTE_ORIGIN_KERNEL };
	if (from->type == RTN_BLACKHOLE || from->type == RTN_PROHIBIT ||
		from->type == RTN_UNREACHABLE) {
		to->kind = from->type == RTN_BLACKHOLE ? ROUTE_BLACKHOLE
			: from->type == RTN_PROHIBIT   ? ROUTE_PROHIBIT
						       : ROUTE_UNREACHABLE;
		return true;
	}
	if (!from->has_gw)
		return false;
	way = route_at(route_lookup(zone, &from->gw));
	if (way->kind != ROUTE_CONNECTED)
		return false;
	to->kind = ROUTE_VIA;
	to->via = from->gw;
	to->port_id = way->port_id;
	return true;
}

static void withdraw(const struct ip_prefix *prefix)
{
	uint32_t idx = route_find(zone, prefix);

	if (idx == ROUTE_IDX_NONE || route_at(idx)->origin != ROUTE_ORIGIN_KERNEL)
		return;
	if (route_del(zone, prefix) < 0)
		is_retry_due = true;
}

static void told(bool is_add, const struct nl_route *route, void *arg)
{
	struct route_config cfg;
	uint32_t idx;

	(void)arg;
	if (!is_add) {
		withdraw(&route->dst);
		return;
	}
	idx = route_find(zone, &route->dst);
	if (idx != ROUTE_IDX_NONE && route_at(idx)->origin != ROUTE_ORIGIN_KERNEL)
		return;
	if (!translate(route, &cfg)) {
		withdraw(&route->dst);
		return;
	}
	if (route_replace(&cfg, NULL) < 0)
		is_retry_due = true;
}

static void run(evutil_socket_t fd, short what, void *arg)
{
	static struct log_limit limit = { .burst = 1 };
	int rc;

	(void)fd;
	(void)what;
	(void)arg;
	rc = nl_route_monitor_run(monitor);
	if (rc < 0 && log_limit_pass(&limit))
		log_warn("kernel", "routes cannot be followed: %s", strerror(-rc));
	gen_publish();
}

static unsigned int tick(void)
{
	if (monitor == NULL || !is_retry_due)
		return 0;
	is_retry_due = false;
	nl_route_monitor_replay(monitor);
	gen_publish();
	return is_retry_due;
}

void kernel_routes_settle(void)
{
	tick();
}

int kernel_routes_start(const struct port *host_port, char *errbuf, size_t errlen)
{
	const struct nl_route_monitor_config cfg = {
		.netns_fd = -1, .ifname = host_port->ifname, .cb = told
	};
	static bool has_tick;
	int rc;

	zone = host_port->zone;
	monitor = nl_route_monitor_open(&cfg, &rc);
	if (monitor == NULL) {
		snprintf(errbuf, errlen, "the kernel's routes cannot be followed: %s",
			strerror(-rc));
		return rc;
	}
	event = loop_watch(nl_route_monitor_fd(monitor), run, NULL);
	if (event == NULL) {
		nl_route_monitor_close(monitor);
		monitor = NULL;
		snprintf(errbuf, errlen, "no memory to follow the kernel's routes");
		return -ENOMEM;
	}
	if (!has_tick)
		loop_add_tick(tick);
	has_tick = true;
	run(-1, 0, NULL);
	return 0;
}

/* Takes mirrored routes out: through the port, or all (PORT_ID_NONE). */
static void withdraw_all(uint16_t port_id)
{
	struct route_cursor cursor = { .zone = zone, .is_one_zone = true };
	uint32_t idx;

	while ((idx = route_next(&cursor)) != ROUTE_IDX_NONE) {
		struct ip_prefix prefix = route_at(idx)->prefix;

		if (route_at(idx)->origin == ROUTE_ORIGIN_KERNEL &&
			(port_id == PORT_ID_NONE || route_at(idx)->port_id == port_id))
			(void)route_del(zone, &prefix);
	}
	gen_publish();
}

void kernel_routes_stop(void)
{
	if (monitor == NULL)
		return;
	event_free(event);
	event = NULL;
	nl_route_monitor_close(monitor);
	monitor = NULL;
	withdraw_all(PORT_ID_NONE);
}

void kernel_routes_retry(void)
{
	if (monitor == NULL || nl_route_monitor_count(monitor) == 0)
		return;
	is_retry_due = true;
	loop_wake_tick();
}

void kernel_routes_port_gone(const struct port *port)
{
	if (monitor == NULL)
		return;
	withdraw_all(port->id);
}
