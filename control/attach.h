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

/* netns_fd: of a tap's pod, -1 for vhost-user. 0 and *out_port, or -errno with *err; nothing is left on error. */
int attach_pod(const struct req_attach *req, int netns_fd, struct port **out_port,
	struct attach_error *err);

/* Undoes it, by endpoint. */
void attach_remove(uint32_t endpoint_idx);

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
