/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/verbs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cni/device_info.h"
#include "cni/local_ports.h"
#include "cni/netns.h"
#include "cni/portmap.h"

#define LOCK_WAIT_MS 30000

static int put_record(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add,
	struct cni_error *err)
{
	cJSON *entry = cJSON_CreateObject();
	int rc;

	cJSON_AddNumberToObject(entry, "version", 1);
	cJSON_AddStringToObject(entry, "network", conf->name);
	cJSON_AddStringToObject(entry, "containerID", args->container);
	cJSON_AddStringToObject(entry, "ifname", args->ifname);
	cJSON_AddStringToObject(entry, "netns", args->netns);
	if (conf->n_ports > 0)
		cJSON_AddItemToObject(entry, "services", cni_portmap_services(conf, add->id));
	if (add->local_ports != NULL)
		cJSON_AddItemToObject(entry, "localPorts", cJSON_Duplicate(add->local_ports, true));
	rc = cni_store_put(&add->store, CNI_STORE_ATTACHED, add->id, entry, err);
	cJSON_Delete(entry);
	add->has_record = rc == 0;
	return rc;
}

static bool is_attached(struct cni_add *add, struct cni_error *err)
{
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "id", add->id);
	return cni_leatd_call(&add->leatd, "endpoint.show", params, -1, NULL, err) == 0;
}

/* Locks the attachment and brings what earlier calls left of it into order. */
static int prepare(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add,
	struct cni_error *err)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };

	if (conf->prev_result != NULL &&
		cni_result_find_interface(conf->prev_result, args->ifname) >= 0)
		return cni_fail(err, CNI_ERR_CONFIG, "prevResult: there is an interface %s already",
			args->ifname);
	add->netns_fd = cni_netns_open(args->netns, err);
	if (add->netns_fd < 0 || cni_store_open(conf->instance, &add->store, err) < 0)
		return -1;
	if (cni_leatd_open(conf->instance, CNI_CALL_TIMEOUT_MS, &add->leatd, err) < 0)
		return -1;
	cni_settle(&add->store, &add->leatd);
	if (cni_store_lock(&add->store, add->id, LOCK_WAIT_MS, err) < 0 ||
		cni_settle_one(&add->store, &add->leatd, add->id, err) < 0)
		return -1;
	if (is_attached(add, err))
		return cni_fail(err, CNI_ERR_LEATD + LEAT_ERR_EXISTS,
			"%s of %s is attached already: DEL comes first", args->ifname,
			args->container);
	if (err->code != CNI_ERR_LEATD + LEAT_ERR_NOT_FOUND)
		return -1;
	if (cni_portmap_check_ips(conf, &add->leatd, err) < 0 ||
		cni_ipam_open(conf, args, &add->ipam, err) < 0)
		return -1;
	/* an ADD that was killed may have left a lease, and services whose pod was detached by hand */
	if (cni_store_has(&add->store, CNI_STORE_ATTACHED, add->id) &&
		(cni_detach_or_journal(&add->store, &add->leatd, add->id, err) < 0 ||
			cni_ipam_call(&add->ipam, CNI_DEL, conf, &who, NULL, err) < 0))
		return -1;
	return put_record(args, conf, add, err);
}

/* What the runtime asked for must be what the pod gets. */
static int check_honoured(
	const struct cni_conf *conf, const struct cni_ipam_result *ipam, struct cni_error *err)
{
	for (unsigned int i = 0; i < conf->n_ips; i++) {
		char text[CNI_ADDR_STRLEN];
		unsigned int j = 0;

		while (j < ipam->n_ips && !cni_addr_same_ip(&conf->ips[i], &ipam->ips[j]))
			j++;
		if (j == ipam->n_ips)
			return cni_fail(err, CNI_ERR_IPAM,
				"ipam %s: did not give the requested address %s", conf->ipam_type,
				cni_addr_format(&conf->ips[i], text));
	}
	return 0;
}

/* Without routes from IPAM the pod gets a default route per family; with some, exactly those. */
static void default_routes(struct cni_ipam_result *ipam)
{
	bool has[2] = { false, false };

	if (ipam->n_routes > 0)
		return;
	for (unsigned int i = 0; i < ipam->n_ips; i++) {
		if (has[ipam->ips[i].is_v6])
			continue;
		has[ipam->ips[i].is_v6] = true;
		ipam->routes[ipam->n_routes++] = (struct cni_addr){ .is_v6 = ipam->ips[i].is_v6 };
	}
}

static int get_addresses(const struct cni_args *args, const struct cni_conf *conf,
	struct cni_add *add, struct cni_ipam_result *out, struct cni_error *err)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };
	cJSON *answer = NULL;
	int rc;

	memset(out, 0, sizeof(*out));
	if (add->ipam.path == NULL) {
		out->n_ips = conf->n_ips;
		memcpy(out->ips, conf->ips, sizeof(out->ips));
		default_routes(out);
		return 0;
	}
	add->has_lease =
		true; /* also after an error: DEL is what the specification asks for then */
	if (cni_ipam_call(&add->ipam, CNI_ADD, conf, &who, &answer, err) < 0)
		return -1;
	rc = cni_ipam_result_parse(answer, out, err);
	cJSON_Delete(answer);
	if (rc == 0)
		rc = check_honoured(conf, out, err);
	if (rc == 0)
		default_routes(out);
	return rc;
}

static cJSON *addresses_json(const struct cni_ipam_result *ipam)
{
	cJSON *list = cJSON_CreateArray();
	char ip[CNI_ADDR_STRLEN], text[CNI_ADDR_STRLEN + 4];

	for (unsigned int i = 0; i < ipam->n_ips; i++) {
		snprintf(text, sizeof(text), "%s/%d", cni_addr_format(&ipam->ips[i], ip),
			ipam->ips[i].is_v6 ? 128 : 32);
		cJSON_AddItemToArray(list, cJSON_CreateString(text));
	}
	return list;
}

/* Whether there is a default route for each family that the pod has an address of. */
static bool has_all_defaults(const struct cni_ipam_result *ipam)
{
	bool needs[2] = { false, false };

	for (unsigned int i = 0; i < ipam->n_ips; i++)
		needs[ipam->ips[i].is_v6] = true;
	for (unsigned int i = 0; i < ipam->n_routes; i++)
		if (ipam->routes[i].len == 0)
			needs[ipam->routes[i].is_v6] = false;
	return !needs[0] && !needs[1];
}

/* leatd makes the default routes itself unless told not to; then those wanted are listed with the others. */
static cJSON *routes_json(const struct cni_ipam_result *ipam, bool has_defaults)
{
	cJSON *list = cJSON_CreateArray();
	char ip[CNI_ADDR_STRLEN], text[CNI_ADDR_STRLEN + 4];

	for (unsigned int i = 0; i < ipam->n_routes; i++) {
		cJSON *route;

		if (has_defaults && ipam->routes[i].len == 0)
			continue;
		route = cJSON_CreateObject();
		snprintf(text, sizeof(text), "%s/%u", cni_addr_format(&ipam->routes[i], ip),
			ipam->routes[i].len);
		cJSON_AddStringToObject(route, "dst", text);
		cJSON_AddItemToArray(list, route);
	}
	return list;
}

static void add_rate(
	cJSON *params, const struct cni_rate *rate, const char *rate_key, const char *burst_key)
{
	if (rate->rate_bps == 0)
		return;
	cJSON_AddNumberToObject(params, rate_key, (double)rate->rate_bps);
	if (rate->burst_bytes != 0)
		cJSON_AddNumberToObject(params, burst_key, (double)rate->burst_bytes);
}

static cJSON *attach_params(const struct cni_args *args, const struct cni_conf *conf,
	const struct cni_add *add, const struct cni_ipam_result *ipam)
{
	const bool has_defaults = has_all_defaults(ipam);
	cJSON *params = cJSON_CreateObject();
	char container[256];

	snprintf(container, sizeof(container), "%.255s", args->container);
	cJSON_AddStringToObject(params, "id", add->id);
	cJSON_AddStringToObject(params, "container", container);
	if (args->pod[0] != '\0')
		cJSON_AddStringToObject(params, "pod", args->pod);
	if (args->pod_namespace[0] != '\0')
		cJSON_AddStringToObject(params, "namespace", args->pod_namespace);
	cJSON_AddStringToObject(params, "ifname", args->ifname);
	cJSON_AddStringToObject(params, "kind", conf->mode == CNI_MODE_TAP ? "tap" : "vhost-user");
	cJSON_AddItemToObject(params, "addresses", addresses_json(ipam));
	cJSON_AddItemToObject(params, "routes", routes_json(ipam, has_defaults));
	if (!has_defaults)
		cJSON_AddFalseToObject(params, "default_route");
	if (conf->mtu != 0)
		cJSON_AddNumberToObject(params, "mtu", conf->mtu);
	if (conf->mac != NULL)
		cJSON_AddStringToObject(params, "mac", conf->mac);
	cJSON_AddNumberToObject(params, "zone", conf->zone);
	add_rate(params, &conf->from_pod, "rate_bps", "burst_bytes");
	add_rate(params, &conf->to_pod, "to_rate_bps", "to_burst_bytes");
	if (conf->mode == CNI_MODE_VHOST_USER) {
		cJSON *vhost = cJSON_AddObjectToObject(params, "vhost");

		cJSON_AddStringToObject(vhost, "role", conf->vhost.is_client ? "client" : "server");
		if (conf->vhost.uid >= 0)
			cJSON_AddNumberToObject(vhost, "uid", (double)conf->vhost.uid);
		if (conf->vhost.gid >= 0)
			cJSON_AddNumberToObject(vhost, "gid", (double)conf->vhost.gid);
		if (conf->vhost.mode[0] != '\0')
			cJSON_AddStringToObject(vhost, "mode", conf->vhost.mode);
	}
	return params;
}

static cJSON *make_result(const struct cni_args *args, const struct cni_conf *conf,
	const struct cni_ipam_result *ipam, const cJSON *attached)
{
	const cJSON *mtu = cJSON_GetObjectItemCaseSensitive(attached, "mtu");
	const char *mac = cni_json_string(attached, "mac");
	const struct cni_interface iface = {
		.name = args->ifname,
		.mac = mac != NULL ? mac : "",
		.sandbox = args->netns,
		.mtu = cJSON_IsNumber(mtu) && mtu->valueint > 0 ? (uint32_t)mtu->valueint
								: conf->mtu,
		.socket_path = conf->mode == CNI_MODE_VHOST_USER
			? cni_json_string(attached, "socket")
			: NULL,
	};
	cJSON *result = cni_result_create(conf->prev_result, conf->version);
	int idx;

	if (result == NULL)
		return NULL;
	idx = cni_result_add_interface(result, conf->version, &iface);
	for (unsigned int i = 0; i < ipam->n_ips; i++)
		cni_result_add_ip(result, conf->version, &ipam->ips[i], idx);
	for (unsigned int i = 0; i < ipam->n_routes; i++)
		cni_result_add_route(result, &ipam->routes[i]);
	cni_result_set_dns(result, ipam->dns);
	cni_result_set_dns(result, conf->dns);
	return result;
}

static int attach(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add,
	const struct cni_ipam_result *ipam, cJSON **out, struct cni_error *err)
{
	const char *socket_path;
	int rc;

	rc = cni_leatd_call(&add->leatd, "endpoint.attach", attach_params(args, conf, add, ipam),
		conf->mode == CNI_MODE_TAP ? add->netns_fd : -1, out, err);
	/* of an attach whose answer did not come nobody knows: it is detached, now or from the journal */
	add->has_endpoint = rc == 0 || rc == LEAT_ERR_TRANSPORT;
	if (rc != 0)
		return -1;
	if (conf->mode != CNI_MODE_VHOST_USER)
		return 0;
	socket_path = cni_json_string(*out, "socket");
	if (socket_path == NULL)
		return cni_fail(err, CNI_ERR_LEATD + LEAT_ERR_INTERNAL, "leatd named no socket");
	if (conf->device_info_path == NULL)
		return 0;
	add->has_device_info = true;
	return cni_device_info_write(
		conf->device_info_path, !conf->vhost.is_client, socket_path, err);
}

int cni_add(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add,
	cJSON **out_result, struct cni_error *err)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };
	struct cni_ipam_result ipam = { 0 };
	cJSON *attached = NULL;
	int rc;

	memset(add, 0, sizeof(*add));
	add->store = (struct cni_store)CNI_STORE_EMPTY;
	add->netns_fd = -1;
	add->local_ports = cni_local_ports(conf);
	cni_endpoint_id(args->container, args->ifname, add->id);
	rc = prepare(args, conf, add, err);
	if (rc == 0)
		rc = get_addresses(args, conf, add, &ipam, err);
	if (rc == 0)
		rc = attach(args, conf, add, &ipam, &attached, err);
	if (rc == 0)
		rc = cni_portmap_add(conf, &add->leatd, add->id, ipam.ips, ipam.n_ips, err);
	if (rc == 0) {
		*out_result = make_result(args, conf, &ipam, attached);
		if (*out_result == NULL)
			rc = cni_fail(err, CNI_ERR_IO, "out of memory");
	}
	if (rc == 0 && add->local_ports != NULL) {
		add->has_local_ports = true; /* also after an error: as with IPAM */
		rc = cni_local_ports_call(
			CNI_ADD, args, conf, &who, add->local_ports, *out_result, err);
		if (rc < 0) {
			cJSON_Delete(*out_result);
			*out_result = NULL;
		}
	}
	if (rc < 0)
		cni_add_undo(args, conf, add);
	cJSON_Delete(attached);
	cni_ipam_result_fini(&ipam);
	return rc;
}

void cni_add_undo(const struct cni_args *args, const struct cni_conf *conf, struct cni_add *add)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };
	bool is_clean = true;
	struct cni_error err;

	if (add->has_endpoint)
		is_clean = cni_detach_or_journal(&add->store, &add->leatd, add->id, &err) == 0;
	if (is_clean && add->has_local_ports)
		is_clean = cni_local_ports_call(
				   CNI_DEL, args, conf, &who, add->local_ports, NULL, &err) == 0;
	/* an address that is still attached must not be given to another pod */
	if (is_clean && add->has_lease)
		is_clean = cni_ipam_call(&add->ipam, CNI_DEL, conf, &who, NULL, &err) == 0;
	if (add->has_device_info)
		unlink(conf->device_info_path);
	if (is_clean && add->has_record)
		is_clean = cni_store_del(&add->store, CNI_STORE_ATTACHED, add->id, &err) == 0;
	if (!is_clean)
		fprintf(stderr, "leat-cni: cannot undo ADD of %s, left for DEL or GC: %s\n",
			add->id, err.msg);
	add->has_endpoint = add->has_lease = add->has_device_info = add->has_record = false;
	add->has_local_ports = false;
}

void cni_add_fini(struct cni_add *add)
{
	cni_ipam_close(&add->ipam);
	cni_leatd_close(&add->leatd);
	cni_store_close(&add->store);
	cJSON_Delete(add->local_ports);
	if (add->netns_fd >= 0)
		close(add->netns_fd);
}
