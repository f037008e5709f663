/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/client/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

static const char *const class_names[OBJECT_N] = {
	[OBJECT_NONE] = "",
	[OBJECT_CONNTRACK] = "conntrack",
	[OBJECT_ZONE] = "zone",
	[OBJECT_PORT] = "port",
	[OBJECT_TUNNEL] = "tunnel",
	[OBJECT_ENDPOINT] = "endpoint",
	[OBJECT_NEIGH] = "neigh",
	[OBJECT_ROUTE] = "route",
	[OBJECT_MIRROR] = "mirror",
	[OBJECT_GROUP] = "group",
	[OBJECT_MEMBER] = "member",
	[OBJECT_POLICY] = "policy",
	[OBJECT_RULE] = "rule",
	[OBJECT_BINDING] = "binding",
	[OBJECT_DEFAULT] = "default",
	[OBJECT_POLICY_MODE] = "policy-mode",
	[OBJECT_POOL] = "pool",
	[OBJECT_SNAT] = "snat",
	[OBJECT_PAIR] = "pair",
	[OBJECT_SERVICE] = "service",
};

static const char *const type_names[FIELD_TYPE_N] = {
	[FIELD_BOOL] = "boolean",
	[FIELD_INT] = "number",
	[FIELD_STRING] = "text",
	[FIELD_NAME] = "name",
	[FIELD_ID] = "id",
	[FIELD_PATH] = "path",
	[FIELD_IP] = "address",
	[FIELD_PREFIX] = "prefix",
	[FIELD_IFADDR] = "address/length",
	[FIELD_MAC] = "MAC",
	[FIELD_ENUM] = "choice",
	[FIELD_OBJECT] = "object",
	[FIELD_JSON] = "JSON",
	[FIELD_PROTO] = "protocol",
};

const char *schema_class_name(enum object_class class)
{
	return class < OBJECT_N ? class_names[class] : "";
}

const char *schema_type_name(enum field_type type)
{
	return type < FIELD_TYPE_N ? type_names[type] : "?";
}

const struct method *schema_method(const char *name)
{
	for (size_t i = 0; i < schema_n_methods; i++)
		if (strcmp(schema_methods[i]->name, name) == 0)
			return schema_methods[i];
	return NULL;
}

int schema_error(struct leat_error *err, int code, const char *field, const char *fmt, ...)
{
	va_list args;

	memset(err, 0, sizeof(*err));
	err->code = code;
	if (field != NULL)
		strlcpy(err->field, field, sizeof(err->field));
	va_start(args, fmt);
	vsnprintf(err->reason, sizeof(err->reason), fmt, args);
	va_end(args);
	return code;
}

static int key_text(const struct field *field, const char *member, char *buf, size_t size)
{
	char text[SCHEMA_TEXT_MAX];
	const char *value = NULL;
	int64_t number;

	switch (field->type) {
	case FIELD_INT:
		memcpy(&number, member, sizeof(number));
		return snprintf(buf, size, " %lld", (long long)number);
	case FIELD_NAME:
	case FIELD_ID:
	case FIELD_STRING:
		memcpy(&value, member, sizeof(value));
		break;
	case FIELD_IP:
		value = schema_ip_format((const struct schema_ip *)(const void *)member, text);
		break;
	case FIELD_PREFIX:
		value = schema_prefix_format(
			(const struct schema_prefix *)(const void *)member, text);
		break;
	default:
		return -1;
	}
	return snprintf(buf, size, " %s", value != NULL ? value : "");
}

int schema_key(const struct method *method, const void *req, char *buf, size_t size)
{
	size_t used = strlcpy(buf, schema_class_name(method->class), size);

	for (const struct field *field = method->fields; field->name != NULL; field++) {
		int n;

		if (!(field->flags & FIELD_KEY))
			continue;
		if (used >= size)
			return -1;
		n = key_text(field, (const char *)req + field->offset, buf + used, size - used);
		if (n < 0)
			return -1;
		used += (size_t)n;
	}
	return used < size ? 0 : -1;
}

/* A value as one would type it. */
static void append_value(char *buf, size_t size, const cJSON *value)
{
	char *text;

	if (cJSON_IsString(value)) {
		strlcat(buf, value->valuestring, size);
		return;
	}
	text = cJSON_PrintUnformatted(value);
	strlcat(buf, text != NULL ? text : "?", size);
	cJSON_free(text);
}

char *schema_call_text(const struct method *method, const cJSON *params, char *buf, size_t size)
{
	strlcpy(buf, method->name, size);
	for (const struct field *field = method->fields; field->name != NULL; field++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(params, field->name);

		if (!(field->flags & FIELD_KEY) || value == NULL)
			continue;
		strlcat(buf, " ", size);
		strlcat(buf, field->name, size);
		strlcat(buf, "=", size);
		append_value(buf, size, value);
	}
	return buf;
}

void schema_error_in_call(
	struct leat_error *err, size_t idx, const struct method *method, const cJSON *params)
{
	char field[sizeof(err->field)], reason[sizeof(err->reason)], text[160] = "";

	snprintf(field, sizeof(field), "calls[%zu]%s%.90s", idx, err->field[0] != '\0' ? "." : "",
		err->field);
	if (method != NULL)
		schema_call_text(method, params, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "calls[%zu]", idx);
	snprintf(reason, sizeof(reason), "%s: %.340s", text, err->reason);
	memcpy(err->field, field, sizeof(field));
	memcpy(err->reason, reason, sizeof(reason));
}

static cJSON *copy_fields(
	const struct method *method, const cJSON *params, unsigned int want, unsigned int unwanted)
{
	cJSON *copy = cJSON_CreateObject();

	for (const struct field *field = method->fields; field->name != NULL; field++) {
		const cJSON *item = cJSON_GetObjectItemCaseSensitive(params, field->name);
		cJSON *twin;

		if (item == NULL || (field->flags & want) != want || (field->flags & unwanted) != 0)
			continue;
		twin = cJSON_Duplicate(item, true);
		if (!cJSON_AddItemToObject(copy, field->name, twin)) {
			cJSON_Delete(
				twin); /* whole or not at all: without a field it is another object */
			cJSON_Delete(copy);
			return NULL;
		}
	}
	return copy;
}

cJSON *schema_object_params(const struct method *method, const cJSON *params)
{
	return copy_fields(method, params, 0, FIELD_FLAG);
}

cJSON *schema_key_params(const struct method *method, const cJSON *params)
{
	return copy_fields(method, params, FIELD_KEY, 0);
}
