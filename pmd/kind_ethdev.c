/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Uplinks through rte_ethdev, plugged by EAL device string. One transmit queue a worker where the device has that
 * many, else a lock around the shared ones. Drivers without receive interrupts are polled while idle, except
 * af_packet, whose sockets can be waited for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_spinlock.h>

#include "datapath/base/log.h"
#include "pmd/err.h"
#include "pmd/kind_packet.h"
#include "pmd/kinds.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"
#include "pmd/uplink_netdev.h"

#define DEFAULT_DESC 512
#define LINK_CACHE_MS 100
/* Payload of a TCP segment below which devices refuse to make it: i40e's, the highest of DPDK's drivers (ice 64, iavf 88). A device cannot
 * be asked. */
#define TSO_MIN_BYTES 256
/* Ethernet header, one VLAN tag, FCS: what a frame has on top of the MTU. */
#define FRAME_OVERHEAD (RTE_ETHER_HDR_LEN + 4 + RTE_ETHER_CRC_LEN)

struct eth_txq {
	rte_spinlock_t lock;
} __rte_cache_aligned;

struct eth_port {
	/* read by workers */
	uint16_t port_id;
	uint16_t n_txq;
	bool has_shared_txq; /* more workers than queues: take the lock */
	bool has_multi_segs;
	bool has_rx_interrupts;
	int rx_fds[PORT_QUEUES_MAX]; /* readable when packets are there; -1: none */
	uint32_t fd_gen;
	/* any thread */
	_Atomic uint64_t link_checked_tsc;
	_Atomic bool is_link_up;
	/* control thread */
	struct rte_device *device;
	struct uplink_netdev *netdev; /* kernel device under an af_packet port */
	struct rte_mempool *jumbo_pool;
	uint32_t n_jumbos_reserved;
	uint32_t speed_mbps;
	bool is_configured, is_started;
	char driver[32];
	struct eth_txq txqs[PORT_QUEUES_MAX];
};

static uint32_t next_fd_gen;

static int find_port_id(const char *devargs, uint16_t *out)
{
	struct rte_dev_iterator it;
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;
	size_t n = strcspn(devargs, ",");

	snprintf(name, sizeof(name), "%.*s", (int)n, devargs);
	if (rte_eth_dev_get_port_by_name(name, out) == 0)
		return 0;
	RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &it) {
		rte_eth_iterator_cleanup(&it);
		*out = id;
		return 0;
	}
	return -ENODEV;
}

static int probe(struct eth_port *e, const char *devargs, char *errbuf, size_t errlen)
{
	uint16_t id;
	int ret;

	if (find_port_id(devargs, &id) == 0)
		return err_set(errbuf, errlen, -EBUSY, "device '%.*s' is in use by another port",
			(int)strcspn(devargs, ","), devargs);
	ret = rte_dev_probe(devargs);
	if (ret < 0)
		return err_set(errbuf, errlen, ret == -1 ? -ENODEV : ret,
			"device '%s' cannot be opened: %s (is the driver's string right, is a PCI "
			"device bound to "
			"vfio-pci and named at start?)",
			devargs, rte_strerror(ret == -1 ? ENODEV : -ret));
	if (find_port_id(devargs, &e->port_id) < 0)
		return err_set(
			errbuf, errlen, -ENODEV, "device '%s' has no Ethernet port", devargs);
	return 0;
}

static int pick_pool(struct port *p, struct eth_port *e, const struct rte_eth_dev_info *info,
	uint32_t n_desc, struct rte_eth_conf *conf, char *errbuf, size_t errlen)
{
	int ret;

	if (p->mtu + FRAME_OVERHEAD <= MEMPOOL_DATA_ROOM_BYTES)
		return 0;
	if ((info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0) {
		conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
		return 0;
	}
	e->jumbo_pool = mempool_get_jumbo(0);
	if (e->jumbo_pool == NULL)
		return err_set(errbuf, errlen, -ENOBUFS, "no memory for packet buffers of %u bytes",
			p->mtu);
	/* af_packet copies into fresh buffers: only a burst at a time, whatever the size of its ring. */
	e->n_jumbos_reserved = e->netdev != NULL ? p->n_rxq * PORT_BURST_MAX : p->n_rxq * n_desc;
	ret = mempool_reserve(e->jumbo_pool, e->n_jumbos_reserved, errbuf, errlen);
	if (ret < 0) {
		e->n_jumbos_reserved = 0;
		return ret;
	}
	p->pool = e->jumbo_pool;
	return 0;
}

static void pick_tx_offloads(struct port *p, struct eth_port *e,
	const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t csum = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	const uint64_t tso = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
		RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	uint64_t capa = info->tx_offload_capa;
	uint32_t flags = 0;

	conf->txmode.offloads |= capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	e->has_multi_segs = (capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
	if ((capa & csum) == csum) {
		conf->txmode.offloads |= csum | (capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
		flags |= PORT_TX_CSUM;
		if ((capa & tso) == tso) {
			conf->txmode.offloads |= tso;
			flags |= PORT_TX_TSO4 | PORT_TX_TSO6;
			p->tso_min_bytes = TSO_MIN_BYTES;
		}
	}
	if ((capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0)
		conf->txmode.offloads &=
			~RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE; /* several pools, references */
	atomic_store_explicit(&p->tx_offloads, flags, memory_order_relaxed);
}

static int queues_setup(struct port *p, struct eth_port *e, const struct rte_eth_dev_info *info,
	const struct rte_eth_conf *conf, uint16_t n_desc, char *errbuf, size_t errlen)
{
	struct rte_eth_rxconf rxconf = info->default_rxconf;
	struct rte_eth_txconf txconf = info->default_txconf;
	uint16_t n_rxd = n_desc, n_txd = n_desc;
	int ret;

	ret = rte_eth_dev_adjust_nb_rx_tx_desc(e->port_id, &n_rxd, &n_txd);
	if (ret < 0 && ret != -ENOTSUP)
		return err_set(
			errbuf, errlen, ret, "rings of %u descriptors are not possible", n_desc);
	rxconf.offloads = conf->rxmode.offloads;
	txconf.offloads = conf->txmode.offloads;
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		ret = rte_eth_rx_queue_setup(e->port_id, q, n_rxd,
			(unsigned int)rte_eth_dev_socket_id(e->port_id), &rxconf, p->pool);
		if (ret < 0)
			return err_set(errbuf, errlen, ret, "receive queue %u cannot be set up: %s",
				q, rte_strerror(-ret));
	}
	for (uint16_t q = 0; q < e->n_txq; q++) {
		rte_spinlock_init(&e->txqs[q].lock);
		ret = rte_eth_tx_queue_setup(e->port_id, q, n_txd,
			(unsigned int)rte_eth_dev_socket_id(e->port_id), &txconf);
		if (ret < 0)
			return err_set(errbuf, errlen, ret,
				"transmit queue %u cannot be set up: %s", q, rte_strerror(-ret));
	}
	return 0;
}

static int configure(struct port *p, struct eth_port *e, const struct port_config *cfg,
	char *errbuf, size_t errlen)
{
	uint16_t n_desc = cfg->n_desc != 0 ? cfg->n_desc : DEFAULT_DESC;
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	int ret;

	ret = rte_eth_dev_info_get(e->port_id, &info);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "the device tells nothing about itself: %s",
			rte_strerror(-ret));
	e->device = info.device;
	snprintf(e->driver, sizeof(e->driver), "%s", info.driver_name);
	p->n_rxq = RTE_MIN(p->n_rxq, info.max_rx_queues);
	e->n_txq = RTE_MIN(
		RTE_MIN((uint16_t)portmgr_n_workers(), info.max_tx_queues), PORT_QUEUES_MAX);
	if (strcmp(info.driver_name, "net_af_packet") == 0)
		e->n_txq = p->n_rxq = RTE_MIN(p->n_rxq, e->n_txq != 0 ? info.max_tx_queues : 0);
	if (p->n_rxq == 0 || e->n_txq == 0)
		return err_set(errbuf, errlen, -ENODEV, "the device has no queues");
	e->has_shared_txq = e->n_txq < portmgr_n_workers();
	if (info.max_mtu != 0 && info.max_mtu < p->mtu)
		return err_set(errbuf, errlen, -EINVAL,
			"MTU %u is more than the device can do (%u)", p->mtu, info.max_mtu);

	ret = pick_pool(p, e, &info, n_desc, &conf, errbuf, errlen);
	if (ret < 0)
		return ret;
	pick_tx_offloads(p, e, &info, &conf);
	/* af_packet says 1518 whatever its ring's frames hold; the kernel device gets the MTU from uplink_netdev.c. */
	conf.rxmode.mtu = e->netdev != NULL ? RTE_MIN(p->mtu, RTE_ETHER_MTU) : p->mtu;
	if (p->n_rxq > 1 && (info.flow_type_rss_offloads & RTE_ETH_RSS_IP) != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	e->has_rx_interrupts = info.device != NULL &&
		strcmp(rte_bus_name(rte_dev_bus(info.device)), "pci") == 0;
	conf.intr_conf.rxq = e->has_rx_interrupts;
	ret = rte_eth_dev_configure(e->port_id, p->n_rxq, e->n_txq, &conf);
	if (ret < 0 && e->has_rx_interrupts) {
		e->has_rx_interrupts = false;
		conf.intr_conf.rxq = 0;
		ret = rte_eth_dev_configure(e->port_id, p->n_rxq, e->n_txq, &conf);
	}
	if (ret < 0)
		return err_set(errbuf, errlen, ret,
			"the device cannot be configured with MTU %u and %u queues: %s", p->mtu,
			p->n_rxq, rte_strerror(-ret));
	e->is_configured = true;
	return queues_setup(p, e, &info, &conf, n_desc, errbuf, errlen);
}

/* Own MAC: the device's, or the configured one where the device can take it, else by promiscuous mode. */
static int mac_setup(struct port *p, struct eth_port *e, char *errbuf, size_t errlen)
{
	struct rte_ether_addr mac;
	int ret;

	ret = rte_eth_macaddr_get(e->port_id, &mac);
	if (ret < 0)
		return err_set(errbuf, errlen, ret, "the device's MAC address cannot be read: %s",
			rte_strerror(-ret));
	if (rte_is_zero_ether_addr(&p->mac)) {
		p->mac = mac;
		return 0;
	}
	if (rte_is_same_ether_addr(&p->mac, &mac))
		return 0;
	if (rte_eth_dev_default_mac_addr_set(e->port_id, &p->mac) == 0)
		return 0;
	ret = rte_eth_promiscuous_enable(e->port_id);
	if (ret < 0)
		return err_set(errbuf, errlen, ret,
			"the device takes neither another MAC address nor promiscuous mode: %s",
			rte_strerror(-ret));
	return 0;
}

static void rx_fds_find(struct port *p, struct eth_port *e)
{
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		if (e->netdev != NULL)
			e->rx_fds[q] = uplink_netdev_rx_fd(e->netdev, q);
		else if (e->has_rx_interrupts)
			e->rx_fds[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(e->port_id, q);
	}
}

static void eth_close(struct port *p, bool keep)
{
	struct eth_port *e = p->priv;

	if (e == NULL)
		return;
	if (e->is_started)
		rte_eth_dev_stop(e->port_id);
	if (e->port_id != RTE_MAX_ETHPORTS) {
		rte_eth_dev_close(e->port_id);
		if (e->device != NULL)
			rte_dev_remove(e->device);
	}
	uplink_netdev_close(e->netdev, keep);
	if (e->n_jumbos_reserved != 0)
		mempool_release(e->jumbo_pool, e->n_jumbos_reserved);
	rte_free(e);
	p->priv = NULL;
}

static int eth_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	struct eth_port *e;
	char devargs[512];
	int ret;

	if (cfg->device == NULL || cfg->device[0] == '\0')
		return err_set(errbuf, errlen, -EINVAL,
			"an ethdev port needs a device, for example net_af_packet0,iface=eth1");
	if (uplink_netdev_is_packet(cfg->device)) {
		p->ops = &packet_ops;
		return packet_ops.open(p, cfg, errbuf, errlen);
	}
	e = rte_zmalloc("eth_port", sizeof(*e), RTE_CACHE_LINE_SIZE);
	if (e == NULL)
		return err_set(errbuf, errlen, -ENOMEM, "no memory for an ethdev port");
	p->priv = e;
	e->port_id = RTE_MAX_ETHPORTS;
	for (int q = 0; q < PORT_QUEUES_MAX; q++)
		e->rx_fds[q] = -1;
	e->fd_gen = ++next_fd_gen;
	ret = uplink_netdev_open(cfg->device, p->mtu, p->n_rxq, cfg->n_desc, devargs,
		sizeof(devargs), &e->netdev, errbuf, errlen);
	p->is_adopted = uplink_netdev_was_ours(e->netdev);
	if (ret == 0)
		ret = probe(e, devargs, errbuf, errlen);
	if (ret == 0)
		ret = configure(p, e, cfg, errbuf, errlen);
	if (ret == 0 && e->netdev != NULL)
		uplink_netdev_take(e->netdev);
	if (ret == 0)
		ret = mac_setup(p, e, errbuf, errlen);
	if (ret == 0) {
		ret = rte_eth_dev_start(e->port_id);
		if (ret < 0)
			err_set(errbuf, errlen, ret, "the device does not start: %s",
				rte_strerror(-ret));
	}
	if (ret < 0) {
		eth_close(p, p->is_adopted);
		return ret;
	}
	e->is_started = true;
	rx_fds_find(p, e);
	return 0;
}

static uint16_t eth_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct eth_port *e = p->priv;

	(void)worker;
	return rte_eth_rx_burst(e->port_id, queue, pkts, max);
}

/* Devices that cannot chain: one segment, or the packet is dropped here. What stays moves to the end of the array,
 * in order; returns how many were dropped. */
static uint16_t linearize(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t to = n;

	for (uint16_t i = n; i-- > 0;) {
		if (pkts[i]->nb_segs > 1 && rte_pktmbuf_linearize(pkts[i]) < 0) {
			p->stats[worker]->drops[DROP_TX_ERROR]++;
			rte_pktmbuf_free(pkts[i]);
			continue;
		}
		pkts[--to] = pkts[i];
	}
	return to;
}

/* Sends what the device takes. A packet that its driver refuses to prepare is dropped here, and the burst goes on behind it. Returns how
 * many packets are gone, from the front. */
static uint16_t burst_send(struct port *p, unsigned int worker, uint16_t queue,
	struct rte_mbuf **pkts, uint16_t n, bool must_prepare)
{
	struct eth_port *e = p->priv;
	uint16_t n_gone = 0;

	while (n_gone < n) {
		uint16_t n_left = n - n_gone, n_ready = n_left, n_sent;

		if (must_prepare)
			n_ready = rte_eth_tx_prepare(e->port_id, queue, pkts + n_gone, n_left);
		n_sent = rte_eth_tx_burst(e->port_id, queue, pkts + n_gone, n_ready);
		n_gone += n_sent;
		if (n_sent < n_ready || n_ready == n_left)
			break;
		p->stats[worker]->drops[DROP_TX_ERROR]++;
		rte_pktmbuf_free(pkts[n_gone++]);
	}
	return n_gone;
}

static uint16_t eth_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct eth_port *e = p->priv;
	uint16_t queue = (uint16_t)(worker % e->n_txq), n_gone, n_dropped = 0;
	uint64_t flags = 0;
	bool has_chains = false, must_prepare;

	for (uint16_t i = 0; i < n; i++) {
		flags |= pkts[i]->ol_flags;
		has_chains |= pkts[i]->nb_segs > 1;
	}
	if (unlikely(has_chains && !e->has_multi_segs)) {
		n_dropped = linearize(p, worker, pkts, n);
		pkts += n_dropped;
		n -= n_dropped;
	}
	must_prepare = (flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)) != 0;
	for (uint16_t i = 0; must_prepare && i < n; i++)
		if ((pkts[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0 &&
			(pkts[i]->ol_flags & RTE_MBUF_F_TX_IPV4) != 0)
			pkts[i]->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (e->has_shared_txq)
		rte_spinlock_lock(&e->txqs[queue].lock);
	n_gone = burst_send(p, worker, queue, pkts, n, must_prepare);
	if (e->has_shared_txq)
		rte_spinlock_unlock(&e->txqs[queue].lock);
	return n_dropped + n_gone;
}

static int eth_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	struct eth_port *e = p->priv;

	*out_fd_gen = e->fd_gen;
	if (e->rx_fds[queue] < 0)
		return -ENOTSUP;
	if (!e->has_rx_interrupts)
		return e->rx_fds[queue];
	if (rte_eth_dev_rx_intr_enable(e->port_id, queue) < 0)
		return -ENOTSUP;
	if (rte_eth_rx_queue_count(e->port_id, queue) > 0)
		return -EAGAIN;
	return e->rx_fds[queue];
}

static void eth_rx_disarm(struct port *p, uint16_t queue)
{
	struct eth_port *e = p->priv;

	if (e->has_rx_interrupts && e->rx_fds[queue] >= 0)
		rte_eth_dev_rx_intr_disable(e->port_id, queue);
}

static bool eth_is_up(const struct port *p)
{
	struct eth_port *e = p->priv;
	uint64_t now = rte_rdtsc();
	struct rte_eth_link link;

	/* Some drivers make a system call of it. */
	if (now - atomic_load_explicit(&e->link_checked_tsc, memory_order_relaxed) >
		rte_get_tsc_hz() / 1000 * LINK_CACHE_MS) {
		atomic_store_explicit(&e->link_checked_tsc, now, memory_order_relaxed);
		/* DPDK's driver says up whatever the kernel's device does. */
		if (e->netdev != NULL && e->rx_fds[0] >= 0)
			atomic_store_explicit(&e->is_link_up,
				uplink_netdev_is_running(e->netdev, e->rx_fds[0]),
				memory_order_relaxed);
		else if (rte_eth_link_get_nowait(e->port_id, &link) == 0)
			atomic_store_explicit(&e->is_link_up, link.link_status == RTE_ETH_LINK_UP,
				memory_order_relaxed);
	}
	return atomic_load_explicit(&e->is_link_up, memory_order_relaxed);
}

static size_t eth_describe(const struct port *p, char *buf, size_t size)
{
	const struct eth_port *e = p->priv;
	uint32_t offloads = atomic_load_explicit(&p->tx_offloads, memory_order_relaxed);
	struct rte_eth_stats stats = { 0 };
	struct rte_eth_link link = { 0 };
	int n;

	rte_eth_link_get_nowait(e->port_id, &link);
	rte_eth_stats_get(e->port_id, &stats);
	n = snprintf(buf, size,
		"driver=%s rxq=%u txq=%u link=%s speed_mbps=%u tx_csum=%s tso=%s rx_wake=%s "
		"device_missed=%lu "
		"device_tx_errors=%lu",
		e->driver, p->n_rxq, e->n_txq, eth_is_up(p) ? "up" : "down", link.link_speed,
		(offloads & PORT_TX_CSUM) != 0 ? "device" : "software",
		(offloads & PORT_TX_TSO4) != 0 ? "device" : "software",
		e->rx_fds[0] >= 0 ? "event" : "poll", stats.imissed, stats.oerrors);
	return n < 0 ? 0 : RTE_MIN((size_t)n, size > 0 ? size - 1 : 0);
}

const struct port_ops kind_ethdev_ops = {
	.kind = "ethdev",
	.open = eth_open,
	.close = eth_close,
	.rx = eth_rx,
	.tx = eth_tx,
	.rx_arm = eth_rx_arm,
	.rx_disarm = eth_rx_disarm,
	.is_up = eth_is_up,
	.describe = eth_describe,
};
