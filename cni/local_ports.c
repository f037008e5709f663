/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/local_ports.h"

#include <stdio.h>

#include <bsd/string.h>

cJSON *cni_local_ports(const struct cni_conf *conf)
{
	char ip[CNI_ADDR_STRLEN];
	cJSON *list = NULL;

	for (unsigned int i = 0; i < conf->n_ports; i++) {
		const struct cni_port *port = &conf->ports[i];
		cJSON *item;

		if (!port->is_local)
			continue;
		item = cJSON_CreateObject();
		cJSON_AddNumberToObject(item, "hostPort", port->host_port);
		cJSON_AddNumberToObject(item, "containerPort", port->container_port);
		cJSON_AddStringToObject(item, "protocol", port->proto);
		cJSON_AddStringToObject(item, "hostIP", cni_addr_format(&port->host_ip, ip));
		if (list == NULL)
			list = cJSON_CreateArray();
		cJSON_AddItemToArray(list, item);
	}
	return list;
}

static cJSON *portmap_conf(const struct cni_conf *conf, const cJSON *ports, const cJSON *result)
{
	cJSON *json = cJSON_CreateObject(), *runtime;

	cJSON_AddStringToObject(json, "cniVersion", cni_version_name(conf->version));
	cJSON_AddStringToObject(json, "name", conf->name);
	cJSON_AddStringToObject(json, "type", "portmap");
	cJSON_AddTrueToObject(json, "snat"); /* from 127.0.0.1 nobody could be answered */
	runtime = cJSON_AddObjectToObject(json, "runtimeConfig");
	cJSON_AddItemToObject(runtime, "portMappings", cJSON_Duplicate(ports, true));
	if (result != NULL)
		cJSON_AddItemToObject(json, "prevResult", cJSON_Duplicate(result, true));
	return json;
}

int cni_local_ports_call(enum cni_verb verb, const struct cni_args *args,
	const struct cni_conf *conf, const struct cni_attachment *who, const cJSON *ports,
	const cJSON *result, struct cni_error *err)
{
	struct cni_conf sub = { .version = conf->version, .ipam_type = "portmap" };
	struct cni_ipam plugin = { 0 };
	char msg[sizeof(err->msg)];
	int rc;

	if (cJSON_GetArraySize(ports) == 0)
		return 0;
	sub.json = portmap_conf(conf, ports, result);
	sub.ipam = sub.json;
	rc = cni_ipam_open(&sub, args, &plugin, err);
	if (rc == 0)
		rc = cni_ipam_call(&plugin, verb, &sub, who, NULL, err);
	else if (verb == CNI_DEL) {
		/* what is not there any more did nothing, or nobody can undo it: no reason to keep the pod */
		fprintf(stderr, "leat-cni: portmap: %s\n", err->msg);
		rc = 0;
	}
	cni_ipam_close(&plugin);
	cJSON_Delete(sub.json);
	if (rc == 0)
		return 0;
	strlcpy(msg, err->msg, sizeof(msg));
	return cni_fail(err, err->code,
		"runtimeConfig.portMappings: hostIP 127.0.0.1 is left to the plugin portmap: "
		"%.400s",
		msg);
}
