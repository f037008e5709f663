/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON params → request struct, by the field tables. Input is hostile. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/client/schema.h"

#define LIST_MAX_DEFAULT 64

struct chunk {
	struct chunk *next;
	uint64_t data[];
};

struct decoder {
	struct schema_req *req;
	struct leat_error *err;
	char path[96]; /* of the object being decoded: "vhost." */
};

static void *decoder_alloc(struct decoder *dec, size_t size)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk) + size);

	if (chunk == NULL)
		return NULL;
	chunk->next = dec->req->chunks;
	dec->req->chunks = chunk;
	return chunk->data;
}

#define REFUSE(dec, field, ...) refuse(dec, (field)->name, __VA_ARGS__)
__attribute__((format(printf, 3, 4))) static int refuse(
	struct decoder *dec, const char *name, const char *fmt, ...)
{
	char where[160], reason[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	snprintf(where, sizeof(where), "%s%s", dec->path, name);
	return schema_error(dec->err, LEAT_ERR_PARAMS, where, "%s %s", where, reason);
}

static bool is_name(const char *text, size_t max)
{
	size_t len = strlen(text);

	if (len == 0 || len > max || text[0] == '.' || text[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("._:-", text[i]) == NULL)
			return false;
	return true;
}

static int decode_text(struct decoder *dec, const struct field *field, const char *text)
{
	size_t max = field->max > 0 ? (size_t)field->max : 255;

	switch (field->type) {
	case FIELD_NAME:
		return is_name(text, 63) ? 0
					 : REFUSE(dec, field,
						   "must be 1 to 63 of A-Z a-z 0-9 . _ : - and not "
						   "begin with . or -");
	case FIELD_ID:
		return is_name(text, 127) ? 0
					  : REFUSE(dec, field,
						    "must be 1 to 127 of A-Z a-z 0-9 . _ : - and "
						    "not begin with . or -");
	case FIELD_PATH:
		return text[0] == '/' && strlen(text) < 4096
			? 0
			: REFUSE(dec, field, "must be an absolute path");
	default:
		return strlen(text) <= max ? 0
					   : REFUSE(dec, field, "is longer than %zu bytes", max);
	}
}

static int decode_int(
	struct decoder *dec, const struct field *field, const cJSON *item, int64_t *out)
{
	double value = item->valuedouble;

	if (!cJSON_IsNumber(item) || !isfinite(value) || value != trunc(value) ||
		fabs(value) > 9007199254740992.0)
		return REFUSE(dec, field, "must be a whole number");
	*out = (int64_t)value;
	if (*out < field->min || *out > field->max)
		return REFUSE(dec, field, "must be between %lld and %lld", (long long)field->min,
			(long long)field->max);
	return 0;
}

static int decode_proto(
	struct decoder *dec, const struct field *field, const cJSON *item, int64_t *out)
{
	const char *text = cJSON_GetStringValue(item);
	uint8_t proto;

	if (text == NULL)
		return decode_int(dec, field, item, out);
	if (strcmp(text, "-1") == 0) {
		*out = -1;
		return 0;
	}
	if (schema_proto_parse(text, &proto) < 0)
		return REFUSE(dec, field, "must be tcp, udp, sctp, icmp, icmpv6 or a number");
	*out = proto;
	return 0;
}

static int decode_enum(struct decoder *dec, const struct field *field, const char *text, int *out)
{
	char all[160] = "";
	size_t used = 0;

	for (int i = 0; field->values[i] != NULL; i++) {
		if (strcmp(field->values[i], text) == 0) {
			*out = i;
			return 0;
		}
		if (used < sizeof(all))
			used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s",
				i > 0 ? ", " : "", field->values[i]);
	}
	return REFUSE(dec, field, "must be one of: %s", all);
}

static int decode_object(
	struct decoder *dec, const struct field *fields, const cJSON *object, char *base);

static int decode_nested(
	struct decoder *dec, const struct field *field, const cJSON *item, char *member)
{
	size_t used = strlen(dec->path);
	int rc;

	if (!cJSON_IsObject(item))
		return REFUSE(dec, field, "must be an object");
	snprintf(dec->path + used, sizeof(dec->path) - used, "%s.", field->name);
	rc = decode_object(dec, field->fields, item, member);
	dec->path[used] = '\0';
	return rc;
}

static int decode_value(
	struct decoder *dec, const struct field *field, const cJSON *item, char *member)
{
	const char *text = cJSON_GetStringValue(item);

	switch (field->type) {
	case FIELD_BOOL:
		if (!cJSON_IsBool(item))
			return REFUSE(dec, field, "must be true or false");
		*(bool *)(void *)member = cJSON_IsTrue(item);
		return 0;
	case FIELD_INT:
		return decode_int(dec, field, item, (int64_t *)(void *)member);
	case FIELD_PROTO:
		return decode_proto(dec, field, item, (int64_t *)(void *)member);
	case FIELD_OBJECT:
		return decode_nested(dec, field, item, member);
	case FIELD_JSON:
		if (!cJSON_IsObject(item))
			return REFUSE(dec, field, "must be an object");
		memcpy(member, &item, sizeof(item));
		return 0;
	default:
		break;
	}
	if (text == NULL)
		return REFUSE(dec, field, "must be a string");
	switch (field->type) {
	case FIELD_IP:
		return schema_ip_parse(text, (struct schema_ip *)(void *)member) == 0
			? 0
			: REFUSE(dec, field, "must be an IPv4 or IPv6 address");
	case FIELD_PREFIX:
		return schema_prefix_parse(text, false, (struct schema_prefix *)(void *)member) == 0
			? 0
			: REFUSE(dec, field, "must be address/length with all host bits zero");
	case FIELD_IFADDR:
		/* with length 0 the whole world would be on its link */
		return schema_prefix_parse(text, true, (struct schema_prefix *)(void *)member) ==
					0 &&
				((struct schema_prefix *)(void *)member)->len > 0
			? 0
			: REFUSE(dec, field, "must be address/length, the length at least 1");
	case FIELD_MAC:
		return schema_mac_parse(text, (struct schema_mac *)(void *)member) == 0
			? 0
			: REFUSE(dec, field, "must be a MAC like 02:00:00:00:00:01");
	case FIELD_ENUM:
		return decode_enum(dec, field, text, (int *)(void *)member);
	default:
		memcpy(member, &text, sizeof(text));
		return decode_text(dec, field, text);
	}
}

static void set_default(const struct field *field, char *member)
{
	if (field->flags & FIELD_LIST)
		return;
	if (field->type == FIELD_INT || field->type == FIELD_PROTO)
		*(int64_t *)(void *)member = field->def;
	else if (field->type == FIELD_BOOL)
		*(bool *)(void *)member = field->def != 0;
	else if (field->type == FIELD_ENUM)
		*(int *)(void *)member = (int)field->def;
	else if (field->type == FIELD_OBJECT)
		for (const struct field *sub = field->fields; sub->name != NULL; sub++)
			set_default(sub, member + sub->offset);
}

static int decode_list(
	struct decoder *dec, const struct field *field, const cJSON *item, char *member)
{
	uint32_t max = field->max_len > 0 ? field->max_len : LIST_MAX_DEFAULT;
	struct schema_list list = { 0 };
	const cJSON *element;
	uint32_t i = 0;
	char *items;

	if (!cJSON_IsArray(item))
		return REFUSE(dec, field, "must be a list");
	cJSON_ArrayForEach(element, item)
		list.len++;
	if (list.len > max)
		return REFUSE(dec, field, "has more than %u items", max);
	if (list.len == 0 && field->flags & FIELD_REQUIRED)
		return REFUSE(dec, field, "must not be empty");
	items = decoder_alloc(dec, field->size * (list.len > 0 ? list.len : 1));
	if (items == NULL)
		return REFUSE(dec, field, "does not fit into memory");
	list.items = items;
	cJSON_ArrayForEach(element, item) {
		struct field one = *field;
		char name[64];
		int rc;

		snprintf(name, sizeof(name), "%s[%u]", field->name, i++);
		one.name = name;
		one.flags &= ~FIELD_LIST;
		set_default(&one, items);
		rc = decode_value(dec, &one, element, items);
		if (rc != 0)
			return rc;
		items += field->size;
	}
	memcpy(member, &list, sizeof(list));
	return 0;
}

/* Every given field must be known and given once; a JSON null counts as not given. */
static int check_known(struct decoder *dec, const struct field *fields, const cJSON *object)
{
	const cJSON *item, *twin;

	cJSON_ArrayForEach(item, object) {
		const struct field *field = fields;

		while (field->name != NULL && strcmp(field->name, item->string) != 0)
			field++;
		if (field->name == NULL) {
			char shown[64];

			snprintf(shown, sizeof(shown), "%s", item->string);
			return refuse(dec, shown, "is not a field of this method");
		}
		for (twin = item->next; twin != NULL; twin = twin->next)
			if (strcmp(twin->string, item->string) == 0)
				return refuse(dec, field->name, "is given twice");
	}
	return 0;
}

static int decode_object(
	struct decoder *dec, const struct field *fields, const cJSON *object, char *base)
{
	int rc = check_known(dec, fields, object);

	for (const struct field *field = fields; rc == 0 && field->name != NULL; field++) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field->name);
		char *member = base + field->offset;

		set_default(field, member);
		if (item == NULL || cJSON_IsNull(item)) {
			if (field->flags & FIELD_REQUIRED)
				rc = REFUSE(dec, field, "is required");
		} else {
			rc = field->flags & FIELD_LIST ? decode_list(dec, field, item, member)
						       : decode_value(dec, field, item, member);
		}
	}
	return rc;
}

int schema_decode(const struct method *method, const cJSON *params, struct schema_req *out_req,
	struct leat_error *err)
{
	struct decoder dec = { .req = out_req, .err = err };

	memset(out_req, 0, sizeof(*out_req));
	if (params != NULL && !cJSON_IsObject(params))
		return schema_error(err, LEAT_ERR_PARAMS, NULL, "params must be an object");
	out_req->data = decoder_alloc(&dec, method->req_size > 0 ? method->req_size : 1);
	if (out_req->data == NULL)
		return schema_error(err, LEAT_ERR_RESOURCES, NULL, "out of memory");
	return decode_object(&dec, method->fields, params, out_req->data);
}

void schema_req_fini(struct schema_req *req)
{
	struct chunk *chunk = req->chunks;

	while (chunk != NULL) {
		struct chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
	memset(req, 0, sizeof(*req));
}
