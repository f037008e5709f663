/* SPDX-License-Identifier: BSD-3-Clause */
/* The environment of a call. Strings point into the environment and live as long as it. */
#ifndef LEAT_CNI_ARGS_H
#define LEAT_CNI_ARGS_H

#include "cni/cni.h"

enum cni_verb { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS, CNI_VERSION, CNI_VERB_N };

#define CNI_ARG_LEN 256
#define CNI_POD_LEN 128

struct cni_args {
	enum cni_verb verb;
	const char *container;
	const char *netns; /* NULL or "" when DEL comes without */
	const char *ifname;
	const char *path;
	char ip[CNI_ARG_LEN];  /* CNI_ARGS IP, may be a list with commas; or "" */
	char mac[CNI_ARG_LEN]; /* CNI_ARGS MAC, or "" */
	/* K8S_POD_NAME and K8S_POD_NAMESPACE, what people call it; "" when not given, or not of A-Z a-z 0-9 . _ : - */
	char pod[CNI_POD_LEN], pod_namespace[CNI_POD_LEN];
};

/* The verb of CNI_COMMAND. 0 or -1 (code 4). */
int cni_args_verb(enum cni_verb *out, struct cni_error *err);

/* What the verb needs. 0 or -1 (code 4, naming the variable). */
int cni_args_read(enum cni_verb verb, struct cni_args *out, struct cni_error *err);

/* CNI_ARGS, "K=V;K=V": IP, MAC, K8S_POD_NAME, K8S_POD_NAMESPACE and IgnoreUnknown are ours, others are refused unless IgnoreUnknown is set. 0 or -1. */
int cni_args_parse_pairs(const char *text, struct cni_args *out, struct cni_error *err);

const char *cni_verb_name(enum cni_verb verb);

#endif
