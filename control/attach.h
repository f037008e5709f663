/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaching a pod: port, endpoint, namespace and kernel route, whole or not at all. Control thread. */
#ifndef LEAT_ATTACH_H
#define LEAT_ATTACH_H

#include <stddef.h>
#include <stdint.h>

#include "control/client/req.h"
#include "datapath/pipeline/port.h"

struct attach_error {
	const char *field; /* static, or NULL */
	char reason[300];
};

/* Whether a pod may be what the request says: addresses and MAC that nobody else has. Nothing is made yet. 0 or -errno with
 * *err. */
int attach_admit(const struct req_attach *req, struct attach_error *err);

/* Called on the control thread when it is done: rc 0 and the port, or -errno with *err; nothing is left on error. */
typedef void attach_done_fn(int rc, struct port *port, const struct attach_error *err, void *arg);

/* netns_fd: of a tap's pod, -1 for vhost-user. req, the descriptor and arg must live until done() has been called, maybe
 * before this returns. The device is made on a helper thread. */
void attach_pod(const struct req_attach *req, int netns_fd, attach_done_fn *done, void *arg);

/* Undoes it, by endpoint; removed(arg) is called when the device has gone. */
void attach_remove(uint32_t endpoint_idx, void (*removed)(void *arg), void *arg);

/* What is left of an attached pod that this process never brought back: its device, its socket's folder. */
void attach_remove_leftover(const struct req_attach *req);

/* Whether the pod is as attached. fd (taken over, -1: none) or netns: where to look instead of the stored place. 0 or -errno with
 * *err naming what is missing. */
int attach_check(const struct req_attach *req, uint32_t endpoint_idx, int fd, const char *netns,
	const char *ifname, struct attach_error *err);

/* Port of an endpoint: its id, cut with a hash when it is too long. */
void attach_port_name(const char *id, char name[PORT_NAME_LEN]);

/* Socket of a vhost-user endpoint: …/vhost/ID/vhost.sock, the ID cut with a hash when it is too long. 0 or -1. */
int attach_socket_path(const char *id, char *buf, size_t size);

#endif
