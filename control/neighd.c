/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/neighd.h"

#include <errno.h>
#include <string.h>

#include "control/event.h"
#include "control/hold.h"
#include "control/loop.h"
#include "control/neighd_tunnel.h"
#include "control/policy_log.h"
#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/packet/arp.h"
#include "datapath/packet/nd.h"
#include "datapath/pipeline/punt.h"
#include "datapath/table/neigh.h"
#include "datapath/table/path.h"
#include "pmd/portmgr.h"

#define BATCH 64
#define SWEEP_PER_TICK 4096u

struct neighd_stats neighd_stats;

static struct event *punt_event;
static uint32_t sweep_at;

static void emit(const struct neigh *neigh)
{
	const struct port *port = port_by_id(neigh->port_id);
	char text[IP_ADDR_STRLEN], mac[MAC_STRLEN];
	cJSON *object;

	if (!event_has_subscribers("neigh"))
		return;
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "port", port != NULL ? port->name : "");
	cJSON_AddStringToObject(object, "address", ip_format(&neigh->addr, text));
	cJSON_AddStringToObject(object, "state", neigh_state_name((enum neigh_state)neigh->state));
	if (neigh->state != NEIGH_PENDING && neigh->state != NEIGH_FAILED)
		cJSON_AddStringToObject(object, "mac", mac_format(&neigh->mac, mac));
	event_emit_object("neigh", "change", object);
}

static void set_state(uint32_t idx, enum neigh_state state, const struct rte_ether_addr *mac)
{
	struct neigh *neigh = neigh_at(idx);
	const struct port *port = port_by_id(neigh->port_id);
	bool is_change = neigh->state != state || !rte_is_same_ether_addr(&neigh->mac, mac);
	struct rte_ether_addr copy = *mac; /* may be the entry's own */

	if (neigh_set(idx, state, &copy, port != NULL ? &port->mac : &copy,
		    port != NULL ? port->mtu : 1500) < 0)
		log_warn("neigh", "no path left for another neighbour");
	if (!is_change)
		return;
	emit(neigh);
	neighd_tunnel_neigh_changed(idx);
}

/* The port's address that the neighbour knows: of the same network if there is one. */
static const struct ip_addr *source_for(const struct port *port, const struct ip_addr *target)
{
	const struct ip_addr *first = NULL;

	for (unsigned int i = 0; i < port->n_addrs; i++) {
		struct ip_prefix net = { .addr = port->addrs[i].addr, .len = port->addrs[i].len };

		if (ip_is_v4(&net.addr) != ip_is_v4(target))
			continue;
		ip_prefix_mask(&net);
		if (ip_prefix_covers(&net, target))
			return &port->addrs[i].addr;
		if (first == NULL)
			first = &port->addrs[i].addr;
	}
	return first;
}

/* Asks: everybody, or (to confirm) the one who answered before. */
static void ask(uint32_t idx, bool is_unicast)
{
	static const struct ip_addr none6;
	struct neigh *neigh = neigh_at(idx);
	const struct port *port = port_by_id(neigh->port_id);
	const struct rte_ether_addr *dst = is_unicast ? &neigh->mac : NULL;
	struct inject_msg msg = { .kind = INJECT_TX, .port_id = neigh->port_id };
	const struct ip_addr *src;

	neigh->n_probes++;
	neigh->changed_ns = clock_ns();
	if (port == NULL)
		return;
	src = source_for(port, &neigh->addr);
	if (ip_is_v4(&neigh->addr))
		msg.m = arp_request_create(port->pool, &port->mac, src != NULL ? ip_v4(src) : 0,
			ip_v4(&neigh->addr), dst);
	else
		msg.m = nd_solicit_create(
			port->pool, &port->mac, src != NULL ? src : &none6, &neigh->addr, dst);
	if (msg.m == NULL)
		return; /* asked again soon */
	if (inject_send(idx % portmgr_n_workers(), &msg))
		neighd_stats.n_requests++;
	else
		rte_pktmbuf_free(msg.m);
}

static void start_pending(uint32_t idx)
{
	struct neigh *neigh = neigh_at(idx);

	set_state(idx, NEIGH_PENDING, &neigh->mac);
	neigh->n_probes = 0;
	ask(idx, false);
}

uint32_t neighd_want(uint16_t port_id, const struct ip_addr *addr)
{
	uint32_t idx = neigh_lookup(port_id, addr);

	if (idx == NEIGH_NONE) {
		idx = neigh_get(port_id, addr);
		if (idx == NEIGH_NONE)
			return NEIGH_NONE;
		neigh_at(idx)->n_probes = 0;
		ask(idx, false);
		emit(neigh_at(idx));
	} else if (neigh_at(idx)->state == NEIGH_FAILED &&
		clock_ns() - neigh_at(idx)->changed_ns >= NEIGHD_RETRY_NS) {
		start_pending(idx);
	}
	return idx;
}

static void learn(uint16_t port_id, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
	uint32_t idx = neigh_lookup(port_id, addr);
	struct neigh *neigh;

	if (idx == NEIGH_NONE || neigh_at(idx)->state == NEIGH_STATIC)
		return; /* nobody asked */
	neigh = neigh_at(idx);
	neigh->n_probes = 0;
	neigh->changed_ns = clock_ns();
	neighd_stats.n_learned++;
	set_state(idx, NEIGH_REACHABLE, mac);
	gen_publish();
	hold_release(HOLD_NEIGH, idx);
}

static void on_neigh_packet(const struct punt_msg *msg)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(msg->m, const struct rte_ether_hdr *);
	struct arp_info arp;
	struct nd_info nd;
	struct ip_addr sender;

	if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_ARP)) {
		if (arp_parse(msg->m, &arp) == DROP_NONE && arp.sender_ip != 0) {
			sender = ip_from_v4(arp.sender_ip);
			learn(msg->port_id, &sender, &arp.sender_mac);
		}
	} else if (nd_parse(msg->m, &nd) == DROP_NONE) {
		if (nd.type == ND_NA)
			learn(msg->port_id, &nd.target, nd.has_tlla ? &nd.tlla : &nd.eth_src);
		else if (nd.type == ND_NS && nd.has_slla)
			learn(msg->port_id, &nd.src, &nd.slla);
	}
	rte_pktmbuf_free(msg->m);
}

static void on_resolve(const struct punt_msg *msg)
{
	uint32_t idx = neighd_want(msg->out_port_id, &msg->target);

	if (idx == NEIGH_NONE || port_by_id(msg->out_port_id) == NULL) {
		rte_pktmbuf_free(msg->m);
		neighd_stats.n_hold_full++;
		return;
	}
	hold_add(HOLD_NEIGH, idx, msg);
	/* Answered (or given up) since the worker looked: it shall look again. */
	if (neigh_at(idx)->state != NEIGH_PENDING)
		hold_release(HOLD_NEIGH, idx);
}

static void on_punt(evutil_socket_t fd, short what, void *arg)
{
	struct punt_msg msgs[BATCH];
	unsigned int n = punt_receive(msgs, BATCH);

	(void)fd;
	(void)what;
	(void)arg;
	for (unsigned int i = 0; i < n; i++) {
		switch (msgs[i].kind) {
		case PUNT_NEIGH:
			on_neigh_packet(&msgs[i]);
			break;
		case PUNT_RESOLVE:
			on_resolve(&msgs[i]);
			break;
		case PUNT_TUNNEL:
			neighd_tunnel_hold(&msgs[i]);
			break;
		case PUNT_LOG:
			policy_log_write(&msgs[i]);
			break;
		case PUNT_PMTU:
			neighd_tunnel_too_big(&msgs[i].target, msgs[i].idx);
			break;
		default:
			neighd_want(msgs[i].out_port_id, &msgs[i].target);
			break;
		}
	}
	gen_publish();
	if (n == BATCH)
		event_active(punt_event, EV_READ, 0);
}

static void fail(uint32_t idx)
{
	struct neigh *neigh = neigh_at(idx);

	neighd_stats.n_failed++;
	neigh->changed_ns = clock_ns();
	set_state(idx, NEIGH_FAILED, &neigh->mac);
	gen_publish();
	hold_release(HOLD_NEIGH, idx); /* each is answered with an ICMP error */
}

static void age(uint32_t idx, uint64_t now_ns)
{
	struct neigh *neigh = neigh_at(idx);
	uint64_t age_ns = now_ns - neigh->changed_ns;

	switch (atomic_load_explicit(&neigh->state, memory_order_relaxed)) {
	case NEIGH_PENDING:
		if (age_ns >= NEIGHD_RETRY_NS && neigh->n_probes >= NEIGHD_PROBES_MAX)
			fail(idx);
		else if (age_ns >= NEIGHD_RETRY_NS)
			ask(idx, false);
		break;
	case NEIGH_REACHABLE:
		if (age_ns >= NEIGHD_REACHABLE_NS) {
			set_state(idx, NEIGH_STALE, &neigh->mac);
			neigh->n_probes = 0;
			ask(idx, true);
		}
		break;
	case NEIGH_STALE:
		if (age_ns >= NEIGHD_RETRY_NS && neigh->n_probes >= 2 * NEIGHD_PROBES_MAX)
			fail(idx);
		else if (age_ns >= NEIGHD_RETRY_NS)
			ask(idx, neigh->n_probes < NEIGHD_PROBES_MAX);
		break;
	case NEIGH_FAILED:
		if (age_ns >= NEIGHD_FAILED_NS)
			neighd_forget(idx);
		break;
	default:
		break;
	}
}

static unsigned int tick(void)
{
	uint64_t now_ns = clock_ns();
	uint32_t end = sweep_at + SWEEP_PER_TICK, idx;

	for (idx = neigh_next(sweep_at); idx != NEIGH_NONE && idx < end; idx = neigh_next(idx + 1))
		age(idx, now_ns);
	sweep_at = idx == NEIGH_NONE ? 0 : end;
	on_punt(-1, 0, NULL); /* whatever became of a wake-up: nothing waits for ever */
	neighd_tunnel_tick();
	gen_publish();
	return 0;
}

int neighd_init(void)
{
	punt_event = loop_watch(punt_fd(), on_punt, NULL);
	if (punt_event == NULL)
		return -ENOMEM;
	sweep_at = 0;
	loop_add_tick(tick);
	return 0;
}

void neighd_fini(void)
{
	struct punt_msg msgs[BATCH];
	unsigned int n;

	if (punt_event == NULL)
		return;
	event_free(punt_event);
	punt_event = NULL;
	while ((n = punt_receive(msgs, BATCH)) > 0)
		for (unsigned int i = 0; i < n; i++)
			rte_pktmbuf_free(msgs[i].m);
	hold_fini();
}

int neighd_set_static(
	const struct port *port, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
	uint32_t idx = neigh_get(port->id, addr);

	if (idx == NEIGH_NONE)
		return -ENOSPC;
	set_state(idx, NEIGH_STATIC, mac);
	neigh_at(idx)->changed_ns = clock_ns();
	gen_publish();
	hold_release(HOLD_NEIGH, idx);
	return 0;
}

void neighd_forget(uint32_t idx)
{
	neighd_tunnel_neigh_gone(idx);
	hold_drop(HOLD_NEIGH, idx);
	neigh_del(idx);
}

void neighd_port_changed(const struct port *port)
{
	for (uint32_t idx = neigh_next(0); idx != NEIGH_NONE; idx = neigh_next(idx + 1)) {
		struct neigh *neigh = neigh_at(idx);
		enum neigh_state state = neigh->state;
		struct rte_ether_addr mac = neigh->mac;

		if (neigh->port_id != port->id || state == NEIGH_PENDING)
			continue;
		if (state == NEIGH_FAILED) {
			start_pending(idx);
			continue;
		}
		if (neigh_set(idx, state, &mac, &port->mac, port->mtu) < 0)
			log_warn("neigh", "no path left for another neighbour");
		neighd_tunnel_neigh_changed(idx);
		if (state != NEIGH_STATIC)
			neigh->changed_ns = clock_ns() - NEIGHD_REACHABLE_NS;
	}
	gen_publish();
}

void neighd_port_gone(const struct port *port)
{
	hold_drop_port(port->id);
	for (uint32_t idx = neigh_next(0); idx != NEIGH_NONE; idx = neigh_next(idx + 1))
		if (neigh_at(idx)->port_id == port->id)
			neighd_forget(idx);
}
