/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int ip_parse(const char *text, struct ip_addr *out)
{
	struct in_addr v4;
	struct ip_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*out = ip_from_v4(v4.s_addr);
		return 0;
	}
	/* A v4-mapped text would be taken for IPv4 everywhere else: refuse it. */
	if (inet_pton(AF_INET6, text, v6.b) == 1 && !ip_is_v4(&v6)) {
		*out = v6;
		return 0;
	}
	return -EINVAL;
}

int ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	char addr[IP_ADDR_STRLEN];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct ip_prefix p = { 0 }, masked;
	unsigned int max, len = 0;

	if (n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (ip_parse(addr, &p.addr) < 0)
		return -EINVAL;
	max = ip_is_v4(&p.addr) ? 32 : 128;
	if (slash == NULL) {
		len = max;
	} else {
		const char *c = slash + 1;

		if (*c == '\0' || (*c == '0' && c[1] != '\0') || strlen(c) > 3)
			return -EINVAL;
		for (; *c != '\0'; c++) {
			if (*c < '0' || *c > '9')
				return -EINVAL;
			len = len * 10 + (unsigned int)(*c - '0');
		}
		if (len > max)
			return -EINVAL;
	}
	p.len = (uint8_t)len;
	masked = p;
	ip_prefix_mask(&masked);
	if (!ip_eq(&masked.addr, &p.addr))
		return -EINVAL;
	*out = p;
	return 0;
}

int mac_parse(const char *text, struct rte_ether_addr *out)
{
	unsigned int b[6];
	int used = 0;

	if (strlen(text) != MAC_STRLEN - 1)
		return -EINVAL;
	for (int i = 0; i < MAC_STRLEN - 1; i++) {
		bool colon = i % 3 == 2;

		if (colon ? text[i] != ':' : strchr("0123456789abcdefABCDEF", text[i]) == NULL)
			return -EINVAL;
	}
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &used) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		out->addr_bytes[i] = (uint8_t)b[i];
	return 0;
}

char *ip_format(const struct ip_addr *a, char buf[IP_ADDR_STRLEN])
{
	if (ip_is_v4(a))
		inet_ntop(AF_INET, &a->w[3], buf, IP_ADDR_STRLEN);
	else
		inet_ntop(AF_INET6, a->b, buf, IP_ADDR_STRLEN);
	return buf;
}

char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_PREFIX_STRLEN])
{
	char addr[IP_ADDR_STRLEN];

	snprintf(buf, IP_PREFIX_STRLEN, "%s/%u", ip_format(&p->addr, addr), p->len);
	return buf;
}

char *mac_format(const struct rte_ether_addr *mac, char buf[MAC_STRLEN])
{
	const uint8_t *b = mac->addr_bytes;

	snprintf(buf, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		b[5]);
	return buf;
}

/* First bit of the address's own family in the 128. */
static unsigned int family_offset(const struct ip_addr *a)
{
	return ip_is_v4(a) ? 96 : 0;
}

bool ip_prefix_covers(const struct ip_prefix *p, const struct ip_addr *a)
{
	struct ip_prefix q = { .addr = *a, .len = p->len };

	if (ip_is_v4(&p->addr) != ip_is_v4(a))
		return false;
	ip_prefix_mask(&q);
	return ip_eq(&q.addr, &p->addr);
}

void ip_prefix_mask(struct ip_prefix *p)
{
	unsigned int keep = family_offset(&p->addr) + p->len;

	for (unsigned int i = 0; i < 16; i++) {
		if (keep >= 8 * (i + 1))
			continue;
		p->addr.b[i] &= keep <= 8 * i ? 0 : (uint8_t)(0xff << (8 * (i + 1) - keep));
	}
}

struct rte_ether_addr mac_from_ip(const struct ip_addr *a)
{
	struct rte_ether_addr mac = { .addr_bytes = { 0x0a, 0x58 } };
	uint32_t h = 2166136261u; /* FNV-1a */

	if (ip_is_v4(a)) {
		memcpy(&mac.addr_bytes[2], &a->w[3], 4);
		return mac;
	}
	for (int i = 0; i < 16; i++)
		h = (h ^ a->b[i]) * 16777619u;
	memcpy(&mac.addr_bytes[2], &h, 4);
	return mac;
}
