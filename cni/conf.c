/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/conf.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "cni/portmap.h"
#include "control/client/leat_client.h"

#define MTU_MIN 68 /* RFC 791 s. 3.1 */
#define MTU_MAX 9216
#define RATE_MAX 1e12 /* bit/s, as in the API */
#define PATH_LEN_MAX 4095

/* A whole document and nothing behind it. */
static cJSON *decode(const char *text, size_t len, struct cni_error *err)
{
	const char *end = NULL;
	cJSON *json = cJSON_ParseWithLengthOpts(text, len, &end, false);

	for (; json != NULL && end < text + len; end++) {
		if (isspace((unsigned char)*end) || *end == '\0')
			continue;
		cJSON_Delete(json);
		json = NULL;
	}
	if (json == NULL)
		cni_fail(err, CNI_ERR_DECODE, "network configuration is not valid JSON");
	else if (!cJSON_IsObject(json))
		cni_fail(err, CNI_ERR_DECODE, "network configuration is not a JSON object");
	if (!cJSON_IsObject(json)) {
		cJSON_Delete(json);
		return NULL;
	}
	return json;
}

static int bad(struct cni_error *err, const char *key, const char *what)
{
	return cni_fail(err, CNI_ERR_CONFIG, "%s: %s", key, what);
}

/* Members of `object` by type; absent (or null) leaves *out as it is. */
static int get_string(const cJSON *object, const char *key, const char *label, const char **out,
	struct cni_error *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (item == NULL || cJSON_IsNull(item))
		return 0;
	if (!cJSON_IsString(item))
		return bad(err, label, "must be a string");
	*out = item->valuestring;
	return 0;
}

static int get_int(const cJSON *object, const char *key, const char *label, double min, double max,
	double *out, struct cni_error *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (item == NULL || cJSON_IsNull(item))
		return 0;
	if (!cJSON_IsNumber(item))
		return bad(err, label, "must be a number");
	if (!(item->valuedouble >= min && item->valuedouble <= max) ||
		item->valuedouble != floor(item->valuedouble))
		return cni_fail(err, CNI_ERR_CONFIG, "%s: must be an integer from %.0f to %.0f",
			label, min, max);
	*out = item->valuedouble;
	return 0;
}

static int get_object(const cJSON *object, const char *key, const char *label, const cJSON **out,
	struct cni_error *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (item == NULL || cJSON_IsNull(item))
		return 0;
	if (!cJSON_IsObject(item))
		return bad(err, label, "must be an object");
	*out = item;
	return 0;
}

static bool is_instance(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > 32 || !isalnum((unsigned char)name[0]))
		return false;
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && strchr("._-", *name) == NULL)
			return false;
	return true;
}

static int parse_version(struct cni_conf *conf, enum cni_verb verb, struct cni_error *err)
{
	const char *name = "0.1.0"; /* what a configuration without the key means */

	if (get_string(conf->json, "cniVersion", "cniVersion", &name, err) < 0)
		return -1;
	conf->version = cni_version_by_name(name);
	if (conf->version == CNI_VERSION_NONE)
		return cni_fail(err, CNI_ERR_VERSION,
			"incompatible CNI version: configuration is '%.31s', plugin speaks 0.3.1, "
			"0.4.0, 1.0.0, 1.1.0",
			name);
	if ((verb == CNI_CHECK && conf->version < CNI_V0_4_0) ||
		((verb == CNI_GC || verb == CNI_STATUS) && conf->version < CNI_V1_1_0))
		return cni_fail(err, CNI_ERR_VERSION, "CNI version %s has no %s", name,
			cni_verb_name(verb));
	return 0;
}

static int parse_vhost(struct cni_conf *conf, struct cni_error *err)
{
	const cJSON *vhost = NULL;
	const char *role = "server", *mode = "";
	double uid = -1, gid = -1;

	if (get_object(conf->json, "vhost", "vhost", &vhost, err) < 0 ||
		get_string(vhost, "role", "vhost.role", &role, err) < 0 ||
		get_string(vhost, "mode", "vhost.mode", &mode, err) < 0 ||
		get_int(vhost, "uid", "vhost.uid", -1, 4294967294.0, &uid, err) < 0 ||
		get_int(vhost, "gid", "vhost.gid", -1, 4294967294.0, &gid, err) < 0)
		return -1;
	if (strcmp(role, "server") != 0 && strcmp(role, "client") != 0)
		return bad(err, "vhost.role", "must be \"server\" or \"client\" (leatd's side)");
	if (strlen(mode) > 4 || strspn(mode, "01234567") != strlen(mode) ||
		strtoul(mode, NULL, 8) > 0777)
		return bad(err, "vhost.mode", "must be octal permission bits, such as \"0660\"");
	for (const cJSON *item = vhost != NULL ? vhost->child : NULL; item != NULL;
		item = item->next)
		if (strcmp(item->string, "role") != 0 && strcmp(item->string, "uid") != 0 &&
			strcmp(item->string, "gid") != 0 && strcmp(item->string, "mode") != 0)
			return cni_fail(
				err, CNI_ERR_CONFIG, "vhost.%.64s: unknown key", item->string);
	conf->vhost.is_client = strcmp(role, "client") == 0;
	conf->vhost.uid = (int64_t)uid;
	conf->vhost.gid = (int64_t)gid;
	strlcpy(conf->vhost.mode, mode, sizeof(conf->vhost.mode));
	return 0;
}

static int parse_own_keys(struct cni_conf *conf, struct cni_error *err)
{
	const char *mode = "tap";
	double mtu = 0, zone = 0;

	conf->instance = LEAT_INSTANCE_DEFAULT;
	if (get_string(conf->json, "name", "name", &conf->name, err) < 0 ||
		get_string(conf->json, "instance", "instance", &conf->instance, err) < 0 ||
		get_string(conf->json, "mode", "mode", &mode, err) < 0 ||
		get_int(conf->json, "mtu", "mtu", 0, MTU_MAX, &mtu, err) < 0 ||
		get_int(conf->json, "zone", "zone", 0, UINT16_MAX, &zone, err) < 0 ||
		get_object(conf->json, "dns", "dns", &conf->dns, err) < 0 ||
		parse_vhost(conf, err) < 0)
		return -1;
	if (conf->name == NULL)
		return bad(err, "name", "is missing");
	if (!cni_is_container_id(conf->name) || strlen(conf->name) > 255)
		return bad(err, "name",
			"must be letters, digits, '.', '_', '-', and start with a letter or digit");
	if (!is_instance(conf->instance))
		return bad(err, "instance", "is not the name of an instance of leatd");
	if (strcmp(mode, "tap") != 0 && strcmp(mode, "vhost-user") != 0)
		return bad(err, "mode", "must be \"tap\" or \"vhost-user\"");
	if (mtu != 0 && mtu < MTU_MIN)
		return cni_fail(err, CNI_ERR_CONFIG, "mtu: must be 0 (default) or from %d to %d",
			MTU_MIN, MTU_MAX);
	conf->mode = strcmp(mode, "tap") == 0 ? CNI_MODE_TAP : CNI_MODE_VHOST_USER;
	conf->mtu = (uint32_t)mtu;
	conf->zone = (uint16_t)zone;
	return 0;
}

static int parse_ipam(struct cni_conf *conf, struct cni_error *err)
{
	if (get_object(conf->json, "ipam", "ipam", &conf->ipam, err) < 0 ||
		get_string(conf->ipam, "type", "ipam.type", &conf->ipam_type, err) < 0)
		return -1;
	if (conf->ipam != NULL && conf->ipam->child == NULL)
		conf->ipam = NULL; /* "ipam": {} means none */
	if (conf->ipam == NULL)
		return 0;
	if (conf->ipam_type == NULL || conf->ipam_type[0] == '\0')
		return bad(err, "ipam.type", "is missing");
	if (strchr(conf->ipam_type, '/') != NULL || conf->ipam_type[0] == '.' ||
		strlen(conf->ipam_type) > 255)
		return bad(err, "ipam.type", "must be the name of a plugin in CNI_PATH");
	return 0;
}

static int parse_ip_list(
	struct cni_conf *conf, const cJSON *list, const char *label, struct cni_error *err)
{
	const cJSON *item;

	if (list == NULL || cJSON_IsNull(list))
		return 0;
	if (!cJSON_IsArray(list))
		return bad(err, label, "must be an array of addresses");
	conf->n_ips = 0;
	cJSON_ArrayForEach(item, list) {
		if (conf->n_ips == CNI_ADDRS_MAX)
			return bad(err, label, "too many addresses");
		if (!cJSON_IsString(item) ||
			cni_addr_parse(item->valuestring, &conf->ips[conf->n_ips]) < 0)
			return cni_fail(err, CNI_ERR_CONFIG, "%s: '%.64s' is not an address", label,
				cJSON_IsString(item) ? item->valuestring : "?");
		conf->n_ips++;
	}
	return 0;
}

/* CNI_ARGS IP: "a" or "a,b". */
static int parse_arg_ips(struct cni_conf *conf, const char *text, struct cni_error *err)
{
	char copy[CNI_ARG_LEN], *rest = copy, *part;

	strlcpy(copy, text, sizeof(copy));
	while ((part = strsep(&rest, ",")) != NULL) {
		if (conf->n_ips == CNI_ADDRS_MAX ||
			cni_addr_parse(part, &conf->ips[conf->n_ips]) < 0)
			return cni_fail(err, CNI_ERR_ENV,
				"environment variable CNI_ARGS: IP '%.64s' is not an address",
				part);
		conf->n_ips++;
	}
	return 0;
}

static int parse_static(struct cni_conf *conf, const struct cni_args *args, const cJSON *runtime,
	struct cni_error *err)
{
	const cJSON *all_args = NULL, *cni = NULL;
	const char *mac_label = "runtimeConfig.mac";
	uint8_t mac[6];

	if (get_object(conf->json, "args", "args", &all_args, err) < 0 ||
		get_object(all_args, "cni", "args.cni", &cni, err) < 0)
		return -1;
	if (args->ip[0] != '\0' && parse_arg_ips(conf, args->ip, err) < 0)
		return -1;
	if (parse_ip_list(conf, cJSON_GetObjectItemCaseSensitive(cni, "ips"), "args.cni.ips", err) <
			0 ||
		parse_ip_list(conf, cJSON_GetObjectItemCaseSensitive(runtime, "ips"),
			"runtimeConfig.ips", err) < 0)
		return -1;
	if (get_string(runtime, "mac", "runtimeConfig.mac", &conf->mac, err) < 0)
		return -1;
	if (conf->mac == NULL || conf->mac[0] == '\0') {
		mac_label = "args.cni.mac";
		if (get_string(cni, "mac", mac_label, &conf->mac, err) < 0)
			return -1;
	}
	if ((conf->mac == NULL || conf->mac[0] == '\0') && args->mac[0] != '\0') {
		if (cni_mac_parse(args->mac, mac) < 0)
			return cni_fail(err, CNI_ERR_ENV,
				"environment variable CNI_ARGS: MAC '%.32s' is not a unicast MAC "
				"address",
				args->mac);
		conf->mac = args->mac;
	}
	if (conf->mac != NULL && conf->mac[0] == '\0')
		conf->mac = NULL;
	if (conf->mac != NULL && cni_mac_parse(conf->mac, mac) < 0)
		return cni_fail(err, CNI_ERR_CONFIG, "%s: '%.32s' is not a unicast MAC address",
			mac_label, conf->mac);
	return 0;
}

/* Rates are in bit/s and bursts in bits; both or none, as in the bandwidth capability. */
static int parse_rate(const cJSON *bandwidth, const char *rate_key, const char *burst_key,
	struct cni_rate *out, struct cni_error *err)
{
	char label[64];
	double rate = 0, burst = 0;

	snprintf(label, sizeof(label), "runtimeConfig.bandwidth.%s", rate_key);
	if (get_int(bandwidth, rate_key, label, 0, RATE_MAX, &rate, err) < 0)
		return -1;
	snprintf(label, sizeof(label), "runtimeConfig.bandwidth.%s", burst_key);
	/* kubelet sends 2^31-1 or more for "any burst": what is above the limit is the limit */
	if (get_int(bandwidth, burst_key, label, 0, 1.8446744073709552e19, &burst, err) < 0)
		return -1;
	if (rate == 0 && burst != 0)
		return cni_fail(err, CNI_ERR_CONFIG,
			"runtimeConfig.bandwidth.%s: is missing for %s", rate_key, burst_key);
	if (rate != 0 && burst != 0 && burst < 8)
		return bad(err, label, "must be at least 8 bits");
	out->rate_bps = (uint64_t)rate;
	out->burst_bytes = (uint64_t)((burst < RATE_MAX ? burst : RATE_MAX) / 8);
	return 0;
}

static int parse_runtime(struct cni_conf *conf, const struct cni_args *args, struct cni_error *err)
{
	const cJSON *runtime = NULL, *bandwidth = NULL;

	if (get_object(conf->json, "runtimeConfig", "runtimeConfig", &runtime, err) < 0 ||
		parse_static(conf, args, runtime, err) < 0 ||
		get_object(runtime, "bandwidth", "runtimeConfig.bandwidth", &bandwidth, err) < 0 ||
		parse_rate(bandwidth, "egressRate", "egressBurst", &conf->from_pod, err) < 0 ||
		parse_rate(bandwidth, "ingressRate", "ingressBurst", &conf->to_pod, err) < 0 ||
		get_string(runtime, "CNIDeviceInfoFile", "runtimeConfig.CNIDeviceInfoFile",
			&conf->device_info_path, err) < 0)
		return -1;
	if (conf->device_info_path != NULL && conf->device_info_path[0] == '\0')
		conf->device_info_path = NULL;
	if (conf->device_info_path != NULL &&
		(conf->device_info_path[0] != '/' || strlen(conf->device_info_path) > PATH_LEN_MAX))
		return bad(err, "runtimeConfig.CNIDeviceInfoFile", "must be an absolute path");
	return cni_portmap_parse(cJSON_GetObjectItemCaseSensitive(runtime, "portMappings"),
		&conf->ports, &conf->n_ports, err);
}

static int parse_attachments(struct cni_conf *conf, struct cni_error *err)
{
	const char *label = "cni.dev/valid-attachments";
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(conf->json, label), *item;

	if (list == NULL) {
		label = "cni.dev/attachments"; /* what the first 1.1 libraries sent */
		list = cJSON_GetObjectItemCaseSensitive(conf->json, label);
	}
	if (list == NULL)
		return bad(err, "cni.dev/valid-attachments", "is missing");
	if (!cJSON_IsArray(list) && !cJSON_IsNull(list)) /* Go writes an empty list as null */
		return bad(err, label, "must be an array");
	cJSON_ArrayForEach(item, list) {
		const char *container = cni_json_string(item, "containerID"),
			   *ifname = cni_json_string(item, "ifname");

		if (!cni_is_container_id(container) || !cni_is_ifname(ifname))
			return bad(err, label, "each item needs a valid containerID and ifname");
	}
	conf->valid_attachments = list;
	return 0;
}

static int parse_all(struct cni_conf *conf, const struct cni_args *args, struct cni_error *err)
{
	if (parse_version(conf, args->verb, err) < 0 || parse_own_keys(conf, err) < 0 ||
		parse_ipam(conf, err) < 0 || parse_runtime(conf, args, err) < 0 ||
		get_object(conf->json, "prevResult", "prevResult", &conf->prev_result, err) < 0)
		return -1;
	if (args->verb == CNI_CHECK && conf->prev_result == NULL)
		return bad(err, "prevResult", "is missing: CHECK needs the result of ADD");
	if (args->verb == CNI_ADD && conf->ipam == NULL && conf->n_ips == 0)
		return bad(err, "ipam",
			"is missing, and the runtime gave no address (capability \"ips\")");
	if (args->verb == CNI_GC)
		return parse_attachments(conf, err);
	return 0;
}

int cni_conf_parse(const char *text, size_t len, const struct cni_args *args, struct cni_conf *out,
	struct cni_error *err)
{
	memset(out, 0, sizeof(*out));
	out->json = decode(text, len, err);
	if (out->json == NULL)
		return -1;
	if (parse_all(out, args, err) < 0) {
		cni_conf_fini(out);
		return -1;
	}
	return 0;
}

void cni_conf_fini(struct cni_conf *conf)
{
	cJSON_Delete(conf->json);
	free(conf->ports);
	memset(conf, 0, sizeof(*conf));
}

int cni_conf_peek_version(const char *text, size_t len, char out[32], struct cni_error *err)
{
	const char *name;
	cJSON *json;

	out[0] = '\0';
	if (strspn(text, " \t\r\n") >= len)
		return 0; /* nothing was sent: old runtimes do that */
	json = decode(text, len, err);
	if (json == NULL)
		return -1;
	name = cni_json_string(json, "cniVersion");
	if (name != NULL)
		strlcpy(out, name, 32);
	cJSON_Delete(json);
	return 0;
}
