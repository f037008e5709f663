/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/cni.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

static const char *const versions[CNI_VERSION_N] = {
	[CNI_V0_3_1] = "0.3.1",
	[CNI_V0_4_0] = "0.4.0",
	[CNI_V1_0_0] = "1.0.0",
	[CNI_V1_1_0] = "1.1.0",
};

int cni_fail(struct cni_error *err, int code, const char *fmt, ...)
{
	va_list args;

	memset(err, 0, sizeof(*err));
	err->code = code;
	va_start(args, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	return -1;
}

enum cni_version cni_version_by_name(const char *name)
{
	for (int v = 0; name != NULL && v < CNI_VERSION_N; v++)
		if (strcmp(versions[v], name) == 0)
			return (enum cni_version)v;
	return CNI_VERSION_NONE;
}

const char *cni_version_name(enum cni_version version)
{
	return versions[version];
}

int cni_addr_parse(const char *text, struct cni_addr *out)
{
	char ip[CNI_ADDR_STRLEN];
	const char *slash;
	size_t n;
	int max;

	memset(out, 0, sizeof(*out));
	if (text == NULL)
		return -1;
	slash = strchr(text, '/');
	n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	if (n >= sizeof(ip))
		return -1;
	memcpy(ip, text, n);
	ip[n] = '\0';
	if (inet_pton(AF_INET, ip, out->bytes) == 1)
		max = 32;
	else if (inet_pton(AF_INET6, ip, out->bytes) == 1)
		max = 128;
	else
		return -1;
	out->is_v6 = max == 128;
	out->len = (uint8_t)max;
	if (slash != NULL) {
		char *end;
		long len = strtol(slash + 1, &end, 10);

		if (!isdigit((unsigned char)slash[1]) || *end != '\0' || len < 0 || len > max)
			return -1;
		out->len = (uint8_t)len;
	}
	return 0;
}

const char *cni_addr_format(const struct cni_addr *addr, char buf[CNI_ADDR_STRLEN])
{
	return inet_ntop(addr->is_v6 ? AF_INET6 : AF_INET, addr->bytes, buf, CNI_ADDR_STRLEN);
}

bool cni_addr_same_ip(const struct cni_addr *a, const struct cni_addr *b)
{
	return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, a->is_v6 ? 16 : 4) == 0;
}

int cni_mac_parse(const char *text, uint8_t out[6])
{
	static const uint8_t zero[6];

	if (text == NULL || strlen(text) != 17)
		return -1;
	for (int i = 0; i < 6; i++) {
		const char *p = text + 3 * i;

		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) ||
			(i < 5 && p[2] != ':'))
			return -1;
		out[i] = (uint8_t)strtoul((char[]){ p[0], p[1], '\0' }, NULL, 16);
	}
	return (out[0] & 1) != 0 || memcmp(out, zero, 6) == 0 ? -1 : 0;
}

static bool is_id_text(const char *text)
{
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr("._:-", *text) == NULL)
			return false;
	return true;
}

/* FNV-1a, 128 bits (draft-eastlake-fnv). */
void cni_hash_hex(const char *a, const char *b, char out[CNI_HASH_LEN])
{
	const unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;
	unsigned __int128 h = ((unsigned __int128)0x6c62272e07bb0142ull << 64) |
		0x62b821756295c58dull;
	const char *parts[] = { a, b };

	for (int i = 0; i < 2; i++) {
		size_t n = strlen(parts[i]) + 1; /* the NUL separates */

		for (size_t j = 0; j < n; j++) {
			h ^= (unsigned char)parts[i][j];
			h *= prime;
		}
	}
	snprintf(out, CNI_HASH_LEN, "%016llx%016llx", (unsigned long long)(h >> 64),
		(unsigned long long)h);
}

void cni_endpoint_id(const char *container, const char *ifname, char out[CNI_ID_LEN])
{
	char hash[CNI_HASH_LEN];

	if (is_id_text(container) && is_id_text(ifname) &&
		snprintf(out, CNI_ID_LEN, "%s:%s", container, ifname) < CNI_ID_LEN)
		return;
	cni_hash_hex(container, ifname, hash);
	snprintf(out, CNI_ID_LEN, "%.64s:%s", is_id_text(container) ? container : "x", hash);
}

bool cni_is_container_id(const char *text)
{
	if (text == NULL || !isalnum((unsigned char)*text))
		return false;
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr("._-", *text) == NULL)
			return false;
	return true;
}

bool cni_is_ifname(const char *text)
{
	size_t n = text == NULL ? 0 : strlen(text);

	if (n == 0 || n >= IFNAMSIZ || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	for (; *text != '\0'; text++)
		if (*text == '/' || *text == ':' || isspace((unsigned char)*text))
			return false;
	return true;
}

const char *cni_json_string(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}
