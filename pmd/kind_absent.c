/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a port is while its device is missing: nothing comes, what is to leave is dropped as port_down. The port itself, its
 * endpoints, routes and tunnels stay, so that all is there when the device appears (control/devices.c).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "pmd/kinds.h"

static void absent_close(struct port *p, bool keep)
{
	(void)p;
	(void)keep;
}

static uint16_t absent_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	(void)p;
	(void)queue;
	(void)worker;
	(void)pkts;
	(void)max;
	return 0;
}

static uint16_t absent_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	p->stats[worker]->drops[DROP_PORT_DOWN] += n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static int absent_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	(void)p;
	(void)queue;
	(void)out_fd_gen;
	return -ENOLINK;
}

static bool absent_is_up(const struct port *p)
{
	(void)p;
	return false;
}

static size_t absent_describe(const struct port *p, char *buf, size_t size)
{
	int n = snprintf(buf, size, "device=missing");

	(void)p;
	return n < 0 ? 0 : RTE_MIN((size_t)n, size > 0 ? size - 1 : 0);
}

#define ABSENT_OPS(name)                                                                           \
	{                                                                                          \
		.kind = name, .close = absent_close, .rx = absent_rx, .tx = absent_tx,             \
		.rx_arm = absent_rx_arm, .is_up = absent_is_up, .describe = absent_describe        \
	}

static const struct port_ops absent_tap = ABSENT_OPS("tap"), absent_ethdev = ABSENT_OPS("ethdev");

const struct port_ops *kind_absent(const char *kind)
{
	return strcmp(kind, "tap") == 0 ? &absent_tap : &absent_ethdev;
}

bool kind_is_absent(const struct port_ops *ops)
{
	return ops == &absent_tap || ops == &absent_ethdev;
}
