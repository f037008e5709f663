/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP that leatd sends or answers, and ICMP errors that pass through. */
#include <netinet/in.h>

#include <rte_icmp.h>
#include <rte_ip.h>

#include "datapath/packet/chain.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/tcp_reset.h"
#include "datapath/pipeline/punt.h"
#include "datapath/slow/commit.h"
#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/restart.h"
#include "datapath/table/tunnel.h"

#include "datapath/fast/poison.h"

#define L3_OFF 14u

/* The node's own address; without one, the gateway's that pods know. */
static struct ip_addr error_source(bool is_v6)
{
	struct ip_addr src = endpoint_node_addr(is_v6);

	return ip_is_zero(&src) ? ip_gateway(is_v6) : src;
}

/* The way back to the packet's sender, as any packet to it would go. */
static uint32_t way_back(
	const struct batch *b, uint64_t i, const struct parsed *pkt, const struct ip_addr *src)
{
	struct parsed back = { .l3 = pkt->l3, .src = *src, .dst = pkt->src };
	struct slow_ctx ctx = { .pkt = &back,
		.port = b->port,
		.in = b->port->id,
		.zone = b->zone[i],
		.flow = FLOW_NONE,
		.is_own = true,
		.now = { .src = *src, .dst = pkt->src },
		SLOW_CTX_INTENT };

	if (restart_is_gated()) /* of a flow that runs its saved program: the routes are not back */
		return PATH_NONE;
	slow_layers_run(&ctx, LAYER_local);
	return ctx.action == SLOW_FORWARD ? ctx.path : PATH_NONE;
}

void slow_answer_error(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt,
	enum drop_reason reason, enum icmp_error_kind kind, uint32_t param)
{
	bool is_v6 = pkt->l3 == PARSED_IP6;
	struct ip_addr src = error_source(is_v6);
	struct rte_mbuf *error;
	uint32_t path;

	if (kind != ICMP_ERROR_N && slow_rate_pass(w, &w->icmp_tat_ns)) {
		path = way_back(b, i, pkt, &src);
		error = path != PATH_NONE
			? icmp_error_create(b->m[i], L3_OFF, kind, param, &src, w->pool)
			: NULL;
		if (error != NULL)
			worker_send(w, path_at(path), error, is_v6, 0);
	}
	batch_kill(w, b, i, reason);
}

void slow_answer_reset(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt,
	enum drop_reason reason)
{
	uint32_t path = slow_rate_pass(w, &w->icmp_tat_ns) ? way_back(b, i, pkt, &pkt->dst)
							   : PATH_NONE;
	struct rte_mbuf *reset = path != PATH_NONE ? tcp_reset_create(b->m[i], L3_OFF, w->pool)
						   : NULL;

	if (reset != NULL)
		worker_send(w, path_at(path), reset, pkt->l3 == PARSED_IP6, 0);
	batch_kill(w, b, i, reason);
}

/* To the packet's receiver: what its sender would say, on the way that the flow took so far. */
static void reset_forward(struct worker *w, const struct rte_mbuf *m, const struct slow_ctx *ctx)
{
	const struct flow_prog *p = flowtab_prog(ctx->ft, ctx->flow);
	/* Unjudged, its path may be another's by now. */
	uint32_t path = (atomic_load_explicit(&p->flags, memory_order_relaxed) & FLOW_F_UNJUDGED) !=
			0
		? PATH_NONE
		: atomic_load_explicit(&p->path, memory_order_relaxed);
	struct rte_mbuf *reset = path != PATH_NONE ? tcp_reset_for(m, L3_OFF, w->pool) : NULL;
	struct translation in, out;
	struct parsed pkt;

	if (reset == NULL)
		return;
	slow_flow_tuples(ctx->ft, ctx->flow, &in, &out);
	if (parse_frame(reset, &pkt) == DROP_NONE && translate_packet(reset, L3_OFF, &pkt, &out))
		worker_send(w, path_at(path), reset, ctx->ft->is_v6, 0);
	else
		rte_pktmbuf_free(reset);
}

void slow_reset_both(struct worker *w, struct batch *b, uint64_t i, const struct slow_ctx *ctx)
{
	reset_forward(w, b->m[i], ctx);
	flowtab_unlink(ctx->ft->is_v6 ? w->ft6 : w->ft4, ctx->flow >> 1);
	slow_answer_reset(w, b, i, ctx->pkt, DROP_SERVICE_BACKEND_GONE);
}

bool slow_self_is_answered(const struct rte_mbuf *m, const struct parsed *pkt)
{
	const uint8_t *icmp = rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->l4_off);
	bool is_v6 = pkt->l3 == PARSED_IP6;

	return !pkt->is_frag && pkt->has_l4 &&
		pkt->proto == (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) &&
		icmp[0] == (is_v6 ? 128 : RTE_IP_ICMP_ECHO_REQUEST) &&
		csum_verify_l4(m, L3_OFF) == CSUM_OK;
}

/* Echo request → reply, in place: addresses change places, the type's change is brought into the checksum. */
static bool echo_reply(struct rte_mbuf *m, const struct parsed *pkt)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *), *icmp = data + pkt->l4_off;
	bool is_v6 = pkt->l3 == PARSED_IP6;
	uint16_t csum, old_word, new_word;

	if (!slow_self_is_answered(m, pkt))
		return false;
	memcpy(&old_word, icmp, 2);
	icmp[0] = is_v6 ? 129 : RTE_IP_ICMP_ECHO_REPLY;
	memcpy(&new_word, icmp, 2);
	memcpy(&csum, icmp + 2, 2);
	csum = csum_update16(csum, old_word, new_word);
	memcpy(icmp + 2, &csum, 2);
	if (is_v6) {
		struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(data + L3_OFF);

		memcpy(ip->src_addr, pkt->dst.b, 16);
		memcpy(ip->dst_addr, pkt->src.b, 16);
		ip->hop_limits = 64;
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(data + L3_OFF);

		ip->src_addr = ip_v4(&pkt->dst);
		ip->dst_addr = ip_v4(&pkt->src);
		ip->time_to_live = 64;
		ip->hdr_checksum = csum_ip4_header(ip, rte_ipv4_hdr_len(ip));
	}
	return true;
}

void slow_self(struct worker *w, struct batch *b, uint64_t i, const struct parsed *pkt)
{
	struct rte_ether_hdr *eth = rte_pktmbuf_mtod(b->m[i], struct rte_ether_hdr *);
	struct rte_ether_addr mac;

	if ((b->in[i] & FLOW_IN_TUNNEL) != 0) {
		batch_kill(w, b, i, DROP_LOCAL_PROTO);
		return;
	}
	if (!echo_reply(b->m[i], pkt)) {
		slow_answer_error(w, b, i, pkt, DROP_LOCAL_PROTO,
			pkt->proto == IPPROTO_UDP ? ICMP_ERROR_PORT_UNREACHABLE : ICMP_ERROR_N, 0);
		return;
	}
	mac = eth->src_addr;
	eth->src_addr = eth->dst_addr;
	eth->dst_addr = mac;
	slow_reflect(w, b, i);
}

uint32_t slow_quoted_flow(
	struct worker *w, const struct rte_mbuf *m, const struct parsed *pkt, uint16_t zone)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	bool is_v6 = pkt->l3 == PARSED_IP6;
	struct parsed quote;
	uint8_t kind;

	if (parse_l3(data, m->data_len, m->pkt_len, (uint16_t)(pkt->l4_off + 8),
		    (enum parsed_l3)pkt->l3, true, &quote) != DROP_NONE)
		return FLOW_NONE;
	kind = flow_key_kind_reverse(commit_key_kind(&quote));
	if (!is_v6) {
		struct flow_key4 key = { ip_v4(&quote.dst), ip_v4(&quote.src), quote.dport,
			quote.sport, zone, quote.proto, kind };

		return flowtab_find4(w->ft4, &key);
	}
	struct flow_key6 key = { .sport = quote.dport,
		.dport = quote.sport,
		.zone = zone,
		.proto = quote.proto,
		.kind = kind };

	memcpy(key.src, quote.dst.b, 16);
	memcpy(key.dst, quote.src.b, 16);
	return flowtab_find6(w->ft6, &key);
}

void slow_related_tuple(struct slow_ctx *ctx)
{
	struct translation reply, translated;

	slow_flow_tuples(ctx->ft, ctx->flow, &reply, &translated);
	ctx->now.dst = translated.dst;
	if (ip_eq(&ctx->pkt->src, &reply.src))
		ctx->now.src = translated.src;
}

bool slow_related_translate(struct rte_mbuf *m, const struct slow_ctx *ctx)
{
	struct translation reply, translated, quote;

	slow_flow_tuples(ctx->ft, ctx->flow, &reply, &translated);
	if ((atomic_load_explicit(&flowtab_prog(ctx->ft, ctx->flow)->flags, memory_order_relaxed) &
		    FLOW_F_NAT) == 0)
		return true;
	quote = translation_reverse(&translated);
	return translate_icmp_error(
		m, ctx->pkt->l3_off, ctx->pkt, &ctx->now.src, &ctx->now.dst, &quote);
}

/* MTU that an ICMP "fragmentation needed" or "packet too big" speaks of; 0: another message, or a router that does not say. */
static uint32_t too_big_mtu(const struct rte_mbuf *m, const struct parsed *pkt)
{
	bool is_v6 = pkt->l3 == PARSED_IP6;
	rte_be16_t be16;
	rte_be32_t be32;

	if (pkt->icmp_type != (is_v6 ? 2 : 3) || pkt->icmp_code != (is_v6 ? 0 : 4))
		return 0;
	if (is_v6)
		return chain_read(m, pkt->l4_off + 4, &be32, 4) ? rte_be_to_cpu_32(be32) : 0;
	return chain_read(m, pkt->l4_off + 6, &be16, 2) ? rte_be_to_cpu_16(be16) : 0;
}

bool slow_tunnel_too_big(
	struct worker *w, const struct batch *b, uint64_t i, const struct parsed *pkt)
{
	const struct rte_mbuf *m = b->m[i];
	uint32_t mtu = too_big_mtu(m, pkt), ep = endpoint_by_addr(b->zone[i], &pkt->dst);
	struct punt_msg msg = { .kind = PUNT_PMTU, .port_id = b->port->id, .worker = w->id };
	struct parsed quote;

	if (b->port->role != PORT_ROLE_UPLINK || (b->in[i] & FLOW_IN_TUNNEL) != 0 || mtu == 0 ||
		ep == ENDPOINT_NONE || endpoint_at(ep)->kind == ENDPOINT_POD)
		return false;
	if (parse_l3(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len,
		    (uint16_t)(pkt->l4_off + 8), (enum parsed_l3)pkt->l3, true,
		    &quote) != DROP_NONE)
		return false;
	/* Ours: from the address that was told, to the end of a tunnel, in the tunnel's language. */
	if (!quote.has_l4 || quote.proto != IPPROTO_UDP || !ip_eq(&quote.src, &pkt->dst) ||
		!tunnel_listens(rte_be_to_cpu_16(quote.dport)) ||
		!tunnel_remote_known(&quote.dst) || csum_verify_l4(m, L3_OFF) != CSUM_OK)
		return false;
	msg.target = quote.dst;
	msg.idx = mtu;
	return punt_send(&msg);
}
