/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LEAT_ENDPOINT_COMMON_H
#define LEAT_ENDPOINT_COMMON_H

#include "control/call.h"

/* Whether the id is one of leatd's own; the call has then been finished with an error. */
bool endpoint_id_is_reserved(struct call *call, const char *id);

#endif
