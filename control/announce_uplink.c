/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/announce_uplink.h"

#include <string.h>

#include "control/loop.h"
#include "datapath/base/clock.h"
#include "datapath/packet/arp.h"
#include "datapath/packet/nd.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/endpoint.h"
#include "pmd/portmgr.h"

#define ROUNDS 3u			  /* RFC 4861 s. 10: MAX_NEIGHBOR_ADVERTISEMENT */
#define ROUND_NS (1000 * CLOCK_NS_PER_MS) /* RETRANS_TIMER */
#define ARP_ROUNDS                                                                                 \
	((1u << 0) | (1u << 2)) /* RFC 5227 s. 1.1: ANNOUNCE_NUM 2, ANNOUNCE_INTERVAL 2 s */

static struct {
	uint8_t n_left;
	uint64_t next_ns;
} ports[PORT_MAX];

static void announce(const struct port *port, const struct ip_addr *addr, unsigned int round)
{
	struct inject_msg msg = { .kind = INJECT_TX, .port_id = port->id };

	if (!ip_is_v4(addr))
		msg.m = nd_announce_create(
			port->pool, &port->mac, addr, ND_NA_ROUTER | ND_NA_OVERRIDE);
	else if ((ARP_ROUNDS & (1u << round)) != 0)
		msg.m = arp_request_create(port->pool, &port->mac, ip_v4(addr), ip_v4(addr), NULL);
	if (msg.m != NULL && !inject_send(port->id % portmgr_n_workers(), &msg))
		rte_pktmbuf_free(msg.m);
}

/* Whether the address is of one of the networks on the uplink's link. */
static bool is_on_link(const struct port *port, const struct ip_addr *addr)
{
	for (unsigned int i = 0; i < port->n_addrs; i++) {
		struct ip_prefix net = { .addr = port->addrs[i].addr, .len = port->addrs[i].len };

		if (ip_is_v4(&net.addr) != ip_is_v4(addr))
			continue;
		ip_prefix_mask(&net);
		if (ip_prefix_covers(&net, addr))
			return true;
	}
	return false;
}

static bool is_ports_own(const struct port *port, const struct ip_addr *addr)
{
	for (unsigned int i = 0; i < port->n_addrs; i++)
		if (ip_eq(&port->addrs[i].addr, addr))
			return true;
	return false;
}

static void send_round(const struct port *port, unsigned int round)
{
	uint32_t host = endpoint_by_id("host");
	const struct endpoint *ep = host != ENDPOINT_NONE ? endpoint_at(host) : NULL;

	for (unsigned int i = 0; i < port->n_addrs; i++)
		announce(port, &port->addrs[i].addr, round);
	for (unsigned int i = 0; ep != NULL && ep->zone == port->zone && i < ep->n_addrs; i++)
		if (is_on_link(port, &ep->addrs[i]) && !is_ports_own(port, &ep->addrs[i]))
			announce(port, &ep->addrs[i], round);
}

static unsigned int tick(void)
{
	uint64_t now_ns = clock_ns();

	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port)) {
		uint8_t n_left = ports[port->id].n_left;

		/* A link that is down has nobody to hear it. */
		if (n_left == 0 || now_ns < ports[port->id].next_ns || !port->ops->is_up(port))
			continue;
		send_round(port, ROUNDS - n_left);
		ports[port->id].n_left--;
		ports[port->id].next_ns = now_ns + ROUND_NS;
	}
	return 0;
}

void announce_uplink_init(void)
{
	memset(ports, 0, sizeof(ports));
	loop_add_tick(tick);
}

void announce_uplink(const struct port *port)
{
	if (port->role == PORT_ROLE_UPLINK && port->n_addrs > 0)
		ports[port->id].n_left = ROUNDS;
}

void announce_uplink_zone(uint16_t zone)
{
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		if (port->zone == zone)
			announce_uplink(port);
}
