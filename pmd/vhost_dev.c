/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_dev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_log.h>
#include <rte_vhost.h>

#include "datapath/base/log.h"
#include "pmd/err.h"
#include "pmd/vhost_front.h"

#define BIT(n) (1ull << (n))
#define GUEST_MEM_MAX (1ull << 40) /* bytes that one guest may have us map */
#define QUIESCE_LOG_NS 1000000000ull
#define QUIESCE_STEP_NS 20000
#define FDS_PER_PORT 12 /* sockets, inner socket and its connection twice, wake, memory */
#define FDS_PER_QUEUE 9 /* kick and call of both rings, their duplicates, epoll */
#define FDS_SPARE 64

/* Not offered: packed rings (nobody could tell the next leatd where they stood: docs/vhost.md), ECN (the pipeline does not tell
 * it), UFO (fragments), migration logging, IOMMU. librte_vhost 22.11 has no USO. */
#define FEATURES                                                                                   \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_MTU) |           \
		BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |                      \
		BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |                        \
		BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |                           \
		BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_MQ) |     \
		BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_F_ANY_LAYOUT) |                      \
		BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |                  \
		BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) |                    \
		BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_ORDER_PLATFORM))

/* No back-channel from librte_vhost to the guest (a worker could wait on it), no migration log, no buffer of requests in flight. */
#define PROTOCOL_FEATURES                                                                          \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |                    \
		BIT(VHOST_USER_PROTOCOL_F_NET_MTU) | BIT(VHOST_USER_PROTOCOL_F_STATUS))

#define SLOT_NONE PORT_MAX /* no port is in it */

static uint32_t n_opened; /* control thread */

/* Port of a device, by the name of its inner socket, which ends in "/<slot>". */
static struct vhost_port *port_of(int vid)
{
	char name[sizeof(((struct vhost_inner *)0)->path)];
	const char *slash;

	if (rte_vhost_get_ifname(vid, name, sizeof(name)) != 0 ||
		(slash = strrchr(name, '/')) == NULL)
		return NULL;
	return vhost_front_port((unsigned int)strtoul(slash + 1, NULL, 10));
}

/* Spreads the workers over the queue pairs that the guest takes packets on. */
static void tx_spread(struct vhost_port *vp)
{
	uint8_t pairs[PORT_QUEUES_MAX];
	unsigned int n = 0;

	for (uint8_t i = 0; i < vp->n_queues; i++)
		if (vp->tx_enabled >> i & 1)
			pairs[n++] = i;
	for (unsigned int w = 0; w < RCU_MAX_READERS; w++)
		atomic_store_explicit(&vp->tx_queue[w], n != 0 ? pairs[w % n] : VHOST_TX_NONE,
			memory_order_relaxed);
}

/* librte_vhost's thread, holding the locks of its rings: nothing here waits. */
static int on_vring_state(int vid, uint16_t vring, int enable)
{
	struct vhost_port *vp = port_of(vid);
	uint32_t bit = 1u << vring / 2;

	if (vp == NULL || vring >= vp->limits.n_vrings)
		return 0;
	if (vring % 2 == 0) {
		vp->tx_enabled = enable ? vp->tx_enabled | bit : vp->tx_enabled & ~bit;
		tx_spread(vp);
		return 0;
	}
	/* release: who sees the ring enabled or disabled sees that it is a new one */
	atomic_store_explicit(&vp->rxq[vring / 2].is_stale, true, memory_order_release);
	if (enable)
		atomic_fetch_or_explicit(&vp->rx_enabled, bit, memory_order_release);
	else
		atomic_fetch_and_explicit(&vp->rx_enabled, ~bit, memory_order_release);
	(void)eventfd_write(vp->wake_fd, 1);
	return 0;
}

static uint32_t offloads_of(uint64_t features)
{
	uint32_t offloads = 0;

	if ((features & BIT(VIRTIO_NET_F_GUEST_CSUM)) == 0)
		return 0;
	offloads |= PORT_TX_CSUM;
	if ((features & BIT(VIRTIO_NET_F_GUEST_TSO4)) != 0)
		offloads |= PORT_TX_TSO4;
	if ((features & BIT(VIRTIO_NET_F_GUEST_TSO6)) != 0)
		offloads |= PORT_TX_TSO6;
	return offloads;
}

static int on_new_device(int vid)
{
	struct vhost_port *vp = port_of(vid);
	char object[PORT_NAME_LEN + 8];
	uint64_t features = 0;
	uint16_t mtu = 0;

	if (vp == NULL || rte_vhost_get_negotiated_features(vid, &features) != 0)
		return -1;
	for (uint16_t i = 0; i < vp->limits.n_vrings && i < rte_vhost_get_vring_num(vid); i++)
		(void)rte_vhost_enable_guest_notification(vid, i, 0);
	if (rte_vhost_get_mtu(vid, &mtu) != 0)
		mtu = 0;
	atomic_store_explicit(&vp->guest_mtu, mtu, memory_order_relaxed);
	atomic_store_explicit(&vp->features, features, memory_order_relaxed);
	atomic_store_explicit(&vp->port->tx_offloads, offloads_of(features), memory_order_relaxed);
	for (unsigned int q = 0; q < vp->n_queues; q++)
		atomic_store_explicit(&vp->rxq[q].is_stale, true, memory_order_relaxed);
	/* release: pairs with the acquires in kind_vhost.c */
	atomic_store_explicit(&vp->vid, vid, memory_order_release);
	(void)eventfd_write(vp->wake_fd, 1);
	snprintf(object, sizeof(object), "port %s", vp->port->name);
	if (log_limit_pass(&vp->log_limit))
		log_info(object, "up features=0x%llx mtu=%u", (unsigned long long)features, mtu);
	return 0;
}

/* Waits until no worker can still be inside a call with the old vid. Sleeping workers count as away; none can hang in a
 * guest's descriptor for long (vhost_conn_call_watch), so this ends. */
static void workers_wait(const struct vhost_port *vp)
{
	const struct timespec step = { .tv_nsec = QUIESCE_STEP_NS };
	uint64_t token, waited_ns = 0;
	char object[PORT_NAME_LEN + 8];

	if (rcu_qsbr == NULL)
		return;
	token = rcu_token();
	while (!rcu_token_done(token)) {
		nanosleep(&step, NULL);
		waited_ns += QUIESCE_STEP_NS;
		if (waited_ns == QUIESCE_LOG_NS) {
			snprintf(object, sizeof(object), "port %s", vp->port->name);
			log_warn(object, "a worker has not let go of the device for more than 1 s");
		}
	}
}

static void on_destroy_device(int vid)
{
	struct vhost_port *vp = port_of(vid);
	char object[PORT_NAME_LEN + 8];
	int cur = vid;

	if (vp == NULL)
		return;
	(void)atomic_compare_exchange_strong_explicit(
		&vp->vid, &cur, VHOST_VID_NONE, memory_order_relaxed, memory_order_relaxed);
	workers_wait(vp);
	atomic_store_explicit(&vp->port->tx_offloads, 0, memory_order_relaxed);
	snprintf(object, sizeof(object), "port %s", vp->port->name);
	if (log_limit_pass(&vp->log_limit)) /* a guest can start and stop in a loop */
		log_info(object, "down");
}

/* The last callback of a device; librte_vhost unmaps the guest's memory right after it, untouched. */
static void on_destroy_connection(int vid)
{
	struct vhost_port *vp = port_of(vid);
	uint32_t n;

	if (vp == NULL)
		return;
	vp->tx_enabled = 0;
	tx_spread(vp);
	atomic_store_explicit(&vp->rx_enabled, 0, memory_order_relaxed);
	n = atomic_load_explicit(&vp->n_devices, memory_order_relaxed);
	while (n != 0 &&
		!atomic_compare_exchange_weak_explicit(
			&vp->n_devices, &n, n - 1, memory_order_release, memory_order_relaxed))
		;
	vhost_front_wake();
}

static const struct rte_vhost_device_ops device_ops = {
	.new_device = on_new_device,
	.destroy_device = on_destroy_device,
	.vring_state_changed = on_vring_state,
	.destroy_connection = on_destroy_connection,
};

/* Offers what leat offers, and nothing else of what librte_vhost could. */
static int driver_setup(const char *path, struct vhost_msg_limits *limits)
{
	uint64_t features;

	if (rte_vhost_driver_get_features(path, &features) != 0 ||
		rte_vhost_driver_disable_features(path, features & ~FEATURES) != 0 ||
		rte_vhost_driver_get_features(path, &limits->features) != 0 ||
		rte_vhost_driver_get_protocol_features(path, &features) != 0 ||
		rte_vhost_driver_set_protocol_features(path, features & PROTOCOL_FEATURES) != 0 ||
		rte_vhost_driver_callback_register(path, &device_ops) != 0)
		return -EIO;
	limits->protocol_features = features & PROTOCOL_FEATURES;
	return 0;
}

/*
 * Registers with librte_vhost under a name in a folder that is gone a moment later: only the front reaches the inner
 * socket, through an O_PATH descriptor, and nothing is left behind when the process is killed.
 */
static int inner_open(struct vhost_inner *in, unsigned int slot, struct vhost_msg_limits *limits)
{
	char dir[] = "/run/leat-vhost-XXXXXX", tmp_dir[] = "/tmp/leat-vhost-XXXXXX";
	char *made = mkdtemp(dir);
	int ret;

	if (made == NULL && (made = mkdtemp(tmp_dir)) == NULL)
		return -errno;
	snprintf(in->path, sizeof(in->path), "%s/%u", made, slot);
	errno = 0;
	if (rte_vhost_driver_register(in->path, 0) != 0) {
		ret = errno != 0 ? -errno : -ENOSPC;
		goto err_dir;
	}
	ret = driver_setup(in->path, limits);
	errno = 0;
	if (ret == 0 && rte_vhost_driver_start(in->path) != 0)
		ret = errno != 0 ? -errno : -ENOSPC;
	if (ret == 0 && (in->fd = open(in->path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
		ret = -errno;
	if (ret != 0)
		rte_vhost_driver_unregister(in->path);
err_dir:
	unlink(in->path);
	rmdir(made);
	return ret;
}

static void inner_close(struct vhost_inner *in)
{
	rte_vhost_driver_unregister(in->path);
	close(in->fd);
	in->fd = -1;
}

/*
 * librte_vhost's thread notices a new listening socket only when it next wakes, which may be in 1 s. A connection that
 * librte_vhost makes itself wakes it at once: so it makes one, to a socket of ours, and forgets it.
 */
static void driver_wake(void)
{
	char dir[] = "/tmp/leat-vhost-XXXXXX", path[64];
	struct vhost_sock_owner owner = { .uid = -1, .gid = -1, .mode = 0600 };
	struct vhost_sock_file file;
	int fd;

	if (mkdtemp(dir) == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%u", dir, SLOT_NONE);
	fd = vhost_sock_listen(path, &owner, &file, NULL, 0);
	if (fd >= 0 &&
		rte_vhost_driver_register(
			path, RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT) == 0) {
		if (rte_vhost_driver_callback_register(path, &device_ops) == 0)
			(void)rte_vhost_driver_start(path);
		rte_vhost_driver_unregister(path);
	}
	if (fd >= 0)
		close(fd);
	unlink(path);
	rmdir(dir);
}

/* Whether the process can open n more descriptors. */
static bool fds_left(unsigned int n, unsigned long *out_limit)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned long n_fds = 0;
	struct rlimit rl;

	if (dir == NULL)
		return false;
	while (readdir(dir) != NULL)
		n_fds++;
	closedir(dir);
	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return true;
	*out_limit = (unsigned long)rl.rlim_cur;
	return rl.rlim_cur == RLIM_INFINITY || n_fds + n <= rl.rlim_cur;
}

static int queues_open(struct vhost_port *vp)
{
	vp->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vp->wake_fd < 0)
		return -errno;
	for (unsigned int q = 0; q < vp->n_queues; q++) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

		vp->rxq[q].epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (vp->rxq[q].epoll_fd < 0 ||
			epoll_ctl(vp->rxq[q].epoll_fd, EPOLL_CTL_ADD, vp->wake_fd, &ev) != 0)
			return -errno;
	}
	return 0;
}

static void port_free(struct vhost_port *vp)
{
	for (unsigned int q = 0; q < PORT_QUEUES_MAX; q++)
		if (vp->rxq[q].epoll_fd >= 0)
			close(vp->rxq[q].epoll_fd);
	if (vp->wake_fd >= 0)
		close(vp->wake_fd);
	free(vp->path);
	free(vp);
}

static struct vhost_port *port_new(struct port *p, const struct port_config *cfg)
{
	struct vhost_port *vp = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(sizeof(*vp)));

	if (vp == NULL)
		return NULL;
	memset(vp, 0, sizeof(*vp));
	atomic_store_explicit(&vp->vid, VHOST_VID_NONE, memory_order_relaxed);
	vp->wake_fd = vp->inner.fd = vp->listen_fd = -1;
	for (unsigned int q = 0; q < PORT_QUEUES_MAX; q++)
		vp->rxq[q].epoll_fd = -1;
	vp->port = p;
	vp->log_limit.burst = 10; /* lines a second */
	vp->gen_fd = ++n_opened;
	vp->n_queues = p->n_rxq;
	vp->is_client = cfg->is_vhost_client;
	vp->owner = (struct vhost_sock_owner){
		.uid = cfg->socket_uid, .gid = cfg->socket_gid, .mode = cfg->socket_mode
	};
	vp->limits = (struct vhost_msg_limits){ .n_vrings = (uint16_t)(2 * p->n_rxq),
		.region_max = GUEST_MEM_MAX };
	tx_spread(vp);
	vp->path = strdup(cfg->socket_path);
	if (vp->path == NULL) {
		free(vp);
		return NULL;
	}
	return vp;
}

int vhost_dev_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	struct vhost_port *vp;
	unsigned long limit = 0;
	int ret;

	if (cfg->socket_path == NULL || cfg->socket_path[0] != '/')
		return err_set(errbuf, errlen, -EINVAL,
			"a vhost port needs the absolute path of its socket");
	if (p->n_rxq == 0)
		p->n_rxq = 1;
	if (p->n_rxq > PORT_QUEUES_MAX)
		return err_set(errbuf, errlen, -EINVAL, "a vhost port has 1 to %u queues",
			PORT_QUEUES_MAX);
	if (!fds_left(FDS_PER_PORT + p->n_rxq * FDS_PER_QUEUE + FDS_SPARE, &limit))
		return err_set(errbuf, errlen, -EMFILE,
			"file descriptors run out: a vhost port may need %u and the limit is %lu "
			"(raise LimitNOFILE)",
			FDS_PER_PORT + p->n_rxq * FDS_PER_QUEUE, limit);
	vp = port_new(p, cfg);
	if (vp == NULL)
		return err_set(errbuf, errlen, -ENOMEM, "no memory for a vhost port");
	p->priv = vp;
	/* A guest must not be able to fill the log; what matters is logged by the front. */
	(void)rte_log_set_level_pattern("lib.vhost.data", RTE_LOG_EMERG);
	if (log_get_level() < LOG_LEVEL_DEBUG)
		(void)rte_log_set_level_pattern("lib.vhost.config", RTE_LOG_EMERG);
	vhost_front_slot_set(p->id, vp);
	ret = queues_open(vp);
	if (ret != 0) {
		err_set(errbuf, errlen, ret, "cannot make the port's descriptors: %s",
			strerror(-ret));
		goto err_slot;
	}
	ret = inner_open(&vp->inner, p->id, &vp->limits);
	if (ret != 0) {
		err_set(errbuf, errlen, ret, "librte_vhost does not take another port: %s",
			strerror(-ret));
		goto err_slot;
	}
	driver_wake();
	ret = vhost_front_add(vp, errbuf, errlen);
	if (ret != 0)
		goto err_inner;
	return 0;

err_inner:
	inner_close(&vp->inner);
err_slot:
	vhost_front_slot_set(p->id, NULL);
	port_free(vp);
	p->priv = NULL;
	return ret;
}

void vhost_dev_close(struct port *p, bool keep)
{
	struct vhost_port *vp = p->priv;

	if (vp == NULL)
		return;
	vhost_front_cut(vp, keep);
	inner_close(&vp->inner);
	vhost_front_del(vp);
	vhost_front_slot_set(p->id, NULL);
	port_free(vp);
	p->priv = NULL;
}
