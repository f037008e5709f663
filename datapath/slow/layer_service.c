/* SPDX-License-Identifier: BSD-3-Clause */
/* Is the destination a service, and which backend serves it? First packets are sent to a backend; later ones keep theirs as long as
 * it may be kept. */
#include <netinet/in.h>

#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/service.h"
#include "datapath/table/snat.h"

#include "datapath/fast/poison.h"

static bool is_node_addr(struct slow_ctx *ctx, const struct ip_addr *addr)
{
	uint32_t ep = slow_endpoint_at(ctx, addr);

	return ep != ENDPOINT_NONE && endpoint_at(ep)->kind != ENDPOINT_POD;
}

static void frontend_find(
	struct slow_ctx *ctx, const struct translation *client, struct service_hit *out)
{
	service_lookup(ctx->zone, &client->dst, ctx->pkt->proto, rte_be_to_cpu_16(client->dport),
		is_node_addr(ctx, &client->dst), out);
}

/* What happens to a connection whose backend is gone: TCP drains or is reset as the service wants (or wanted, when it is gone, too), others begin anew, so that a
 * sender that never pauses does not speak to nobody for ever (kubernetes#139628); and TCP that is not established yet. */
static void binding_broken(struct slow_ctx *ctx, uint32_t service)
{
	uint8_t flags = atomic_load_explicit(&slow_conn(ctx)->flags, memory_order_relaxed);

	if (ctx->pkt->proto != IPPROTO_TCP || slow_is_unbound(ctx))
		ctx->action = SLOW_REBIND;
	else if (slow_is_half_open(ctx) && slow_is_reply(ctx))
		slow_drop(ctx, DROP_SERVICE_BACKEND_GONE,
			ICMP_ERROR_N); /* perhaps the address's next owner */
	else if (service != SERVICE_NONE ? service_does_reset(service)
					 : (flags & CONN_F_RESET) != 0)
		ctx->action = SLOW_RESET;
}

/* Whether the connection goes to this backend: the slot may have a new owner since. Without its frontend nobody knows the port that
 * the frontend asked for. */
static bool is_backend_of(
	uint32_t backend, const struct service_hit *hit, const struct translation *final)
{
	const struct backend *b = backend_at(backend);

	return ip_eq(&b->addr, &final->dst) &&
		(b->port == 0 || b->port == final->dport || hit->service != b->service ||
			hit->target_port == final->dport);
}

/* The service's backend that the connection goes to, if it serves: by its port, one that keeps the port that the client asked for, or
 * any of that address when the frontend chose the port. */
static uint32_t backend_again(const struct service_hit *hit, const struct translation *client,
	const struct translation *final)
{
	uint32_t service = hit->service, same[3] = { BACKEND_NONE, BACKEND_NONE, BACKEND_NONE };

	if (service == SERVICE_NONE)
		return BACKEND_NONE;
	same[0] = service_backend_find(service, &final->dst, final->dport);
	if (client->dport == final->dport)
		same[1] = service_backend_find(service, &final->dst, 0);
	if (hit->target_port == final->dport)
		same[2] = service_backend_of_addr(service, &final->dst);
	for (unsigned int i = 0; i < RTE_DIM(same); i++)
		if (same[i] != BACKEND_NONE && service_binding_holds(service, same[i]))
			return same[i];
	return BACKEND_NONE;
}

/* A backend that speaks to its own service, or one that would answer past this node, must see this node as the client. */
static enum snat_kind snat_needed(const struct slow_ctx *ctx, const struct ip_addr *src,
	const struct ip_addr *dst, const struct service_hit *hit)
{
	uint16_t flags = atomic_load_explicit(
		&service_at(hit->service)->flags, memory_order_relaxed);

	if (ip_eq(src, dst))
		return SNAT_HAIRPIN;
	if ((hit->kind == FRONTEND_EXTERNAL || hit->kind == FRONTEND_NODE_PORT) &&
		slow_is_from_outside(ctx) && (flags & SERVICE_F_EXTERNAL_LOCAL) == 0)
		return SNAT_POOL;
	return SNAT_NONE;
}

/* Of a packet to a pair's external address: its sender's own external one. */
static void pair_source(struct slow_ctx *ctx)
{
	uint32_t from = snat_pair_of_internal(ctx->zone, &ctx->pkt->src);

	if (from == SLOT_NONE)
		return;
	ctx->snat = SNAT_PAIR;
	ctx->pool = from;
}

/* Whether it goes by a pair, and to where that leads now unless it is established. */
static bool pair_holds(const struct slow_ctx *ctx, const struct translation *client,
	const struct translation *final)
{
	uint32_t pair = snat_pair_of_external(ctx->zone, &client->dst);

	return pair != SLOT_NONE &&
		(!slow_is_unbound(ctx) || ip_eq(&snat_pair_at(pair)->internal.addr, &final->dst));
}

static void binding_check(struct slow_ctx *ctx)
{
	const struct conn *c = slow_conn(ctx);
	uint32_t service = atomic_load_explicit(&c->service, memory_order_relaxed);
	uint32_t backend = atomic_load_explicit(&c->backend, memory_order_relaxed);
	bool is_retry = slow_is_retry(ctx);
	struct translation client, final;
	struct service_hit hit;

	slow_conn_tuples(ctx->ft, ctx->flow >> 1, &client, &final);
	if (ip_eq(&client.src, &final.dst))
		ctx->snat = SNAT_HAIRPIN; /* as the first packet was: policies ask */
	frontend_find(ctx, &client, &hit);
	if (is_retry && hit.service != SERVICE_NONE)
		ctx->snat = (uint8_t)snat_needed(ctx, &client.src, &final.dst, &hit);
	ctx->pool = SNAT_POOL_NODE;
	if (service != SERVICE_NONE && service_binding_holds(service, backend) &&
		is_backend_of(backend, &hit, &final) && (!is_retry || hit.service == service)) {
		ctx->service = service;
		ctx->backend = backend;
		return;
	}
	if (service == SERVICE_NONE && ip_eq(&client.dst, &final.dst)) {
		/* Went straight to an address that has become a service's meanwhile. */
		if ((hit.service != SERVICE_NONE && !slow_is_reply(ctx) &&
			    (ctx->pkt->proto != IPPROTO_TCP || is_retry)) ||
			(is_retry && snat_pair_of_external(ctx->zone, &client.dst) != SLOT_NONE))
			ctx->action = SLOW_REBIND;
		return;
	}
	if (pair_holds(ctx, &client, &final)) {
		if (is_retry)
			pair_source(ctx);
		return;
	}
	/* Bound by an earlier process, or configured anew meanwhile, perhaps. */
	backend = backend_again(&hit, &client, &final);
	if (backend != BACKEND_NONE) {
		ctx->service = hit.service;
		ctx->backend = backend;
		return;
	}
	binding_broken(ctx, hit.service);
}

/* To a pair's external address. From one pair's to another's, or to itself, the sender is seen with its own external address, as the
 * receiver would see it from outside (RFC 4787 REQ-9 (a), RFC 5382 REQ-8). */
static bool pair_apply(struct slow_ctx *ctx)
{
	uint32_t to = snat_pair_of_external(ctx->zone, &ctx->now.dst);

	if (to == SLOT_NONE)
		return false;
	ctx->now.dst = snat_pair_at(to)->internal.addr;
	pair_source(ctx);
	return true;
}

/* Whether only this node's backends may serve. */
static bool is_local_only(const struct slow_ctx *ctx, const struct service_hit *hit, uint16_t flags)
{
	switch (hit->kind) {
	case FRONTEND_CLUSTER:
		return (flags & SERVICE_F_INTERNAL_LOCAL) != 0;
	case FRONTEND_HOST_PORT:
		return false;
	default:
		return (flags & SERVICE_F_EXTERNAL_LOCAL) != 0 && slow_is_from_outside(ctx);
	}
}

static void backend_missing(
	struct slow_ctx *ctx, const struct service_hit *hit, uint16_t flags, bool local_only)
{
	/* Another node has backends: the router in front is to find out and go there. */
	if ((flags & SERVICE_F_REJECT) == 0 || (local_only && hit->kind != FRONTEND_CLUSTER))
		slow_drop(ctx, DROP_SERVICE_NO_BACKEND, ICMP_ERROR_N);
	else
		slow_refuse(ctx, DROP_SERVICE_NO_BACKEND, ICMP_ERROR_PORT_UNREACHABLE);
}

static void service_apply(struct slow_ctx *ctx, const struct service_hit *hit)
{
	uint16_t flags = atomic_load_explicit(
		&service_at(hit->service)->flags, memory_order_relaxed);
	bool local_only = is_local_only(ctx, hit, flags);
	const struct service_pick pick = { .src = &ctx->now.src,
		.dst = &ctx->now.dst,
		.sport = ctx->now.sport,
		.dport = ctx->now.dport,
		.proto = ctx->pkt->proto,
		.is_local_only = local_only,
		.is_peek = ctx->is_peek,
		.now_s = ctx->now_s };
	const struct backend *backend;

	ctx->service = hit->service;
	if (hit->kind == FRONTEND_EXTERNAL &&
		!service_source_allowed(hit->service, &ctx->now.src)) {
		slow_drop(ctx, DROP_SERVICE_SOURCE_REFUSED, ICMP_ERROR_N);
		return;
	}
	ctx->backend = service_pick(hit->service, &pick);
	if (ctx->backend == BACKEND_NONE) {
		backend_missing(ctx, hit, flags, local_only);
		return;
	}
	backend = backend_at(ctx->backend);
	ctx->now.dst = backend->addr;
	if (hit->target_port != 0)
		ctx->now.dport = hit->target_port;
	else if (backend->port != 0)
		ctx->now.dport = backend->port;
	ctx->snat = (uint8_t)snat_needed(ctx, &ctx->now.src, &ctx->now.dst, hit);
	ctx->pool = SNAT_POOL_NODE;
}

void layer_service(struct slow_ctx *ctx)
{
	struct service_hit hit;

	if (ctx->is_own || ctx->is_related)
		return;
	if (ctx->flow != FLOW_NONE) {
		binding_check(ctx);
		return;
	}
	if (pair_apply(ctx))
		return;
	frontend_find(ctx, &ctx->now, &hit);
	if (hit.service != SERVICE_NONE)
		service_apply(ctx, &hit);
	else if (hit.is_vip && slow_endpoint_at(ctx, &ctx->now.dst) == ENDPOINT_NONE)
		slow_refuse(ctx, DROP_SERVICE_NO_PORT, ICMP_ERROR_PORT_UNREACHABLE);
}
