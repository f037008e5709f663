/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taps: a kernel device in the pod's namespace (or the host's, for leat0), read and written with virtio-net headers, so
 * that checksums stay unfinished and TCP travels as super-frames of up to 64 KiB.
 *
 * The device is made in our namespace and moved, because a descriptor keeps alive the namespace in which it was
 * opened: made there, the pod's namespace could not go away. It is persistent: when the process dies, the pod keeps
 * interface, addresses and routes. The next process opens a descriptor inside the namespace and attaches by name
 * (then the namespace does live until the port is closed). A device carries the alias "leat:PORT", by which it is known.
 *
 * Receiving: the packet's first 2 KiB land in an ordinary mbuf, the rest in one huge mbuf; both are kept for the next
 * read when they were not used.
 */
#include "pmd/kind_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <rte_cycles.h>

#include "datapath/base/log.h"
#include "datapath/packet/gro.h"
#include "pmd/err.h"
#include "pmd/kinds.h"
#include "pmd/mempool.h"
#include "pmd/netlink.h"
#include "pmd/pod_net.h"
#include "pmd/portmgr.h"
#include "pmd/rx_poll.h"
#include "pmd/vnet_io.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* A burst of super-frames ends here: what is read is written out again while it is still in the L2 cache. */
#define BURST_BYTES (256 * 1024)

struct tap_queue {
	struct rx_poll poll;
	struct vnet_rx_slot slot; /* of the next read */
} __rte_cache_aligned;

struct tap_port {
	uint16_t n_queues;
	_Atomic bool is_gone; /* the device was deleted under us */
	struct rte_mempool *huge_pool;
	uint32_t n_huges_reserved;
	uint32_t features; /* TUN_F_* that the kernel took */
	struct tap_queue queues[PORT_QUEUES_MAX];
};

/* --- set-up --- */

static int tun_open(const char *name, uint16_t flags, struct ifreq *ifr)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	memset(ifr, 0, sizeof(*ifr));
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	ifr->ifr_flags = (short)flags;
	if (ioctl(fd, TUNSETIFF, ifr) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* Opens every queue of the device in the calling thread's namespace; name is completed if it is a pattern. */
static int queues_open(struct tap_port *t, uint16_t n, char name[IFNAMSIZ])
{
	uint16_t flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (n > 1 ? IFF_MULTI_QUEUE : 0);
	struct ifreq ifr;

	for (t->n_queues = 0; t->n_queues < n; t->n_queues++) {
		int fd = tun_open(name, flags, &ifr);

		if (fd < 0)
			return fd;
		snprintf(name, IFNAMSIZ, "%s", ifr.ifr_name);
		rx_poll_init(&t->queues[t->n_queues].poll, fd);
	}
	return 0;
}

static int queues_setup(struct tap_port *t, char *errbuf, size_t errlen)
{
	static const uint32_t sets[] = { TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN |
			TUN_F_USO4 | TUN_F_USO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN, TUN_F_CSUM, 0 };
	int hdr_len = VNET_HDR_LEN, is_le = 1;

	for (uint16_t q = 0; q < t->n_queues; q++) {
		int fd = t->queues[q].poll.fd;

		if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0 || ioctl(fd, TUNSETVNETLE, &is_le) < 0)
			return err_set(errbuf, errlen, -errno,
				"the tap takes no virtio-net headers: %s", strerror(errno));
	}
	for (size_t i = 0; i < RTE_DIM(sets); i++) {
		if (ioctl(t->queues[0].poll.fd, TUNSETOFFLOAD, sets[i]) == 0) {
			t->features = sets[i];
			break;
		}
	}
	if (ioctl(t->queues[0].poll.fd, TUNSETPERSIST, 1) < 0)
		return err_set(errbuf, errlen, -errno, "the tap cannot be made persistent: %s",
			strerror(errno));
	return 0;
}

static int open_error(int ret, const char *ifname, char *errbuf, size_t errlen)
{
	if (ret == -ENOENT || ret == -ENXIO || ret == -ENODEV)
		return err_set(
			errbuf, errlen, ret, "/dev/net/tun is not there: load the module tun");
	if (ret == -EPERM || ret == -EACCES)
		return err_set(errbuf, errlen, ret,
			"no permission for /dev/net/tun: CAP_NET_ADMIN is needed");
	if (ret == -EBUSY)
		return err_set(
			errbuf, errlen, ret, "tap '%s' is in use by another process", ifname);
	if (ret == -EMFILE || ret == -ENFILE)
		return err_set(errbuf, errlen, ret, "out of file descriptors: raise LimitNOFILE");
	return err_set(
		errbuf, errlen, ret, "tap '%s' cannot be opened: %s", ifname, strerror(-ret));
}

/* Whether the namespace has the device already: 0 no, 1 yes and it is to be attached to, -errno. */
static int is_there(const struct port *p, const struct port_config *cfg, const char *ifname,
	char *errbuf, size_t errlen)
{
	char alias[PORT_NAME_LEN + 8];
	struct nl_link link;
	struct nl *nl;
	int ret;

	nl = nl_open(cfg->netns_fd, &ret);
	if (nl == NULL)
		return err_set(errbuf, errlen, ret, "the network namespace cannot be entered: %s",
			strerror(-ret));
	ret = nl_link_get(nl, ifname, &link);
	nl_close(nl);
	if (ret == -ENODEV)
		return 0;
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "interface '%s' cannot be looked up: %s",
			ifname, strerror(-ret));
	snprintf(alias, sizeof(alias), "leat:%s", p->name);
	if (strcmp(link.kind, "tun") == 0 && (cfg->tap_fd >= 0 || strcmp(link.alias, alias) == 0))
		return 1;
	return err_set(
		errbuf, errlen, -EEXIST, "the namespace has an interface '%s' already", ifname);
}

const char *tap_ifname(const struct port_config *cfg)
{
	if (cfg->ifname != NULL)
		return cfg->ifname;
	return cfg->role == PORT_ROLE_HOST ? "leat0" : "eth0";
}

int tap_purge(int netns_fd, const char *ifname, char *errbuf, size_t errlen)
{
	struct nl_link link;
	struct ifreq ifr;
	struct nl *nl;
	int saved, fd, ret;

	nl = nl_open(netns_fd, &ret);
	if (nl == NULL)
		return err_set(errbuf, errlen, ret, "the network namespace cannot be entered: %s",
			strerror(-ret));
	ret = nl_link_get(nl, ifname, &link);
	nl_close(nl);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "there is no interface '%s'", ifname);
	if (strcmp(link.kind, "tun") != 0 || strncmp(link.alias, "leat:", 5) != 0)
		return err_set(errbuf, errlen, -EEXIST, "interface '%s' is not leat's", ifname);
	saved = netns_enter(netns_fd);
	if (saved < 0)
		return err_set(errbuf, errlen, saved, "the network namespace cannot be entered: %s",
			strerror(-saved));
	/* Attaching fails while a process has it, which deleting the link would not. */
	fd = tun_open(ifname, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, &ifr);
	if (fd == -EINVAL)
		fd = tun_open(ifname, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE, &ifr);
	netns_leave(saved);
	if (fd < 0)
		return open_error(fd, ifname, errbuf, errlen);
	ret = ioctl(fd, TUNSETPERSIST, 0) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int attach(struct port *p, struct tap_port *t, const struct port_config *cfg,
	const char *ifname, char *errbuf, size_t errlen)
{
	char name[IFNAMSIZ];
	int saved, ret;

	snprintf(name, sizeof(name), "%s", ifname);
	p->is_adopted = true; /* whatever fails from here on */
	saved = netns_enter(cfg->netns_fd);
	if (saved < 0)
		return err_set(errbuf, errlen, saved, "the network namespace cannot be entered: %s",
			strerror(-saved));
	ret = queues_open(t, p->n_rxq, name);
	netns_leave(saved);
	if (ret == -EINVAL)
		return err_set(errbuf, errlen, ret,
			"tap '%s' was made with another number of queues or as another kind",
			ifname);
	if (ret < 0)
		return open_error(ret, ifname, errbuf, errlen);
	return queues_setup(t, errbuf, errlen);
}

static int move(const char *name, int netns_fd, const char *ifname, char *errbuf, size_t errlen)
{
	struct nl_link_change change = {
		.name = ifname, .up = -1, .has_netns = true, .netns_fd = netns_fd
	};
	struct nl_link link;
	struct nl *nl;
	int ret;

	nl = nl_open(-1, &ret);
	if (nl == NULL)
		return err_set(errbuf, errlen, ret, "no netlink socket: %s", strerror(-ret));
	ret = nl_link_get(nl, name, &link);
	if (ret == 0)
		ret = nl_link_change(nl, link.ifindex, &change);
	if (ret < 0)
		err_set(errbuf, errlen, ret,
			"the tap cannot be moved into the pod's namespace as '%s': %s", ifname,
			nl_error(nl));
	nl_close(nl);
	return ret;
}

static int create(struct port *p, struct tap_port *t, const struct port_config *cfg,
	const char *ifname, char *errbuf, size_t errlen)
{
	char name[IFNAMSIZ];
	int ret;

	snprintf(name, sizeof(name), "%s", cfg->netns_fd >= 0 ? "leattap%d" : ifname);
	ret = queues_open(t, p->n_rxq, name);
	if (ret < 0)
		return open_error(ret, ifname, errbuf, errlen);
	ret = queues_setup(t, errbuf, errlen);
	if (ret == 0 && cfg->netns_fd >= 0)
		ret = move(name, cfg->netns_fd, ifname, errbuf, errlen);
	return ret;
}

static int configure(struct port *p, const struct port_config *cfg, const char *ifname,
	char *errbuf, size_t errlen)
{
	char alias[PORT_NAME_LEN + 8];
	struct pod_net net = {
		.ifname = ifname,
		.mac = p->mac,
		.mtu = p->mtu,
		.n_addrs = cfg->n_addrs,
		.addrs = cfg->addrs,
		.has_default_gateway = cfg->is_gateway_default,
		.alias = alias,
	};

	snprintf(alias, sizeof(alias), "leat:%s", p->name);
	return pod_net_configure(cfg->netns_fd, &net, errbuf, errlen);
}

static void tap_close(struct port *p, bool keep)
{
	struct tap_port *t = p->priv;

	if (t == NULL)
		return;
	if (!keep && t->n_queues != 0)
		(void)ioctl(t->queues[0].poll.fd, TUNSETPERSIST,
			0); /* fails when the device is gone: just as well */
	for (uint16_t q = 0; q < t->n_queues; q++) {
		close(t->queues[q].poll.fd); /* leaves its epoll with it */
		vnet_slot_free(&t->queues[q].slot);
	}
	if (t->n_huges_reserved != 0)
		mempool_release(t->huge_pool, t->n_huges_reserved);
	free(t);
	p->priv = NULL;
}

/* Each queue keeps one huge mbuf for its next read. */
static int buffers_reserve(struct port *p, struct tap_port *t, char *errbuf, size_t errlen)
{
	int ret;

	t->huge_pool = mempool_get_huge((unsigned int)p->pool->socket_id);
	if (t->huge_pool == NULL)
		return err_set(errbuf, errlen, -ENOBUFS, "no memory for packet buffers of 64 KiB");
	ret = mempool_reserve(t->huge_pool, p->n_rxq, errbuf, errlen);
	if (ret == 0)
		t->n_huges_reserved = p->n_rxq;
	return ret;
}

static void offloads_set(struct port *p, const struct tap_port *t)
{
	/* Writing: every kernel takes checksums and TCP segments in the header, whatever was agreed on for reading. */
	uint32_t offloads = PORT_TX_CSUM | PORT_TX_TSO4 | PORT_TX_TSO6;

	if ((t->features & TUN_F_USO4) != 0)
		offloads |= PORT_TX_USO;
	atomic_store_explicit(&p->tx_offloads, offloads, memory_order_relaxed);
}

static int tap_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	const char *ifname = tap_ifname(cfg);
	struct tap_port *t;
	int ret;

	if (ifname[0] == '\0' || strlen(ifname) >= IFNAMSIZ || strpbrk(ifname, "/%: \t\n") != NULL)
		return err_set(errbuf, errlen, -EINVAL,
			"interface name '%s' is not valid (1 to 15 characters)", ifname);
	t = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*t));
	if (t == NULL)
		return err_set(errbuf, errlen, -ENOMEM, "no memory for a tap port");
	memset(t, 0, sizeof(*t));
	p->priv = t;
	ret = buffers_reserve(p, t, errbuf, errlen);
	if (ret < 0)
		goto err_close;
	ret = is_there(p, cfg, ifname, errbuf, errlen);
	if (ret >= 0)
		ret = ret == 1 ? attach(p, t, cfg, ifname, errbuf, errlen)
			       : create(p, t, cfg, ifname, errbuf, errlen);
	if (ret == 0)
		ret = configure(p, cfg, ifname, errbuf, errlen);
	if (ret < 0)
		goto err_close;
	p->ifname = strdup(ifname);
	for (uint16_t q = 0; q < t->n_queues; q++) {
		if (!vnet_slot_fill(&t->queues[q].slot, p->pool, t->huge_pool)) {
			ret = err_set(errbuf, errlen, -ENOBUFS, "packet buffers ran out");
			goto err_close;
		}
	}
	offloads_set(p, t);
	return 0;

err_close:
	tap_close(p, p->is_adopted);
	return ret;
}

/* --- packets --- */

/* The frame of a read of len bytes (header included); NULL: dropped. */
static struct rte_mbuf *packet_take(struct tap_queue *q, struct port_stats *stats, size_t len)
{
	enum drop_reason why = DROP_VNET_HDR;
	struct virtio_net_hdr hdr;
	struct rte_mbuf *m = vnet_slot_take(&q->slot, len, &hdr, &why);

	if (likely(m != NULL && (vnet_hdr_is_plain(&hdr) || vnet_hdr_to_mbuf(&hdr, m))))
		return m;
	stats->drops[why]++;
	rte_pktmbuf_free(m);
	return NULL;
}

static uint16_t tap_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct tap_port *t = p->priv;
	struct tap_queue *q = &t->queues[queue];
	uint32_t n_bytes = 0;
	uint16_t n = 0;

	if (!rx_poll_is_ready(&q->poll, worker))
		return 0;
	while (n < max && n_bytes < BURST_BYTES) {
		struct iovec iov[2];
		struct rte_mbuf *m;
		ssize_t len;

		if (unlikely(!vnet_slot_fill(&q->slot, p->pool, t->huge_pool)))
			break; /* the packets wait in the kernel */
		vnet_slot_iov(&q->slot, iov);
		len = readv(q->poll.fd, iov, 2);
		if (len < 0) {
			if (errno == EINTR)
				continue;
			rx_poll_set_empty(&q->poll);
			if (unlikely(errno != EAGAIN))
				atomic_store_explicit(&t->is_gone, true, memory_order_relaxed);
			break;
		}
		n_bytes += (uint32_t)len;
		m = packet_take(q, p->stats[worker], (size_t)len);
		if (likely(m != NULL))
			pkts[n++] = m;
	}
	return n;
}

/* One frame as one write. 0 or -errno. */
static int packet_write(int fd, struct rte_mbuf *m)
{
	struct iovec iov[VNET_IOV_MAX];
	struct virtio_net_hdr hdr;
	int n = vnet_tx_iov(m, &hdr, iov, VNET_IOV_MAX);
	ssize_t ret;

	if (unlikely(n == 0))
		return -EMSGSIZE;
	do
		ret = n == 1 ? write(fd, iov[0].iov_base, iov[0].iov_len) : writev(fd, iov, n);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static uint16_t tap_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct tap_port *t = p->priv;
	int fd = t->queues[worker % t->n_queues].poll.fd;
	uint16_t i, n_merged = n;

	if (unlikely(atomic_load_explicit(&t->is_gone, memory_order_relaxed)))
		return 0;
	/* One write and one way through the kernel's stack for what was one super-frame at the sender. */
	if (n > 1)
		n_merged = gro_merge(pkts, n, true, true);
	for (i = 0; i < n_merged; i++) {
		int ret = packet_write(fd, pkts[i]);

		if (likely(ret == 0))
			continue;
		if (ret == -EAGAIN)
			break;
		if (ret == -EBADFD) {
			atomic_store_explicit(&t->is_gone, true, memory_order_relaxed);
			break;
		}
		/* EIO: the device is down */
		p->stats[worker]->drops[ret == -EIO ? DROP_PORT_DOWN : DROP_TX_ERROR]++;
	}
	rte_pktmbuf_free_bulk(pkts, i);
	if (unlikely(i < n_merged)) /* the caller's are the last ones */
		memmove(&pkts[n - (n_merged - i)], &pkts[i], (n_merged - i) * sizeof(pkts[0]));
	return (uint16_t)(n - (n_merged - i));
}

static int tap_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	struct tap_port *t = p->priv;

	/* A deleted device is readable for ever: it must not be waited for. */
	if (atomic_load_explicit(&t->is_gone, memory_order_relaxed))
		return -ENOLINK;
	return rx_poll_arm(&t->queues[queue].poll, out_fd_gen);
}

static void tap_rx_disarm(struct port *p, uint16_t queue)
{
	struct tap_port *t = p->priv;

	rx_poll_disarm(&t->queues[queue].poll);
}

static bool tap_is_up(const struct port *p)
{
	const struct tap_port *t = p->priv;

	return !atomic_load_explicit(&t->is_gone, memory_order_relaxed);
}

static size_t tap_describe(const struct port *p, char *buf, size_t size)
{
	const struct tap_port *t = p->priv;
	int n = snprintf(buf, size, "ifname=%s queues=%u csum=%s tso=%s uso=%s adopted=%s link=%s",
		p->ifname, t->n_queues, (t->features & TUN_F_CSUM) != 0 ? "on" : "off",
		(t->features & TUN_F_TSO4) != 0 ? "on" : "off",
		(t->features & TUN_F_USO4) != 0 ? "on" : "off", p->is_adopted ? "yes" : "no",
		tap_is_up(p) ? "up" : "gone");

	return n < 0 ? 0 : RTE_MIN((size_t)n, size > 0 ? size - 1 : 0);
}

const struct port_ops kind_tap_ops = {
	.kind = "tap",
	.open = tap_open,
	.close = tap_close,
	.rx = tap_rx,
	.tx = tap_tx,
	.rx_arm = tap_rx_arm,
	.rx_disarm = tap_rx_disarm,
	.is_up = tap_is_up,
	.describe = tap_describe,
};
