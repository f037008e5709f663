/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/instance.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/client/leat_client.h"

struct instance instance = { .lock_fd = -1 };

int instance_set_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > INSTANCE_NAME_MAX || name[0] == '.' || name[0] == '-')
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
			return -EINVAL;
	snprintf(instance.name, sizeof(instance.name), "%s", name);
	snprintf(instance.run_dir, sizeof(instance.run_dir), LEAT_RUN_DIR "/%.32s", name);
	snprintf(instance.state_dir, sizeof(instance.state_dir), LEAT_STATE_DIR "/%.32s", name);
	snprintf(instance.control_path, sizeof(instance.control_path), "%s/control.sock",
		instance.run_dir);
	snprintf(instance.metrics_path, sizeof(instance.metrics_path), "%s/metrics.sock",
		instance.run_dir);
	return 0;
}

static int make_dir(const char *path, mode_t mode, bool is_shared)
{
	const struct group *group = is_shared ? getgrnam("leat") : NULL;

	if (mkdir(path, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (chmod(path, mode) < 0 || (group != NULL && chown(path, 0, group->gr_gid) < 0))
		return -errno;
	return 0;
}

int instance_lock(int *out_pid)
{
	char path[96], text[16];
	ssize_t n;
	int rc;

	*out_pid = 0;
	/* Guests' sockets lie below the run folder: everybody may pass through, each folder and socket has its own mode. */
	rc = make_dir(LEAT_RUN_DIR, 0755, false);
	if (rc == 0)
		rc = make_dir(instance.run_dir, 0755, false);
	if (rc == 0)
		rc = make_dir(LEAT_STATE_DIR, 0700, false);
	if (rc == 0)
		rc = make_dir(instance.state_dir, 0700, false);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/lock", instance.state_dir);
	instance.lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (instance.lock_fd < 0)
		return -errno;
	if (flock(instance.lock_fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		n = pread(instance.lock_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		sscanf(text, "%d", out_pid);
		close(instance.lock_fd);
		instance.lock_fd = -1;
		return rc;
	}
	n = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(instance.lock_fd, 0) < 0 || pwrite(instance.lock_fd, text, (size_t)n, 0) < 0)
		return -errno;
	return 0;
}

void instance_unlock(void)
{
	if (instance.lock_fd >= 0)
		close(instance.lock_fd);
	instance.lock_fd = -1;
}
