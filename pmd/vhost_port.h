/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One vhost port, shared by its three sides: workers (kind_vhost.c), librte_vhost's control thread (callbacks in
 * kind_vhost.c) and the front's thread (vhost_front.c), which stands between the guest and librte_vhost.
 *
 *   guest ── pod socket ── front: complete, checked messages ── inner socket ── librte_vhost ── vid ── workers
 *
 * Workers touch a device only while they see its vid ≥ 0, and librte_vhost may free it only after the callback
 * destroy_device() has set vid to -1 and waited for a grace period.
 */
#ifndef LEAT_PMD_VHOST_PORT_H
#define LEAT_PMD_VHOST_PORT_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "datapath/base/log.h"
#include "datapath/base/rcu.h"
#include "datapath/pipeline/port.h"
#include "pmd/vhost_msg.h"
#include "pmd/vhost_sock.h"

#define VHOST_VRINGS_MAX (2 * PORT_QUEUES_MAX)
#define VHOST_TX_NONE UINT8_MAX
#define VHOST_VID_NONE (-1)

/* Why a port is cut off from its peer until that connects again. */
enum vhost_fault {
	VHOST_FAULT_NONE,
	VHOST_FAULT_MEMORY,
	VHOST_FAULT_DESC,
	VHOST_FAULT_FRAME,
	VHOST_FAULT_CALL,
	VHOST_FAULT_N
};

enum vhost_notify {
	VHOST_NOTIFY_UNKNOWN,
	VHOST_NOTIFY_OFF,
	VHOST_NOTIFY_UNPOLLED,
	VHOST_NOTIFY_ON
};

/* A receive queue; the worker's own but for the atomics. */
struct vhost_rxq {
	uint16_t last_avail;   /* next index that librte_vhost will take */
	uint8_t notify;	       /* enum vhost_notify */
	_Atomic bool is_stale; /* set by librte_vhost's thread: the ring is a new one */
	_Atomic bool has_kick; /* set by the front: the guest can wake us */
	uint32_t n_empty;      /* polls without a packet in a row */
	uint32_t n_stuck;      /* looks at a ring that has entries but gives no packet */
	uint32_t n_bad_descs;  /* since the ring is new */
	int epoll_fd; /* holds the guest's kick and the port's wake descriptor, both edge-triggered */
} __rte_cache_aligned;

/* Connection to the guest; the front's thread's own. */
struct vhost_conn {
	int guest_fd, inner_fd; /* -1: none */
	uint64_t started_ns;
	/* guest → librte_vhost */
	struct vhost_user_msg msg;
	uint32_t msg_len;	 /* bytes received so far */
	uint64_t msg_started_ns; /* first byte of msg */
	int fds[VHOST_MSG_FDS_MAX];
	unsigned int n_fds;
	bool is_msg_ready; /* checked, waits for the inner socket */
	uint32_t msg_sent;
	/* librte_vhost → guest: one reply at a time */
	bool is_reply_due;
	struct vhost_user_msg reply;
	uint32_t reply_len, reply_sent;
	bool is_reply_ready;
	/* budget of this tick */
	uint32_t n_msgs, n_mem_tables;
	uint32_t guest_events, inner_events; /* registered with epoll */
};

/* A socket that librte_vhost listens on. */
struct vhost_inner {
	char path[64]; /* librte_vhost's name for it; ends in the port's slot */
	int fd;	       /* O_PATH: the file, whose name is gone */
};

struct vhost_port {
	/* read by workers each burst */
	_Atomic int vid;
	uint16_t frame_max;			   /* bytes of a frame that is no super-frame */
	_Atomic uint8_t tx_queue[RCU_MAX_READERS]; /* by worker: queue pair, or VHOST_TX_NONE */

	struct vhost_rxq rxq[PORT_QUEUES_MAX];

	/* any thread */
	_Atomic uint8_t fault; /* enum vhost_fault, set by whoever sees it, taken by the front */
	_Atomic uint32_t n_devices;  /* connections that librte_vhost still holds */
	_Atomic uint64_t features;   /* negotiated */
	_Atomic uint32_t guest_mtu;  /* bytes; 0: not told */
	_Atomic bool is_connected;   /* the front has a guest */
	_Atomic bool is_quarantined; /* cut off, and the peer has not come back yet */
	_Atomic uint32_t n_quarantines, n_refused, n_connects;
	_Atomic uint32_t last_fault; /* enum vhost_fault */

	/* librte_vhost's thread */
	uint32_t tx_enabled; /* mask of queue pairs */
	_Atomic uint32_t rx_enabled;

	/* set at open, then constant */
	struct port *port;
	uint16_t n_queues;
	bool is_client;
	struct vhost_msg_limits limits;
	struct vhost_sock_owner owner;
	char *path; /* the pod's socket */
	struct vhost_inner inner;
	int wake_fd;	 /* eventfd: the port came up */
	uint32_t gen_fd; /* another one for each port opened */

	/* front, under its lock */
	struct log_limit log_limit;
	struct vhost_sock_file sock_file;
	int listen_fd;
	bool is_listening; /* registered with epoll */
	bool is_cut;	   /* being closed: no guest any more */
	uint32_t gen;	   /* of epoll registrations */
	uint64_t
		gone_ns; /* since when the guest is gone while librte_vhost still holds its device; 0: no */
	uint64_t not_before_ns; /* accept or connect again */
	uint32_t n_faults_recent;
	uint64_t last_fault_ns;
	struct vhost_conn conn;
	int kick_fds[PORT_QUEUES_MAX];	/* duplicates of the guest's descriptors; -1: none */
	int call_fds[VHOST_VRINGS_MAX]; /* kept until librte_vhost has let go of the device */
};

#endif
