/* SPDX-License-Identifier: BSD-3-Clause */
/* Set-up of the bindings (names.h). Control thread. */
#ifndef LEAT_BINDINGS_H
#define LEAT_BINDINGS_H

int bindings_init(void);
void bindings_fini(void);

#endif
