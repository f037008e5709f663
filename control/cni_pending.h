/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Detaches that leat-cni journalled while leatd was away: files cni/pending/ID in the state folder (docs/cni.md). The files
 * stay: the plugin removes each under its own lock, after it has asked for the detach itself.
 */
#ifndef LEAT_CNI_PENDING_H
#define LEAT_CNI_PENDING_H

/* Removes the services that the files name and detaches the endpoints, those that are there. After the state is restored, before the control socket listens. */
void cni_pending_detach(const char *state_dir);

#endif
