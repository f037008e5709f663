/* SPDX-License-Identifier: BSD-3-Clause */
/* Which links of leatd's own namespace come, go and change, as the kernel tells. Control thread. */
#ifndef LEAT_PMD_LINK_MONITOR_H
#define LEAT_PMD_LINK_MONITOR_H

#include <stdbool.h>

#include "pmd/netlink.h"

struct link_monitor;

struct link_monitor_config {
	/* A link is there as told, or has gone (is_gone; only ifindex and name count then). */
	void (*changed)(const struct nl_link *link, bool is_gone, void *arg);
	/* Messages were lost: anything may have changed. */
	void (*lost)(void *arg);
	void *arg;
};

/* NULL and *out_err = -errno on error. Nothing is told of what is there already. */
struct link_monitor *link_monitor_open(const struct link_monitor_config *cfg, int *out_err);
/* Accepts NULL. */
void link_monitor_close(struct link_monitor *m);

/* Readable when there is something to run. */
int link_monitor_fd(const struct link_monitor *m);
/* Calls back for what has come, a bounded number of messages at a time. 0 or -errno. */
int link_monitor_run(struct link_monitor *m);

#endif
