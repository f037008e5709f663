/* SPDX-License-Identifier: BSD-3-Clause */
/* packet.explain's answer: what each layer said, about which object, and what would leave. */
#include "control/api/explain_answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include <rte_mbuf.h>

#include "control/api/rule_config.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/failsafe.h"
#include "datapath/table/neigh.h"
#include "datapath/table/route.h"
#include "datapath/table/service.h"
#include "datapath/table/snat.h"
#include "datapath/table/tunnel.h"
#include "pmd/portmgr.h"

#define FRAME_MAX 9316u /* and what a tunnel puts around the largest */

static cJSON *step(cJSON *steps, enum layer_id layer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static cJSON *step(cJSON *steps, enum layer_id layer, const char *fmt, ...)
{
	cJSON *item = cJSON_CreateObject();
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cJSON_AddStringToObject(item, "layer", layer_name(layer));
	cJSON_AddStringToObject(item, "says", text);
	cJSON_AddItemToArray(steps, item);
	return item;
}

static const char *endpoint_text(uint32_t ep)
{
	return ep != ENDPOINT_NONE ? endpoint_at(ep)->id : "none here";
}

/* The endpoints behind a port: "10.0.0.1, 10.0.0.2". */
static const char *port_addrs_text(const struct port *p, char *buf, size_t size)
{
	char text[IP_ADDR_STRLEN];

	buf[0] = '\0';
	for (uint32_t i = endpoint_next(0); i != ENDPOINT_NONE; i = endpoint_next(i + 1))
		for (unsigned int a = 0;
			endpoint_at(i)->port_id == p->id && a < endpoint_at(i)->n_addrs; a++) {
			if (buf[0] != '\0')
				strlcat(buf, ", ", size);
			strlcat(buf, ip_format(&endpoint_at(i)->addrs[a], text), size);
		}
	return buf;
}

/* Whose address a packet bears that may not. */
static void step_spoofed(cJSON *steps, const struct slow_ctx *ctx, const struct parsed *pkt)
{
	uint32_t owner = endpoint_by_addr(ctx->zone, &pkt->src);
	char src[IP_ADDR_STRLEN], own[200];

	ip_format(&pkt->src, src);
	if (owner != ENDPOINT_NONE)
		step(steps, LAYER_admit,
			"source %s is the address of endpoint %s, which is not there", src,
			endpoint_at(owner)->id);
	else if ((ctx->in & FLOW_IN_TUNNEL) != 0)
		step(steps, LAYER_admit, "source %s has no route into tunnel %s", src,
			tunnel_at(ctx->in & (FLOW_IN_TUNNEL - 1))->name);
	else if (ctx->port->role == PORT_ROLE_POD)
		step(steps, LAYER_admit, "source %s is none of port %s, which has %s", src,
			ctx->port->name, port_addrs_text(ctx->port, own, sizeof(own)));
	else
		step(steps, LAYER_admit, "source %s is behind a tunnel and comes from the wire",
			src);
}

static void step_admit(cJSON *steps, const struct slow_ctx *ctx, const struct parsed *pkt)
{
	char mac[MAC_STRLEN], own[MAC_STRLEN];

	if (ctx->action == SLOW_DROP && ctx->layer == LAYER_admit &&
		ctx->reason == DROP_IP_SRC_SPOOFED)
		step_spoofed(steps, ctx, pkt);
	else if (ctx->action == SLOW_DROP && ctx->layer == LAYER_admit &&
		ctx->reason == DROP_ETH_SRC_SPOOFED)
		step(steps, LAYER_admit, "source MAC %s is not %s of endpoint %s",
			mac_format(ctx->src_mac, mac),
			mac_format(&endpoint_at(ctx->src_ep)->mac, own),
			endpoint_at(ctx->src_ep)->id);
	else
		step(steps, LAYER_admit, "from endpoint %s", endpoint_text(ctx->src_ep));
}

static void step_service(cJSON *steps, const struct slow_ctx *ctx)
{
	char text[IP_ADDR_STRLEN];
	cJSON *item;

	if (ctx->service == SERVICE_NONE) {
		step(steps, LAYER_service, "no service");
		return;
	}
	if (ctx->backend == BACKEND_NONE) {
		item = step(steps, LAYER_service,
			ctx->reason == DROP_SERVICE_SOURCE_REFUSED
				? "service %s, source outside its source ranges"
				: "service %s, no backend",
			service_name(ctx->service));
	} else {
		item = step(steps, LAYER_service, "service %s, backend %s port %u",
			service_name(ctx->service),
			ip_format(&backend_at(ctx->backend)->addr, text),
			rte_be_to_cpu_16(backend_at(ctx->backend)->port));
		cJSON_AddStringToObject(item, "backend", text);
	}
	cJSON_AddStringToObject(item, "service", service_name(ctx->service));
}

static void step_route(cJSON *steps, const struct slow_ctx *ctx)
{
	char text[IP_PREFIX_STRLEN];
	const struct route *r;

	if (ctx->route == SLOT_NONE) {
		step(steps, LAYER_route, "not asked: the destination lives here");
		return;
	}
	r = route_at(ctx->route);
	if (r->kind == ROUTE_NONE) {
		step(steps, LAYER_route, "no route");
		return;
	}
	ip_prefix_format(&r->prefix, text);
	cJSON_AddStringToObject(
		step(steps, LAYER_route, "route %s%s%s", text,
			r->kind == ROUTE_TUNNEL ? " into tunnel " : "",
			r->kind == ROUTE_TUNNEL ? tunnel_at(r->tunnel_idx)->name : ""),
		"route", text);
}

/* Why the packet passes though no policy was asked. */
static const char *unpoliced_text(const struct explain_result *res)
{
	struct slow_ctx ctx = res->ctx;
	bool is_reply = slow_is_reply(&ctx);
	const uint32_t sides[POLICY_DIR_N] = {
		[POLICY_EGRESS] = is_reply ? ctx.dst_ep : ctx.src_ep,
		[POLICY_INGRESS] = is_reply ? ctx.src_ep : ctx.dst_ep,
	};
	bool has_pod = false, has_host = false, is_failsafe = false;
	struct rule_packet pkt;

	ctx.pkt = &res->pkt;
	slow_rule_packet(&ctx, &pkt);
	for (unsigned int d = 0; d < POLICY_DIR_N; d++) {
		if (sides[d] == ENDPOINT_NONE)
			continue;
		has_pod |= endpoint_at(sides[d])->kind == ENDPOINT_POD;
		if (endpoint_at(sides[d])->kind != ENDPOINT_HOST)
			continue;
		has_host = true;
		is_failsafe |= policy_applies(sides[d], d) && pkt.has_ports &&
			failsafe_has(d, pkt.proto, pkt.dport);
	}
	if (has_host && has_pod)
		return "not asked: the node and its own pod";
	return is_failsafe ? "not asked: a failsafe port" : "no policy";
}

static void step_policy(cJSON *steps, const struct explain_result *res)
{
	const struct slow_ctx *ctx = &res->ctx;
	static const char *const sides[POLICY_DIR_N] = { "egress", "ingress" };
	char text[256];
	bool is_any = false;

	if (ctx->is_settled) {
		step(steps, LAYER_policy, "not asked: the connection stands");
		return;
	}
	for (unsigned int d = 0; d < POLICY_DIR_N; d++) {
		if (ctx->rule[d] == RULE_NONE)
			continue;
		is_any = true;
		rule_name_text(ctx->rule[d], text, sizeof(text));
		cJSON_AddStringToObject(
			step(steps, LAYER_policy, "%s: rule %s %s", sides[d], text,
				ctx->denied_by == ctx->rule[d] ? "refuses" : "allows"),
			"rule", text);
	}
	if (is_any)
		return;
	if (!ctx->is_policed)
		step(steps, LAYER_policy, "%s", unpoliced_text(res));
	else
		step(steps, LAYER_policy, "default of %s",
			ctx->policy != POLICY_NONE ? policy_at(ctx->policy)->name : "the endpoint");
}

static void step_snat(cJSON *steps, const struct slow_ctx *ctx)
{
	static const char *const kinds[] = { "kept", "pool", "pair", "this node (hairpin)" };

	if (ctx->flow != FLOW_NONE)
		step(steps, LAYER_snat, "as the connection has it");
	else if (ctx->snat == SNAT_POOL)
		step(steps, LAYER_snat, "pool %s", snat_pool_at(ctx->pool)->name);
	else
		step(steps, LAYER_snat, "%s", kinds[ctx->snat]);
}

static void add_steps(cJSON *result, const struct explain_result *res)
{
	const struct slow_ctx *ctx = &res->ctx;
	cJSON *steps = cJSON_AddArrayToObject(result, "layers");

	for (unsigned int l = 0; l <= ctx->layer; l++) {
		switch (l) {
		case LAYER_admit:
			step_admit(steps, ctx, &res->pkt);
			break;
		case LAYER_service:
			step_service(steps, ctx);
			break;
		case LAYER_local:
			step(steps, LAYER_local, "to endpoint %s", endpoint_text(ctx->dst_ep));
			break;
		case LAYER_route:
			step_route(steps, ctx);
			break;
		case LAYER_policy:
			step_policy(steps, res);
			break;
		case LAYER_snat:
			step_snat(steps, ctx);
			break;
		default:
			step(steps, LAYER_encap, "%s",
				ctx->tunnel != SLOT_NONE ? tunnel_at(ctx->tunnel)->name
							 : "no tunnel");
			break;
		}
	}
	cJSON_AddStringToObject(result, "decided_by", layer_name((enum layer_id)ctx->layer));
}

static void add_frame(cJSON *result, const struct rte_mbuf *m)
{
	static char hex[2 * FRAME_MAX + 1];
	static uint8_t bytes[FRAME_MAX];
	uint32_t len = RTE_MIN(m->pkt_len, (uint32_t)sizeof(bytes));
	const uint8_t *data = rte_pktmbuf_read(m, 0, len, bytes);

	for (uint32_t i = 0; i < len; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", data[i]);
	cJSON_AddStringToObject(result, "frame", hex);
}

/* Whose MAC the packet waits for, or could not be had. */
static void add_neighbour(cJSON *result, uint16_t port_id, const struct ip_addr *addr)
{
	const struct port *p = port_by_id(port_id);
	uint32_t idx = p != NULL ? neigh_lookup(p->id, addr) : NEIGH_NONE;
	cJSON *out = cJSON_AddObjectToObject(result, "neighbour");

	api_add_ip(out, "address", addr);
	if (p != NULL)
		cJSON_AddStringToObject(out, "port", p->name);
	cJSON_AddStringToObject(out, "state",
		idx != NEIGH_NONE ? neigh_state_name((enum neigh_state)atomic_load_explicit(
					    &neigh_at(idx)->state, memory_order_relaxed))
				  : "unknown");
}

/* A tunnel without a way waits for the neighbour on the way to its far end. */
static void add_waits_for(cJSON *result, const struct slow_ctx *ctx)
{
	const struct tunnel *t;

	if (ctx->action == SLOW_RESOLVE_NEIGH || ctx->reason == DROP_NEIGH_FAILED) {
		add_neighbour(result, ctx->out_port, &ctx->next_hop);
	} else if (ctx->action == SLOW_RESOLVE_TUNNEL) {
		t = tunnel_at(ctx->tunnel);
		cJSON_AddStringToObject(result, "tunnel", t->name);
		api_add_ip(result, "tunnel_end", &t->remote);
		if (t->underlay_neigh != NEIGH_NONE)
			add_neighbour(result, neigh_at(t->underlay_neigh)->port_id,
				&neigh_at(t->underlay_neigh)->addr);
	}
}

/* What is wrong with the frame itself. */
static void add_frame_fault(
	cJSON *result, const struct port *p, const struct rte_mbuf *m, enum drop_reason reason)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	char mac[MAC_STRLEN], own[MAC_STRLEN], text[200];

	if (reason == DROP_ETH_SRC_SPOOFED)
		snprintf(text, sizeof(text), "source MAC %s is not %s of port %s",
			mac_format(&eth->src_addr, mac), mac_format(&p->mac, own), p->name);
	else if (reason == DROP_ETH_DST_FOREIGN)
		snprintf(text, sizeof(text), "destination MAC %s is not leatd's %s",
			mac_format(&eth->dst_addr, mac),
			mac_format(p->role == PORT_ROLE_UPLINK ? &p->mac : &p->gw_mac, own));
	else
		snprintf(text, sizeof(text), "%s", drop_help(reason));
	cJSON_AddStringToObject(result, "says", text);
}

cJSON *explain_answer_json(
	const struct explain_result *res, const struct port *p, const struct rte_mbuf *m)
{
	cJSON *result = cJSON_CreateObject();
	const struct port *out = port_by_id(res->out_port);

	cJSON_AddStringToObject(result, "verdict", explain_verdict_name(res->verdict));
	if (res->verdict == EXPLAIN_DROP) {
		cJSON_AddStringToObject(result, "reason", drop_name(res->reason));
		cJSON_AddBoolToObject(result, "sender_is_told", res->is_answered);
		if (res->ctx.action == SLOW_CONTINUE)
			add_frame_fault(result, p, m, res->reason);
	}
	add_waits_for(result, &res->ctx);
	cJSON_AddStringToObject(result, "connection",
		res->is_rebound			     ? "rebound"
			: res->ctx.flow == FLOW_NONE ? "new"
			: res->ctx.is_related	     ? "related"
			: slow_is_reply(&res->ctx)   ? "reply"
						     : "established");
	if (res->ctx.zone != 0)
		cJSON_AddNumberToObject(result, "zone", res->ctx.zone);
	if (res->verdict != EXPLAIN_FRAGMENT && res->ctx.action != SLOW_CONTINUE)
		add_steps(result, res);
	if (res->verdict == EXPLAIN_FORWARD) {
		if (out != NULL)
			cJSON_AddStringToObject(result, "port", out->name);
		api_add_translation(result, "leaves", &res->final);
		if (res->out != NULL)
			add_frame(result, res->out);
	}
	return result;
}
