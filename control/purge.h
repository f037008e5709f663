/* SPDX-License-Identifier: BSD-3-Clause */
/* leatd --purge: everything that an instance leaves behind on purpose is removed. The instance's lock is held. */
#ifndef LEAT_PURGE_H
#define LEAT_PURGE_H

/* Removes persistent taps, kernel routes, hugepage files, sockets and state of the instance. 0, or -errno of the first
 * thing that could not be removed (each is logged); goes on after errors. */
int purge_all(void);

#endif
