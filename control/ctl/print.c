/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers for people: lists as tables, objects as pairs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/cell.h"
#include "control/ctl/ctl.h"
#include "control/ctl/table.h"

void ctl_print_json(const cJSON *json)
{
	char *text = cJSON_Print(json);

	if (text != NULL)
		puts(text);
	cJSON_free(text);
}

/* Of tables inside of an answer: their items say which columns there are. */
static const struct method no_method = { .name = "" };

static bool is_object_list(const cJSON *value)
{
	return cJSON_IsArray(value) && cJSON_IsObject(value->child);
}

static void print_object(const cJSON *object, int indent)
{
	const cJSON *value;
	int width = 0;

	cJSON_ArrayForEach(value, object)
		if (value->string != NULL && (int)strlen(value->string) > width)
			width = (int)strlen(value->string);
	cJSON_ArrayForEach(value, object) {
		char *text;

		if (value->string == NULL)
			continue;
		if ((cJSON_IsObject(value) && value->child != NULL) || is_object_list(value)) {
			printf("%*s%s:\n", indent, "", value->string);
			if (cJSON_IsObject(value))
				print_object(value, indent + 2);
			else
				table_print(&no_method, value, false);
			continue;
		}
		text = cell_text(value->string, value);
		printf("%*s%-*s %s\n", indent, "", width + 1, value->string,
			text != NULL ? text : "");
		free(text);
	}
}

void ctl_print(const struct ctl *ctl, const struct method *method, const cJSON *result)
{
	const cJSON *items = cJSON_GetObjectItemCaseSensitive(result, "items");
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(result, "text"));

	if (ctl->is_json || strcmp(method->name, "sys.schema") == 0 ||
		strcmp(method->name, "config.dump") == 0)
		ctl_print_json(method->flags & METHOD_LISTS && items != NULL ? items : result);
	else if (method->flags & METHOD_TEXT && text != NULL)
		fputs(text, stdout);
	else if (cJSON_IsArray(items))
		table_print(method, items, ctl->is_wide);
	else
		print_object(result, 0);
}
