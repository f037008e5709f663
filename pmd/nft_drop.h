/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "The kernel gets nothing from this device": an nftables chain of the netdev family at ingress with policy drop, in a
 * table of our own ("leat-IFNAME"). Packet sockets see packets before it. Calling thread's network namespace.
 */
#ifndef LEAT_PMD_NFT_DROP_H
#define LEAT_PMD_NFT_DROP_H

/* Sets the rule; nothing to do if it is there. 0 or -errno (-EOPNOTSUPP: kernel without nftables). */
int nft_drop_add(const char *ifname);

/* 1: the rule is there and drops. 0: it is not. -errno. */
int nft_drop_is_there(const char *ifname);

/* Removes it. 0, -ENOENT if there is none, -errno. */
int nft_drop_del(const char *ifname);

#endif
