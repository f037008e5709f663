/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The far side of a ring port, for tests and perf/: what is injected, the port receives; what it transmits can be
 * drained. One injecting thread a queue and one draining thread a port; they need not be workers.
 */
#ifndef LEAT_PMD_KIND_RING_H
#define LEAT_PMD_KIND_RING_H

#include "datapath/pipeline/port.h"

/* Hands packets to the port's receive queue; the first `return value` are the port's, the rest stay the caller's. */
unsigned int ring_port_inject(
	struct port *p, uint16_t queue, struct rte_mbuf **pkts, unsigned int n);

/* Takes up to n packets that the port has sent; they are the caller's. */
unsigned int ring_port_drain(struct port *p, struct rte_mbuf **pkts, unsigned int n);

/* The far side's state and what it takes unfinished (PORT_TX_*). New ports are up and take nothing. */
void ring_port_set_up(struct port *p, bool is_up);
void ring_port_set_tx_offloads(struct port *p, uint32_t tx_offloads);

#endif
