/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving back what an attachment took, for DEL and GC: detach first, then the lease, the record last, so that a second try finds what is
 * left. Ids are locked by the caller.
 */
#ifndef LEAT_CNI_RELEASE_H
#define LEAT_CNI_RELEASE_H

#include "cni/ipam.h"
#include "cni/leatd.h"

struct release {
	struct cni_store store;
	struct cni_leatd leatd;
	struct cni_ipam ipam;
	const struct cni_args *args;
	struct cni_error ipam_err; /* why IPAM cannot be called; code 0: it can */
};

/* Opens what there is; leatd and IPAM may be away. 0, or -1 with code 5. close: also after an error. */
int release_open(const struct cni_args *args, const struct cni_conf *conf, struct release *r,
	struct cni_error *err);
void release_close(struct release *r);

/* Gives back one attachment. 0, or -1: its record stays. */
int release_one(struct release *r, const struct cni_conf *conf, const char *id,
	const struct cni_attachment *who, struct cni_error *err);

/* Whether there is a record that says nothing: empty, cut, or of something else. */
bool release_is_unreadable(const struct release *r, const char *id);

/* Writes such a record again, with what leatd knows of the attachment. 0 or -1. */
int release_heal(struct release *r, const struct cni_conf *conf, const char *id,
	const struct cni_attachment *who, struct cni_error *err);

/* One page of a list of leatd's, from a cursor ("": from its beginning). 0, or leatd's code. */
int release_list_page(struct release *r, const char *method, const char *cursor, cJSON **out,
	struct cni_error *err);

#endif
