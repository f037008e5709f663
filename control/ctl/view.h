/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_CTL_VIEW_H
#define LEAT_CTL_VIEW_H

#include <stdbool.h>

#include <cjson/cJSON.h>

struct view_column {
	const char *member; /* of the items; what --sort calls it */
	const char *header; /* NULL: the member's name in capitals */
	char *(*make)(const cJSON
			*item); /* the cell, where it is more than one member; NULL: that member */
};

/* Columns of a list, up to one without member; NULL: those that its items have. Static. */
const struct view_column *view_of(const char *method);

/* is_wide: long ids whole. Caller frees. */
char *view_cell(const struct view_column *column, const cJSON *item, bool is_wide);

#endif
