/* SPDX-License-Identifier: BSD-3-Clause */
/* Every stage takes the whole batch; see stages.def for the order. Workers only. */
#ifndef LEAT_FAST_STAGES_H
#define LEAT_FAST_STAGES_H

#include "datapath/pipeline/batch.h"

#define STAGE(name, help) void stage_##name(struct worker *w, struct batch *b);
#include "datapath/fast/stages.def"
#undef STAGE

#endif
