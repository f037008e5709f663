/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/ctl/ctl.h"
#include "control/ctl/table.h"

int ctl_connect(struct ctl *ctl)
{
	struct leat_error err;

	if (ctl->client != NULL)
		return CTL_EXIT_OK;
	if (leat_open(ctl->instance, ctl->timeout_ms, &ctl->client, &err) == 0)
		return CTL_EXIT_OK;
	return ctl_fail(CTL_EXIT_NO_DAEMON, NULL, NULL, &err);
}

int ctl_call(struct ctl *ctl, const char *method, cJSON *params, cJSON **out_result)
{
	struct leat_error err;
	int rc = ctl_connect(ctl);

	if (rc == CTL_EXIT_OK) {
		rc = leat_call(ctl->client, method, params, out_result, &err);
		if (rc != 0)
			rc = ctl_fail(ctl_exit_code(&err), schema_method(method), params, &err);
	}
	cJSON_Delete(params);
	return rc;
}

int ctl_call_paged(
	struct ctl *ctl, const char *method, cJSON *params, const char *member, cJSON **out_result)
{
	cJSON *all = cJSON_CreateArray(), *answer, *next;
	bool is_one_page = cJSON_GetObjectItemCaseSensitive(params, "limit") != NULL;

	for (;;) {
		int rc = ctl_call(ctl, method, cJSON_Duplicate(params, true), &answer);
		cJSON *items, *item;

		if (rc != CTL_EXIT_OK) {
			cJSON_Delete(all);
			cJSON_Delete(params);
			return rc;
		}
		items = cJSON_GetObjectItemCaseSensitive(answer, member);
		while ((item = cJSON_DetachItemFromArray(items, 0)) != NULL)
			cJSON_AddItemToArray(all, item);
		next = cJSON_DetachItemFromObjectCaseSensitive(answer, "next");
		if (next == NULL || is_one_page) {
			cJSON_ReplaceItemInObjectCaseSensitive(answer, member, all);
			if (next != NULL)
				cJSON_AddItemToObject(answer, "next", next);
			cJSON_Delete(params);
			*out_result = answer;
			return CTL_EXIT_OK;
		}
		cJSON_DeleteItemFromObjectCaseSensitive(params, "cursor");
		cJSON_AddItemToObject(params, "cursor", next);
		cJSON_Delete(answer);
	}
}

/* Short forms of what is asked most. */
static const struct {
	const char *word, *method;
} aliases[] = {
	{ "status", "sys.status" },
	{ "hello", "sys.hello" },
	{ "schema", "sys.schema" },
	{ "log", "sys.log" },
	{ "metrics", "metrics.text" },
	{ "ports", "port.list" },
	{ "endpoints", "endpoint.list" },
	{ "routes", "route.list" },
	{ "services", "service.list" },
	{ "policies", "policy.list" },
	{ "explain", "packet.explain" },
};

const char *ctl_alias(unsigned int i)
{
	return i < sizeof(aliases) / sizeof(aliases[0]) ? aliases[i].word : NULL;
}

const struct method *ctl_find_method(int *argc, char ***argv)
{
	const struct method *method = NULL;
	char name[128];
	int used = 0;

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcmp(aliases[i].word, (*argv)[0]) == 0) {
			method = schema_method(aliases[i].method);
			used = 1;
		}
	}
	if (method == NULL && strchr((*argv)[0], '.') != NULL) {
		method = schema_method((*argv)[0]);
		used = 1;
	}
	if (method == NULL && *argc > 1) {
		snprintf(name, sizeof(name), "%.60s.%.60s", (*argv)[0], (*argv)[1]);
		method = schema_method(name);
		used = 2;
	}
	if (method != NULL) {
		*argc -= used;
		*argv += used;
	}
	return method;
}

static bool is_list(const struct method *method)
{
	return method->flags & METHOD_LISTS && strcmp(method->name, "config.dump") != 0;
}

/* A list, sorted and since the mark as it was asked for, once or again and again. */
static int run_list(struct ctl *ctl, const struct method *method, cJSON *params)
{
	int rc;

	do {
		cJSON *result = NULL, *items;

		rc = ctl_call_paged(
			ctl, method->name, cJSON_Duplicate(params, true), "items", &result);
		items = cJSON_GetObjectItemCaseSensitive(result, "items");
		if (rc == CTL_EXIT_OK && ctl->since != NULL)
			rc = ctl_apply_since(ctl, method->name, items);
		if (rc == CTL_EXIT_OK && ctl->sort != NULL &&
			table_sort(method, items, ctl->sort) < 0)
			rc = ctl_complain(
				CTL_EXIT_USAGE, "%s has no column \"%s\"", method->name, ctl->sort);
		if (rc == CTL_EXIT_OK && ctl->watch_ms > 0 && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		if (rc == CTL_EXIT_OK)
			ctl_print(ctl, method, result);
		fflush(stdout);
		cJSON_Delete(result);
		if (rc == CTL_EXIT_OK)
			ctl_wait_ms(ctl->watch_ms);
	} while (rc == CTL_EXIT_OK && ctl->watch_ms > 0);
	cJSON_Delete(params);
	return rc;
}

static int run_method(struct ctl *ctl, const struct method *method, int argc, char **argv)
{
	cJSON *params, *result = NULL;
	int rc;

	params = ctl_params(method, argc, argv);
	if (params == NULL)
		return CTL_EXIT_USAGE;
	if (is_list(method))
		return run_list(ctl, method, params);
	rc = ctl_call(ctl, method->name, params, &result);
	if (rc == CTL_EXIT_OK)
		ctl_print(ctl, method, result);
	cJSON_Delete(result);
	return rc;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct method *method;
	const char *object = argv[0];
	int n_about;

	if (strcmp(object, "complete") == 0)
		return ctl_complete(ctl, argc - 1, argv + 1);
	if (strcmp(object, "help") == 0)
		return ctl_help_about(argc - 1, argv + 1);
	if (ctl_wants_help(argc, argv, &n_about))
		return ctl_help_about(n_about, argv);
	if (strcmp(object, "config") == 0)
		return ctl_config(ctl, argc - 1, argv + 1);
	if (strcmp(object, "support-bundle") == 0)
		return ctl_bundle(ctl, argc - 1, argv + 1);
	if (strcmp(object, "event") == 0)
		return ctl_events(ctl, argc - 1, argv + 1);
	if (argc > 1 && strcmp(object, "capture") == 0 && strcmp(argv[1], "start") == 0 &&
		ctl_is_capture_stream(argc - 2, argv + 2))
		return ctl_capture_stream(ctl, argc - 2, argv + 2);
	if (strcmp(object, "mark") == 0)
		return ctl_mark(ctl, argc - 1, argv + 1);
	if (strcmp(object, "top") == 0)
		return ctl_top(ctl, argc - 1, argv + 1);
	if (strcmp(object, "man") == 0)
		return ctl_man();
	/* "trace start" and "trace show" are methods; anything else is the whole round. */
	if (strcmp(object, "trace") == 0 &&
		(argc == 1 || (strcmp(argv[1], "start") != 0 && strcmp(argv[1], "show") != 0)))
		return ctl_trace(ctl, argc - 1, argv + 1);
	method = ctl_find_method(&argc, &argv);
	if (method != NULL)
		return run_method(ctl, method, argc, argv);
	if (ctl_is_object(object)) {
		if (argc > 1)
			ctl_complain(CTL_EXIT_USAGE, "%s has no command \"%s\"", object, argv[1]);
		ctl_help_about(1, argv);
		return CTL_EXIT_USAGE;
	}
	return ctl_complain(CTL_EXIT_USAGE, "there is no command \"%s\": see leatctl help", object);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "instance", required_argument, NULL, 'i' },
		{ "socket", required_argument, NULL, 's' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "offline-schema", no_argument, NULL, 'S' }, /* the schema that is built in */
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { .instance = getenv("LEAT_INSTANCE") };
	int opt, rc, n = argc;
	long ms;

	if (ctl_output_options(&ctl, &n, argv) < 0)
		return CTL_EXIT_USAGE;
	opterr = 0;
	while ((opt = getopt_long(n, argv, "+i:s:t:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
		case 's':
			ctl.instance = optarg;
			break;
		case 't':
			if (ctl_seconds("-t", optarg, 0.001, &ms) < 0)
				return CTL_EXIT_USAGE;
			ctl.timeout_ms = (int)ms;
			break;
		case 'h':
			ctl_help();
			return CTL_EXIT_OK;
		case 'S': {
			cJSON *schema = schema_json();

			ctl_print_json(schema);
			cJSON_Delete(schema);
			return CTL_EXIT_OK;
		}
		case 'V':
			puts("leatctl " LEAT_VERSION);
			return CTL_EXIT_OK;
		default:
			return ctl_complain(CTL_EXIT_USAGE, "%s \"%s\": see leatctl help",
				optopt != 0 && strchr("ist", optopt) != NULL ? "no value for"
									     : "no option",
				argv[optind - 1]);
		}
	}
	if (optind == n) {
		ctl_help();
		return CTL_EXIT_USAGE;
	}
	rc = run(&ctl, n - optind, argv + optind);
	leat_close(ctl.client);
	return rc;
}
