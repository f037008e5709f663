/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/base/region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE_BYTES (2ul << 20)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Folder of the first hugetlbfs mount with 2 MiB pages. */
static int hugetlbfs_dir(char *dir, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	int ret = -ENOENT;

	if (mounts == NULL)
		return -errno;
	while (ret != 0 && (m = getmntent(mounts)) != NULL) {
		if (strcmp(m->mnt_type, "hugetlbfs") != 0 ||
			strstr(m->mnt_opts, "pagesize=1") != NULL)
			continue;
		snprintf(dir, size, "%s", m->mnt_dir);
		ret = 0;
	}
	endmntent(mounts);
	return ret;
}

static int map_anonymous(struct region *r)
{
	r->addr = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->addr == MAP_FAILED) {
		r->addr = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void prefer_node(void *addr, size_t size, int node)
{
	unsigned long mask[16] = { 0 };

	if (node < 0 || numa_available() < 0 || (size_t)node >= sizeof(mask) * 8)
		return;
	mask[(size_t)node / (8 * sizeof(long))] = 1ul << ((size_t)node % (8 * sizeof(long)));
	/* A preference: where the node has no hugepages left, others serve. */
	mbind(addr, size, MPOL_PREFERRED, mask, sizeof(mask) * 8, 0);
}

static int map_file(struct region *r, int node)
{
	struct stat st;
	int fd, ret = 0;

	fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		ret = -errno;
		goto out;
	}
	r->is_adopted = (size_t)st.st_size == r->size;
	if (!r->is_adopted && (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)r->size) < 0)) {
		ret = -errno;
		goto out;
	}
	r->addr = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r->addr == MAP_FAILED) {
		ret = -errno;
		r->addr = NULL;
		goto out;
	}
	prefer_node(r->addr, r->size, node);
	if (madvise(r->addr, r->size, MADV_POPULATE_WRITE) < 0 && errno != EINVAL) {
		ret = errno == EFAULT ? -ENOMEM : -errno;
		munmap(r->addr, r->size);
		r->addr = NULL;
	}
out:
	if (ret < 0)
		unlink(r->path);
	close(fd);
	return ret;
}

int region_open(struct region *r, const char *instance, const char *name, size_t size, int node)
{
	char dir[128];
	int ret;

	*r = (struct region){ .size = (size + HUGE_PAGE_BYTES - 1) & ~(HUGE_PAGE_BYTES - 1) };
	if (instance == NULL)
		return map_anonymous(r);
	ret = hugetlbfs_dir(dir, sizeof(dir));
	if (ret < 0)
		return ret;
	r->is_huge = true;
	snprintf(r->path, sizeof(r->path), "%s/leat-%s-%s", dir, instance, name);
	return map_file(r, node);
}

void region_close(struct region *r, bool keep)
{
	if (r->addr != NULL)
		munmap(r->addr, r->size);
	if (!keep && r->path[0] != '\0')
		unlink(r->path);
	*r = (struct region){ 0 };
}

int region_purge(const char *instance)
{
	char dir[128], prefix[128], path[512];
	struct dirent *e;
	int n = 0;
	DIR *d;

	if (hugetlbfs_dir(dir, sizeof(dir)) < 0)
		return 0;
	d = opendir(dir);
	if (d == NULL)
		return 0;
	snprintf(prefix, sizeof(prefix), "leat-%s-", instance);
	while ((e = readdir(d)) != NULL) {
		/* instance NAME-MORE has files that begin alike: no region has a '-' in its name */
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
			strchr(e->d_name + strlen(prefix), '-') != NULL)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) == 0)
			n++;
	}
	closedir(d);
	return n;
}
