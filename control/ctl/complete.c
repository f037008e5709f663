/* SPDX-License-Identifier: BSD-3-Clause */
/* What the shell's completion offers: commands and fields from the tables, names of objects from the daemon, if it answers. */
#include <stdio.h>
#include <string.h>

#include "control/client/methods.h"
#include "control/ctl/ctl.h"

#define NAMES_TIMEOUT_MS 1000

static void offer(const char *word, const char *begin, const char *suffix)
{
	if (strncmp(word, begin, strlen(begin)) == 0)
		printf("%s%s\n", word, suffix);
}

static void complete_object(const char *begin)
{
	char object[64], last[64] = "";

	for (size_t i = 0; i < schema_n_methods; i++) {
		snprintf(object, sizeof(object), "%s", schema_methods[i]->name);
		object[strcspn(object, ".")] = '\0';
		if (strcmp(object, last) != 0)
			offer(object, begin, "");
		memcpy(last, object, sizeof(last));
	}
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++)
		if (strchr(c->words, ' ') == NULL && !ctl_is_object(c->words))
			offer(c->words, begin, "");
	for (unsigned int i = 0; ctl_alias(i) != NULL; i++)
		offer(ctl_alias(i), begin, "");
}

static void complete_verb(const char *object, const char *begin)
{
	size_t len = strlen(object);

	for (size_t i = 0; i < schema_n_methods; i++)
		if (strncmp(schema_methods[i]->name, object, len) == 0 &&
			schema_methods[i]->name[len] == '.')
			offer(schema_methods[i]->name + len + 1, begin, "");
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++)
		if (strncmp(c->words, object, len) == 0 && c->words[len] == ' ')
			offer(c->words + len + 1, begin, "");
}

/* The field that the n-th bare word of a command line is. */
static const struct field *bare_field(const struct method *method, int n)
{
	for (const struct field *f = method->fields; f->name != NULL; f++)
		if ((f->flags & (FIELD_REQUIRED | FIELD_POSITIONAL)) != 0 && n-- == 0)
			return f;
	return NULL;
}

/* What has been said of a field so far, "name=" left out. */
static const char *said(
	const struct method *method, const char *field, size_t len, int argc, char **argv)
{
	int n_bare = 0;

	for (int i = 0; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		const struct field *f;

		if (equals != NULL) {
			if ((size_t)(equals - argv[i]) == len && strncmp(argv[i], field, len) == 0)
				return equals + 1;
			continue;
		}
		f = bare_field(method, n_bare++);
		if (f != NULL && strlen(f->name) == len && strncmp(f->name, field, len) == 0)
			return argv[i];
	}
	return NULL;
}

/* Offers a member of every item of a list, of which what the list needs has been said already. */
static void offer_items(struct ctl *ctl, const struct method *list, const char *const members[],
	const struct method *method, int argc, char **argv, const char *begin)
{
	cJSON *params = cJSON_CreateObject(), *answer = NULL;
	const cJSON *item;

	for (const struct field *f = list->fields; f->name != NULL; f++) {
		const char *value = said(method, f->name, strlen(f->name), argc, argv);

		if (value != NULL && (f->flags & FIELD_REQUIRED) != 0)
			cJSON_AddStringToObject(params, f->name, value);
		else if ((f->flags & FIELD_REQUIRED) != 0)
			break;
	}
	ctl->timeout_ms = NAMES_TIMEOUT_MS;
	if (ctl_call(ctl, list->name, params, &answer) != CTL_EXIT_OK)
		return;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(answer, "items")) {
		const cJSON *value = NULL;
		char number[32];

		for (size_t i = 0; members[i] != NULL && value == NULL; i++)
			value = cJSON_GetObjectItemCaseSensitive(item, members[i]);
		if (cJSON_IsString(value)) {
			offer(value->valuestring, begin, "");
		} else if (cJSON_IsNumber(value)) {
			snprintf(number, sizeof(number), "%.0f", value->valuedouble);
			offer(number, begin, "");
		}
	}
	cJSON_Delete(answer);
}

/* Values of a field: its choices, or the names of the objects that it means: "policy" is one of policy.list, and what identifies an object
 * of method OBJECT.VERB, unless that makes one, is one of OBJECT.list. */
static void complete_value(struct ctl *ctl, const struct method *method, const struct field *f,
	int argc, char **argv, const char *begin)
{
	const char *const own[] = { f->name, NULL }, *const other[] = { "name", "id", NULL };
	const struct method *list;
	char name[128];

	if (f->type == FIELD_ENUM) {
		for (const char *const *v = f->values; *v != NULL; v++)
			offer(*v, begin, "");
		return;
	}
	if (f->type == FIELD_BOOL) {
		offer("true", begin, "");
		offer("false", begin, "");
		return;
	}
	snprintf(name, sizeof(name), "%.60s.list", f->name);
	list = schema_method(name);
	if (list != NULL) {
		offer_items(ctl, list, other, method, argc, argv, begin);
		return;
	}
	snprintf(name, sizeof(name), "%.*s.list", (int)strcspn(method->name, "."), method->name);
	list = schema_method(name);
	if (list != NULL && list != method && (method->flags & METHOD_SETS) == 0 &&
		strstr(method->name, ".add") == NULL)
		offer_items(ctl, list, own, method, argc, argv, begin);
}

/* argv: the words behind the command, of which the last is not finished. */
static void complete_word(struct ctl *ctl, const struct method *method, int argc, char **argv)
{
	const char *begin = argv[argc - 1], *equals = strchr(begin, '=');
	const struct field *bare;
	int n_bare = 0;

	for (const struct field *f = method->fields; f->name != NULL && equals != NULL; f++)
		if (strlen(f->name) == (size_t)(equals - begin) &&
			strncmp(f->name, begin, strlen(f->name)) == 0)
			complete_value(ctl, method, f, argc - 1, argv, equals + 1);
	if (equals != NULL)
		return;
	for (int i = 0; i < argc - 1; i++)
		n_bare += strchr(argv[i], '=') == NULL;
	bare = bare_field(method, n_bare);
	if (bare != NULL)
		complete_value(ctl, method, bare, argc - 1, argv, begin);
	for (const struct field *f = method->fields; f->name != NULL; f++)
		if (said(method, f->name, strlen(f->name), argc - 1, argv) == NULL)
			offer(f->name, begin, "=");
}

static void complete_options(const char *const options[], const char *begin)
{
	for (size_t i = 0; options[i] != NULL; i++)
		offer(options[i], begin, "=");
}

int ctl_complete(struct ctl *ctl, int argc, char **argv)
{
	static const char *const of_top[] = { "interval", "count", NULL },
				 *const of_trace[] = { "wait", NULL };
	const char *begin = argc > 0 ? argv[argc - 1] : "";
	const struct method *method;

	if (argc > 1 && strcmp(argv[0], "help") == 0) {
		argc--;
		argv++;
		if (argc > 2)
			return CTL_EXIT_OK;
	}
	if (argc <= 1) {
		complete_object(begin);
		return CTL_EXIT_OK;
	}
	argc--; /* the word that is not finished is no command yet */
	method = ctl_find_method(&argc, &argv);
	argc++;
	if (method != NULL) {
		complete_word(ctl, method, argc, argv);
	} else if (strcmp(argv[0], "event") == 0 && argc > 2) {
		for (size_t i = 0; schema_event_kinds[i] != NULL; i++)
			offer(schema_event_kinds[i], begin, "");
	} else if (strcmp(argv[0], "top") == 0) {
		complete_options(of_top, begin);
	} else {
		if (argc == 2)
			complete_verb(argv[0], begin);
		if (strcmp(argv[0], "trace") == 0) {
			complete_options(of_trace, begin);
			complete_word(ctl, schema_method("trace.start"), argc - 1, argv + 1);
		}
	}
	return CTL_EXIT_OK;
}
