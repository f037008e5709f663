/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/cni_pending.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/call.h"
#include "control/client/req.h"
#include "control/store.h"
#include "datapath/base/log.h"

#define FILE_SIZE_MAX (1u << 20)

static void on_done(struct call *call, void *arg)
{
	char key[STORE_KEY_MAX] = "";

	(void)arg;
	schema_key(call->rpc.method, call_req(call), key, sizeof(key));
	if (call->err.code == LEAT_OK)
		log_info("cni", "removed by a journalled DEL object=\"%s\"", key);
	else
		log_warn("cni", "journalled DEL failed object=\"%s\" reason=\"%s\"", key,
			call->err.reason);
	call_destroy(call);
}

static void run(const char *method, const char *key, const char *value)
{
	struct rpc_request rpc = { .method = schema_method(method) };
	struct leat_error err = { 0 };
	struct call *call = NULL;

	rpc.params = cJSON_CreateObject();
	cJSON_AddStringToObject(rpc.params, key, value);
	cJSON_AddTrueToObject(rpc.params, "missing_ok");
	if (schema_decode(rpc.method, rpc.params, &rpc.req, &err) == 0)
		call = call_create(&rpc, on_done, NULL);
	if (call == NULL) {
		log_warn("cni", "journalled DEL not understood %s=\"%s\"", key, value);
		rpc_request_fini(&rpc);
		return;
	}
	call_start(call);
}

/* The file's JSON, NULL if it is none. */
static cJSON *read_entry(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text = fd >= 0 ? malloc(FILE_SIZE_MAX) : NULL;
	ssize_t n = text != NULL ? read(fd, text, FILE_SIZE_MAX) : -1;
	cJSON *json = n > 0 ? cJSON_ParseWithLength(text, (size_t)n) : NULL;

	if (fd >= 0)
		close(fd);
	free(text);
	return json;
}

/* The services first: a port of the node is not to lead to a pod that has gone. */
static void settle(int dir_fd, const char *id)
{
	cJSON *entry = read_entry(dir_fd, id);
	const cJSON *name;

	cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(entry, "services"))
		if (cJSON_IsString(name))
			run("service.del", "name", name->valuestring);
	cJSON_Delete(entry);
	run("endpoint.detach", "id", id);
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
			log_warn("cni", "journalled DELs cannot be read path=%s reason=\"%s\"",
				path, strerror(errno));
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			settle(dirfd(dir), entry->d_name);
	closedir(dir);
}
