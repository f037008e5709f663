/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which backends live on this node. Those whose place the API did not give follow the endpoints: when one has come or
 * gone, the services that it concerns are applied again, in slices on the loop's tick. Control thread only.
 */
#ifndef LEAT_LOCALITY_H
#define LEAT_LOCALITY_H

#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/addr.h"

/* Whether an endpoint of this node has the address. */
bool locality_is_local(uint16_t zone, const struct ip_addr *addr);

/* An endpoint has come or gone. */
void locality_changed(void);

/* loop_tick_fn */
unsigned int locality_tick(void);

#endif
