/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/gen.h"

#include <stddef.h>

_Atomic uint32_t gen_epoch = 1;
static bool is_pending;
static _Atomic uint32_t *mirror;

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
	/* First: a flow that was stamped before counts as outdated, should the process end here. */
	if (mirror != NULL)
		atomic_store_explicit(mirror,
			atomic_load_explicit(&gen_epoch, memory_order_relaxed) + 1,
			memory_order_release);
	/* release: pairs with the acquire in gen_now() */
	atomic_fetch_add_explicit(&gen_epoch, 1, memory_order_release);
}

void gen_mirror(_Atomic uint32_t *to)
{
	mirror = to;
	if (to != NULL)
		atomic_store_explicit(to, gen_now(), memory_order_release);
}
