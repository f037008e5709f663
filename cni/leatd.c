/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/leatd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RETRY_FIRST_MS 10
#define RETRY_MAX_MS 160
#define RETRY_TOTAL_MS 10000

int cni_leatd_open(
	const char *instance, int timeout_ms, struct cni_leatd *out, struct cni_error *err)
{
	struct leat_error lerr = { 0 };

	out->client = NULL;
	if (leat_open(instance, timeout_ms, &out->client, &lerr) < 0)
		return cni_fail(
			err, CNI_ERR_AGAIN, "leatd '%s' is away: %s", instance, lerr.reason);
	return 0;
}

void cni_leatd_close(struct cni_leatd *leatd)
{
	leat_close(leatd->client);
	leatd->client = NULL;
}

static void map_error(const char *method, const struct leat_error *lerr, struct cni_error *err)
{
	switch (lerr->code) {
	case LEAT_ERR_TRANSPORT:
	case LEAT_ERR_RESOURCES:
	case LEAT_ERR_BUSY:
	case LEAT_ERR_LIMIT:
	case LEAT_ERR_AGAIN:
		cni_fail(err, CNI_ERR_AGAIN, "leatd: %s: %s", method, lerr->reason);
		break;
	case LEAT_ERR_PARAMS:
		cni_fail(err, CNI_ERR_CONFIG, "leatd: %s: %s: %s", method, lerr->field,
			lerr->reason);
		break;
	default:
		cni_fail(err,
			CNI_ERR_LEATD +
				(lerr->code > 0 && lerr->code < 20 ? lerr->code
								   : LEAT_ERR_INTERNAL),
			"leatd: %s: %s", method, lerr->reason);
	}
}

int cni_leatd_call(struct cni_leatd *leatd, const char *method, cJSON *params, int fd,
	cJSON **out_result, struct cni_error *err)
{
	struct leat_error lerr = { .code = LEAT_ERR_TRANSPORT, .reason = "it does not run" };
	int rc = LEAT_ERR_TRANSPORT;
	unsigned int waited_ms = 0;

	for (unsigned int pause_ms = RETRY_FIRST_MS; leatd->client != NULL;) {
		rc = leat_call_fds(
			leatd->client, method, params, &fd, fd >= 0 ? 1 : 0, out_result, &lerr);
		if ((rc != LEAT_ERR_BUSY && rc != LEAT_ERR_AGAIN) || waited_ms >= RETRY_TOTAL_MS)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = (long)pause_ms * 1000000 }, NULL);
		waited_ms += pause_ms;
		pause_ms = pause_ms < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
	}
	cJSON_Delete(params);
	if (rc == LEAT_ERR_TRANSPORT)
		cni_leatd_close(leatd);
	if (rc != 0)
		map_error(method, &lerr, err);
	return rc;
}

int cni_leatd_del_service(struct cni_leatd *leatd, const char *name, struct cni_error *err)
{
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "name", name);
	cJSON_AddTrueToObject(params, "missing_ok");
	return cni_leatd_call(leatd, "service.del", params, -1, NULL, err);
}

int cni_leatd_detach(
	struct cni_leatd *leatd, const char *id, const cJSON *services, struct cni_error *err)
{
	cJSON *params = cJSON_CreateObject();
	const cJSON *name;
	int rc = 0;

	cJSON_ArrayForEach(name, services)
		if (rc == 0 && cJSON_IsString(name))
			rc = cni_leatd_del_service(leatd, name->valuestring, err);
	cJSON_AddStringToObject(params, "id", id);
	cJSON_AddTrueToObject(params, "missing_ok");
	if (rc == 0)
		return cni_leatd_call(leatd, "endpoint.detach", params, -1, NULL, err);
	cJSON_Delete(params);
	return rc;
}

/* Services of an attachment as recorded, or journalled. */
static cJSON *services_of(struct cni_store *store, const char *id)
{
	cJSON *services = NULL;

	for (int kind = 0; kind < CNI_STORE_KIND_N && services == NULL; kind++) {
		cJSON *entry = cni_store_has(store, (enum cni_store_kind)kind, id)
			? cni_store_get(store, (enum cni_store_kind)kind, id)
			: NULL;

		services = cJSON_DetachItemFromObjectCaseSensitive(entry, "services");
		cJSON_Delete(entry);
	}
	return services;
}

static int detach_journal(
	struct cni_store *store, const char *id, const cJSON *services, struct cni_error *err)
{
	cJSON *entry;
	int rc;

	/* of what no call has on record, there is nothing to detach */
	if (!cni_store_has(store, CNI_STORE_ATTACHED, id) &&
		!cni_store_has(store, CNI_STORE_PENDING, id))
		return 0;
	fprintf(stderr, "leat-cni: %s; the detach of %s is journalled\n", err->msg, id);
	entry = cJSON_CreateObject();
	cJSON_AddNumberToObject(entry, "version", 1);
	cJSON_AddStringToObject(entry, "method", "endpoint.detach");
	cJSON_AddStringToObject(entry, "id", id);
	if (services != NULL)
		cJSON_AddItemToObject(entry, "services", cJSON_Duplicate(services, true));
	rc = cni_store_put(store, CNI_STORE_PENDING, id, entry, err);
	cJSON_Delete(entry);
	return rc;
}

int cni_detach_or_journal(
	struct cni_store *store, struct cni_leatd *leatd, const char *id, struct cni_error *err)
{
	cJSON *services = services_of(store, id);
	int rc = cni_leatd_detach(leatd, id, services, err);

	if (rc == 0)
		rc = cni_store_del(store, CNI_STORE_PENDING, id, err);
	else if (rc == LEAT_ERR_TRANSPORT)
		rc = detach_journal(store, id, services, err);
	cJSON_Delete(services);
	return rc == 0 ? 0 : -1;
}

int cni_settle_one(
	struct cni_store *store, struct cni_leatd *leatd, const char *id, struct cni_error *err)
{
	cJSON *services;
	int rc;

	if (!cni_store_has(store, CNI_STORE_PENDING, id))
		return 0;
	services = services_of(store, id);
	rc = cni_leatd_detach(leatd, id, services, err);
	cJSON_Delete(services);
	return rc != 0 ? -1 : cni_store_del(store, CNI_STORE_PENDING, id, err);
}

void cni_settle(struct cni_store *store, struct cni_leatd *leatd)
{
	struct cni_error err;
	cJSON *ids = leatd->client != NULL ? cni_store_list(store, CNI_STORE_PENDING, &err) : NULL;
	const cJSON *item;

	cJSON_ArrayForEach(item, ids) {
		const char *id = item->valuestring;

		if (cni_store_lock(store, id, 0, &err) < 0)
			continue; /* whoever works on it settles it */
		if (cni_settle_one(store, leatd, id, &err) < 0)
			fprintf(stderr, "leat-cni: detach of %s stays journalled: %s\n", id,
				err.msg);
		cni_store_unlock(store, id);
	}
	cJSON_Delete(ids);
}
