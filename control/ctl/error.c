/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a command failed, on stderr: a sentence, or with --json one object. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "control/ctl/ctl.h"

static bool is_json;

void ctl_errors_as_json(bool is_on)
{
	is_json = is_on;
}

static void print_json(
	const struct method *method, const cJSON *params, const struct leat_error *err)
{
	cJSON *out = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(out, "error");
	char *text;

	cJSON_AddNumberToObject(error, "code", err->code);
	if (method != NULL) {
		cJSON_AddStringToObject(error, "method", method->name);
		cJSON_AddItemToObject(error, "object", schema_key_params(method, params));
	}
	if (err->field[0] != '\0')
		cJSON_AddStringToObject(error, "field", err->field);
	cJSON_AddStringToObject(error, "reason", err->reason);
	text = cJSON_PrintUnformatted(out);
	fprintf(stderr, "%s\n", text != NULL ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(out);
}

int ctl_fail(int exit_code, const struct method *method, const cJSON *params,
	const struct leat_error *err)
{
	char text[200];

	if (is_json)
		print_json(method, params, err);
	else if (method != NULL)
		fprintf(stderr, "leatctl: %s: %s\n",
			schema_call_text(method, params, text, sizeof(text)), err->reason);
	else
		fprintf(stderr, "leatctl: %s\n", err->reason);
	return exit_code;
}

int ctl_complain(int exit_code, const char *fmt, ...)
{
	struct leat_error err = { .code = exit_code == CTL_EXIT_USAGE ? LEAT_ERR_PARAMS
								      : LEAT_ERR_INTERNAL };
	va_list args;

	va_start(args, fmt);
	vsnprintf(err.reason, sizeof(err.reason), fmt, args);
	va_end(args);
	return ctl_fail(exit_code, NULL, NULL, &err);
}

int ctl_exit_code(const struct leat_error *err)
{
	return err->code == LEAT_ERR_TRANSPORT ? CTL_EXIT_NO_DAEMON : CTL_EXIT_FAILED;
}
