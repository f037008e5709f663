/* SPDX-License-Identifier: BSD-3-Clause */
/* Results in the form of each CNI version. A result is a cJSON object that the caller frees. */
#ifndef LEAT_CNI_RESULT_H
#define LEAT_CNI_RESULT_H

#include "cni/cni.h"

struct cni_interface {
	const char *name, *mac, *sandbox;
	uint32_t mtu;		 /* 0: not told; 1.1.0 only */
	const char *socket_path; /* NULL: none; 1.1.0 only */
};

/* What an IPAM plugin answered, or what the runtime asked for when there is none. */
struct cni_ipam_result {
	struct cni_addr ips[CNI_ADDRS_MAX];
	struct cni_addr routes[CNI_ROUTES_MAX]; /* destinations: all go through leat */
	unsigned int n_ips, n_routes;
	cJSON *dns; /* owned, NULL: none */
};

/* An empty result, or a copy of prev brought to the version. NULL: no memory. */
cJSON *cni_result_create(const cJSON *prev, enum cni_version version);

/* Rewrites a result of any version from 0.3.0 on to the form of another. */
void cni_result_convert(cJSON *result, enum cni_version version);

/* Append. The first returns the index of the interface. */
int cni_result_add_interface(
	cJSON *result, enum cni_version version, const struct cni_interface *iface);
void cni_result_add_ip(
	cJSON *result, enum cni_version version, const struct cni_addr *addr, int iface_idx);
void cni_result_add_route(cJSON *result, const struct cni_addr *dst);

/* Sets dns unless the result has some already. dns may be NULL. */
void cni_result_set_dns(cJSON *result, const cJSON *dns);

/* Reads the answer of an IPAM plugin (0.3.0 to 1.1.0). 0, or -1 with a code. */
int cni_ipam_result_parse(const cJSON *json, struct cni_ipam_result *out, struct cni_error *err);
void cni_ipam_result_fini(struct cni_ipam_result *result);

/* Index of the interface of that name inside a sandbox, or -1. */
int cni_result_find_interface(const cJSON *result, const char *name);

#endif
