/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_front.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_lcore.h>

#include "datapath/base/clock.h"
#include "datapath/base/log.h"
#include "pmd/err.h"
#include "pmd/vhost_conn.h"
#include "pmd/vhost_guard.h"

#define TICK_MS 100
#define RETRY_NS (200 * CLOCK_NS_PER_MS) /* connecting to a guest that is not there */
#define PARTIAL_NS (2 * CLOCK_NS_PER_S)	 /* a message begun must be complete by then */
#define GONE_NS (5 * CLOCK_NS_PER_S)	 /* librte_vhost should have let go by then */
#define BACKOFF_NS CLOCK_NS_PER_S	 /* after a fault; doubles up to 64 times */
#define BACKOFF_FORGET_NS (120 * CLOCK_NS_PER_S)
#define WAKE_DATA UINT64_MAX

static struct vhost_port *_Atomic slots[PORT_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vhost_port *ports[VHOST_PORTS_MAX]; /* under lock */
static unsigned int n_ports;
static int epoll_fd = -1, wake_fd = -1;
static pthread_t thread;
static _Atomic bool is_stopping;

#define front_log(vp, level, ...)                                                                  \
	do {                                                                                       \
		char object[PORT_NAME_LEN + 8];                                                    \
		if (log_limit_pass(&(vp)->log_limit)) {                                            \
			snprintf(object, sizeof(object), "port %s", (vp)->port->name);             \
			log_write(level, object, __VA_ARGS__);                                     \
		}                                                                                  \
	} while (0)

const char *vhost_fault_name(enum vhost_fault fault)
{
	static const char *const names[VHOST_FAULT_N] = { "none", "guest memory vanished",
		"invalid descriptors", "impossible frame", "blocking notification descriptor" };

	return fault < VHOST_FAULT_N ? names[fault] : "?";
}

struct vhost_port *vhost_front_port(unsigned int slot)
{
	/* acquire: pairs with the release in vhost_front_slot_set() */
	return slot < PORT_MAX ? atomic_load_explicit(&slots[slot], memory_order_acquire) : NULL;
}

void vhost_front_slot_set(unsigned int slot, struct vhost_port *vp)
{
	atomic_store_explicit(&slots[slot], vp, memory_order_release);
}

void vhost_front_wake(void)
{
	if (wake_fd >= 0)
		(void)eventfd_write(wake_fd, 1);
}

void vhost_front_fault(struct vhost_port *vp, enum vhost_fault fault)
{
	uint8_t none = VHOST_FAULT_NONE;

	atomic_compare_exchange_strong_explicit(
		&vp->fault, &none, (uint8_t)fault, memory_order_relaxed, memory_order_relaxed);
	atomic_store_explicit(&vp->vid, VHOST_VID_NONE, memory_order_relaxed);
	vhost_front_wake();
}

static void guard_fault(unsigned int slot)
{
	struct vhost_port *vp = vhost_front_port(slot);

	if (vp != NULL)
		vhost_front_fault(vp, VHOST_FAULT_MEMORY);
}

static uint64_t event_data(const struct vhost_port *vp, enum vhost_side side)
{
	return (uint64_t)vp->gen << 32 | (uint64_t)vp->port->id << 2 | side;
}

/* Has epoll look for what the connection waits for. */
static void events_update(struct vhost_port *vp)
{
	uint32_t wanted;

	if (vp->conn.guest_fd < 0)
		return;
	for (enum vhost_side side = VHOST_SIDE_GUEST; side <= VHOST_SIDE_INNER; side++) {
		uint32_t *events = side == VHOST_SIDE_GUEST ? &vp->conn.guest_events
							    : &vp->conn.inner_events;
		int fd = side == VHOST_SIDE_GUEST ? vp->conn.guest_fd : vp->conn.inner_fd;

		wanted = vhost_conn_events(&vp->conn, side);
		if (wanted != *events) {
			struct epoll_event ev = { .events = wanted,
				.data.u64 = event_data(vp, side) };

			(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &ev);
			*events = wanted;
		}
	}
}

static void conn_close(struct vhost_port *vp)
{
	if (vp->conn.guest_fd < 0)
		return;
	vhost_conn_fini(vp);
	vp->gen++;
	vp->gone_ns = clock_ns();
	/* Who comes and goes in a loop keeps nobody busy. */
	if (vp->gone_ns - vp->conn.started_ns < TICK_MS * CLOCK_NS_PER_MS &&
		vp->not_before_ns < vp->gone_ns)
		vp->not_before_ns = vp->gone_ns + TICK_MS * CLOCK_NS_PER_MS;
	atomic_store_explicit(&vp->is_connected, false, memory_order_relaxed);
}

/* guest_fd: connected; taken over. */
static void conn_open(struct vhost_port *vp, int guest_fd)
{
	struct epoll_event ev;
	int ret = vhost_conn_init(vp, guest_fd);

	if (ret == 0) {
		ev = (struct epoll_event){ .events = vp->conn.guest_events = EPOLLIN,
			.data.u64 = event_data(vp, VHOST_SIDE_GUEST) };
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, guest_fd, &ev) != 0)
			ret = -errno;
		ev = (struct epoll_event){ .events = vp->conn.inner_events = EPOLLIN,
			.data.u64 = event_data(vp, VHOST_SIDE_INNER) };
		if (ret == 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, vp->conn.inner_fd, &ev) != 0)
			ret = -errno;
		if (ret != 0)
			vhost_conn_fini(vp);
	}
	if (ret != 0) {
		front_log(vp, LOG_LEVEL_WARN, "cannot take the guest's connection: %s",
			strerror(-ret));
		vp->not_before_ns = clock_ns() + BACKOFF_NS;
		return;
	}
	vp->conn.started_ns = clock_ns();
	atomic_fetch_add_explicit(&vp->n_devices, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&vp->n_connects, 1, memory_order_relaxed);
	atomic_store_explicit(&vp->is_connected, true, memory_order_relaxed);
	atomic_store_explicit(&vp->is_quarantined, false, memory_order_relaxed);
	/* Nobody uses the device before it any more: what was wrong with that is over. */
	atomic_store_explicit(&vp->fault, VHOST_FAULT_NONE, memory_order_relaxed);
	front_log(vp, LOG_LEVEL_INFO, "guest connected");
}

static void quarantine(struct vhost_port *vp, enum vhost_fault fault)
{
	uint64_t now_ns = clock_ns();
	unsigned int shift;

	if (now_ns - vp->last_fault_ns > BACKOFF_FORGET_NS)
		vp->n_faults_recent = 0;
	shift = vp->n_faults_recent < 6 ? vp->n_faults_recent : 6;
	vp->n_faults_recent++;
	vp->last_fault_ns = now_ns;
	vp->not_before_ns = now_ns + (BACKOFF_NS << shift);
	atomic_fetch_add_explicit(&vp->n_quarantines, 1, memory_order_relaxed);
	atomic_store_explicit(&vp->last_fault, fault, memory_order_relaxed);
	atomic_store_explicit(&vp->is_quarantined, true, memory_order_relaxed);
	front_log(vp, LOG_LEVEL_WARN, "quarantined until the guest connects again: %s wait_s=%u",
		vhost_fault_name(fault), 1u << shift);
	conn_close(vp);
}

/* What the last step of the connection came to. */
static void conn_result(struct vhost_port *vp, int ret, const char *why)
{
	if (ret == 0) {
		events_update(vp);
		return;
	}
	if (ret == -EPROTO) {
		atomic_fetch_add_explicit(&vp->n_refused, 1, memory_order_relaxed);
		front_log(vp, LOG_LEVEL_WARN, "guest cut off: %s message=%s", why,
			vhost_msg_name(vp->conn.msg_len >= VHOST_MSG_HDR_BYTES
					? vp->conn.msg.request
					: 0));
		vp->not_before_ns = clock_ns() + RETRY_NS;
	} else if (ret == -EPIPE) {
		front_log(vp, LOG_LEVEL_INFO, "guest disconnected");
	} else {
		front_log(vp, LOG_LEVEL_WARN, "guest cut off: %s",
			why != NULL ? why : strerror(-ret));
		vp->not_before_ns = clock_ns() + RETRY_NS;
	}
	conn_close(vp);
}

/* Takes a waiting guest, or tries to reach one. */
static void guest_seek(struct vhost_port *vp)
{
	int fd;

	if (vp->is_client)
		fd = vhost_sock_connect(vp->path);
	else if ((fd = accept4(vp->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
		fd = -errno;
	if (fd >= 0) {
		conn_open(vp, fd);
		return;
	}
	if (vp->is_client || fd != -EAGAIN)
		vp->not_before_ns = clock_ns() + RETRY_NS;
	if (fd == -EMFILE || fd == -ENFILE)
		front_log(vp, LOG_LEVEL_ERR,
			"no file descriptor for the guest's connection: raise the limit");
}

/* Looks after one port: faults, time-outs, whether a guest may come. */
static void port_step(struct vhost_port *vp, bool is_tick)
{
	enum vhost_fault fault = atomic_exchange_explicit(
		&vp->fault, VHOST_FAULT_NONE, memory_order_relaxed);
	bool is_free, is_wanted;
	uint64_t now_ns = clock_ns();

	if (is_tick && vhost_conn_call_watch(vp))
		fault = VHOST_FAULT_CALL;
	/* A worker may find more wrong in the burst that it was at: one fault a connection. */
	if (fault != VHOST_FAULT_NONE &&
		!atomic_load_explicit(&vp->is_quarantined, memory_order_relaxed))
		quarantine(vp, fault);
	if (vp->conn.guest_fd >= 0 && is_tick) {
		if (vp->conn.msg_len != 0 && !vp->conn.is_msg_ready &&
			now_ns - vp->conn.msg_started_ns > PARTIAL_NS)
			conn_result(vp, -EPROTO, "stalled in the middle of a message");
	}
	if (vp->conn.guest_fd >= 0 && is_tick) {
		vhost_conn_budget(&vp->conn);
		events_update(vp);
	}
	if (vp->conn.guest_fd < 0 &&
		atomic_load_explicit(&vp->n_devices, memory_order_acquire) != 0 &&
		now_ns - vp->gone_ns > GONE_NS) {
		front_log(
			vp, LOG_LEVEL_WARN, "librte_vhost did not report the end of a connection");
		atomic_store_explicit(&vp->n_devices, 0, memory_order_relaxed);
	}
	/* acquire: pairs with the release when librte_vhost let go of the device: its mappings are gone */
	is_free = vp->conn.guest_fd < 0 &&
		atomic_load_explicit(&vp->n_devices, memory_order_acquire) == 0;
	if (is_free) {
		vhost_conn_call_close(vp);
		vhost_guard_del(vp->port->id);
	}
	is_wanted = is_free && !vp->is_cut && now_ns >= vp->not_before_ns;
	if (is_wanted && vp->is_client)
		guest_seek(vp);
	if (vp->listen_fd >= 0 && is_wanted != vp->is_listening) {
		struct epoll_event ev = { .events = EPOLLIN,
			.data.u64 = event_data(vp, VHOST_SIDE_LISTEN) };

		if (epoll_ctl(epoll_fd, is_wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, vp->listen_fd,
			    &ev) == 0)
			vp->is_listening = is_wanted;
	}
}

static void event_handle(const struct epoll_event *ev)
{
	enum vhost_side side = ev->data.u64 & 3;
	struct vhost_port *vp = vhost_front_port((ev->data.u64 >> 2) & (PORT_MAX - 1));
	const char *why = NULL;
	int ret;

	if (vp == NULL || vp->is_cut)
		return;
	if (side == VHOST_SIDE_LISTEN) {
		if (vp->conn.guest_fd < 0 && vp->is_listening)
			guest_seek(vp);
	} else if (vp->conn.guest_fd >= 0 && vp->gen == (uint32_t)(ev->data.u64 >> 32)) {
		ret = vhost_conn_step(vp, side, ev->events, &why);
		conn_result(vp, ret, why);
	}
	port_step(vp, false);
}

static void *front_main(void *arg)
{
	struct epoll_event evs[64];
	uint64_t next_tick_ns = 0;

	(void)arg;
	while (!atomic_load_explicit(&is_stopping, memory_order_acquire)) {
		int n = epoll_wait(epoll_fd, evs, 64, TICK_MS);
		bool is_tick, is_woken = false;
		eventfd_t count;

		pthread_mutex_lock(&lock);
		for (int i = 0; i < n; i++) {
			if (evs[i].data.u64 == WAKE_DATA) {
				is_woken = true;
				(void)eventfd_read(wake_fd, &count);
			} else {
				event_handle(&evs[i]);
			}
		}
		is_tick = clock_ns() >= next_tick_ns;
		if (is_tick)
			next_tick_ns = clock_ns() + TICK_MS * CLOCK_NS_PER_MS;
		for (unsigned int i = 0; (is_tick || is_woken) && i < n_ports; i++)
			port_step(ports[i], is_tick);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void front_stop(void)
{
	atomic_store_explicit(&is_stopping, true, memory_order_release);
	vhost_front_wake();
	pthread_join(thread, NULL);
	vhost_guard_uninstall();
	close(epoll_fd);
	close(wake_fd);
	epoll_fd = wake_fd = -1;
}

static int front_start(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = WAKE_DATA };
	int ret;

	atomic_store_explicit(&is_stopping, false, memory_order_relaxed);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (epoll_fd < 0 || wake_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev) != 0) {
		ret = -errno;
		goto err_fds;
	}
	ret = vhost_guard_install(guard_fault);
	if (ret != 0)
		goto err_fds;
	ret = rte_ctrl_thread_create(&thread, "leat-vhost", NULL, front_main, NULL);
	if (ret == 0)
		return 0;
	ret = ret > 0 ? -ret : ret;
	vhost_guard_uninstall();
err_fds:
	if (epoll_fd >= 0)
		close(epoll_fd);
	if (wake_fd >= 0)
		close(wake_fd);
	epoll_fd = wake_fd = -1;
	return ret;
}

int vhost_front_add(struct vhost_port *vp, char *errbuf, size_t errlen)
{
	int ret;

	if (n_ports == VHOST_PORTS_MAX)
		return err_set(errbuf, errlen, -ENOSPC,
			"%u vhost ports are all that librte_vhost can watch", VHOST_PORTS_MAX);
	if (n_ports == 0) {
		ret = front_start();
		if (ret != 0)
			return err_set(errbuf, errlen, ret, "cannot start the vhost front: %s",
				strerror(-ret));
	}
	vp->listen_fd = -1;
	vp->conn.guest_fd = vp->conn.inner_fd = -1;
	memset(vp->kick_fds, 0xff, sizeof(vp->kick_fds));
	memset(vp->call_fds, 0xff, sizeof(vp->call_fds));
	ret = vhost_sock_dir_make(
		vp->path, vp->is_client, &vp->owner, &vp->sock_file.is_dir_made, errbuf, errlen);
	if (ret == 0 && !vp->is_client) {
		vp->listen_fd = vhost_sock_listen(
			vp->path, &vp->owner, &vp->sock_file, errbuf, errlen);
		ret = vp->listen_fd < 0 ? vp->listen_fd : 0;
	}
	if (ret != 0) {
		vhost_sock_remove(vp->path, &vp->sock_file);
		if (n_ports == 0)
			front_stop();
		return ret;
	}
	pthread_mutex_lock(&lock);
	ports[n_ports++] = vp;
	pthread_mutex_unlock(&lock);
	vhost_front_wake();
	return 0;
}

void vhost_front_cut(struct vhost_port *vp, bool keep)
{
	pthread_mutex_lock(&lock);
	vp->is_cut = true;
	conn_close(vp);
	if (vp->listen_fd >= 0)
		close(vp->listen_fd);
	vp->listen_fd = -1;
	if (!keep)
		vhost_sock_remove(vp->path, &vp->sock_file);
	pthread_mutex_unlock(&lock);
}

void vhost_front_del(struct vhost_port *vp)
{
	unsigned int i = 0;

	pthread_mutex_lock(&lock);
	vhost_conn_call_close(vp);
	vhost_guard_del(vp->port->id);
	while (i < n_ports && ports[i] != vp)
		i++;
	if (i < n_ports)
		ports[i] = ports[--n_ports];
	pthread_mutex_unlock(&lock);
	if (n_ports == 0)
		front_stop();
}
