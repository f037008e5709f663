/* SPDX-License-Identifier: BSD-3-Clause */
/* sys, txn, event, config, metrics */
#include "control/client/methods.h"
#include "control/client/req.h"

static const char *const levels[] = { "err", "warn", "info", "debug", NULL };
const char *const schema_event_kinds[] = { "port", "endpoint", "route", "neigh", "policy",
	"policy-log", "drop-rate", "drop", "verdict", NULL };

static const struct field no_fields[] = { F_END };

static const struct field hello_fields[] = {
	F_TEXT(req_hello, client, FIELD_STRING, 0, "name and version of the client, for the log"),
	F_END,
};

static const struct field log_fields[] = {
	F_ENUM(req_log, level, FIELD_REQUIRED, levels, -1, "what is logged from now on"),
	F_END,
};

static const struct field page_fields[] = { F_PAGE(req_page), F_END };

static const struct field txn_fields[] = {
	F_TEXT(req_txn, txn, FIELD_STRING, FIELD_REQUIRED, "id that txn.begin gave"),
	F_END,
};

static const struct field txn_add_fields[] = {
	F_TEXT(req_txn, txn, FIELD_STRING, FIELD_REQUIRED, "id that txn.begin gave"),
	F_LIST(req_txn, calls, FIELD_JSON, const cJSON *, FIELD_REQUIRED, 65536,
		"calls {method, params}, in order"),
	F_END,
};

static const struct field event_fields[] = {
	{ .name = "kinds",
		.type = FIELD_ENUM,
		.flags = FIELD_REQUIRED | FIELD_LIST,
		.offset = offsetof(struct req_event, kinds),
		.size = sizeof(int),
		.help = "kinds of events wanted",
		.values = schema_event_kinds,
		.def = -1,
		.max_len = 16 },
	F_END,
};

const struct method method_sys_hello = { "sys.hello", "Versions of the daemon and of its API.",
	hello_fields, sizeof(struct req_hello), 0, OBJECT_NONE, NULL };
const struct method method_sys_status = { "sys.status", "Health, budgets and object counts.",
	no_fields, sizeof(struct req_none), 0, OBJECT_NONE, NULL };
const struct method method_sys_schema = { "sys.schema",
	"All methods and their fields as JSON schema.", no_fields, sizeof(struct req_none), 0,
	OBJECT_NONE, NULL };
const struct method method_sys_log = { "sys.log", "Set the log level.", log_fields,
	sizeof(struct req_log), 0, OBJECT_NONE, NULL };
const struct method method_sys_log_show = { "sys.log_show",
	"The last lines of the log, whoever else keeps them.", no_fields, sizeof(struct req_none),
	METHOD_TEXT, OBJECT_NONE, NULL };
const struct method method_txn_begin = { "txn.begin", "Begin a transaction on this connection.",
	no_fields, sizeof(struct req_none), METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_txn_add = { "txn.add",
	"Add calls to a transaction; each is validated at once.", txn_add_fields,
	sizeof(struct req_txn), METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_txn_commit = { "txn.commit", "Apply a transaction, whole or not at all.",
	txn_fields, sizeof(struct req_txn), METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_txn_abort = { "txn.abort", "Forget a transaction.", txn_fields,
	sizeof(struct req_txn), METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_event_subscribe = { "event.subscribe",
	"Have events sent over this connection as notifications.", event_fields,
	sizeof(struct req_event), METHOD_SLOW, OBJECT_NONE, NULL };
const struct method method_config_dump = { "config.dump",
	"The calls that recreate the configuration, in order.", page_fields,
	sizeof(struct req_page), METHOD_LISTS, OBJECT_NONE, NULL };
const struct method method_metrics_text = { "metrics.text", "All counters as OpenMetrics text.",
	no_fields, sizeof(struct req_none), METHOD_TEXT, OBJECT_NONE, NULL };
