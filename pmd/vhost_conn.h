/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's connection: reads its messages without ever blocking, checks each when it is complete, hands it to
 * librte_vhost over the inner socket, and brings the reply back. One message and one reply at a time, so that nothing
 * needs more buffer than one of each. The front's thread, under its lock.
 */
#ifndef LEAT_PMD_VHOST_CONN_H
#define LEAT_PMD_VHOST_CONN_H

#include "pmd/vhost_port.h"

enum vhost_side { VHOST_SIDE_LISTEN, VHOST_SIDE_GUEST, VHOST_SIDE_INNER };

/* Takes guest_fd over and connects the inner socket. 0, or -errno with guest_fd closed. */
int vhost_conn_init(struct vhost_port *vp, int guest_fd);

/* Closes both sockets and what the connection holds, but for the call descriptors. */
void vhost_conn_fini(struct vhost_port *vp);

/* epoll events that the side waits for now. */
uint32_t vhost_conn_events(const struct vhost_conn *c, enum vhost_side side);

/* Goes on after epoll's events on a side. 0; -EPIPE: the peer closed; -EPROTO: the peer did what it must not, or
 * another -errno, with a sentence in *out_why. After an error the caller calls vhost_conn_fini(). */
int vhost_conn_step(
	struct vhost_port *vp, enum vhost_side side, uint32_t events, const char **out_why);

/* A new tick: the guest may send again as much as it may in a tick. */
void vhost_conn_budget(struct vhost_conn *c);

/* Sees to it that no write to a call descriptor of the guest can block a worker; true if the guest tried that. */
bool vhost_conn_call_watch(struct vhost_port *vp);
void vhost_conn_call_close(struct vhost_port *vp);

#endif
