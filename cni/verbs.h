/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs. Each returns 0 or -1 with err filled; *out_result (ADD only) is what goes to standard output. */
#ifndef LEAT_CNI_VERBS_H
#define LEAT_CNI_VERBS_H

#include "cni/conf.h"
#include "cni/ipam.h"
#include "cni/leatd.h"

/* State of ADD, so that it can be undone when the result cannot be delivered. */
struct cni_add {
	struct cni_store store;
	struct cni_leatd leatd;
	struct cni_ipam ipam;
	char id[CNI_ID_LEN];
	int netns_fd;
	bool has_record, has_lease, has_endpoint, has_device_info, has_local_ports;
	cJSON *local_ports; /* NULL: none */
};

int cni_add(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add,
	cJSON **out_result, struct cni_error *err);
void cni_add_undo(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add);
void cni_add_fini(struct cni_add *add);

int cni_del(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err);
int cni_check(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err);
int cni_gc(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err);
int cni_status(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err);

#endif
