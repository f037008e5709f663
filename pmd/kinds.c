/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/kinds.h"

#include <string.h>

static const struct {
	const char *name;
	const struct port_ops *ops;
} kinds[] = {
#define KIND(kind) { #kind, &kind_##kind##_ops },
#include "pmd/kinds.def"
#undef KIND
};

const struct port_ops *kind_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (name != NULL && strcmp(kinds[i].name, name) == 0)
			return kinds[i].ops;
	return NULL;
}

const char *kind_names(void)
{
	return
#define KIND(kind) #kind " "
#include "pmd/kinds.def"
#undef KIND
		;
}
