/* SPDX-License-Identifier: BSD-3-Clause */
/* The Network Plumbing Working Group's device-information file, version 1.1.0. */
#ifndef LEAT_CNI_DEVICE_INFO_H
#define LEAT_CNI_DEVICE_INFO_H

#include "cni/cni.h"

/* Writes the file beside and renames it. is_pod_client: the pod connects, leatd listens. 0 or -1 with code 5. */
int cni_device_info_write(
	const char *path, bool is_pod_client, const char *socket_path, struct cni_error *err);

#endif
