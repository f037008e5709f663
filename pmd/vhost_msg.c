/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_msg.h"

#include <assert.h>
#include <stddef.h>

static_assert(
	offsetof(struct vhost_user_msg, u64) == VHOST_MSG_HDR_BYTES, "layout of the protocol");

#define MEM_FIXED_BYTES 8
#define SIZE_MEM UINT16_MAX /* depends on the number of regions */

/* Migration logging, buffers of requests in flight, IOMMU, postcopy and back-channels are not offered, so not here. */
static const struct request_info {
	const char *name;
	uint16_t size; /* bytes of payload, exactly */
	bool has_reply;
} requests[VHOST_REQ_N] = {
	[VHOST_REQ_GET_FEATURES] = { "get-features", 0, true },
	[VHOST_REQ_SET_FEATURES] = { "set-features", 8, false },
	[VHOST_REQ_SET_OWNER] = { "set-owner", 0, false },
	[VHOST_REQ_RESET_OWNER] = { "reset-owner", 0, false },
	[VHOST_REQ_SET_MEM_TABLE] = { "set-mem-table", SIZE_MEM, false },
	[VHOST_REQ_SET_VRING_NUM] = { "set-vring-num", 8, false },
	[VHOST_REQ_SET_VRING_ADDR] = { "set-vring-addr", sizeof(struct vhost_vring_addr), false },
	[VHOST_REQ_SET_VRING_BASE] = { "set-vring-base", 8, false },
	[VHOST_REQ_GET_VRING_BASE] = { "get-vring-base", 8, true },
	[VHOST_REQ_SET_VRING_KICK] = { "set-vring-kick", 8, false },
	[VHOST_REQ_SET_VRING_CALL] = { "set-vring-call", 8, false },
	[VHOST_REQ_SET_VRING_ERR] = { "set-vring-err", 8, false },
	[VHOST_REQ_GET_PROTOCOL_FEATURES] = { "get-protocol-features", 0, true },
	[VHOST_REQ_SET_PROTOCOL_FEATURES] = { "set-protocol-features", 8, false },
	[VHOST_REQ_GET_QUEUE_NUM] = { "get-queue-num", 0, true },
	[VHOST_REQ_SET_VRING_ENABLE] = { "set-vring-enable", 8, false },
	[VHOST_REQ_NET_SET_MTU] = { "net-set-mtu", 8, false },
	[VHOST_REQ_SET_STATUS] = { "set-status", 8, false },
	[VHOST_REQ_GET_STATUS] = { "get-status", 0, true },
};

static const struct request_info *request_find(uint32_t request)
{
	return request < VHOST_REQ_N && requests[request].name != NULL ? &requests[request] : NULL;
}

const char *vhost_msg_name(uint32_t request)
{
	const struct request_info *info = request_find(request);

	return info != NULL ? info->name : "?";
}

bool vhost_msg_has_reply(const struct vhost_user_msg *msg)
{
	const struct request_info *info = request_find(msg->request);

	return (info != NULL && info->has_reply) || (msg->flags & VHOST_MSG_F_NEED_REPLY) != 0;
}

static bool refuse(const char **out_why, const char *why)
{
	*out_why = why;
	return false;
}

int vhost_msg_header_check(const struct vhost_user_msg *msg, const char **out_why)
{
	const struct request_info *info = request_find(msg->request);
	uint32_t n_regions;

	if (info == NULL)
		*out_why = "request is not one that leat offers";
	else if ((msg->flags & ~VHOST_MSG_F_NEED_REPLY) != VHOST_MSG_VERSION)
		*out_why = "flags of the header";
	else if (info->size == SIZE_MEM) {
		n_regions = (msg->size - MEM_FIXED_BYTES) / sizeof(struct vhost_msg_region);
		if (msg->size >= MEM_FIXED_BYTES && n_regions <= VHOST_MSG_REGIONS_MAX &&
			msg->size == MEM_FIXED_BYTES + n_regions * sizeof(struct vhost_msg_region))
			return (int)msg->size;
		*out_why = "payload size";
	} else if (msg->size != info->size) {
		*out_why = "payload size";
	} else {
		return (int)msg->size;
	}
	return -1;
}

static bool mem_check(const struct vhost_user_msg *msg, unsigned int n_fds, uint64_t region_max,
	const char **out_why)
{
	uint32_t n = msg->mem.n_regions;
	uint64_t sum = 0;

	if (n == 0 || n > VHOST_MSG_REGIONS_MAX ||
		msg->size != MEM_FIXED_BYTES + n * sizeof(struct vhost_msg_region))
		return refuse(out_why, "number of memory regions");
	if (n_fds != n)
		return refuse(out_why, "number of descriptors");
	for (uint32_t i = 0; i < n; i++) {
		struct vhost_msg_region r = msg->mem.regions[i];

		if (r.size == 0 || r.size > region_max || r.mmap_offset > region_max ||
			r.guest_addr + r.size < r.size || r.user_addr + r.size < r.size)
			return refuse(out_why, "size or offset of a memory region");
		sum += r.size + r.mmap_offset;
		for (uint32_t j = 0; j < i; j++) {
			struct vhost_msg_region o = msg->mem.regions[j];

			if (r.guest_addr < o.guest_addr + o.size &&
				o.guest_addr < r.guest_addr + r.size)
				return refuse(out_why, "overlapping memory regions");
		}
	}
	return sum <= region_max || refuse(out_why, "size or offset of a memory region");
}

static bool vring_fd_check(const struct vhost_user_msg *msg, unsigned int n_fds, uint16_t n_vrings,
	const char **out_why)
{
	if ((msg->u64 & ~(VHOST_MSG_VRING_MASK | VHOST_MSG_VRING_NOFD)) != 0 ||
		(msg->u64 & VHOST_MSG_VRING_MASK) >= n_vrings)
		return refuse(out_why, "ring index");
	return n_fds == ((msg->u64 & VHOST_MSG_VRING_NOFD) != 0 ? 0 : 1) ||
		refuse(out_why, "number of descriptors");
}

static bool ring_num_check(uint32_t num, const char **out_why)
{
	return (num != 0 && num <= VHOST_MSG_RING_MAX && (num & (num - 1)) == 0) ||
		refuse(out_why, "ring size");
}

bool vhost_msg_check(const struct vhost_user_msg *msg, unsigned int n_fds,
	const struct vhost_msg_limits *limits, const char **out_why)
{
	struct vhost_vring_state state = msg->state;

	if (vhost_msg_header_check(msg, out_why) < 0)
		return false;
	switch (msg->request) {
	case VHOST_REQ_SET_MEM_TABLE:
		return mem_check(msg, n_fds, limits->region_max, out_why);
	case VHOST_REQ_SET_VRING_KICK:
	case VHOST_REQ_SET_VRING_CALL:
	case VHOST_REQ_SET_VRING_ERR:
		return vring_fd_check(msg, n_fds, limits->n_vrings, out_why);
	default:
		break;
	}
	if (n_fds != 0)
		return refuse(out_why, "number of descriptors");
	switch (msg->request) {
	case VHOST_REQ_SET_FEATURES:
		return (msg->u64 & ~limits->features) == 0 ||
			refuse(out_why, "features that were not offered");
	case VHOST_REQ_SET_PROTOCOL_FEATURES:
		return (msg->u64 & ~limits->protocol_features) == 0 ||
			refuse(out_why, "protocol features that were not offered");
	case VHOST_REQ_SET_VRING_NUM:
		if (!ring_num_check(state.num, out_why))
			return false;
		/* fall through */
	case VHOST_REQ_SET_VRING_BASE:
	case VHOST_REQ_GET_VRING_BASE:
	case VHOST_REQ_SET_VRING_ENABLE:
	case VHOST_REQ_SET_VRING_ADDR: /* begins with the index, too */
		return state.index < limits->n_vrings || refuse(out_why, "ring index");
	case VHOST_REQ_NET_SET_MTU:
		return (msg->u64 >= 68 && msg->u64 <= 65535) || refuse(out_why, "MTU");
	case VHOST_REQ_SET_STATUS:
		return msg->u64 <= UINT8_MAX || refuse(out_why, "device status");
	default:
		return true;
	}
}
