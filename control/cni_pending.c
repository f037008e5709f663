/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/cni_pending.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/call.h"
#include "control/client/req.h"
#include "datapath/base/log.h"

static void on_detached(struct call *call, void *arg)
{
	const struct req_endpoint_id *req = call_req(call);

	(void)arg;
	if (call->err.code == LEAT_OK)
		log_info("endpoint", "detached by a journalled DEL id=%s", req->id);
	else
		log_warn("endpoint", "journalled DEL failed id=%s reason=\"%s\"", req->id,
			call->err.reason);
	call_destroy(call);
}

static void detach(const char *id)
{
	struct rpc_request rpc = { .method = schema_method("endpoint.detach") };
	struct leat_error err = { 0 };
	struct call *call = NULL;

	rpc.params = cJSON_CreateObject();
	cJSON_AddStringToObject(rpc.params, "id", id);
	cJSON_AddTrueToObject(rpc.params, "missing_ok");
	if (schema_decode(rpc.method, rpc.params, &rpc.req, &err) == 0)
		call = call_create(&rpc, on_detached, NULL);
	if (call == NULL) {
		log_warn("endpoint", "journalled DEL not understood file=\"%s\"", id);
		rpc_request_fini(&rpc);
		return;
	}
	call_start(call);
}

void cni_pending_detach(const char *state_dir)
{
	char path[256];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/cni/pending", state_dir);
	dir = opendir(path);
	if (dir == NULL) {
		if (errno != ENOENT)
			log_warn("endpoint", "journalled DELs cannot be read path=%s reason=\"%s\"",
				path, strerror(errno));
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			detach(entry->d_name);
	closedir(dir);
}
