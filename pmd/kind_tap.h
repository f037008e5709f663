/* SPDX-License-Identifier: BSD-3-Clause */
/* Taps that outlived their process. Control thread. */
#ifndef LEAT_PMD_KIND_TAP_H
#define LEAT_PMD_KIND_TAP_H

#include <stddef.h>

#include "datapath/pipeline/port.h"

/* The name of a tap's kernel device: as configured, else by its role. */
const char *tap_ifname(const struct port_config *cfg);

/* Removes the tap `ifname` of the namespace (netns_fd -1: the process's own) if leat made it (alias "leat:…") and no
 * process holds it. 0, -ENODEV if it is not there, -EEXIST if it is something else, -EBUSY if it is in use; with a
 * sentence. */
int tap_purge(int netns_fd, const char *ifname, char *errbuf, size_t errlen);

#endif
