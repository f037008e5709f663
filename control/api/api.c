/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/api/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/instance.h"
#include "control/state.h"

void api_add_ip(cJSON *object, const char *name, const struct ip_addr *ip)
{
	char text[IP_ADDR_STRLEN];

	cJSON_AddStringToObject(object, name, ip_format(ip, text));
}

void api_add_prefix(cJSON *object, const char *name, const struct ip_prefix *prefix)
{
	char text[IP_PREFIX_STRLEN];

	cJSON_AddStringToObject(object, name, ip_prefix_format(prefix, text));
}

void api_add_mac(cJSON *object, const char *name, const struct rte_ether_addr *mac)
{
	char text[MAC_STRLEN];

	cJSON_AddStringToObject(object, name, mac_format(mac, text));
}

static bool is_loopback(const struct ip_addr *a)
{
	static const struct ip_addr loopback6 = { .b = { [15] = 1 } };

	return ip_is_v4(a) ? a->b[12] == 127 : ip_eq(a, &loopback6);
}

static bool is_multicast(const struct ip_addr *a)
{
	return ip_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

bool api_check_host_ip(struct call *call, const char *field, const struct schema_ip *ip)
{
	const struct ip_addr addr = api_ip(ip), broadcast = ip_from_v4(RTE_BE32(0xffffffff));
	const char *what = ip_is_zero(&addr) ? "unspecified"
		: is_loopback(&addr)	     ? "loopback"
		: is_multicast(&addr)	     ? "multicast"
		: ip_eq(&addr, &broadcast)   ? "broadcast"
		: ip_is_gateway(&addr)	     ? "the pods' gateway"
					     : NULL;
	char text[IP_ADDR_STRLEN];

	if (what != NULL)
		call_fail(call, LEAT_ERR_PARAMS, field, "no host has the address %s: it is %s",
			ip_format(&addr, text), what);
	return what == NULL;
}

void api_add_translation(cJSON *object, const char *name, const struct translation *t)
{
	cJSON *out = cJSON_AddObjectToObject(object, name);

	api_add_ip(out, "src", &t->src);
	api_add_ip(out, "dst", &t->dst);
	cJSON_AddNumberToObject(out, "sport", rte_be_to_cpu_16(t->sport));
	cJSON_AddNumberToObject(out, "dport", rte_be_to_cpu_16(t->dport));
}

int api_mode(const char *text, unsigned int def, uint32_t *out_mode)
{
	char *end;
	unsigned long mode;

	*out_mode = def;
	if (text == NULL)
		return 0;
	mode = strtoul(text, &end, 8);
	if (text[0] < '0' || text[0] > '7' || *end != '\0' || mode > 0777)
		return -1;
	*out_mode = (uint32_t)mode;
	return 0;
}

bool api_page_begin(struct call *call, struct api_page *page, int64_t limit, uint64_t cursor)
{
	if (cursor == UINT64_MAX) {
		call_fail(call, LEAT_ERR_PARAMS, "cursor",
			"cursor must be the \"next\" of the answer before");
		return false;
	}
	page->result = cJSON_CreateObject();
	page->items = cJSON_AddArrayToObject(page->result, "items");
	page->left = limit;
	return true;
}

bool api_page_add(struct api_page *page, cJSON *item)
{
	if (page->left == 0) {
		cJSON_Delete(item);
		return false;
	}
	page->left--;
	cJSON_AddItemToArray(page->items, item);
	return true;
}

void api_page_end(struct call *call, struct api_page *page, const char *cursor)
{
	if (cursor != NULL)
		cJSON_AddStringToObject(page->result, "next", cursor);
	call_ok(call, page->result);
}

int api_errno_code(int rc)
{
	switch (-rc) {
	case EEXIST:
		return LEAT_ERR_EXISTS;
	case EINVAL:
	case ENAMETOOLONG:
	case ENOTSUP:
		return LEAT_ERR_PARAMS;
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return LEAT_ERR_NOT_FOUND;
	case ENOSPC:
	case ENOBUFS:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return LEAT_ERR_RESOURCES;
	case EBUSY:
		return LEAT_ERR_BUSY;
	case EADDRINUSE:
		return LEAT_ERR_CONFLICT;
	case EPERM:
	case EACCES:
		return LEAT_ERR_PERMISSION;
	case EAGAIN:
		return LEAT_ERR_AGAIN;
	default:
		return LEAT_ERR_INTERNAL;
	}
}

int api_vhost_dir(const char *socket, int64_t uid, int64_t gid)
{
	char path[256];
	char *slash;

	snprintf(path, sizeof(path), "%s/vhost", instance.run_dir);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s", socket);
	slash = strrchr(path, '/');
	if (slash != NULL)
		*slash = '\0';
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	if ((uid >= 0 || gid >= 0) && chown(path, (uid_t)uid, (gid_t)gid) < 0)
		return -errno;
	return 0;
}

/* The field that names the object: the last that every call has of its key. */
static const char *name_field(const struct method *method)
{
	const char *name = NULL;

	for (const struct field *field = method->fields; field->name != NULL; field++)
		if ((field->flags & FIELD_KEY) != 0 && (field->flags & FIELD_REQUIRED) != 0)
			name = field->name;
	return name;
}

bool api_del_missing(struct call *call, bool missing_ok, const char *what, const char *name)
{
	char key[STORE_KEY_MAX];

	if (schema_key(call->rpc.method, call_req(call), key, sizeof(key)) == 0 &&
		store_find(state_store(), key) != NULL)
		return true;
	if (missing_ok)
		call_unchanged(call, NULL);
	else
		call_fail(call, LEAT_ERR_NOT_FOUND, name_field(call->rpc.method),
			"there is no %s %s", what, name);
	return false;
}

uint64_t api_cursor_number(const char *cursor)
{
	char *end;
	uint64_t value;

	if (cursor == NULL)
		return 0;
	value = strtoull(cursor, &end, 10);
	return *cursor >= '0' && *cursor <= '9' && *end == '\0' ? value : UINT64_MAX;
}

int api_compare_stored(const struct call *call, const char **out_field)
{
	const struct method *method = call->rpc.method;
	const struct store_item *item;
	char key[STORE_KEY_MAX];
	cJSON *stored;
	int rc = LEAT_OK;

	*out_field = NULL;
	if (schema_key(method, call_req(call), key, sizeof(key)) < 0)
		return LEAT_ERR_NOT_FOUND;
	item = store_find(state_store(), key);
	if (item == NULL)
		return LEAT_ERR_NOT_FOUND;
	if (item->method != method)
		return LEAT_ERR_CONFLICT;
	stored = cJSON_Parse(item->params);
	/* Only what the call gives is compared: what it leaves out was resolved or defaulted before. */
	for (const struct field *field = method->fields; field->name != NULL && rc == LEAT_OK;
		field++) {
		const cJSON *given = cJSON_GetObjectItemCaseSensitive(
			call->rpc.params, field->name);

		if (given == NULL || field->flags & FIELD_FLAG)
			continue;
		if (!cJSON_Compare(
			    given, cJSON_GetObjectItemCaseSensitive(stored, field->name), true)) {
			*out_field = field->name;
			rc = LEAT_ERR_CONFLICT;
		}
	}
	cJSON_Delete(stored);
	return rc;
}

bool api_add_may_go_on(
	struct call *call, bool is_there, bool exist_ok, const char *what, const char *name)
{
	const char *field;

	if (!is_there)
		return true;
	if (!exist_ok) {
		call_fail(call, LEAT_ERR_EXISTS, name_field(call->rpc.method),
			"%s %s exists already", what, name);
	} else if (api_compare_stored(call, &field) == LEAT_OK) {
		call_unchanged(call, NULL);
	} else {
		call_fail(call, LEAT_ERR_EXISTS, field, "%s %s exists already and is different",
			what, name);
	}
	return false;
}

const struct api_handler *const api_tables[] = {
	api_sys,
	api_config,
	api_txn,
	api_event,
	api_port,
	api_zone,
	api_endpoint,
	api_attach,
	api_route,
	api_neigh,
	api_tunnel,
	api_group,
	api_policy,
	api_rule,
	api_nat,
	api_service,
	api_explain,
	api_metrics,
	api_conntrack,
	api_flow,
	api_show,
	api_observe,
	NULL,
};
