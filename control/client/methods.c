/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/client/methods.h"

#define METHOD_POINTER(name) &method_##name,
const struct method *const schema_methods[] = { METHODS(METHOD_POINTER) };
#undef METHOD_POINTER
const size_t schema_n_methods = sizeof(schema_methods) / sizeof(schema_methods[0]);
