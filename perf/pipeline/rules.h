/* SPDX-License-Identifier: BSD-3-Clause */
/* Many services in front of pod B, and many rules for what comes into it. Before the first packet. */
#ifndef LEAT_PERF_PIPELINE_RULES_H
#define LEAT_PERF_PIPELINE_RULES_H

#include <stdint.h>

#include "datapath/base/addr.h"

#define RULES_VIP_FIRST 0x0a600001u /* 10.96.0.1 */

/* n services, each with an address of its own and all ports that flows use; the backend keeps the port. 0 or -errno. */
int services_fill(uint32_t n, struct ip_addr backend);

/* n rules in n_policies policies, all bound to the endpoint; the last rule lets `client` in, the default is to deny. 0 or -errno. */
int rules_fill(uint32_t n, uint32_t n_policies, uint32_t endpoint, struct ip_addr client);

#endif
