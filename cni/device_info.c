/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/device_info.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *make_text(bool is_pod_client, const char *socket_path)
{
	cJSON *info = cJSON_CreateObject(), *vhost = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(info, "type", "vhost-user");
	cJSON_AddStringToObject(info, "version", "1.1.0");
	cJSON_AddStringToObject(vhost, "mode", is_pod_client ? "client" : "server");
	cJSON_AddStringToObject(vhost, "path", socket_path);
	cJSON_AddItemToObject(info, "vhost-user", vhost);
	text = cJSON_PrintUnformatted(info);
	cJSON_Delete(info);
	return text;
}

int cni_device_info_write(
	const char *path, bool is_pod_client, const char *socket_path, struct cni_error *err)
{
	char *text = make_text(is_pod_client, socket_path), *temp = NULL;
	size_t len = text != NULL ? strlen(text) : 0;
	int fd = -1, rc = -ENOMEM;

	if (text != NULL && asprintf(&temp, "%s.%d", path, (int)getpid()) >= 0) {
		unlink(temp);
		fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		rc = fd < 0 ? -errno : 0;
	}
	if (rc == 0 && write(fd, text, len) != (ssize_t)len)
		rc = -EIO;
	if (fd >= 0)
		close(fd);
	if (rc == 0 && rename(temp, path) < 0)
		rc = -errno;
	if (rc < 0) {
		if (fd >= 0)
			unlink(temp);
		cni_fail(err, CNI_ERR_IO, "cannot write device information %.256s: %s", path,
			strerror(-rc));
	}
	free(temp);
	free(text);
	return rc < 0 ? -1 : 0;
}
