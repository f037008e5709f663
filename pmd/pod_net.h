/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pod's network configuration inside its namespace, by netlink: address, MTU, routes. Control thread (see
 * netlink.h about the namespace). Every error is a sentence that says what could not be done and where.
 */
#ifndef LEAT_PMD_POD_NET_H
#define LEAT_PMD_POD_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath/base/addr.h"
#include "datapath/pipeline/port.h"

#define POD_NET_ROUTES_MAX 64

struct pod_route {
	struct ip_prefix dst;
	bool has_gw; /* else on-link */
	struct ip_addr gw;
};

struct pod_net {
	const char *ifname;
	struct rte_ether_addr mac;
	uint16_t mtu;
	uint8_t n_addrs;
	const struct ip_prefix_host *addrs;
	/* Default routes by the families of addrs through 169.254.1.1 and fe80::1. */
	bool has_default_gateway;
	unsigned int n_routes;
	const struct pod_route *routes;
	const char *alias; /* NULL: none */
};

/* Configures the link `ifname` of the namespace (netns_fd -1: the process's own): MAC, MTU, lo up, link up, addresses,
 * routes. What is there already stays, also another interface's default route. 0, or -errno with a sentence; the link may then be half configured: the caller
 * deletes it. */
int pod_net_configure(int netns_fd, const struct pod_net *net, char *errbuf, size_t errlen);

/* Adds routes to a configured link. A gateway outside the link's prefixes is taken as on-link. */
int pod_net_add_routes(int netns_fd, const char *ifname, const struct pod_route *routes,
	unsigned int n, char *errbuf, size_t errlen);

/* Whether link, MTU, MAC, addresses and routes are as configured. 0, or -ENOENT / -EINVAL with a sentence that names
 * what is missing or different. */
int pod_net_check(int netns_fd, const struct pod_net *net, char *errbuf, size_t errlen);

/* Kernel routes of the node to a prefix through the host port's device (protocol NL_PROTO_LEAT). src: the node's
 * address for it, or NULL. may_replace: whatever led there, else -EEXIST. del: -ESRCH if it is not there. */
int host_route_add(const char *ifname, const struct ip_prefix *dst, const struct ip_addr *src,
	uint16_t mtu, bool may_replace, char *errbuf, size_t errlen);
int host_route_del(const char *ifname, const struct ip_prefix *dst, char *errbuf, size_t errlen);

/* Calls fn with the destination of every route with NL_PROTO_LEAT through the device, until it returns an error. 0 or -errno. */
int host_routes_list(
	const char *ifname, int (*fn)(const struct ip_prefix *dst, void *arg), void *arg);

/* Removes every route with NL_PROTO_LEAT through the device (ifname NULL: through any). Number removed or -errno. */
int host_routes_purge(const char *ifname);

#endif
