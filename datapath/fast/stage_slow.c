/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets that no flow answers walk the layers, in order, and rejoin the batch. */
#include "datapath/fast/stages.h"
#include "datapath/slow/slow.h"

#include "datapath/fast/poison.h"

void stage_slow(struct worker *w, struct batch *b)
{
	uint64_t slow = b->slow & b->live;

	w->stats.n_slow += (uint64_t)__builtin_popcountll(slow);
	MASK_FOREACH(i, slow)
	slow_packet(w, b, i);
}
