/* SPDX-License-Identifier: BSD-3-Clause */
/* CHECK and STATUS: looking only. */
#include "cni/verbs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/netns.h"
#include "cni/portmap.h"

#define STATUS_TIMEOUT_MS 5000
#define MBUFS_MIN 64 /* what leatd sets aside for one more port, at most */

/* What prevResult says about our interface. */
static int read_expected(const struct cni_args *args, const struct cni_conf *conf,
	struct cni_expected *out, const char **out_socket, struct cni_error *err)
{
	const cJSON *prev = conf->prev_result, *item;
	int idx = cni_result_find_interface(prev, args->ifname);
	const cJSON *iface = cJSON_GetArrayItem(
		cJSON_GetObjectItemCaseSensitive(prev, "interfaces"), idx);
	const cJSON *mtu = cJSON_GetObjectItemCaseSensitive(iface, "mtu");

	memset(out, 0, sizeof(*out));
	if (idx < 0)
		return cni_fail(err, CNI_ERR_CONFIG, "prevResult: no interface %s", args->ifname);
	out->ifname = args->ifname;
	out->mac = cni_json_string(iface, "mac");
	if (cJSON_IsNumber(mtu) && mtu->valuedouble >= 1 && mtu->valuedouble <= UINT16_MAX)
		out->mtu = (uint32_t)mtu->valuedouble;
	*out_socket = cni_json_string(iface, "socketPath");
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(prev, "ips")) {
		const cJSON *of = cJSON_GetObjectItemCaseSensitive(item, "interface");
		const char *text = cni_json_string(item, "address");

		if (!cJSON_IsNumber(of) || of->valueint != idx || out->n_ips == CNI_ADDRS_MAX)
			continue;
		if (cni_addr_parse(text, &out->ips[out->n_ips++]) < 0)
			return cni_fail(err, CNI_ERR_CONFIG, "prevResult: address '%.64s'",
				text != NULL ? text : "");
	}
	if (out->n_ips == 0)
		return cni_fail(err, CNI_ERR_CONFIG, "prevResult: no address of %s", args->ifname);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(prev, "routes")) {
		const char *gw = cni_json_string(item, "gw"), *dst = cni_json_string(item, "dst");

		if (gw == NULL ||
			(strcmp(gw, CNI_GATEWAY_V4) != 0 && strcmp(gw, CNI_GATEWAY_V6) != 0) ||
			out->n_routes == CNI_ROUTES_MAX)
			continue;
		if (cni_addr_parse(dst, &out->routes[out->n_routes++]) < 0)
			return cni_fail(err, CNI_ERR_CONFIG, "prevResult: route to '%.64s'",
				dst != NULL ? dst : "");
	}
	return 0;
}

static cJSON *check_params(
	const char *id, const struct cni_conf *conf, const struct cni_expected *expected)
{
	cJSON *params = cJSON_CreateObject(), *list = cJSON_CreateArray();
	char ip[CNI_ADDR_STRLEN];

	cJSON_AddStringToObject(params, "id", id);
	if (conf->mode == CNI_MODE_TAP)
		cJSON_AddStringToObject(params, "ifname", expected->ifname);
	for (unsigned int i = 0; i < expected->n_ips; i++)
		cJSON_AddItemToArray(
			list, cJSON_CreateString(cni_addr_format(&expected->ips[i], ip)));
	cJSON_AddItemToObject(params, "addresses", list);
	return params;
}

static int check_socket(const char *path, struct cni_error *err)
{
	struct stat st;

	if (path != NULL && (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode)))
		return cni_fail(err, CNI_ERR_STATE, "socket %.256s is missing", path);
	return 0;
}

int cni_check(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };
	const bool is_tap = conf->mode == CNI_MODE_TAP;
	struct cni_expected expected;
	struct cni_leatd leatd = { NULL };
	const char *socket_path = NULL;
	struct cni_ipam ipam = { 0 };
	char id[CNI_ID_LEN];
	int netns_fd, rc;

	if (read_expected(args, conf, &expected, &socket_path, err) < 0)
		return -1;
	netns_fd = cni_netns_open(args->netns, err);
	if (netns_fd < 0)
		return -1;
	cni_endpoint_id(args->container, args->ifname, id);
	rc = cni_leatd_open(conf->instance, CNI_CALL_TIMEOUT_MS, &leatd, err);
	if (rc == 0)
		rc = cni_ipam_open(conf, args, &ipam, err);
	if (rc == 0)
		rc = cni_leatd_call(&leatd, "endpoint.check", check_params(id, conf, &expected),
			is_tap ? netns_fd : -1, NULL, err);
	if (rc == 0)
		rc = cni_portmap_check(conf, &leatd, id, expected.ips, expected.n_ips, err);
	if (rc == 0 && cni_ipam_has(&ipam, CNI_CHECK))
		rc = cni_ipam_call(&ipam, CNI_CHECK, conf, &who, NULL, err);
	if (rc == 0)
		rc = is_tap ? cni_netns_check(netns_fd, &expected, err)
			    : check_socket(conf->vhost.is_client ? NULL : socket_path, err);
	cni_ipam_close(&ipam);
	cni_leatd_close(&leatd);
	close(netns_fd);
	return rc == 0 ? 0 : -1;
}

static double number_at(const cJSON *json, const char *a, const char *b, double otherwise)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, a);

	if (b != NULL)
		item = cJSON_GetObjectItemCaseSensitive(item, b);
	return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

/* 50 when a port would be refused, 51 when connections of the attached ones are refused already. */
static int judge(const cJSON *status, struct cni_error *err)
{
	static const char *const families[] = { "v4", "v6" };
	const cJSON *conns = cJSON_GetObjectItemCaseSensitive(status, "conns");
	double mbufs = number_at(status, "mbufs", "reservable", MBUFS_MIN);
	double ports_max = number_at(status, "ports_max", NULL, 0);

	for (int i = 0; i < 2; i++) {
		const cJSON *family = cJSON_GetObjectItemCaseSensitive(conns, families[i]);

		if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(family, "nearly_full")))
			return cni_fail(err, CNI_ERR_LIMITED,
				"leatd: connection table %s is full (%.0f of %.0f)", families[i],
				number_at(family, "used", NULL, 0),
				number_at(family, "max", NULL, 0));
	}
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(status, "ready")))
		return cni_fail(err, CNI_ERR_UNAVAILABLE, "leatd is not ready");
	if (mbufs < MBUFS_MIN)
		return cni_fail(err, CNI_ERR_UNAVAILABLE,
			"leatd: %.0f mbufs are left to set aside for ports, one needs up to %d",
			mbufs, MBUFS_MIN);
	if (ports_max > 0 && number_at(status, "ports", NULL, 0) >= ports_max)
		return cni_fail(
			err, CNI_ERR_UNAVAILABLE, "leatd: all %.0f ports are taken", ports_max);
	return 0;
}

int cni_status(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	struct cni_leatd leatd;
	struct cni_ipam ipam = { 0 };
	cJSON *status = NULL;
	int rc;

	rc = cni_leatd_open(conf->instance, STATUS_TIMEOUT_MS, &leatd, err);
	if (rc == 0)
		rc = cni_leatd_call(&leatd, "sys.status", NULL, -1, &status, err);
	if (rc != 0)
		err->code = CNI_ERR_UNAVAILABLE;
	else
		rc = judge(status, err);
	if (rc == 0 && cni_ipam_open(conf, args, &ipam, err) < 0) {
		err->code = CNI_ERR_UNAVAILABLE;
		rc = -1;
	}
	if (rc == 0 && cni_ipam_has(&ipam, CNI_STATUS))
		rc = cni_ipam_call(&ipam, CNI_STATUS, conf, NULL, NULL, err);
	cni_ipam_close(&ipam);
	cJSON_Delete(status);
	cni_leatd_close(&leatd);
	return rc == 0 ? 0 : -1;
}
