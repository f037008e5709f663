/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/result.h"

#include <stdio.h>
#include <string.h>

static cJSON *member_array(cJSON *result, const char *key)
{
	cJSON *array = cJSON_GetObjectItemCaseSensitive(result, key);

	if (cJSON_IsArray(array))
		return array;
	cJSON_DeleteItemFromObjectCaseSensitive(result, key);
	return cJSON_AddArrayToObject(result, key);
}

/* "version": "4" | "6" was part of each address up to 0.4.0. */
static void convert_ip(cJSON *ip, enum cni_version version)
{
	struct cni_addr addr;

	cJSON_DeleteItemFromObjectCaseSensitive(ip, "version");
	if (version >= CNI_V1_0_0 || cni_addr_parse(cni_json_string(ip, "address"), &addr) < 0)
		return;
	cJSON_AddStringToObject(ip, "version", addr.is_v6 ? "6" : "4");
}

static void strip(cJSON *object, const char *const *keys)
{
	for (; *keys != NULL; keys++)
		cJSON_DeleteItemFromObjectCaseSensitive(object, *keys);
}

void cni_result_convert(cJSON *result, enum cni_version version)
{
	static const char *const new_interface_keys[] = { "mtu", "socketPath", "pciID", NULL };
	static const char *const new_route_keys[] = { "mtu", "advmss", "priority", "table", "scope",
		NULL };
	cJSON *item;

	cJSON_DeleteItemFromObjectCaseSensitive(result, "cniVersion");
	cJSON_AddStringToObject(result, "cniVersion", cni_version_name(version));
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "ips"))
		convert_ip(item, version);
	if (version >= CNI_V1_1_0)
		return;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "interfaces"))
		strip(item, new_interface_keys);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "routes"))
		strip(item, new_route_keys);
}

cJSON *cni_result_create(const cJSON *prev, enum cni_version version)
{
	cJSON *result = prev != NULL ? cJSON_Duplicate(prev, true) : cJSON_CreateObject();

	if (result == NULL)
		return NULL;
	cni_result_convert(result, version);
	member_array(result, "interfaces");
	member_array(result, "ips");
	member_array(result, "routes");
	if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(result, "dns"))) {
		cJSON_DeleteItemFromObjectCaseSensitive(result, "dns");
		cJSON_AddObjectToObject(result, "dns");
	}
	return result;
}

int cni_result_add_interface(
	cJSON *result, enum cni_version version, const struct cni_interface *iface)
{
	cJSON *list = member_array(result, "interfaces"), *item = cJSON_CreateObject();
	int idx = cJSON_GetArraySize(list);

	cJSON_AddStringToObject(item, "name", iface->name);
	cJSON_AddStringToObject(item, "mac", iface->mac);
	cJSON_AddStringToObject(item, "sandbox", iface->sandbox);
	if (version >= CNI_V1_1_0 && iface->mtu != 0)
		cJSON_AddNumberToObject(item, "mtu", iface->mtu);
	if (version >= CNI_V1_1_0 && iface->socket_path != NULL)
		cJSON_AddStringToObject(item, "socketPath", iface->socket_path);
	cJSON_AddItemToArray(list, item);
	return idx;
}

void cni_result_add_ip(
	cJSON *result, enum cni_version version, const struct cni_addr *addr, int iface_idx)
{
	cJSON *item = cJSON_CreateObject();
	char ip[CNI_ADDR_STRLEN], text[CNI_ADDR_STRLEN + 4];

	snprintf(text, sizeof(text), "%s/%d", cni_addr_format(addr, ip), addr->is_v6 ? 128 : 32);
	if (version < CNI_V1_0_0)
		cJSON_AddStringToObject(item, "version", addr->is_v6 ? "6" : "4");
	cJSON_AddStringToObject(item, "address", text);
	cJSON_AddStringToObject(item, "gateway", addr->is_v6 ? CNI_GATEWAY_V6 : CNI_GATEWAY_V4);
	cJSON_AddNumberToObject(item, "interface", iface_idx);
	cJSON_AddItemToArray(member_array(result, "ips"), item);
}

void cni_result_add_route(cJSON *result, const struct cni_addr *dst)
{
	cJSON *item = cJSON_CreateObject();
	char ip[CNI_ADDR_STRLEN], text[CNI_ADDR_STRLEN + 4];

	snprintf(text, sizeof(text), "%s/%u", cni_addr_format(dst, ip), dst->len);
	cJSON_AddStringToObject(item, "dst", text);
	cJSON_AddStringToObject(item, "gw", dst->is_v6 ? CNI_GATEWAY_V6 : CNI_GATEWAY_V4);
	cJSON_AddItemToArray(member_array(result, "routes"), item);
}

void cni_result_set_dns(cJSON *result, const cJSON *dns)
{
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(result, "dns");

	if (!cJSON_IsObject(dns) || dns->child == NULL ||
		(cJSON_IsObject(now) && now->child != NULL))
		return;
	cJSON_DeleteItemFromObjectCaseSensitive(result, "dns");
	cJSON_AddItemToObject(result, "dns", cJSON_Duplicate(dns, true));
}

static void mask(struct cni_addr *addr)
{
	for (unsigned int bit = addr->len; bit < (addr->is_v6 ? 128u : 32u); bit++)
		addr->bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

int cni_ipam_result_parse(const cJSON *json, struct cni_ipam_result *out, struct cni_error *err)
{
	const cJSON *item, *dns = cJSON_GetObjectItemCaseSensitive(json, "dns");

	memset(out, 0, sizeof(*out));
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "ips")) {
		const char *text = cni_json_string(item, "address");

		if (out->n_ips == CNI_ADDRS_MAX)
			return cni_fail(
				err, CNI_ERR_IPAM, "ipam: more than %d addresses", CNI_ADDRS_MAX);
		if (cni_addr_parse(text, &out->ips[out->n_ips]) < 0)
			return cni_fail(err, CNI_ERR_IPAM, "ipam: answered address '%.64s'",
				text != NULL ? text : "");
		out->n_ips++;
	}
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "routes")) {
		const char *text = cni_json_string(item, "dst");

		if (out->n_routes == CNI_ROUTES_MAX)
			return cni_fail(
				err, CNI_ERR_IPAM, "ipam: more than %d routes", CNI_ROUTES_MAX);
		if (cni_addr_parse(text, &out->routes[out->n_routes]) < 0)
			return cni_fail(err, CNI_ERR_IPAM, "ipam: answered route to '%.64s'",
				text != NULL ? text : "");
		mask(&out->routes[out->n_routes++]);
	}
	if (out->n_ips == 0)
		return cni_fail(err, CNI_ERR_IPAM, "ipam: answered no address");
	if (cJSON_IsObject(dns) && dns->child != NULL)
		out->dns = cJSON_Duplicate(dns, true);
	return 0;
}

void cni_ipam_result_fini(struct cni_ipam_result *result)
{
	cJSON_Delete(result->dns);
	memset(result, 0, sizeof(*result));
}

int cni_result_find_interface(const cJSON *result, const char *name)
{
	const cJSON *item;
	int idx = 0;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(result, "interfaces")) {
		const char *text = cni_json_string(item, "name"),
			   *sandbox = cni_json_string(item, "sandbox");

		if (text != NULL && strcmp(text, name) == 0 && sandbox != NULL &&
			sandbox[0] != '\0')
			return idx;
		idx++;
	}
	return -1;
}
