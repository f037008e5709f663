/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/vhost_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILES_MAX 8192
#define FILES_PER_SLOT_MAX 64

/* Written by one thread, read by the signal handler. ino 0: free. */
struct guest_file {
	_Atomic uint64_t dev, ino;
	_Atomic uint32_t slot;
};

struct mapping {
	uintptr_t start, end;
	uint64_t dev, ino;
};

static struct guest_file files[FILES_MAX];
static _Atomic unsigned int n_files; /* entries ever used */
static struct sigaction old_action;
static bool is_installed;
static void (*on_fault_fn)(unsigned int slot);

/* Reads a number that ends at the character `end`, which is skipped; NULL if there is none. */
static const char *number_parse(const char *p, unsigned int base, char end, uint64_t *out)
{
	uint64_t value = 0;

	for (;; p++) {
		unsigned int c = (unsigned char)*p;

		if (c >= '0' && c <= '9')
			value = value * base + (c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			value = value * base + (c - 'a' + 10);
		else
			break;
	}
	*out = value;
	return *p == end ? p + 1 : NULL;
}

/* One line of /proc/self/maps: "start-end perms offset major:minor inode path". */
static bool mapping_parse(const char *p, struct mapping *out)
{
	uint64_t start, end, offset, major, minor, ino;

	if ((p = number_parse(p, 16, '-', &start)) == NULL ||
		(p = number_parse(p, 16, ' ', &end)) == NULL)
		return false;
	while (*p != ' ' && *p != '\0')
		p++;
	if (*p == '\0' || (p = number_parse(p + 1, 16, ' ', &offset)) == NULL ||
		(p = number_parse(p, 16, ':', &major)) == NULL ||
		(p = number_parse(p, 16, ' ', &minor)) == NULL ||
		(p = number_parse(p, 10, ' ', &ino)) == NULL)
		return false;
	*out = (struct mapping){ .start = start,
		.end = end,
		.dev = makedev((unsigned int)major, (unsigned int)minor),
		.ino = ino };
	return true;
}

/* The mapping that holds addr. Calls only what a signal handler may. */
static bool mapping_find(uintptr_t addr, struct mapping *out)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char buf[4096], line[160];
	size_t line_len = 0;
	bool is_found = false;
	ssize_t n;

	if (fd < 0)
		return false;
	while (!is_found && (n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n && !is_found; i++) {
			if (buf[i] != '\n') {
				if (line_len < sizeof(line) - 1)
					line[line_len++] = buf[i];
				continue;
			}
			line[line_len] = '\0';
			line_len = 0;
			is_found = mapping_parse(line, out) && addr >= out->start &&
				addr < out->end;
		}
	}
	close(fd);
	return is_found;
}

static bool repair(uintptr_t addr)
{
	unsigned int n = atomic_load_explicit(&n_files, memory_order_acquire);
	bool is_guest = false;
	struct mapping map;

	if (n == 0 || !mapping_find(addr, &map))
		return false;
	if (map.ino == 0)
		return true; /* another thread was faster */
	for (unsigned int i = 0; i < n && !is_guest; i++)
		is_guest = atomic_load_explicit(&files[i].ino, memory_order_acquire) == map.ino &&
			atomic_load_explicit(&files[i].dev, memory_order_relaxed) == map.dev;
	if (!is_guest ||
		mmap((void *)map.start, map.end - map.start, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
			0) == MAP_FAILED)
		return false;
	for (unsigned int i = 0; i < n; i++)
		if (atomic_load_explicit(&files[i].ino, memory_order_acquire) == map.ino &&
			atomic_load_explicit(&files[i].dev, memory_order_relaxed) == map.dev)
			on_fault_fn(atomic_load_explicit(&files[i].slot, memory_order_relaxed));
	return true;
}

static void handle_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (info->si_code == BUS_ADRERR && repair((uintptr_t)info->si_addr)) {
		errno = saved_errno;
		return;
	}
	errno = saved_errno;
	if ((old_action.sa_flags & SA_SIGINFO) != 0 && old_action.sa_sigaction != NULL) {
		old_action.sa_sigaction(sig, info, context);
		return;
	}
	if (old_action.sa_handler != SIG_DFL && old_action.sa_handler != SIG_IGN) {
		old_action.sa_handler(sig);
		return;
	}
	/* Not ours and nobody else's: the access faults again and ends the process with a core. */
	signal(SIGBUS, SIG_DFL);
}

int vhost_guard_install(void (*on_fault)(unsigned int slot))
{
	struct sigaction action = { .sa_sigaction = handle_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART };

	if (is_installed)
		return 0;
	on_fault_fn = on_fault;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &old_action) != 0)
		return -errno;
	is_installed = true;
	return 0;
}

void vhost_guard_uninstall(void)
{
	if (!is_installed)
		return;
	sigaction(SIGBUS, &old_action, NULL);
	is_installed = false;
}

int vhost_guard_add(unsigned int slot, dev_t dev, ino_t ino)
{
	unsigned int n = atomic_load_explicit(&n_files, memory_order_relaxed), n_own = 0,
		     free_idx = n;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t file_ino = atomic_load_explicit(&files[i].ino, memory_order_relaxed);

		if (file_ino == 0) {
			free_idx = i;
			continue;
		}
		if (atomic_load_explicit(&files[i].slot, memory_order_relaxed) != slot)
			continue;
		n_own++;
		if (file_ino == ino &&
			atomic_load_explicit(&files[i].dev, memory_order_relaxed) == dev)
			return 0;
	}
	if (free_idx == FILES_MAX || n_own == FILES_PER_SLOT_MAX || ino == 0)
		return -ENOSPC;
	atomic_store_explicit(&files[free_idx].slot, slot, memory_order_relaxed);
	atomic_store_explicit(&files[free_idx].dev, dev, memory_order_relaxed);
	/* release: pairs with the acquires in repair() */
	atomic_store_explicit(&files[free_idx].ino, ino, memory_order_release);
	if (free_idx == n)
		atomic_store_explicit(&n_files, n + 1, memory_order_release);
	return 0;
}

void vhost_guard_del(unsigned int slot)
{
	unsigned int n = atomic_load_explicit(&n_files, memory_order_relaxed);

	for (unsigned int i = 0; i < n; i++)
		if (atomic_load_explicit(&files[i].slot, memory_order_relaxed) == slot)
			atomic_store_explicit(&files[i].ino, 0, memory_order_release);
}

bool vhost_guard_fd_check(
	int fd, uint64_t end, dev_t *out_dev, ino_t *out_ino, const char **out_why)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) != 0 ||
		(fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)) {
		*out_why = "descriptor is not shared memory (tmpfs, memfd or hugetlbfs)";
		return false;
	}
	/* First sealed, then measured. What cannot be sealed is the signal handler's. */
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	if (fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size < end) {
		*out_why = "shared memory is shorter than its region";
		return false;
	}
	*out_dev = st.st_dev;
	*out_ino = st.st_ino;
	return true;
}

bool vhost_guard_is_eventfd(int fd)
{
	static const char eventfd_name[] = "anon_inode:[eventfd]";
	char link[32], target[sizeof(eventfd_name) + 1];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target));
	return n == (ssize_t)sizeof(eventfd_name) - 1 &&
		memcmp(target, eventfd_name, (size_t)n) == 0;
}
