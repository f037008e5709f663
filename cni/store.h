/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the plugin keeps between calls, under /var/lib/leat/INSTANCE/cni (documented in docs/cni.md):
 *   attached/ID  written before anything is taken for an attachment, removed after everything is given back, so that
 *                GC knows what a killed plugin left
 *   pending/ID   an endpoint, with its services, that DEL could not detach because leatd was away; leatd removes these at
 *                start, the plugin at its next call
 *   lock         one byte of it locked per endpoint id (open file description lock): calls for one attachment
 *                exclude each other. IPAM plugins inherit the descriptor, so that an attachment stays locked until the
 *                last process working on it is gone, even if the plugin was killed.
 * Files are written beside, synced, renamed, and the folder synced.
 */
#ifndef LEAT_CNI_STORE_H
#define LEAT_CNI_STORE_H

#include "cni/cni.h"

enum cni_store_kind { CNI_STORE_ATTACHED, CNI_STORE_PENDING, CNI_STORE_KIND_N };

struct cni_store {
	int dir_fd[CNI_STORE_KIND_N];
	int lock_fd;
};

#define CNI_STORE_EMPTY                                                                            \
	{                                                                                          \
		.dir_fd = { -1, -1 }, .lock_fd = -1                                                \
	}

/* Opens the store of an instance, making the folders; opens it only if it is there: else the store is empty, its ids
 * are nobody's and need no lock. 0 or -1 with code 5. */
int cni_store_open_existing(const char *instance, struct cni_store *store, struct cni_error *err);
int cni_store_open(const char *instance, struct cni_store *store, struct cni_error *err);
void cni_store_close(struct cni_store *store);

/* Locks an endpoint id, waiting up to wait_ms (0: only if it is free). 0, or -1 with code 11 (busy) or 5. */
int cni_store_lock(
	struct cni_store *store, const char *id, unsigned int wait_ms, struct cni_error *err);
void cni_store_unlock(struct cni_store *store, const char *id);

/* The id must be locked for the writers. put: 0 or -1 with code 5. get: NULL if there is none or it is not readable. */
int cni_store_put(struct cni_store *store, enum cni_store_kind kind, const char *id,
	const cJSON *content, struct cni_error *err);
cJSON *cni_store_get(const struct cni_store *store, enum cni_store_kind kind, const char *id);
bool cni_store_has(const struct cni_store *store, enum cni_store_kind kind, const char *id);
int cni_store_del(
	struct cni_store *store, enum cni_store_kind kind, const char *id, struct cni_error *err);

/* Ids of all entries as an array of strings, to be freed with cJSON_Delete(). NULL with code 5. Removes what a killed
 * writer left half written. */
cJSON *cni_store_list(struct cni_store *store, enum cni_store_kind kind, struct cni_error *err);

#endif
