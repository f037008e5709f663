/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files: a JSON list of {method, params}, as config.dump gives and leatctl sends. Control thread only. */
#ifndef LEAT_CONFIG_H
#define LEAT_CONFIG_H

#include <cjson/cJSON.h>

#include "control/client/leat_client.h"

/* Reads a file: list, or object with "calls". NULL and *err if it cannot be. Caller frees. */
cJSON *config_read(const char *path, struct leat_error *err);

/* Checks every call without applying any: methods, fields, duplicates, ports and tunnels that are never made.
 * 0 or an error code, err->field naming the call ("calls[3].prefix"). */
int config_check(const cJSON *calls, struct leat_error *err);

/* Checks only what a call says by itself: its method and its fields. As config_check(). */
int config_check_calls(const cJSON *calls, struct leat_error *err);

/* Applies all in order (objects that are there already with the same content are fine), then done(err): code LEAT_OK or the
 * first error, at which it stopped. Takes calls. */
void config_apply(cJSON *calls, void (*done)(const struct leat_error *err));

#endif
