/* SPDX-License-Identifier: BSD-3-Clause */
/* What the shell's completion and the manual page take from the tables. */
#include <stdio.h>
#include <string.h>

#include "control/ctl/ctl.h"

static void offer(const char *word, const char *begin, const char *suffix)
{
	if (strncmp(word, begin, strlen(begin)) == 0)
		printf("%s%s\n", word, suffix);
}

static void complete_object(const char *begin)
{
	static const char *const words[] = { "help", "status", "support-bundle", "top" };
	char object[64], last[64] = "";

	for (size_t i = 0; i < schema_n_methods; i++) {
		snprintf(object, sizeof(object), "%s", schema_methods[i]->name);
		object[strcspn(object, ".")] = '\0';
		if (strcmp(object, last) != 0)
			offer(object, begin, "");
		memcpy(last, object, sizeof(last));
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		offer(words[i], begin, "");
}

static void complete_verb(const char *object, const char *begin)
{
	static const struct {
		const char *object, *verb;
	} more[] = { { "config", "apply" }, { "config", "diff" }, { "event", "watch" } };
	size_t len = strlen(object);

	for (size_t i = 0; i < schema_n_methods; i++)
		if (strncmp(schema_methods[i]->name, object, len) == 0 &&
			schema_methods[i]->name[len] == '.')
			offer(schema_methods[i]->name + len + 1, begin, "");
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (strcmp(more[i].object, object) == 0)
			offer(more[i].verb, begin, "");
}

static void complete_field(const struct method *method, const char *begin)
{
	for (const struct field *f = method->fields; f->name != NULL; f++) {
		size_t len = strlen(f->name);

		if (strncmp(begin, f->name, len) == 0 && begin[len] == '=' &&
			f->type == FIELD_ENUM) {
			for (const char *const *v = f->values; *v != NULL; v++)
				offer(*v, begin + len + 1, "");
		} else {
			offer(f->name, begin, "=");
		}
	}
}

int ctl_complete(int argc, char **argv)
{
	const char *begin = argc > 0 ? argv[argc - 1] : "";
	const struct method *method;
	char name[128];

	if (argc <= 1) {
		complete_object(begin);
	} else if (argc == 2) {
		complete_verb(argv[0], begin);
	} else {
		snprintf(name, sizeof(name), "%.60s.%.60s", argv[0], argv[1]);
		method = schema_method(name);
		if (method != NULL)
			complete_field(method, begin);
	}
	return CTL_EXIT_OK;
}

static void man_method(const struct method *m)
{
	char words[64];

	snprintf(words, sizeof(words), "%s", m->name);
	words[strcspn(words, ".")] = ' ';
	printf(".It Cm %s", words);
	for (const struct field *f = m->fields; f->name != NULL; f++)
		if ((f->flags & FIELD_REQUIRED) != 0)
			printf(" Ar %s", f->name);
	printf("\n%s\n.Bl -tag -width 14n -compact\n", m->help);
	for (const struct field *f = m->fields; f->name != NULL; f++) {
		printf(".It Cm %s\n%s", f->name, f->help);
		if (f->unit != NULL)
			printf(" (%s)", f->unit);
		if (f->type == FIELD_ENUM) {
			printf(":");
			for (const char *const *v = f->values; *v != NULL; v++)
				printf(" %s", *v);
		}
		printf(".\n");
	}
	printf(".El\n");
}

int ctl_man(void)
{
	puts(".Dd November 23, 2026\n.Dt LEATCTL 8\n.Os\n.Sh NAME\n.Nm leatctl\n.Nd control leatd, "
	     "the "
	     "userspace switch and router\n"
	     ".Sh SYNOPSIS\n.Nm\n.Op Fl i Ar instance\n.Op Fl s Ar socket\n.Op Fl j\n.Op Fl t Ar "
	     "seconds\n.Ar command "
	     "...\n.Sh DESCRIPTION\n"
	     "Every method of leatd's API is a command: its required fields stand in order, all "
	     "others as\n.Ar name=value .\n"
	     ".Bl -tag -width Ds\n.It Fl i Ar instance\nName of the instance. "
	     "Default: LEAT_INSTANCE, else default.\n.It Fl s Ar socket\nPath of the control "
	     "socket, in place "
	     "of an instance.\n.It Fl j\nPrint results as JSON.\n.It Fl t Ar "
	     "seconds\n"
	     "Time to wait for an answer, default 30. A change that was not answered in time may "
	     "still be applied.\n.El\n.Sh COMMANDS\n.Bl -tag -width Ds\n"
	     ".It Cm config apply Ar file Op Fl -prune\nMake the configuration that of the file, "
	     "in one transaction.\n"
	     ".It Cm config diff Ar file\nWhat config apply would change.\n"
	     ".It Cm event watch Op Ar kind ...\nShow events as they come.\n"
	     ".It Cm support-bundle Ar file\nCollect everything that helps to find a fault into a "
	     "tar archive.\n"
	     ".It Cm trace Oo Ar name=value ... Oc Op Cm wait= Ns Ar seconds\nShow what happens to "
	     "the next packets that match.\n"
	     ".It Cm top Oo Cm interval= Ns Ar seconds Oc Op Cm count= Ns Ar n\nWorkers, ports and "
	     "drops, again and again.");
	for (size_t i = 0; i < schema_n_methods; i++)
		man_method(schema_methods[i]);
	puts(".El\n.Sh EXIT STATUS\n0 done; 1 refused or failed, or config diff found a "
	     "difference; 2 wrong use;\n3 leatd is not there or did not answer.\n"
	     ".Sh SEE ALSO\n.Xr leatd 8 ,\n.Xr leat-cni 8");
	return CTL_EXIT_OK;
}
