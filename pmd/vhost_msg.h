/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages as they arrive from a guest: layout and checks. What passes here has a known request, exactly
 * the size and descriptors that the request takes, ring indexes that exist and ring sizes that are sane. Pure functions,
 * any thread. Protocol: QEMU's "Vhost-user Protocol" specification.
 */
#ifndef LEAT_PMD_VHOST_MSG_H
#define LEAT_PMD_VHOST_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/vhost.h>

#define VHOST_MSG_HDR_BYTES 12
#define VHOST_MSG_REGIONS_MAX 8
#define VHOST_MSG_FDS_MAX VHOST_MSG_REGIONS_MAX
#define VHOST_MSG_RING_MAX 4096 /* entries of a ring */

#define VHOST_MSG_VERSION 0x1u
#define VHOST_MSG_VERSION_MASK 0x3u
#define VHOST_MSG_F_REPLY 0x4u
#define VHOST_MSG_F_NEED_REPLY 0x8u

#define VHOST_MSG_VRING_MASK 0xffull
#define VHOST_MSG_VRING_NOFD 0x100ull

enum vhost_request {
	VHOST_REQ_GET_FEATURES = 1,
	VHOST_REQ_SET_FEATURES = 2,
	VHOST_REQ_SET_OWNER = 3,
	VHOST_REQ_RESET_OWNER = 4,
	VHOST_REQ_SET_MEM_TABLE = 5,
	VHOST_REQ_SET_VRING_NUM = 8,
	VHOST_REQ_SET_VRING_ADDR = 9,
	VHOST_REQ_SET_VRING_BASE = 10,
	VHOST_REQ_GET_VRING_BASE = 11,
	VHOST_REQ_SET_VRING_KICK = 12,
	VHOST_REQ_SET_VRING_CALL = 13,
	VHOST_REQ_SET_VRING_ERR = 14,
	VHOST_REQ_GET_PROTOCOL_FEATURES = 15,
	VHOST_REQ_SET_PROTOCOL_FEATURES = 16,
	VHOST_REQ_GET_QUEUE_NUM = 17,
	VHOST_REQ_SET_VRING_ENABLE = 18,
	VHOST_REQ_NET_SET_MTU = 20,
	VHOST_REQ_SET_STATUS = 39,
	VHOST_REQ_GET_STATUS = 40,
	VHOST_REQ_N
};

struct vhost_msg_region {
	uint64_t guest_addr, size, user_addr, mmap_offset; /* bytes */
};

struct vhost_user_msg {
	uint32_t request, flags, size; /* size: bytes of payload */
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t n_regions, padding;
			struct vhost_msg_region regions[VHOST_MSG_REGIONS_MAX];
		} mem;
		uint8_t bytes[264];
	};
} __attribute__((packed));

struct vhost_msg_limits {
	uint16_t n_vrings;   /* two a queue pair */
	uint64_t region_max; /* bytes that all regions of a table may map */
	uint64_t features;   /* virtio features offered */
	uint64_t protocol_features;
};

/* Payload bytes that may follow this header, or -1 if the header itself is refused (*out_why says why). */
int vhost_msg_header_check(const struct vhost_user_msg *msg, const char **out_why);

/* Whether the complete message with n_fds descriptors may go on to librte_vhost; else *out_why says why not. */
bool vhost_msg_check(const struct vhost_user_msg *msg, unsigned int n_fds,
	const struct vhost_msg_limits *limits, const char **out_why);

/* Whether librte_vhost answers this message. */
bool vhost_msg_has_reply(const struct vhost_user_msg *msg);

/* "set-mem-table", or "?". Static. */
const char *vhost_msg_name(uint32_t request);

#endif
