/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kernel device does itself, by the names that ethtool -k shows. Any thread. */
#ifndef LEAT_PMD_NETDEV_FEATURE_H
#define LEAT_PMD_NETDEV_FEATURE_H

#include <stdbool.h>

/* The feature's number on this kernel; -errno, -ENOENT: the kernel does not know it. fd: any socket. */
int netdev_feature_find(int fd, const char *ifname, const char *feature);

/* Whether it is on now. False also when the device cannot be asked, or number is an error of the above. */
bool netdev_feature_is_on(int fd, const char *ifname, int number);

#endif
