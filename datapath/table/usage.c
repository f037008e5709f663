/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/table/usage.h"

#include "datapath/base/gen.h"
#include "datapath/table/classifier.h"
#include "datapath/table/service.h"

/* The object's index, unless the slot has changed hands since the connection was last judged. */
static uint32_t still(uint32_t idx, const _Atomic uint32_t *gen, uint32_t epoch)
{
	return gen_is_newer(gen, epoch) ? SLOT_NONE : idx;
}

bool usage_conn_read(const struct flowtab *t, uint32_t conn, struct usage_conn *out)
{
	const struct conn *c = &t->conns[conn];
	uint32_t epoch = atomic_load_explicit(
		&flowtab_prog(t, 2 * conn)->epoch, memory_order_relaxed);
	struct flow_count orig, reply;
	bool is_any = false;

	if (atomic_load_explicit(&c->state, memory_order_acquire) == CONN_FREE)
		return false;
	*out = (struct usage_conn){
		.backend = atomic_load_explicit(&c->backend, memory_order_relaxed),
		.rule = { atomic_load_explicit(&c->rule[0], memory_order_relaxed),
			atomic_load_explicit(&c->rule[1], memory_order_relaxed) },
	};
	if (out->backend != SLOT_NONE)
		out->backend = still(out->backend, &backend_at(out->backend)->gen, epoch);
	for (unsigned int d = 0; d < 2; d++)
		if (out->rule[d] != SLOT_NONE)
			out->rule[d] = still(out->rule[d], &rule_at(out->rule[d])->gen, epoch);
	is_any = out->backend != SLOT_NONE || out->rule[0] != SLOT_NONE ||
		out->rule[1] != SLOT_NONE;
	if (!is_any)
		return false;
	orig = flowtab_count(t, 2 * conn);
	reply = flowtab_count(t, 2 * conn + 1);
	out->pkts = orig.pkts + reply.pkts;
	out->bytes = orig.bytes + reply.bytes;
	return true;
}

static void add(_Atomic uint64_t *pkts, _Atomic uint64_t *bytes, const struct usage_conn *u)
{
	atomic_fetch_add_explicit(pkts, u->pkts, memory_order_relaxed);
	atomic_fetch_add_explicit(bytes, u->bytes, memory_order_relaxed);
}

void usage_conn_ended(const struct flowtab *t, uint32_t conn)
{
	struct usage_conn u;

	if (!usage_conn_read(t, conn, &u))
		return;
	if (u.backend != SLOT_NONE)
		add(&backend_at(u.backend)->pkts, &backend_at(u.backend)->bytes, &u);
	for (unsigned int d = 0; d < 2; d++)
		if (u.rule[d] != SLOT_NONE)
			add(&rule_at(u.rule[d])->pkts, &rule_at(u.rule[d])->bytes, &u);
}
