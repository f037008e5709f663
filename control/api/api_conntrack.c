/* SPDX-License-Identifier: BSD-3-Clause */
/* conntrack.set, conntrack.reset, conntrack.show */
#include "control/api/api.h"
#include "control/client/methods.h"
#include "control/state.h"
#include "control/tables.h"

#define STORE_KEY "conntrack"

static const struct {
	const char *name;
	size_t offset;
	enum conn_class class;
	enum conn_state state;
} timeouts[] = {
#define TIMEOUT(member, class, state)                                                              \
	{                                                                                          \
#member, offsetof(struct req_conntrack, member), class, state                      \
	}
	TIMEOUT(tcp_syn_sent_s, CONN_TCP, CONN_SYN_SENT),
	TIMEOUT(tcp_syn_recv_s, CONN_TCP, CONN_SYN_RECV),
	TIMEOUT(tcp_established_s, CONN_TCP, CONN_ESTABLISHED),
	TIMEOUT(tcp_fin_wait_s, CONN_TCP, CONN_FIN_WAIT),
	TIMEOUT(tcp_time_wait_s, CONN_TCP, CONN_TIME_WAIT),
	TIMEOUT(tcp_closed_s, CONN_TCP, CONN_CLOSED),
	TIMEOUT(udp_new_s, CONN_UDP, CONN_NEW),
	TIMEOUT(udp_replied_s, CONN_UDP, CONN_REPLIED),
	TIMEOUT(icmp_new_s, CONN_ICMP, CONN_NEW),
	TIMEOUT(icmp_replied_s, CONN_ICMP, CONN_REPLIED),
	TIMEOUT(other_new_s, CONN_OTHER, CONN_NEW),
	TIMEOUT(other_replied_s, CONN_OTHER, CONN_REPLIED),
#undef TIMEOUT
};
#define N_TIMEOUTS (sizeof(timeouts) / sizeof(timeouts[0]))

static void handle_set(struct call *call)
{
	const struct req_conntrack *req = call_req(call);

	if (req->tcp_strict &&
		(flowtab_windows_open(&tables_flow4) < 0 ||
			flowtab_windows_open(&tables_flow6) < 0)) {
		call_fail(
			call, LEAT_ERR_RESOURCES, "tcp_strict", "no address space for the windows");
		return;
	}
	for (size_t i = 0; i < N_TIMEOUTS; i++) {
		int64_t seconds;

		memcpy(&seconds, (const uint8_t *)req + timeouts[i].offset, sizeof(seconds));
		conn_timeout_set(timeouts[i].class, timeouts[i].state, (uint32_t)seconds);
	}
	atomic_store_explicit(&conn_tcp_strict, req->tcp_strict, memory_order_relaxed);
	atomic_store_explicit(&flowtab_early_drop, req->early_drop, memory_order_relaxed);
	call_ok(call, NULL);
}

static void handle_reset(struct call *call)
{
	const struct req_conntrack *req = call_req(call);

	if (store_find(state_store(), STORE_KEY) == NULL) {
		if (req->missing_ok)
			call_unchanged(call, NULL);
		else
			call_fail(call, LEAT_ERR_NOT_FOUND, NULL, "nothing was set");
		return;
	}
	for (size_t i = 0; i < N_TIMEOUTS; i++)
		conn_timeout_set(timeouts[i].class, timeouts[i].state, 0);
	atomic_store_explicit(&conn_tcp_strict, false, memory_order_relaxed);
	atomic_store_explicit(&flowtab_early_drop, true, memory_order_relaxed);
	call_ok(call, NULL);
}

static void handle_show(struct call *call)
{
	cJSON *out = cJSON_CreateObject();

	cJSON_AddBoolToObject(
		out, "tcp_strict", atomic_load_explicit(&conn_tcp_strict, memory_order_relaxed));
	cJSON_AddBoolToObject(
		out, "early_drop", atomic_load_explicit(&flowtab_early_drop, memory_order_relaxed));
	for (size_t i = 0; i < N_TIMEOUTS; i++)
		cJSON_AddNumberToObject(out, timeouts[i].name,
			conn_timeout_get(timeouts[i].class, timeouts[i].state));
	call_ok(call, out);
}

const struct api_handler api_conntrack[] = {
	{ "conntrack.set", handle_set },
	{ "conntrack.reset", handle_reset },
	{ "conntrack.show", handle_show },
	API_HANDLERS_END,
};
