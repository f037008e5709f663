/* SPDX-License-Identifier: BSD-3-Clause */
/* What rules want logged: connections as they begin, and every packet that is refused. */
#include "datapath/pipeline/punt.h"
#include "datapath/slow/slow.h"
#include "datapath/slow/tuple.h"

#include "datapath/fast/poison.h"

#define LOG_INTERVAL_NS 1000000u /* 1000 a second and worker, 50 at once, as ICMP errors */
#define LOG_BURST_NS (50u * LOG_INTERVAL_NS)

static bool limit_pass(struct worker *w)
{
	uint64_t next = RTE_MAX(w->log_tat_ns, w->now_ns) + LOG_INTERVAL_NS;

	if (next > w->now_ns + LOG_BURST_NS)
		return false;
	w->log_tat_ns = next;
	return true;
}

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

		if (msg.idx != RULE_NONE && (!limit_pass(w) || !punt_send(&msg)))
			w->stats.n_logs_lost++;
	}
}
