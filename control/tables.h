/* SPDX-License-Identifier: BSD-3-Clause */
/* The process's two flow tables. Opened by dataplane_start(); the workers own their content. */
#ifndef LEAT_TABLES_H
#define LEAT_TABLES_H

#include "datapath/table/flowtab.h"

extern struct flowtab tables_flow4, tables_flow6;

#endif
