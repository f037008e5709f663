/* SPDX-License-Identifier: BSD-3-Clause */
/* What a sequence number says about a flow. */
#ifndef LEAT_PERF_GEN_CHECK_H
#define LEAT_PERF_GEN_CHECK_H

#include <rte_branch_prediction.h>

#include "perf/gen/gen.h"

#define GEN_WINDOW 32 /* packets back that a duplicate is still told from a late one */

/* Counts packet `seq` of the flow: lost ones are counted when the hole is seen and taken back when they come late. */
static inline void gen_judge_seq(struct gen_counts *count, struct gen_flow *f, uint16_t seq)
{
	int16_t ahead = (int16_t)(seq - f->next);

	if (likely(ahead == 0)) {
		f->window = f->window << 1 | 1;
		f->next++;
	} else if (ahead > 0) {
		f->window = ahead < GEN_WINDOW - 1 ? f->window << (ahead + 1) | 1 : 1;
		f->next = (uint16_t)(seq + 1);
		count->lost += (uint16_t)ahead;
		f->lost = (uint16_t)RTE_MIN(f->lost + ahead, UINT16_MAX);
	} else if (-ahead <= GEN_WINDOW) {
		uint32_t bit = 1u << (-ahead - 1);

		if (f->window & bit) {
			count->duplicate++;
			return;
		}
		f->window |= bit;
		count->reordered++;
		count->lost--;
		f->lost -= f->lost != 0;
	} else {
		count->reordered++;
	}
}

#endif
