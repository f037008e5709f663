/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port table. The control thread creates and destroys; workers read port_table[] under RCU.
 *
 * port_create() opens the device, then publishes the port, then tells the workers (the attach hook, which hands
 * its receive queues out). port_destroy() does the reverse and closes the device after a grace period; the slot and
 * its id are free again only then. Nothing here stops forwarding.
 */
#ifndef LEAT_PMD_PORTMGR_H
#define LEAT_PMD_PORTMGR_H

#include "datapath/pipeline/batch.h"

/* The gateway's MAC as pods see it: one constant on every node and after every restart. */
#define PORT_GW_MAC                                                                                \
	{                                                                                          \
		{                                                                                  \
			0x02, 0x1e, 0xa7, 0x00, 0x00, 0x01                                         \
		}                                                                                  \
	}

struct portmgr_config {
	unsigned int
		n_workers; /* 1…63: each port gets a statistics block for each, on its node, and one (index
				   n_workers) for the control thread */
	/* Called after publishing and before unpublishing; may be NULL. attach: 0, or -errno with a sentence, which
	 * port_create() then fails with. Control thread. */
	int (*attach)(struct port *p, char *errbuf, size_t errlen);
	void (*detach)(struct port *p);
	/* May be NULL. slow: runs fn(arg) on another thread, then done(arg) on the control thread; for kernel devices, whose
	 * closing takes tens of milliseconds. 0 or -errno. drain: waits until all that is done. */
	int (*slow)(void (*fn)(void *arg), void (*done)(void *arg), void *arg);
	void (*drain)(void);
};

/* 0 or -EINVAL. mempool_init() and rcu_init() come first. */
int portmgr_init(const struct portmgr_config *cfg);

/* Closes every port (keep: see port_ops.close) and waits until that is done. Workers stopped or polling RCU. */
void portmgr_fini(bool keep);

unsigned int portmgr_n_workers(void);

/* Makes and publishes a port. *out lives until port_destroy(). 0, or -errno with a sentence in errbuf:
 * -EEXIST (name), -EINVAL, -ENOSPC (PORT_MAX ports), -ENOBUFS (mbufs), or what the kind says. Nothing is left on error. */
int port_create(const struct port_config *cfg, struct port **out, char *errbuf, size_t errlen);

/* port_create() in three steps, the middle one on any thread (taps only): the port stays invisible until the end. After
 * port_create_begin() port_create_end() must follow; ret is what port_create_open() returned, and what port_create_end()
 * returns if it is an error. */
int port_create_begin(
	const struct port_config *cfg, struct port **out, char *errbuf, size_t errlen);
int port_create_open(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen);
int port_create_end(struct port *p, int ret, char *errbuf, size_t errlen);

/* Unpublishes the port and closes it after a grace period (rcu_poll() runs that). keep: leave what outlives a
 * restart in place. The caller holds no pointer any more. */
void port_destroy(struct port *p, bool keep);

/* For a port between port_create_begin() and port_create_end() whose device cannot be had now: it is made without one, and
 * port_resume() may be tried later. Kinds tap and ethdev. */
void port_create_absent(struct port *p, const struct port_config *cfg);

/* Closes the device, which has gone or is to be opened again, and keeps the port with all that stands on it; packets to it are
 * dropped as port_down. Waits for a grace period. */
void port_suspend(struct port *p, const struct port_config *cfg);

/* Opens the device of a port that is without. An uplink's MAC is the device's unless one was configured. 0, or -errno with a
 * sentence: still without. Waits for a grace period. */
int port_resume(struct port *p, const struct port_config *cfg, char *errbuf, size_t errlen);

/* Whether the port is without its device. */
bool port_is_absent(const struct port *p);

/* As port_destroy(), for a port whose set-up failed at a later step: a device that was adopted is left for another try,
 * one that was made goes. */
void port_abandon(struct port *p);

/* As port_destroy(); closed(arg) is called on the control thread when the device has been closed. */
void port_destroy_then(struct port *p, bool keep, void (*closed)(void *arg), void *arg);

/* Control thread; NULL if there is none. */
struct port *port_by_name(const char *name);
struct port *port_by_id(uint16_t id);

/* Ports in order of their ids: first with prev NULL, NULL at the end. Control thread. */
struct port *port_next(const struct port *prev);
unsigned int port_count(void);

/* Sum over the workers. Any thread that may hold p. */
void port_stats_sum(const struct port *p, struct port_stats *out);

#endif
