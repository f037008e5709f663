/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/core_claim.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "datapath/base/log.h"

/* An abstract socket: it goes with its process, and leaves no file behind. */
static socklen_t claim_address(unsigned int core, struct sockaddr_un *out)
{
	int len;

	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	len = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "leat-core-%u", core);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

/* Process that claimed the core, 0: unknown. */
static int claimant(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred = { 0 };
	socklen_t size = sizeof(cred);

	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)addr, len) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		cred.pid = 0;
	close(fd);
	return cred.pid;
}

void core_claim(const unsigned int *cores, unsigned int n_cores)
{
	for (unsigned int i = 0; i < n_cores; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct sockaddr_un addr;
		socklen_t len = claim_address(cores[i], &addr);

		if (fd < 0)
			return;
		if (bind(fd, (const struct sockaddr *)&addr, len) == 0 &&
			listen(fd, SOMAXCONN) == 0)
			continue; /* kept open: the claim; who asks stays in the backlog */
		if (errno == EADDRINUSE)
			log_warn("leatd",
				"core %u is busy: another leatd has a worker there, both get "
				"slower pid=%d",
				cores[i], claimant(&addr, len));
		close(fd);
	}
}
