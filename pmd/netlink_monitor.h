/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Follows the kernel's routes through one device, for mirroring what a routing daemon (FRR, BIRD) installs there. A full
 * dump first, then notifications; when the kernel's queue overflowed (ENOBUFS) a dump again, whose difference to what
 * the callback was told comes as adds and deletes. Control thread: put nl_route_monitor_fd() into its loop.
 */
#ifndef LEAT_PMD_NETLINK_MONITOR_H
#define LEAT_PMD_NETLINK_MONITOR_H

#include <stdbool.h>

#include "pmd/netlink.h"

struct nl_route_monitor;

/* is_add: new or changed (replace what is there under dst); else gone. From nl_route_monitor_run() only. */
typedef void nl_route_cb(bool is_add, const struct nl_route *route, void *arg);

struct nl_route_monitor_config {
	int netns_fd;	    /* -1: the process's own */
	const char *ifname; /* device; it may not exist yet; NULL: all devices */
	const uint8_t *
		protocols; /* RTPROT_* to follow (NL_PROTO_LEAT never is); none: all but kernel, boot, leat */
	unsigned int n_protocols;
	uint32_t table; /* 0: main */
	nl_route_cb *cb;
	void *arg;
};

/* Opens the monitor. NULL and *out_err = -errno. The first nl_route_monitor_run() delivers the dump. */
struct nl_route_monitor *nl_route_monitor_open(
	const struct nl_route_monitor_config *cfg, int *out_err);
void nl_route_monitor_close(struct nl_route_monitor *m);

/* Readable when nl_route_monitor_run() has work. */
int nl_route_monitor_fd(const struct nl_route_monitor *m);

/* Handles what is there, without blocking for more; calls cb. 0 or -errno (the monitor stays usable; a dump that
 * failed is tried again by the next call). */
int nl_route_monitor_run(struct nl_route_monitor *m);

/* Tells the callback again (is_add) what it was told: for a caller that could not use it then. */
void nl_route_monitor_replay(struct nl_route_monitor *m);

/* Routes told to the callback at the moment. */
unsigned int nl_route_monitor_count(const struct nl_route_monitor *m);

#endif
