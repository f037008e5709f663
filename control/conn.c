/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/loop.h"
#include "control/server.h"
#include "control/state.h"
#include "datapath/base/log.h"

#define READ_MAX 65536u
#define HEAVY_NS (5 * LOOP_SLICE_NS) /* recent use above which a client comes after others */
#define DECAY_NS 100000000ull	     /* use is halved in this time */

static void on_read(evutil_socket_t fd, short what, void *arg);
static void on_write(evutil_socket_t fd, short what, void *arg);

struct conn *conn_create(int fd, pid_t pid, uid_t uid)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL) {
		close(fd);
		return NULL;
	}
	conn->fd = fd;
	conn->pid = pid;
	conn->uid = uid;
	TAILQ_INIT(&conn->calls);
	conn->out = evbuffer_new();
	conn->read_event = event_new(loop_base, fd, EV_READ | EV_PERSIST, on_read, conn);
	conn->write_event = event_new(loop_base, fd, EV_WRITE, on_write, conn);
	if (conn->out == NULL || conn->read_event == NULL || conn->write_event == NULL) {
		conn_destroy(conn);
		return NULL;
	}
	event_priority_set(conn->read_event, LOOP_PRIO_LIGHT);
	event_priority_set(conn->write_event, LOOP_PRIO_LIGHT);
	event_add(conn->read_event, NULL);
	return conn;
}

static void fds_close(struct conn *conn)
{
	while (conn->n_fds > 0)
		close(conn->fds[--conn->n_fds]);
}

void conn_destroy(struct conn *conn)
{
	struct conn_call *entry;

	if (conn == NULL)
		return;
	while ((entry = TAILQ_FIRST(&conn->calls)) != NULL) {
		TAILQ_REMOVE(&conn->calls, entry, link);
		if (entry->is_waiting) {
			call_destroy(entry->call);
			free(entry);
		} else {
			entry->call->conn = NULL; /* goes on by itself; freed when done */
		}
	}
	if (conn->read_event != NULL)
		event_free(conn->read_event);
	if (conn->write_event != NULL)
		event_free(conn->write_event);
	if (conn->out != NULL)
		evbuffer_free(conn->out);
	fds_close(conn);
	close(conn->fd);
	free(conn->in);
	free(conn);
}

static void free_line(const void *data, size_t len, void *arg)
{
	(void)len;
	(void)arg;
	free((void *)(uintptr_t)data);
}

void conn_send(struct conn *conn, char *line, size_t len)
{
	if (line == NULL || evbuffer_add_reference(conn->out, line, len, free_line, NULL) < 0) {
		free(line);
		conn->is_closing = true;
	}
	event_add(conn->write_event, NULL);
}

static void send_error(struct conn *conn, const cJSON *id, const struct leat_error *err)
{
	size_t len;
	char *line = rpc_format_error(id, err, &len);

	server_stats.n_errors++;
	conn_send(conn, line, len);
}

static void answer(struct conn *conn, const struct call *call)
{
	size_t len;
	char *line;

	if (call->rpc.id == NULL) /* a notification */
		return;
	if (call->err.code != LEAT_OK) {
		send_error(conn, call->rpc.id, &call->err);
		return;
	}
	line = rpc_format_result(call->rpc.id, call->result, &len);
	conn_send(conn, line, len);
}

static void entry_free(struct conn *conn, struct conn_call *entry)
{
	TAILQ_REMOVE(&conn->calls, entry, link);
	conn->n_calls--;
	call_destroy(entry->call);
	free(entry);
}

static void resume_reading(struct conn *conn)
{
	if (!conn->is_closing)
		event_active(conn->read_event, EV_READ, 0);
}

static void on_call_done(struct call *call, void *arg)
{
	struct conn_call *entry = arg;
	struct conn *conn = call->conn;

	if (conn == NULL) {
		call_destroy(call);
		free(entry);
		return;
	}
	if (call->ticket > state_synced()) {
		entry->is_waiting = true;
		return;
	}
	answer(conn, call);
	entry_free(conn, entry);
	resume_reading(conn);
}

void conn_synced(struct conn *conn, uint64_t synced, int rc)
{
	struct conn_call *entry = TAILQ_FIRST(&conn->calls);
	bool is_any = false;

	while (entry != NULL) {
		struct conn_call *next = TAILQ_NEXT(entry, link);

		if (entry->is_waiting && entry->call->ticket <= synced) {
			if (rc < 0)
				schema_error(&entry->call->err, LEAT_ERR_INTERNAL, NULL,
					"applied, but maybe not saved: %s", strerror(-rc));
			answer(conn, entry->call);
			entry_free(conn, entry);
			is_any = true;
		}
		entry = next;
	}
	if (is_any)
		resume_reading(conn);
}

/* Descriptors go to the first method that has use for one and no path instead. */
static void give_fds(struct conn *conn, struct call *call)
{
	for (const struct field *field = call->rpc.method->fields; field->name != NULL; field++) {
		if ((field->flags & FIELD_FD) == 0 || conn->n_fds == 0 ||
			cJSON_GetObjectItemCaseSensitive(call->rpc.params, field->name) != NULL)
			continue;
		call->fds[call->n_fds++] = conn->fds[0];
		conn->n_fds--;
		memmove(&conn->fds[0], &conn->fds[1], conn->n_fds * sizeof(conn->fds[0]));
	}
}

static void handle_line(struct conn *conn, const char *line, size_t len)
{
	struct rpc_request rpc;
	struct leat_error err = { 0 };
	struct conn_call *entry = NULL;
	struct call *call = NULL;

	server_stats.n_calls++;
	if (rpc_parse(line, len, &rpc, &err) != 0) {
		send_error(conn, rpc.id, &err);
		rpc_request_fini(&rpc);
		return;
	}
	entry = calloc(1, sizeof(*entry));
	if (entry != NULL)
		call = call_create(&rpc, on_call_done, entry);
	if (call == NULL) {
		schema_error(&err, LEAT_ERR_RESOURCES, NULL, "out of memory");
		send_error(conn, rpc.id, &err);
		rpc_request_fini(&rpc);
		free(entry);
		return;
	}
	entry->call = call;
	call->conn = conn;
	TAILQ_INSERT_TAIL(&conn->calls, entry, link);
	conn->n_calls++;
	give_fds(conn, call);
	call_enqueue(call);
}

/* Next whole line in the buffer: its length, or -1. */
static ssize_t next_line(struct conn *conn)
{
	char *end = conn->in_len > conn->in_scanned
		? memchr(conn->in + conn->in_start + conn->in_scanned, '\n',
			  conn->in_len - conn->in_scanned)
		: NULL;

	if (end == NULL) {
		conn->in_scanned = conn->in_len;
		return -1;
	}
	return end - (conn->in + conn->in_start);
}

static bool may_handle(const struct conn *conn)
{
	return !conn->is_closing && conn->n_calls < SERVER_PENDING_MAX &&
		evbuffer_get_length(conn->out) < SERVER_OUT_HIGH;
}

/* Handles lines for one slice. Whether whole lines are left. */
static bool handle_lines(struct conn *conn, uint64_t end_ns)
{
	ssize_t len = -1;

	while (may_handle(conn) && (len = next_line(conn)) >= 0) {
		char *line = conn->in + conn->in_start;

		if (len > 0)
			handle_line(conn, line, (size_t)len);
		conn->in_start += (size_t)len + 1;
		conn->in_len -= (size_t)len + 1;
		conn->in_scanned = 0;
		conn->line_since_ns = 0;
		if (loop_now_ns() >= end_ns)
			break;
	}
	if (conn->in_len == 0) {
		conn->in_start = 0;
		fds_close(conn); /* they belonged to lines that had no use for them */
		if (conn->in_size > 4 * READ_MAX) {
			free(conn->in);
			conn->in = NULL;
			conn->in_size = 0;
		}
		return false;
	}
	if (conn->line_since_ns == 0)
		conn->line_since_ns = loop_now_ns();
	return next_line(conn) >= 0;
}

static int in_grow(struct conn *conn)
{
	size_t size = conn->in_size > 0 ? conn->in_size * 2 : READ_MAX / 4;
	char *in;

	if (conn->in_start > 0) {
		memmove(conn->in, conn->in + conn->in_start, conn->in_len);
		conn->in_start = 0;
		if (conn->in_len < conn->in_size)
			return 0;
	}
	if (conn->in_len >= SERVER_LINE_MAX)
		return -EMSGSIZE;
	in = realloc(conn->in, size);
	if (in == NULL)
		return -ENOMEM;
	conn->in = in;
	conn->in_size = size;
	return 0;
}

static void take_fds(struct conn *conn, struct msghdr *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
		cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n;
		int fd;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (conn->n_fds < CONN_FDS_MAX)
				conn->fds[conn->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* 1: something came, 0: nothing now, < 0: -errno, -EPIPE at the end. */
static int receive(struct conn *conn)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	size_t used = conn->in_start + conn->in_len;
	ssize_t n;
	int rc;

	if (used == conn->in_size) {
		rc = in_grow(conn);
		if (rc < 0)
			return rc;
		used = conn->in_start + conn->in_len;
	}
	iov.iov_base = conn->in + used;
	iov.iov_len = conn->in_size - used < READ_MAX ? conn->in_size - used : READ_MAX;
	n = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	take_fds(conn, &msg);
	if (n == 0)
		return -EPIPE;
	conn->in_len += (size_t)n;
	return 1;
}

static void line_too_long(struct conn *conn)
{
	struct leat_error err;

	schema_error(&err, LEAT_ERR_LIMIT, NULL, "a line may have %u bytes: use a transaction",
		SERVER_LINE_MAX);
	send_error(conn, NULL, &err);
	conn->is_closing = true;
	event_del(conn->read_event);
}

/* Sets the event's priority by what the client used lately. Only while it is not active. */
static void account(struct conn *conn, uint64_t start_ns, uint64_t now_ns)
{
	uint64_t periods = (now_ns - conn->used_at_ns) / DECAY_NS;

	if (periods > 0) {
		conn->used_ns = periods < 60 ? conn->used_ns >> periods : 0;
		conn->used_at_ns = now_ns;
	}
	conn->used_ns += now_ns - start_ns;
	event_priority_set(
		conn->read_event, conn->used_ns > HEAVY_NS ? LOOP_PRIO_HEAVY : LOOP_PRIO_LIGHT);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	uint64_t start_ns = loop_now_ns();
	struct conn *conn = arg;
	bool has_more;
	int rc = 0;

	(void)fd;
	(void)what;
	if (conn->is_closing)
		return;
	if (!conn->is_eof && may_handle(conn) && next_line(conn) < 0)
		rc = receive(conn);
	if (rc == -EMSGSIZE) {
		line_too_long(conn);
		return;
	}
	if (rc == -EPIPE)
		conn->is_eof = true;
	else if (rc < 0) {
		server_conn_closed(conn);
		return;
	}
	has_more = handle_lines(conn, start_ns + LOOP_SLICE_NS);
	if (conn->is_eof && !has_more && conn->n_calls == 0 &&
		evbuffer_get_length(conn->out) == 0) {
		server_conn_closed(conn);
		return;
	}
	account(conn, start_ns, loop_now_ns());
	if (!may_handle(conn) || conn->is_eof)
		event_del(conn->read_event); /* until something has been answered or read */
	else
		event_add(conn->read_event, NULL);
	if (has_more && may_handle(conn))
		event_active(conn->read_event, EV_READ, 0);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	bool was_full = evbuffer_get_length(conn->out) >= SERVER_OUT_HIGH;

	(void)fd;
	(void)what;
	if (evbuffer_write(conn->out, conn->fd) < 0 && errno != EAGAIN && errno != EINTR) {
		server_conn_closed(conn);
		return;
	}
	if (evbuffer_get_length(conn->out) > 0) {
		event_add(conn->write_event, NULL);
	} else if (conn->is_closing ||
		(conn->is_eof && conn->n_calls == 0 && next_line(conn) < 0)) {
		server_conn_closed(conn);
		return;
	}
	if (was_full && evbuffer_get_length(conn->out) < SERVER_OUT_HIGH)
		resume_reading(conn);
}
