/* SPDX-License-Identifier: BSD-3-Clause */
/* The manual page, in mdoc, from the tables. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "control/ctl/ctl.h"

static const char head[] =
	".\\\" SPDX-License-Identifier: BSD-3-Clause\n"
	".Dd December 1, 2026\n.Dt LEATCTL 8\n.Os\n.Sh NAME\n.Nm leatctl\n"
	".Nd control leatd, the userspace switch and router\n"
	".Sh SYNOPSIS\n.Nm\n.Op Fl i Ar instance\n.Op Fl s Ar socket\n.Op Fl o Ar format\n"
	".Op Fl t Ar seconds\n.Ar command\n.Op Ar value ...\n.Op Ar field Ns = Ns Ar value ...\n"
	".Sh DESCRIPTION\n"
	"Every method of leatd's API is a command.\n"
	"Its required fields stand in order, all others as\n.Ar field Ns = Ns Ar value .\n"
	"Lists are written with commas, or as JSON.\n"
	"The word\n.Cm help\nbehind anything shows more and does nothing.\n"
	".Bl -tag -width Ds\n"
	".It Fl i Ar instance\nName of the instance.\nDefault:\n.Ev LEAT_INSTANCE ,\nelse "
	"default.\n"
	".It Fl s Ar socket\nPath of the control socket, in place of an instance.\n"
	".It Fl o Ar format , Fl -output Ns = Ns Ar format\n"
	".Cm json :\nresults, and errors, as JSON, as\n.Fl j\nand\n.Fl -json\ndo;\n.Cm wide :\n"
	"all columns of lists, uncut;\n.Cm table :\nthe default.\n"
	".It Fl -sort Ar column\nSort a list by a column;\n.Sq -column :\nthe largest first.\n"
	".It Fl -watch Ns Op = Ns Ar seconds\nShow a list again and again, every second.\n"
	".It Fl -since Ar file\nCounters since\n.Cm mark Ar file .\n"
	".It Fl t Ar seconds\nTime to wait for an answer, default 30.\n"
	"A change that was not answered in time may still be applied.\n"
	".It Fl -version\nPrint the version.\n.El\n"
	".Sh COMMANDS\n.Bl -tag -width Ds\n";

static const char tail[] =
	".El\n"
	".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
	".It Ev LEAT_INSTANCE\nName of the instance when\n.Fl i\nis not given.\n.El\n"
	".Sh FILES\n.Bl -tag -width Ds\n"
	".It Pa /run/leat/INSTANCE/control.sock\nThe control socket; mode 0660, group leat.\n.El\n"
	".Sh EXIT STATUS\n"
	"0 done; 1 refused or failed, or config diff found a difference; 2 wrong use;\n"
	"3 leatd is not there or did not answer.\n"
	".Sh EXAMPLES\n"
	"An uplink, a pod in a network namespace, and what its next packet meets:\n"
	".Bd -literal -offset indent\n"
	"leatctl port add uplink ethdev role=uplink \\e\n"
	"    device=net_af_packet0,iface=eth1 addresses=192.0.2.1/24\n"
	"leatctl endpoint attach p1 tap 10.244.1.10/32 netns=/run/netns/p1\n"
	"leatctl trace src=10.244.1.10/32\n.Ed\n.Pp\n"
	"A service, and which backend a client would get:\n"
	".Bd -literal -offset indent\n"
	"leatctl service add web \\e\n"
	"    'frontends=[{\"ip\":\"10.96.0.1\",\"port\":80}]' \\e\n"
	"    'backends=[{\"ip\":\"10.244.1.11\",\"port\":8080}]'\n"
	"leatctl explain p1 10.244.1.10 10.96.0.1 tcp 80\n.Ed\n.Pp\n"
	"Keep the configuration in a file:\n"
	".Bd -literal -offset indent\n"
	"leatctl config dump >node.json\n"
	"leatctl config diff node.json --prune\n"
	"leatctl config apply node.json --prune\n.Ed\n"
	".Sh SEE ALSO\n.Xr leat-cni 8 ,\n.Xr leatd 8\n";

/* Running text: a sentence a line, nothing that roff would take for a request. */
static void print_text(const char *text)
{
	bool is_line_start = true;

	for (const char *p = text; *p != '\0'; p++) {
		if (is_line_start && (*p == '.' || *p == '\''))
			fputs("\\&", stdout);
		is_line_start = false;
		if (*p == '\\')
			fputs("\\e", stdout);
		else
			putchar(*p);
		if (strchr(".!?", *p) != NULL && p[1] == ' ') {
			putchar('\n');
			is_line_start = true;
			p++;
		}
	}
}

static void print_field(const struct field *f)
{
	size_t len = strlen(f->help);

	printf(".It Cm %s\n", f->name);
	print_text(f->help);
	if (f->unit != NULL)
		printf(" (%s)", f->unit);
	if (f->type == FIELD_ENUM) {
		printf(":");
		for (const char *const *v = f->values; *v != NULL; v++)
			printf(" %s", *v);
	}
	puts(len > 0 && f->help[len - 1] == '.' && f->unit == NULL && f->type != FIELD_ENUM ? ""
											    : ".");
}

static void print_method(const struct method *m)
{
	char words[64];

	snprintf(words, sizeof(words), "%s", m->name);
	words[strcspn(words, ".")] = ' ';
	printf(".It Cm %s", words);
	for (const struct field *f = m->fields; f->name != NULL; f++)
		if ((f->flags & FIELD_REQUIRED) != 0)
			printf(" Ar %s", f->name);
		else if ((f->flags & FIELD_POSITIONAL) != 0)
			printf(" Op Ar %s", f->name);
	putchar('\n');
	print_text(m->help);
	putchar('\n');
	if (m->fields->name == NULL)
		return;
	puts(".Bl -tag -width 14n -compact");
	for (const struct field *f = m->fields; f->name != NULL; f++)
		print_field(f);
	puts(".El");
}

/* "FILE [--prune]" as mdoc would have it is not worth a parser: words as they are, "…" as dots. */
static void print_command(const struct ctl_command *c)
{
	printf(".It Cm %s Li ", c->words);
	for (const char *p = c->args; *p != '\0'; p++) {
		if (strncmp(p, "…", strlen("…")) == 0) {
			fputs("...", stdout);
			p += strlen("…") - 1;
		} else {
			putchar(*p);
		}
	}
	putchar('\n');
	print_text(c->help);
	putchar('\n');
}

int ctl_man(void)
{
	fputs(head, stdout);
	for (const struct ctl_command *c = ctl_commands; c->words != NULL; c++)
		print_command(c);
	for (size_t i = 0; i < schema_n_methods; i++)
		print_method(schema_methods[i]);
	fputs(tail, stdout);
	return CTL_EXIT_OK;
}
