/* SPDX-License-Identifier: BSD-3-Clause */
/* flow, conn, drop, worker, stage, trace, capture */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const points[] = { "rx", "tx", "drop", "both", "all", NULL };

static const struct field no_fields[] = { F_END };

#define TUPLE_FIELDS(S)                                                                            \
	F_TEXT(S, src, FIELD_PREFIX, 0, "source inside this prefix"),                              \
		F_TEXT(S, dst, FIELD_PREFIX, 0, "destination inside this prefix"),                 \
		F_PROTO(S, proto, "tcp, udp, sctp, icmp, icmpv6 or a number; -1: any"),            \
		F_INT(S, sport, 0, NULL, -1, 65535, -1, "source port; -1: any"),                   \
		F_INT(S, dport, 0, NULL, -1, 65535, -1, "destination port; -1: any")

#define FILTER_FIELDS(S) TUPLE_FIELDS(S), F_TEXT(S, port, FIELD_NAME, 0, "port that it comes in by")

#define F_BOTH_WAYS(S)                                                                             \
	F_BOOL(S, both_ways, "answers, too: source and destination the other way round")

/* As conn_state_name(), from CONN_NEW on. */
static const char *const states[] = { "new", "replied", "syn_sent", "syn_recv", "established",
	"fin_wait", "time_wait", "closed", NULL };

#define CONN_FIELDS                                                                                \
	F_TEXT(req_filter, endpoint, FIELD_ID, 0, "from or to this endpoint"),                     \
		F_ENUM(req_filter, state, 0, states, -1, "connection in this state")

static const struct field filter_fields[] = {
	F_INT(req_filter, zone, 0, NULL, -1, 65535, -1, "only this zone; -1: any"),
	FILTER_FIELDS(req_filter),
	CONN_FIELDS,
	F_PAGE(req_filter),
	F_END,
};

static const struct field flush_fields[] = {
	F_INT(req_filter, zone, 0, NULL, -1, 65535, -1, "only this zone; -1: any"),
	FILTER_FIELDS(req_filter),
	CONN_FIELDS,
	F_END,
};

static const struct field port_fields[] = {
	F_TEXT(req_port_filter, port, FIELD_NAME, FIELD_POSITIONAL, "only this port"),
	F_END,
};

static const struct field trace_fields[] = {
	F_INT(req_trace, count, 0, "packets", 1, 1000, 1, "packets to trace"),
	FILTER_FIELDS(req_trace),
	F_BOTH_WAYS(req_trace),
	F_END,
};

static const struct field id_fields[] = {
	F_INT(req_id, id, FIELD_REQUIRED, NULL, 0, 4294967295, 0, "id that start gave"),
	F_END,
};

static const struct field capture_fields[] = {
	F_TEXT(req_capture, file, FIELD_PATH, FIELD_POSITIONAL | FIELD_FD,
		"pcapng file to write; or a descriptor sent along"),
	F_ENUM(req_capture, point, 0, points, REQ_POINT_RX,
		"where packets are taken; both: rx and tx; all: drops, too"),
	F_TEXT(req_capture, port, FIELD_NAME, 0, "only this port"),
	F_TEXT(req_capture, reason, FIELD_STRING, 0, "drop, all: of drops only this reason"),
	TUPLE_FIELDS(req_capture),
	F_BOTH_WAYS(req_capture),
	F_INT(req_capture, count, 0, "packets", 0, 1000000000, 0,
		"packets after which it stops; 0: no limit"),
	F_INT(req_capture, snaplen, 0, "bytes", 64, 65535, 65535, "bytes kept of a packet"),
	F_END,
};

static const struct field page_fields[] = { F_PAGE(req_page), F_END };

const struct method method_flow_list = { "flow.list", "Compiled flows.", filter_fields,
	sizeof(struct req_filter), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_flow_flush = { "flow.flush",
	"Forget flows: their next packet is judged anew.", flush_fields, sizeof(struct req_filter),
	METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_conn_list = { "conn.list", "Tracked connections.", filter_fields,
	sizeof(struct req_filter), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_drop_show = { "drop.show", "Discarded packets by port and reason.",
	port_fields, sizeof(struct req_port_filter), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_worker_show = { "worker.show", "Workers: load, bursts, cycles a packet.",
	no_fields, sizeof(struct req_none), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_stage_show = { "stage.show", "Stages: packets and cycles.", no_fields,
	sizeof(struct req_none), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_trace_start = { "trace.start", "Trace the next packets that match.",
	trace_fields, sizeof(struct req_trace), 0, OBJECT_NONE, NULL };
const struct method method_trace_show = { "trace.show",
	"What happened to traced packets, stage by stage.", id_fields, sizeof(struct req_id), 0,
	OBJECT_NONE, NULL };
const struct method method_capture_start = { "capture.start", "Write packets to a pcapng file.",
	capture_fields, sizeof(struct req_capture), 0, OBJECT_NONE, NULL };
const struct method method_capture_stop = { "capture.stop", "Stop a capture.", id_fields,
	sizeof(struct req_id), 0, OBJECT_NONE, NULL };
const struct method method_capture_list = { "capture.list", "Running captures.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
