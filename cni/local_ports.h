/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Port mappings with a hostIP of the loopback: packets to it never leave the node's kernel, so leat cannot serve them. They are handed to the
 * plugin portmap, which redirects them in the kernel to the pod's address, and that is reached through leat0.
 */
#ifndef LEAT_CNI_LOCAL_PORTS_H
#define LEAT_CNI_LOCAL_PORTS_H

#include "cni/ipam.h"

/* Those of the configuration, as portmap takes them: an array to be freed, or NULL: there are none. */
cJSON *cni_local_ports(const struct cni_conf *conf);

/* Calls portmap. ports: of cni_local_ports(), or of the record; NULL or empty: nothing is done. result: ADD's, else NULL. 0, or -1. */
int cni_local_ports_call(enum cni_verb verb, const struct cni_args *args,
	const struct cni_conf *conf, const struct cni_attachment *who, const cJSON *ports,
	const cJSON *result, struct cni_error *err);

#endif
