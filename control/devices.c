/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <net/if.h>

#include "control/announce_uplink.h"
#include "control/event.h"
#include "control/instance.h"
#include "control/loop.h"
#include "control/neighd.h"
#include "control/objects.h"
#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "pmd/kind_tap.h"
#include "pmd/link_monitor.h"
#include "pmd/portmgr.h"
#include "pmd/uplink_netdev.h"

#define POLL_NS (200 * CLOCK_NS_PER_MS)	  /* devices that no kernel tells of, and the drop rules */
#define RETRY_NS (1000 * CLOCK_NS_PER_MS) /* between tries to take a device up */
#define RETRY_BLIND_NS (5 * RETRY_NS) /* of one that the kernel does not know: a probe is dear */

struct device {
	struct port_config cfg; /* strings are ours */
	char netdev[IFNAMSIZ];	/* name of the kernel device; "": none */
	int ifindex;		/* of the one that is open; 0: none */
	bool was_up, is_missing;
	uint64_t tried_ns, n_changes;
	char reason[300];
};

static struct device *devices[PORT_MAX];
static struct link_monitor *monitor;
static struct event *event;
static uint64_t polled_ns;
static unsigned int n_missing;

/* --- what is told --- */

static void emit(const struct port *port, const char *action, const char *reason)
{
	cJSON *object;

	if (!event_has_subscribers("port"))
		return;
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "name", port->name);
	if (reason != NULL)
		cJSON_AddStringToObject(object, "reason", reason);
	event_emit_object("port", action, object);
}

static void set_up(struct port *port, struct device *d, bool is_up)
{
	if (d->was_up == is_up)
		return;
	d->was_up = is_up;
	d->n_changes++;
	log_info("port", "link %s name=%s", is_up ? "up" : "down", port->name);
	emit(port, is_up ? "link-up" : "link-down", NULL);
	if (!is_up)
		return;
	announce_uplink(port);
	object_port_resumed(port); /* the kernel forgets routes of a device that is down */
}

static void set_missing(struct port *port, struct device *d, bool is_missing, const char *reason)
{
	bool is_news = strcmp(d->reason, reason) != 0;

	snprintf(d->reason, sizeof(d->reason), "%s", reason);
	if (d->is_missing != is_missing) {
		d->is_missing = is_missing;
		d->n_changes++;
		n_missing += is_missing ? 1u : -1u;
		emit(port, is_missing ? "device-missing" : "device-present",
			is_missing ? reason : NULL);
	} else if (!is_news) {
		return;
	}
	if (is_missing)
		log_warn("port",
			"without its device, degraded until it is there name=%s reason=\"%s\"",
			port->name, reason);
	else
		log_info("port", "device taken up name=%s", port->name);
}

/* --- going and coming --- */

static void device_lost(struct port *port, struct device *d, const char *what)
{
	char reason[100];

	set_up(port, d, false);
	port_suspend(port, &d->cfg);
	d->ifindex = 0;
	d->tried_ns = 0;
	snprintf(reason, sizeof(reason), "interface '%s' %s", d->netdev, what);
	set_missing(port, d, true, reason);
}

static void device_try(struct port *port, struct device *d)
{
	struct rte_ether_addr mac = port->mac;
	char errbuf[sizeof(d->reason)] = "";

	d->tried_ns = loop_now_ns();
	if (port_resume(port, &d->cfg, errbuf, sizeof(errbuf)) < 0) {
		set_missing(port, d, true, errbuf);
		return;
	}
	d->ifindex = d->netdev[0] != '\0' ? (int)if_nametoindex(d->netdev) : 0;
	set_missing(port, d, false, "");
	if (!rte_is_same_ether_addr(&mac, &port->mac))
		object_port_mac_changed(port);
	object_port_resumed(port);
	neighd_port_changed(port);
	announce_uplink(port);
	set_up(port, d, port->ops->is_up(port));
	gen_publish();
}

/* What the kernel says of the device of that name now. */
static void look(struct port *port, struct device *d, const struct nl_link *link)
{
	if (d->ifindex != 0 && link->ifindex != d->ifindex)
		device_lost(port, d, "was made again");
	if (d->is_missing)
		device_try(port, d);
	else
		set_up(port, d, (link->flags & IFF_RUNNING) != 0);
}

static void told(const struct nl_link *link, bool is_gone, void *arg)
{
	(void)arg;
	for (unsigned int id = 0; id < PORT_MAX; id++) {
		struct device *d = devices[id];
		struct port *port = d != NULL ? port_by_id((uint16_t)id) : NULL;

		if (port == NULL || d->netdev[0] == '\0')
			continue;
		if (is_gone && link->ifindex == d->ifindex)
			device_lost(port, d, "is not there");
		else if (!is_gone && strcmp(link->name, d->netdev) == 0)
			look(port, d, link);
		else if (!is_gone && link->ifindex == d->ifindex)
			device_lost(port, d, "has another name");
	}
}

/* Looks for itself: messages were lost, or it is time. */
static void look_at_kernel(struct port *port, struct device *d)
{
	struct nl_link link;
	struct nl *nl;
	int rc;

	if (if_nametoindex(d->netdev) == 0) {
		if (!d->is_missing)
			device_lost(port, d, "is not there");
		return;
	}
	nl = nl_open(-1, &rc);
	if (nl != NULL && nl_link_get(nl, d->netdev, &link) == 0)
		look(port, d, &link);
	nl_close(nl);
}

static void lost(void *arg)
{
	(void)arg;
	for (unsigned int id = 0; id < PORT_MAX; id++) {
		struct port *port = devices[id] != NULL ? port_by_id((uint16_t)id) : NULL;

		if (port != NULL && devices[id]->netdev[0] != '\0')
			look_at_kernel(port, devices[id]);
	}
}

static void retry(struct port *port, struct device *d)
{
	if (loop_now_ns() - d->tried_ns < (d->netdev[0] != '\0' ? RETRY_NS : RETRY_BLIND_NS))
		return;
	d->tried_ns = loop_now_ns();
	/* A tap is made; other devices have to be there, as far as the kernel knows them. */
	if (d->netdev[0] == '\0' || strcmp(d->cfg.kind, "tap") == 0 ||
		if_nametoindex(d->netdev) != 0)
		device_try(port, d);
}

/* --- the drop rule of uplinks on kernel devices --- */

static void guard(const struct port *port, const struct device *d)
{
	static struct log_limit limit = { .burst = 10 };
	int rc = uplink_netdev_guard(d->cfg.device);

	if (rc == 0 || !log_limit_pass(&limit))
		return;
	if (rc > 0)
		log_warn("port", "drop rule was gone from nftables, put back name=%s iface=%s",
			port->name, d->netdev);
	else
		log_err("port", "drop rule cannot be put back name=%s iface=%s error=\"%s\"",
			port->name, d->netdev, strerror(-rc));
}

static unsigned int tick(void)
{
	uint64_t now_ns = loop_now_ns();

	if (now_ns - polled_ns < POLL_NS)
		return 0;
	polled_ns = now_ns;
	for (unsigned int id = 0; id < PORT_MAX; id++) {
		struct device *d = devices[id];
		struct port *port = d != NULL ? port_by_id((uint16_t)id) : NULL;

		if (port == NULL)
			continue;
		if (d->is_missing)
			retry(port, d);
		else if (d->netdev[0] == '\0')
			set_up(port, d, port->ops->is_up(port));
		else if (d->cfg.device != NULL)
			guard(port, d);
	}
	return 0;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	static struct log_limit limit = { .burst = 1 };
	int rc = monitor != NULL ? link_monitor_run(monitor) : 0;

	(void)fd;
	(void)what;
	(void)arg;
	if (rc < 0 && log_limit_pass(&limit))
		log_warn("port", "links cannot be followed: %s", strerror(-rc));
}

/* --- ports --- */

int devices_init(void)
{
	const struct link_monitor_config cfg = { .changed = told, .lost = lost };
	int rc;

	monitor = link_monitor_open(&cfg, &rc);
	if (monitor == NULL)
		return rc;
	event = loop_watch(link_monitor_fd(monitor), on_event, NULL);
	if (event == NULL) {
		link_monitor_close(monitor);
		monitor = NULL;
		return -ENOMEM;
	}
	loop_add_tick(tick);
	return 0;
}

static void device_free(struct device *d)
{
	if (d == NULL)
		return;
	n_missing -= d->is_missing;
	free((char *)d->cfg.device);
	free((char *)d->cfg.ifname);
	free(d);
}

void devices_fini(void)
{
	if (event != NULL)
		event_free(event);
	event = NULL;
	link_monitor_close(monitor);
	monitor = NULL;
	for (unsigned int id = 0; id < PORT_MAX; id++) {
		device_free(devices[id]);
		devices[id] = NULL;
	}
}

bool devices_may_wait(const struct port_config *cfg, bool is_replay, int rc)
{
	return (is_replay || !instance.is_ready) && cfg->role != PORT_ROLE_POD && rc != -EINVAL &&
		(strcmp(cfg->kind, "ethdev") == 0 || strcmp(cfg->kind, "tap") == 0);
}

void devices_port_came(struct port *port, const struct port_config *cfg, const char *reason)
{
	struct device *d = calloc(1, sizeof(*d));

	on_event(-1, 0, NULL); /* what is told of how the device was made is no news */
	if (d == NULL)
		return; /* the port works; it is not followed */
	d->cfg = *cfg;
	d->cfg.device = cfg->device != NULL ? strdup(cfg->device) : NULL;
	d->cfg.ifname = cfg->ifname != NULL ? strdup(cfg->ifname) : NULL;
	d->cfg.socket_path = NULL;
	if (strcmp(cfg->kind, "tap") == 0 && cfg->netns_fd < 0)
		snprintf(d->netdev, sizeof(d->netdev), "%s", tap_ifname(cfg));
	else if (strcmp(cfg->kind, "ethdev") == 0)
		(void)uplink_netdev_iface(cfg->device, d->netdev);
	devices[port->id] = d;
	if (reason[0] != '\0') {
		set_missing(port, d, true, reason);
		return;
	}
	if (d->netdev[0] != '\0')
		d->ifindex = (int)if_nametoindex(d->netdev);
	d->was_up = port->ops->is_up(port);
}

void devices_port_gone(const struct port *port)
{
	device_free(devices[port->id]);
	devices[port->id] = NULL;
}

uint64_t devices_n_changes(const struct port *port)
{
	return devices[port->id] != NULL ? devices[port->id]->n_changes : 0;
}

const char *devices_missing(const struct port *port)
{
	const struct device *d = devices[port->id];

	return d != NULL && d->is_missing ? d->reason : NULL;
}

unsigned int devices_n_missing(void)
{
	return n_missing;
}
