/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables as JSON schema (draft 2020-12 words). */
#include <stdio.h>
#include <string.h>

#include "control/client/schema.h"

static cJSON *fields_json(const struct field *fields);

static void add_type(cJSON *out, const struct field *field)
{
	static const char *const format[FIELD_TYPE_N] = {
		[FIELD_NAME] = "name",
		[FIELD_ID] = "id",
		[FIELD_PATH] = "path",
		[FIELD_IP] = "ip",
		[FIELD_PREFIX] = "prefix",
		[FIELD_IFADDR] = "ifaddr",
		[FIELD_MAC] = "mac",
	};
	cJSON *values;

	switch (field->type) {
	case FIELD_BOOL:
		cJSON_AddStringToObject(out, "type", "boolean");
		cJSON_AddBoolToObject(out, "default", field->def != 0);
		return;
	case FIELD_INT:
		cJSON_AddStringToObject(out, "type", "integer");
		cJSON_AddNumberToObject(out, "minimum", (double)field->min);
		cJSON_AddNumberToObject(out, "maximum", (double)field->max);
		if (!(field->flags & FIELD_REQUIRED))
			cJSON_AddNumberToObject(out, "default", (double)field->def);
		return;
	case FIELD_PROTO:
		values = cJSON_AddArrayToObject(out, "type");
		cJSON_AddItemToArray(values, cJSON_CreateString("integer"));
		cJSON_AddItemToArray(values, cJSON_CreateString("string"));
		cJSON_AddNumberToObject(out, "default", (double)field->def);
		return;
	case FIELD_OBJECT:
	case FIELD_JSON:
		cJSON_AddStringToObject(out, "type", "object");
		return;
	case FIELD_ENUM:
		cJSON_AddStringToObject(out, "type", "string");
		values = cJSON_AddArrayToObject(out, "enum");
		for (int i = 0; field->values[i] != NULL; i++)
			cJSON_AddItemToArray(values, cJSON_CreateString(field->values[i]));
		if (field->def >= 0 && !(field->flags & FIELD_REQUIRED))
			cJSON_AddStringToObject(out, "default", field->values[field->def]);
		return;
	default:
		cJSON_AddStringToObject(out, "type", "string");
		if (format[field->type] != NULL)
			cJSON_AddStringToObject(out, "format", format[field->type]);
		return;
	}
}

static cJSON *field_json(const struct field *field)
{
	cJSON *out = cJSON_CreateObject(), *type = out;

	if (field->flags & FIELD_LIST) {
		cJSON_AddStringToObject(out, "type", "array");
		cJSON_AddNumberToObject(out, "maxItems", field->max_len > 0 ? field->max_len : 64);
		type = cJSON_AddObjectToObject(out, "items");
	}
	add_type(type, field);
	if (field->type == FIELD_OBJECT) {
		cJSON *sub = fields_json(field->fields), *item;

		while ((item = cJSON_DetachItemFromArray(sub, 0)) != NULL)
			if (strcmp(item->string, "type") == 0)
				cJSON_Delete(item);
			else
				cJSON_AddItemToObject(type, item->string, item);
		cJSON_Delete(sub);
	}
	cJSON_AddStringToObject(out, "description", field->help);
	if (field->unit != NULL)
		cJSON_AddStringToObject(out, "unit", field->unit);
	return out;
}

static cJSON *fields_json(const struct field *fields)
{
	cJSON *out = cJSON_CreateObject(), *properties, *required;

	cJSON_AddStringToObject(out, "type", "object");
	properties = cJSON_AddObjectToObject(out, "properties");
	required = cJSON_AddArrayToObject(out, "required");
	for (const struct field *field = fields; field->name != NULL; field++) {
		cJSON_AddItemToObject(properties, field->name, field_json(field));
		if (field->flags & FIELD_REQUIRED)
			cJSON_AddItemToArray(required, cJSON_CreateString(field->name));
	}
	cJSON_AddFalseToObject(out, "additionalProperties");
	return out;
}

cJSON *schema_json(void)
{
	cJSON *out = cJSON_CreateObject(), *api, *methods;

	api = cJSON_AddObjectToObject(out, "api");
	cJSON_AddNumberToObject(api, "major", API_MAJOR);
	cJSON_AddNumberToObject(api, "minor", API_MINOR);
	methods = cJSON_AddObjectToObject(out, "methods");
	for (size_t i = 0; i < schema_n_methods; i++) {
		cJSON *method = cJSON_AddObjectToObject(methods, schema_methods[i]->name);

		cJSON_AddStringToObject(method, "description", schema_methods[i]->help);
		cJSON_AddItemToObject(method, "params", fields_json(schema_methods[i]->fields));
	}
	return out;
}
