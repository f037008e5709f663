/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/purge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/instance.h"
#include "datapath/base/log.h"

static int first_error;

static void failed(const char *what, int rc)
{
	log_err("purge", "cannot remove %s: %s", what, strerror(-rc));
	if (first_error == 0)
		first_error = rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) < 0 && errno != ENOENT)
		failed(path, -errno);
	return 0;
}

static void remove_tree(const char *path)
{
	if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		failed(path, -errno);
}

/* leat-NAME-* and no longer name that begins alike: what follows NAME is '-', and no instance name contains this file's. */
static void remove_hugepage_files(const char *dir)
{
	char prefix[64], path[512];
	struct dirent *entry;
	DIR *list = opendir(dir);

	if (list == NULL)
		return;
	snprintf(prefix, sizeof(prefix), "leat-%s-", instance.name);
	while ((entry = readdir(list)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%.255s", dir, entry->d_name);
		if (unlink(path) < 0)
			failed(path, -errno);
	}
	closedir(list);
}

static void remove_hugepages(void)
{
	FILE *mounts = setmntent("/proc/mounts", "re");
	struct mntent *mount;

	if (mounts == NULL)
		return;
	while ((mount = getmntent(mounts)) != NULL)
		if (strcmp(mount->mnt_type, "hugetlbfs") == 0)
			remove_hugepage_files(mount->mnt_dir);
	endmntent(mounts);
}

int purge_all(void)
{
	first_error = 0;
	remove_hugepages();
	remove_tree(instance.run_dir);
	remove_tree(instance.state_dir);
	return first_error;
}
