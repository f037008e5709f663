/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that may vanish under us. A peer can truncate the file behind memory it shared; the next access then
 * raises SIGBUS. The guard knows which files are guests', and its signal handler puts zero pages over the whole broken
 * mapping, so that the access goes on, and reports the slots that share the file. Any other SIGBUS goes where it went
 * before.
 *
 * Limits: EAL swaps the handler for its own for moments while it maps new hugepages, so take memory at start.
 */
#ifndef LEAT_PMD_VHOST_GUARD_H
#define LEAT_PMD_VHOST_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Installs the handler; on_fault(slot) is called in signal context of the faulting thread, once for each slot
 * that uses the file. Repeatable. 0 or -errno. */
int vhost_guard_install(void (*on_fault)(unsigned int slot));

/* Puts the former handler back. */
void vhost_guard_uninstall(void);

/* Notes that slot maps this file (repeatable). 0, or -ENOSPC when it uses too many. One thread at a time. */
int vhost_guard_add(unsigned int slot, dev_t dev, ino_t ino);

/* Forgets the slot's files; its mappings must be gone. One thread at a time. */
void vhost_guard_del(unsigned int slot);

/*
 * Whether fd is memory that a guest may share: a plain file of tmpfs (memfd) or hugetlbfs (other file systems could
 * stall a worker), at least end bytes long. Seals it against shrinking where that is possible.
 * *out_dev, *out_ino: for vhost_guard_add(). True, or false with *out_why. Any thread.
 */
bool vhost_guard_fd_check(
	int fd, uint64_t end, dev_t *out_dev, ino_t *out_ino, const char **out_why);

/* Whether fd is an eventfd: anything else might block or kill the one who writes to it. Any thread. */
bool vhost_guard_is_eventfd(int fd);

#endif
