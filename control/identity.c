/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/instance.h"
#include "datapath/base/addr.h"
#include "datapath/base/log.h"
#include "datapath/table/tunnel.h"

#define FILE_NAME "tunnel-mac"

static int read_mac(int dir, struct rte_ether_addr *mac)
{
	char text[MAC_STRLEN + 1] = "";
	int fd = openat(dir, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return mac_parse(text, mac);
}

/* Written, synced, renamed: there is a whole one or none. */
static int write_mac(int dir, const struct rte_ether_addr *mac)
{
	char text[MAC_STRLEN];
	int fd = openat(dir, FILE_NAME ".new",
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600),
	    rc = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%s\n", mac_format(mac, text)) < 0 || fsync(fd) < 0)
		rc = -errno;
	close(fd);
	if (rc == 0 && (renameat(dir, FILE_NAME ".new", dir, FILE_NAME) < 0 || fsync(dir) < 0))
		rc = -errno;
	return rc;
}

int identity_load(void)
{
	int dir = open(instance.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (dir < 0)
		return -errno;
	rc = read_mac(dir, &tunnel_local_mac);
	if (rc < 0 || !rte_is_unicast_ether_addr(&tunnel_local_mac) ||
		rte_is_zero_ether_addr(&tunnel_local_mac)) {
		if (rc != -ENOENT)
			log_warn("identity",
				"the tunnel MAC was not readable, this node gets a new one");
		rte_eth_random_addr(tunnel_local_mac.addr_bytes);
		rc = write_mac(dir, &tunnel_local_mac);
	}
	close(dir);
	return rc;
}
