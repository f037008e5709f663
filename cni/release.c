/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/release.h"

#include <stdio.h>
#include <string.h>

#include "cni/local_ports.h"
#include "cni/portmap.h"

#define PAGE_LEN 1000

int release_open(const struct cni_args *args, const struct cni_conf *conf, struct release *r,
	struct cni_error *err)
{
	struct cni_error away;

	memset(r, 0, sizeof(*r));
	r->args = args;
	if (cni_store_open_existing(conf->instance, &r->store, err) < 0)
		return -1;
	cni_leatd_open(conf->instance, CNI_CALL_TIMEOUT_MS, &r->leatd, &away);
	cni_settle(&r->store, &r->leatd);
	cni_ipam_open(conf, args, &r->ipam,
		&r->ipam_err); /* pods are detached even if leases cannot be given back */
	return 0;
}

void release_close(struct release *r)
{
	cni_ipam_close(&r->ipam);
	cni_leatd_close(&r->leatd);
	cni_store_close(&r->store);
}

int release_list_page(struct release *r, const char *method, const char *cursor, cJSON **out,
	struct cni_error *err)
{
	cJSON *params = cJSON_CreateObject();

	cJSON_AddNumberToObject(params, "limit", PAGE_LEN);
	if (cursor[0] != '\0')
		cJSON_AddStringToObject(params, "cursor", cursor);
	return cni_leatd_call(&r->leatd, method, params, -1, out, err);
}

/* Services of an attachment, as leatd has them: for one whose record is lost. NULL, with err, if leatd does not say. */
static cJSON *services_of(struct release *r, const char *id, struct cni_error *err)
{
	cJSON *services = cJSON_CreateArray();
	char cursor[256] = "";

	do {
		cJSON *page = NULL;
		const cJSON *item;
		const char *next;

		if (release_list_page(r, "service.list", cursor, &page, err) != 0) {
			cJSON_Delete(services);
			return NULL;
		}
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(page, "items")) {
			const char *name = cni_json_string(item, "name");

			if (name != NULL && cni_portmap_is_of(name, id))
				cJSON_AddItemToArray(services, cJSON_CreateString(name));
		}
		next = cni_json_string(page, "next");
		snprintf(cursor, sizeof(cursor), "%s", next != NULL ? next : "");
		cJSON_Delete(page);
	} while (cursor[0] != '\0');
	return services;
}

bool release_is_unreadable(const struct release *r, const char *id)
{
	cJSON *record;
	bool is_bad;

	if (!cni_store_has(&r->store, CNI_STORE_ATTACHED, id))
		return false;
	record = cni_store_get(&r->store, CNI_STORE_ATTACHED, id);
	is_bad = cni_json_string(record, "network") == NULL ||
		cni_json_string(record, "containerID") == NULL ||
		cni_json_string(record, "ifname") == NULL;
	cJSON_Delete(record);
	return is_bad;
}

int release_heal(struct release *r, const struct cni_conf *conf, const char *id,
	const struct cni_attachment *who, struct cni_error *err)
{
	cJSON *entry, *services = services_of(r, id, err);
	int rc;

	if (services == NULL)
		return -1;
	entry = cJSON_CreateObject();
	cJSON_AddNumberToObject(entry, "version", 1);
	cJSON_AddStringToObject(entry, "network", conf->name);
	cJSON_AddStringToObject(entry, "containerID", who->container);
	cJSON_AddStringToObject(entry, "ifname", who->ifname);
	cJSON_AddStringToObject(entry, "netns", who->netns != NULL ? who->netns : "");
	cJSON_AddItemToObject(entry, "services", services);
	rc = cni_store_put(&r->store, CNI_STORE_ATTACHED, id, entry, err);
	cJSON_Delete(entry);
	if (rc == 0)
		fprintf(stderr, "leat-cni: the record of %s was not readable: written again\n", id);
	return rc;
}

int release_one(struct release *r, const struct cni_conf *conf, const char *id,
	const struct cni_attachment *who, struct cni_error *err)
{
	cJSON *record;
	int rc;

	if (cni_detach_or_journal(&r->store, &r->leatd, id, err) < 0)
		return -1;
	record = cni_store_get(&r->store, CNI_STORE_ATTACHED, id);
	rc = cni_local_ports_call(CNI_DEL, r->args, conf, who,
		cJSON_GetObjectItemCaseSensitive(record, "localPorts"), NULL, err);
	cJSON_Delete(record);
	if (rc < 0)
		return -1;
	if (r->ipam_err.code != 0) {
		*err = r->ipam_err;
		return -1;
	}
	if (cni_ipam_call(&r->ipam, CNI_DEL, conf, who, NULL, err) < 0)
		return -1;
	return cni_store_del(&r->store, CNI_STORE_ATTACHED, id, err);
}
