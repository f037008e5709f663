/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng writer (draft-ietf-opsawg-pcapng): one section, one interface a port, enhanced packet blocks with a comment. */
#ifndef LEAT_PCAPNG_H
#define LEAT_PCAPNG_H

#include <stdint.h>
#include <stdio.h>

struct pcapng {
	FILE *file;
	uint32_t n_ifaces;
	uint32_t snaplen;
	uint64_t n_pkts, n_bytes;
};

/* Creates path (0600) and writes the section header. 0 or -errno; -EEXIST: nothing is overwritten. */
int pcapng_open(struct pcapng *p, const char *path, uint32_t snaplen);

/* The same into a file that is open already; p takes it over. */
int pcapng_begin(struct pcapng *p, FILE *file, uint32_t snaplen);

/* New interface; its id. */
uint32_t pcapng_add_iface(struct pcapng *p, const char *name);

/* time_ns: since 1970. comment may be NULL. is_out: direction flag. 0 or -EIO. */
int pcapng_write(struct pcapng *p, uint32_t iface, uint64_t time_ns, const void *data, uint32_t len,
	uint32_t wire_len, int is_out, const char *comment);

/* 0 or -EIO: something could not be written. */
int pcapng_close(struct pcapng *p);

#endif
