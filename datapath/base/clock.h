/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time, injectable. Everything that ages asks here; tests warp the clock instead of sleeping.
 * Monotonic, starts at 1 hour so that "now - timeout" never wraps. Any thread.
 */
#ifndef LEAT_BASE_CLOCK_H
#define LEAT_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include <rte_cycles.h>

#define CLOCK_NS_PER_S 1000000000ull
#define CLOCK_NS_PER_MS 1000000ull

extern _Atomic uint64_t clock_warp_offset_ns;

/* Calibrates the TSC; call once before any other, single-threaded. Repeatable. */
void clock_init(void);

/* TSC ticks a second and the multiplier (ticks → ns, 32.32 fixed point). */
extern uint64_t clock_tsc_hz;
extern uint64_t clock_tsc_mult;
extern uint64_t clock_tsc_base;

/* Nanoseconds since the clock's start, warp included. About 25 cycles: once a batch. */
static inline uint64_t clock_ns(void)
{
	uint64_t ticks = rte_rdtsc() - clock_tsc_base;

	return (uint64_t)(((__uint128_t)ticks * clock_tsc_mult) >> 32) +
		atomic_load_explicit(&clock_warp_offset_ns, memory_order_relaxed);
}

static inline uint32_t clock_s(void)
{
	return (uint32_t)(clock_ns() / CLOCK_NS_PER_S);
}

/* Moves the clock forward by ns (tests, and the sys.clock_warp of the packet harness). */
void clock_warp_ns(uint64_t ns);

/* TSC cycles → nanoseconds. */
static inline uint64_t clock_cycles_to_ns(uint64_t cycles)
{
	return (uint64_t)(((__uint128_t)cycles * clock_tsc_mult) >> 32);
}

#endif
