/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pmd/err.h"

#define BACKLOG 4

static int address_fill(const char *path, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(out->sun_path))
		return -ENAMETOOLONG;
	strcpy(out->sun_path, path);
	return 0;
}

/* The folder that path lies in; false if it names none. */
static bool dir_of(const char *path, char dir[PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path || (size_t)(slash - path) >= PATH_MAX)
		return false;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return true;
}

int vhost_sock_dir_make(const char *path, bool is_peer_writable,
	const struct vhost_sock_owner *owner, bool *out_is_made, char *errbuf, size_t errlen)
{
	char dir[PATH_MAX];
	int fd, err;

	*out_is_made = false;
	if (!dir_of(path, dir) || access(dir, F_OK) == 0)
		return 0;
	for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(dir, 0755);
		*slash = '/';
	}
	if (mkdir(dir, 0755) != 0) {
		err = -errno;
		return err_set(
			errbuf, errlen, err, "cannot make folder %s: %s", dir, strerror(-err));
	}
	*out_is_made = true;
	if (!is_peer_writable)
		return 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, (uid_t)owner->uid, (gid_t)owner->gid) != 0 ||
		fchmod(fd, 0770) != 0) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		rmdir(dir);
		return err_set(errbuf, errlen, err, "cannot give folder %s to %d:%d: %s", dir,
			owner->uid, owner->gid, strerror(-err));
	}
	close(fd);
	return 0;
}

int vhost_sock_connect_fd(int path_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", path_fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

int vhost_sock_connect(const char *path)
{
	int path_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), ret;
	struct stat st;

	if (path_fd < 0)
		return -errno;
	if (fstat(path_fd, &st) != 0)
		ret = -errno;
	else
		ret = S_ISSOCK(st.st_mode) ? vhost_sock_connect_fd(path_fd) : -ENOTSOCK;
	close(path_fd);
	return ret;
}

/* Makes way for a new socket file. */
static int stale_remove(const char *path, char *errbuf, size_t errlen)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return err_set(errbuf, errlen, -EEXIST, "%s exists and is not a socket", path);
	fd = vhost_sock_connect(path);
	if (fd >= 0 || fd == -EAGAIN) {
		if (fd >= 0)
			close(fd);
		return err_set(errbuf, errlen, -EADDRINUSE, "another process listens on %s", path);
	}
	if (fd != -ECONNREFUSED && fd != -ENOENT)
		return err_set(errbuf, errlen, fd, "cannot look at the socket %s: %s", path,
			strerror(-fd));
	return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

/* Owner and mode of the file that was just bound; through a descriptor, so that a link put there is not followed. */
static int file_own(
	const char *path, const struct vhost_sock_owner *owner, struct vhost_sock_file *out_file)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), ret = 0;
	char link[32];
	struct stat st;

	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) != 0)
		ret = -errno;
	else if (!S_ISSOCK(st.st_mode))
		ret = -EEXIST;
	else if (fchownat(fd, "", (uid_t)owner->uid, (gid_t)owner->gid, AT_EMPTY_PATH) != 0 ||
		chmod(link, owner->mode != 0 ? owner->mode & 0777 : 0660) != 0)
		ret = -errno;
	out_file->dev = st.st_dev;
	out_file->ino = st.st_ino;
	close(fd);
	return ret;
}

int vhost_sock_listen(const char *path, const struct vhost_sock_owner *owner,
	struct vhost_sock_file *out_file, char *errbuf, size_t errlen)
{
	struct sockaddr_un address;
	int fd, ret;

	if (address_fill(path, &address) != 0)
		return err_set(errbuf, errlen, -ENAMETOOLONG,
			"socket path %s is longer than %zu characters", path,
			sizeof(address.sun_path) - 1);
	ret = stale_remove(path, errbuf, errlen);
	if (ret != 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ret = -errno;
		return err_set(errbuf, errlen, ret, "cannot make a socket: %s", strerror(-ret));
	}
	/* Nobody may connect before owner and mode are set: until listen() nobody can. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		ret = -errno;
		close(fd);
		return err_set(errbuf, errlen, ret, "cannot bind %s: %s", path, strerror(-ret));
	}
	ret = file_own(path, owner, out_file);
	if (ret == 0 && listen(fd, BACKLOG) != 0)
		ret = -errno;
	if (ret != 0) {
		unlink(path);
		close(fd);
		return err_set(errbuf, errlen, ret, "cannot set up the socket %s: %s", path,
			strerror(-ret));
	}
	return fd;
}

void vhost_sock_remove(const char *path, const struct vhost_sock_file *file)
{
	char dir[PATH_MAX];
	struct stat st;

	if (file->ino != 0 && lstat(path, &st) == 0 && st.st_dev == file->dev &&
		st.st_ino == file->ino)
		unlink(path);
	if (file->is_dir_made && dir_of(path, dir))
		rmdir(dir);
}
