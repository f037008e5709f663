/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front of all vhost ports: one thread (never a worker) with an epoll loop. It owns the sockets to guests and hands
 * librte_vhost, which handles all its sockets on one blocking thread, complete and checked messages only.
 * A guest that stalls, floods or lies loses its own connection; no other port notices.
 */
#ifndef LEAT_PMD_VHOST_FRONT_H
#define LEAT_PMD_VHOST_FRONT_H

#include "pmd/vhost_port.h"

/* Ports that librte_vhost can watch: it has 1024 descriptors, a port takes two. */
#define VHOST_PORTS_MAX 510

/* Puts the port into its slot (its port id), where callbacks find it, before anything else knows it; NULL empties it.
 * Control thread. */
void vhost_front_slot_set(unsigned int slot, struct vhost_port *vp);

/* Takes the port in: listens or begins to connect. vp->port, path, limits and inner socket are set. The first one starts
 * the thread. Control thread. 0 or -errno with a sentence. */
int vhost_front_add(struct vhost_port *vp, char *errbuf, size_t errlen);

/* Cuts the guest off and takes no other; the port's guest descriptors are still looked after, so that no worker stays
 * blocked. keep: the socket file stays. Control thread; before rte_vhost_driver_unregister(). */
void vhost_front_cut(struct vhost_port *vp, bool keep);

/* Forgets the port. The last one stops the thread. Control thread; after rte_vhost_driver_unregister(). */
void vhost_front_del(struct vhost_port *vp);

/* Reports a fault: the port goes down at once and the front cuts its guest off. Any thread, signal handlers too. */
void vhost_front_fault(struct vhost_port *vp, enum vhost_fault fault);

/* Something about some port changed (a connection ended in librte_vhost): the front looks. Any thread. */
void vhost_front_wake(void);

/* Port in a slot, or NULL. Any thread; valid until its slot is emptied. */
struct vhost_port *vhost_front_port(unsigned int slot);

/* "memory", "descriptor" … Static. */
const char *vhost_fault_name(enum vhost_fault fault);

#endif
