/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "datapath/base/clock.h"
#include "pmd/vhost_front.h"
#include "pmd/vhost_guard.h"

/* What a guest may ask for in a tick of 100 ms: each message may hold up a worker that sends to it for a moment. */
#define MSGS_PER_TICK 1000
#define MEM_TABLES_PER_TICK 8

static void fds_close(struct vhost_conn *c)
{
	for (unsigned int i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	c->n_fds = 0;
}

int vhost_conn_init(struct vhost_port *vp, int guest_fd)
{
	struct vhost_conn *c = &vp->conn;

	memset(c, 0, sizeof(*c));
	c->guest_fd = guest_fd;
	c->inner_fd = vhost_sock_connect_fd(vp->inner.fd);
	if (c->inner_fd < 0) {
		int ret = c->inner_fd;

		close(guest_fd);
		c->guest_fd = c->inner_fd = -1;
		return ret;
	}
	return 0;
}

static void kick_close(struct vhost_port *vp, unsigned int queue)
{
	if (vp->kick_fds[queue] < 0)
		return;
	atomic_store_explicit(&vp->rxq[queue].has_kick, false, memory_order_relaxed);
	/* Explicitly: the guest holds the same open file, so closing ours would not take it out of epoll. */
	(void)epoll_ctl(vp->rxq[queue].epoll_fd, EPOLL_CTL_DEL, vp->kick_fds[queue], NULL);
	close(vp->kick_fds[queue]);
	vp->kick_fds[queue] = -1;
}

void vhost_conn_call_close(struct vhost_port *vp)
{
	for (unsigned int i = 0; i < VHOST_VRINGS_MAX; i++) {
		if (vp->call_fds[i] >= 0)
			close(vp->call_fds[i]);
		vp->call_fds[i] = -1;
	}
}

void vhost_conn_fini(struct vhost_port *vp)
{
	struct vhost_conn *c = &vp->conn;

	for (unsigned int q = 0; q < PORT_QUEUES_MAX; q++)
		kick_close(vp, q);
	fds_close(c);
	close(c->guest_fd);
	close(c->inner_fd);
	c->guest_fd = c->inner_fd = -1;
}

void vhost_conn_budget(struct vhost_conn *c)
{
	c->n_msgs = c->n_mem_tables = 0;
}

static bool may_read_guest(const struct vhost_conn *c)
{
	return !c->is_msg_ready && !c->is_reply_due && c->n_msgs < MSGS_PER_TICK &&
		c->n_mem_tables < MEM_TABLES_PER_TICK;
}

uint32_t vhost_conn_events(const struct vhost_conn *c, enum vhost_side side)
{
	if (side == VHOST_SIDE_GUEST)
		return (may_read_guest(c) ? EPOLLIN : 0u) | (c->is_reply_ready ? EPOLLOUT : 0u);
	return (c->is_reply_ready ? 0u : EPOLLIN) | (c->is_msg_ready ? EPOLLOUT : 0u);
}

/* The guest's descriptors of a memory table: real shared memory that is as long as it says. */
static bool mem_table_take(struct vhost_port *vp, const char **out_why)
{
	const struct vhost_conn *c = &vp->conn;

	for (unsigned int i = 0; i < c->n_fds; i++) {
		struct vhost_msg_region r = c->msg.mem.regions[i];
		dev_t dev;
		ino_t ino;

		if (!vhost_guard_fd_check(c->fds[i], r.mmap_offset + r.size, &dev, &ino, out_why))
			return false;
		if (vhost_guard_add(vp->port->id, dev, ino) != 0) {
			*out_why = "too many different memory files";
			return false;
		}
	}
	return true;
}

static bool kick_take(struct vhost_port *vp, unsigned int vring, const char **out_why)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	unsigned int queue = vring / 2;
	int fd;

	if (vring % 2 == 0)
		return true; /* the guest has new buffers: we never wait for that */
	kick_close(vp, queue);
	if (vp->conn.n_fds == 0)
		return true;
	fd = fcntl(vp->conn.fds[0], F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || epoll_ctl(vp->rxq[queue].epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		if (fd >= 0)
			close(fd);
		*out_why = "no file descriptor for a queue: raise the limit";
		return false;
	}
	vp->kick_fds[queue] = fd;
	atomic_store_explicit(&vp->rxq[queue].has_kick, true, memory_order_relaxed);
	return true;
}

static bool call_take(struct vhost_port *vp, unsigned int vring, const char **out_why)
{
	int *slot = &vp->call_fds[vring], flags;

	if (*slot >= 0)
		close(*slot);
	*slot = -1;
	if (vp->conn.n_fds == 0)
		return true;
	flags = fcntl(vp->conn.fds[0], F_GETFL);
	*slot = fcntl(vp->conn.fds[0], F_DUPFD_CLOEXEC, 0);
	if (*slot < 0 || flags < 0 || fcntl(*slot, F_SETFL, flags | O_NONBLOCK) != 0) {
		*out_why = "no file descriptor for a queue: raise the limit";
		return false;
	}
	return true;
}

bool vhost_conn_call_watch(struct vhost_port *vp)
{
	bool is_tried = false;
	uint64_t count;
	struct iovec iov = { .iov_base = &count, .iov_len = sizeof(count) };

	for (unsigned int i = 0; i < vp->limits.n_vrings; i++) {
		int flags = vp->call_fds[i] >= 0 ? fcntl(vp->call_fds[i], F_GETFL) : -1;

		if (flags < 0 || (flags & O_NONBLOCK) != 0)
			continue;
		/* The guest shares the open file and made it blocking. A worker may hang in a write to a full
		 * counter: empty it, without trusting the flag that the guest can change again. */
		atomic_store_explicit(&vp->vid, VHOST_VID_NONE, memory_order_relaxed);
		(void)fcntl(vp->call_fds[i], F_SETFL, flags | O_NONBLOCK);
		(void)preadv2(vp->call_fds[i], &iov, 1, -1, RWF_NOWAIT);
		is_tried = true;
	}
	return is_tried;
}

/* A message is complete: checks it and what came with it. */
static bool msg_take(struct vhost_port *vp, const char **out_why)
{
	struct vhost_conn *c = &vp->conn;
	unsigned int vring = c->msg.u64 & VHOST_MSG_VRING_MASK;

	if (!vhost_msg_check(&c->msg, c->n_fds, &vp->limits, out_why))
		return false;
	c->n_msgs++;
	switch (c->msg.request) {
	case VHOST_REQ_SET_MEM_TABLE:
		c->n_mem_tables++;
		return mem_table_take(vp, out_why);
	case VHOST_REQ_SET_VRING_KICK:
	case VHOST_REQ_SET_VRING_CALL:
	case VHOST_REQ_SET_VRING_ERR:
		if (c->n_fds != 0 && !vhost_guard_is_eventfd(c->fds[0])) {
			*out_why = "descriptor of a queue is not an eventfd";
			return false;
		}
		if (c->msg.request == VHOST_REQ_SET_VRING_KICK)
			return kick_take(vp, vring, out_why);
		return c->msg.request != VHOST_REQ_SET_VRING_CALL || call_take(vp, vring, out_why);
	default:
		return true;
	}
}

/* Keeps the descriptors that came with a piece of the message. */
static bool fds_collect(struct vhost_conn *c, struct msghdr *mh)
{
	bool is_ok = (mh->msg_flags & MSG_CTRUNC) == 0;

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		size_t n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (c->n_fds < VHOST_MSG_FDS_MAX) {
				c->fds[c->n_fds++] = fd;
			} else {
				close(fd);
				is_ok = false;
			}
		}
	}
	return is_ok;
}

/* Hands the message on. */
static int inner_write(struct vhost_conn *c, const char **out_why)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VHOST_MSG_FDS_MAX * sizeof(int))];
	} control;
	uint32_t total = VHOST_MSG_HDR_BYTES + c->msg.size;
	struct iovec iov = { .iov_base = (char *)&c->msg + c->msg_sent,
		.iov_len = total - c->msg_sent };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (c->msg_sent == 0 && c->n_fds != 0) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(c->n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(c->n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), c->fds, c->n_fds * sizeof(int));
	}
	n = sendmsg(c->inner_fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		*out_why = "librte_vhost refused the message before";
		return -EPROTO;
	}
	c->msg_sent += (uint32_t)n;
	if (c->msg_sent < total)
		return 0;
	c->is_reply_due = vhost_msg_has_reply(&c->msg);
	c->is_msg_ready = false;
	c->msg_len = c->msg_sent = 0;
	fds_close(c);
	return 0;
}

static int guest_read(struct vhost_port *vp, const char **out_why)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * VHOST_MSG_FDS_MAX * sizeof(int))];
	} control;
	struct vhost_conn *c = &vp->conn;

	while (may_read_guest(c)) {
		uint32_t want = VHOST_MSG_HDR_BYTES +
			(c->msg_len < VHOST_MSG_HDR_BYTES ? 0 : c->msg.size);
		struct iovec iov = { .iov_base = (char *)&c->msg + c->msg_len,
			.iov_len = want - c->msg_len };
		struct msghdr mh = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.buf,
			.msg_controllen = sizeof(control.buf) };
		ssize_t n = recvmsg(c->guest_fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (!fds_collect(c, &mh)) {
			*out_why = "number of descriptors";
			return -EPROTO;
		}
		if (n == 0)
			return -EPIPE;
		if (c->msg_len == 0)
			c->msg_started_ns = clock_ns();
		c->msg_len += (uint32_t)n;
		if (c->msg_len < want)
			continue;
		if (want == VHOST_MSG_HDR_BYTES && vhost_msg_header_check(&c->msg, out_why) != 0) {
			if (vhost_msg_header_check(&c->msg, out_why) < 0)
				return -EPROTO;
			continue; /* its payload comes now */
		}
		if (!msg_take(vp, out_why))
			return -EPROTO;
		c->is_msg_ready = true;
		int ret = inner_write(c, out_why);
		if (ret != 0)
			return ret;
	}
	return 0;
}

static int guest_write(struct vhost_conn *c)
{
	uint32_t total = VHOST_MSG_HDR_BYTES + c->reply.size;
	ssize_t n = send(c->guest_fd, (char *)&c->reply + c->reply_sent, total - c->reply_sent,
		MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
	c->reply_sent += (uint32_t)n;
	if (c->reply_sent == total) {
		c->is_reply_ready = c->is_reply_due = false;
		c->reply_len = c->reply_sent = 0;
	}
	return 0;
}

static int inner_read(struct vhost_port *vp, const char **out_why)
{
	struct vhost_conn *c = &vp->conn;

	while (!c->is_reply_ready) {
		uint32_t want = VHOST_MSG_HDR_BYTES +
			(c->reply_len < VHOST_MSG_HDR_BYTES ? 0 : c->reply.size);
		ssize_t n = recv(c->inner_fd, (char *)&c->reply + c->reply_len, want - c->reply_len,
			MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0 || !c->is_reply_due) {
			*out_why = "librte_vhost refused a message";
			return -EPROTO;
		}
		c->reply_len += (uint32_t)n;
		if (c->reply_len < want)
			continue;
		if (c->reply.size > sizeof(c->reply) - VHOST_MSG_HDR_BYTES) {
			*out_why = "reply of librte_vhost is too long";
			return -EPROTO;
		}
		if (want == VHOST_MSG_HDR_BYTES && c->reply.size != 0)
			continue;
		if (c->reply.request == VHOST_REQ_GET_QUEUE_NUM && c->reply.u64 > vp->n_queues)
			c->reply.u64 = vp->n_queues;
		c->is_reply_ready = true;
	}
	return guest_write(c);
}

int vhost_conn_step(
	struct vhost_port *vp, enum vhost_side side, uint32_t events, const char **out_why)
{
	struct vhost_conn *c = &vp->conn;
	int ret = 0;

	if (side == VHOST_SIDE_INNER) {
		if ((events & EPOLLOUT) != 0 && c->is_msg_ready)
			ret = inner_write(c, out_why);
		if (ret == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
			ret = inner_read(vp, out_why);
		if (ret == 0)
			ret = guest_read(vp, out_why);
		return ret;
	}
	if ((events & EPOLLOUT) != 0 && c->is_reply_ready)
		ret = guest_write(c);
	if (ret == 0 && may_read_guest(c))
		return guest_read(vp, out_why);
	/* Not reading now, but it is gone: do not wait for what it cannot take any more. */
	if (ret == 0 && (events & (EPOLLHUP | EPOLLERR)) != 0)
		ret = -EPIPE;
	return ret;
}
