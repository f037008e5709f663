/* SPDX-License-Identifier: BSD-3-Clause */
/* Drop reasons: every discarded packet is counted once, under one name (see drop.def). */
#ifndef LEAT_BASE_DROP_H
#define LEAT_BASE_DROP_H

enum drop_reason {
#define DROP(name, help) DROP_##name,
#include "datapath/base/drop.def"
#undef DROP
	DROP_N
};

/* Lower-case name with '_' ("ip_src_spoofed"); "?" for a value outside the list. Static. */
const char *drop_name(enum drop_reason reason);

/* One sentence for a person. Static. */
const char *drop_help(enum drop_reason reason);

/* Reason with that name, or -1. */
int drop_by_name(const char *name);

#endif
