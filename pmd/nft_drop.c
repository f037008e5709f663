/* SPDX-License-Identifier: BSD-3-Clause */
#include "pmd/nft_drop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#define CHAIN_NAME "ingress"
#define PRIORITY (-500) /* before whatever else hooks there */

static struct nlmsghdr *put_header(struct mnl_nlmsg_batch *batch, uint16_t type, uint16_t flags,
	uint32_t seq, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(batch));
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
	return nlh;
}

static void put_chain(struct nlmsghdr *nlh, const char *table, const char *ifname)
{
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, CHAIN_NAME);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_DROP));
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(NF_NETDEV_INGRESS));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)PRIORITY));
	mnl_attr_put_strz(nlh, NFTA_HOOK_DEV, ifname);
	mnl_attr_nest_end(nlh, hook);
}

/* Sends the batch and waits for the acknowledgement of message `last_seq`. */
static int batch_run(struct mnl_nlmsg_batch *batch, uint32_t first_seq, uint32_t last_seq)
{
	struct mnl_socket *sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	char buf[8192] __attribute__((aligned(8)));
	int ret = 0;

	if (sock == NULL)
		return errno == EPROTONOSUPPORT ? -EOPNOTSUPP : -errno;
	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_sendto(sock, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) <
			0) {
		ret = -errno;
		goto out;
	}
	for (bool is_done = false; !is_done;) {
		ssize_t n = mnl_socket_recvfrom(sock, buf, sizeof(buf));
		struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
		int len = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			ret = -errno;
			break;
		}
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_seq < first_seq ||
				nlh->nlmsg_seq > last_seq)
				continue;
			if (err->error != 0 && ret == 0)
				ret = err->error;
			/* an error anywhere ends the batch */
			is_done = is_done || err->error != 0 || nlh->nlmsg_seq == last_seq;
		}
	}
out:
	mnl_socket_close(sock);
	return ret;
}

static int nft_change(const char *ifname, bool is_add)
{
	char buf[4096] __attribute__((aligned(8))), table[IFNAMSIZ + 8];
	struct mnl_nlmsg_batch *batch = mnl_nlmsg_batch_start(buf, sizeof(buf) / 2);
	uint32_t seq = (uint32_t)time(NULL);
	struct nlmsghdr *nlh;
	int ret;

	if (batch == NULL)
		return -ENOMEM;
	snprintf(table, sizeof(table), "leat-%s", ifname);
	put_header(batch, NFNL_MSG_BATCH_BEGIN, 0, seq, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	mnl_nlmsg_batch_next(batch);
	nlh = put_header(batch,
		(NFNL_SUBSYS_NFTABLES << 8) | (is_add ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE),
		NLM_F_ACK | (is_add ? NLM_F_CREATE : 0), seq + 1, NFPROTO_NETDEV, 0);
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
	mnl_nlmsg_batch_next(batch);
	if (is_add) {
		nlh = put_header(batch, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWCHAIN,
			NLM_F_ACK | NLM_F_CREATE, seq + 2, NFPROTO_NETDEV, 0);
		put_chain(nlh, table, ifname);
		mnl_nlmsg_batch_next(batch);
	}
	put_header(batch, NFNL_MSG_BATCH_END, 0, seq + 3, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	mnl_nlmsg_batch_next(batch);
	ret = batch_run(batch, seq, seq + (is_add ? 2 : 1));
	mnl_nlmsg_batch_stop(batch);
	return ret;
}

int nft_drop_add(const char *ifname)
{
	int ret = nft_change(ifname, true);

	if (ret == -EEXIST ||
		ret == -EBUSY) { /* an old chain of another device incarnation: start over */
		nft_change(ifname, false);
		ret = nft_change(ifname, true);
	}
	return ret;
}

static int chain_cb(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr;
	bool *is_dropping = data;

	mnl_attr_for_each(attr, nlh,
		sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == NFTA_CHAIN_POLICY &&
		mnl_attr_get_payload_len(attr) ==
			sizeof(uint32_t)) *is_dropping = ntohl(mnl_attr_get_u32(attr)) == NF_DROP;
	return MNL_CB_OK;
}

int nft_drop_is_there(const char *ifname)
{
	char buf[4096] __attribute__((aligned(8))), table[IFNAMSIZ + 8];
	struct mnl_socket *sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	bool is_dropping = false;
	ssize_t n = -1;
	int ret;

	if (sock == NULL)
		return -errno;
	nlh->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = NFPROTO_NETDEV;
	nfg->version = NFNETLINK_V0;
	snprintf(table, sizeof(table), "leat-%s", ifname);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, CHAIN_NAME);
	if (mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) == 0 &&
		mnl_socket_sendto(sock, nlh, nlh->nlmsg_len) >= 0)
		n = mnl_socket_recvfrom(sock, buf, sizeof(buf));
	ret = n < 0 ? -errno : 0;
	/* an error is a message, too: the chain or its table is not there */
	if (n >= 0 && mnl_cb_run(buf, (size_t)n, 0, 0, chain_cb, &is_dropping) < 0 &&
		errno != ENOENT)
		ret = -errno;
	mnl_socket_close(sock);
	return ret < 0 ? ret : is_dropping;
}

int nft_drop_del(const char *ifname)
{
	return nft_change(ifname, false);
}
