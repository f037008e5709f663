/* SPDX-License-Identifier: BSD-3-Clause */
/* Command lines "verb key=value …", and the answers' common parts. */
#ifndef LEAT_PERF_WORDS_H
#define LEAT_PERF_WORDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 32

/* A command line taken apart. */
struct words {
	unsigned int n;
	char *key[WORDS_MAX], *value[WORDS_MAX];
};

static inline const char *word(const struct words *w, const char *key)
{
	for (unsigned int i = 1; i < w->n; i++)
		if (!strcmp(w->key[i], key))
			return w->value[i];
	return NULL;
}

static inline double word_number(const struct words *w, const char *key, double fallback)
{
	const char *v = word(w, key);

	return v ? strtod(v, NULL) : fallback;
}

static inline void words_split(char *line, struct words *w)
{
	char *save = NULL;

	w->n = 0;
	for (char *t = strtok_r(line, " \t\r\n", &save); t && w->n < WORDS_MAX;
		t = strtok_r(NULL, " \t\r\n", &save)) {
		char *eq = strchr(t, '=');
		if (eq)
			*eq = 0;
		w->key[w->n] = t;
		w->value[w->n++] = eq ? eq + 1 : eq;
	}
}

static inline void answer_error(const char *what)
{
	printf("{\"event\":\"error\",\"error\":\"%s\"}\n", what);
}

#endif
