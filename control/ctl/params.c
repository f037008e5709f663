/* SPDX-License-Identifier: BSD-3-Clause */
/* Words → params: "10.0.0.0/8 via=192.0.2.1 exist_ok" by the field tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/ctl.h"

#define DAY_S 86400u

static const struct field *find_field(const struct field *fields, const char *name, size_t len)
{
	for (const struct field *field = fields; field->name != NULL; field++)
		if (strlen(field->name) == len && strncmp(field->name, name, len) == 0)
			return field;
	return NULL;
}

/* The next required (or positional) field that has no value yet. */
static const struct field *next_positional(const struct method *method, const cJSON *params)
{
	for (const struct field *field = method->fields; field->name != NULL; field++)
		if (field->flags & (FIELD_REQUIRED | FIELD_POSITIONAL) &&
			cJSON_GetObjectItemCaseSensitive(params, field->name) == NULL)
			return field;
	return NULL;
}

static int set_value(
	cJSON *object, const struct field *field, const char *text, struct leat_error *err)
{
	struct leat_error why;
	cJSON *value;

	if (cJSON_GetObjectItemCaseSensitive(object, field->name) != NULL)
		return schema_error(
			err, LEAT_ERR_PARAMS, field->name, "%s is given twice", field->name);
	value = schema_value_from_text(field, text, &why);
	if (value == NULL)
		return schema_error(
			err, why.code, field->name, "%s: %.400s", field->name, why.reason);
	cJSON_AddItemToObject(object, field->name, value);
	return 0;
}

/* "vhost.mode=0660": the member of an object field. */
static int set_member(const struct field *outer, cJSON *params, const char *member,
	const char *text, struct leat_error *err)
{
	const struct field *field = outer->fields != NULL
		? find_field(outer->fields, member, strlen(member))
		: NULL;
	cJSON *object = cJSON_GetObjectItemCaseSensitive(params, outer->name);

	if (field == NULL)
		return schema_error(err, LEAT_ERR_PARAMS, outer->name, "%s has no field \"%s\"",
			outer->name, member);
	if (object == NULL)
		object = cJSON_AddObjectToObject(params, outer->name);
	return set_value(object, field, text, err);
}

static int add_word(const struct method *method, cJSON *params, char *word, struct leat_error *err)
{
	char *equals = strchr(word, '='), *dot;
	const struct field *field = equals != NULL
		? find_field(method->fields, word, (size_t)(equals - word))
		: NULL;

	if (field != NULL)
		return set_value(params, field, equals + 1, err);
	dot = equals != NULL ? memchr(word, '.', (size_t)(equals - word)) : NULL;
	if (dot != NULL &&
		(field = find_field(method->fields, word, (size_t)(dot - word))) != NULL &&
		field->type == FIELD_OBJECT && !(field->flags & FIELD_LIST)) {
		*equals = '\0';
		return set_member(field, params, dot + 1, equals + 1, err);
	}
	field = find_field(method->fields, word, strlen(word));
	if (field != NULL && field->type == FIELD_BOOL) /* a switch by its name alone */
		return set_value(params, field, "true", err);
	field = next_positional(method, params);
	/* A device string may hold '=': a word that begins with no field name is a value. */
	if (field != NULL)
		return set_value(params, field, word, err);
	return schema_error(err, LEAT_ERR_PARAMS, NULL,
		"there is no field for \"%s\": see leatctl %s help", word, method->name);
}

cJSON *ctl_params(const struct method *method, int argc, char **argv)
{
	cJSON *params = cJSON_CreateObject();
	struct schema_req req;
	struct leat_error err;
	int rc = 0;

	if (argc == 1 && argv[0][0] == '{') {
		cJSON_Delete(params);
		params = cJSON_Parse(argv[0]);
		if (params == NULL)
			rc = schema_error(&err, LEAT_ERR_PARSE, NULL, "the argument is not JSON");
	} else {
		for (int i = 0; i < argc && rc == 0; i++)
			rc = add_word(method, params, argv[i], &err);
	}
	/* The daemon checks again; here mistakes are found without one. */
	if (rc == 0) {
		rc = schema_decode(method, params, &req, &err);
		schema_req_fini(&req);
	}
	if (rc != 0) {
		ctl_fail(CTL_EXIT_USAGE, method, params, &err);
		cJSON_Delete(params);
		return NULL;
	}
	return params;
}

int ctl_seconds(const char *what, const char *text, double min_s, long *out_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	/* not a number compares false */
	if (end == text || *end != '\0' || !(seconds >= min_s && seconds <= DAY_S)) {
		ctl_complain(CTL_EXIT_USAGE, "%s takes seconds, %g to %u, not \"%s\"", what, min_s,
			DAY_S, text);
		return -1;
	}
	*out_ms = (long)(seconds * 1000);
	return 0;
}
