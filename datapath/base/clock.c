/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/clock.h"

#include <time.h>

_Atomic uint64_t clock_warp_offset_ns = 3600 * CLOCK_NS_PER_S;
uint64_t clock_tsc_hz;
uint64_t clock_tsc_mult;
uint64_t clock_tsc_base;

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void clock_init(void)
{
	if (clock_tsc_hz != 0)
		return;
	clock_tsc_hz = rte_get_tsc_hz();
	if (clock_tsc_hz == 0) {
		/* Before rte_eal_init (unit tests): calibrate over 2 ms. */
		uint64_t t0 = monotonic_ns(), c0 = rte_rdtsc(), t1;

		do
			t1 = monotonic_ns();
		while (t1 - t0 < 2 * CLOCK_NS_PER_MS);
		clock_tsc_hz = (rte_rdtsc() - c0) * CLOCK_NS_PER_S / (t1 - t0);
	}
	clock_tsc_mult = (uint64_t)(((__uint128_t)CLOCK_NS_PER_S << 32) / clock_tsc_hz);
	clock_tsc_base = rte_rdtsc();
}

void clock_warp_ns(uint64_t ns)
{
	atomic_fetch_add_explicit(&clock_warp_offset_ns, ns, memory_order_relaxed);
}
