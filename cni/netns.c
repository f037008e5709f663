/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

int cni_netns_open(const char *path, struct cni_error *err)
{
	struct stat own, st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cni_fail(err, CNI_ERR_ENV,
			"environment variable CNI_NETNS: cannot open '%.256s': %s", path,
			strerror(errno));
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		close(fd);
		return cni_fail(err, CNI_ERR_ENV,
			"environment variable CNI_NETNS: '%.256s' is not a network namespace",
			path);
	}
	if (fstat(fd, &st) == 0 && stat("/proc/self/ns/net", &own) == 0 &&
		st.st_ino == own.st_ino && st.st_dev == own.st_dev) {
		close(fd);
		return cni_fail(err, CNI_ERR_ENV,
			"environment variable CNI_NETNS: '%.256s' is the plugin's own network "
			"namespace",
			path);
	}
	return fd;
}

static bool is_address(const struct ifaddrs *ifa, const struct cni_addr *ip)
{
	const struct sockaddr *sa = ifa->ifa_addr;

	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET && !ip->is_v6)
		return memcmp(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, ip->bytes,
			       4) == 0;
	if (sa->sa_family == AF_INET6 && ip->is_v6)
		return memcmp(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
			       ip->bytes, 16) == 0;
	return false;
}

static uint32_t link_mtu(const char *ifname)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_mtu = 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request) < 0)
		request.ifr_mtu = 0;
	if (fd >= 0)
		close(fd);
	return (uint32_t)request.ifr_mtu;
}

static int check_link(
	const struct ifaddrs *list, const struct cni_expected *expected, struct cni_error *err)
{
	const struct sockaddr_ll *ll;
	uint8_t mac[6];

	while (list != NULL &&
		(strcmp(list->ifa_name, expected->ifname) != 0 || list->ifa_addr == NULL ||
			list->ifa_addr->sa_family != AF_PACKET))
		list = list->ifa_next;
	if (list == NULL)
		return cni_fail(err, CNI_ERR_STATE, "interface %s is missing", expected->ifname);
	if ((list->ifa_flags & IFF_UP) == 0)
		return cni_fail(err, CNI_ERR_STATE, "interface %s is down", expected->ifname);
	if (expected->mtu != 0 && link_mtu(expected->ifname) > expected->mtu)
		return cni_fail(err, CNI_ERR_STATE, "interface %s has MTU %u, prevResult has %u",
			expected->ifname, link_mtu(expected->ifname), expected->mtu);
	ll = (const struct sockaddr_ll *)(const void *)list->ifa_addr;
	if (expected->mac != NULL && cni_mac_parse(expected->mac, mac) == 0 &&
		(ll->sll_halen != 6 || memcmp(ll->sll_addr, mac, 6) != 0))
		return cni_fail(err, CNI_ERR_STATE, "interface %s has another MAC address than %s",
			expected->ifname, expected->mac);
	return 0;
}

static int check_addresses(
	const struct ifaddrs *list, const struct cni_expected *expected, struct cni_error *err)
{
	for (unsigned int i = 0; i < expected->n_ips; i++) {
		const struct ifaddrs *ifa = list;
		char text[CNI_ADDR_STRLEN];

		while (ifa != NULL &&
			(strcmp(ifa->ifa_name, expected->ifname) != 0 ||
				!is_address(ifa, &expected->ips[i])))
			ifa = ifa->ifa_next;
		if (ifa == NULL)
			return cni_fail(err, CNI_ERR_STATE, "address %s is missing on %s",
				cni_addr_format(&expected->ips[i], text), expected->ifname);
	}
	return 0;
}

/* Whether a message of a dump is the route. The plugin sbr moves an interface's routes to a table of its own, or leaves there
 * only a default one. */
static bool is_route(const struct nlmsghdr *msg, const struct cni_addr *dst, unsigned int ifindex)
{
	const struct rtmsg *rtm = NLMSG_DATA(msg);
	int len = (int)RTM_PAYLOAD(msg);
	bool is_dst = rtm->rtm_dst_len == 0, is_link = false;
	bool is_whole = rtm->rtm_table != RT_TABLE_MAIN && rtm->rtm_dst_len == 0;

	if (msg->nlmsg_type != RTM_NEWROUTE || rtm->rtm_table == RT_TABLE_LOCAL ||
		(rtm->rtm_dst_len != dst->len && !is_whole))
		return false;
	for (const struct rtattr *a = RTM_RTA(rtm); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
		size_t size = RTA_PAYLOAD(a);

		if (a->rta_type == RTA_DST && size == (dst->is_v6 ? 16 : 4))
			is_dst = memcmp(RTA_DATA(a), dst->bytes, size) == 0;
		if (a->rta_type == RTA_OIF && size == sizeof(ifindex))
			is_link = memcmp(RTA_DATA(a), &ifindex, sizeof(ifindex)) == 0;
	}
	return is_dst && is_link;
}

/* Reads a dump to its end. 1: the route is there, 0: it is not, or -errno. */
static int find_route(int fd, const struct cni_addr *dst, unsigned int ifindex)
{
	_Alignas(struct nlmsghdr) char buf[32768];
	int found = 0;

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		unsigned int len = n > 0 ? (unsigned int)n : 0;

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (const struct nlmsghdr *msg = (const void *)buf; NLMSG_OK(msg, len);
			msg = NLMSG_NEXT(msg, len)) {
			if (msg->nlmsg_type == NLMSG_DONE || msg->nlmsg_type == NLMSG_ERROR)
				return found;
			if (is_route(msg, dst, ifindex))
				found = 1;
		}
	}
}

static bool has_route(const struct cni_addr *dst, const char *ifname)
{
	const struct {
		struct nlmsghdr msg;
		struct rtmsg rtm;
	} request = {
		.msg = { .nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.rtm = { .rtm_family = dst->is_v6 ? AF_INET6 : AF_INET },
	};
	int found = 0, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return false;
	if (send(fd, &request, sizeof(request), 0) == sizeof(request))
		found = find_route(fd, dst, if_nametoindex(ifname));
	close(fd);
	return found == 1;
}

int cni_netns_check(int netns_fd, const struct cni_expected *expected, struct cni_error *err)
{
	struct ifaddrs *list;
	int rc;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return cni_fail(
			err, CNI_ERR_IO, "cannot enter the network namespace: %s", strerror(errno));
	if (getifaddrs(&list) < 0)
		return cni_fail(err, CNI_ERR_IO, "cannot list addresses: %s", strerror(errno));
	rc = check_link(list, expected, err);
	if (rc == 0)
		rc = check_addresses(list, expected, err);
	freeifaddrs(list);
	for (unsigned int i = 0; rc == 0 && i < expected->n_routes; i++) {
		char text[CNI_ADDR_STRLEN];

		if (!has_route(&expected->routes[i], expected->ifname))
			rc = cni_fail(err, CNI_ERR_STATE, "route to %s/%u is missing on %s",
				cni_addr_format(&expected->routes[i], text),
				expected->routes[i].len, expected->ifname);
	}
	return rc;
}
