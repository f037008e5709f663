/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: clients, their limits and their share of the control thread. No client can hold up another:
 * sockets never block, a turn is LOOP_SLICE_NS, and who used much comes after who used little. Control thread only.
 */
#ifndef LEAT_SERVER_H
#define LEAT_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVER_CLIENTS_MAX 512u
#define SERVER_LINE_MAX (1u << 20)
#define SERVER_PENDING_MAX 128u	      /* unanswered calls of one client */
#define SERVER_OUT_HIGH (1u << 20)    /* unread answers above which a client is not served */
#define SERVER_EVENTS_HIGH (1u << 20) /* unread output above which events are lost (and counted) */
#define SERVER_IDLE_LINE_NS 30000000000ull /* a begun line must be completed in this time */

/* Listens on path (mode 0660, group leat if it exists). The loop must be there. 0 or -errno. */
int server_start(const char *path);

/* Closes every client and removes the socket. */
void server_stop(void);

/* Listening Unix stream socket with mode and group set, for other servers. Descriptor or -errno. */
int server_listen(const char *path, mode_t mode);

struct server_stats {
	size_t n_clients;
	uint64_t n_accepted, n_refused, n_calls, n_errors, n_events_lost;
};
extern struct server_stats server_stats;

#endif
