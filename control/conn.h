/* SPDX-License-Identifier: BSD-3-Clause */
/* One client of the control socket. Control thread only. */
#ifndef LEAT_CONN_H
#define LEAT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "control/call.h"

#define CONN_FDS_MAX 8u

struct conn_call {
	TAILQ_ENTRY(conn_call) link;
	struct call *call;
	bool is_waiting; /* finished, its change not yet on disk */
};

struct conn {
	TAILQ_ENTRY(conn) link;
	int fd;
	pid_t pid;
	uid_t uid;
	struct event *read_event, *write_event;
	char *in; /* received, not yet handled */
	size_t in_start, in_len, in_scanned, in_size;
	uint64_t line_since_ns; /* since when an unfinished line waits; 0: none does */
	struct evbuffer *out;
	int fds[CONN_FDS_MAX];
	unsigned int n_fds;
	TAILQ_HEAD(, conn_call) calls;
	unsigned int n_calls;
	uint64_t used_ns; /* of the control thread, decays */
	uint64_t used_at_ns;
	uint32_t event_mask;
	uint64_t n_events_lost;
	bool is_closing; /* closed when out is empty */
	bool is_eof;	 /* the client sends no more */
};

/* Takes fd over (also on error). NULL when memory ran out. */
struct conn *conn_create(int fd, pid_t pid, uid_t uid);
void conn_destroy(struct conn *conn);

/* Queues a line (taken, freed) for sending; NULL closes the connection: memory ran out. */
void conn_send(struct conn *conn, char *line, size_t len);

/* Answers the finished calls whose changes are on disk. rc: error of the sync. May not destroy. */
void conn_synced(struct conn *conn, uint64_t synced, int rc);

/* In server.c: called when a connection is to go. */
void server_conn_closed(struct conn *conn);

#endif
