/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/load.h"

#include "control/loop.h"
#include "datapath/base/clock.h"

#define INTERVAL_NS (500 * CLOCK_NS_PER_MS)

struct sample {
	struct worker_stats stats;
	uint64_t time_ns, cycles;
};

/* Two samples back, so that a reader always has at least one whole interval. */
static struct sample samples[WORKER_MAX][2];
static uint64_t last_ns;

static unsigned int load_tick(void)
{
	uint64_t now_ns = loop_now_ns();

	if (now_ns - last_ns < INTERVAL_NS)
		return 0;
	last_ns = now_ns;
	for (unsigned int i = 0; i < worker_count; i++) {
		samples[i][0] = samples[i][1];
		samples[i][1] = (struct sample){
			.stats = worker_table[i]->stats, .time_ns = now_ns, .cycles = rte_rdtsc()
		};
	}
	return 0;
}

void load_init(void)
{
	loop_add_tick(load_tick);
}

void load_read(unsigned int worker, struct worker_load *out)
{
	const struct sample *from = &samples[worker][0];
	uint64_t now_ns = loop_now_ns();

	out->total = out->recent = worker_table[worker]->stats;
	out->recent.n_rx_pkts -= from->stats.n_rx_pkts;
	out->recent.n_rx_bursts -= from->stats.n_rx_bursts;
	out->recent.busy_cycles -= from->stats.busy_cycles;
	out->recent.idle_cycles -= from->stats.idle_cycles;
	out->recent.slept_ns -= from->stats.slept_ns;
	out->recent_ns = from->time_ns != 0 ? now_ns - from->time_ns : 0;
	out->recent_cycles = from->time_ns != 0 ? rte_rdtsc() - from->cycles : 0;
}
