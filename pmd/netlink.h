/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Links, addresses and routes of the kernel, in any network namespace. Blocking (the kernel answers at once): control
 * thread and tests, never a worker.
 *
 * A socket belongs to the namespace in which it was opened. nl_open() enters that namespace and comes back, which
 * concerns the calling thread alone; no other thread sees it, and the caller holds nothing that depends on it.
 * Functions return 0 or -errno (ifindexes: > 0); nl_error() then has the kernel's own words.
 */
#ifndef LEAT_PMD_NETLINK_H
#define LEAT_PMD_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ether.h>

#include "datapath/base/addr.h"

/* rtm_protocol of the routes that leatd installs: they can be told from others' and purged. */
#define NL_PROTO_LEAT 0x4c

struct nl;

/* netns_fd: descriptor of a network namespace, -1: the process's own. NULL and *out_err = -errno on error. */
struct nl *nl_open(int netns_fd, int *out_err);
void nl_close(struct nl *nl);

/* What the kernel said about the last error, or strerror(). Valid until the next call. */
const char *nl_error(const struct nl *nl);

/* Enters the namespace (calling thread only). Returns a descriptor for netns_leave(), or -errno. Between the two the
 * thread may only open descriptors and files of that namespace. netns_fd -1: stays, returns INT_MAX. */
int netns_enter(int netns_fd);
void netns_leave(int saved);

/* --- links --- */
struct nl_link {
	int ifindex;
	char name[IFNAMSIZ];
	struct rte_ether_addr mac;
	uint32_t mtu, flags, txqlen, n_txq;
	int peer_ifindex;	/* veth: the other end; 0: none */
	bool is_peer_elsewhere; /* the other end is in another namespace */
	char kind[16];		/* "tun", "veth" …; "": a device */
	char alias[128];
};
int nl_link_get(struct nl *nl, const char *name, struct nl_link *out);
int nl_link_get_by_index(struct nl *nl, int ifindex, struct nl_link *out);

struct nl_link_change {
	const char *name;		  /* NULL: leave */
	const char *alias;		  /* NULL: leave */
	const struct rte_ether_addr *mac; /* NULL: leave */
	uint32_t mtu, txqlen;		  /* 0: leave */
	uint32_t gso_max_size;		  /* 0: leave */
	int up;				  /* 1 up, 0 down, -1 leave */
	bool has_netns;			  /* move to netns_fd (with the new name, if given) */
	int netns_fd;
};
int nl_link_change(struct nl *nl, int ifindex, const struct nl_link_change *change);
int nl_link_del(struct nl *nl, int ifindex);

/* --- addresses --- */
struct nl_addr {
	int ifindex;
	struct ip_addr addr;
	uint8_t len, scope;
};
/* IPv6 addresses come without duplicate address detection. -EEXIST if it is there. */
int nl_addr_add(struct nl *nl, int ifindex, const struct ip_addr *addr, uint8_t len);
int nl_addr_del(struct nl *nl, int ifindex, const struct ip_addr *addr, uint8_t len);
/* Calls fn for each address (ifindex 0: of every link) until it returns other than 0, which is returned. */
int nl_addr_list(
	struct nl *nl, int ifindex, int (*fn)(const struct nl_addr *addr, void *arg), void *arg);

/* --- routes --- */
struct nl_route {
	struct ip_prefix dst; /* len 0: default; the family is dst.addr's */
	bool has_gw, is_onlink, is_link_scope;
	struct ip_addr gw;
	struct ip_addr src; /* preferred source; zero: none */
	int ifindex;
	uint8_t protocol, type;	     /* type: RTN_*; 0: unicast */
	uint32_t table, metric, mtu; /* table 0: main */
};
/* Adds or replaces. */
int nl_route_put(struct nl *nl, const struct nl_route *route);
/* -EEXIST if there is one to that prefix with that metric. */
int nl_route_add(struct nl *nl, const struct nl_route *route);
int nl_route_del(struct nl *nl, const struct nl_route *route);
/* Every route of both families, as nl_addr_list(). */
int nl_route_list(struct nl *nl, int (*fn)(const struct nl_route *route, void *arg), void *arg);

/* Permanent neighbour. */
int nl_neigh_add(
	struct nl *nl, int ifindex, const struct ip_addr *addr, const struct rte_ether_addr *mac);

/* Writes a file under /proc/sys/net in the socket's namespace ("ipv6/conf/eth0/accept_ra", "0"). */
int nl_sysctl_write(int netns_fd, const char *name, const char *value);

#endif
