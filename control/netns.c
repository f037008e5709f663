/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/netns.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/nsfs.h>
#include <sched.h>

/* Whether fd is a network namespace; its inode. */
static int identify(int fd, uint64_t *out_inode)
{
	struct stat st;

	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	*out_inode = st.st_ino;
	return 0;
}

static int open_path(struct netns_ref *ref, const char *path, uint64_t inode)
{
	int rc;

	ref->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (ref->fd < 0)
		return -errno;
	rc = identify(ref->fd, &ref->inode);
	if (rc == 0 && inode != 0 && ref->inode != inode)
		rc = -ESTALE;
	if (rc < 0) {
		netns_ref_close(ref);
		return rc;
	}
	if (strncmp(path, "/proc/", 6) != 0)
		snprintf(ref->path, sizeof(ref->path), "%s", path);
	return 0;
}

static int search_bound(struct netns_ref *ref, const char *dir, uint64_t inode)
{
	DIR *list = opendir(dir);
	struct dirent *entry;
	int rc = -ENOENT;

	while (list != NULL && rc < 0 && (entry = readdir(list)) != NULL) {
		char path[320];

		snprintf(path, sizeof(path), "%s/%.255s", dir, entry->d_name);
		if (entry->d_name[0] != '.')
			rc = open_path(ref, path, inode);
	}
	if (list != NULL)
		closedir(list);
	return rc < 0 ? -ENOENT : 0;
}

static int search_processes(struct netns_ref *ref, uint64_t inode)
{
	DIR *list = opendir("/proc");
	struct dirent *entry;
	int rc = -ENOENT;

	while (list != NULL && rc < 0 && (entry = readdir(list)) != NULL) {
		char path[320], target[64], want[64];
		ssize_t n;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.255s/ns/net", entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		snprintf(want, sizeof(want), "net:[%llu]", (unsigned long long)inode);
		if (strcmp(target, want) == 0)
			rc = open_path(ref, path, inode);
	}
	if (list != NULL)
		closedir(list);
	return rc < 0 ? -ENOENT : 0;
}

/* Where the descriptor's namespace is bound, if it is: then /proc shows a path instead of "net:[…]". */
static void find_path(struct netns_ref *ref)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", ref->fd);
	n = readlink(link, ref->path, sizeof(ref->path) - 1);
	ref->path[n > 0 ? n : 0] = '\0';
	if (ref->path[0] != '/' || strncmp(ref->path, "/proc/", 6) == 0)
		ref->path[0] = '\0';
}

int netns_ref_open(struct netns_ref *ref, int fd, const char *path, uint64_t inode)
{
	static const char *const dirs[] = { "/run/netns", "/run/docker/netns" };
	int rc = -ENOENT;

	memset(ref, 0, sizeof(*ref));
	ref->fd = fd;
	if (fd >= 0) {
		rc = identify(fd, &ref->inode);
		if (rc < 0)
			netns_ref_close(ref);
		else
			find_path(ref);
		return rc;
	}
	if (path != NULL)
		rc = open_path(ref, path, inode);
	if (rc == 0 || inode == 0)
		return rc;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (search_bound(ref, dirs[i], inode) == 0)
			return 0;
	return search_processes(ref, inode);
}

bool netns_is_own(const struct netns_ref *ref)
{
	struct stat own, other;

	return stat("/proc/self/ns/net", &own) == 0 && fstat(ref->fd, &other) == 0 &&
		own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

void netns_ref_close(struct netns_ref *ref)
{
	if (ref->fd >= 0)
		close(ref->fd);
	ref->fd = -1;
}
