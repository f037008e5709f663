/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/announce.h"

#include "datapath/packet/arp.h"
#include "datapath/packet/nd.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/restart.h"

void announce_at(const struct port *port, const struct ip_addr *addr)
{
	struct inject_msg msg = { .kind = INJECT_TX, .port_id = port->id };

	if (!restart_is_gated() || port->ifname == NULL)
		return;
	if (ip_is_v4(addr))
		msg.m = arp_request_create(
			port->pool, &port->gw_mac, ip_v4(addr), ip_v4(addr), NULL);
	else
		msg.m = nd_announce_create(
			port->pool, &port->gw_mac, addr, ND_NA_ROUTER | ND_NA_OVERRIDE);
	if (msg.m != NULL && !inject_send(0, &msg))
		rte_pktmbuf_free(msg.m);
}

void announce_gateway(const struct port *port)
{
	const struct ip_addr gateways[] = { ip_gateway(false), ip_gateway(true) };

	for (unsigned int i = 0; i < 2; i++)
		announce_at(port, &gateways[i]);
}
