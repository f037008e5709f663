/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/link_monitor.h"

#include <errno.h>
#include <stdlib.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "pmd/netlink_codec.h"

#define BUF_BYTES 32768
#define RCVBUF_BYTES (1 << 20)
#define MESSAGES_MAX 64 /* a run: the loop has others to serve */

struct link_monitor {
	struct link_monitor_config cfg;
	struct mnl_socket *sock;
	char buf[BUF_BYTES] __rte_aligned(8);
};

struct link_monitor *link_monitor_open(const struct link_monitor_config *cfg, int *out_err)
{
	struct link_monitor *m = calloc(1, sizeof(*m));
	int group = RTNLGRP_LINK, rcvbuf = RCVBUF_BYTES;

	*out_err = -ENOMEM;
	if (m == NULL)
		return NULL;
	m->cfg = *cfg;
	m->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (m->sock == NULL)
		goto err_free;
	(void)setsockopt(
		mnl_socket_get_fd(m->sock), SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf));
	if (mnl_socket_bind(m->sock, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_setsockopt(m->sock, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		goto err_close;
	*out_err = 0;
	return m;

err_close:
	*out_err = -errno;
	mnl_socket_close(m->sock);
	free(m);
	return NULL;
err_free:
	*out_err = -errno;
	free(m);
	return NULL;
}

void link_monitor_close(struct link_monitor *m)
{
	if (m == NULL)
		return;
	mnl_socket_close(m->sock);
	free(m);
}

int link_monitor_fd(const struct link_monitor *m)
{
	return mnl_socket_get_fd(m->sock);
}

static int message_cb(const struct nlmsghdr *nlh, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	struct link_monitor *m = data;
	struct nl_link link = { 0 };

	if (nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
		return MNL_CB_OK;
	/* A bridge tells of its ports in its own family: a port that leaves it has not gone. */
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	if (nlc_link_parse(nlh, &link) == 0)
		m->cfg.changed(&link, nlh->nlmsg_type == RTM_DELLINK, m->cfg.arg);
	return MNL_CB_OK;
}

int link_monitor_run(struct link_monitor *m)
{
	for (int i = 0; i < MESSAGES_MAX; i++) {
		ssize_t n = mnl_socket_recvfrom(m->sock, m->buf, sizeof(m->buf));

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			m->cfg.lost(m->cfg.arg);
			continue;
		}
		if (n < 0)
			return -errno;
		mnl_cb_run(m->buf, (size_t)n, 0, 0, message_cb, m);
	}
	return 0;
}
