/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers for people: lists as tables, objects as pairs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl/ctl.h"

#define COLUMNS_MAX 40

void ctl_print_json(const cJSON *json)
{
	char *text = cJSON_Print(json);

	if (text != NULL)
		puts(text);
	cJSON_free(text);
}

static bool is_scalar(const cJSON *value)
{
	return !cJSON_IsArray(value) && !cJSON_IsObject(value);
}

/* One cell: "a,b" for lists of scalars, compact JSON for what is nested deeper. Caller frees. */
static char *cell(const cJSON *value)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out;
	const cJSON *item;
	bool is_flat = true;

	if (value == NULL || cJSON_IsNull(value))
		return strdup("-");
	if (cJSON_IsString(value))
		return strdup(value->valuestring[0] != '\0' ? value->valuestring : "-");
	if (cJSON_IsBool(value))
		return strdup(cJSON_IsTrue(value) ? "yes" : "no");
	cJSON_ArrayForEach(item, value)
		is_flat &= is_scalar(item);
	if (!is_flat || cJSON_IsNumber(value) || value->child == NULL)
		return value->child == NULL && !cJSON_IsNumber(value)
			? strdup("-")
			: cJSON_PrintUnformatted(value);
	out = open_memstream(&text, &size);
	if (out == NULL)
		return NULL;
	cJSON_ArrayForEach(item, value) {
		char *part = cell(item);

		fprintf(out, "%s%s%s%s", item != value->child ? "," : "",
			cJSON_IsObject(value) ? item->string : "", cJSON_IsObject(value) ? "=" : "",
			part != NULL ? part : "");
		free(part);
	}
	fclose(out);
	return text;
}

struct table {
	const char *names[COLUMNS_MAX];
	int widths[COLUMNS_MAX];
	bool is_number[COLUMNS_MAX];
	int n;
};

static int column(struct table *table, const char *name)
{
	for (int i = 0; i < table->n; i++)
		if (strcmp(table->names[i], name) == 0)
			return i;
	if (table->n == COLUMNS_MAX)
		return -1;
	table->names[table->n] = name;
	table->widths[table->n] = (int)strlen(name);
	table->is_number[table->n] = true;
	return table->n++;
}

static void measure(struct table *table, const cJSON *items)
{
	const cJSON *item, *value;

	cJSON_ArrayForEach(item, items) {
		cJSON_ArrayForEach(value, item) {
			int i = value->string != NULL ? column(table, value->string) : -1;
			char *text = i >= 0 ? cell(value) : NULL;

			if (text != NULL && (int)strlen(text) > table->widths[i])
				table->widths[i] = (int)strlen(text);
			if (i >= 0 && !cJSON_IsNumber(value))
				table->is_number[i] = false;
			free(text);
		}
	}
}

static void print_cell(const struct table *table, int i, const char *text)
{
	bool is_last = i == table->n - 1;

	if (table->is_number[i])
		printf("%*s%s", table->widths[i], text, is_last ? "\n" : "  ");
	else
		printf("%-*s%s", is_last ? 0 : table->widths[i], text, is_last ? "\n" : "  ");
}

static void print_table(const cJSON *items)
{
	struct table table = { .n = 0 };
	const cJSON *item;

	measure(&table, items);
	for (int i = 0; i < table.n; i++) {
		char name[64];
		size_t len = strlen(table.names[i]);

		snprintf(name, sizeof(name), "%s", table.names[i]);
		for (size_t c = 0; c < len && c < sizeof(name); c++)
			if (name[c] >= 'a' && name[c] <= 'z')
				name[c] = (char)(name[c] - 'a' + 'A');
		print_cell(&table, i, name);
	}
	cJSON_ArrayForEach(item, items) {
		for (int i = 0; i < table.n; i++) {
			char *text = cell(cJSON_GetObjectItemCaseSensitive(item, table.names[i]));

			print_cell(&table, i, text != NULL ? text : "");
			free(text);
		}
	}
}

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
				print_table(value);
			continue;
		}
		text = cell(value);
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
		print_table(items);
	else
		print_object(result, 0);
}
