/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delegation to an IPAM plugin: found in CNI_PATH, asked for its versions, run at the highest one that both speak. It
 * inherits the environment but for what is given here, and standard error.
 */
#ifndef LEAT_CNI_IPAM_H
#define LEAT_CNI_IPAM_H

#include "cni/args.h"
#include "cni/conf.h"
#include "cni/result.h"

struct cni_ipam {
	char *path; /* of the executable; NULL: no IPAM configured */
	const char *type;
	enum cni_version version;
};

/* Who the call is for; NULL members are left out of the environment. */
struct cni_attachment {
	const char *container, *ifname, *netns;
};

/* Finds and probes conf's IPAM plugin. Without one, out->path is NULL and all calls succeed and do nothing. 0, or -1
 * with code 7 (not found, no common version), 11 (time-out) or 120. */
int cni_ipam_open(const struct cni_conf *conf, const struct cni_args *args, struct cni_ipam *out,
	struct cni_error *err);
void cni_ipam_close(struct cni_ipam *ipam);

/* Whether the plugin's version has the verb. */
bool cni_ipam_has(const struct cni_ipam *ipam, enum cni_verb verb);

/* Runs a verb. attachment: NULL for GC and STATUS. out_result (may be NULL): its answer, for ADD, to be freed with
 * cJSON_Delete(). 0, or -1 with the plugin's own code and message, or 120, 11, 5. */
int cni_ipam_call(const struct cni_ipam *ipam, enum cni_verb verb, const struct cni_conf *conf,
	const struct cni_attachment *attachment, cJSON **out_result, struct cni_error *err);

#endif
