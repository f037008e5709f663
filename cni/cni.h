/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leat-cni, the CNI 1.1 plugin: shared vocabulary. One process serves one verb on one thread; nothing here is kept
 * between calls but what cni/store.h writes. Everything from the environment and standard input is hostile.
 */
#ifndef LEAT_CNI_CNI_H
#define LEAT_CNI_CNI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* Error codes of the CNI specification 1.1; CNI_ERR_LEATD + n carries leatd's own code n. */
enum cni_code {
	CNI_OK = 0,
	CNI_ERR_VERSION = 1,	 /* incompatible CNI version */
	CNI_ERR_UNSUPPORTED = 2, /* unsupported field; the message has key and value */
	CNI_ERR_ENV = 4,	 /* missing or bad environment variable, named */
	CNI_ERR_IO = 5,
	CNI_ERR_DECODE = 6,
	CNI_ERR_CONFIG = 7,
	CNI_ERR_AGAIN = 11,
	CNI_ERR_UNAVAILABLE = 50, /* STATUS: ADD cannot work */
	CNI_ERR_LIMITED = 51,	  /* STATUS: ADD cannot work and attached containers may suffer */
	CNI_ERR_LEATD = 100,
	CNI_ERR_IPAM = 120,  /* the IPAM plugin failed without an error of its own */
	CNI_ERR_STATE = 121, /* CHECK: what is in the network namespace differs from the result */
};

struct cni_error {
	int code; /* enum cni_code, or the IPAM plugin's own */
	char msg[512];
	char details[1024];
};

/* Fills err (the first error wins nothing: the last call stays) and returns -1. */
__attribute__((format(printf, 3, 4))) int cni_fail(
	struct cni_error *err, int code, const char *fmt, ...);

enum cni_version { CNI_V0_3_1, CNI_V0_4_0, CNI_V1_0_0, CNI_V1_1_0, CNI_VERSION_N };
#define CNI_VERSION_NONE CNI_VERSION_N

/* CNI_VERSION_NONE if the plugin does not speak it. */
enum cni_version cni_version_by_name(const char *name);
const char *cni_version_name(enum cni_version version);

#define CNI_ADDRS_MAX 16
#define CNI_ROUTES_MAX 64
#define CNI_ADDR_STRLEN 46 /* INET6_ADDRSTRLEN */

/* An address with its prefix length, or a route's destination. */
struct cni_addr {
	bool is_v6;
	uint8_t len;
	uint8_t bytes[16];
};

/* "a/len", or a bare address (host length). 0 or -1. */
int cni_addr_parse(const char *text, struct cni_addr *out);
const char *cni_addr_format(const struct cni_addr *addr, char buf[CNI_ADDR_STRLEN]);
bool cni_addr_same_ip(const struct cni_addr *a, const struct cni_addr *b);

/* "aa:bb:cc:dd:ee:ff", unicast and not zero. */
int cni_mac_parse(const char *text, uint8_t out[6]);

/* The pod's gateways: on-link, the same everywhere. */
#define CNI_GATEWAY_V4 "169.254.1.1"
#define CNI_GATEWAY_V6 "fe80::1"

#define CNI_ID_LEN 128 /* endpoint id with its NUL */

/* Endpoint id of an attachment: "CONTAINERID:IFNAME"; where that does not fit leatd's ids (127 of [A-Za-z0-9._:-]),
 * a part of the container id and a 128-bit hash of both. */
void cni_endpoint_id(const char *container, const char *ifname, char out[CNI_ID_LEN]);

#define CNI_HASH_LEN 33

/* 128-bit hash of two texts, in hexadecimal. */
void cni_hash_hex(const char *a, const char *b, char out[CNI_HASH_LEN]);

bool cni_is_container_id(const char *text);
bool cni_is_ifname(const char *text);

/* String member, or NULL if absent or of another type. */
const char *cni_json_string(const cJSON *object, const char *key);

#endif
