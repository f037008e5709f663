/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/gen.h"

_Atomic uint32_t gen_epoch = 1;
static bool is_pending;

uint32_t gen_next(void)
{
	is_pending = true;
	return atomic_load_explicit(&gen_epoch, memory_order_relaxed) + 1;
}

void gen_publish(void)
{
	if (!is_pending)
		return;
	is_pending = false;
	/* release: pairs with the acquire in gen_now() */
	atomic_fetch_add_explicit(&gen_epoch, 1, memory_order_release);
}
