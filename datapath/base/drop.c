/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/drop.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

struct drop_text {
	char name[32];
	const char *help;
};

/* The enum's names, put in lower case before main(). */
static struct drop_text texts[DROP_N] = {
#define DROP(upper, text) [DROP_##upper] = { .name = #upper, .help = text },
#include "datapath/base/drop.def"
#undef DROP
};

__attribute__((constructor)) static void drop_lower(void)
{
	for (size_t i = 0; i < DROP_N; i++)
		for (char *c = texts[i].name; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
}

const char *drop_name(enum drop_reason reason)
{
	return (unsigned int)reason < DROP_N ? texts[reason].name : "?";
}

const char *drop_help(enum drop_reason reason)
{
	return (unsigned int)reason < DROP_N ? texts[reason].help : "?";
}

int drop_by_name(const char *name)
{
	for (int i = 0; i < DROP_N; i++)
		if (strcasecmp(name, texts[i].name) == 0)
			return i;
	return -1;
}
