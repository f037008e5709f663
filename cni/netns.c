/* SPDX-License-Identifier: BSD-3-Clause */
#include "cni/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define RTF_UP 0x1u

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

/* One line of /proc/net/route or ipv6_route as destination and device. false: not a route that is up. */
static bool parse_route(const char *line, bool is_v6, struct cni_addr *dst, char ifname[IFNAMSIZ])
{
	unsigned int addr, mask, flags, len;
	char hex[33];

	memset(dst, 0, sizeof(*dst));
	dst->is_v6 = is_v6;
	if (!is_v6) {
		if (sscanf(line, "%15s %x %*x %x %*d %*u %*d %x", ifname, &addr, &flags, &mask) !=
			4)
			return false;
		memcpy(dst->bytes, &addr, 4); /* the kernel prints the word as it lies in memory */
		dst->len = (uint8_t)__builtin_popcount(mask);
		return (flags & RTF_UP) != 0;
	}
	if (sscanf(line, "%32s %x %*s %*s %*s %*x %*x %*x %x %15s", hex, &len, &flags, ifname) !=
			4 ||
		strlen(hex) != 32)
		return false;
	for (int i = 0; i < 16; i++)
		dst->bytes[i] = (uint8_t)strtoul(
			(char[]){ hex[2 * i], hex[2 * i + 1], '\0' }, NULL, 16);
	dst->len = (uint8_t)len;
	return (flags & RTF_UP) != 0;
}

static bool has_route(const struct cni_addr *dst, const char *ifname)
{
	FILE *file = fopen(
		dst->is_v6 ? "/proc/thread-self/net/ipv6_route" : "/proc/thread-self/net/route",
		"re");
	char line[512], dev[IFNAMSIZ];
	struct cni_addr route;
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = parse_route(line, dst->is_v6, &route, dev) && strcmp(dev, ifname) == 0 &&
			route.len == dst->len && cni_addr_same_ip(&route, dst);
	fclose(file);
	return found;
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
