/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "datapath/base/log.h"
#include "pmd/netlink_codec.h"

#define BUF_BYTES 32768

struct nl {
	struct mnl_socket *sock;
	uint32_t seq;
	unsigned int port_id;
	char error[160];
	char *buf;
};

int netns_enter(int netns_fd)
{
	int saved, err;

	if (netns_fd < 0)
		return INT_MAX;
	saved = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (saved < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET) < 0) {
		err = -errno;
		close(saved);
		return err;
	}
	return saved;
}

void netns_leave(int saved)
{
	if (saved < 0 || saved == INT_MAX)
		return;
	if (setns(saved, CLONE_NEWNET) < 0) {
		/* Going on in a pod's namespace would mix its network with ours. */
		log_err("netns", "cannot return to the own namespace: %s", strerror(errno));
		_exit(70);
	}
	close(saved);
}

struct nl *nl_open(int netns_fd, int *out_err)
{
	struct nl *nl = calloc(1, sizeof(*nl));
	int saved, on = 1;

	*out_err = -ENOMEM;
	if (nl == NULL)
		return NULL;
	nl->buf = malloc(BUF_BYTES);
	if (nl->buf == NULL)
		goto err_free;
	saved = netns_enter(netns_fd);
	if (saved < 0) {
		*out_err = saved;
		goto err_free;
	}
	nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	*out_err = -errno;
	netns_leave(saved);
	if (nl->sock == NULL)
		goto err_free;
	mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(nl->sock, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		*out_err = -errno;
		mnl_socket_close(nl->sock);
		goto err_free;
	}
	nl->port_id = mnl_socket_get_portid(nl->sock);
	nl->seq = (uint32_t)time(NULL);
	*out_err = 0;
	return nl;

err_free:
	free(nl->buf);
	free(nl);
	return NULL;
}

void nl_close(struct nl *nl)
{
	if (nl == NULL)
		return;
	mnl_socket_close(nl->sock);
	free(nl->buf);
	free(nl);
}

const char *nl_error(const struct nl *nl)
{
	return nl->error;
}

static int ack_attr_cb(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		*(const char **)data = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

/* The kernel's words in an extended acknowledgement, or NULL. */
static const char *ack_text(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	const char *text = NULL;
	unsigned int offset = sizeof(*err);

	if ((nlh->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return NULL;
	if ((nlh->nlmsg_flags & NLM_F_CAPPED) == 0)
		offset += mnl_nlmsg_get_payload_len(&err->msg);
	if (mnl_nlmsg_get_payload_len(nlh) < offset)
		return NULL;
	mnl_attr_parse(nlh, offset, ack_attr_cb, &text);
	return text;
}

/* Sends the message and hands each answer to cb until the acknowledgement or the end of the dump. */
static int nl_talk(struct nl *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	int ret = MNL_CB_OK;

	nl->error[0] = '\0';
	/* of the two bits of NLM_F_DUMP one alone means "exclusive" or "replace" */
	nlh->nlmsg_flags |= NLM_F_REQUEST |
		((nlh->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP ? NLM_F_ACK : 0);
	nlh->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0)
		goto err_errno;
	while (ret == MNL_CB_OK) {
		ssize_t n = mnl_socket_recvfrom(nl->sock, nl->buf, BUF_BYTES);
		struct nlmsghdr *answer = (struct nlmsghdr *)nl->buf;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto err_errno;
		if (mnl_nlmsg_ok(answer, (int)n) && answer->nlmsg_type == NLMSG_ERROR &&
			answer->nlmsg_seq == nl->seq) {
			const char *text = ack_text(answer);

			if (text != NULL)
				snprintf(nl->error, sizeof(nl->error), "%s", text);
		}
		errno = 0;
		ret = mnl_cb_run(nl->buf, (size_t)n, nl->seq, nl->port_id, cb, arg);
	}
	if (ret == MNL_CB_STOP)
		return 0;

err_errno:
	ret = errno != 0 ? -errno : -EIO;
	if (nl->error[0] == '\0')
		snprintf(nl->error, sizeof(nl->error), "%s", strerror(-ret));
	return ret;
}

/* --- links --- */

static int link_get(struct nl *nl, const char *name, int ifindex, struct nl_link *out)
{
	char buf[MNL_NLMSG_HDRLEN + 512] __rte_aligned(8);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = ifindex;
	if (name != NULL) {
		if (strlen(name) >= IFNAMSIZ)
			return -EINVAL;
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	}
	memset(out, 0, sizeof(*out));
	return nl_talk(nl, nlh, nlc_link_cb, out);
}

int nl_link_get(struct nl *nl, const char *name, struct nl_link *out)
{
	return link_get(nl, name, 0, out);
}

int nl_link_get_by_index(struct nl *nl, int ifindex, struct nl_link *out)
{
	return link_get(nl, NULL, ifindex, out);
}

int nl_link_change(struct nl *nl, int ifindex, const struct nl_link_change *change)
{
	char buf[MNL_NLMSG_HDRLEN + 512] __rte_aligned(8);

	if (change->name != NULL && (change->name[0] == '\0' || strlen(change->name) >= IFNAMSIZ))
		return -EINVAL;
	return nl_talk(nl, nlc_link_change(buf, ifindex, change), NULL, NULL);
}

int nl_link_del(struct nl *nl, int ifindex)
{
	char buf[MNL_NLMSG_HDRLEN + 64] __rte_aligned(8);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_DELLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = ifindex;
	return nl_talk(nl, nlh, NULL, NULL);
}

/* --- addresses --- */

static int addr_send(struct nl *nl, uint16_t type, uint16_t flags, int ifindex,
	const struct ip_addr *addr, uint8_t len)
{
	char buf[MNL_NLMSG_HDRLEN + 128] __rte_aligned(8);
	struct nlmsghdr *nlh = nlc_addr(buf, type, ifindex, addr, len);

	nlh->nlmsg_flags = flags;
	return nl_talk(nl, nlh, NULL, NULL);
}

int nl_addr_add(struct nl *nl, int ifindex, const struct ip_addr *addr, uint8_t len)
{
	return addr_send(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr, len);
}

int nl_addr_del(struct nl *nl, int ifindex, const struct ip_addr *addr, uint8_t len)
{
	return addr_send(nl, RTM_DELADDR, 0, ifindex, addr, len);
}

struct addr_list {
	int ifindex, ret;
	int (*fn)(const struct nl_addr *addr, void *arg);
	void *arg;
};

static int addr_list_cb(const struct nlmsghdr *nlh, void *data)
{
	struct addr_list *list = data;
	struct nl_addr addr;

	if (list->ret != 0 || nlc_addr_parse(nlh, &addr) < 0)
		return MNL_CB_OK; /* the rest of the dump is read and not looked at */
	if (list->ifindex == 0 || list->ifindex == addr.ifindex)
		list->ret = list->fn(&addr, list->arg);
	return MNL_CB_OK;
}

int nl_addr_list(
	struct nl *nl, int ifindex, int (*fn)(const struct nl_addr *addr, void *arg), void *arg)
{
	struct addr_list list = { .ifindex = ifindex, .fn = fn, .arg = arg };
	char buf[MNL_NLMSG_HDRLEN + 64] __rte_aligned(8);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa;
	int ret;

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = AF_UNSPEC;
	ret = nl_talk(nl, nlh, addr_list_cb, &list);
	return ret < 0 ? ret : list.ret;
}

/* --- routes --- */

static int route_send(struct nl *nl, const struct nl_route *route, uint16_t flags)
{
	char buf[MNL_NLMSG_HDRLEN + 256] __rte_aligned(8);
	struct nlmsghdr *nlh = nlc_route(buf, RTM_NEWROUTE, route);

	nlh->nlmsg_flags = flags;
	return nl_talk(nl, nlh, NULL, NULL);
}

int nl_route_put(struct nl *nl, const struct nl_route *route)
{
	return route_send(nl, route, NLM_F_CREATE | NLM_F_REPLACE);
}

int nl_route_add(struct nl *nl, const struct nl_route *route)
{
	return route_send(nl, route, NLM_F_CREATE | NLM_F_EXCL);
}

int nl_route_del(struct nl *nl, const struct nl_route *route)
{
	char buf[MNL_NLMSG_HDRLEN + 256] __rte_aligned(8);

	return nl_talk(nl, nlc_route(buf, RTM_DELROUTE, route), NULL, NULL);
}

struct route_list {
	int ret;
	int (*fn)(const struct nl_route *route, void *arg);
	void *arg;
};

static int route_list_cb(const struct nlmsghdr *nlh, void *data)
{
	struct route_list *list = data;
	struct nl_route route;

	if (list->ret == 0 && nlc_route_parse(nlh, &route) == 0)
		list->ret = list->fn(&route, list->arg);
	return MNL_CB_OK;
}

int nl_route_list(struct nl *nl, int (*fn)(const struct nl_route *route, void *arg), void *arg)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct route_list list = { .fn = fn, .arg = arg };

	for (size_t i = 0; i < sizeof(families) && list.ret == 0; i++) {
		char buf[MNL_NLMSG_HDRLEN + 64] __rte_aligned(8);
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
		struct rtmsg *rtm;
		int ret;

		nlh->nlmsg_type = RTM_GETROUTE;
		nlh->nlmsg_flags = NLM_F_DUMP;
		rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
		rtm->rtm_family = families[i];
		ret = nl_talk(nl, nlh, route_list_cb, &list);
		if (ret < 0)
			return ret;
	}
	return list.ret;
}

int nl_neigh_add(
	struct nl *nl, int ifindex, const struct ip_addr *addr, const struct rte_ether_addr *mac)
{
	char buf[MNL_NLMSG_HDRLEN + 128] __rte_aligned(8);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *ndm;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = ip_is_v4(addr) ? AF_INET : AF_INET6;
	ndm->ndm_state = NUD_PERMANENT;
	ndm->ndm_ifindex = ifindex;
	nlc_put_ip(nlh, NDA_DST, addr);
	mnl_attr_put(nlh, NDA_LLADDR, sizeof(*mac), mac);
	return nl_talk(nl, nlh, NULL, NULL);
}

int nl_sysctl_write(int netns_fd, const char *name, const char *value)
{
	int saved, fd, ret = 0;
	char path[256];

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	saved = netns_enter(netns_fd);
	if (saved < 0)
		return saved;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	netns_leave(saved);
	return ret;
}
