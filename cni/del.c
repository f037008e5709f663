/* SPDX-License-Identifier: BSD-3-Clause */
/* DEL. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cni/release.h"
#include "cni/verbs.h"

#define LOCK_WAIT_MS 65000 /* longer than an IPAM plugin of a killed call may take */

int cni_del(const struct cni_args *args, const struct cni_conf *conf, struct cni_error *err)
{
	const struct cni_attachment who = { args->container, args->ifname, args->netns };
	char id[CNI_ID_LEN];
	struct release r;
	int rc;

	cni_endpoint_id(args->container, args->ifname, id);
	rc = release_open(args, conf, &r, err);
	if (rc == 0)
		rc = cni_store_lock(&r.store, id, LOCK_WAIT_MS, err);
	/* without leatd nobody knows the services: GC finds what stays of them */
	if (rc == 0 && r.leatd.client != NULL && release_is_unreadable(&r, id))
		rc = release_heal(&r, conf, id, &who, err);
	if (rc == 0)
		rc = release_one(&r, conf, id, &who, err);
	if (rc == 0 && conf->mode == CNI_MODE_VHOST_USER && conf->device_info_path != NULL &&
		unlink(conf->device_info_path) < 0 && errno != ENOENT)
		rc = cni_fail(err, CNI_ERR_IO, "cannot remove %.256s: %s", conf->device_info_path,
			strerror(errno));
	release_close(&r);
	return rc;
}
