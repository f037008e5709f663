/* SPDX-License-Identifier: BSD-3-Clause */
/* Port kinds, from kinds.def. Constant; any thread. */
#ifndef LEAT_PMD_KINDS_H
#define LEAT_PMD_KINDS_H

#include "datapath/pipeline/port.h"

#define KIND(name) extern const struct port_ops kind_##name##_ops;
#include "pmd/kinds.def"
#undef KIND

/* Operations of the kind, or NULL. */
const struct port_ops *kind_by_name(const char *name);

/* What a port of the kind ("tap", "ethdev") does while its device is missing; whether these are such operations. */
const struct port_ops *kind_absent(const char *kind);
bool kind_is_absent(const struct port_ops *ops);

/* "ring, ethdev, …" for messages. Static. */
const char *kind_names(void);

#endif
