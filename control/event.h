/* SPDX-License-Identifier: BSD-3-Clause */
/* Events to clients that subscribed. Control thread only. */
#ifndef LEAT_EVENT_H
#define LEAT_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* kind: one of schema_event_kinds. */
bool event_has_subscribers(const char *kind);

/* {"kind":kind,"action":action,"object":object}; object is taken. */
void event_emit_object(const char *kind, const char *action, cJSON *object);

/* params (taken) must have "kind". */
void event_emit(const char *kind, cJSON *params);

#endif
