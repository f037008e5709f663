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

#include "control/attach.h"
#include "control/client/req.h"
#include "control/instance.h"
#include "control/state.h"
#include "datapath/base/log.h"
#include "pmd/netlink.h"
#include "pmd/uplink_netdev.h"

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

/* leat-NAME-FILE. Instance NAME-MORE has files that begin alike: no FILE has a '-'. */
static void remove_hugepage_files(const char *dir)
{
	char prefix[64], path[512];
	struct dirent *entry;
	DIR *list = opendir(dir);

	if (list == NULL)
		return;
	snprintf(prefix, sizeof(prefix), "leat-%s-", instance.name);
	while ((entry = readdir(list)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
			strchr(entry->d_name + strlen(prefix), '-') != NULL)
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

/* The folder that DPDK makes for each process and never removes. */
static void remove_dpdk_dir(void)
{
	const char *base = getenv("RUNTIME_DIRECTORY");
	char path[512];

	snprintf(path, sizeof(path), "%.400s/dpdk/leat-%s", base != NULL ? base : "/var/run",
		instance.name);
	remove_tree(path);
}

/* A kernel device that a port of this instance made, by its alias. */
static void remove_tap(const struct req_port *req)
{
	const char *ifname = req->ifname != NULL ? req->ifname
		: req->role == REQ_ROLE_HOST	 ? "leat0"
						 : req->name;
	char alias[128];
	struct nl_link link;
	struct nl *nl;
	int rc;

	nl = nl_open(-1, &rc);
	if (nl == NULL) {
		failed(ifname, rc);
		return;
	}
	snprintf(alias, sizeof(alias), "leat:%s", req->name);
	if (nl_link_get(nl, ifname, &link) == 0 && strcmp(link.kind, "tun") == 0 &&
		strcmp(link.alias, alias) == 0) {
		rc = nl_link_del(nl, link.ifindex);
		if (rc < 0)
			failed(ifname, rc);
	}
	nl_close(nl);
}

/* What keeps the kernel from a device that an uplink has taken. */
static void remove_uplink_rule(const struct req_port *req)
{
	int rc = req->device != NULL ? uplink_netdev_purge(req->device) : 0;

	if (rc < 0 && rc != -ENOENT)
		failed(req->device, rc);
}

static void remove_object(const struct store_item *item)
{
	cJSON *params = cJSON_Parse(item->params);
	struct schema_req req;
	struct leat_error err;

	if (schema_decode(item->method, params, &req, &err) == 0) {
		if (strcmp(item->method->name, "endpoint.attach") == 0)
			attach_remove_leftover(req.data);
		else if (strcmp(item->method->name, "port.add") == 0 &&
			((const struct req_port *)req.data)->kind == REQ_PORT_TAP)
			remove_tap(req.data);
		else if (strcmp(item->method->name, "port.add") == 0 &&
			((const struct req_port *)req.data)->kind == REQ_PORT_ETHDEV)
			remove_uplink_rule(req.data);
	}
	schema_req_fini(&req);
	cJSON_Delete(params);
}

/* The kernel's routes to the pods go with the host port's device. */
static void remove_devices(void)
{
	const struct store_item *item = NULL;
	int rc = state_open(instance.state_dir);

	if (rc < 0) {
		failed("devices named in the state file", rc);
		return;
	}
	(void)state_load(UINT64_MAX);
	while ((item = store_next(state_store(), item != NULL ? item->method->class : OBJECT_NONE,
			item != NULL ? item->seq : 0)) != NULL)
		remove_object(item);
	state_close();
}

int purge_all(void)
{
	first_error = 0;
	remove_devices();
	remove_hugepages();
	remove_dpdk_dir();
	remove_tree(instance.run_dir);
	remove_tree(instance.state_dir);
	return first_error;
}
