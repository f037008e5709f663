/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls to leatd, with its errors as CNI errors and short retries while it is busy. */
#ifndef LEAT_CNI_LEATD_H
#define LEAT_CNI_LEATD_H

#include "cni/cni.h"
#include "cni/store.h"
#include "control/client/leat_client.h"

#define CNI_CALL_TIMEOUT_MS 30000

/* A connection. One that failed is given up: later calls say at once that leatd is away, instead of waiting for a hung one
 * again and again. */
struct cni_leatd {
	struct leat_client *client; /* NULL: away */
};

/* Connects. 0, or -1 with code 11 if leatd is away. */
int cni_leatd_open(
	const char *instance, int timeout_ms, struct cni_leatd *out, struct cni_error *err);
void cni_leatd_close(struct cni_leatd *leatd);

/* Calls a method; params is taken over. fd ≥ 0 goes along. out_result may be NULL. Returns 0 or leatd's code
 * (LEAT_ERR_TRANSPORT: away) with err filled: 11 for what may pass (away, busy, resources,
 * limits), 7 for a refused parameter, else 100 + leatd's code. */
int cni_leatd_call(struct cni_leatd *leatd, const char *method, cJSON *params, int fd,
	cJSON **out_result, struct cni_error *err);

/* Removes services (an array of names, NULL: none), then detaches the endpoint; none of them need exist. As cni_leatd_call(). */
int cni_leatd_detach(
	struct cni_leatd *leatd, const char *id, const cJSON *services, struct cni_error *err);

int cni_leatd_del_service(struct cni_leatd *leatd, const char *name, struct cni_error *err);

/* Detaches, with the services on record, or journals that when leatd is away; the id is locked. 0, or -1: it is still attached. */
int cni_detach_or_journal(
	struct cni_store *store, struct cni_leatd *leatd, const char *id, struct cni_error *err);

/* Settles one journalled detach; the id is locked. 0 (also if there was none) or -1. */
int cni_settle_one(
	struct cni_store *store, struct cni_leatd *leatd, const char *id, struct cni_error *err);

/* Settles all whose id is free. The caller holds no lock. What fails stays journalled. */
void cni_settle(struct cni_store *store, struct cni_leatd *leatd);

#endif
