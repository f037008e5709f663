/* SPDX-License-Identifier: BSD-3-Clause */
/* The pod's network namespace. */
#ifndef LEAT_CNI_NETNS_H
#define LEAT_CNI_NETNS_H

#include "cni/cni.h"

/* Opens CNI_NETNS: a network namespace other than our own. The descriptor, or -1 with code 4. */
int cni_netns_open(const char *path, struct cni_error *err);

/* What CHECK expects of an interface. */
struct cni_expected {
	const char *ifname, *mac; /* mac NULL: any */
	uint32_t
		mtu; /* the interface's is not to be larger (plugins that lower it do not tell); 0: any */
	struct cni_addr ips[CNI_ADDRS_MAX];
	struct cni_addr routes[CNI_ROUTES_MAX];
	unsigned int n_ips, n_routes;
};

/* Compares with what is in the namespace. The process is in that namespace afterwards. 0, or -1 with code 121 naming
 * what is missing, or 5. */
int cni_netns_check(int netns_fd, const struct cni_expected *expected, struct cni_error *err);

#endif
