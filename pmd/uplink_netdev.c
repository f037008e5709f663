/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/uplink_netdev.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "datapath/base/log.h"
#include "datapath/pipeline/port.h"
#include "pmd/err.h"
#include "pmd/netlink.h"
#include "pmd/nft_drop.h"

#define FDS_MAX 65536
/* Packet ring frame: header of TPACKET_V2 with its alignment, Ethernet header, VLAN tag. */
#define FRAME_EXTRA 128
#define DEFAULT_FRAMES 1024

struct uplink_netdev {
	char ifname[IFNAMSIZ];
	int ifindex;
	uint32_t old_mtu;
	uint16_t mtu, n_queues;
	struct rte_ether_addr mac;
	bool has_rule, had_rule, had_gro, was_down;
	bool takes_superframes; /* the sockets do: receive merging stays on */
	int rx_fds[PORT_QUEUES_MAX];
	uint8_t known_fds[FDS_MAX / 8]; /* packet sockets that were there before the driver's */
};

/* The value of "key=" in a device string; false if it is not there or does not fit. */
static bool devarg_get(const char *device, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key);

	for (const char *c = strchr(device, ','); c != NULL; c = strchr(c, ',')) {
		c++;
		if (strncmp(c, key, key_len) == 0 && c[key_len] == '=') {
			size_t n = strcspn(&c[key_len + 1], ",");

			if (n >= size)
				return false;
			memcpy(out, &c[key_len + 1], n);
			out[n] = '\0';
			return true;
		}
	}
	return false;
}

/* Whether the descriptor is a packet socket bound to the interface. */
static bool fd_is_packet_socket(int fd, int ifindex)
{
	struct sockaddr_ll sll;
	socklen_t len = sizeof(sll);
	int domain = 0;
	socklen_t domain_len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0 || domain != AF_PACKET)
		return false;
	return getsockname(fd, (struct sockaddr *)&sll, &len) == 0 && sll.sll_ifindex == ifindex;
}

static void fds_scan(struct uplink_netdev *u, void (*fn)(struct uplink_netdev *u, int fd))
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd < FDS_MAX && fd_is_packet_socket(fd, u->ifindex))
			fn(u, fd);
	}
	closedir(dir);
}

static void fd_remember(struct uplink_netdev *u, int fd)
{
	u->known_fds[fd / 8] |= (uint8_t)(1u << (fd % 8));
}

/* The driver opens one socket a queue, in order: keep them sorted. */
static void fd_take(struct uplink_netdev *u, int fd)
{
	if ((u->known_fds[fd / 8] & (1u << (fd % 8))) != 0)
		return;
	for (uint16_t q = 0; q < u->n_queues; q++) {
		if (u->rx_fds[q] < 0 || fd < u->rx_fds[q]) {
			int other = u->rx_fds[q];

			u->rx_fds[q] = fd;
			if (other < 0)
				return;
			fd = other;
		}
	}
}

static int address_refuse(const struct nl_addr *addr, void *arg)
{
	if (addr->scope != 0) /* link-local and host addresses take no traffic away */
		return 0;
	*(struct nl_addr *)arg = *addr;
	return -EADDRINUSE;
}

static int ethtool_get(const char *ifname, uint32_t cmd, uint32_t *out)
{
	struct ethtool_value value = { .cmd = cmd };
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	ifr.ifr_data = (void *)&value;
	ret = ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
	close(fd);
	*out = value.data;
	return ret;
}

static int ethtool_set(const char *ifname, uint32_t cmd, uint32_t data)
{
	struct ethtool_value value = { .cmd = cmd, .data = data };
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	ifr.ifr_data = (void *)&value;
	ret = ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The driver copies at most a frame and knows nothing of unfinished checksums: a kernel at the other end of a veth
 * pair has to finish its packets itself. */
static void peer_check(struct nl *nl, const struct nl_link *link)
{
	struct nl_link peer;
	uint32_t is_on = 0;

	if (strcmp(link->kind, "veth") != 0)
		return;
	if (link->is_peer_elsewhere || nl_link_get_by_index(nl, link->peer_ifindex, &peer) < 0) {
		log_info(link->name,
			"veth peer is in another namespace: if a kernel sends through it, turn its "
			"offloads off there: "
			"ethtool -K PEER tx off tso off gso off");
		return;
	}
	if (ethtool_get(peer.name, ETHTOOL_GTXCSUM, &is_on) == 0 && is_on != 0)
		log_warn(link->name,
			"veth peer leaves checksums and segments unfinished; if its kernel sends "
			"itself: "
			"ethtool -K %s tx off tso off gso off",
			peer.name);
}

static int devargs_complete(const struct uplink_netdev *u, const char *device, uint16_t n_desc,
	char *devargs, size_t size, char *errbuf, size_t errlen)
{
	/* Blocks are whole pages, and the driver takes frames to be contiguous across them. */
	uint32_t frame = RTE_ALIGN_CEIL(u->mtu + FRAME_EXTRA, 2048u), block = frame * 2;
	uint32_t n_frames = n_desc != 0 ? n_desc : DEFAULT_FRAMES;
	char ignored[64];
	int n;

	if (devarg_get(device, "framesz", ignored, sizeof(ignored)))
		n = snprintf(devargs, size, "%s", device);
	else
		n = snprintf(devargs, size, "%s,framesz=%u,blocksz=%u,framecnt=%u", device, frame,
			block, n_frames / 2 * 2);
	if (n > 0 && (size_t)n < size && u->n_queues > 1 &&
		!devarg_get(device, "qpairs", ignored, sizeof(ignored)))
		n += snprintf(&devargs[n], size - (size_t)n, ",qpairs=%u", u->n_queues);
	if (n < 0 || (size_t)n >= size)
		return err_set(errbuf, errlen, -EINVAL, "device string is too long");
	return 0;
}

/* Drop rule first, so that the kernel answers nothing in between; up before the driver binds its sockets, which would
 * else start with ENETDOWN pending. */
static int device_prepare(struct uplink_netdev *u, struct nl *nl, char *errbuf, size_t errlen)
{
	struct nl_link_change change = { .up = 1, .mtu = u->mtu != u->old_mtu ? u->mtu : 0 };
	uint32_t is_on = 0;
	int ret;

	u->had_rule = nft_drop_is_there(u->ifname) == 1;
	ret = nft_drop_add(u->ifname);
	if (ret < 0)
		return err_set(errbuf, errlen, ret,
			"the kernel's own reception on '%s' cannot be turned off (nftables, netdev "
			"family): %s",
			u->ifname, strerror(-ret));
	u->has_rule = true;
	ret = nl_link_change(nl, u->ifindex, &change);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "'%s' cannot be set up with MTU %u: %s",
			u->ifname, u->mtu, nl_error(nl));
	if (!u->takes_superframes && ethtool_get(u->ifname, ETHTOOL_GGRO, &is_on) == 0 &&
		is_on != 0)
		u->had_gro = ethtool_set(u->ifname, ETHTOOL_SGRO, 0) == 0;
	return 0;
}

bool uplink_netdev_is_packet(const char *device)
{
	static const char *const ring_keys[] = { "framesz", "blocksz", "framecnt", "qdisc_bypass",
		"qpairs" };
	char value[64];

	if (device == NULL || strncmp(device, "net_af_packet", 13) != 0)
		return false;
	for (size_t i = 0; i < sizeof(ring_keys) / sizeof(ring_keys[0]); i++)
		if (devarg_get(device, ring_keys[i], value, sizeof(value)))
			return false;
	return true;
}

bool uplink_netdev_iface(const char *device, char ifname[IFNAMSIZ])
{
	return device != NULL && devarg_get(device, "iface", ifname, IFNAMSIZ);
}

const char *uplink_netdev_ifname(const struct uplink_netdev *u)
{
	return u->ifname;
}

int uplink_netdev_ifindex(const struct uplink_netdev *u)
{
	return u->ifindex;
}

bool uplink_netdev_was_ours(const struct uplink_netdev *u)
{
	return u != NULL && u->had_rule;
}

bool uplink_netdev_is_running(const struct uplink_netdev *u, int fd)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", u->ifname);
	return ioctl(fd, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_RUNNING) != 0;
}

struct rte_ether_addr uplink_netdev_mac(const struct uplink_netdev *u)
{
	return u->mac;
}

int uplink_netdev_open(const char *device, uint16_t mtu, uint16_t n_queues, uint16_t n_desc,
	char *devargs, size_t devargs_size, struct uplink_netdev **out, char *errbuf, size_t errlen)
{
	char text[IP_ADDR_STRLEN];
	struct uplink_netdev *u;
	struct nl_link link;
	struct nl_addr addr;
	struct nl *nl;
	int ret;

	*out = NULL;
	if (strncmp(device, "net_af_packet", 13) != 0) {
		if ((size_t)snprintf(devargs, devargs_size, "%s", device) >= devargs_size)
			return err_set(errbuf, errlen, -EINVAL, "device string is too long");
		return 0;
	}
	u = calloc(1, sizeof(*u));
	nl = nl_open(-1, &ret);
	if (u == NULL || nl == NULL) {
		ret = ret < 0 ? ret : -ENOMEM;
		err_set(errbuf, errlen, ret, "no memory or netlink socket for an uplink");
		goto out;
	}
	ret = -EINVAL;
	if (!devarg_get(device, "iface", u->ifname, sizeof(u->ifname))) {
		err_set(errbuf, errlen, ret,
			"device '%s' names no interface: net_af_packet0,iface=eth1", device);
		goto out;
	}
	ret = nl_link_get(nl, u->ifname, &link);
	if (ret < 0) {
		err_set(errbuf, errlen, ret, "interface '%s' is not there: %s", u->ifname,
			nl_error(nl));
		goto out;
	}
	if ((link.flags & IFF_LOOPBACK) != 0) {
		ret = -EINVAL;
		err_set(errbuf, errlen, ret,
			"interface '%s' is the loopback: leatd would cut this node off from itself",
			u->ifname);
		goto out;
	}
	ret = nl_addr_list(nl, link.ifindex, address_refuse, &addr);
	if (ret < 0) {
		err_set(errbuf, errlen, ret,
			"interface '%s' carries the address %s/%u: leatd would cut this node off "
			"from it; give the address "
			"to the uplink port and the host port, and remove it: ip address del %s/%u "
			"dev %s",
			u->ifname, ip_format(&addr.addr, text), addr.len, text, addr.len,
			u->ifname);
		goto out;
	}
	u->takes_superframes = devargs == NULL;
	if (!u->takes_superframes)
		peer_check(nl, &link);
	else if (strcmp(link.kind, "veth") == 0)
		log_info(u->ifname,
			"veth: a kernel at the other end that sends VXLAN or Geneve itself must "
			"cut its "
			"super-frames: ethtool -K PEER tx-udp_tnl-segmentation off "
			"tx-udp_tnl-csum-segmentation off");
	u->mac = link.mac;
	u->ifindex = link.ifindex;
	u->old_mtu = link.mtu;
	u->was_down = (link.flags & IFF_UP) == 0;
	u->mtu = mtu;
	u->n_queues = n_queues;
	memset(u->rx_fds, -1, sizeof(u->rx_fds));
	fds_scan(u, fd_remember);
	ret = u->takes_superframes
		? 0
		: devargs_complete(u, device, n_desc, devargs, devargs_size, errbuf, errlen);
	if (ret == 0)
		ret = device_prepare(u, nl, errbuf, errlen);
	if (ret == 0) {
		*out = u;
		u = NULL;
	}
out:
	nl_close(nl);
	uplink_netdev_close(u, uplink_netdev_was_ours(u));
	return ret;
}

void uplink_netdev_take(struct uplink_netdev *u)
{
	int err;
	socklen_t len = sizeof(err);

	fds_scan(u, fd_take);
	/* reading a pending error clears it */
	for (uint16_t q = 0; q < u->n_queues; q++)
		if (u->rx_fds[q] >= 0)
			(void)getsockopt(u->rx_fds[q], SOL_SOCKET, SO_ERROR, &err, &len);
}

int uplink_netdev_rx_fd(const struct uplink_netdev *u, uint16_t queue)
{
	return u->rx_fds[queue];
}

void uplink_netdev_close(struct uplink_netdev *u, bool keep)
{
	struct nl *nl;
	int ret;

	if (u == NULL)
		return;
	if (!keep && u->has_rule) {
		struct nl_link_change change = { .up = u->was_down ? 0 : -1,
			.mtu = u->old_mtu != u->mtu ? u->old_mtu : 0 };

		ret = nft_drop_del(u->ifname);
		if (ret < 0 && ret != -ENOENT)
			log_warn(u->ifname, "drop rule cannot be removed: %s", strerror(-ret));
		if (u->had_gro)
			ethtool_set(u->ifname, ETHTOOL_SGRO, 1);
		nl = nl_open(-1, &ret);
		if (nl != NULL && (change.up >= 0 || change.mtu != 0))
			nl_link_change(nl, u->ifindex, &change);
		nl_close(nl);
	}
	free(u);
}

int uplink_netdev_guard(const char *device)
{
	char ifname[IFNAMSIZ];
	int ret;

	if (device == NULL || strncmp(device, "net_af_packet", 13) != 0 ||
		!devarg_get(device, "iface", ifname, sizeof(ifname)))
		return 0;
	ret = nft_drop_is_there(ifname);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	ret = nft_drop_add(ifname);
	return ret < 0 ? ret : 1;
}

int uplink_netdev_purge(const char *device)
{
	char ifname[IFNAMSIZ];

	if (strncmp(device, "net_af_packet", 13) != 0 ||
		!devarg_get(device, "iface", ifname, sizeof(ifname)))
		return 0;
	return nft_drop_del(ifname);
}
