/* SPDX-License-Identifier: BSD-3-Clause */
/* Options that say how an answer is shown. They may stand anywhere in the command line. */
#include <stdio.h>
#include <string.h>

#include "control/ctl/ctl.h"

#define WATCH_MS 1000

/* The value of "--NAME=VALUE" or "--NAME VALUE"; NULL: another word, or (*io_i = -1) no value. */
static const char *value_of(const char *name, int argc, char **argv, int *io_i)
{
	const char *word = argv[*io_i];
	size_t len = strlen(name);

	if (strncmp(word, name, len) != 0)
		return NULL;
	if (word[len] == '=' && len > 2)
		return word + len + 1;
	if (word[len] != '\0')
		return len == 2 ? word + len : NULL; /* -ojson */
	if (*io_i + 1 < argc)
		return argv[++*io_i];
	ctl_complain(CTL_EXIT_USAGE, "%s needs a value", name);
	*io_i = -1;
	return NULL;
}

static int set_format(struct ctl *ctl, const char *format)
{
	ctl->is_json = strcmp(format, "json") == 0;
	ctl->is_wide = strcmp(format, "wide") == 0;
	ctl_errors_as_json(ctl->is_json);
	if (ctl->is_json || ctl->is_wide || strcmp(format, "table") == 0)
		return 0;
	ctl_complain(CTL_EXIT_USAGE, "-o takes json, wide or table, not \"%s\"", format);
	return -1;
}

/* 1: the word at *io_i was one of ours, 0: it was not, -1: it is wrong. */
static int take(struct ctl *ctl, int argc, char **argv, int *io_i)
{
	static const char *const formats[] = { "-o", "--output" };
	const char *value;

	if (strcmp(argv[*io_i], "--json") == 0 || strcmp(argv[*io_i], "-j") == 0)
		return set_format(ctl, "json") == 0 ? 1 : -1;
	for (size_t i = 0; i < 2; i++) {
		value = value_of(formats[i], argc, argv, io_i);
		if (*io_i < 0 || (value != NULL && set_format(ctl, value) < 0))
			return -1;
		if (value != NULL)
			return 1;
	}
	value = value_of("--sort", argc, argv, io_i);
	if (value != NULL)
		ctl->sort = value;
	else if (*io_i >= 0 && (value = value_of("--since", argc, argv, io_i)) != NULL)
		ctl->since = value;
	if (*io_i < 0 || value != NULL)
		return *io_i < 0 ? -1 : 1;
	if (strcmp(argv[*io_i], "--watch") == 0)
		ctl->watch_ms = WATCH_MS;
	else if (strncmp(argv[*io_i], "--watch=", 8) != 0)
		return 0;
	else if (ctl_seconds("--watch", argv[*io_i] + 8, 0.1, &ctl->watch_ms) < 0)
		return -1;
	return 1;
}

int ctl_output_options(struct ctl *ctl, int *io_argc, char **argv)
{
	int n = 1;

	for (int i = 1; i < *io_argc; i++) {
		int from = i, rc = take(ctl, *io_argc, argv, &i);

		if (rc < 0)
			return -1;
		if (rc == 0)
			argv[n++] = argv[from];
	}
	argv[n] = NULL;
	*io_argc = n;
	return 0;
}
