/* SPDX-License-Identifier: BSD-3-Clause */
/* Last include of every file in datapath/fast and datapath/slow: what the packet path may not call. */
#ifndef LEAT_FAST_POISON_H
#define LEAT_FAST_POISON_H

#pragma GCC poison malloc calloc realloc free printf fprintf log_write log_err log_warn log_info   \
	log_debug

#endif
