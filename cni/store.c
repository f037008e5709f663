/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/client/leat_client.h"

#define ENTRY_SIZE_MAX (1u << 20)
#define LOCK_POLL_MS 5

static const char *const kinds[CNI_STORE_KIND_N] = {
	[CNI_STORE_ATTACHED] = "attached",
	[CNI_STORE_PENDING] = "pending",
};

/* Opens dir/name, making it if it is not there; dir is closed. -1 with errno kept in *out_errno. */
static int enter(int dir, const char *name, int *out_errno)
{
	int fd;

	if (dir < 0)
		return -1;
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		*out_errno = errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		*out_errno = errno;
	close(dir);
	return fd;
}

static int open_base(const char *instance, int *out_errno)
{
	char path[256];
	char *rest = path, *part;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		*out_errno = errno;
	snprintf(path, sizeof(path), "%s/%s/cni", &LEAT_STATE_DIR[1], instance);
	while ((part = strsep(&rest, "/")) != NULL)
		fd = enter(fd, part, out_errno);
	return fd;
}

int cni_store_open(const char *instance, struct cni_store *store, struct cni_error *err)
{
	int sys_errno = 0;
	int base = open_base(instance, &sys_errno);

	*store = (struct cni_store)CNI_STORE_EMPTY;
	if (base < 0)
		goto err_io;
	for (int kind = 0; kind < CNI_STORE_KIND_N; kind++) {
		store->dir_fd[kind] = enter(
			fcntl(base, F_DUPFD_CLOEXEC, 0), kinds[kind], &sys_errno);
		if (store->dir_fd[kind] < 0)
			goto err_base;
	}
	/* not close-on-exec: see the header */
	store->lock_fd = openat(base, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (store->lock_fd < 0) {
		sys_errno = errno;
		goto err_base;
	}
	close(base);
	return 0;

err_base:
	close(base);
	cni_store_close(store);
err_io:
	return cni_fail(err, CNI_ERR_IO, "cannot open %s/%s/cni: %s", LEAT_STATE_DIR, instance,
		strerror(sys_errno));
}

int cni_store_open_existing(const char *instance, struct cni_store *store, struct cni_error *err)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/cni", LEAT_STATE_DIR, instance);
	*store = (struct cni_store)CNI_STORE_EMPTY;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	return cni_store_open(instance, store, err);
}

void cni_store_close(struct cni_store *store)
{
	for (int kind = 0; kind < CNI_STORE_KIND_N; kind++)
		if (store->dir_fd[kind] >= 0)
			close(store->dir_fd[kind]);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	*store = (struct cni_store)CNI_STORE_EMPTY;
}

static struct flock lock_of(const char *id, short type)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *id != '\0'; id++)
		h = (h ^ (unsigned char)*id) * 0x100000001b3ull;
	return (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(h >> 2), .l_len = 1
	};
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int cni_store_lock(
	struct cni_store *store, const char *id, unsigned int wait_ms, struct cni_error *err)
{
	const struct timespec pause = { .tv_nsec = LOCK_POLL_MS * 1000000 };
	struct flock lock = lock_of(id, F_WRLCK);
	uint64_t deadline_ms = now_ms() + wait_ms;

	while (store->lock_fd >= 0 && fcntl(store->lock_fd, F_OFD_SETLK, &lock) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return cni_fail(err, CNI_ERR_IO, "cannot lock %s: %s", id, strerror(errno));
		if (now_ms() >= deadline_ms)
			return cni_fail(
				err, CNI_ERR_AGAIN, "another call for %s is still running", id);
		nanosleep(&pause, NULL);
	}
	return 0;
}

void cni_store_unlock(struct cni_store *store, const char *id)
{
	struct flock lock = lock_of(id, F_UNLCK);

	if (store->lock_fd >= 0)
		fcntl(store->lock_fd, F_OFD_SETLK, &lock);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int cni_store_put(struct cni_store *store, enum cni_store_kind kind, const char *id,
	const cJSON *content, struct cni_error *err)
{
	char temp[CNI_ID_LEN + 1];
	int dir = store->dir_fd[kind];
	char *text = cJSON_Print(content);
	int fd, rc = text == NULL ? -ENOMEM : 0;

	snprintf(temp, sizeof(temp), ".%s", id); /* one writer: the id is locked */
	fd = rc < 0
		? -1
		: openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (rc == 0 && fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = write_all(fd, text, strlen(text));
	if (fd >= 0)
		close(fd);
	if (rc == 0 && (renameat(dir, temp, dir, id) < 0 || fsync(dir) < 0))
		rc = -errno;
	free(text);
	if (rc == 0)
		return 0;
	unlinkat(dir, temp, 0);
	return cni_fail(
		err, CNI_ERR_IO, "cannot write %s of %s: %s", kinds[kind], id, strerror(-rc));
}

cJSON *cni_store_get(const struct cni_store *store, enum cni_store_kind kind, const char *id)
{
	int fd = openat(store->dir_fd[kind], id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *text = malloc(ENTRY_SIZE_MAX);
	cJSON *json = NULL;
	ssize_t n = -1;

	if (fd >= 0 && text != NULL)
		n = read(fd, text, ENTRY_SIZE_MAX);
	if (n > 0 && n < ENTRY_SIZE_MAX)
		json = cJSON_ParseWithLength(text, (size_t)n);
	if (fd >= 0)
		close(fd);
	free(text);
	return json;
}

bool cni_store_has(const struct cni_store *store, enum cni_store_kind kind, const char *id)
{
	return store->dir_fd[kind] >= 0 &&
		faccessat(store->dir_fd[kind], id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int cni_store_del(
	struct cni_store *store, enum cni_store_kind kind, const char *id, struct cni_error *err)
{
	char temp[CNI_ID_LEN + 1];
	int dir = store->dir_fd[kind];

	if (dir < 0)
		return 0;
	snprintf(temp, sizeof(temp), ".%s", id);
	unlinkat(dir, temp, 0); /* of a writer that was killed */
	if (unlinkat(dir, id, 0) < 0)
		return errno == ENOENT ? 0
				       : cni_fail(err, CNI_ERR_IO, "cannot remove %s of %s: %s",
						 kinds[kind], id, strerror(errno));
	if (fsync(dir) < 0)
		return cni_fail(
			err, CNI_ERR_IO, "cannot sync %s: %s", kinds[kind], strerror(errno));
	return 0;
}

/* A half-written file of a dead writer; a living one holds the lock. */
static void sweep(struct cni_store *store, enum cni_store_kind kind, const char *temp)
{
	struct cni_error ignored;

	if (cni_store_lock(store, temp + 1, 0, &ignored) < 0)
		return;
	unlinkat(store->dir_fd[kind], temp, 0);
	cni_store_unlock(store, temp + 1);
}

cJSON *cni_store_list(struct cni_store *store, enum cni_store_kind kind, struct cni_error *err)
{
	int fd = store->dir_fd[kind] < 0
		? -1
		: openat(store->dir_fd[kind], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	cJSON *ids = cJSON_CreateArray();
	struct dirent *entry;

	if (store->dir_fd[kind] < 0)
		return ids;
	if (dir == NULL || ids == NULL) {
		cni_fail(err, CNI_ERR_IO, "cannot list %s: %s", kinds[kind], strerror(errno));
		if (dir != NULL)
			closedir(dir);
		else if (fd >= 0)
			close(fd);
		cJSON_Delete(ids);
		return NULL;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_name[0] == '.')
			sweep(store, kind, entry->d_name);
		else if (strlen(entry->d_name) < CNI_ID_LEN)
			cJSON_AddItemToArray(ids, cJSON_CreateString(entry->d_name));
	}
	closedir(dir);
	return ids;
}
