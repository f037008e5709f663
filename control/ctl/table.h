/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_CTL_TABLE_H
#define LEAT_CTL_TABLE_H

#include <stdbool.h>

#include "control/client/schema.h"

/* A list's items: the columns of its view, cut to the terminal's width; is_wide: all columns, whole. */
void table_print(const struct method *method, const cJSON *items, bool is_wide);

/* Sorts the items by a column (member or header; "-name": the largest first). -1: no item has it. */
int table_sort(const struct method *method, cJSON *items, const char *by);

#endif
