/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets of pods. The folder of a pod's socket may be writable for the pod, so nothing here follows a link
 * that it could put there. Control thread.
 */
#ifndef LEAT_PMD_VHOST_SOCK_H
#define LEAT_PMD_VHOST_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vhost_sock_owner {
	int32_t uid, gid; /* -1: leave */
	uint32_t mode;	  /* 0: 0660 */
};

/* Which file a listening socket is, to remove that one only. */
struct vhost_sock_file {
	dev_t dev;
	ino_t ino;
	bool is_dir_made; /* the folder was made for it */
};

/* Makes the folder of path if it is not there. is_peer_writable: the peer will create its socket in it (then it is
 * given to owner). 0 (*out_is_made says whether it was made) or -errno with a sentence. */
int vhost_sock_dir_make(const char *path, bool is_peer_writable,
	const struct vhost_sock_owner *owner, bool *out_is_made, char *errbuf, size_t errlen);

/* A listening, non-blocking socket at path with owner and mode. A socket file that nobody listens on any more is
 * replaced; anything else in the way is -EEXIST or, when somebody listens, -EADDRINUSE. Descriptor or -errno
 * with a sentence. */
int vhost_sock_listen(const char *path, const struct vhost_sock_owner *owner,
	struct vhost_sock_file *out_file, char *errbuf, size_t errlen);

/* Removes the socket file if it is still the one of vhost_sock_listen(), and the folder if it was made and is empty. */
void vhost_sock_remove(const char *path, const struct vhost_sock_file *file);

/* A non-blocking connection to the socket at path, not through a link: a pod could point one at another pod's socket.
 * Descriptor, or -errno (nobody listens: -ECONNREFUSED, -ENOENT). Never blocks. */
int vhost_sock_connect(const char *path);

/* Same by an O_PATH descriptor of the socket file. */
int vhost_sock_connect_fd(int path_fd);

#endif
