/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "control/ctl/ctl.h"

static void command_of(const struct method *method, char *buf, size_t size)
{
	char *dot;

	snprintf(buf, size, "%s", method->name);
	dot = strchr(buf, '.');
	if (dot != NULL)
		*dot = ' ';
}

void ctl_help(void)
{
	char command[64];

	puts("usage: leatctl [-i INSTANCE] [-s SOCKET] [-t SECONDS] [--json] OBJECT COMMAND "
	     "[VALUE…] [FIELD=VALUE…]\n");
	for (size_t i = 0; i < schema_n_methods; i++) {
		command_of(schema_methods[i], command, sizeof(command));
		printf("  %-20s %s\n", command, schema_methods[i]->help);
	}
	puts("\n  config diff FILE     What config apply would change.\n"
	     "  config apply FILE    Make the configuration that of the file (--prune: remove what "
	     "it does not have).\n"
	     "  event watch [KIND…]  Show events as they come.\n"
	     "  trace [FIELD=VALUE…] Show what happens to the next packets that match "
	     "(wait=SECONDS).\n"
	     "  top                  Workers, ports and drops, again and again (interval=SECONDS "
	     "count=N).\n"
	     "  support-bundle FILE  Collect everything that helps to find a fault into a tar "
	     "archive.\n\n"
	     "\"leatctl OBJECT COMMAND help\" shows the fields. Short forms: status, ports, "
	     "endpoints, routes, metrics, log.");
}

void ctl_help_object(const char *object)
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
}

void ctl_help_method(const struct method *method)
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
