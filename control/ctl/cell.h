/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_CTL_CELL_H
#define LEAT_CTL_CELL_H

#include <stdbool.h>

#include <cjson/cJSON.h>

/* One value for a person; member: its name, which says what its number means. Caller frees; NULL without memory. */
char *cell_text(const char *member, const cJSON *value);

/* "12.3M". Caller frees. */
char *cell_amount(double value);

/* "tcp", or the number. Static, until the next call. */
const char *cell_proto(int proto);

/* Whether the number only grows while leatd runs. */
bool cell_is_counter(const char *member);

#endif
