/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port, as the pipeline sees it. Port kinds (pmd/kind_*.c) fill struct port_ops; the control thread opens and
 * closes ports, workers poll their receive queues and transmit. A port is unpublished and a grace period passes before
 * ops->close(), so rx/tx never run on a closed port.
 *
 * Packet metadata between drivers and pipeline lives in standard mbuf fields only:
 *   ol_flags & RTE_MBUF_F_TX_L4_MASK  the L4 checksum is unfinished: the field holds the pseudo-header sum
 *                                     (virtio NEEDS_CSUM); l2_len, l3_len and _TX_IPV4/_TX_IPV6 are valid
 *   ol_flags & RTE_MBUF_F_TX_TCP_SEG or RTE_MBUF_F_TX_UDP_SEG
 *                                     a super-frame: tso_segsz, l2_len, l3_len, l4_len valid; implies the above
 *   neither                           checksums in the packet are what was on the wire
 * A receiving driver validates guest metadata on a private copy before setting these. The pipeline finishes
 * checksums and segments for a port whose tx_offloads lack the bit.
 * Packets are chains of mbufs (nb_segs ≥ 1); the first segment of a received packet holds at least
 * min(pkt_len, 128) bytes and RTE_PKTMBUF_HEADROOM (≥ 128) free bytes in front.
 */
#ifndef LEAT_PIPELINE_PORT_H
#define LEAT_PIPELINE_PORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "datapath/base/addr.h"
#include "datapath/base/drop.h"

#define PORT_MAX 1024
#define PORT_NAME_LEN 64
#define PORT_QUEUES_MAX 16
#define PORT_BURST_MAX 64
#define PORT_ADDRS_MAX 16
#define PORT_ID_NONE UINT16_MAX

struct port;
struct rte_mempool;

enum port_role { PORT_ROLE_POD, PORT_ROLE_UPLINK, PORT_ROLE_HOST, PORT_ROLE_N };

/* tx_offloads: what the far side takes unfinished. */
#define PORT_TX_CSUM (1u << 0) /* unfinished TCP/UDP checksum */
#define PORT_TX_TSO4 (1u << 1)
#define PORT_TX_TSO6 (1u << 2)
#define PORT_TX_USO (1u << 3)

/* What port.add asks for; strings live as long as the call. */
struct port_config {
	char name[PORT_NAME_LEN];
	const char *kind; /* "ethdev", "vhost", "tap", "ring" */
	enum port_role role;
	uint16_t zone;
	uint16_t mtu;	   /* bytes of L3 packet; 0: the kind's default (1500) */
	uint16_t n_queues; /* queue pairs wanted; 0: 1 */
	uint16_t n_desc;   /* ring size wanted; 0: the kind's default */
	struct rte_ether_addr
		mac; /* the far side's own MAC (pod's), zero: from addrs[0] or random */
	uint8_t n_addrs;
	struct ip_prefix_host {
		struct ip_addr addr;
		uint8_t len;
	} addrs[PORT_ADDRS_MAX]; /* far side's addresses (pod, host) or leatd's own on an uplink */
	/* ethdev */
	const char *device; /* EAL device string: "0000:03:00.0", "net_af_packet0,iface=eth0" … */
	/* vhost */
	const char *socket_path;
	bool is_vhost_client;		/* leatd connects; else it listens */
	int32_t socket_uid, socket_gid; /* -1: leave */
	uint32_t socket_mode;		/* 0: 0660 */
	/* tap */
	const char *ifname; /* final name in its namespace */
	int netns_fd;	    /* -1: stay in leatd's namespace; not taken over */
	int tap_fd; /* ≥ 0: re-attach to this persistent tap by name instead of creating */
	bool is_gateway_default; /* add default routes via 169.254.1.1 / fe80::1 */
};

struct port_stats {
	uint64_t rx_pkts, rx_bytes, tx_pkts, tx_bytes;
	uint64_t drops
		[DROP_N]; /* by reason, of packets that came in here; TX_* count on the output port */
} __rte_cache_aligned;

struct port_ops {
	const char *kind;

	/* Creates the device and fills p->priv, n_rxq, tx_offloads, mac, mtu. Control thread; may take long.
	 * 0 or -errno, with a sentence for a person in errbuf. Undoes what it did on error, but leaves a device that was
	 * there before (p->is_adopted). */
	int (*open)(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen);

	/* Frees all of p->priv. Control thread, after a grace period. keep: leave what outlives a restart
	 * (persistent tap, vhost socket) in place; else remove it. */
	void (*close)(struct port *p, bool keep);

	/* Up to max (≤ PORT_BURST_MAX) packets. Worker that owns the queue. Never blocks. Packets that the driver
	 * must discard are counted in p->stats[worker]->drops. */
	uint16_t (*rx)(struct port *p, uint16_t queue, unsigned int worker, struct rte_mbuf **pkts,
		uint16_t max);

	/* Sends; takes ownership of the first `return value` packets, the rest stay the caller's (which
	 * counts and frees them). Any worker, also several at once. Never blocks. */
	uint16_t (*tx)(struct port *p, unsigned int worker, struct rte_mbuf **pkts, uint16_t n);

	/* About to sleep: enables wake-ups. A descriptor that becomes readable when packets arrive
	 * (*out_fd_gen changes whenever it is a new one under the same number), -EAGAIN if packets are already there,
	 * -ENOTSUP if the queue must be polled (the worker then sleeps ≤ 500 µs), -ENOLINK if nothing can come.
	 * The worker that owns the queue. */
	int (*rx_arm)(struct port *p, uint16_t queue, uint32_t *out_fd_gen);

	/* Awake again: disables wake-ups. May be NULL. */
	void (*rx_disarm)(struct port *p, uint16_t queue);

	/* Whether the far side is there. Any thread. */
	bool (*is_up)(const struct port *p);

	/* Kind-specific details as "key=value" pairs for port.show; may be NULL. Control thread. */
	size_t (*describe)(const struct port *p, char *buf, size_t size);
};

struct port {
	/* read by workers each burst; immutable after open unless said */
	const struct port_ops *ops;
	void *priv;
	uint16_t id; /* index into the port table */
	uint16_t zone;
	uint16_t n_rxq;
	uint8_t role;
	_Atomic uint8_t
		is_shared; /* several endpoints, each with its MAC, behind it (a VM with pods) */
	_Atomic uint32_t tx_offloads; /* PORT_TX_*; the driver may change it on reconnect */
	uint32_t endpoint_idx; /* the endpoint behind a pod port, or UINT32_MAX; set by control */
	uint16_t mtu;
	uint16_t
		tso_min_bytes; /* TCP segments with less payload are made in software; 0: with PORT_TX_TSO*, none */
	struct rte_ether_addr mac;    /* pod, host: the far side's; uplink: leatd's own */
	struct rte_ether_addr gw_mac; /* what the far side sees as its gateway (leatd's side) */
	struct port_stats *stats[64]; /* by worker id; allocated before publishing */

	/* cold */
	char name[PORT_NAME_LEN];
	uint8_t n_addrs;
	struct ip_prefix_host addrs[PORT_ADDRS_MAX];
	struct rte_mempool *pool; /* where rx takes its buffers; set before open */
	char *ifname;
	bool is_adopted; /* by open(): the device was there before, and is not ours to remove when set-up fails */
};

#endif
