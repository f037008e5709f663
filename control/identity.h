/* SPDX-License-Identifier: BSD-3-Clause */
/* What an instance keeps over restarts besides its configuration: the MAC of its tunnel end. */
#ifndef LEAT_IDENTITY_H
#define LEAT_IDENTITY_H

/* Reads it from the state folder, or makes it at the first start, and sets tunnel_local_mac. 0 or -errno. */
int identity_load(void);

#endif
