/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/packet_send.h"

#include <errno.h>
#include <sys/socket.h>

#include "datapath/packet/gso.h"
#include "datapath/packet/uso.h"
#include "pmd/netdev_feature.h"
#include "pmd/vnet_io.h"

#define TX_BATCH 32
#define TX_IOV_TOTAL (TX_BATCH * 8)

void packet_uso_init(struct packet_uso *uso, int fd, const char *ifname)
{
	uso->ifname = ifname;
	uso->feature = netdev_feature_find(fd, ifname, "tx-udp-segmentation");
	atomic_store_explicit(
		&uso->is_on, netdev_feature_is_on(fd, ifname, uso->feature), memory_order_relaxed);
}

/* Sends up to TX_BATCH packets in one call; returns how many the kernel took, or -errno of the first. */
static int batch_send(int fd, struct rte_mbuf **pkts, uint16_t n)
{
	struct iovec iov[TX_IOV_TOTAL + VNET_IOV_MAX];
	struct virtio_net_hdr hdrs[TX_BATCH];
	struct mmsghdr msgs[TX_BATCH];
	int n_iov = 0, sent;
	uint16_t i;

	for (i = 0; i < n && i < TX_BATCH && n_iov < TX_IOV_TOTAL; i++) {
		int used = vnet_tx_iov(pkts[i], &hdrs[i], &iov[n_iov], VNET_IOV_MAX);

		if (unlikely(used == 0))
			break;
		msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[n_iov],
			.msg_iovlen = (size_t)used };
		n_iov += used;
	}
	if (unlikely(i == 0))
		return -EMSGSIZE;
	sent = sendmmsg(fd, msgs, i, MSG_DONTWAIT);
	return likely(sent > 0) ? sent : -errno;
}

/* Whether err says that the super-frame m will never pass, as opposed to not now. */
static bool is_uso_refused(struct packet_uso *uso, int fd, const struct rte_mbuf *m, int err)
{
	if ((m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) == 0)
		return false;
	/* EINVAL: before Linux 6.2. ENOBUFS: also a full queue; or somebody has turned the feature off. */
	if (err != -EINVAL &&
		(err != -ENOBUFS || netdev_feature_is_on(fd, uso->ifname, uso->feature)))
		return false;
	atomic_store_explicit(&uso->is_on, false, memory_order_relaxed);
	return true;
}

/* Takes pkts[from…end-1], what uso_merge() made of the last packets of n, apart again. They then fill the array to its end;
 * returns where they begin. Those for which there are no buffers are dropped, counted. */
static uint16_t superframes_undo(struct port *p, struct port_stats *stats, struct rte_mbuf **pkts,
	uint16_t from, uint16_t end, uint16_t n)
{
	uint16_t begin = n;

	while (end > from) {
		struct rte_mbuf *m = pkts[--end];
		uint16_t n_cut = gso_n_segments(m);

		/* as many slots as there were before: those of earlier packets are not reached */
		begin = (uint16_t)(begin - n_cut);
		if (n_cut == 1) {
			pkts[begin] = m;
		} else if (unlikely(gso_segment(m, p->pool, 0, &pkts[begin], n_cut) < 0)) {
			begin = (uint16_t)(begin + n_cut);
			stats->drops[DROP_NO_MBUF] += n_cut;
			rte_pktmbuf_free(m);
		}
	}
	return begin;
}

uint16_t packet_send(struct port *p, struct packet_uso *uso, int fd, struct port_stats *stats,
	struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t done = 0, end = n;

	if (n > 1 && atomic_load_explicit(&uso->is_on, memory_order_relaxed))
		end = uso_merge(pkts, n);
	while (done < end) {
		int sent = batch_send(fd, &pkts[done], (uint16_t)(end - done));

		if (unlikely(sent < 0)) {
			if (is_uso_refused(uso, fd, pkts[done], sent)) {
				done = superframes_undo(p, stats, pkts, done, end, n);
				end = n;
				continue;
			}
			if (sent == -EAGAIN || sent == -ENOBUFS || sent == -ENETDOWN ||
				sent == -EINTR)
				break;
			stats->drops[DROP_TX_ERROR] += gso_n_segments(pkts[done]);
			sent = 1;
		}
		rte_pktmbuf_free_bulk(&pkts[done], (unsigned int)sent);
		done = (uint16_t)(done + sent);
	}
	return end < n ? superframes_undo(p, stats, pkts, done, end, n) : done;
}
