/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel devices as uplinks, through packet sockets with virtio-net headers. DPDK's net_af_packet copies each frame once
 * more in both directions, cuts super-frames short without a word and takes unfinished checksums for finished ones;
 * here a kernel peer's packets are what they say they are, and our own super-frames and checksums may be left to the
 * kernel. A device string with ring parameters (framesz=…) still gets DPDK's driver.
 *
 * One socket a receive queue (several: a fanout group by flow hash); any of them sends. A burst is one system call.
 */
#include "pmd/kind_packet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "datapath/base/log.h"
#include "datapath/packet/csum.h"
#include "datapath/packet/gso.h"
#include "datapath/table/tunnel.h"
#include "pmd/err.h"
#include "pmd/mempool.h"
#include "pmd/packet_send.h"
#include "pmd/rx_poll.h"
#include "pmd/uplink_netdev.h"
#include "pmd/vnet_io.h"

#define RX_BATCH 32
#define CUT_MAX 128 /* datagrams that a kernel puts into a super-frame at most */
#define RCVBUF_BYTES (64 << 20)
#define SNDBUF_BYTES (16 << 20)
#define LINK_CACHE_MS 100

union control {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

struct packet_queue {
	struct rx_poll poll;
	uint16_t n_used; /* slots at the front that the last receive has used up */
	struct vnet_rx_slot slots[RX_BATCH];
	struct iovec iov[RX_BATCH][2];
	union control control[RX_BATCH];
	struct mmsghdr msgs[RX_BATCH];
	uint16_t cut_next, n_cut;
	struct rte_mbuf *cut[CUT_MAX]; /* of a tunnel's super-frame */
	uint16_t got_next, n_got;
	struct rte_mbuf *got[RX_BATCH]; /* received, not handed on yet */
} __rte_cache_aligned;

struct packet_port {
	struct uplink_netdev *netdev;
	struct rte_mempool *huge_pool;
	uint32_t n_huges_reserved;
	uint16_t n_queues;
	_Atomic uint64_t n_unreadable; /* super-frames of a kernel's tunnel */
	struct packet_uso uso;
	_Atomic uint64_t link_checked_tsc;
	_Atomic bool is_link_up;
	struct packet_queue queues[PORT_QUEUES_MAX];
};

/* --- set-up --- */

static int socket_setup(int fd, const struct packet_port *k, bool is_promiscuous)
{
	struct packet_mreq mreq = { .mr_ifindex = uplink_netdev_ifindex(k->netdev),
		.mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = uplink_netdev_ifindex(k->netdev) };
	int on = 1, rcvbuf = RCVBUF_BYTES, sndbuf = SNDBUF_BYTES;

	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0)
		return -errno;
	(void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	if (is_promiscuous &&
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return -errno;
	return bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0 ? -errno : 0;
}

static int sockets_open(
	struct port *p, struct packet_port *k, bool is_promiscuous, char *errbuf, size_t errlen)
{
	int fanout = (uplink_netdev_ifindex(k->netdev) & 0xffff) | (PACKET_FANOUT_HASH << 16);

	for (uint16_t q = 0; q < p->n_rxq; q++) {
		int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ret;

		if (fd < 0)
			return err_set(errbuf, errlen, -errno, "no packet socket for '%s': %s",
				uplink_netdev_ifname(k->netdev), strerror(errno));
		rx_poll_init(&k->queues[q].poll, fd);
		k->n_queues = (uint16_t)(q + 1);
		ret = socket_setup(fd, k, is_promiscuous);
		if (ret == 0 && p->n_rxq > 1 &&
			setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout)) < 0)
			ret = -errno;
		if (ret < 0)
			return err_set(errbuf, errlen, ret,
				"the packet socket of '%s' cannot be set up: %s",
				uplink_netdev_ifname(k->netdev), strerror(-ret));
	}
	return 0;
}

static void queue_free(struct packet_queue *q)
{
	for (int i = 0; i < RX_BATCH; i++)
		vnet_slot_free(&q->slots[i]);
	rte_pktmbuf_free_bulk(&q->cut[q->cut_next], (unsigned int)(q->n_cut - q->cut_next));
	rte_pktmbuf_free_bulk(&q->got[q->got_next], (unsigned int)(q->n_got - q->got_next));
}

static void packet_close(struct port *p, bool keep)
{
	struct packet_port *k = p->priv;

	if (k == NULL)
		return;
	for (uint16_t q = 0; q < k->n_queues; q++) {
		close(k->queues[q].poll.fd);
		queue_free(&k->queues[q]);
	}
	uplink_netdev_close(k->netdev, keep);
	if (k->n_huges_reserved != 0)
		mempool_release(k->huge_pool, k->n_huges_reserved);
	free(k);
	p->priv = NULL;
}

/* Gives the slots that were used new buffers and their messages a clean start. False: buffers ran out. */
static bool slots_fill(struct port *p, struct packet_port *k, struct packet_queue *q)
{
	while (q->n_used > 0) {
		uint16_t i = (uint16_t)(q->n_used - 1);

		if (unlikely(!vnet_slot_fill(&q->slots[i], p->pool, k->huge_pool)))
			return false;
		vnet_slot_iov(&q->slots[i], q->iov[i]);
		q->msgs[i].msg_hdr = (struct msghdr){ .msg_iov = q->iov[i],
			.msg_iovlen = 2,
			.msg_control = &q->control[i],
			.msg_controllen = sizeof(q->control[i]) };
		q->n_used = i;
	}
	return true;
}

static int buffers_get(struct port *p, struct packet_port *k, char *errbuf, size_t errlen)
{
	int ret;

	k->huge_pool = mempool_get_huge((unsigned int)p->pool->socket_id);
	if (k->huge_pool == NULL)
		return err_set(errbuf, errlen, -ENOBUFS, "no memory for packet buffers of 64 KiB");
	ret = mempool_reserve(k->huge_pool, (uint32_t)p->n_rxq * RX_BATCH, errbuf, errlen);
	if (ret < 0)
		return ret;
	k->n_huges_reserved = (uint32_t)p->n_rxq * RX_BATCH;
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		k->queues[q].n_used = RX_BATCH;
		if (!slots_fill(p, k, &k->queues[q]))
			return err_set(errbuf, errlen, -ENOBUFS, "packet buffers ran out");
	}
	return 0;
}

static int packet_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen)
{
	struct packet_port *k = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*k));
	struct rte_ether_addr mac;
	int ret;

	if (k == NULL)
		return err_set(errbuf, errlen, -ENOMEM, "no memory for an uplink");
	memset(k, 0, sizeof(*k));
	p->priv = k;
	ret = uplink_netdev_open(
		cfg->device, p->mtu, p->n_rxq, cfg->n_desc, NULL, 0, &k->netdev, errbuf, errlen);
	p->is_adopted = uplink_netdev_was_ours(k->netdev);
	if (ret < 0)
		goto err_close;
	mac = uplink_netdev_mac(k->netdev);
	if (rte_is_zero_ether_addr(&p->mac))
		p->mac = mac;
	ret = sockets_open(p, k, !rte_is_same_ether_addr(&p->mac, &mac), errbuf, errlen);
	if (ret == 0)
		ret = buffers_get(p, k, errbuf, errlen);
	if (ret < 0)
		goto err_close;
	/* The kernel finishes for its device what that does not do itself; UDP super-frames since Linux 6.2 only. */
	atomic_store_explicit(
		&p->tx_offloads, PORT_TX_CSUM | PORT_TX_TSO4 | PORT_TX_TSO6, memory_order_relaxed);
	packet_uso_init(&k->uso, k->queues[0].poll.fd, uplink_netdev_ifname(k->netdev));
	return 0;

err_close:
	packet_close(p, p->is_adopted);
	return ret;
}

/* --- packets --- */

/* A checksum that is unfinished elsewhere than in the outermost transport header (a kernel's tunnel): finished here. */
static bool csum_complete(struct rte_mbuf *m, const struct virtio_net_hdr *hdr)
{
	uint32_t start = rte_le_to_cpu_16(hdr->csum_start),
		 at = start + rte_le_to_cpu_16(hdr->csum_offset);
	uint64_t sum = 0;
	uint16_t csum;

	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE || at + 2 > m->data_len ||
		start >= m->pkt_len || !csum_add_mbuf(&sum, m, start, m->pkt_len - start))
		return false;
	csum = (uint16_t)~csum_fold(sum);
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, at), &csum, sizeof(csum));
	m->ol_flags = 0;
	return true;
}

static bool has_vlan_tag(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		return (aux.tp_status & TP_STATUS_VLAN_VALID) != 0;
	}
	return false;
}

/* The received frame, or NULL: counted. */
static struct rte_mbuf *packet_take(
	struct vnet_rx_slot *slot, struct mmsghdr *msg, struct port_stats *stats)
{
	enum drop_reason why = DROP_VNET_HDR;
	struct virtio_net_hdr hdr;
	struct rte_mbuf *m;

	if (unlikely((msg->msg_hdr.msg_flags & MSG_TRUNC) != 0)) {
		stats->drops[DROP_RX_TRUNCATED]++;
		return NULL;
	}
	/* the kernel has taken the tag out of the frame */
	if (unlikely(has_vlan_tag(&msg->msg_hdr))) {
		stats->drops[DROP_ETH_VLAN]++;
		return NULL;
	}
	m = vnet_slot_take(slot, msg->msg_len, &hdr, &why);
	if (unlikely(m == NULL)) {
		stats->drops[why]++;
		return NULL;
	}
	if (likely(vnet_hdr_is_plain(&hdr)) || vnet_hdr_to_mbuf(&hdr, m) || csum_complete(m, &hdr))
		return m;
	stats->drops[DROP_VNET_HDR]++;
	rte_pktmbuf_free(m);
	return NULL;
}

/* A super-frame that the header cannot express; the kernel has dropped it. */
static void unreadable_count(struct packet_port *k, struct port_stats *stats)
{
	stats->drops[DROP_VNET_HDR]++;
	atomic_fetch_add_explicit(&k->n_unreadable, 1, memory_order_relaxed);
}

/* Receives a batch into q->got. False: nothing. */
static bool batch_receive(
	struct port *p, struct packet_queue *q, unsigned int worker, struct port_stats *stats)
{
	struct packet_port *k = p->priv;
	int n;

	if (!rx_poll_is_ready(&q->poll, worker))
		return false;
	if (unlikely(!slots_fill(p, k, q)))
		return false; /* the packets wait in the kernel */
	n = recvmmsg(q->poll.fd, q->msgs, RX_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0) {
		if (errno == EAGAIN)
			rx_poll_set_empty(&q->poll);
		else if (errno == EINVAL)
			unreadable_count(k, stats);
		return false;
	}
	q->n_used = (uint16_t)n;
	q->got_next = q->n_got = 0;
	for (int i = 0; i < n; i++) {
		struct rte_mbuf *m = packet_take(&q->slots[i], &q->msgs[i], stats);

		if (likely(m != NULL))
			q->got[q->n_got++] = m;
	}
	return true;
}

/* Whether the frame is several tunnel packets, which the pipeline must see one by one. */
static bool is_tunnel_superframe(const struct rte_mbuf *m)
{
	const struct rte_udp_hdr *udp;

	if (likely((m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) == 0))
		return false;
	/* vnet_hdr_to_mbuf() has seen the headers in the first segment */
	udp = rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l2_len + m->l3_len);
	return tunnel_listens(rte_be_to_cpu_16(udp->dst_port));
}

static void superframe_cut(
	struct port *p, struct packet_queue *q, struct rte_mbuf *m, struct port_stats *stats)
{
	int n = gso_segment(m, p->pool, 0, q->cut, CUT_MAX);

	q->cut_next = 0;
	q->n_cut = n > 0 ? (uint16_t)n : 0;
	if (likely(n > 0))
		return;
	stats->drops[n == -ENOMEM ? DROP_NO_MBUF : DROP_GSO_FAILED]++;
	rte_pktmbuf_free(m);
}

static uint16_t packet_rx(
	struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct packet_port *k = p->priv;
	struct packet_queue *q = &k->queues[queue];
	uint16_t n = 0;

	if (q->cut_next == q->n_cut && q->got_next == q->n_got &&
		!batch_receive(p, q, worker, p->stats[worker]))
		return 0;
	while (n < max) {
		struct rte_mbuf *m;

		if (q->cut_next < q->n_cut) {
			pkts[n++] = q->cut[q->cut_next++];
			continue;
		}
		if (q->got_next == q->n_got)
			break;
		m = q->got[q->got_next++];
		if (unlikely(is_tunnel_superframe(m)))
			superframe_cut(p, q, m, p->stats[worker]);
		else
			pkts[n++] = m;
	}
	return n;
}

static uint16_t packet_tx(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n)
{
	struct packet_port *k = p->priv;
	int fd = k->queues[worker % k->n_queues].poll.fd;

	return packet_send(p, &k->uso, fd, p->stats[worker], pkts, n);
}

static int packet_rx_arm(struct port *p, uint16_t queue, uint32_t *out_fd_gen)
{
	struct packet_port *k = p->priv;

	return rx_poll_arm(&k->queues[queue].poll, out_fd_gen);
}

static void packet_rx_disarm(struct port *p, uint16_t queue)
{
	struct packet_port *k = p->priv;

	rx_poll_disarm(&k->queues[queue].poll);
}

static bool packet_is_up(const struct port *p)
{
	struct packet_port *k = p->priv;
	uint64_t now = rte_rdtsc();

	if (now - atomic_load_explicit(&k->link_checked_tsc, memory_order_relaxed) >
		rte_get_tsc_hz() / 1000 * LINK_CACHE_MS) {
		atomic_store_explicit(&k->link_checked_tsc, now, memory_order_relaxed);
		atomic_store_explicit(&k->is_link_up,
			uplink_netdev_is_running(k->netdev, k->queues[0].poll.fd),
			memory_order_relaxed);
	}
	return atomic_load_explicit(&k->is_link_up, memory_order_relaxed);
}

static size_t packet_describe(const struct port *p, char *buf, size_t size)
{
	struct packet_port *k = p->priv;
	struct tpacket_stats stats = { 0 };
	socklen_t len = sizeof(stats);
	int n;

	(void)getsockopt(k->queues[0].poll.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
	n = snprintf(buf, size,
		"driver=packet_socket iface=%s queues=%u link=%s tx_csum=kernel tso=kernel "
		"uso=%s rx_wake=event "
		"kernel_dropped=%u unreadable_superframes=%lu",
		uplink_netdev_ifname(k->netdev), k->n_queues, packet_is_up(p) ? "up" : "down",
		atomic_load_explicit(&k->uso.is_on, memory_order_relaxed) ? "device" : "no",
		stats.tp_drops, atomic_load_explicit(&k->n_unreadable, memory_order_relaxed));
	return n < 0 ? 0 : RTE_MIN((size_t)n, size > 0 ? size - 1 : 0);
}

const struct port_ops packet_ops = {
	.kind = "ethdev",
	.open = packet_open,
	.close = packet_close,
	.rx = packet_rx,
	.tx = packet_tx,
	.rx_arm = packet_rx_arm,
	.rx_disarm = packet_rx_disarm,
	.is_up = packet_is_up,
	.describe = packet_describe,
};
