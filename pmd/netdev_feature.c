/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/netdev_feature.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#define BLOCKS_MAX 8 /* 256 features; kernels have some 70 */

static int ask(int fd, const char *ifname, void *request)
{
	struct ifreq ifr = { .ifr_data = request };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

int netdev_feature_find(int fd, const char *ifname, const char *feature)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t n;
	} set = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	struct ethtool_gstrings *names;
	int ret = ask(fd, ifname, &set);

	if (ret < 0)
		return ret;
	if (set.info.sset_mask == 0 || set.n > BLOCKS_MAX * 32)
		return -ENOENT;
	names = calloc(1, sizeof(*names) + (size_t)set.n * ETH_GSTRING_LEN);
	if (names == NULL)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = set.n;
	ret = ask(fd, ifname, names);
	for (uint32_t i = 0; ret == 0 && i < set.n; i++)
		if (strncmp((char *)names->data + (size_t)i * ETH_GSTRING_LEN, feature,
			    ETH_GSTRING_LEN) == 0)
			ret = (int)i + 1;
	free(names);
	return ret == 0 ? -ENOENT : ret < 0 ? ret : ret - 1;
}

bool netdev_feature_is_on(int fd, const char *ifname, int number)
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block blocks[BLOCKS_MAX];
	} state = { .head = { .cmd = ETHTOOL_GFEATURES, .size = BLOCKS_MAX } };

	return number >= 0 && ask(fd, ifname, &state) == 0 &&
		(state.blocks[number / 32].active >> (number % 32) & 1) != 0;
}
