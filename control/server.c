/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/server.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/client/methods.h"
#include "control/client/req.h"
#include "control/conn.h"
#include "control/event.h"
#include "control/loop.h"
#include "control/state.h"
#include "control/txn.h"
#include "datapath/base/log.h"

#define GROUP_NAME "leat"
#define ACCEPTS_MAX 16 /* in one turn */

struct server_stats server_stats;

static int listen_fd = -1;
static char socket_file[108];
static struct event *accept_event;
static TAILQ_HEAD(, conn) conns = TAILQ_HEAD_INITIALIZER(conns);
static uint32_t event_mask; /* of all clients */

static gid_t leat_gid(void)
{
	const struct group *group = getgrnam(GROUP_NAME);

	return group != NULL ? group->gr_gid : 0;
}

int server_listen(const char *path, mode_t mode)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >=
		(int)sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177); /* nobody gets in before mode and group are set */
	unlink(path);	    /* the instance's lock is held: nobody else listens here */
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, mode) < 0 ||
		(geteuid() == 0 && chown(path, 0, leat_gid()) < 0) || listen(fd, 1024) < 0) {
		rc = -errno;
		close(fd);
		fd = rc;
	}
	umask(mask);
	return fd;
}

/* Root, leatd's own user, or a member of group leat. */
static bool is_permitted(int fd, const struct ucred *cred)
{
	gid_t gid = leat_gid(), groups[128];
	socklen_t len = sizeof(groups);

	if (cred->uid == 0 || cred->uid == geteuid())
		return true;
	if (gid == 0)
		return false;
	if (cred->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static void refuse(int fd, int code, const char *reason)
{
	struct leat_error err;
	size_t len;
	char *line;

	schema_error(&err, code, NULL, "%s", reason);
	line = rpc_format_error(NULL, &err, &len);
	if (line != NULL && send(fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* It does not listen: closing says it too. */
	}
	free(line);
	close(fd);
	server_stats.n_refused++;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred cred = { 0 };
		socklen_t len = sizeof(cred);
		struct conn *conn;

		if (client_fd < 0)
			return;
		if (getsockopt(client_fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
			!is_permitted(client_fd, &cred)) {
			refuse(client_fd, LEAT_ERR_PERMISSION,
				"only root and members of group leat may connect");
			continue;
		}
		if (server_stats.n_clients >= SERVER_CLIENTS_MAX) {
			refuse(client_fd, LEAT_ERR_LIMIT, "too many clients");
			continue;
		}
		conn = conn_create(client_fd, cred.pid, cred.uid);
		if (conn == NULL)
			continue;
		TAILQ_INSERT_TAIL(&conns, conn, link);
		server_stats.n_clients++;
		server_stats.n_accepted++;
	}
}

static void update_event_mask(void)
{
	const struct conn *conn;

	event_mask = 0;
	TAILQ_FOREACH(conn, &conns, link)
		event_mask |= conn->event_mask;
}

void server_conn_closed(struct conn *conn)
{
	TAILQ_REMOVE(&conns, conn, link);
	server_stats.n_clients--;
	txn_conn_closed(conn);
	conn_destroy(conn);
	update_event_mask();
}

/* Clients that begin a line and do not end it are let go. */
static unsigned int tick_idle_lines(void)
{
	static uint64_t last_ns;
	uint64_t now_ns = loop_now_ns();
	struct conn *conn, *next;

	if (now_ns - last_ns < 1000000000ull)
		return 0;
	last_ns = now_ns;
	for (conn = TAILQ_FIRST(&conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, link);
		if (conn->line_since_ns != 0 && conn->in_len > 0 && conn->n_calls == 0 &&
			!conn->is_closing && conn->in_scanned == conn->in_len &&
			now_ns - conn->line_since_ns > SERVER_IDLE_LINE_NS)
			server_conn_closed(conn);
	}
	return 0;
}

static void on_state_synced(int rc)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link)
		conn_synced(conn, state_synced(), rc);
}

int server_start(const char *path)
{
	int rc = server_listen(path, 0660);

	if (rc < 0)
		return rc;
	listen_fd = rc;
	snprintf(socket_file, sizeof(socket_file), "%s", path);
	accept_event = loop_watch(listen_fd, on_accept, NULL);
	if (accept_event == NULL)
		return -ENOMEM;
	event_priority_set(accept_event, LOOP_PRIO_LIGHT);
	loop_add_tick(tick_idle_lines);
	state_on_synced(on_state_synced);
	return 0;
}

void server_stop(void)
{
	struct conn *conn;

	state_on_synced(NULL);
	while ((conn = TAILQ_FIRST(&conns)) != NULL)
		server_conn_closed(conn);
	if (accept_event != NULL)
		event_free(accept_event);
	accept_event = NULL;
	if (listen_fd >= 0) {
		close(listen_fd);
		unlink(socket_file);
	}
	listen_fd = -1;
}

static int kind_index(const char *kind)
{
	for (int i = 0; schema_event_kinds[i] != NULL; i++)
		if (strcmp(schema_event_kinds[i], kind) == 0)
			return i;
	return -1;
}

bool event_has_subscribers(const char *kind)
{
	int idx = kind_index(kind);

	return idx >= 0 && event_mask & (1u << idx);
}

static void send_lost(struct conn *conn)
{
	cJSON *params = cJSON_CreateObject();
	size_t len;
	char *line;

	cJSON_AddStringToObject(params, "kind", "lost");
	cJSON_AddNumberToObject(params, "count", (double)conn->n_events_lost);
	line = rpc_format_event(params, &len);
	cJSON_Delete(params);
	conn->n_events_lost = 0;
	conn_send(conn, line, len);
}

void event_emit(const char *kind, cJSON *params)
{
	int idx = kind_index(kind);
	struct conn *conn;
	size_t len = 0;
	char *line = event_has_subscribers(kind) ? rpc_format_event(params, &len) : NULL;

	cJSON_Delete(params);
	if (line == NULL)
		return;
	TAILQ_FOREACH(conn, &conns, link) {
		if (!(conn->event_mask & (1u << idx)) || conn->is_closing)
			continue;
		if (evbuffer_get_length(conn->out) > SERVER_EVENTS_HIGH) {
			conn->n_events_lost++;
			server_stats.n_events_lost++;
			continue;
		}
		if (conn->n_events_lost > 0)
			send_lost(conn);
		conn_send(conn, strdup(line), len);
	}
	free(line);
}

void event_emit_object(const char *kind, const char *action, cJSON *object)
{
	cJSON *params = cJSON_CreateObject();

	cJSON_AddStringToObject(params, "kind", kind);
	cJSON_AddStringToObject(params, "action", action);
	cJSON_AddItemToObject(params, "object", object);
	event_emit(kind, params);
}

static void handle_subscribe(struct call *call)
{
	const struct req_event *req = call_req(call);
	const int *kinds = req->kinds.items;

	if (call->conn == NULL) {
		call_fail(call, LEAT_ERR_CONFLICT, NULL, "only a client can subscribe");
		return;
	}
	call->conn->event_mask = 0;
	for (uint32_t i = 0; i < req->kinds.len; i++)
		call->conn->event_mask |= 1u << kinds[i];
	update_event_mask();
	call_ok(call, NULL);
}

const struct api_handler api_event[] = {
	{ "event.subscribe", handle_subscribe },
	API_HANDLERS_END,
};
