/* SPDX-License-Identifier: BSD-3-Clause */
/* What rules want logged: connections as they begin, and every packet that is refused. */
#include "datapath/pipeline/punt.h"
#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"

#include "datapath/fast/poison.h"

static enum rule_action verdict(const struct slow_ctx *ctx)
{
	if (ctx->action != SLOW_DROP)
		return RULE_ALLOW;
	return ctx->reason == DROP_POLICY_DENIED      ? RULE_DENY
		: ctx->reason == DROP_POLICY_REJECTED ? RULE_REJECT
						      : RULE_ALLOW;
}

void slow_policy_log(struct worker *w, const struct batch *b, const struct slow_ctx *ctx)
{
	enum rule_action action = verdict(ctx);
	struct rule_packet pkt;

	/* a held packet comes again; of a connection that goes on, the line has been written */
	if (ctx->action == SLOW_RESOLVE_NEIGH || ctx->action == SLOW_RESOLVE_TUNNEL ||
		(ctx->flow != FLOW_NONE && action == RULE_ALLOW))
		return;
	slow_rule_packet(ctx, &pkt);
	for (int dir = 0; dir < POLICY_DIR_N; dir++) {
		const struct punt_msg msg = { .kind = PUNT_LOG,
			.port_id = b->port->id,
			.out_port_id = PORT_ID_NONE,
			.worker = w->id,
			.idx = ctx->log_rule[dir],
			.target = pkt.dst,
			.src = pkt.src,
			.sport = pkt.sport,
			.dport = pkt.dport,
			.proto = pkt.proto,
			.verdict = (uint8_t)action,
			.dir = (uint8_t)dir };

		if (msg.idx != RULE_NONE &&
			(!slow_rate_pass(w, &w->log_tat_ns) || !punt_send(&msg)))
			w->stats.n_logs_lost++;
	}
}
