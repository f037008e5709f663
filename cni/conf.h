/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network configuration from standard input: hostile text in, checked values out. Strings and objects point into
 * the parsed document and live until cni_conf_fini().
 */
#ifndef LEAT_CNI_CONF_H
#define LEAT_CNI_CONF_H

#include "cni/args.h"

#define CNI_CONF_SIZE_MAX (16u << 20) /* bytes of standard input */

enum cni_mode { CNI_MODE_TAP, CNI_MODE_VHOST_USER };

/* Token bucket of one direction; 0: no limit. */
struct cni_rate {
	uint64_t rate_bps;
	uint64_t burst_bytes;
};

/* A port of the node that is one of the pod's. */
struct cni_port {
	const char *proto; /* static */
	uint16_t host_port, container_port;
	bool has_ip;   /* else on all of the node's addresses */
	bool is_local; /* of the loopback: see local_ports.h */
	struct cni_addr host_ip;
};

struct cni_conf {
	cJSON *json;
	enum cni_version version;
	const char *name;
	const char *instance;
	enum cni_mode mode;
	uint32_t mtu; /* bytes of IP packet; 0: leatd's default */
	uint16_t zone;
	struct {
		bool is_client;	  /* leatd connects; else it listens and makes the socket */
		int64_t uid, gid; /* -1: leave */
		char mode[8];	  /* octal text, or "" */
	} vhost;
	const cJSON *ipam; /* NULL: none */
	const char *ipam_type;
	const cJSON *dns;
	const cJSON *prev_result;

	/* asked for by the runtime; of several sources, runtimeConfig wins over args.cni over CNI_ARGS */
	struct cni_addr ips[CNI_ADDRS_MAX];
	unsigned int n_ips;
	const char *mac;
	struct cni_rate from_pod, to_pod;
	const char *device_info_path;
	struct cni_port *ports; /* owned */
	unsigned int n_ports;

	const cJSON *valid_attachments; /* GC: array of {containerID, ifname}, all checked */
};

/* Reads a document. args: of the verb (CNI_ARGS values are borrowed). 0; -1 with code 6 (not JSON), 1 (version, or a
 * verb that the version does not have), 7 (a key, named) or 2 (unsupported, with key and value); out is then empty. */
int cni_conf_parse(const char *text, size_t len, const struct cni_args *args, struct cni_conf *out,
	struct cni_error *err);
void cni_conf_fini(struct cni_conf *conf);

/* For VERSION: the version that the caller names, or NULL; -1 with code 6. The text is copied. */
int cni_conf_peek_version(const char *text, size_t len, char out[32], struct cni_error *err);

#endif
