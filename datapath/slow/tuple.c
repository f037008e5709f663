/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/slow/tuple.h"

#include <netinet/in.h>

#include "datapath/packet/icmp_query.h"

#include "datapath/fast/poison.h"

static void tuples4(const struct flow4 *f, struct translation *in, struct translation *out)
{
	*in = (struct translation){ .src = ip_from_v4(f->key.src),
		.dst = ip_from_v4(f->key.dst),
		.sport = f->key.sport,
		.dport = f->key.dport };
	*out = *in;
	if ((atomic_load_explicit(&f->prog.flags, memory_order_relaxed) & FLOW_F_NAT) != 0)
		*out = (struct translation){ .src = ip_from_v4(f->new_src),
			.dst = ip_from_v4(f->new_dst),
			.sport = f->new_sport,
			.dport = f->new_dport };
}

static void tuples6(const struct flow6 *f, struct translation *in, struct translation *out)
{
	*in = (struct translation){ .sport = f->key.sport, .dport = f->key.dport };
	memcpy(in->src.b, f->key.src, 16);
	memcpy(in->dst.b, f->key.dst, 16);
	*out = *in;
	if ((atomic_load_explicit(&f->prog.flags, memory_order_relaxed) & FLOW_F_NAT) == 0)
		return;
	memcpy(out->src.b, f->new_src, 16);
	memcpy(out->dst.b, f->new_dst, 16);
	out->sport = f->new_sport;
	out->dport = f->new_dport;
}

void slow_flow_tuples(
	const struct flowtab *t, uint32_t flow, struct translation *in, struct translation *out)
{
	if (t->is_v6)
		tuples6(flowtab_flow6(t, flow), in, out);
	else
		tuples4(flowtab_flow4(t, flow), in, out);
}

/* ICMP has types and codes for ports; an answer those of its question. */
static uint16_t icmp_port(const struct slow_ctx *ctx)
{
	bool is_v6 = ctx->pkt->l3 == PARSED_IP6;
	uint8_t type = ctx->pkt->icmp_type;

	if (!icmp_message_is_answer(icmp_message_of(is_v6, type)))
		return (uint16_t)(type << 8 | ctx->pkt->icmp_code);
	return (uint16_t)((type == 0 ? 8 : type - 1) << 8);
}

void slow_rule_packet(const struct slow_ctx *ctx, struct rule_packet *out)
{
	struct translation client = { .src = ctx->pkt->src,
		.dst = ctx->pkt->dst,
		.sport = ctx->pkt->sport,
		.dport = ctx->pkt->dport },
			   final = ctx->now;

	if (ctx->flow != FLOW_NONE)
		slow_conn_tuples(ctx->ft, ctx->flow >> 1, &client, &final);
	*out = (struct rule_packet){ .zone = ctx->zone,
		.proto = ctx->pkt->proto,
		.has_ports = ctx->pkt->has_l4,
		.src = client.src,
		.dst = final.dst,
		.sport = rte_be_to_cpu_16(client.sport),
		.dport = rte_be_to_cpu_16(final.dport) };
	if (out->proto == (ctx->pkt->l3 == PARSED_IP6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		out->sport = 0;
		out->dport = icmp_port(ctx);
	}
}
