/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/locality.h"

#include <stdio.h>

#include "control/call.h"
#include "control/loop.h"
#include "control/state.h"
#include "datapath/base/gen.h"
#include "datapath/base/log.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/service.h"

static bool is_marked;			 /* a pass must follow */
static uint32_t next_idx = SERVICE_NONE; /* where the pass goes on; SERVICE_NONE: there is none */

bool locality_is_local(uint16_t zone, const struct ip_addr *addr)
{
	uint32_t ep = endpoint_by_addr(zone, addr);

	return ep != ENDPOINT_NONE && endpoint_at(ep)->kind != ENDPOINT_SELF;
}

void locality_changed(void)
{
	is_marked = true;
	loop_wake_tick();
}

static bool is_stale(uint32_t service)
{
	static uint32_t backends[SERVICE_BACKENDS_MAX];
	unsigned int n = service_backends(service, backends, SERVICE_BACKENDS_MAX);

	for (unsigned int i = 0; i < n; i++) {
		const struct backend *b = backend_at(backends[i]);
		uint8_t flags = atomic_load_explicit(&b->flags, memory_order_relaxed);

		if ((flags & BACKEND_F_AUTO_LOCAL) != 0 &&
			((flags & BACKEND_F_LOCAL) != 0) !=
				locality_is_local(service_at(service)->zone, &b->addr))
			return true;
	}
	return false;
}

static void apply_again(uint32_t service)
{
	char key[STORE_KEY_MAX];
	struct leat_error err = { 0 };
	const struct store_item *item;

	snprintf(key, sizeof(key), "service %s", service_name(service));
	item = store_find(state_store(), key);
	if (item != NULL && call_run_now(item->method, item->params, 0, &err) != 0)
		log_warn("service", "local backends not updated key=\"%s\" reason=\"%s\"", key,
			err.reason);
}

unsigned int locality_tick(void)
{
	uint64_t end_ns = loop_now_ns() + LOOP_SLICE_NS;
	bool is_changed = false;

	if (next_idx == SERVICE_NONE && is_marked) {
		is_marked = false;
		next_idx = 0;
	}
	while (next_idx != SERVICE_NONE && loop_now_ns() < end_ns) {
		uint32_t idx = service_next(next_idx);

		if (idx != SERVICE_NONE && is_stale(idx)) {
			apply_again(idx);
			is_changed = true;
		}
		next_idx = idx != SERVICE_NONE ? idx + 1 : SERVICE_NONE;
	}
	if (is_changed)
		gen_publish();
	return next_idx != SERVICE_NONE || is_marked;
}
