/* SPDX-License-Identifier: BSD-3-Clause */
/* leatctl: the command line of the API. Commands follow from the method tables. */
#ifndef LEAT_CTL_H
#define LEAT_CTL_H

#include <stdbool.h>

#include "control/client/leat_client.h"
#include "control/client/schema.h"

struct ctl {
	const char *instance; /* name, or socket path */
	bool is_json, is_wide;
	const char *sort;  /* column of lists, NULL: as they come */
	const char *since; /* file that ctl_mark() wrote, NULL: counters as they are */
	long watch_ms;	   /* lists are shown again and again; 0: once */
	int timeout_ms;
	struct leat_client *client; /* NULL until ctl_connect() */
};

/* Why a command failed, on stderr, as a sentence or as {"error": {code, method, object, field, reason}}. method (may be
 * NULL) and its params name the call. Both return exit_code. */
void ctl_errors_as_json(bool is_on);
int ctl_fail(int exit_code, const struct method *method, const cJSON *params,
	const struct leat_error *err);
__attribute__((format(printf, 2, 3))) int ctl_complain(int exit_code, const char *fmt, ...);

/* Exit code for the error of a call. */
int ctl_exit_code(const struct leat_error *err);

/* Takes the options that say how an answer is shown out of the words. 0, or -1 and a message. */
int ctl_output_options(struct ctl *ctl, int *io_argc, char **argv);

/* Takes the counters of ctl->since off a list's items. Exit code. */
int ctl_apply_since(struct ctl *ctl, const char *method, cJSON *items);
/* The same for what a list said before. */
void ctl_items_since(cJSON *items, const cJSON *before);

void ctl_wait_ms(long ms);

/* Takes "name=value" out of the words; NULL: not there. */
const char *ctl_take_option(int *argc, char **argv, const char *name);

/* Connects; on failure says why and returns an exit code, else 0. */
int ctl_connect(struct ctl *ctl);

/* One call; on failure says why and returns an exit code, else 0. params is taken; out_result may be NULL. */
int ctl_call(struct ctl *ctl, const char *method, cJSON *params, cJSON **out_result);

/* All pages of a list: {items: […]}. As ctl_call(). member: "items" or "calls". */
int ctl_call_paged(
	struct ctl *ctl, const char *method, cJSON *params, const char *member, cJSON **out_result);

/* Params from the words of a command line. NULL and a message on mistakes. */
cJSON *ctl_params(const struct method *method, int argc, char **argv);

/* Seconds in words, min_s to a day, as milliseconds; what: the option's name. 0, or -1 and a message. */
int ctl_seconds(const char *what, const char *text, double min_s, long *out_ms);

/* Prints an answer for people (table, pairs, text), or as JSON. */
void ctl_print(const struct ctl *ctl, const struct method *method, const cJSON *result);
void ctl_print_json(const cJSON *json);

/* A command that is more than one call: its words, what follows them, what it does. The list ends with NULL words. */
struct ctl_command {
	const char *words, *args, *help;
};
extern const struct ctl_command ctl_commands[];

/* The method that the first words name, also by a short form; argc and argv then begin behind it. NULL: none, nothing changed. */
const struct method *ctl_find_method(int *argc, char ***argv);
/* The i-th short form; NULL behind the last. */
const char *ctl_alias(unsigned int i);
bool ctl_is_object(const char *word);

/* All there is, in groups. */
void ctl_help(void);
/* About the object, command or short form that the words name. Exit code. */
int ctl_help_about(int argc, char **argv);
/* Whether help is asked for by one of the words; the words before it say about what. */
bool ctl_wants_help(int argc, char **argv, int *out_n_about);

/* Commands that are more than one call. Exit codes. */
int ctl_config(struct ctl *ctl, int argc, char **argv);
int ctl_bundle(struct ctl *ctl, int argc, char **argv);
int ctl_events(struct ctl *ctl, int argc, char **argv);
int ctl_trace(struct ctl *ctl, int argc, char **argv);
/* Whether the words of capture start ask for standard output; then this is the command. */
bool ctl_is_capture_stream(int argc, char **argv);
int ctl_capture_stream(struct ctl *ctl, int argc, char **argv);
int ctl_mark(struct ctl *ctl, int argc, char **argv);
int ctl_top(struct ctl *ctl, int argc, char **argv);

/* Words that may follow the given ones, one a line, for the shell; the manual page in mdoc. Both from the tables. */
int ctl_complete(struct ctl *ctl, int argc, char **argv);
int ctl_man(void);

enum { CTL_EXIT_OK, CTL_EXIT_FAILED, CTL_EXIT_USAGE, CTL_EXIT_NO_DAEMON };

#endif
