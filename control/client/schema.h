/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API as tables: every method is a list of fields with type, unit, limits and help. leatd decodes and validates
 * requests by them; leatctl's commands, completion, man pages and tests/api/schema.json come from the same tables.
 * No DPDK here: addresses are held as bytes with the layout of the datapath's types (v4-mapped, network order).
 */
#ifndef LEAT_SCHEMA_H
#define LEAT_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "control/client/leat_client.h"

#define API_MAJOR 1
#define API_MINOR 0

enum field_type {
	FIELD_BOOL,   /* bool */
	FIELD_INT,    /* int64_t, min…max */
	FIELD_STRING, /* const char *, up to max bytes (default 255) */
	FIELD_NAME,   /* const char *, [A-Za-z0-9._:-]{1,63} */
	FIELD_ID,     /* const char *, as a name, up to 127 */
	FIELD_PATH,   /* const char *, absolute, up to 4095 */
	FIELD_IP,     /* struct schema_ip */
	FIELD_PREFIX, /* struct schema_prefix, host bits zero; a bare address is a host prefix */
	FIELD_IFADDR, /* struct schema_prefix, host bits kept; a bare address is /32 or /128 */
	FIELD_MAC,    /* struct schema_mac */
	FIELD_ENUM,   /* int, index into values; -1 if absent and without default */
	FIELD_OBJECT, /* struct described by fields; absent: its own defaults */
	FIELD_JSON,   /* const cJSON *, any object */
	FIELD_PROTO,  /* int64_t, IP protocol by name or number; -1: any */
	FIELD_TYPE_N
};

struct schema_ip {
	uint8_t b[16];
	bool is_set;
};

struct schema_prefix {
	uint8_t b[16];
	uint8_t len;
	bool is_set;
};

struct schema_mac {
	uint8_t b[6];
	bool is_set;
};

/* A decoded list: len items of the field's size. */
struct schema_list {
	const void *items;
	uint32_t len;
};

#define FIELD_REQUIRED (1u << 0)
#define FIELD_LIST (1u << 1) /* JSON array of the type; max_len limits it */
#define FIELD_KEY (1u << 2)  /* part of the object's identity */
#define FIELD_POSITIONAL                                                                           \
	(1u << 3) /* leatctl takes it without "name=" although it is not required */
#define FIELD_FLAG                                                                                 \
	(1u << 4) /* steers the call and is not part of the object: exist_ok, missing_ok */

#define FIELD_FD (1u << 5) /* a descriptor may be sent along in its place */

struct field {
	const char *name;
	enum field_type type;
	unsigned int flags;
	size_t offset; /* into the request struct */
	size_t size;   /* of the member; of one item for a list */
	const char *unit;
	const char *help;
	int64_t min, max;	   /* of FIELD_INT; max also of string lengths, 0: the type's own */
	int64_t def;		   /* default of FIELD_INT, FIELD_BOOL, FIELD_ENUM (index) */
	uint32_t max_len;	   /* of a list, 0: 64 */
	const char *const *values; /* of FIELD_ENUM, ends with NULL */
	const struct field *fields; /* of FIELD_OBJECT, ends with a NULL name */
};

/* Object classes in the order in which a configuration is built up. */
enum object_class {
	OBJECT_NONE,
	OBJECT_CONNTRACK,
	OBJECT_ZONE,
	OBJECT_PORT,
	OBJECT_TUNNEL,
	OBJECT_ENDPOINT,
	OBJECT_NEIGH,
	OBJECT_ROUTE,
	OBJECT_MIRROR,
	OBJECT_GROUP,
	OBJECT_MEMBER,
	OBJECT_POLICY,
	OBJECT_RULE,
	OBJECT_BINDING,
	OBJECT_DEFAULT,
	OBJECT_POLICY_MODE,
	OBJECT_POOL,
	OBJECT_SNAT,
	OBJECT_PAIR,
	OBJECT_SERVICE,
	OBJECT_N
};

#define METHOD_SETS (1u << 0)	 /* creates an object: written to the state */
#define METHOD_REMOVES (1u << 1) /* removes one */
#define METHOD_SLOW (1u << 2)	 /* may complete later: not allowed in a transaction */
#define METHOD_LISTS (1u << 3)	 /* answers {items, next} */
#define METHOD_TEXT (1u << 4)	 /* answers {text} */
#define METHOD_DEVICE                                                                              \
	(1u << 5) /* opens or closes devices: such calls wait in one queue behind all others */

struct method {
	const char *name; /* "route.add" */
	const char *help;
	const struct field *fields; /* ends with a NULL name */
	size_t req_size;
	unsigned int flags;
	enum object_class class;
	const char *inverse; /* the method that removes what this one sets */
};

/* All methods, sorted by object; schema_n_methods of them. */
extern const struct method *const schema_methods[];
extern const size_t schema_n_methods;

const struct method *schema_method(const char *name);
const char *schema_class_name(enum object_class class);
const char *schema_type_name(enum field_type type);

/* A decoded request and the memory of its lists and strings. Strings point into the params. */
struct schema_req {
	void *data; /* the method's request struct */
	void *chunks;
};

/* Decodes params (object or NULL) into out_req, which schema_req_fini() frees (also after an error).
 * 0 or LEAT_ERR_PARAMS with the field named. The params must outlive the request. */
int schema_decode(const struct method *method, const cJSON *params, struct schema_req *out_req,
	struct leat_error *err);
void schema_req_fini(struct schema_req *req);

/* "route 0 10.0.0.0/8": class and key fields in canonical text; -1 if it does not fit. The params are valid. */
int schema_key(const struct method *method, const void *req, char *buf, size_t size);

/* "rule.add policy=web name=r": the method and what names its object, for a person. params (may be NULL) may be wrong.
 * Returns buf, cut to size. */
char *schema_call_text(const struct method *method, const cJSON *params, char *buf, size_t size);

/* Makes the error of one call that of the list of calls which it stands in: the field begins with "calls[idx]", the
 * sentence with the call's text. method NULL: not known. */
void schema_error_in_call(
	struct leat_error *err, size_t idx, const struct method *method, const cJSON *params);

/* Params of the object itself: a copy without FIELD_FLAG fields. NULL when memory ran out, as below. */
cJSON *schema_object_params(const struct method *method, const cJSON *params);

/* Params for the inverse method: key fields of `params`, by name. */
cJSON *schema_key_params(const struct method *method, const cJSON *params);

/* The tables as JSON schema. Caller frees. */
cJSON *schema_json(void);

/* Value of a field from command-line text ("a,b" for lists, JSON for objects). NULL and err when it cannot be. */
cJSON *schema_value_from_text(const struct field *field, const char *text, struct leat_error *err);

/* Text helpers shared with the server. Return 0 or -1; format returns buf. */
int schema_ip_parse(const char *text, struct schema_ip *out);
int schema_prefix_parse(const char *text, bool keep_host_bits, struct schema_prefix *out);
int schema_mac_parse(const char *text, struct schema_mac *out);
/* tcp, udp, sctp, icmp, icmpv6 or a number. */
int schema_proto_parse(const char *text, uint8_t *out);
#define SCHEMA_TEXT_MAX 64
char *schema_ip_format(const struct schema_ip *ip, char buf[SCHEMA_TEXT_MAX]);
char *schema_prefix_format(const struct schema_prefix *prefix, char buf[SCHEMA_TEXT_MAX]);
char *schema_mac_format(const struct schema_mac *mac, char buf[SCHEMA_TEXT_MAX]);

__attribute__((format(printf, 4, 5))) int schema_error(
	struct leat_error *err, int code, const char *field, const char *fmt, ...);

/* Field table shorthands: S is the request struct. */
#define F_BASE(S, member, nm, tp, fl, un, hp)                                                      \
	.name = nm, .type = tp, .flags = (fl), .offset = offsetof(struct S, member),               \
	.size = sizeof(((struct S *)0)->member), .unit = un, .help = hp
#define F_BOOL(S, member, hp)                                                                      \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_BOOL, 0, NULL, hp)                                \
	}
#define F_SWITCH(S, member, hp)                                                                    \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_BOOL, FIELD_FLAG, NULL, hp)                       \
	}
#define F_INT(S, member, fl, un, lo, hi, df, hp)                                                   \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_INT, fl, un, hp), .min = lo, .max = hi, .def = df \
	}
#define F_TEXT(S, member, tp, fl, hp)                                                              \
	{                                                                                          \
		F_BASE(S, member, #member, tp, fl, NULL, hp)                                       \
	}
#define F_PROTO(S, member, hp)                                                                     \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_PROTO, 0, NULL, hp), .min = -1, .max = 255,       \
								      .def = -1                    \
	}
#define F_ENUM(S, member, fl, vals, df, hp)                                                        \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_ENUM, fl, NULL, hp), .values = vals, .def = df    \
	}
#define F_LIST(S, member, tp, itemtype, fl, n, hp)                                                 \
	{                                                                                          \
		.name = #member, .type = tp, .flags = (fl) | FIELD_LIST,                           \
		.offset = offsetof(struct S, member), .size = sizeof(itemtype), .help = hp,        \
		.max_len = n                                                                       \
	}
#define F_OBJECT(S, member, fl, sub, hp)                                                           \
	{                                                                                          \
		F_BASE(S, member, #member, FIELD_OBJECT, fl, NULL, hp), .fields = sub              \
	}
#define F_ZONE(S, fl) F_INT(S, zone, fl, NULL, 0, 65535, 0, "zone (VRF), 0 is the default")
#define F_PAGE(S)                                                                                  \
	F_INT(S, limit, 0, "items", 1, 10000, 1000, "items in one answer"),                        \
		F_TEXT(S, cursor, FIELD_STRING, 0,                                                 \
			"where to go on: \"next\" of the answer before")
#define F_END                                                                                      \
	{                                                                                          \
		.name = NULL                                                                       \
	}

#endif
