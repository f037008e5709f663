/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures: copies of packets that the workers send, into pcapng files or streams. Up to OBSERVE_CAPTURES_MAX at a time. Below
 * observer.h, which installs what the workers do and collects what they send. Control thread only.
 */
#ifndef LEAT_CAPTURE_H
#define LEAT_CAPTURE_H

#include <cjson/cJSON.h>

#include "datapath/pipeline/observe.h"
#include "datapath/pipeline/port.h"

struct capture_config {
	const char *file; /* created, 0600; what exists is never overwritten. NULL: fd */
	int fd;		  /* taken over in any case; -1: file */
	uint8_t points;	  /* enum observe_dir */
	uint16_t port_id; /* PORT_ID_NONE: all */
	int16_t reason;	  /* -1: all */
	uint32_t count;	  /* 0: no limit */
	uint32_t snaplen; /* bytes */
	struct observe_filter filter;
};

/* 0 with *out_id, -EBUSY when as many run as can, or -errno of opening the file. */
int capture_start(const struct capture_config *cfg, uint32_t *out_id);

/* -ENOENT; -EIO: not everything could be written. */
int capture_stop(uint32_t id);
void capture_stop_all(void);

/* Running and last captures, the newest first: number i as an object, NULL at the end. */
cJSON *capture_describe(unsigned int i);

/* The same by its id. */
cJSON *capture_describe_id(uint32_t id);

/* For observer.c: what runs, into a new configuration, with the budgets of the old one (may be NULL); a worker's copy; after
 * some of them; a port that goes. */
void capture_fill(struct observe_config *cfg, struct observe_config *old);
void capture_add(const struct observe_msg *msg);
void capture_flush(void);
void capture_port_gone(const struct port *port);

#endif
