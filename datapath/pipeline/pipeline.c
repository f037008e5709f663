/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/pipeline/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "datapath/base/clock.h"
#include "datapath/base/gen.h"
#include "datapath/fast/stages.h"
#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/punt.h"
#include "datapath/slow/slow.h"
#include "datapath/table/restart.h"
#include "datapath/table/tunnel.h"

#define INJECT_BURST 32
#define SWEEP_INTERVAL_NS (1 * CLOCK_NS_PER_MS)
#define SWEEP_ROUND_S 10u	 /* every connection is looked at about this often */
#define SWEEP_ROUND_PRESSED_S 1u /* … when half-open ones must make room */
#define SWEEP_SLICE_MAX 2048u

struct worker *worker_table[WORKER_MAX];
unsigned int worker_count;
_Atomic(struct port *) port_table[PORT_MAX];

static void (*const stages[STAGE_N])(struct worker *w, struct batch *b) = {
#define STAGE(name, help) stage_##name,
#include "datapath/fast/stages.def"
#undef STAGE
};

struct worker *worker_create(
	unsigned int id, struct flowtab *ft4, struct flowtab *ft6, struct rte_mempool *pool)
{
	struct worker *w = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*w), (size_t)RTE_CACHE_LINE_SIZE));

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->tx = calloc(PORT_MAX, sizeof(*w->tx));
	if (w->tx == NULL) {
		free(w);
		return NULL;
	}
	w->id = (uint8_t)id;
	w->ft4 = ft4;
	w->ft6 = ft6;
	w->pool = pool;
	pipeline_round_begin(w);
	worker_table[id] = w;
	if (id >= worker_count)
		worker_count = id + 1;
	return w;
}

void worker_destroy(struct worker *w)
{
	if (w == NULL)
		return;
	worker_table[w->id] = NULL;
	rte_pktmbuf_free_bulk(w->gated.m, w->gated.n);
	free(w->tx);
	free(w);
}

void pipeline_round_begin(struct worker *w)
{
	w->now_ns = clock_ns();
	w->now_s = (uint32_t)(w->now_ns / CLOCK_NS_PER_S);
	w->epoch = gen_now();
	w->observe = observe_flags();
}

void batch_apply(struct worker *w, struct batch *b)
{
	stage_rewrite(w, b);
}

static void stages_run(struct worker *w, struct batch *b)
{
	for (unsigned int s = 0; s < STAGE_N; s++)
		stages[s](w, b);
}

/* The same with clocks around each stage, and eyes on the packets. */
static void stages_run_observed(struct worker *w, struct batch *b)
{
	for (unsigned int s = 0; s < STAGE_N; s++) {
		uint64_t live = b->live, t0 = rte_rdtsc();

		stages[s](w, b);
		w->stats.stages[s].cycles += rte_rdtsc() - t0;
		w->stats.stages[s].pkts += (uint64_t)__builtin_popcountll(live);
		w->stats.stages[s].calls++;
		if ((w->observe & OBSERVE_TRACE) != 0)
			observe_stage(w, b, (enum stage_id)s, live);
	}
}

/* The n packets in b->m, from ingress `in` and of `zone`, through all stages. */
static void batch_run(struct worker *w, struct port *p, uint16_t n, uint16_t in, uint16_t zone)
{
	struct batch *b = &w->batch;

	b->n = n;
	b->port = p;
	b->live = n == BATCH_LEN ? UINT64_MAX : (1ull << n) - 1;
	b->slow = b->v4 = b->v6 = b->hit = 0;
	w->in_stats = p->stats[w->id];
	for (uint16_t i = 0; i < BATCH_LEN; i++)
		b->in[i] = in;
	for (uint16_t i = 0; i < BATCH_LEN; i++)
		b->zone[i] = zone;
	if (likely(w->observe == 0))
		stages_run(w, b);
	else
		stages_run_observed(w, b);
}

void pipeline_run(struct worker *w, struct port *p, struct rte_mbuf **pkts, uint16_t n, uint16_t in)
{
	memcpy(w->batch.m, pkts, n * sizeof(*pkts));
	if (in != 0)
		batch_run(w, p, n, in, tunnel_at(in & (FLOW_IN_TUNNEL - 1))->zone);
	else
		batch_run(w, p, n, p->id, p->zone);
}

uint16_t pipeline_poll(struct worker *w, struct port *p, uint16_t queue)
{
	struct rte_mbuf **pkts = w->batch.m;
	uint16_t n = p->ops->rx(p, queue, w->id, pkts, BATCH_LEN);
	uint64_t bytes = 0;

	if (n == 0)
		return 0;
	for (uint16_t i = 0; i < n; i++)
		bytes += pkts[i]->pkt_len;
	p->stats[w->id]->rx_pkts += n;
	p->stats[w->id]->rx_bytes += bytes;
	if (unlikely(w->observe != 0))
		observe_rx(w, p, pkts, n);
	w->stats.n_rx_bursts++;
	w->stats.n_rx_pkts += n;
	batch_run(w, p, n, p->id, p->zone);
	return n;
}

/* A packet that waited for a neighbour goes on. */
static void resume(struct worker *w, struct port *p, struct inject_msg *msg)
{
	w->batch.is_resumed = true;
	pipeline_run(w, p, &msg->m, 1, msg->in & FLOW_IN_TUNNEL ? msg->in : 0);
	w->batch.is_resumed = false;
}

static bool mailbox_serve(struct worker *w)
{
	struct inject_msg msgs[INJECT_BURST];
	unsigned int n = inject_receive(w->id, msgs, INJECT_BURST);

	for (unsigned int i = 0; i < n; i++) {
		struct port *p = port_at(msgs[i].port_id);

		if (p == NULL)
			rte_pktmbuf_free(msgs[i].m);
		else if (msgs[i].kind == INJECT_TX)
			worker_emit(w, p, msgs[i].m);
		else
			resume(w, p, &msgs[i]);
	}
	worker_flush(w);
	return n == INJECT_BURST;
}

/* The gate is open: what waited is judged now. */
static void gated_release(struct worker *w)
{
	struct gated_box *box = &w->gated;

	for (uint16_t i = 0; i < box->n; i++) {
		struct port *p = port_at(box->m[i]->port);

		if (p != NULL)
			pipeline_run(w, p, &box->m[i], 1, box->in[i]);
		else
			rte_pktmbuf_free(box->m[i]);
	}
	box->n = 0;
	memset(box->n_of_port, 0, sizeof(box->n_of_port));
}

/* Connections to look at this time so that a whole round takes about SWEEP_ROUND_S. */
static unsigned int sweep_slice(const struct flowtab *t, uint64_t since_ns)
{
	uint64_t round_s = flowtab_pressure(t) > 0 ? SWEEP_ROUND_PRESSED_S : SWEEP_ROUND_S;
	uint64_t n = (uint64_t)flowtab_n_touched(t) * since_ns / (round_s * CLOCK_NS_PER_S) /
			t->n_workers +
		16;

	return n < SWEEP_SLICE_MAX ? (unsigned int)n : SWEEP_SLICE_MAX;
}

bool pipeline_housekeep(struct worker *w)
{
	bool is_more = mailbox_serve(w);
	uint64_t since_ns = w->now_ns - w->housekeeping_ns;

	if (unlikely(w->gated.n > 0) && !restart_is_gated())
		gated_release(w);
	if (since_ns < SWEEP_INTERVAL_NS)
		return is_more;
	w->housekeeping_ns = w->now_ns;
	flowtab_sweep(w->ft4, w->id, sweep_slice(w->ft4, since_ns), w->now_s);
	flowtab_sweep(w->ft6, w->id, sweep_slice(w->ft6, since_ns), w->now_s);
	if (w->id == 0 && w->now_s != w->fragments_s) {
		w->fragments_s = w->now_s;
		slow_fragments_expire(w);
	}
	flowtab_reclaim(w->ft4, w->id);
	flowtab_reclaim(w->ft6, w->id);
	return is_more;
}
