/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The capability portMappings: each mapping is a service of leatd, "hostport:ENDPOINT:PROTO:PORT", and ":HOSTIP" if one is given, with a
 * host-port frontend and the pod's addresses as backends. An endpoint id that is too long for the name is replaced with
 * ":" and a hash of it, which no id begins with.
 */
#ifndef LEAT_CNI_PORTMAP_H
#define LEAT_CNI_PORTMAP_H

#include "cni/conf.h"
#include "cni/leatd.h"

#define CNI_PORTMAP_PREFIX "hostport:"

/* Reads runtimeConfig.portMappings (NULL: none); the array is the caller's to free. 0, or -1 with code 7. */
int cni_portmap_parse(
	const cJSON *list, struct cni_port **out, unsigned int *out_n, struct cni_error *err);

/* Names of the services of an attachment, an array. */
cJSON *cni_portmap_services(const struct cni_conf *conf, const char *id);

/* Id of the endpoint that a service is of. false: not a port mapping's name, or one without the id. */
bool cni_portmap_endpoint(const char *service, char out[CNI_ID_LEN]);

/* Whether a service is a port mapping of the endpoint, also under the hash of an id that is too long. */
bool cni_portmap_is_of(const char *service, const char *id);

/* Whether each hostIP is an address of an uplink or of the host port. 0, or -1 with code 7 naming the mapping, or leatd's. */
int cni_portmap_check_ips(
	const struct cni_conf *conf, struct cni_leatd *leatd, struct cni_error *err);

/* Adds the services. 0, or -1: some may be there. */
int cni_portmap_add(const struct cni_conf *conf, struct cni_leatd *leatd, const char *id,
	const struct cni_addr *ips, unsigned int n_ips, struct cni_error *err);

/* Whether they are there as added. 0, or -1 with code 121 naming the mapping. */
int cni_portmap_check(const struct cni_conf *conf, struct cni_leatd *leatd, const char *id,
	const struct cni_addr *ips, unsigned int n_ips, struct cni_error *err);

#endif
