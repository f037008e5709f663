/* SPDX-License-Identifier: BSD-3-Clause */
/* May this source send this here? Addresses that no wire carries, spoofed sources, servers that a pod may not play. */
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

#define DHCP4_SERVER RTE_BE16(67)
#define DHCP4_CLIENT RTE_BE16(68)
#define DHCP6_SERVER RTE_BE16(547)
#define DHCP6_CLIENT RTE_BE16(546)

/* Never a source (RFC 1122 s. 3.2.1.3, RFC 6890, RFC 4291 s. 2.5): this network, loopback, multicast, reserved. */
static bool src_is_martian(const struct ip_addr *a)
{
	if (ip_is_v4(a))
		return a->b[12] == 0 || a->b[12] == 127 || a->b[12] >= 224;
	return a->b[0] == 0xff || (a->q[0] == 0 && (a->q[1] == 0 || a->q[1] == RTE_BE64(1)));
}

static enum drop_reason dst_refused(const struct ip_addr *a)
{
	if (ip_is_v4(a)) {
		if (ip_v4(a) == RTE_BE32(0xffffffff))
			return DROP_ETH_BROADCAST;
		if (a->b[12] >= 224 && a->b[12] < 240)
			return DROP_IP_MULTICAST;
		return a->b[12] == 0 || a->b[12] == 127 || a->b[12] >= 240 ? DROP_IP_MARTIAN
									   : DROP_NONE;
	}
	if (a->b[0] == 0xff)
		return DROP_IP_MULTICAST;
	/* link-local does not leave its link */
	if (ip_is_v6_link_local(a))
		return DROP_IP_MARTIAN;
	return a->q[0] == 0 && (a->q[1] == 0 || a->q[1] == RTE_BE64(1)) ? DROP_IP_MARTIAN
									: DROP_NONE;
}

static bool is_dhcp_server(const struct parsed *pkt)
{
	return pkt->proto == IPPROTO_UDP &&
		((pkt->sport == DHCP4_SERVER && pkt->dport == DHCP4_CLIENT) ||
			(pkt->sport == DHCP6_SERVER && pkt->dport == DHCP6_CLIENT));
}

/* A pod asks the gateway from a link-local address of its own choice; its MAC was checked with the frame's, and the answer
 * goes back to the same port. */
static bool is_link_local_talk(const struct slow_ctx *ctx)
{
	return slow_is_to_gateway(ctx) && ip_is_v6_link_local(&ctx->pkt->src) &&
		!ip_is_gateway(&ctx->pkt->src);
}

/* A pod may complain of packets that were sent to it, not of what others say to each other (RFC 5927 s. 4: who forges such a message
 * need not see the connection). */
static bool is_about_own(const struct slow_ctx *ctx)
{
	struct translation reply, translated;

	slow_flow_tuples(ctx->ft, ctx->flow, &reply, &translated);
	return endpoint_by_addr(ctx->zone, &reply.src) == ctx->src_ep;
}

/* The endpoint that has the packet's source address: mostly the only one behind the port, which is found without a look at the map. */
static uint32_t sender_find(const struct slow_ctx *ctx)
{
	uint32_t ep = ctx->port->endpoint_idx;

	if (ep != ENDPOINT_NONE && endpoint_at(ep)->zone == ctx->zone &&
		endpoint_owns(endpoint_at(ep), &ctx->pkt->src))
		return ep;
	return endpoint_by_addr(ctx->zone, &ctx->pkt->src);
}

static void admit_pod(struct slow_ctx *ctx)
{
	uint32_t ep = sender_find(ctx);

	if (ctx->port->endpoint_idx == ENDPOINT_NONE) {
		slow_drop(ctx, DROP_PORT_NO_ENDPOINT, ICMP_ERROR_N);
		return;
	}
	if (is_link_local_talk(ctx))
		return;
	if (ep == ENDPOINT_NONE || endpoint_at(ep)->port_id != ctx->port->id) {
		slow_drop(ctx, DROP_IP_SRC_SPOOFED, ICMP_ERROR_N);
		return;
	}
	ctx->src_ep = ep;
	ctx->is_metered |= endpoint_at(ep)->is_metered[ENDPOINT_FROM];
	if (!rte_is_same_ether_addr(ctx->src_mac, &endpoint_at(ep)->mac))
		slow_drop(ctx, DROP_ETH_SRC_SPOOFED, ICMP_ERROR_N);
	else if (is_dhcp_server(ctx->pkt))
		slow_drop(ctx, DROP_DHCP_FROM_POD, ICMP_ERROR_N);
	else if (ctx->is_related && !is_about_own(ctx))
		slow_drop(ctx, DROP_ICMP_UNMATCHED, ICMP_ERROR_N);
}

/* From a tunnel: the source must be one that the tunnel's far end answers for (strict reverse path, RFC 3704 s. 2.2). */
static bool tunnel_may_carry(struct slow_ctx *ctx)
{
	const struct tunnel *t = tunnel_at(ctx->in & (FLOW_IN_TUNNEL - 1));
	const struct route *r;

	ctx->reverse_route = route_lookup(ctx->zone, &ctx->pkt->src);
	r = route_at(ctx->reverse_route);
	return r->kind == ROUTE_TUNNEL && ip_eq(&tunnel_at(r->tunnel_idx)->remote, &t->remote);
}

/* Nobody on the bare wire has an address of ours, or one that is behind a tunnel. Errors may come from any router. */
static bool uplink_may_carry(struct slow_ctx *ctx)
{
	if (endpoint_by_addr(ctx->zone, &ctx->pkt->src) != ENDPOINT_NONE)
		return false;
	if (ctx->is_related)
		return true;
	ctx->reverse_route = route_lookup(ctx->zone, &ctx->pkt->src);
	return route_at(ctx->reverse_route)->kind != ROUTE_TUNNEL;
}

/* Not forwarded (RFC 1812 s. 5.2.7.2): who is told another way is a neighbour of who tells it. ICMPv6's comes as ND. */
static bool is_redirect(const struct slow_ctx *ctx)
{
	return ctx->is_related && ctx->pkt->l3 == PARSED_IP4 &&
		ctx->pkt->icmp_type == ICMP_REDIRECT;
}

static void admit_source(struct slow_ctx *ctx)
{
	if ((ctx->in & FLOW_IN_TUNNEL) != 0) {
		/* An error about a live connection (nothing else comes this far) may come from any router
		 * behind the tunnel, the far node's own address among them. */
		if ((!ctx->pkt->is_icmp_error && !tunnel_may_carry(ctx)) ||
			endpoint_by_addr(ctx->zone, &ctx->pkt->src) != ENDPOINT_NONE)
			slow_drop(ctx, DROP_IP_SRC_SPOOFED, ICMP_ERROR_N);
		return;
	}
	switch (ctx->port->role) {
	case PORT_ROLE_POD:
		admit_pod(ctx);
		break;
	case PORT_ROLE_UPLINK:
		if (!uplink_may_carry(ctx))
			slow_drop(ctx, DROP_IP_SRC_SPOOFED, ICMP_ERROR_N);
		break;
	default:
		/* The node itself: what it sends was not forwarded yet. */
		ctx->src_ep = ctx->port->endpoint_idx;
		ctx->keep_ttl = true;
		break;
	}
}

void layer_admit(struct slow_ctx *ctx)
{
	enum drop_reason reason = slow_is_to_gateway(ctx) ? DROP_NONE : dst_refused(&ctx->pkt->dst);

	if (src_is_martian(&ctx->pkt->src))
		reason = DROP_IP_MARTIAN;
	else if (is_redirect(ctx))
		reason = DROP_ICMP_UNMATCHED;
	if (reason != DROP_NONE) {
		slow_drop(ctx, reason, ICMP_ERROR_N);
		return;
	}
	admit_source(ctx);
	/* What a host sends to itself stays inside of it. */
	if (ctx->action == SLOW_CONTINUE && ip_eq(&ctx->pkt->src, &ctx->pkt->dst))
		slow_drop(ctx, DROP_IP_LAND, ICMP_ERROR_N);
}
