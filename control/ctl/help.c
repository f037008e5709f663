/* SPDX-License-Identifier: BSD-3-Clause */
/* Help of every command: it asks no daemon and does nothing. */
#include <stdio.h>
#include <string.h>

#include "control/ctl/ctl.h"

const struct ctl_command ctl_commands[] = {
	{ "config diff", "FILE [--prune]", "What config apply would change." },
	{ "config apply", "FILE [--prune]",
		"Make the configuration that of the file, in one transaction (--prune: remove what "
		"it "
		"does not have)." },
	{ "event watch", "[KIND…]",
		"Show events as they come; drops, verdicts: packets discarded, decided." },
	{ "trace", "[FIELD=VALUE…] [wait=SECONDS]",
		"Show what happens to the next packets that match; fields as of trace start." },
	{ "top", "[interval=SECONDS] [count=N]", "Workers, ports and drops, again and again." },
	{ "mark", "FILE", "Keep what counters say now; lists take it off with --since FILE." },
	{ "support-bundle", "FILE.tar.gz",
		"Collect everything that helps to find a fault into a tar archive." },
	{ "help", "[OBJECT [COMMAND]]",
		"Show what there is; so does the word help behind anything." },
	{ NULL, NULL, NULL },
};

#define GROUP_MAX 10

/* Objects by what people come for. One that is in no group is under the last. */
static const struct {
	const char *title;
	const char *words[GROUP_MAX];
} groups[] = {
	{ "Ports and pods", { "port", "endpoint", "mirror" } },
	{ "Ways", { "zone", "route", "neigh", "tunnel" } },
	{ "Services and addresses", { "service", "snat", "pool", "pair" } },
	{ "Policies", { "policy", "rule", "group", "member" } },
	{ "What is going on",
		{ "packet", "trace", "conn", "flow", "drop", "capture", "top", "mark", "event" } },
	{ "The daemon",
		{ "sys", "config", "txn", "conntrack", "worker", "stage", "metrics",
			"support-bundle" } },
};

#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))

static void command_of(const struct method *method, char *buf, size_t size)
{
	char *dot;

	snprintf(buf, size, "%s", method->name);
	dot = strchr(buf, '.');
	if (dot != NULL)
		*dot = ' ';
}

bool ctl_is_object(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < schema_n_methods; i++)
		if (strncmp(schema_methods[i]->name, word, len) == 0 &&
			schema_methods[i]->name[len] == '.')
			return true;
	return false;
}

static bool is_grouped(const char *object)
{
	for (size_t g = 0; g < N_GROUPS; g++)
		for (size_t i = 0; i < GROUP_MAX && groups[g].words[i] != NULL; i++)
			if (strcmp(groups[g].words[i], object) == 0)
				return true;
	return false;
}

/* "port        add del list show", with the commands that leatctl adds; or a command of one word and what it does. */
static void print_word(const char *word)
{
	size_t len = strlen(word);
	bool is_object = ctl_is_object(word);

	printf("  %-15s", word);
	for (size_t i = 0; i < schema_n_methods; i++)
		if (strncmp(schema_methods[i]->name, word, len) == 0 &&
			schema_methods[i]->name[len] == '.')
			printf(" %s", schema_methods[i]->name + len + 1);
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++) {
		if (strncmp(c->words, word, len) == 0 && c->words[len] == ' ')
			printf(" %s", c->words + len + 1);
		else if (strcmp(c->words, word) == 0)
			printf(is_object ? " %s" : " %s: %s", c->args, c->help);
	}
	putchar('\n');
}

void ctl_help(void)
{
	char object[64], last[64] = "";

	puts("usage: leatctl [-i INSTANCE] [-s SOCKET] [-t SECONDS] OBJECT COMMAND [VALUE…] "
	     "[FIELD=VALUE…]\n"
	     "       anywhere: [-o json|wide|table], of lists: [--sort COLUMN] [--watch[=SECONDS]] "
	     "[--since FILE]");
	for (size_t g = 0; g < N_GROUPS; g++) {
		printf("\n%s\n", groups[g].title);
		for (size_t i = 0; i < GROUP_MAX && groups[g].words[i] != NULL; i++)
			print_word(groups[g].words[i]);
	}
	for (size_t i = 0; i < schema_n_methods; i++) {
		snprintf(object, sizeof(object), "%s", schema_methods[i]->name);
		object[strcspn(object, ".")] = '\0';
		if (strcmp(object, last) != 0 && !is_grouped(object))
			print_word(object);
		memcpy(last, object, sizeof(last));
	}
	puts("\nShort forms: status, ports, endpoints, routes, services, policies, explain, "
	     "metrics, "
	     "log.\n"
	     "The word help behind anything says more: leatctl port help, leatctl port add help.");
}

static void print_command(const struct ctl_command *c)
{
	printf("  leatctl %-20s %s\n", c->words, c->help);
}

static void help_object(const char *object)
{
	char command[64];
	size_t len = strlen(object);

	for (size_t i = 0; i < schema_n_methods; i++) {
		if (strncmp(schema_methods[i]->name, object, len) != 0 ||
			schema_methods[i]->name[len] != '.')
			continue;
		command_of(schema_methods[i], command, sizeof(command));
		printf("  leatctl %-20s %s\n", command, schema_methods[i]->help);
	}
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++)
		if (strncmp(c->words, object, len) == 0 &&
			(c->words[len] == ' ' || c->words[len] == '\0'))
			print_command(c);
}

static void help_fields(const struct method *method)
{
	for (const struct field *field = method->fields; field->name != NULL; field++) {
		printf("  %-16s %s%s%s%s%s%s", field->name, field->help,
			field->unit != NULL ? " (" : "", field->unit != NULL ? field->unit : "",
			field->unit != NULL ? ")" : "",
			field->flags & FIELD_REQUIRED ? "; required" : "",
			field->flags & FIELD_LIST ? "; list" : "");
		for (int i = 0; field->values != NULL && field->values[i] != NULL; i++)
			printf("%s%s", i == 0 ? "; one of " : "|", field->values[i]);
		putchar('\n');
		for (const struct field *sub = field->fields; sub != NULL && sub->name != NULL;
			sub++)
			printf("    .%-14s %s\n", sub->name, sub->help);
	}
}

static void help_method(const struct method *method)
{
	char command[64];

	command_of(method, command, sizeof(command));
	printf("usage: leatctl %s", command);
	for (const struct field *field = method->fields; field->name != NULL; field++)
		if (field->flags & FIELD_REQUIRED)
			printf(" %s", field->name);
		else if (field->flags & FIELD_POSITIONAL)
			printf(" [%s]", field->name);
	printf("%s\n\n%s\n\n", method->fields->name != NULL ? " [FIELD=VALUE…]" : "", method->help);
	help_fields(method);
}

static const struct ctl_command *find_command(int argc, char **argv)
{
	char two[128];

	snprintf(two, sizeof(two), "%.60s %.60s", argv[0], argc > 1 ? argv[1] : "");
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++)
		if (strcmp(c->words, two) == 0 || strcmp(c->words, argv[0]) == 0)
			return c;
	return NULL;
}

int ctl_help_about(int argc, char **argv)
{
	const char *word = argc > 0 ? argv[0] : "";
	const struct ctl_command *command;
	const struct method *method;

	if (argc == 0) {
		ctl_help();
		return CTL_EXIT_OK;
	}
	command = find_command(argc, argv);
	method = ctl_find_method(&argc, &argv);
	if (method != NULL) {
		help_method(method);
	} else if (command != NULL) {
		printf("usage: leatctl %s %s\n\n%s\n", command->words, command->args,
			command->help);
		if (strcmp(command->words, "trace") == 0)
			help_fields(schema_method("trace.start"));
	} else if (ctl_is_object(word)) {
		help_object(word);
	} else {
		return ctl_complain(
			CTL_EXIT_USAGE, "there is no command \"%s\": see leatctl help", word);
	}
	return CTL_EXIT_OK;
}

bool ctl_wants_help(int argc, char **argv, int *out_n_about)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "help") != 0 && strcmp(argv[i], "--help") != 0 &&
			strcmp(argv[i], "-h") != 0)
			continue;
		*out_n_about = i;
		return true;
	}
	return false;
}
