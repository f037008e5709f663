/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP and neighbour discovery. A pod's every question but the one for its own address is answered with the gateway's MAC; on
 * an uplink leatd answers for its own addresses, and what others say goes to the control thread. */
#include "datapath/packet/arp.h"
#include "datapath/packet/nd.h"
#include "datapath/pipeline/punt.h"
#include "datapath/slow/slow.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/restart.h"

#include "datapath/fast/poison.h"

void slow_reflect(struct worker *w, struct batch *b, uint64_t i)
{
	struct port *p = port_at(b->port->id);

	batch_take(b, i);
	if (p == NULL)
		batch_drop(w, w->in_stats, b->m[i], DROP_PORT_DOWN);
	else
		worker_emit(w, p, b->m[i]);
}

static void punt_neigh(struct worker *w, struct batch *b, uint64_t i)
{
	struct punt_msg msg = {
		.kind = PUNT_NEIGH, .port_id = b->port->id, .worker = w->id, .m = b->m[i]
	};

	if (punt_send(&msg))
		batch_take(b, i);
	else
		batch_kill(w, b, i, DROP_PUNT_FULL);
}

/* Whether the port was made with the address: leatd's own on an uplink, else the far side's, whose endpoint comes a moment later. */
static bool port_has(const struct port *p, const struct ip_addr *addr)
{
	for (unsigned int a = 0; a < p->n_addrs; a++)
		if (ip_eq(&p->addrs[a].addr, addr))
			return true;
	return false;
}

/* Whether leatd answers for the address on this uplink. */
static bool is_own(const struct port *p, const struct ip_addr *addr)
{
	uint32_t ep;

	if (port_has(p, addr))
		return true;
	ep = endpoint_by_addr(p->zone, addr);
	return ep != ENDPOINT_NONE && endpoint_at(ep)->kind != ENDPOINT_POD;
}

/* Whether the address belongs to an endpoint behind the port. */
static bool owns(const struct port *p, const struct ip_addr *addr)
{
	uint32_t ep = endpoint_by_addr(p->zone, addr);

	if (ep == ENDPOINT_NONE)
		return port_has(p, addr);
	return ep != ENDPOINT_NONE && endpoint_at(ep)->port_id == p->id;
}

/* Whether the far side of a pod or host port may speak for the address. */
static bool may_claim(const struct port *p, const struct ip_addr *addr)
{
	return (p->role == PORT_ROLE_HOST && p->endpoint_idx != ENDPOINT_NONE) || owns(p, addr);
}

/* Whether it has that MAC. */
static bool has_mac(const struct port *p, const struct rte_ether_addr *mac)
{
	return rte_is_same_ether_addr(mac, &p->mac) ||
		atomic_load_explicit(&p->is_shared, memory_order_relaxed) != 0;
}

/* A claim that nobody vouches for; its endpoint may only not be back yet. A question that is lost is asked again a second later. */
static void claim_refused(struct worker *w, struct batch *b, uint64_t i, enum drop_reason reason)
{
	if (restart_is_gated())
		slow_wait_at_gate(w, b, i);
	else
		batch_kill(w, b, i, reason);
}

static void arp_on_uplink(
	struct worker *w, struct batch *b, uint64_t i, const struct arp_info *info)
{
	struct ip_addr target = ip_from_v4(info->target_ip), sender = ip_from_v4(info->sender_ip);

	if (is_own(b->port, &sender))
		batch_kill(w, b, i, DROP_ARP_SPOOFED);
	else if (!info->is_request || info->is_announcement)
		punt_neigh(w, b, i);
	else if (!is_own(b->port, &target))
		batch_kill(w, b, i, DROP_CONSUMED);
	else if (arp_reply(b->m[i], info, &b->port->mac))
		slow_reflect(w, b, i);
	else
		batch_kill(w, b, i, DROP_ARP_INVALID);
}

static void arp_on_pod(struct worker *w, struct batch *b, uint64_t i, const struct arp_info *info)
{
	struct ip_addr target = ip_from_v4(info->target_ip), sender = ip_from_v4(info->sender_ip);

	if (!has_mac(b->port, &info->sender_mac) ||
		(info->sender_ip != 0 && !may_claim(b->port, &sender)))
		claim_refused(w, b, i, DROP_ARP_SPOOFED);
	else if (!info->is_request || info->is_announcement || owns(b->port, &target))
		/* Its own address: silence is what duplicate address detection wants to hear. */
		batch_kill(w, b, i, DROP_CONSUMED);
	else if (arp_reply(b->m[i], info, &b->port->gw_mac))
		slow_reflect(w, b, i);
	else
		batch_kill(w, b, i, DROP_ARP_INVALID);
}

void slow_arp(struct worker *w, struct batch *b, uint64_t i)
{
	struct arp_info info;
	enum drop_reason reason = arp_parse(b->m[i], &info);

	if (reason != DROP_NONE)
		batch_kill(w, b, i, reason);
	else if (b->port->role == PORT_ROLE_UPLINK)
		arp_on_uplink(w, b, i, &info);
	else
		arp_on_pod(w, b, i, &info);
}

static void nd_on_uplink(struct worker *w, struct batch *b, uint64_t i, const struct nd_info *info)
{
	if (is_own(b->port, &info->src))
		batch_kill(w, b, i, DROP_ND_SPOOFED);
	else if (info->type == ND_NA)
		punt_neigh(w, b, i);
	else if (info->type != ND_NS || !is_own(b->port, &info->target))
		batch_kill(w, b, i, DROP_CONSUMED);
	else if (nd_reply(b->m[i], info, &b->port->mac, ND_NA_ROUTER | ND_NA_OVERRIDE))
		slow_reflect(w, b, i);
	else
		batch_kill(w, b, i, DROP_ND_INVALID);
}

/* Link-local addresses but the gateway's are the pod's to choose. */
static enum drop_reason nd_pod_refused(const struct port *p, const struct nd_info *info)
{
	if (info->type == ND_RA || info->type == ND_REDIRECT)
		return DROP_RA_FROM_POD;
	if (ip_is_gateway(&info->src) || (info->type == ND_NA && ip_is_gateway(&info->target)))
		return DROP_ND_SPOOFED;
	if ((info->has_slla && !has_mac(p, &info->slla)) ||
		(info->has_tlla && !has_mac(p, &info->tlla)))
		return DROP_ND_SPOOFED;
	if (!info->is_dad && !ip_is_zero(&info->src) && !ip_is_v6_link_local(&info->src) &&
		!may_claim(p, &info->src))
		return DROP_ND_SPOOFED;
	if (info->type == ND_NA && !ip_is_v6_link_local(&info->target) &&
		!may_claim(p, &info->target))
		return DROP_ND_SPOOFED;
	return DROP_NONE;
}

/* Duplicate address detection hears of the gateway's address, which is leatd's own on each pod's link (RFC 4862 s. 5.4.3), and silence
 * about any other. */
static bool nd_answers_pod(const struct port *p, const struct nd_info *info)
{
	if (info->type != ND_NS)
		return false;
	return info->is_dad ? ip_is_gateway(&info->target) : !owns(p, &info->target);
}

static void nd_on_pod(struct worker *w, struct batch *b, uint64_t i, const struct nd_info *info)
{
	enum drop_reason reason = nd_pod_refused(b->port, info);

	if (reason == DROP_ND_SPOOFED)
		claim_refused(w, b, i, reason);
	else if (reason != DROP_NONE)
		batch_kill(w, b, i, reason);
	else if (!nd_answers_pod(b->port, info))
		batch_kill(w, b, i, DROP_CONSUMED);
	else if (nd_reply(b->m[i], info, &b->port->gw_mac, ND_NA_ROUTER))
		slow_reflect(w, b, i);
	else
		batch_kill(w, b, i, DROP_ND_INVALID);
}

void slow_nd(struct worker *w, struct batch *b, uint64_t i)
{
	struct nd_info info;
	enum drop_reason reason = nd_parse(b->m[i], &info);

	if (reason != DROP_NONE)
		batch_kill(w, b, i, reason);
	else if (b->port->role == PORT_ROLE_UPLINK)
		nd_on_uplink(w, b, i, &info);
	else
		nd_on_pod(w, b, i, &info);
}
