/* SPDX-License-Identifier: BSD-3-Clause */
/* Does the packet belong to a connection, or may it begin one? What only answers or ends something makes none. */
#include "datapath/packet/icmp_query.h"
#include "datapath/slow/slow.h"
#include "datapath/table/conn_window.h"
#include "datapath/table/service.h"

#include "datapath/fast/poison.h"

/* TCP or SCTP. Liberal tracking picks up data in the middle, since the table may have been lost, but not what a server says: it would
 * leave with the server's own address, and its client's next segment says where it belongs. Nor begins a server an SCTP
 * association from where it serves. */
static bool may_begin(const struct slow_ctx *ctx)
{
	const struct parsed *pkt = ctx->pkt;

	if (pkt->proto == IPPROTO_TCP) {
		if (conn_tcp_is_syn(pkt->tcp_flags))
			return true;
		if (atomic_load_explicit(&conn_tcp_strict, memory_order_relaxed))
			return false;
	}
	return (conn_tcp_is_syn(pkt->tcp_flags) ||
		       (pkt->tcp_flags & (CONN_TCP_SYN | CONN_TCP_FIN | CONN_TCP_RST)) == 0) &&
		!service_is_server(ctx->zone, &pkt->src, pkt->proto, pkt->sport);
}

void layer_track(struct slow_ctx *ctx)
{
	const struct parsed *pkt = ctx->pkt;
	bool is_v6 = pkt->l3 == PARSED_IP6, is_first = ctx->flow == FLOW_NONE;

	if (pkt->proto == IPPROTO_UDP || !pkt->has_l4)
		return;
	if (pkt->proto == IPPROTO_TCP && conn_tcp_flags_bad(pkt->tcp_flags))
		slow_drop(ctx, DROP_TCP_INVALID, ICMP_ERROR_N);
	else if (is_first && conn_has_handshake(pkt->proto) && !may_begin(ctx))
		slow_drop(ctx, DROP_NO_CONNECTION, ICMP_ERROR_N);
	else if (is_first && pkt->proto == (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) &&
		icmp_message_is_answer(icmp_message_of(is_v6, pkt->icmp_type)))
		slow_drop(ctx, DROP_ICMP_UNMATCHED, ICMP_ERROR_N);
}
