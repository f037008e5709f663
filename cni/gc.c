/* SPDX-License-Identifier: BSD-3-Clause */
/* GC: frees what is on record, or with leatd, and in no list of valid attachments. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cni/portmap.h"
#include "cni/release.h"
#include "cni/verbs.h"

/* Set of endpoint ids that stay: an object with their names. */
static cJSON *valid_ids(const struct cni_conf *conf)
{
	cJSON *set = cJSON_CreateObject();
	const cJSON *item;
	char id[CNI_ID_LEN];

	cJSON_ArrayForEach(item, conf->valid_attachments) {
		cni_endpoint_id(
			cni_json_string(item, "containerID"), cni_json_string(item, "ifname"), id);
		cJSON_AddTrueToObject(set, id);
	}
	return set;
}

/* GC goes on after an error and reports the first one and how many there were. */
struct gc_errors {
	struct cni_error first;
	unsigned int n;
};

static void gc_error(struct gc_errors *errors, const char *what, const struct cni_error *err)
{
	fprintf(stderr, "leat-cni: GC: %s: %s\n", what, err->msg);
	if (errors->n++ == 0)
		errors->first = *err;
}

/* Of an endpoint id that was made of them, into container; their ifname, or NULL: it was made by a hash. */
static const char *split_id(const char *id, char container[CNI_ID_LEN])
{
	const char *colon = strrchr(id, ':');
	char again[CNI_ID_LEN];

	if (colon == NULL)
		return NULL;
	snprintf(container, CNI_ID_LEN, "%.*s", (int)(colon - id), id);
	if (!cni_is_container_id(container) || !cni_is_ifname(colon + 1))
		return NULL;
	cni_endpoint_id(container, colon + 1, again);
	return strcmp(again, id) == 0 ? colon + 1 : NULL;
}

/* Whether a pod may still be using the endpoint: leatd has it, and its namespace is there, or nobody knows. */
static bool may_live(struct release *r, const char *id)
{
	cJSON *params = cJSON_CreateObject(), *shown = NULL;
	struct cni_error err;
	const char *netns;
	bool may;
	int rc;

	cJSON_AddStringToObject(params, "id", id);
	rc = cni_leatd_call(&r->leatd, "endpoint.show", params, -1, &shown, &err);
	netns = cni_json_string(cJSON_GetObjectItemCaseSensitive(shown, "attached"), "netns");
	may = rc != LEAT_ERR_NOT_FOUND && (netns == NULL || access(netns, F_OK) == 0);
	cJSON_Delete(shown);
	return may;
}

/* A record that says nothing, not of this network's valid attachments. It may be another network's: a pod that may live keeps it. */
static int gc_unreadable(
	struct release *r, const struct cni_conf *conf, const char *id, struct cni_error *err)
{
	char container[CNI_ID_LEN];
	const char *ifname = split_id(id, container);
	const struct cni_attachment who = { container, ifname, NULL };

	if (ifname == NULL || may_live(r, id))
		return cni_fail(err, CNI_ERR_IO,
			"record %.128s is not readable, and its pod may live: DEL of it frees both",
			id);
	if (release_heal(r, conf, id, &who, err) < 0)
		return -1;
	return release_one(r, conf, id, &who, err);
}

/* A valid attachment with a record that says nothing gets it back. */
static int gc_heal_valid(
	struct release *r, const struct cni_conf *conf, const char *id, struct cni_error *err)
{
	const cJSON *item;
	char of[CNI_ID_LEN];

	cJSON_ArrayForEach(item, conf->valid_attachments) {
		const struct cni_attachment who = { cni_json_string(item, "containerID"),
			cni_json_string(item, "ifname"), NULL };

		cni_endpoint_id(who.container, who.ifname, of);
		if (strcmp(of, id) == 0)
			return release_heal(r, conf, id, &who, err);
	}
	return 0;
}

static int gc_record(struct release *r, const struct cni_conf *conf, const char *id, bool is_valid,
	struct cni_error *err)
{
	cJSON *record;
	const char *network;
	int rc = 0;

	if (release_is_unreadable(r, id))
		return is_valid ? gc_heal_valid(r, conf, id, err) : gc_unreadable(r, conf, id, err);
	record = cni_store_get(&r->store, CNI_STORE_ATTACHED, id);
	network = cni_json_string(record, "network");
	if (!is_valid && network != NULL && strcmp(network, conf->name) == 0) {
		const struct cni_attachment who = { cni_json_string(record, "containerID"),
			cni_json_string(record, "ifname"), NULL };

		rc = release_one(r, conf, id, &who, err);
	}
	cJSON_Delete(record);
	return rc;
}

/* Recorded attachments of this network that are not valid any more. */
static void gc_records(struct release *r, const struct cni_conf *conf, const cJSON *valid,
	struct gc_errors *errors)
{
	struct cni_error err;
	cJSON *ids = cni_store_list(&r->store, CNI_STORE_ATTACHED, &err);
	const cJSON *item;

	if (ids == NULL)
		gc_error(errors, "attachments", &err);
	cJSON_ArrayForEach(item, ids) {
		const char *id = item->valuestring;

		if (cni_store_lock(&r->store, id, 0, &err) < 0)
			continue; /* a locked one is being added or deleted */
		if (gc_record(r, conf, id, cJSON_GetObjectItemCaseSensitive(valid, id) != NULL,
			    &err) < 0)
			gc_error(errors, id, &err);
		cni_store_unlock(&r->store, id);
	}
	cJSON_Delete(ids);
}

/* Whether the endpoint was attached for a container, not put there by hand. */
static bool is_of_a_container(struct release *r, const char *id)
{
	cJSON *params = cJSON_CreateObject(), *shown = NULL;
	struct cni_error err;
	const char *container;
	bool is_one;

	cJSON_AddStringToObject(params, "id", id);
	if (cni_leatd_call(&r->leatd, "endpoint.show", params, -1, &shown, &err) != 0)
		return false;
	container = cni_json_string(
		cJSON_GetObjectItemCaseSensitive(shown, "attached"), "container");
	is_one = container != NULL && container[0] != '\0';
	cJSON_Delete(shown);
	return is_one;
}

/* An endpoint that no record of any network knows. */
static void gc_orphan(struct release *r, const char *id, struct gc_errors *errors)
{
	struct cni_error err;

	if (cni_store_lock(&r->store, id, 0, &err) < 0)
		return;
	if (!cni_store_has(&r->store, CNI_STORE_ATTACHED, id) && is_of_a_container(r, id) &&
		cni_leatd_detach(&r->leatd, id, NULL, &err) != 0)
		gc_error(errors, id, &err);
	cni_store_unlock(&r->store, id);
}

/* A service of a port mapping whose endpoint no record knows. */
static void gc_service(struct release *r, const char *name, struct gc_errors *errors)
{
	struct cni_error err;
	char id[CNI_ID_LEN];

	if (!cni_portmap_endpoint(name, id) || cni_store_lock(&r->store, id, 0, &err) < 0)
		return;
	if (!cni_store_has(&r->store, CNI_STORE_ATTACHED, id) &&
		cni_leatd_del_service(&r->leatd, name, &err) != 0)
		gc_error(errors, name, &err);
	cni_store_unlock(&r->store, id);
}

static bool is_orphan(const struct release *r, const cJSON *valid, const char *id)
{
	return strlen(id) < CNI_ID_LEN && cJSON_GetObjectItemCaseSensitive(valid, id) == NULL &&
		!cni_store_has(&r->store, CNI_STORE_ATTACHED, id);
}

static bool is_orphan_service(const struct release *r, const cJSON *valid, const char *name)
{
	char id[CNI_ID_LEN];

	return cni_portmap_endpoint(name, id) && is_orphan(r, valid, id);
}

/* What leatd has of a kind, and GC's way with it. */
struct gc_kind {
	const char *method, *key, *what;
	bool (*is_orphan)(const struct release *r, const cJSON *valid, const char *key);
	void (*free)(struct release *r, const char *key, struct gc_errors *errors);
};

static const struct gc_kind gc_kinds[] = {
	{ "service.list", "name", "services", is_orphan_service, gc_service },
	{ "endpoint.list", "id", "endpoints", is_orphan, gc_orphan },
};

/* Appends what nobody knows of one page; *cursor moves on, to "" behind the last page. */
static int collect_page(struct release *r, const struct gc_kind *kind, const cJSON *valid,
	char cursor[256], cJSON *orphans, struct cni_error *err)
{
	const cJSON *item;
	const char *next;
	cJSON *page = NULL;

	if (release_list_page(r, kind->method, cursor, &page, err) != 0)
		return -1;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(page, "items")) {
		const char *key = cni_json_string(item, kind->key);

		if (key != NULL && kind->is_orphan(r, valid, key))
			cJSON_AddItemToArray(orphans, cJSON_CreateString(key));
	}
	next = cni_json_string(page, "next");
	snprintf(cursor, 256, "%s", next != NULL ? next : "");
	cJSON_Delete(page);
	return 0;
}

/* The list is read to its end before anything is removed from it. */
static void gc_orphans(
	struct release *r, const struct gc_kind *kind, const cJSON *valid, struct gc_errors *errors)
{
	cJSON *orphans = cJSON_CreateArray();
	char cursor[256] = "";
	struct cni_error err;
	const cJSON *item;

	do {
		if (collect_page(r, kind, valid, cursor, orphans, &err) < 0) {
			gc_error(errors, kind->what, &err);
			break;
		}
	} while (cursor[0] != '\0');
	cJSON_ArrayForEach(item, orphans)
		kind->free(r, item->valuestring, errors);
	cJSON_Delete(orphans);
}

int cni_gc(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	struct gc_errors errors = { 0 };
	cJSON *valid = valid_ids(conf);
	struct cni_error ipam_err;
	struct release r;
	int rc;

	rc = release_open(args, conf, &r, err);
	if (rc == 0) {
		if (r.ipam_err.code != 0)
			gc_error(&errors, "ipam", &r.ipam_err);
		gc_records(&r, conf, valid, &errors);
		for (size_t i = 0; i < sizeof(gc_kinds) / sizeof(gc_kinds[0]); i++)
			gc_orphans(&r, &gc_kinds[i], valid, &errors);
		if (cni_ipam_has(&r.ipam, CNI_GC) &&
			cni_ipam_call(&r.ipam, CNI_GC, conf, NULL, NULL, &ipam_err) < 0)
			gc_error(&errors, "ipam", &ipam_err);
	}
	if (errors.n > 0) {
		rc = cni_fail(err, errors.first.code, "GC: %u error(s), the first: %.400s",
			errors.n, errors.first.msg);
		memcpy(err->details, errors.first.details, sizeof(err->details));
	}
	release_close(&r);
	cJSON_Delete(valid);
	return rc;
}
