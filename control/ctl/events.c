/* SPDX-License-Identifier: BSD-3-Clause */
/* event watch */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/client/methods.h"
#include "control/ctl/ctl.h"

/* Kinds of which there may be hundreds a second: on demand only, and for people in words. */
static bool is_stream(const char *kind)
{
	return strcmp(kind, "drop") == 0 || strcmp(kind, "verdict") == 0;
}

static const char *text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void print_word(const char *before, const cJSON *object, const char *name)
{
	const char *text = text_of(object, name);

	if (text != NULL)
		printf("%s%s", before, text);
}

/* "12:00:01 drop policy_denied port p: 10.0.0.5:40000 > 10.0.0.6:80 tcp …, from shop/web-0, to shop/db-0". */
static void print_stream(const cJSON *event)
{
	const cJSON *object = cJSON_GetObjectItemCaseSensitive(event, "object"),
		    *packets = cJSON_GetObjectItemCaseSensitive(object, "packets");
	const char *action = text_of(event, "action"), *kind = text_of(event, "kind");
	char clock[16];
	time_t now = time(NULL);

	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	printf("%s %s", clock, kind);
	if (action != NULL && strcmp(action, kind) != 0)
		printf(" %s", action);
	if (packets != NULL)
		printf(" %.0f packets", packets->valuedouble);
	print_word(" ", object, "reason");
	print_word(" port ", object, "port");
	print_word(" in ", object, "in");
	print_word(": ", object, "packet");
	print_word(", from ", object, "from");
	print_word(", to ", object, "to");
	print_word(", rule ", object, "rule");
	print_word(", route ", object, "route");
	print_word(", tunnel ", object, "tunnel");
	print_word(", out of ", object, "out");
	putchar('\n');
}

static void print_event(const struct ctl *ctl, const cJSON *event)
{
	const char *kind = text_of(event, "kind");
	char *text;

	if (!ctl->is_json && kind != NULL && is_stream(kind)) {
		print_stream(event);
		return;
	}
	text = cJSON_PrintUnformatted(event);
	puts(text != NULL ? text : "{}");
	cJSON_free(text);
}

/* "drops" is "drop", said as people say it. */
static const char *kind_of(const char *word)
{
	for (int i = 0; schema_event_kinds[i] != NULL; i++) {
		size_t len = strlen(schema_event_kinds[i]);

		if (strncmp(word, schema_event_kinds[i], len) == 0 && strcmp(word + len, "s") == 0)
			return schema_event_kinds[i];
	}
	return word;
}

int ctl_events(struct ctl *ctl, int argc, char **argv)
{
	cJSON *params, *kinds, *event;
	struct leat_error err;
	int rc;

	if (argc < 1 || (strcmp(argv[0], "watch") != 0 && strcmp(argv[0], "subscribe") != 0))
		return ctl_complain(CTL_EXIT_USAGE, "usage: leatctl event watch [KIND…]");
	params = cJSON_CreateObject();
	kinds = cJSON_AddArrayToObject(params, "kinds");
	for (int i = 1; i < argc; i++)
		cJSON_AddItemToArray(kinds, cJSON_CreateString(kind_of(argv[i])));
	for (int i = 0; argc == 1 && schema_event_kinds[i] != NULL; i++)
		if (!is_stream(schema_event_kinds[i]))
			cJSON_AddItemToArray(kinds, cJSON_CreateString(schema_event_kinds[i]));
	rc = ctl_call(ctl, "event.subscribe", params, NULL);
	while (rc == CTL_EXIT_OK) {
		if (leat_event_next(ctl->client, -1, &event, &err) != 0)
			return ctl_fail(CTL_EXIT_NO_DAEMON, NULL, NULL, &err);
		print_event(ctl, event);
		fflush(stdout);
		cJSON_Delete(event);
	}
	return rc;
}
