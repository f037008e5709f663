/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and protocols as text. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/client/schema.h"

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool is_v4(const uint8_t b[16])
{
	return memcmp(b, v4_mapped, sizeof(v4_mapped)) == 0;
}

int schema_ip_parse(const char *text, struct schema_ip *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &out->b[12]) == 1) {
		memcpy(out->b, v4_mapped, sizeof(v4_mapped));
	} else if (inet_pton(AF_INET6, text, out->b) != 1 || is_v4(out->b)) {
		memset(out, 0, sizeof(*out));
		return -1;
	}
	out->is_set = true;
	return 0;
}

int schema_prefix_parse(const char *text, bool keep_host_bits, struct schema_prefix *out)
{
	const char *slash = strchr(text, '/');
	char addr[SCHEMA_TEXT_MAX];
	struct schema_ip ip;
	unsigned int max, shift, len;

	memset(out, 0, sizeof(*out));
	if (snprintf(addr, sizeof(addr), "%.*s", slash != NULL ? (int)(slash - text) : 60, text) >=
		(int)sizeof(addr))
		return -1;
	if (schema_ip_parse(addr, &ip) < 0)
		return -1;
	max = is_v4(ip.b) ? 32 : 128;
	len = max;
	if (slash != NULL) {
		char *end;
		unsigned long value = strtoul(slash + 1, &end, 10);

		/* Digits only, no leading zero: one text form a prefix. */
		if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || value > max ||
			(slash[1] == '0' && slash[2] != '\0'))
			return -1;
		len = (unsigned int)value;
	}
	shift = 128 - max;
	if (!keep_host_bits)
		for (unsigned int bit = shift + len; bit < 128; bit++)
			if (ip.b[bit / 8] & (0x80u >> (bit % 8)))
				return -1;
	memcpy(out->b, ip.b, sizeof(out->b));
	out->len = (uint8_t)len;
	out->is_set = true;
	return 0;
}

int schema_mac_parse(const char *text, struct schema_mac *out)
{
	memset(out, 0, sizeof(*out));
	if (strlen(text) != 17)
		return -1;
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return -1;
	for (int i = 0; i < 6; i++)
		out->b[i] = (uint8_t)strtoul(&text[i * 3], NULL, 16);
	out->is_set = true;
	return 0;
}

int schema_proto_parse(const char *text, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} known[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP },
		{ "icmp", IPPROTO_ICMP }, { "icmpv6", IPPROTO_ICMPV6 } };
	char *end;
	unsigned long number;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(text, known[i].name) == 0) {
			*out = known[i].proto;
			return 0;
		}
	number = strtoul(text, &end, 10);
	*out = (uint8_t)number;
	return *text >= '0' && *text <= '9' && *end == '\0' && number <= 255 ? 0 : -1;
}

char *schema_ip_format(const struct schema_ip *ip, char buf[SCHEMA_TEXT_MAX])
{
	if (is_v4(ip->b))
		inet_ntop(AF_INET, &ip->b[12], buf, SCHEMA_TEXT_MAX);
	else
		inet_ntop(AF_INET6, ip->b, buf, SCHEMA_TEXT_MAX);
	return buf;
}

char *schema_prefix_format(const struct schema_prefix *prefix, char buf[SCHEMA_TEXT_MAX])
{
	struct schema_ip ip = { .is_set = true };
	size_t used;

	memcpy(ip.b, prefix->b, sizeof(ip.b));
	schema_ip_format(&ip, buf);
	used = strlen(buf);
	snprintf(buf + used, SCHEMA_TEXT_MAX - used, "/%u", prefix->len);
	return buf;
}

char *schema_mac_format(const struct schema_mac *mac, char buf[SCHEMA_TEXT_MAX])
{
	snprintf(buf, SCHEMA_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac->b[0], mac->b[1],
		mac->b[2], mac->b[3], mac->b[4], mac->b[5]);
	return buf;
}

static cJSON *scalar_from_text(const struct field *field, const char *text, struct leat_error *err)
{
	char *end;
	long long number;

	switch (field->type) {
	case FIELD_BOOL:
		if (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "1") == 0)
			return cJSON_CreateTrue();
		if (strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "0") == 0)
			return cJSON_CreateFalse();
		schema_error(err, LEAT_ERR_PARAMS, field->name, "\"%s\" is neither true nor false",
			text);
		return NULL;
	case FIELD_INT:
		number = strtoll(text, &end, 10);
		if (*text != '\0' && *end == '\0')
			return cJSON_CreateNumber((double)number);
		schema_error(err, LEAT_ERR_PARAMS, field->name, "\"%s\" is not a number", text);
		return NULL;
	case FIELD_OBJECT:
	case FIELD_JSON: {
		cJSON *value = cJSON_Parse(text);

		if (value == NULL)
			schema_error(err, LEAT_ERR_PARAMS, field->name, "\"%s\" is not JSON", text);
		return value;
	}
	default:
		return cJSON_CreateString(text);
	}
}

cJSON *schema_value_from_text(const struct field *field, const char *text, struct leat_error *err)
{
	char *copy, *rest, *item;
	cJSON *list;

	if (!(field->flags & FIELD_LIST))
		return scalar_from_text(field, text, err);
	if (*text == '[') {
		list = cJSON_Parse(text);
		if (list == NULL)
			schema_error(err, LEAT_ERR_PARAMS, field->name, "\"%s\" is not JSON", text);
		return list;
	}
	list = cJSON_CreateArray();
	copy = rest = strdup(text);
	while (rest != NULL && *rest != '\0' && (item = strsep(&rest, ",")) != NULL) {
		cJSON *value = scalar_from_text(field, item, err);

		if (value == NULL) {
			cJSON_Delete(list);
			list = NULL;
			break;
		}
		cJSON_AddItemToArray(list, value);
	}
	free(copy);
	return list;
}
